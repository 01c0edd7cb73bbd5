"""What preprocessing wrote, as its manifests say, and how shards are put into groups for the join."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Self

from pydantic import ConfigDict, Field, ValidationError, model_validator

from include.scoring.errors import ManifestError
from include.scoring.explain import explain
from include.scoring.rules import Noun
from include.scoring.sizing import right_size as right_size


class Shard(Noun):
    """One shard: so many records; original text and features lie at these keys below the job's prefix."""

    model_config = ConfigDict(frozen=True, extra="ignore")

    name: str = Field(pattern=r"^[A-Za-z0-9-]+$")
    records: int = Field(ge=0)
    bytes: int = Field(ge=0)
    records_key: str
    features_key: str
    rejects: int = Field(default=0, ge=0)
    columns: tuple[str, ...] = ()


class SourceCount(Noun):
    """How many records one input object held, rejected ones included."""

    model_config = ConfigDict(frozen=True, extra="ignore")

    source: str
    records: int = Field(ge=0)


class HostManifest(Noun):
    """manifest/<host>.json: what one host read and wrote. Fields unknown here are left out."""

    model_config = ConfigDict(frozen=True, extra="ignore")

    version: int = Field(ge=1, le=1)
    host: str
    hosts: tuple[str, ...] = Field(min_length=1)
    columns: tuple[str, ...] = ()
    label_present: bool | None = None
    objects: tuple[SourceCount, ...] = ()
    records_in: int = Field(ge=0)
    records_out: int = Field(ge=0)
    rejected: dict[str, int] = Field(default_factory=dict)
    rejected_count: int = Field(ge=0)
    shards: tuple[Shard, ...] = ()
    rejects_files: tuple[str, ...] = ()
    busy_seconds: float | None = Field(default=None, ge=0)
    started_at: float | None = None
    ended_at: float | None = None

    @model_validator(mode="after")
    def _adds_up(self) -> Self:
        if self.host not in self.hosts:
            raise ValueError(f"host: found {self.host!r}; hosts are {list(self.hosts)}")
        if self.records_in != self.records_out + self.rejected_count:
            raise ValueError(
                f"{self.host} read {self.records_in:,} records, but passed {self.records_out:,} and rejected "
                f"{self.rejected_count:,}; these are not as many"
            )
        by_reason = sum(self.rejected.values())
        if by_reason != self.rejected_count:
            raise ValueError(
                f"{self.host} rejected {self.rejected_count:,} records, but gives reasons for {by_reason:,}"
            )
        in_shards = sum(shard.records for shard in self.shards)
        if in_shards != self.records_out:
            raise ValueError(
                f"{self.host} passed {self.records_out:,} records, but its shards hold {in_shards:,}"
            )
        in_objects = sum(item.records for item in self.objects)
        if in_objects != self.records_in:
            raise ValueError(
                f"{self.host} read {self.records_in:,} records, but its objects held {in_objects:,}"
            )
        return self


@dataclass(frozen=True, slots=True)
class Manifests:
    """The manifests of a job's hosts. `shards` are in order of name, the order of the published rows."""

    hosts: tuple[HostManifest, ...]
    shards: tuple[Shard, ...]
    objects: tuple[SourceCount, ...]
    records_in: int
    records_out: int
    rejected: Mapping[str, int]

    @property
    def rejected_count(self) -> int:
        """Records rejected, whatever the reason."""
        return sum(self.rejected.values())

    @property
    def busy_seconds(self) -> float | None:
        """Seconds in which hosts worked, summed; None when one of them does not say."""
        known = [host.busy_seconds for host in self.hosts if host.busy_seconds is not None]
        return sum(known) if len(known) == len(self.hosts) else None

    @property
    def working(self) -> list[dict[str, Any]]:
        """For each host that says so, when it worked, in epoch seconds: `instance`, `from` and `to`."""
        return [
            {"instance": host.host, "from": host.started_at, "to": host.ended_at}
            for host in self.hosts
            if host.started_at is not None and host.ended_at is not None
        ]


def read_manifests(documents: Iterable[Mapping[str, Any]], *, hosts: int) -> Manifests:
    """Put the manifests of a job's hosts together.

    Raises ManifestError when one is not of the agreed shape or does not add up, when a host left none, when
    two speak for one host, or when two hosts name one shard or one object.
    """
    found = [_read(document) for document in documents]
    names = [manifest.host for manifest in found]
    twice = [name for name, times in Counter(names).items() if times > 1]
    if twice:
        raise ManifestError(f"two manifests speak for {twice[0]}; each host writes one")
    expected = found[0].hosts if found else ()
    missing = [name for name in expected if name not in names]
    if missing or len(found) != hosts:
        raise ManifestError(
            f"{len(found)} of {hosts} hosts left a manifest ({', '.join(sorted(names)) or 'none'})"
            + (f"; missing: {', '.join(missing)}" if missing else "")
            + "; what the others wrote cannot be accounted for, so nothing of it is used"
        )
    shards = sorted((shard for manifest in found for shard in manifest.shards), key=lambda shard: shard.name)
    objects = [item for manifest in found for item in manifest.objects]
    _refuse_doubles("shard", (shard.name for shard in shards))
    _refuse_doubles("object", (item.source for item in objects))
    rejected: Counter[str] = Counter()
    for manifest in found:
        rejected.update(manifest.rejected)
    return Manifests(
        hosts=tuple(sorted(found, key=lambda manifest: manifest.host)),
        shards=tuple(shards),
        objects=tuple(sorted(objects, key=lambda item: item.source)),
        records_in=sum(manifest.records_in for manifest in found),
        records_out=sum(manifest.records_out for manifest in found),
        rejected=dict(sorted(rejected.items(), key=lambda item: (-item[1], item[0]))),
    )


def group_shards(shards: Sequence[Shard], group_bytes: int) -> list[tuple[int, int]]:
    """Neighbouring shards in groups of at most `group_bytes`, and of at least one shard.

    Gives the positions of the first and the last shard of each group, counted from 0. Shards with different
    columns, of which some carry the label and some do not, are not put into one group.
    """
    groups: list[tuple[int, int]] = []
    filled = 0
    for position, shard in enumerate(shards):
        before = shards[position - 1] if groups else None
        if before is not None and before.columns == shard.columns and filled + shard.bytes <= group_bytes:
            groups[-1] = (groups[-1][0], position)
            filled += shard.bytes
        else:
            groups.append((position, position))
            filled = shard.bytes
    return groups


def _read(document: Mapping[str, Any]) -> HostManifest:
    try:
        return HostManifest.model_validate(document)
    except ValidationError as error:
        host = document.get("host", "a host") if isinstance(document, Mapping) else "a host"
        raise ManifestError(f"manifest of {host}: " + "; ".join(explain(error, HostManifest))) from None


def _refuse_doubles(what: str, names: Iterable[str]) -> None:
    for name, times in Counter(names).items():
        if times > 1:
            raise ManifestError(
                f"the {what} {name} is named {times} times; its records would count more than once"
            )
