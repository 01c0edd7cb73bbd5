"""The proof that no record is lost or doubled: in = rejected + joined, for each shard and in all."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import dataclass

from include.scoring.errors import ReconciliationError, RejectedError
from include.scoring.shards import Manifests

#: The rule under which records count as rejected that preprocessing passed and the model could not take.
REFUSED_BY_MODEL = "refused by the model"


@dataclass(frozen=True, slots=True)
class Reconciled:
    """Counts of records that add up: `records_in == rejected_count + scored`."""

    records_in: int
    rejected: Mapping[str, int]
    scored: int
    shards: int

    @property
    def rejected_count(self) -> int:
        """Records rejected, whatever the reason."""
        return sum(self.rejected.values())


def reconcile(
    manifests: Manifests,
    joined: Mapping[str, int],
    *,
    objects: Iterable[str] | None = None,
    refused: Mapping[str, int] | None = None,
) -> Reconciled:
    """Compare what preprocessing passed with what the join wrote, shard by shard.

    `joined` maps the name of a shard to the rows joined from it. `objects`, when given, are the URIs of the
    input objects that must have been read, each once. `refused` counts by shard the records that passed and
    that the model could not take: they are rejected, not scored. Raises ReconciliationError naming the first shard, or
    object, that does not add up.
    """
    refused = refused or {}
    for shard in manifests.shards:
        if shard.name not in joined:
            raise ReconciliationError(
                f"shard {shard.name}: {shard.records:,} records passed preprocessing, but the join never saw "
                f"the shard; nothing is published",
                shard.name,
            )
        rows, without = joined[shard.name], refused.get(shard.name, 0)
        if rows + without != shard.records:
            off = rows + without - shard.records
            raise ReconciliationError(
                f"shard {shard.name}: {shard.records:,} records passed preprocessing, but {rows:,} rows were joined "
                f"{f'and {without:,} refused by the model ' if without else ''}"
                f"({abs(off):,} {'lost' if off < 0 else 'too many'}); nothing is published",
                shard.name,
            )
    known = {shard.name for shard in manifests.shards}
    strange = sorted({*joined, *refused} - known)
    if strange:
        raise ReconciliationError(
            f"shard {strange[0]}: {joined.get(strange[0], 0):,} rows were joined, but preprocessing wrote no such "
            f"shard; nothing is published",
            strange[0],
        )
    if objects is not None:
        _check_objects(manifests, objects)
    scored = sum(joined.values())
    reasons = Counter(manifests.rejected)
    if any(refused.values()):
        reasons[REFUSED_BY_MODEL] += sum(refused.values())
    rejected = reasons.total()
    if manifests.records_in != rejected + scored:
        raise ReconciliationError(
            f"{manifests.records_in:,} records came in, but {rejected:,} rejected and {scored:,} joined are "
            f"{rejected + scored:,}; nothing is published"
        )
    return Reconciled(
        records_in=manifests.records_in,
        rejected=dict(reasons.most_common()),
        scored=scored,
        shards=len(manifests.shards),
    )


def _check_objects(manifests: Manifests, objects: Iterable[str]) -> None:
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


def check_rejected(manifests: Manifests, most: float | None) -> None:
    """Raise RejectedError when more records were rejected than allowed, before a transform is paid for.

    `most` is a count when it is an int, else a share of the records that came in; None allows any number.
    """
    if most is None:
        return
    rejected, came = manifests.rejected_count, manifests.records_in
    allowed, limit = rejects_allowed(most, came)
    if rejected > allowed:
        reasons = ", ".join(f"{number:,} {reason}" for reason, number in manifests.rejected.items())
        raise RejectedError(
            f"{rejected:,} of {came:,} records were rejected ({reasons}); max_rejected allows {limit}; "
            f"nothing was scored"
        )


def rejects_allowed(most: float, came: int) -> tuple[float, str]:
    """How many of the records that came in may be rejected, as a number and in words."""
    if isinstance(most, int):
        return most, f"{most:,}"
    return most * came, f"{most:.2%}, which is {int(most * came):,}"
