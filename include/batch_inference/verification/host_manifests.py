"""Reads the manifests of the hosts of a preprocessing job: the records and shards of each, and of all together."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any, Self

from pydantic import ConfigDict, Field, StrictFloat, StrictInt, ValidationError, model_validator

from batch_inference.common.errors import ManifestError
from batch_inference.config.sections.record_rules import FrozenModel
from batch_inference.config.validation_errors import format_validation_error
from batch_inference.verification.rejects import RejectGroup, sort_groups


class Shard(FrozenModel):
    """One shard: its record count, and the keys of its records and features below the job's prefix."""

    model_config = ConfigDict(frozen=True, extra="ignore")

    name: str = Field(pattern=r"^[A-Za-z0-9-]+$")
    records: StrictInt = Field(ge=0)
    bytes: StrictInt = Field(ge=0)
    records_key: str
    features_key: str
    rejects: StrictInt = Field(default=0, ge=0)
    columns: tuple[str, ...] = ()


class ShardList(FrozenModel):
    """shards.json: the records of the run, and its shards in order of name, the order of the published rows."""

    records_in: int
    records_out: int
    rejected: int
    shards: tuple[Shard, ...]


class ObjectCount(FrozenModel):
    """The number of records of one input object, rejected ones included."""

    model_config = ConfigDict(frozen=True, extra="ignore")

    source: str
    records: StrictInt = Field(ge=0)


class HostManifest(FrozenModel):
    """manifest/<host>.json: what one host read and wrote. Unknown fields are ignored."""

    model_config = ConfigDict(frozen=True, extra="ignore")

    version: StrictInt = Field(ge=1, le=1)
    host: str
    hosts: tuple[str, ...] = Field(min_length=1)
    columns: tuple[str, ...] = ()
    objects: tuple[ObjectCount, ...] = ()
    records_in: StrictInt = Field(ge=0)
    records_out: StrictInt = Field(ge=0)
    rejected: dict[str, StrictInt] = Field(default_factory=dict)
    rejected_count: StrictInt = Field(ge=0)
    reject_groups: tuple[RejectGroup, ...] = ()
    shards: tuple[Shard, ...] = ()
    busy_seconds: StrictFloat | None = Field(default=None, ge=0)
    started_at: float | None = None
    ended_at: float | None = None

    @model_validator(mode="after")
    def _adds_up(self) -> Self:
        host, read, passed, rejected = self.host, self.records_in, self.records_out, self.rejected_count
        if host not in self.hosts:
            raise ValueError(f"host: found {host!r}; hosts are {', '.join(self.hosts)}")
        if read != passed + rejected:
            raise ValueError(
                f"{host} read {read:,} records, but passed {passed:,} and rejected {rejected:,}; these do not add up"
            )
        if (by_reason := sum(self.rejected.values())) != rejected:
            raise ValueError(f"{host} rejected {rejected:,} records, but gives reasons for {by_reason:,}")
        if self.reject_groups and (grouped := sum(group.records for group in self.reject_groups)) != rejected:
            raise ValueError(
                f"{host} rejected {rejected:,} records, but its groups of rejects have {grouped:,}"
            )
        if (in_shards := sum(shard.records for shard in self.shards)) != passed:
            raise ValueError(f"{host} passed {passed:,} records, but its shards hold {in_shards:,}")
        if (in_objects := sum(item.records for item in self.objects)) != read:
            raise ValueError(f"{host} read {read:,} records, but its objects held {in_objects:,}")
        return self


@dataclass(frozen=True, slots=True)
class HostManifests:
    """The manifests of a job's hosts. `shards` are in order of name, the order of the published rows."""

    hosts: tuple[HostManifest, ...]
    shards: tuple[Shard, ...]
    objects: tuple[ObjectCount, ...]
    records_in: int
    records_out: int
    rejected: Mapping[str, int]
    reject_groups: tuple[RejectGroup, ...] = ()

    @property
    def rejected_count(self) -> int:
        """Records rejected, whatever the reason."""
        return sum(self.rejected.values())

    @property
    def busy_seconds(self) -> float | None:
        """Busy seconds of all hosts together; None when one of them does not report them."""
        known = [host.busy_seconds for host in self.hosts if host.busy_seconds is not None]
        return sum(known) if len(known) == len(self.hosts) else None

    @property
    def working_periods(self) -> list[dict[str, Any]]:
        """When each host worked, if it reports it: `instance`, and `from` and `to` in epoch seconds."""
        return [
            {"instance": host.host, "from": host.started_at, "to": host.ended_at}
            for host in self.hosts
            if host.started_at is not None and host.ended_at is not None
        ]


def merge_host_manifests(documents: Iterable[Mapping[str, Any]], *, host_count: int) -> HostManifests:
    """Merge the manifests of a job's hosts.

    Raises ManifestError when one is invalid or does not add up, when a host has none or two, or when two hosts name
    the same shard or object.
    """
    host_manifests = [_parse_manifest(document) for document in documents]
    names = [manifest.host for manifest in host_manifests]
    duplicates = [name for name, times in Counter(names).items() if times > 1]
    if duplicates:
        raise ManifestError(f"two manifests speak for {duplicates[0]}; each host writes one")
    expected_hosts = host_manifests[0].hosts if host_manifests else ()
    missing = [name for name in expected_hosts if name not in names]
    if missing or len(host_manifests) != host_count:
        raise ManifestError(
            f"{len(host_manifests)} of {host_count} hosts left a manifest ({', '.join(sorted(names)) or 'none'})"
            + (f"; missing: {', '.join(missing)}" if missing else "")
            + "; what the others wrote cannot be accounted for, so nothing of it is used"
        )
    shards = sorted((shard for each in host_manifests for shard in each.shards), key=lambda each: each.name)
    objects = [item for manifest in host_manifests for item in manifest.objects]
    _check_unique("shard", (shard.name for shard in shards))
    _check_unique("object", (item.source for item in objects))
    rejected: Counter[str] = Counter()
    for manifest in host_manifests:
        rejected.update(manifest.rejected)
    return HostManifests(
        hosts=tuple(sorted(host_manifests, key=lambda manifest: manifest.host)),
        shards=tuple(shards),
        objects=tuple(sorted(objects, key=lambda item: item.source)),
        records_in=sum(manifest.records_in for manifest in host_manifests),
        records_out=sum(manifest.records_out for manifest in host_manifests),
        rejected=dict(sorted(rejected.items(), key=lambda item: (-item[1], item[0]))),
        reject_groups=tuple(
            RejectGroup.model_validate(group)
            for group in sort_groups(
                [group.model_dump() for group in manifest.reject_groups]
                for manifest in sorted(host_manifests, key=lambda manifest: manifest.host)
            )
        ),
    )


def _parse_manifest(document: Mapping[str, Any]) -> HostManifest:
    try:
        return HostManifest.model_validate(document)
    except ValidationError as error:
        host = document.get("host", "a host") if isinstance(document, Mapping) else "a host"
        raise ManifestError(
            f"manifest of {host}: " + "; ".join(format_validation_error(error, HostManifest, document))
        ) from None


def _check_unique(what: str, names: Iterable[str]) -> None:
    for name, times in Counter(names).items():
        if times > 1:
            problem = f"the {what} {name} is named {times} times; its records would count more than once"
            raise ManifestError(problem)
