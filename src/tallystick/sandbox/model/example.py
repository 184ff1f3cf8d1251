"""The smallest value that fits a JSON schema, always the same one."""

from typing import Any, Final

_SIMPLE: Final[dict[str, Any]] = {"string": "text", "integer": 1, "number": 1.5, "boolean": True, "null": None}
_DEPTH_MAX: Final = 20


def example(schema: dict[str, Any], depth: int = 0) -> Any:
    """Every property of an object, one item of an array, the first of an enum."""
    if "const" in schema:
        return schema["const"]
    if schema.get("enum"):
        return schema["enum"][0]
    kind = schema.get("type", "object")
    if isinstance(kind, list):
        kind = kind[0]
    if depth > _DEPTH_MAX:
        return None
    if kind == "object":
        return {name: example(below, depth + 1) for name, below in schema.get("properties", {}).items()}
    if kind == "array":
        return [example(schema.get("items", {"type": "string"}), depth + 1)]
    return _SIMPLE.get(kind)
