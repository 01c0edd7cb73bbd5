"""Quotes that are not where RFC 4180 has them cost the record that they are in, and no other."""

from __future__ import annotations

import csv
import io
import json
import random
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from batch_inference.jobs.common.blocks import BlockReader
from batch_inference.jobs.preprocess.readers.batch import iter_parsed
from batch_inference.jobs.preprocess.readers.csv_records import CsvRecordReader
from tests.unit.jobs.containers import columns
from tests.unit.jobs.hostile_inputs import gzip_bytes, run

INPUTS = Path(__file__).resolve().parents[2] / "inputs" / "faults"
NAMED = {"columns": columns(id="string", name="string", x="float"), "input_header": True}
FEATURES = {"feature_columns": ["x"]}
CELLS = st.text(alphabet='ab,"\n\r \\é', max_size=6)
TABLES = st.integers(2, 4).flatmap(lambda width: st.lists(st.lists(CELLS, min_size=width, max_size=width)))


def scored(
    folder: Path, content: bytes, **changes: Any
) -> tuple[list[list[str]], list[dict[str, Any]], bytes]:
    """The cells of the records that passed, the rejects, and the features."""
    manifest, output = run(folder, content, {**NAMED, **FEATURES, **changes})
    texts = [(output / shard["records_key"]).read_bytes().decode() for shard in manifest["shards"]]
    features = b"".join((output / shard["features_key"]).read_bytes() for shard in manifest["shards"])
    rejects = [
        json.loads(line)
        for path in sorted((output / "rejects").iterdir())
        for line in path.read_bytes().splitlines()
    ]
    assert manifest["records_in"] == manifest["records_out"] + len(rejects)
    return list(csv.reader(io.StringIO("".join(texts), newline=""), strict=True)), rejects, features


def read(
    text: str, escape: str | None = None, limit: int = 1000
) -> tuple[list[list[str]], list[str], list[str]]:
    """Rows that are whole, the texts of those that are not, and the texts of the first."""
    records = CsvRecordReader(io.StringIO(text, newline=""), ",", escape)
    rows, texts, rejects = [], [], []
    while (part := records.read_records(limit)) is not None:
        for index, row in enumerate(part.rows):
            if index in part.malformed:
                rejects.append(part.original_texts.get(index, part.texts[index]))
            else:
                rows.append(row)
                texts.append(part.texts[index])
    return rows, rejects, texts


def as_spark_writes(rows: Iterable[Iterable[str]], *, all_quoted: bool = False, end: str = "\n") -> str:
    """Spark's defaults (univocity): quotes where they are needed, in which a backslash escapes quotes and itself."""

    def cell(text: str) -> str:
        if not (all_quoted or text == "" or any(one in text for one in ',"\r\n')):
            return text
        return '"' + text.replace("\\", "\\\\").replace('"', '\\"') + '"'

    return "".join(",".join(map(cell, row)) + end for row in rows)


def test_quotes_escaped_by_a_backslash_cost_their_records_alone(tmp_path: Path) -> None:
    """Three records of four; the fourth, which stands between them, keeps its own values."""
    content = (INPUTS / "quotes-backslash.csv").read_bytes()
    rows, rejects, features = scored(tmp_path, content)
    assert rows == [["3", "plain, text", "3.5"]]
    assert features == b"3.5\n"
    assert [(one["rule"], one["line"], one["text"]) for one in rejects] == [
        ("quoting", number, content.decode().splitlines()[number - 1]) for number in (2, 3, 5)
    ]
    assert all("input.escape" in one["reason"] for one in rejects)


@pytest.mark.parametrize("end", [b"\n", b"\r\n"])
@pytest.mark.parametrize("packing", ["none", "gzip"])
def test_with_the_escape_stated_they_are_read_whole(tmp_path: Path, end: bytes, packing: str) -> None:
    """And the records are written with doubled quotes, as everything behind preprocessing reads them."""
    content = (INPUTS / "quotes-backslash.csv").read_bytes().replace(b"\n", end)
    content = gzip_bytes(content) if packing == "gzip" else content
    rows, rejects, features = scored(tmp_path, content, input_escape="\\", input_compression=packing)
    assert (rejects, features) == ([], b"1.5\n2.5\n3.5\n4.5\n")
    assert [row[1] for row in rows] == ['monitor 24"', 'monitor 27"', "plain, text", '5" pipe']


def test_a_reject_shows_the_text_as_it_came(tmp_path: Path) -> None:
    content = b'id,name,x\n1,"a \\" b",one\n2,"c \\\\",2\n'
    rows, (reject,), _ = scored(tmp_path, content, input_escape="\\")
    assert (reject["rule"], reject["text"]) == ("type", '1,"a \\" b",one')
    assert rows == [["2", "c \\", "2"]]


