"""Proves that no record is lost or duplicated: in = rejected + joined, for each shard and in total."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import dataclass

from batch_inference.common.errors import ReconciliationError, TooManyRejectsError
from batch_inference.common.formatting import format_share
from batch_inference.verification.host_manifests import HostManifests
from batch_inference.verification.rejects import describe_first_example

#: The reject reason of records that preprocessing accepted and the model refused.
REFUSED_BY_MODEL = "refused by the model"


@dataclass(frozen=True, slots=True)
class Reconciliation:
    """Counts of records, for which `records_in == rejected_count + scored`."""

    records_in: int
    rejected: Mapping[str, int]
    scored: int
    shards: int

    @property
    def rejected_count(self) -> int:
        """Records rejected, whatever the reason."""
        return sum(self.rejected.values())


def reconcile(
    manifests: HostManifests,
    joined_rows: Mapping[str, int],
    *,
    objects: Iterable[str] | None = None,
    refused_records: Mapping[str, int] | None = None,
) -> Reconciliation:
    """Compare the records that preprocessing accepted with the rows that the join wrote, shard by shard.

    `joined_rows` maps the name of a shard to the rows joined from it. `objects`, if given, are the URIs of the input
    objects, each of which must have been read once. `refused_records` counts by shard the accepted records that the
    model refused: they are rejected, not scored. Raises ReconciliationError with the first shard or object that does
    not add up.
    """
    refused_records = refused_records or {}
    for shard in manifests.shards:
        if shard.name not in joined_rows:
            raise ReconciliationError(
                f"shard {shard.name}: {shard.records:,} records passed preprocessing, but the join never saw "
                f"the shard; nothing is published",
                shard.name,
            )
        rows, refused_count = joined_rows[shard.name], refused_records.get(shard.name, 0)
        if rows + refused_count != shard.records:
            difference = rows + refused_count - shard.records
            raise ReconciliationError(
                f"shard {shard.name}: {shard.records:,} records passed preprocessing, but {rows:,} rows were joined "
                f"{f'and {refused_count:,} refused by the model ' if refused_count else ''}"
                f"({abs(difference):,} {'lost' if difference < 0 else 'too many'}); nothing is published",
                shard.name,
            )
    known = {shard.name for shard in manifests.shards}
    unknown_shards = sorted({*joined_rows, *refused_records} - known)
    if unknown_shards:
        raise ReconciliationError(
            f"shard {unknown_shards[0]}: {joined_rows.get(unknown_shards[0], 0):,} rows were joined, but "
            "preprocessing wrote no such shard; nothing is published",
            unknown_shards[0],
        )
    if objects is not None:
        _check_objects(manifests, objects)
    scored = sum(joined_rows.values())
    reasons = Counter(manifests.rejected)
    if any(refused_records.values()):
        reasons[REFUSED_BY_MODEL] += sum(refused_records.values())
    rejected = reasons.total()
    if manifests.records_in != rejected + scored:
        raise ReconciliationError(
            f"{manifests.records_in:,} records came in, but {rejected:,} rejected and {scored:,} joined are "
            f"{rejected + scored:,}; nothing is published"
        )
    return Reconciliation(
        records_in=manifests.records_in,
        rejected=dict(reasons.most_common()),
        scored=scored,
        shards=len(manifests.shards),
    )


def _check_objects(manifests: HostManifests, objects: Iterable[str]) -> None:
    expected, read = set(objects), {item.source for item in manifests.objects}
    for verb, names in (
        ("was listed but never read", expected - read),
        ("was read but never listed", read - expected),
    ):
        if names:
            raise ReconciliationError(
                f"{min(names)} {verb}{f' (and {len(names) - 1:,} more)' if len(names) > 1 else ''}; "
                f"nothing is published"
            )


def check_max_rejected(manifests: HostManifests, max_rejected: float | None) -> None:
    """Raise TooManyRejectsError when more records were rejected than `max_rejected` allows, before a transform is paid
    for.

    `max_rejected` is a count when it is an int, else a share of the records in; None allows any number.
    """
    example = describe_first_example(manifests.reject_groups)
    _check_rejects(manifests.rejected, manifests.records_in, max_rejected, "nothing was scored", example)


def check_all_rejects(reconciled: Reconciliation, max_rejected: float | None) -> None:
    """The same for a run whose jobs each found records that the model refused, before it is published."""
    _check_rejects(reconciled.rejected, reconciled.records_in, max_rejected, "nothing is published")


def _check_rejects(
    by_reason: Mapping[str, int], records_in: int, max_rejected: float | None, outcome: str, example: str = ""
) -> None:
    if max_rejected is None:
        return
    rejected = sum(by_reason.values())
    allowed, limit = compute_allowed_rejects(max_rejected, records_in)
    if rejected > allowed:
        raise TooManyRejectsError(
            f"{rejected:,} of {records_in:,} records were rejected ({format_reasons(by_reason)}); max_rejected allows "
            f"{limit}; {outcome}{'. ' if example else ''}{example}"
        )


def format_reasons(by_reason: Mapping[str, int]) -> str:
    """`1,200 type, 3 arity`."""
    return ", ".join(f"{number:,} {reason}" for reason, number in by_reason.items())


def compute_allowed_rejects(max_rejected: float, records_in: int) -> tuple[float, str]:
    """How many of `records_in` may be rejected, as a number and as text."""
    if isinstance(max_rejected, int):
        return max_rejected, f"{max_rejected:,}"
    return (
        max_rejected * records_in,
        f"{format_share(max_rejected)}, which is {int(max_rejected * records_in):,}",
    )
