"""Finds the Python files of a pipeline's own functions, beside its file or in a folder above it.

A file is found by its path and never by `sys.path`, so that the files of two teams may have one name. It travels to
SageMaker's containers as a module of FUNCTIONS_PACKAGE, with its folders.
"""

from __future__ import annotations

import ast
import os
import symtable
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

from batch_inference.common.errors import PipelineError
from batch_inference.common.formatting import join_quoted, suggest_name
from batch_inference.config.validation_errors import Location

if TYPE_CHECKING:
    from batch_inference.config.pipeline import Pipeline

#: The package of the functions' modules, in containers and in Airflow's tasks.
FUNCTIONS_PACKAGE = "pipeline_functions"


def find_function_file(module: str, path: Path, folder: Path) -> Path | None:
    """The file of a function's module: the nearest to the pipeline file at `path`, in or above its folder."""
    name = f"{module.replace('.', '/')}.py"
    parents = (each for each in path.parents if each == folder or folder in each.parents)
    # Unlike Path.is_file, false for a name that is too long for a file.
    return next((parent / name for parent in parents if os.path.isfile(parent / name)), None)  # noqa: PTH113


def resolve_function_modules(
    value: dict[str, Any], path: Path, folder: Path
) -> Iterator[tuple[Location, str]]:
    """Name the module of `function` and of `join.function` by its path below `folder`, in a pipeline file's content.

    Yields location and problem of each module without a file. What is no module is left for the model to refuse.
    """
    for outer in ((), ("join",)):
        section: Any = value.get("join") if outer else value
        function: Any = section.get("function") if isinstance(section, dict) else None
        module = function.get("module") if isinstance(function, dict) else None
        if not isinstance(module, str):
            continue
        file = find_function_file(module, path, folder)
        if file is None:
            known = sorted(each.stem for each in path.parent.glob("*.py"))
            beside = f"beside it is {join_quoted(known, conjunction='and')}" if known else "beside it is none"
            problem = (
                f"found {module!r}; allowed is the name of a Python file beside the pipeline file or in a folder above "
                f"it, up to {folder.name}/; {beside}{suggest_name(module, known)}"
            )
            yield (*outer, "function", "module"), problem
            continue
        resolved = {**function, "module": ".".join(file.relative_to(folder).with_suffix("").parts)}
        if outer:
            value["join"] = {**section, "function": resolved}
        else:
            value["function"] = resolved


def list_function_files(pipeline: Pipeline, folder: Path) -> dict[str, Path]:
    """The files of a pipeline's functions by their modules in FUNCTIONS_PACKAGE.

    Raises:
        PipelineError: a file is gone, does not define its function, or imports another one; it is not run.
    """
    files: dict[str, Path] = {}
    for field, function in (("function", pipeline.function), ("join.function", pipeline.join.function)):
        if function is None:
            continue
        file = folder.joinpath(*function.module.split(".")).with_suffix(".py")
        if not file.is_file():
            raise PipelineError(
                str(file), (f"is the file of {field} in {pipeline.name}, and is there no longer",)
            )
        _check_function(file, function.name, field)
        _check_imports(file, folder)
        files[build_module_name(function.module)] = file
    return files


def build_module_name(module: str) -> str:
    """The name under which a function's module is imported."""
    return f"{FUNCTIONS_PACKAGE}.{module}"


def _check_imports(file: Path, folder: Path) -> None:
    """Raise PipelineError for the import of a file beside `file`, or above it: the containers do not get it."""
    for statement in ast.walk(ast.parse(file.read_bytes(), str(file))):
        if isinstance(statement, ast.ImportFrom):
            names = ["." if statement.level else str(statement.module)]
        elif isinstance(statement, ast.Import):
            names = [each.name for each in statement.names]
        else:
            continue
        for name in names:
            top = name.partition(".")[0]
            found = top and top not in sys.stdlib_module_names and find_function_file(top, file, folder)
            if found or name == "." or top == folder.name:
                what = f"the file {found}" if found else "a file beside it"
                problem = (
                    f"line {statement.lineno}: found an import of {what}; SageMaker's containers get only the files "
                    f"that a pipeline names: write what it needs into {file.name}, or into a wheel (preprocess.wheels)"
                )
                raise PipelineError(str(file), (problem,))


def _check_function(file: Path, name: str, field: str) -> None:
    source = file.read_bytes()
    try:
        table = symtable.symtable(source.decode(), str(file), "exec")
    except (SyntaxError, UnicodeDecodeError) as error:
        raise PipelineError(str(file), (f"not valid Python: {error}",)) from None
    defined = [
        each.get_name()
        for each in table.get_symbols()
        if each.is_assigned() or each.is_imported() or each.is_namespace()
    ]
    if name not in defined and b"import *" not in source:
        functions = [each.get_name() for each in table.get_children() if each.get_type() == "function"]
        found = join_quoted(functions, conjunction="and") if functions else "no function"
        problem = f"found {found}; {field} of the pipeline names {name!r}{suggest_name(name, functions)}"
        raise PipelineError(str(file), (problem,))
