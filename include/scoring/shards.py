"""What preprocessing wrote, as its manifests say, and how shards are put into groups for the join."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any, Self

from pydantic import Field, ValidationError, model_validator

from include.scoring.errors import ManifestError
from include.scoring.explain import explain
from include.scoring.rules import Noun
from include.scoring.sizing import right_size as right_size


class Shard(Noun):
    """One shard: so many records, whose original text and features lie at these keys below the job's prefix."""

    name: str = Field(pattern=r"^[A-Za-z0-9-]+$")
    records: int = Field(ge=0)
    bytes: int = Field(ge=0)
    records_key: str
    features_key: str
    rejects: int = Field(default=0, ge=0)
    columns: tuple[str, ...] = ()


class SourceCount(Noun):
    """How many records one input object held, rejected ones included."""

    source: str
    records: int = Field(ge=0)


class HostManifest(Noun):
    """manifest/<host>.json: what one host of the preprocessing job read and wrote."""

    model_config = {**Noun.model_config, "extra": "ignore"}

    version: int = Field(ge=1, le=1)
    host: str
    hosts: tuple[str, ...] = Field(min_length=1)
    columns: tuple[str, ...]
    label_present: bool = False
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
    def _host_is_one_of_them(self) -> Self:
        if self.host not in self.hosts:
            raise ValueError(f"host: found {self.host!r}; hosts are {list(self.hosts)}")
        return self


def read_manifest(document: Mapping[str, Any], source: str) -> HostManifest:
    """One manifest of the preprocessing job; `source` is its URI. Raises ManifestError naming it and the field."""
    try:
        return HostManifest.model_validate(document)
    except ValidationError as error:
        raise ManifestError(f"{source}: " + "; ".join(explain(error, HostManifest))) from None


def all_shards(manifests: Iterable[HostManifest]) -> list[Shard]:
    """The shards of all hosts, in order of name, which is the order of the published rows."""
    return sorted(
        (shard for manifest in manifests for shard in manifest.shards), key=lambda shard: shard.name
    )


def group_shards(shards: Sequence[Shard], group_bytes: int) -> list[list[Shard]]:
    """Neighbouring shards in groups of at most `group_bytes`, and at least one shard; order is kept.

    Shards of different columns, of which some carry the label and some do not, are not put into one group.
    """
    groups: list[list[Shard]] = []
    filled = 0
    for shard in shards:
        fits = (
            bool(groups) and filled + shard.bytes <= group_bytes and groups[-1][-1].columns == shard.columns
        )
        if fits:
            groups[-1].append(shard)
            filled += shard.bytes
        else:
            groups.append([shard])
            filled = shard.bytes
    return groups
