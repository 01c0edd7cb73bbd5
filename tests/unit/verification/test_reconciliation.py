"""Records in are records rejected plus records scored, shard by shard, or nothing is published."""

from __future__ import annotations

import pickle
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from batch_inference.common.errors import ManifestError, ReconciliationError, TooManyRejectsError
from batch_inference.planning.inputs.input_split import group_neighbours
from batch_inference.verification.host_manifests import Shard, merge_host_manifests
from batch_inference.verification.reconciliation import Reconciliation, check_all_rejects, reconcile


def host(
    name: str, counts: list[int], rejected: dict[str, int] | None = None, hosts: int = 2
) -> dict[str, Any]:
    """The manifest of a host that read one object and wrote shards of so many records."""
    lost = sum((rejected or {}).values())
    return {
        "version": 1, "host": name, "hosts": [f"algo-{number + 1}" for number in range(hosts)], "columns": ["id"],
        "objects": [{"source": f"s3://in/{name}.csv", "records": sum(counts) + lost}],
        "records_in": sum(counts) + lost, "records_out": sum(counts), "rejected": rejected or {},
        "rejected_count": lost,
        "shards": [
            {
                "name": f"{name}-{number:05d}", "records": records, "bytes": records * 10, "rejects": 0,
                "records_key": f"records/{name}-{number:05d}.csv", "features_key": f"features/{name}-{number:05d}.csv",
                "columns": ["id"],
            }
            for number, records in enumerate(counts)
        ],
        "busy_seconds": 1.5, "started_at": 0.0, "ended_at": 2.0,
    }  # fmt: skip


def two_hosts() -> list[dict[str, Any]]:
    return [host("algo-2", [30]), host("algo-1", [10, 20], {"arity": 3, "no duplicates": 5})]


JOINED = {"algo-1-00000": 10, "algo-1-00001": 20, "algo-2-00000": 30}


def test_manifests_of_hosts_are_put_together_in_order_of_shards() -> None:
    found = merge_host_manifests(two_hosts(), host_count=2)
    assert [shard.name for shard in found.shards] == list(JOINED)
    assert (found.records_in, found.records_out, found.rejected_count) == (68, 60, 8)
    assert list(found.rejected.items()) == [("no duplicates", 5), ("arity", 3)]
    assert found.busy_seconds == 3.0


def test_counts_that_add_up_are_reported() -> None:
    found = reconcile(
        merge_host_manifests(two_hosts(), host_count=2),
        JOINED,
        objects=["s3://in/algo-1.csv", "s3://in/algo-2.csv"],
    )
    assert (found.records_in, found.rejected_count, found.scored, found.shards) == (68, 8, 60, 3)


def test_records_that_the_model_refused_are_rejected_and_not_scored() -> None:
    """They passed preprocessing: of each shard so many are joined, so many refused, and none is lost between."""
    manifests = merge_host_manifests(two_hosts(), host_count=2)
    joined = {**JOINED, "algo-1-00001": 18, "algo-2-00000": 29}
    found = reconcile(manifests, joined, refused_records={"algo-1-00001": 2, "algo-2-00000": 1})
    assert (found.records_in, found.rejected_count, found.scored) == (68, 11, 57)
    assert found.rejected == {"no duplicates": 5, "arity": 3, "refused by the model": 3}
    with pytest.raises(
        ReconciliationError, match=r"18 rows were joined and 1 refused by the model \(1 lost\)"
    ):
        reconcile(manifests, joined, refused_records={"algo-1-00001": 1, "algo-2-00000": 1})
    with pytest.raises(ReconciliationError, match="preprocessing wrote no such shard"):
        reconcile(manifests, JOINED, refused_records={"algo-9-00000": 1})


@pytest.mark.parametrize(
    ("changes", "shard", "words"),
    [
        (
            {"algo-1-00001": 19},
            "algo-1-00001",
            "20 records passed preprocessing, but 19 rows were joined (1 lost)",
        ),
        (
            {"algo-1-00001": 23},
            "algo-1-00001",
            "20 records passed preprocessing, but 23 rows were joined (3 too many)",
        ),
        (
            {"algo-2-00000": None},
            "algo-2-00000",
            "30 records passed preprocessing, but the join never saw the shard",
        ),
        ({"algo-3-00000": 4}, "algo-3-00000", "4 rows were joined, but preprocessing wrote no such shard"),
        # Two errors that cancel out in the sum are still two errors.
        (
            {"algo-1-00000": 9, "algo-1-00001": 21},
            "algo-1-00000",
            "10 records passed preprocessing, but 9 rows",
        ),
    ],
)
def test_a_shard_that_does_not_add_up_is_named(
    changes: dict[str, int | None], shard: str, words: str
) -> None:
    joined = {name: rows for name, rows in {**JOINED, **changes}.items() if rows is not None}
    with pytest.raises(ReconciliationError) as caught:
        reconcile(merge_host_manifests(two_hosts(), host_count=2), joined)
    assert caught.value.shard == shard
    assert str(caught.value).startswith(f"shard {shard}: {words}")
    assert str(caught.value).endswith("nothing is published")
    again = pickle.loads(pickle.dumps(caught.value))
    assert (str(again), again.shard) == (str(caught.value), shard)


