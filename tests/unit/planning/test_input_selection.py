"""Which objects of a listing are scored, and which names no job can be given."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from batch_inference.common.errors import EmptyInputError, PlanError, RequestLintError
from batch_inference.common.names import RunPaths
from batch_inference.common.object_names import is_control_name
from batch_inference.config.run_params import RunParams
from batch_inference.planning.inputs.input_listing import S3Object
from batch_inference.planning.inputs.input_selection import InputSelection, ListAgainError
from batch_inference.planning.plan import Plan
from batch_inference.planning.planner import make_plan
from tests.unit.builders import context, pipeline, pipeline_without_preprocess, run_info

Read = Callable[[str], bytes | None]


def nothing(_: str) -> None:
    """No object can be read."""


def listing(*keys: str, size: int = 100) -> list[S3Object]:
    """Objects with these keys in S3's order; the ETag of each is its key."""
    return [S3Object(key, size, key) for key in sorted(keys, key=str.encode)]


def select(uri: str, *keys: str, read: Read = nothing) -> tuple[list[str], InputSelection]:
    """The keys that are input, and what selected them; lists again when it has to."""
    selection = InputSelection(uri, read)
    while True:
        try:
            return [each.key for each in selection.select(listing(*keys))], selection
        except ListAgainError:
            continue


def published(folder: str, *names: str, **changes: Any) -> bytes:
    """A manifest of this package's for files of these names, each with its key as its ETag."""
    manifest = {
        "version": 1, "pipeline": "churn", "run_id": "r1", "output_uri": f"s3://data/{folder}", "rows": 1,
        "files": [
            {"uri": f"s3://data/{folder}{name}", "etag": f"{folder}{name}", "size": 100, "rows": 1} for name in names
        ],
    }  # fmt: skip
    return json.dumps({**manifest, **changes}).encode()


def test_files_and_folders_in_turns_are_selected_without_being_held() -> None:
    """Each folder leads back to the one around it: what is held must not grow with that, nor each step with it."""
    selection = InputSelection("s3://data/in/", nothing)
    keys = [f"in/{number:04}{end}" for number in range(1000) for end in (".csv", "/a/b.csv", "/c.csv")]
    found = []
    for each in selection.select(listing(*keys)):
        found.append(each.key)
        assert len(selection._folders_with_input) <= 3  # the base, a folder in it and one in that
    assert sorted(found) == sorted(keys)


@pytest.mark.parametrize(
    "name",
    [
        "_SUCCESS", "_committed_1", "_started_1", "_temporary", "_metadata", "_common_metadata", "_delta_log",
        "_spark_metadata", "_manifest.json", ".part-0.csv.crc", ".hoodie", "...", "part-0.csv._COPYING_",
    ],
)  # fmt: skip
def test_control_files_of_any_writer_are_no_input_wherever_they_lie(name: str) -> None:
    """As files, and as folders at any depth."""
    found, selection = select(
        "s3://data/in/", "in/a.csv", f"in/{name}", f"in/b/{name}", f"in/{name}_/x/c.csv".replace("__/", "_/"),
        f"in/b/{name}/0/c.csv",
    )  # fmt: skip
    assert is_control_name(name)
    assert [key for key in found if name in key.split("/")] == []
    assert "in/a.csv" in found
    assert selection.excluded.control_files >= 3


@pytest.mark.parametrize(
    "name", ["part-0.csv", "date=2026-01-31", "_col=1", "_col=_1", "a_", "a.b", "a._COPYING", "-_"]
)
def test_data_and_partition_folders_are_input_as_for_spark(name: str) -> None:
    """Also a partition by a column whose name begins with an underscore."""
    keys = [f"in/{name}", f"in/{name}x/{name}"]
    assert select("s3://data/in/", *keys)[0] == keys


@pytest.mark.parametrize(
    ("uri", "keys"),
    [
        ("s3://data/_staging/.in/", ["_staging/.in/a.csv"]),
        ("s3://data/in/part", ["in/part_0.csv", "in/part.csv"]),
        ("s3://data/in/_part", ["in/_part-0.csv"]),
        ("s3://data/in/_file.csv", ["in/_file.csv"]),
        ("s3://data/in", ["in/a.csv"]),
        ("s3://data/_in", ["_in/a.csv"]),
        ("s3://data", ["a.csv"]),
    ],
)
def test_what_the_user_wrote_in_the_uri_is_meant(uri: str, keys: list[str]) -> None:
    """Only what follows it is looked at; of a name whose beginning it is, nothing."""
    assert select(uri, *keys)[0] == sorted(keys)
    folder = uri.removeprefix("s3://data").strip("/").rpartition("/")[0]
    deeper = f"{keys[0].rpartition('/')[0] or folder}/x/_SUCCESS".lstrip("/")
    if uri.endswith("/") or uri in ("s3://data", "s3://data/in", "s3://data/_in"):
        assert select(uri, *keys, deeper)[0] == sorted(keys)


