"""Minimal example bodies from schemas: required members only."""

from collections.abc import Mapping
from typing import Any, Final

_TIME: Final = "2030-01-01T00:00:00Z"
_TEXTS: Final = {"date-time": _TIME, "date": "2030-01-01", "byte": "AA=="}
_DEPTH: Final = 12


def smallest(schema: Mapping[str, Any], components: Mapping[str, Any], name: str = "", depth: int = 0) -> Any:
    """Return a value that a JSON schema allows: with required members only, the first of any choice.

    `components` are the schemas that `#/components/schemas/NAME` refers to; `name` is that of the member. Patterns
    are ignored: a declaration with one must bring its own example.
    """
    if depth > _DEPTH:
        raise ValueError(f"{name}: a recursive type has no minimal example")
    if "$ref" in schema:
        return smallest(components[schema["$ref"].rpartition("/")[2]], components, name, depth + 1)
    for known in ("examples", "enum"):
        if known in schema:
            return schema[known][0]
    if "const" in schema:
        return schema["const"]
    if "anyOf" in schema:
        choices = [each for each in schema["anyOf"] if each.get("type") != "null"]
        return smallest(choices[0], components, name, depth + 1)
    return _of_type(schema, components, name, depth)


def example_of(schema: Mapping[str, Any], components: Mapping[str, Any]) -> Any:
    """Return the smallest value of an answer; of an array one with an element."""
    return smallest({**schema, "minItems": 1} if schema.get("type") == "array" else schema, components)


def _of_type(schema: Mapping[str, Any], components: Mapping[str, Any], name: str, depth: int) -> Any:
    match schema.get("type"):
        case "object":
            properties = schema.get("properties", {})
            return {
                each: smallest(properties[each], components, each, depth + 1) for each in schema.get("required", ())
            }
        case "array":
            items = schema.get("items", schema.get("prefixItems", [{}])[0])
            return [smallest(items, components, name, depth + 1)] * schema.get("minItems", 0)
        case "string":
            text = _TEXTS.get(
                schema.get("format", ""), _TIME if _is_time(name) else name[: schema.get("maxLength", 99)]
            )
            return text.ljust(schema.get("minLength", 0), "x")
        case "integer" | "number":
            least = schema.get("minimum", schema.get("exclusiveMinimum", 0) + ("exclusiveMinimum" in schema))
            return min(max(least, 1), schema.get("maximum", 1))
        case "boolean":
            return True
    return {}


def _is_time(name: str) -> bool:
    return name.lower().endswith(("timestamp", "datetime", "time", "schedulestart", "from", "to"))
