"""Eight ways in which a pipeline breaks: one click from the list, and the reason is on the first screen."""

from __future__ import annotations

import io
import tarfile
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import pytest
from playwright.sync_api import expect

from tests.browser.window import Window
from tests.end_to_end.deployment import Deployment

pytestmark = [pytest.mark.end_to_end, pytest.mark.timeout(1200)]

BUCKET = "batch-inference-sample"
#: What a laptop shows without scrolling.
SCREEN = {"width": 1280, "height": 800}
HEADER = "sex,length,diameter,height,whole_weight,shucked_weight,viscera_weight,shell_weight,rings"
RECORD = "M,0.455,0.365,0.095,0.514,0.2245,0.101,0.15,15"
RAISING_MODEL = """
def model_fn(folder):
    return None

def input_fn(body, content_type):
    return body

def predict_fn(data, model):
    raise ValueError("the scaler was fitted on 7 features, found 8")
"""
Document = dict[str, Any]


@dataclass(frozen=True, kw_only=True)
class Break:
    """One way: what is changed in the pipeline, and the words of the reason that a person must see."""

    name: str
    change: Callable[[Document], None]
    words: tuple[str, ...]
    in_list: str


def read_header(uri: str) -> Callable[[Document], None]:
    """Read files with a header below `uri`."""

    def change(document: Document) -> None:
        document["input"] |= {"uri": uri, "header": True}

    return change


def set_value(section: str, key: str, value: object) -> Callable[[Document], None]:
    """Set one key of a section."""

    def change(document: Document) -> None:
        document[section][key] = value

    return change


def take_raising_model(document: Document) -> None:
    """A model whose script raises for each request."""
    document["model"]["containers"][0]["model_data"] = f"s3://{BUCKET}/breaks/raises.tar.gz"


def lose_model(document: Document) -> None:
    """A model whose archive is gone."""
    document["model"]["containers"][1]["model_data"] = f"s3://{BUCKET}/breaks/gone.tar.gz"


def take_unknown_role(document: Document) -> None:
    """A role that nobody has created."""
    document["role"] = "arn:aws:iam::123456789012:role/batch-inferense"


BREAKS = (
    Break(
        name="misspelt_column",
        change=read_header(f"s3://{BUCKET}/breaks/misspelt/"),
        words=("unknown column 'lengtth'", "Did you mean 'length'?"),
        in_list="lengtth",
    ),
    Break(
        name="missing_column",
        change=read_header(f"s3://{BUCKET}/breaks/missing/"),
        words=("shell_weight",),
        in_list="shell_weight",
    ),
    Break(
        name="model_raises",
        change=take_raising_model,
        words=("the scaler was fitted on 7 features, found 8",),
        in_list="scaler",
    ),
    Break(
        name="artefact_gone",
        change=lose_model,
        words=(f"s3://{BUCKET}/breaks/gone.tar.gz",),
        in_list="gone.tar.gz",
    ),
    Break(name="wrong_role", change=take_unknown_role, words=("batch-inferense",), in_list="batch-inferense"),
    Break(
        name="prefix_typo",
        change=set_value("input", "uri", f"s3://{BUCKET}/abalone/incomingg/"),
        words=(f"s3://{BUCKET}/abalone/incomingg/",),
        in_list="empty",
    ),
    Break(
        name="budget",
        change=set_value("goals", "budget", 0.000_01),
        words=("the budget is",),
        in_list="the budget is",
    ),
)
TWO_AT_ONCE = "break_two_at_once"


def get_dag_id(each: Break) -> str:
    return f"break_{each.name}"


@pytest.fixture(scope="module")
def run_ids(deployment: Deployment) -> dict[str, str]:
    """The broken runs by DAG, ended."""

    def put(key: str, body: bytes) -> None:
        deployment.s3.put_object(Bucket=BUCKET, Key=f"breaks/{key}", Body=body)

    put("misspelt/a.csv", f"{HEADER.replace('length', 'lengtth')}\n{RECORD}\n".encode())
    put("missing/a.csv", b"\n".join(b",".join(line.encode().split(b",")[:7]) for line in (HEADER, RECORD)))
    put("raises.tar.gz", pack("code/inference.py", RAISING_MODEL))
    for each in BREAKS:
        deployment.write_pipeline(get_dag_id(each), in_own_output(each.change, each.name))
    deployment.write_pipeline(TWO_AT_ONCE, in_own_output(lambda _: None, "two"))
    found = {}
    for dag_id in map(get_dag_id, BREAKS):
        deployment.unpause(dag_id)
        found[dag_id] = deployment.trigger(dag_id, {})
    for each in BREAKS:
        deployment.wait(get_dag_id(each), found[get_dag_id(each)])
    return found


def in_own_output(change: Callable[[Document], None], name: str) -> Callable[[Document], None]:
    """The change, with an output of its own."""

    def changed(document: Document) -> None:
        document["output"]["uri"] = f"s3://{BUCKET}/breaks/scored/{name}/"
        change(document)

    return changed


def pack(name: str, text: str) -> bytes:
    """A gzip-compressed tar with one file."""
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w:gz") as archive:
        entry = tarfile.TarInfo(name)
        entry.size = len(text.encode())
        archive.addfile(entry, io.BytesIO(text.encode()))
    return buffer.getvalue()


def expect_on_first_screen(window: Window, words: str) -> None:
    """The words are shown without scrolling and without unfolding anything."""
    found = window.page.get_by_text(words).first
    expect(found).to_be_visible()
    box = found.bounding_box()
    assert box is not None
    assert box["y"] < SCREEN["height"], f"{words!r} is {box['y']:.0f} pixels below the top"


def test_two_runs_at_once_say_that_one_waits_for_the_other(
    run_ids: dict[str, str], deployment: Deployment, window: Callable[..., Window]
) -> None:
    """The runs that are broken have ended, so the first of the two starts at once."""
    assert TWO_AT_ONCE not in run_ids
    deployment.unpause(TWO_AT_ONCE)
    one = window(user="admin")
    one.page.set_viewport_size(SCREEN)
    first, second = (deployment.trigger(TWO_AT_ONCE, {}) for _ in range(2))
    one.open("run", dag_id=TWO_AT_ONCE, run_id=second)
    expect_on_first_screen(one, f"This run waits for {first} to end")
    one.save_screenshot("break-two-at-once")


@pytest.mark.parametrize("each", BREAKS, ids=lambda each: each.name)
def test_one_click_leads_to_the_reason(
    each: Break, run_ids: dict[str, str], window: Callable[..., Window]
) -> None:
    one = window(user="admin")
    one.page.set_viewport_size(SCREEN)
    one.open("")
    row = one.page.get_by_role("row").filter(
        has=one.page.get_by_role("link", name=get_dag_id(each), exact=True)
    )
    expect(row).to_contain_text(each.in_list)
    if each is BREAKS[0]:
        one.save_screenshot("break-list")
    row.locator(f"a[href*='{run_ids[get_dag_id(each)].partition(':')[0]}']").first.click()
    for words in each.words:
        expect_on_first_screen(one, words)
    one.save_screenshot(f"break-{each.name}")
    assert one.violations() == []
