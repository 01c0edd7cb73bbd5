"""A shard that was transformed in pieces, put together again without what the model refused."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest

from batch_inference.jobs.common.errors import JoinError, PredictionCountError
from batch_inference.jobs.config.join_spec import JoinSpec
from batch_inference.jobs.join.merge_pieces import MergedFiles, TransformedPiece, merge_shard
from batch_inference.jobs.preprocess.rejects import RejectSummary

RECORDS = ["a,1\n", 'b,"two\nlines"\n', 'c,"x ""y"""\n', "d,4\n", "é,5\n"]


def spec(**changes: Any) -> JoinSpec:
    """Two columns and a score, as CSV."""
    return JoinSpec.from_dict(
        {
            "columns": [{"name": "k", "type": "string"}, {"name": "v", "type": "string"}],
            "output_format": "csv",
            "predictions": {"format": "csv", "fields": {"0": "score"}, **changes},
        }
    )


def mended(
    folder: Path,
    parts: list[tuple[int, str | None]],
    of: JoinSpec | None = None,
    company: int = 0,
    sensitive: Sequence[str] = (),
) -> dict[str, Any]:
    """Mend the five records from parts: so many records with these answers, or None for refused ones.

    Single records have so much company.
    """
    (folder / "all").write_text("".join(RECORDS))
    made = []
    for number, (records, answers) in enumerate(parts):
        path = None if answers is None else folder / f"answers-{number}"
        if path is not None:
            path.write_text(answers or "")
        others = company if records == 1 else 0
        made.append(TransformedPiece(f"shard.{number}", records, path, "ClientError: 400 no", others))
    to = MergedFiles(folder / "records", folder / "predictions", folder / "rejects")
    summary = RejectSummary(["key", "value"], sensitive)
    refused = merge_shard(
        folder / "all",
        made,
        of or spec(),
        to,
        source_uri="s3://b/records/shard.csv",
        rule_name="refused",
        summary=summary,
    )
    assert refused == sum(records for records, answers in parts if answers is None)
    texts = {name: (folder / name).read_text() for name in ("records", "predictions", "rejects")}
    return {**texts, "groups": summary.list_groups()}


def test_what_is_left_stays_line_for_line_and_in_order(tmp_path: Path) -> None:
    """Quoted line breaks and all; answers without a last line feed do not run into the next."""
    found = mended(tmp_path, [(2, "0.1\n0.2"), (1, None), (1, "0.4\n"), (1, "0.5")])
    assert found["records"] == "".join([*RECORDS[:2], *RECORDS[3:]])
    assert found["predictions"] == "0.1\n0.2\n0.4\n0.5\n"


def test_each_refused_record_is_listed_with_its_place_its_text_and_the_answer(tmp_path: Path) -> None:
    """As the rejects of preprocessing are; `line` counts in the file of the shard's records."""
    found = mended(tmp_path, [(1, "0.1\n"), (1, None), (1, "0.3\n"), (2, None)])
    rejects = [json.loads(line) for line in found["rejects"].splitlines()]
    assert [(each["line"], each["record"], each["text"]) for each in rejects] == [
        (2, 2, 'b,"two\nlines"'),
        (5, 4, "d,4"),
        (6, 5, "é,5"),
    ]
    assert rejects[0] == {
        "source": "s3://b/records/shard.csv",
        "line": 2,
        "record": 2,
        "rule": "refused",
        "column": "",
        "reason": "ClientError: 400 no",
        "text": 'b,"two\nlines"',
    }


@pytest.mark.parametrize("sensitive", [(), ("value",)])
def test_refused_records_are_counted_with_examples(tmp_path: Path, sensitive: tuple[str, ...]) -> None:
    """A response may repeat any value of its record, so with a sensitive column neither is an example's."""
    (group,) = mended(tmp_path, [(1, None), (1, "0.2\n"), (3, None)], sensitive=sensitive)["groups"]
    assert (group["rule"], group["column"], group["records"]) == ("refused", "", 4)
    assert [(each["line"], each["record"]) for each in group["examples"]] == [(1, 1), (4, 3), (5, 4), (6, 5)]
    found = {(each["found"], each["text"]) for each in group["examples"][:1]}
    assert found == {(None, None) if sensitive else ("ClientError: 400 no", RECORDS[0].rstrip("\n"))}


def test_documents_are_put_one_behind_the_other(tmp_path: Path) -> None:
    """Each request is answered by a document of its own, whatever stands between them."""
    of = spec(format="json", fields={"score": "score"})
    parts = [(2, '{"predictions":[{"score":1},{"score":2}]}'), (2, None), (1, '[{"score":5}]')]
    found = mended(tmp_path, parts, of)
    assert found["predictions"] == '{"predictions":[{"score":1},{"score":2}]}\n[{"score":5}]\n'


@pytest.mark.parametrize(
    ("shape", "answers", "own"),
    [
        ("csv", '"x\ny",0.1\n9,9\n', '"x\ny",0.1\n'),
        ("csv", "0.10,z\n\n9,9", "0.10,z\n"),
        ("jsonlines", '{"score": 1.50}\n{"score": 9}\n', '{"score": 1.50}\n'),
        ("json", '{"predictions": [{"score": 1.50, "n": [1e400, "é"]}, {"score": 9}]}', None),
        ("json", '[{"score": 1.50, "n": [1e400, "é"]}]\n[{"score": 9}]', None),
    ],
)
def test_answers_to_company_are_counted_and_left_out(
    tmp_path: Path, shape: str, answers: str, own: str | None
) -> None:
    """Whatever shape they have; the record's own is as it was, numbers to the digit."""
    of = spec(format=shape, fields={"1" if shape == "csv" else "score": "score"})
    found = mended(tmp_path, [(1, answers), (4, None)], of, company=1)
    assert found["records"] == RECORDS[0]
    assert found["predictions"] == (own or '{"predictions": [{"score": 1.50, "n": [1e400, "é"]}]}\n')


@pytest.mark.parametrize("answers", ["0.1\n", "0.1\n9\n9\n"])
def test_a_record_whose_company_is_not_answered_is_named(tmp_path: Path, answers: str) -> None:
    """Which of them the one answer is to, nobody knows."""
    with pytest.raises(
        PredictionCountError, match=rf"shard shard.0: 2 records but {answers.count(chr(10))} predictions"
    ):
        mended(tmp_path, [(1, answers), (4, None)], company=1)


def test_a_piece_with_too_few_or_too_many_answers_is_named(tmp_path: Path) -> None:
    """A piece that drops a row while another doubles one would be a shift that no count of the shard shows."""
    with pytest.raises(PredictionCountError, match=r"shard shard.0: 2 records but 1 predictions"):
        mended(tmp_path, [(2, "0.1\n"), (3, "0.3\n0.3\n0.4\n0.5\n")])
    with pytest.raises(PredictionCountError, match=r"shard shard.1: 3 records but 4 predictions"):
        mended(tmp_path, [(2, "0.1\n0.2\n"), (3, "0.3\n0.3\n0.4\n0.5\n")])


def test_pieces_that_are_not_the_shard_are_refused(tmp_path: Path) -> None:
    """More records than the pieces say, or fewer."""
    with pytest.raises(JoinError, match="holds more than the 4 records of its pieces"):
        mended(tmp_path, [(4, None)])
    with pytest.raises(JoinError, match=r"shard.1 should hold 3 records, and 1 are left"):
        mended(tmp_path, [(4, None), (3, None)])