def test_a_folder_below_a_partial_uri_is_still_looked_at() -> None:
    assert select("s3://data/in/2026-", "in/2026-01/_tmp/a.csv", "in/2026-02/a.csv")[0] == [
        "in/2026-02/a.csv"
    ]


def test_consoles_folders_are_neither_input_nor_counted() -> None:
    """Empty objects whose keys end in a slash."""
    selection = InputSelection("s3://data/in/", nothing)
    objects = [S3Object("in/", 0), S3Object("in/_tmp/", 0), S3Object("in/a.csv", 3), S3Object("in/sub/", 0)]
    assert [each.key for each in selection.select(objects)] == ["in/a.csv"]
    assert selection.excluded.control_files == 0


def planned(keys: Iterable[str], read: Read = nothing, changes: dict[str, Any] | None = None) -> Plan:
    selection = InputSelection("s3://data/in/", read)
    of = pipeline(changes)
    return make_plan(
        of, RunParams(), selection.select(listing(*keys)), run_info(), context(of), selection=selection
    )


def test_the_plan_says_how_many_objects_were_left_out() -> None:
    made = planned(["in/a.csv", "in/_SUCCESS", "in/_temporary/0/b.csv"])
    assert made.input.objects == 1
    assert made.to_xcom()["input"]["excluded"]["control_files"] == 2
    assert (
        "2 control files are left out, such as in/_SUCCESS: a name of a file or folder that begins with _ or . is not "
        "input."
    ) in made.sentences


def test_an_input_of_control_files_alone_is_told_from_an_empty_one() -> None:
    with pytest.raises(
        EmptyInputError,
        match=r"holds no object with content besides 2 control files \(names .*, such as in/_SUCCESS\), which are",
    ):
        planned(["in/_SUCCESS", "in/_temporary/0/b.csv"], changes={"on_empty": "fail"})
    assert "besides 1 control file" in planned(["in/_SUCCESS"]).sentences[0]
    assert "besides" not in planned([]).sentences[0]


def test_where_a_run_was_published_its_manifest_says_what_is_input() -> None:
    """Parts of a try that did not commit, of a run that was replaced, and what others put there are not."""
    read = {"s3://data/in/_manifest.json": published("in/", "part-1.csv", "part-3.csv")}.get
    keys = [
        "in/_manifest.json",
        "in/_SUCCESS",
        "in/part-1.csv",
        "in/part-2.csv",
        "in/part-3.csv",
        "in/zz.csv",
    ]
    made = planned(keys, read)
    assert made.input.objects == 2
    excluded = made.input.excluded
    assert (excluded.control_files, excluded.unpublished, excluded.manifests) == (1, 2, 1)
    assert (
        "The input is what the run r1 of the pipeline churn published, as _manifest.json says; 2 objects of the same "
        "folder are left out, because no manifest names them."
    ) in made.sentences


def test_each_folder_follows_its_own_manifest() -> None:
    """A folder that has none is input as it is."""
    manifests = {
        f"s3://data/in/date={day}/_manifest.json": published(f"in/date={day}/", f"part-{day}.csv")
        for day in (1, 2)
    }
    found, selection = select(
        "s3://data/in/",
        *(
            f"in/date={day}/{name}"
            for day in (1, 2)
            for name in ("_manifest.json", "part-1.csv", "part-2.csv")
        ),
        "in/date=3/part-3.csv",
        read=manifests.get,
    )
    assert found == ["in/date=1/part-1.csv", "in/date=2/part-2.csv", "in/date=3/part-3.csv"]
    assert selection.excluded.manifests == 2
    assert "what 2 published runs published" in " ".join(selection.excluded.describe())


