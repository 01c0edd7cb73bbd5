"""Folders are teams: ids lead to files, `_defaults.yaml` is inherited, `matrix` makes several pipelines of a file."""

from __future__ import annotations

import fnmatch
from pathlib import Path
from typing import Any

import pytest
import yaml
from hypothesis import given
from hypothesis import strategies as st

from batch_inference.common.errors import PipelineError
from batch_inference.common.names import build_name_prefix, build_runs_prefix
from batch_inference.config.pipeline import Pipeline
from batch_inference.config.pipeline_files import (
    find_shared_prefixes,
    get_pipelines_folder,
    list_pipeline_ids,
    load_pipeline_by_id,
    read_pipelines,
    register_folder,
)
from batch_inference.requests.iam import build_policies
from tests.unit.builders import WITHOUT_PREPROCESS, document, pipeline

#: Two teams, each with a pipeline of the same name, and one above them.
TREE: dict[str, dict[str, Any]] = {
    "churn.yaml": {},
    "risk/churn.yaml": {},
    "risk/cards/fraud.yaml": {"name": "fraud"},
    "growth/churn.yaml": {},
}


def write(folder: Path, files: dict[str, dict[str, Any]]) -> Path:
    for name, changes in files.items():
        put(folder, name, document(changes))
    return folder


def put(folder: Path, name: str, content: Any) -> Path:
    file = folder / name
    file.parent.mkdir(parents=True, exist_ok=True)
    file.write_text(content if isinstance(content, str) else yaml.safe_dump(content, sort_keys=False))
    return file


def problem(folder: Path, pipeline_id: str) -> str:
    """What is wrong with a pipeline, without the path of the folder."""
    with pytest.raises(PipelineError) as caught:
        load_pipeline_by_id(pipeline_id, folder)
    return str(caught.value).replace(f"{folder}/", "")


def test_folders_are_teams_and_part_of_the_id_and_of_the_files_in_s3(tmp_path: Path) -> None:
    write(tmp_path, TREE)
    put(tmp_path, "_templates/other.yaml", "nothing: here")
    put(tmp_path, "_draft.yaml", "nothing: here")
    put(tmp_path, ".git/config.yaml", "nothing: here")
    assert list_pipeline_ids(tmp_path) == ("churn", "growth.churn", "risk.cards.fraud", "risk.churn")
    read = load_pipeline_by_id("risk.cards.fraud", tmp_path)
    assert read.name == "risk.cards.fraud"
    assert build_runs_prefix(work=read.work, pipeline=read.name) == "s3://data/work/risk/cards/fraud/"
    assert Pipeline.model_validate(read.to_file_content()) == read


def test_an_id_leads_to_its_file_without_a_look_into_others(tmp_path: Path) -> None:
    write(tmp_path, TREE)
    for name in ("churn.yaml", "risk/cards/fraud.yaml", "growth/_defaults.yaml"):
        put(tmp_path, name, "{")
    assert load_pipeline_by_id("risk.churn", tmp_path).name == "risk.churn"


def test_a_pipeline_that_is_not_there_is_named_with_those_that_are(tmp_path: Path) -> None:
    write(tmp_path, TREE)
    assert problem(tmp_path, "risk.chrun") == (
        f"{tmp_path}: found no pipeline 'risk.chrun'; there is 'churn', 'growth.churn', 'risk.cards.fraud' and "
        f"'risk.churn'; did you mean 'risk.churn'?"
    )
    assert "found no pipeline '../risk'" in problem(tmp_path, "../risk")


def test_a_process_knows_the_folder_of_the_dags_that_it_built(tmp_path: Path) -> None:
    write(tmp_path, TREE)
    with pytest.raises(PipelineError, match="no DAG file of this process builds it"):
        get_pipelines_folder("nowhere.churn")
    register_folder("growth.churn", tmp_path)
    assert load_pipeline_by_id("growth.churn").name == "growth.churn"


