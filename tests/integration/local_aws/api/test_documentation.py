"""The pages about the embedded AWS are current, and their tables are about everything there is."""

from __future__ import annotations

from typing import Any, get_args

import pytest
from botocore.model import ListShape, StructureShape

from local_aws.api.documentation import build_tables, update_page
from local_aws.api.operations import OPERATIONS
from local_aws.api.shapes.service_models import load_operation_model
from local_aws.api.shapes.support import SUPPORT_BY_OPERATION, refuse_unsupported
from local_aws.faults import FIELDS_BY_KIND, SUMMARY_BY_KIND, Fault, FaultKind
from local_aws.settings import Settings
from tools.checkout import REPO

pytestmark = pytest.mark.local_only


@pytest.mark.parametrize("name", build_tables())
def test_the_tables_of_the_pages_are_current(name: str) -> None:
    """`make docs` writes them."""
    text = (REPO / "docs" / "reference" / "embedded-aws" / name).read_text(encoding="utf-8")
    assert update_page(name, text) == text, "run: make docs"


def test_every_setting_has_a_description() -> None:
    """The runner's, too."""
    for model in (Settings, type(Settings.model_validate({}).runner)):
        assert [name for name, field in model.model_fields.items() if not field.description] == []


def test_every_kind_of_fault_is_described_and_has_its_fields() -> None:
    """One truth, three tables."""
    kinds = set(get_args(FaultKind))
    assert set(SUMMARY_BY_KIND) == set(FIELDS_BY_KIND) == kinds
    assert set().union(*FIELDS_BY_KIND.values()) <= set(Fault.model_fields)


def _leaves(shape: Any, path: str = "", above: tuple[str, ...] = ()) -> list[str]:
    """Paths of the members that have none below them; a structure within itself ends there."""
    if isinstance(shape, StructureShape) and shape.name not in above:
        return [
            leaf
            for name, member in shape.members.items()
            for leaf in _leaves(member, f"{path}.{name}" if path else name, (*above, shape.name))
        ]
    return _leaves(shape.member, path, above) if isinstance(shape, ListShape) else [path]


@pytest.mark.parametrize("operation", sorted(OPERATIONS))
def test_every_member_of_the_model_is_in_the_table(operation: str) -> None:
    """Itself or a member above it; and nothing is in the table that the model does not have."""
    leaves = _leaves(load_operation_model(operation).input_shape)
    listed = set(SUPPORT_BY_OPERATION[operation])

    def covered(leaf: str) -> bool:
        parts = leaf.split(".")
        return any(".".join(parts[:length]) in listed for length in range(1, len(parts) + 1))

    assert [leaf for leaf in leaves if not covered(leaf)] == []
    assert [path for path in listed if not any(f"{leaf}.".startswith(f"{path}.") for leaf in leaves)] == []


def test_empty_structures_and_environments_are_not_taken_for_members() -> None:
    """An environment variable may be called like a member that is refused."""
    refuse_unsupported(
        "CreateTransformJob", {"Environment": {"ExperimentConfig": "x"}, "ExperimentConfig": {}}
    )