def test_an_object_that_was_listed_but_not_read_is_named() -> None:
    found = merge_host_manifests(two_hosts(), host_count=2)
    listed = ["s3://in/algo-1.csv", "s3://in/algo-2.csv", "s3://in/late.csv"]
    with pytest.raises(
        ReconciliationError, match=r"^s3://in/late\.csv was listed but never read; nothing is published$"
    ):
        reconcile(found, JOINED, objects=listed)
    with pytest.raises(ReconciliationError, match=r"^s3://in/algo-2\.csv was read but never listed"):
        reconcile(found, JOINED, objects=listed[:1])


def broken(**changes: Any) -> list[dict[str, Any]]:
    documents = two_hosts()
    documents[1].update(changes)
    return documents


@pytest.mark.parametrize(
    ("documents", "message"),
    [
        (two_hosts()[:1], ("1 of 2 hosts left a manifest (algo-2); missing: algo-1; what the others wrote cannot be "
                          "accounted for, so nothing of it is used")),
        ([], ("0 of 2 hosts left a manifest (none); what the others wrote cannot be accounted for, so nothing of it is "
              "used")),
        (two_hosts() + two_hosts()[:1], "two manifests speak for algo-2; each host writes one"),
        (broken(records_in=70), ("manifest of algo-1: algo-1 read 70 records, but passed 30 and rejected 8; these do "
                                 "not add up")),
        (broken(rejected={"arity": 3}), "manifest of algo-1: algo-1 rejected 8 records, but gives reasons for 3"),
        (broken(shards=[]), "manifest of algo-1: algo-1 passed 30 records, but its shards hold 0"),
        (broken(objects=[]), "manifest of algo-1: algo-1 read 38 records, but its objects held 0"),
        (broken(records_out=-1), "manifest of algo-1: records_out: found -1; allowed is a number of at least 0"),
        (broken(host="algo-7"), "manifest of algo-7: host: found 'algo-7'; hosts are algo-1, algo-2"),
        (broken(objects=[{"source": "s3://in/algo-2.csv", "records": 38}]),
         "the object s3://in/algo-2.csv is named 2 times; its records would count more than once"),
    ],
)  # fmt: skip
def test_manifests_that_do_not_add_up_are_refused(documents: list[dict[str, Any]], message: str) -> None:
    with pytest.raises(ManifestError) as caught:
        merge_host_manifests(documents, host_count=2)
    assert str(caught.value) == message


def shard(number: int, size: int, columns: tuple[str, ...] = ("id",)) -> Shard:
    name = f"algo-1-{number:05d}"
    return Shard(
        name=name, records=1, bytes=size, records_key=f"r/{name}", features_key=f"f/{name}", columns=columns
    )


def group_shards(shards: list[Shard], group_bytes: int) -> list[tuple[int, int]]:
    """The first and the last shard of each group."""
    groups = group_neighbours(shards, group_bytes, get_columns=lambda each: each.columns)
    return [(group[0], group[-1]) for group in groups]


def test_neighbours_share_a_group_until_it_is_full() -> None:
    shards = [shard(number, size) for number, size in enumerate([40, 40, 40, 100, 10, 10])]
    assert group_shards(shards, 100) == [(0, 1), (2, 2), (3, 3), (4, 5)]
    assert group_shards([], 100) == []


def test_shards_with_and_without_label_are_never_in_one_group() -> None:
    shards = [shard(0, 1), shard(1, 1, ("id", "label")), shard(2, 1, ("id", "label")), shard(3, 1)]
    assert group_shards(shards, 100) == [(0, 0), (1, 2), (3, 3)]


@given(sizes=st.lists(st.integers(0, 1000), max_size=80), limit=st.integers(1, 2000))
def test_groups_hold_every_shard_once_and_in_order(sizes: list[int], limit: int) -> None:
    groups = group_shards([shard(number, size) for number, size in enumerate(sizes)], limit)
    assert [position for first, last in groups for position in range(first, last + 1)] == list(
        range(len(sizes))
    )
    assert all(first == last or sum(sizes[first : last + 1]) <= limit for first, last in groups)


@given(
    counts=st.lists(st.lists(st.integers(0, 50), max_size=4), min_size=1, max_size=5),
    rejects=st.integers(0, 9),
    at=st.integers(0, 100),
    change=st.integers(-3, 3),
)
def test_any_single_change_of_a_count_is_found(
    counts: list[list[int]], rejects: int, at: int, change: int
) -> None:
    documents = [
        host(f"algo-{number + 1}", each, {"arity": rejects} if rejects else {}, hosts=len(counts))
        for number, each in enumerate(counts)
    ]
    found = merge_host_manifests(documents, host_count=len(counts))
    joined = {each.name: each.records for each in found.shards}
    done = reconcile(found, joined)
    assert done.records_in == done.rejected_count + done.scored
    if joined and change:
        wrong = sorted(joined)[at % len(joined)]
        with pytest.raises(ReconciliationError) as caught:
            reconcile(found, {**joined, wrong: joined[wrong] + change})
        assert caught.value.shard == wrong


def test_what_several_jobs_refused_counts_together_before_it_is_published() -> None:
    """Each job has compared its own with the limit; a share of the records in, or a number."""
    found = Reconciliation(
        records_in=100, rejected={"arity": 2, "refused by the model": 4}, scored=94, shards=3
    )
    for allowed in (None, 6, 0.06):
        check_all_rejects(found, allowed)
    with pytest.raises(TooManyRejectsError, match=r"6 of 100 records were rejected .* nothing is published"):
        check_all_rejects(found, 5)