@pytest.mark.parametrize(
    ("files", "message"),
    [
        (
            {"risk.yaml": {"name": "risk"}, "risk/churn.yaml": {}},
            (
                "risk.yaml: found beside the folder risk/ with pipelines of its own; their files in S3 and their DAGs "
                "would have the names of this pipeline's: rename one"
            ),
        ),
        (
            {"Risk/churn.yaml": {}},
            (
                "Risk/churn.yaml: found a folder named 'Risk'; allowed are a-z, 0-9, _ and -, as it is part of "
                "the DAG's id: rename it"
            ),
        ),
        (
            {"risk/churn.eu.yaml": {}},
            (
                "risk/churn.eu.yaml: found a file named 'churn.eu'; allowed are a-z, 0-9, _ and -, as it is part of "
                "the DAG's id: rename it"
            ),
        ),
        ({"risk/churn.yml": {}}, "risk/churn.yml: found the suffix .yml; allowed is .yaml: rename it"),
        (
            {"risk/fraud.yaml": {"name": "churn"}},
            "risk/fraud.yaml: line 1, name: found 'churn'; allowed is 'fraud', the name of the file: rename one",
        ),
    ],
)
def test_files_that_would_share_a_name_are_refused_and_no_others(
    tmp_path: Path, files: dict[str, dict[str, Any]], message: str
) -> None:
    write(tmp_path, {**files, "other/churn.yaml": {}})
    errors = [error for _, _, error in read_pipelines(tmp_path) if isinstance(error, PipelineError)]
    assert [str(error).replace(f"{tmp_path}/", "") for error in errors] == [message]


def test_the_nearest_defaults_win_mappings_merge_and_lists_replace(tmp_path: Path) -> None:
    write(tmp_path, {"risk/churn.yaml": {"role": None, "tags": {"team": "risk"}, "transform": None}})
    put(tmp_path, "_defaults.yaml", {
        "role": "arn:aws:iam::123456789012:role/all", "tags": {"cost-center": "1", "team": "none"},
        "transform": {"max_instances": 2, "instance_types": ["ml.c5.xlarge"]}, "prices": {"ml.c5.xlarge": 0.1},
    })  # fmt: skip
    put(tmp_path, "risk/_defaults.yaml", {
        "role": "arn:aws:iam::123456789012:role/risk", "prices": None,
        "transform": {"instance_types": ["ml.m5.xlarge"]},
    })  # fmt: skip
    read = load_pipeline_by_id("risk.churn", tmp_path)
    assert read.role.endswith("/risk")
    assert read.tags == {"cost-center": "1", "team": "risk"}
    assert (read.transform.max_instances, read.transform.instance_types) == (2, ("ml.m5.xlarge",))
    assert read.prices == {}


def test_null_is_a_value_where_the_field_has_one(tmp_path: Path) -> None:
    write(tmp_path, {"churn.yaml": {}, "kept.yaml": {"name": "kept"}})
    put(tmp_path, "_defaults.yaml", {"keep_runs_days": 3, "goals": {"deadline": "06:00"}})
    text = (
        (tmp_path / "kept.yaml")
        .read_text()
        .replace("goals:", "keep_runs_days: null\ngoals:\n  deadline: null")
    )
    (tmp_path / "kept.yaml").write_text(text)
    assert load_pipeline_by_id("churn", tmp_path).keep_runs_days == 3
    kept = load_pipeline_by_id("kept", tmp_path)
    assert (kept.keep_runs_days, kept.goals.deadline) == (None, None)