def test_a_bare_quote_within_a_quoted_field_costs_its_record(tmp_path: Path) -> None:
    rows, (reject,), features = scored(tmp_path, (INPUTS / "quotes-bare.csv").read_bytes())
    assert (rows, features) == ([["2", "plain", "2.5"]], b"2.5\n")
    assert (reject["rule"], reject["line"]) == ("quoting", 2)


def test_outside_of_quotes_the_escape_is_a_plain_character() -> None:
    """As Spark writes and reads it: the csv module's own escapechar would make C:temp of it."""
    rows, rejects, _ = read('1,C:\\temp\n2,"C:\\temp, \\"x\\" \\\\"\n3,\\\n4,"a""b"\n', "\\")
    assert rows == [["1", "C:\\temp"], ["2", 'C:\\temp, "x" \\'], ["3", "\\"], ["4", 'a"b']]
    assert rejects == []


def test_an_inch_in_a_field_without_quotes_is_a_character_like_any_other() -> None:
    rows, rejects, _ = read('1,5" pipe,x\n2,"a\nb",y\n')
    assert (rows, rejects) == ([["1", '5" pipe', "x"], ["2", "a\nb", "y"]], [])


def test_a_field_that_the_next_record_closes_costs_one_line() -> None:
    """The next record's cell begins with a delimiter, so that its opening quote might have been a closing one."""
    rows, rejects, _ = read('1,"open\n2,",y",3\n4,z,5\n')
    assert (rows, rejects) == ([["2", ",y", "3"], ["4", "z", "5"]], ['1,"open\n'])


@pytest.mark.timeout(60)
@pytest.mark.parametrize("packing", ["none", "gzip"])
@pytest.mark.parametrize("end", ["\n", "\r\n"])
def test_shards_of_several_processes_have_each_record_once(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, end: str, packing: str
) -> None:
    """Over batches, shards and processes: every tenth record has a quote out of place, others have line breaks."""
    monkeypatch.setattr("batch_inference.jobs.preprocess.workers.WORKER_BYTES", 1)
    lines = [
        f'{n},"monitor {n}\\"",{n}.5'
        if n % 10 == 0
        else f'{n},"two{end}lines, ""{n}""",{n}.5'
        if n % 3
        else f"{n},t,{n}.5"
        for n in range(3000)
    ]
    content = end.join(["id,name,x", *lines, ""]).encode()
    rows, rejects, _ = scored(
        tmp_path,
        gzip_bytes(content) if packing == "gzip" else content,
        shard_bytes=5000,
        input_compression=packing,
    )
    assert [int(row[0]) for row in rows] == [n for n in range(3000) if n % 10]
    assert [one["text"] for one in rejects] == [lines[n] for n in range(0, 3000, 10)]
    assert all(row[2] == f"{row[0]}.5" for row in rows)


@settings(max_examples=150)
@given(
    rows=TABLES,
    quoting=st.sampled_from([csv.QUOTE_MINIMAL, csv.QUOTE_ALL]),
    end=st.sampled_from(["\n", "\r\n"]),
    limit=st.integers(1, 7),
)
def test_what_the_csv_module_writes_comes_back_whole(
    rows: list[list[str]], quoting: Any, end: str, limit: int
) -> None:
    text = io.StringIO()
    # A line end with both characters, so that the module puts cells that hold one of them into quotes.
    csv.writer(text, quoting=quoting, lineterminator="\r\n").writerows(rows)
    written = text.getvalue() if end == "\r\n" else rewritten(rows, quoting)
    found, rejects, texts = read(written, limit=limit)
    assert (found, rejects) == (rows, [])
    assert cut(texts) == [text.removesuffix("\n").encode() for text in texts]


def rewritten(rows: list[list[str]], quoting: Any) -> str:
    """The same with line feeds alone behind records."""
    lines = []
    for row in rows:
        line = io.StringIO()
        csv.writer(line, quoting=quoting, lineterminator="\r\n").writerow(row)
        lines.append(line.getvalue().removesuffix("\r\n") + "\n")
    return "".join(lines)


def cut(texts: Iterable[str]) -> list[bytes]:
    """The records as the join finds them in the bytes that preprocessing wrote."""
    blocks = BlockReader(io.BytesIO("".join(texts).encode()), ",", 16)
    return [block.get_record(index) for block in blocks for index in range(block.record_count)]