def test_objects_that_are_listed_before_their_manifest_follow_it_too() -> None:
    """Digits and capitals come before the underscore; one more listing is enough, for however many folders."""
    manifests = {
        f"s3://data/in/{each}/_manifest.json": published(f"in/{each}/", "part-1.csv", "0.csv")
        for each in "abcd"
    }
    names = ("0.csv", "1.csv", "README", "Sub/x.csv", "_manifest.json", "part-1.csv")
    listings = 0
    selection = InputSelection("s3://data/in/", manifests.get)
    while True:
        listings += 1
        try:
            found = [
                each.key
                for each in selection.select(
                    listing(*(f"in/{each}/{name}" for each in "abcd" for name in names))
                )
            ]
            break
        except ListAgainError:
            continue
    assert listings == 2
    assert found == [f"in/{each}/{name}" for each in "abcd" for name in ("0.csv", "Sub/x.csv", "part-1.csv")]
    assert (selection.excluded.unpublished, selection.excluded.manifests) == (8, 4)


@pytest.mark.parametrize(
    "content", [b"", b"{", b"[]", b"null", b'{"hello": 1}', b"[" * 100_000, b"\xff", b'{"files": []}']
)
def test_a_manifest_of_another_writer_is_a_control_file(content: bytes) -> None:
    found, selection = select("s3://data/in/", "in/_manifest.json", "in/a.csv", read=lambda _: content)
    assert found == ["in/a.csv"]
    assert (selection.excluded.control_files, selection.excluded.manifests) == (1, 0)


def test_an_empty_or_vast_manifest_is_not_read() -> None:
    """So is one that is gone by now."""

    def read(uri: str) -> bytes:
        raise AssertionError(uri)

    for size in (0, 10**9):
        objects = [S3Object("in/_manifest.json", size), S3Object("in/a.csv", 3)]
        assert [each.key for each in InputSelection("s3://data/in/", read).select(objects)] == ["in/a.csv"]


@pytest.mark.parametrize(
    ("names", "message"),
    [
        (["part-1.csv", "part-2.csv"], r"names part-2\.csv, which is not there"),
        (["part-1.csv"], "the ETag old, but the object there has in/part-1.csv"),
    ],
)
def test_a_manifest_that_does_not_agree_with_what_lies_there_is_an_error_once_listed_thrice(
    names: list[str], message: str
) -> None:
    """It may be that somebody is publishing; then the next listing agrees."""
    content = published("in/", *names)
    content = content.replace(b'"etag": "in/part-1.csv"', b'"etag": "old"') if len(names) == 1 else content
    selection = InputSelection("s3://data/in/", lambda _: content)
    objects = listing("in/_manifest.json", "in/part-1.csv")
    for _ in range(2):
        with pytest.raises(ListAgainError):
            list(selection.select(objects))
    with pytest.raises(PlanError, match=message) as caught:
        list(selection.select(objects))
    assert "the run r1 of the pipeline churn" in str(caught.value)


def test_a_publication_that_ends_meanwhile_is_read_with_the_next_listing() -> None:
    """The new run's manifest was read after its predecessor's parts were listed."""
    selection = InputSelection("s3://data/in/", lambda _: published("in/", "part-new.csv"))
    with pytest.raises(ListAgainError):
        list(selection.select(listing("in/_manifest.json", "in/part-old.csv")))
    objects = listing("in/_manifest.json", "in/part-new.csv", "in/part-old.csv")
    assert [each.key for each in selection.select(objects)] == ["in/part-new.csv"]
    assert selection.excluded.manifests == 1


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"version": 2}, "is a manifest of version 2, and this code reads version 1"),
        ({"files": [{"uri": "s3://data/in/a"}]}, "its files have no uri and etag"),
        ({"files": 7}, "its files have no uri and etag"),
        ({"output_uri": "s3://else/where/"}, "names 's3://data/in/part-1.csv', which is not in that folder"),
    ],
)
def test_a_manifest_of_this_package_that_cannot_be_followed_is_an_error(
    changes: dict[str, Any], message: str
) -> None:
    """To leave it aside would score what is not published."""
    content = published("in/", "part-1.csv", **changes)
    with pytest.raises(PlanError, match=message):
        select("s3://data/in/", "in/_manifest.json", "in/part-1.csv", read=lambda _: content)


BAD_NAMES = [
    ("in//a.csv", "with an empty part"),
    ("in/x//a.csv", "with an empty part"),
    ("in/sub/", "with an empty part between two slashes, or a slash at the end"),
    ("in/./a.csv", "with the part `.` or `..`"),
    ("in/../a.csv", "with the part `.` or `..`"),
    ("in/x/..", "with the part `.` or `..`"),
    ("in/.", "with the part `.` or `..`"),
    ("in/a\nb.csv", "with control characters"),
    ("in/a\x00b/c.csv", "with control characters"),
    ("in/a\x7f.csv", "with control characters"),
    (f"in/{'x' * 256}", "with a part of more than 255 bytes"),
    (f"in/{'ä' * 128}/a.csv", "with a part of more than 255 bytes"),
]