def test_defaults_of_preprocess_are_for_pipelines_that_have_it(tmp_path: Path) -> None:
    write(
        tmp_path,
        {
            "plain.yaml": {**WITHOUT_PREPROCESS, "name": "plain"},
            "churn.yaml": {},
            "all.yaml": {"name": "all"},
        },
    )
    put(
        tmp_path,
        "_defaults.yaml",
        {"preprocess": {"max_instances": 9, "image": "registry/other:1"}, "max_rejected": 0.05},
    )
    text = (tmp_path / "all.yaml").read_text()
    (tmp_path / "all.yaml").write_text(
        text[: text.index("preprocess:")] + "preprocess: {}\n" + text[text.index("transform:") :]
    )
    plain, churn, everything = (load_pipeline_by_id(name, tmp_path) for name in ("plain", "churn", "all"))
    assert (plain.preprocess, plain.max_rejected) == (None, None)
    assert (churn.preprocess_section.max_instances, churn.max_rejected) == (4, 0.05)
    assert (everything.preprocess_section.max_instances, everything.preprocess_section.image) == (
        9,
        "registry/other:1",
    )


@pytest.mark.parametrize(
    ("defaults", "message"),
    [
        (
            "tags: {}\ntransform:\n  max_instances: 400\n",
            ("risk/churn.yaml: risk/_defaults.yaml, line 3, transform.max_instances: found 400; allowed is a "
            "number of at most 100"),
        ),
        ("prises: {}\n", "risk/churn.yaml: risk/_defaults.yaml, line 1, prises: found an unknown key"),
        ("name: churn\n", "risk/_defaults.yaml: line 1, name: found in _defaults.yaml; allowed only in the file of"),
        ("matrix: {}\n", "risk/_defaults.yaml: line 1, matrix: found in _defaults.yaml; allowed only in the file of"),
        ("- a\n", "risk/_defaults.yaml: found a list; allowed is a mapping of keys such as"),
        ("a: [\n", "risk/_defaults.yaml: line 2, column 1: not valid YAML"),
    ],
)  # fmt: skip
def test_what_is_wrong_in_defaults_is_told_with_their_file_and_line(
    tmp_path: Path, defaults: str, message: str
) -> None:
    write(tmp_path, {"risk/churn.yaml": {"transform": None}, "churn.yaml": {}})
    put(tmp_path, "risk/_defaults.yaml", defaults)
    assert problem(tmp_path, "risk.churn").startswith(message.replace("", "")), problem(
        tmp_path, "risk.churn"
    )
    assert load_pipeline_by_id("churn", tmp_path).name == "churn"


def test_the_pipelines_own_value_is_told_with_its_own_line(tmp_path: Path) -> None:
    file = write(tmp_path, {"risk/churn.yaml": {"transform.max_instances": 400}}) / "risk/churn.yaml"
    put(tmp_path, "risk/_defaults.yaml", {"transform": {"max_instances": 3}})
    line = 1 + [*file.read_text().splitlines()].index("  max_instances: 400")
    assert problem(tmp_path, "risk.churn").startswith(
        f"risk/churn.yaml: line {line}, transform.max_instances: "
    )


def test_a_matrix_makes_a_pipeline_of_each_key(tmp_path: Path) -> None:
    matrix = {"eu": {"region": "eu-central-1", "transform": {"max_instances": 1}}, "us-2": None}
    write(
        tmp_path,
        {
            "risk/churn.yaml": {
                "matrix": matrix,
                "input.uri": "s3://data/in/{matrix}/",
                "tags": {"t": "{matrix}"},
            }
        },
    )
    assert list_pipeline_ids(tmp_path) == ("risk.churn.eu", "risk.churn.us-2")
    eu, us = (load_pipeline_by_id(name, tmp_path) for name in list_pipeline_ids(tmp_path))
    assert (eu.name, eu.region, eu.transform.max_instances, eu.input.uri) == (
        "risk.churn.eu", "eu-central-1", 1, "s3://data/in/eu/",
    )  # fmt: skip
    assert (us.region, us.transform.max_instances, us.tags) == (None, 4, {"t": "us-2"})
    assert problem(tmp_path, "risk.churn").endswith(
        "matrix: found no key after churn in the name of the pipeline; allowed is 'eu' or 'us-2'"
    )
    assert "matrix: found no key 'ue' after churn" in problem(tmp_path, "risk.churn.ue")