@settings(max_examples=150)
@given(rows=TABLES, all_quoted=st.booleans(), end=st.sampled_from(["\n", "\r\n"]), limit=st.integers(1, 7))
def test_what_spark_writes_comes_back_whole(
    rows: list[list[str]], all_quoted: bool, end: str, limit: int
) -> None:
    """And its texts are CSV to everybody."""
    found, rejects, texts = read(as_spark_writes(rows, all_quoted=all_quoted, end=end), "\\", limit)
    assert (found, rejects) == (rows, [])
    assert list(csv.reader(io.StringIO("".join(texts), newline=""), strict=True)) == rows
    assert cut(texts) == [text.removesuffix("\n").encode() for text in texts]


GARBAGE = ['"monitor 24\\""', '"24" monitor"', '"open', '"5\\" pipe"', '"a" "b"', '"a"b']


def is_told_apart(cell: str) -> bool:
    """Behind an open quote, the opening quote of another cell closes it, where what follows may follow such a quote."""
    return not cell.lstrip('"').startswith((",", "\n"))


@settings(max_examples=300)
@given(
    rows=st.lists(
        st.tuples(
            st.integers(0, 999).map(str),
            st.text(alphabet='ab,"\n é', max_size=6).filter(is_told_apart),
            st.just("1.5"),
        )
    ),
    garbage=st.sampled_from(GARBAGE),
    at=st.integers(0, 20),
    limit=st.integers(1, 7),
    end=st.sampled_from(["\n", "\r\n"]),
)
def test_garbage_quotes_cost_their_own_record_alone(
    rows: list[tuple[str, str, str]], garbage: str, at: int, limit: int, end: str
) -> None:
    """Records in are those that passed and those that did not, and each that passed is the original."""
    lines = []
    for row in rows:
        line = io.StringIO()
        csv.writer(line, lineterminator="\r\n").writerow(row)
        lines.append(line.getvalue().removesuffix("\r\n") + end)
    at = min(at, len(lines))
    lines.insert(at, f"g,{garbage},1.5{end}")
    found, rejects, _ = read("".join(lines), limit=limit)
    assert rejects == [f"g,{garbage},1.5\n"]
    assert found == [list(row) for row in rows]


@settings(max_examples=200)
@given(seed=st.integers(0, 1 << 32), limit=st.integers(1, 50))
def test_many_garbage_quotes_lose_no_other_record(seed: int, limit: int) -> None:
    """Records in are those that passed and those that did not; of the latter none is another's."""
    chance = random.Random(seed)
    good: list[list[str]] = []
    lines: list[str] = []
    bad = 0
    for number in range(chance.randint(1, 60)):
        if chance.random() < 0.3:
            bad += 1
            lines.append(f"{number},{chance.choice(GARBAGE)},1.5\n")
            continue
        cell = chance.choice(["plain", "two, words", 'say "hi"', "two\nlines", "", '5" pipe'])
        good.append([str(number), cell, "2.5"])
        line = io.StringIO()
        csv.writer(line, lineterminator="\n").writerow(good[-1])
        lines.append(line.getvalue())
    found, rejects, _ = read("".join(lines), limit=limit)
    assert len(found) + len(rejects) == len(good) + bad
    assert found == good


def test_one_field_that_never_ends_is_not_read_over_and_over() -> None:
    """A batch is read on behind the line that is given up; each line is looked at a few times at most."""
    text = "".join(f'{n},"open,1\n' for n in range(20_000))
    records = CsvRecordReader(io.StringIO(text, newline=""), ",")
    count = sum(len(part.rows) for part in iter_parsed(records.read_records))
    assert count == 20_000


@pytest.mark.parametrize(
    ("lines", "end", "escape"),
    [
        (',,a\\","\n', "", None),
        ('""""a\na\n\\""",,,,"\n\n', "", None),
        ('x","\\"y\n', "", "\\"),
        ('x",y,"\n', 'x"\n', None),
    ],
)
def test_lines_that_open_quotes_and_close_those_before_are_read_a_few_times_each(
    monkeypatch: pytest.MonkeyPatch, lines: str, end: str, escape: str | None
) -> None:
    """Not each to the end of the object, or to where the quotes of one do not fit: that takes days for a few MB."""
    text = lines * 500 + end
    reads = 0
    give = CsvRecordReader._hand_over_line

    def counted(*line: Any) -> str:
        nonlocal reads
        reads += 1
        return give(*line)

    monkeypatch.setattr(CsvRecordReader, "_hand_over_line", counted)
    source = list(io.StringIO(text, newline=""))
    records = CsvRecordReader(iter(source), ",", escape)
    found: list[str] = []
    while (batch := records.read_records(100)) is not None:
        found += [batch.original_texts.get(at, text) for at, text in enumerate(batch.texts)]
    assert "".join(found).replace("\n", "") == text.replace("\n", "")
    assert reads < 5 * len(source)