@pytest.mark.parametrize("make", [pipeline, pipeline_without_preprocess])
@pytest.mark.parametrize(("key", "problem"), BAD_NAMES)
def test_a_key_that_cannot_be_a_file_is_refused_by_the_plan_with_and_without_preprocessing(
    key: str, problem: str, make: Any
) -> None:
    """SageMaker puts objects into a file system under their names: they would be lost there, or be one file."""
    selection = InputSelection("s3://data/in/", nothing)
    with pytest.raises(RequestLintError) as caught:
        make_plan(
            make(),
            RunParams(),
            selection.select(listing("in/good.csv", key)),
            run_info(),
            context(make()),
            selection=selection,
        )
    assert f"input: found 1 key {problem}" in str(caught.value)
    assert repr(key) in str(caught.value)


@pytest.mark.parametrize(
    "key",
    [
        "in/a b+c%41&.csv",
        "in/ä\u3000/日本.csv",
        "in/a\\b.csv",
        "in/..a.csv".replace("..a", "a.."),
        f"in/{'x' * 255}",
        f"in/{'ä' * 127}/a",
    ],
)
def test_odd_keys_that_are_good_files_are_input(key: str) -> None:
    assert select("s3://data/in/", key)[0] == [key]


def test_the_uri_itself_may_hold_what_is_refused_below_it() -> None:
    """It is the prefix of the job's manifest, and no part of a file's name."""
    assert select("s3://data//in/../", "/in/../a.csv")[0] == ["/in/../a.csv"]


def test_many_bad_keys_are_counted_and_a_few_are_named() -> None:
    keys = [f"in//{number:03d}.csv" for number in range(200)]
    with pytest.raises(RequestLintError) as caught:
        select("s3://data/in/", "in/x/../y", *keys)
    assert len(caught.value.problems) == 2
    assert "200 keys with an empty part" in str(caught.value)
    assert "'in//000.csv', 'in//001.csv' and 'in//002.csv' and 197 more" in str(caught.value)


@pytest.mark.parametrize(
    "keys", [["in/a", "in/a/b.csv"], ["in/a", "in/a!", "in/a-1", "in/a.csv", "in/a/b/c.csv", "in/b"]]
)
def test_a_key_that_is_a_file_and_a_folder_is_refused(keys: list[str]) -> None:
    """However many keys lie between them in S3's order."""
    with pytest.raises(RequestLintError, match=r"1 key below a key that is an object itself.*in/a/b"):
        select("s3://data/in/", *keys)


def test_an_empty_or_left_out_object_may_share_its_name_with_a_folder() -> None:
    """Neither is given to a job."""
    objects = [S3Object("in/_a", 3), S3Object("in/a", 0), S3Object("in/a/b.csv", 3)]
    assert [each.key for each in InputSelection("s3://data/in/", nothing).select(objects)] == [
        "in/a",
        "in/a/b.csv",
    ]


@given(st.sets(st.text("ab/!", min_size=1, max_size=6), max_size=12))
def test_exactly_the_inputs_that_a_file_system_can_hold_are_taken(names: set[str]) -> None:
    """Against the plain definition: no part is empty, and no file is another's folder."""
    folders = {name[:at] for name in names for at, char in enumerate(name) if char == "/"}
    is_good = all(all(name.split("/")) for name in names) and not folders & names
    try:
        found, _ = select("s3://data/in/", *(f"in/{name}" for name in names))
    except RequestLintError:
        assert not is_good
    else:
        assert is_good
        assert found == sorted(f"in/{name}" for name in names)


def test_without_preprocessing_the_answers_need_a_key_as_well() -> None:
    """`<work>/<pipeline>/<run>/<job>/predictions/<name>.out` has 1,024 bytes at most."""
    longest = RunPaths.from_run_id(
        work="s3://data/work", pipeline="churn", run_id="r"
    ).compute_max_object_name_bytes()
    assert longest == 1024 - len("work/churn/r/") - 63 - len("/predictions/.out")
    good, bad = (
        "in/" + "/".join(["x" * 99] * 9) + "/" + "x" * rest for rest in (longest - 900, longest - 899)
    )
    assert list(InputSelection("s3://data/in/", nothing, max_name_bytes=longest).select(listing(good)))
    with pytest.raises(RequestLintError, match="1 key longer than the"):
        list(InputSelection("s3://data/in/", nothing, max_name_bytes=longest).select(listing(bad)))