def test_an_error_of_one_key_breaks_that_one_only(tmp_path: Path) -> None:
    matrix = {"eu": {"region": "Europe"}, "us": {"region": "us-east-1"}, "Asia": {}}
    file = write(tmp_path, {"churn.yaml": {"matrix": matrix}}) / "churn.yaml"
    assert problem(tmp_path, "churn.us").endswith(
        "matrix.Asia: found the key 'Asia'; allowed are a-z, 0-9, _ and -"
    )
    write(tmp_path, {"churn.yaml": {"matrix": {key: matrix[key] for key in ("eu", "us")}}})
    line = 1 + [*file.read_text().splitlines()].index("    region: Europe")
    assert problem(tmp_path, "churn.eu").startswith(f"churn.yaml: line {line}, region: found 'Europe'")
    found = {name: type(result) for name, _, result in read_pipelines(tmp_path)}
    assert found == {"churn.eu": PipelineError, "churn.us": Pipeline}


@pytest.mark.parametrize(
    ("matrix", "message"),
    [
        ([], "matrix: allowed is a mapping: a key for each DAG"),
        ({"eu": [1]}, "matrix.eu: found [1]; allowed is a mapping of keys"),
        ({"eu": {"name": "x"}}, "matrix.eu.name: found below matrix; allowed only at the top"),
        ({2024: {}}, 'matrix.2024: found the key 2024; allowed are a-z, 0-9, _ and -; quote it: "2024"'),
        ({None: {}}, "matrix.None: found the key None; allowed are a-z"),
    ],
)
def test_a_matrix_that_is_none_is_refused(tmp_path: Path, matrix: Any, message: str) -> None:
    write(tmp_path, {"churn.yaml": {"matrix": matrix}})
    assert message in problem(tmp_path, "churn.eu")


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ("matrix:\n  <<: {B C: {}}\n", "line 1, matrix.B C: found the key 'B C'"),
        ("matrix:\n  eu:\n    <<: {name: y}\n", "line 2, matrix.eu.name: found below matrix"),
        ("<<: {matrix: [1]}\n", "matrix: allowed is a mapping"),
    ],
)
def test_what_a_merge_key_brings_is_refused_and_breaks_no_other_file(
    tmp_path: Path, content: str, message: str
) -> None:
    """It has no line of its own: that of what contains it is told."""
    write(tmp_path, {"churn.yaml": {}})
    put(tmp_path, "fraud.yaml", content)
    found = {name.partition(".")[0]: result for name, _, result in read_pipelines(tmp_path)}
    assert isinstance(found["churn"], Pipeline)
    assert message in str(found["fraud"])


def test_a_key_of_a_matrix_may_do_without_preprocess(tmp_path: Path) -> None:
    """And then inherits nothing that needs it."""
    content = document(WITHOUT_PREPROCESS)
    put(tmp_path, "churn.yaml", {**content, "preprocess": {}, "matrix": {"eu": {"preprocess": None}}})
    put(tmp_path, "_defaults.yaml", {"max_rejected": 0.05, "preprocess": document()["preprocess"]})
    assert load_pipeline_by_id("churn.eu", tmp_path).preprocess is None


def test_a_name_that_a_merge_key_brings_into_defaults_is_refused(tmp_path: Path) -> None:
    write(tmp_path, {"churn.yaml": {}})
    put(tmp_path, "_defaults.yaml", "<<: {name: y}\n")
    assert "name: found in _defaults.yaml; allowed only in the file of a pipeline" in problem(
        tmp_path, "churn"
    )


def test_a_file_in_a_wrong_place_does_not_take_the_id_of_another(tmp_path: Path) -> None:
    write(tmp_path, {"risk/churn.yaml": {}, "risk.churn.yaml": {}, "risk/churn.yml": {}})
    found = {name: type(result) for name, _, result in read_pipelines(tmp_path)}
    assert found == {
        "risk.churn": Pipeline, "risk.churn.yaml": PipelineError, "risk/churn.yml": PipelineError
    }  # fmt: skip


