"""Renders a response by its output shape; a member outside the service model is a bug of the handler."""

from __future__ import annotations

from typing import Any, cast

from botocore.model import ListShape, MapShape, Shape, StructureShape


class RenderError(RuntimeError):
    """A handler returned a member or type that is not in SageMaker's model."""


def render(shape: Shape, value: Any, path: str = "") -> Any:
    """`value` as JSON data; members that are None are left out.

    Raises RenderError, naming the path, for an unknown member or a missing required one.
    """
    match shape.type_name:
        case "structure":
            return _structure(cast(StructureShape, shape), value, path)
        case "list":
            member = cast(ListShape, shape).member
            return [render(member, item, f"{path}[{number}]") for number, item in enumerate(value)]
        case "map":
            member = cast(MapShape, shape).value
            return {key: render(member, item, f"{path}.{key}") for key, item in value.items()}
        case "timestamp":
            return round(float(value), 3)  # milliseconds, as in AWS's responses
        case "string":
            if not isinstance(value, str):
                raise RenderError(f"{path}: {value!r} is not a string")
            return value
        case _:
            return value


def _structure(shape: StructureShape, value: dict[str, Any], path: str) -> dict[str, Any]:
    unknown = [name for name in value if name not in shape.members]
    if unknown:
        raise RenderError(f"{path or shape.name}: not in the model: {', '.join(unknown)}")
    rendered = {
        name: render(shape.members[name], item, f"{path}.{name}" if path else name)
        for name, item in value.items()
        if item is not None
    }
    missing = [name for name in shape.required_members if name not in rendered]
    if missing:
        raise RenderError(f"{path or shape.name}: required, but missing: {', '.join(missing)}")
    return rendered