def test_runs_of_one_pipeline_below_those_of_another_are_found_whatever_work_they_state() -> None:
    one = pipeline({"name": "risk", "work": "s3://data/work"})
    below = pipeline({"name": "churn", "work": "s3://data/work/risk/"})
    beside = pipeline({"name": "risk.churn", "work": "s3://data/other"})
    alike = pipeline({"name": "risk2", "work": "s3://data/work"})
    assert find_shared_prefixes([one, beside, alike]) == []
    assert find_shared_prefixes([below, one, beside, alike]) == [
        (
            "churn: its runs are at s3://data/work/risk/churn/, where the policies of risk allow all below "
            "s3://data/work/risk/; write another work in one of them"
        )
    ]
    equal = pipeline({"name": "risk.churn", "work": "s3://data/work"})
    assert find_shared_prefixes([below, equal]) == [
        (
            "risk.churn: its runs are at s3://data/work/risk/churn/, where the policies of churn allow all below "
            "s3://data/work/risk/churn/; write another work in one of them"
        )
    ]


# Few letters, so that many names begin alike, or differ in what AWS does not allow in a name.
_PARTS = st.from_regex(r"[a2]([ar2_-]|-transform|-model|-preprocess){0,3}", fullmatch=True)
_IDS = st.lists(_PARTS | st.just("a" * 30), min_size=1, max_size=3).map(".".join)


@given(st.sets(_IDS, min_size=2, max_size=6))
def test_no_pattern_of_a_pipeline_covers_a_name_or_a_prefix_of_another(ids: set[str]) -> None:
    # A pipeline beside a team's folder of its name is refused, see above.
    tree = {each for each in ids if not any(other.startswith(f"{each}.") for other in ids)}
    for one in tree:
        for other in tree - {one}:
            mine, theirs = build_name_prefix(one), build_name_prefix(other)
            assert not theirs.startswith(mine)
            prefixes = [build_runs_prefix(work="s3://b/w/", pipeline=each) for each in (one, other)]
            assert not prefixes[1].startswith(prefixes[0])


def test_no_policy_of_a_pipeline_covers_the_jobs_and_files_of_a_teams(tmp_path: Path) -> None:
    """Names built to collide: `risk` and its steps, `my_model` and `my-model`, names cut at AWS's limit."""
    names = (
        "risk",
        "risk-transform-ab",
        "my_model",
        "my-model",
        "a" * 40,
        "a" * 41,
        "team/risk",
        "team-risk",
    )
    write(tmp_path, {
        f"{name}.yaml": {
            "name": name.rpartition("/")[2], "join.processing_above": 1_000_000,
            "model": {"containers": [{"image": IMAGE, "model_data": "s3://models/a.tar.gz"}]},
            "preprocess.image": IMAGE, "output.uri": f"s3://data/out/{name}/",
        }
        for name in names
    })  # fmt: skip
    documents = {}
    for pipeline_id, _, found in read_pipelines(tmp_path):
        assert isinstance(found, Pipeline), found
        documents[pipeline_id] = [
            list_own_arns(policy, pipeline_id) for policy in build_policies(found).values()
        ]
    assert len(documents) == len(names)
    for one, mine in documents.items():
        for other, theirs in documents.items():
            if one == other:
                continue
            patterns = {arn for each in mine for arn in each}
            for concrete in {arn.replace("?", "0").replace("*", "x") for each in theirs for arn in each}:
                covering = [each for each in patterns if fnmatch.fnmatchcase(concrete, each)]
                assert not covering, f"{covering} of {one} covers {concrete} of {other}"


IMAGE = "123456789012.dkr.ecr.us-east-1.amazonaws.com/python:3"


def list_own_arns(policy: dict[str, Any], pipeline_id: str) -> set[str]:
    """The resources that belong to one pipeline: its jobs, models, log streams, and files below `work`."""
    kinds = ("-job/", ":model/", "log-stream:", ":::data/work/")
    return {
        arn
        for statement in policy["Statement"]
        for arn in statement.get("Resource", ())
        if any(kind in arn for kind in kinds)
    }
