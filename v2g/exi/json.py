"""Messages as JSON: one object whose only key is the element's name; octets in base64, enumerations as their words."""

import json

import msgspec

from v2g.errors import ExiEncodeError
from v2g.exi.declare import Element, Schema, schema_of
from v2g.exi.grammar import root_name, root_type_of_local

__all__ = ["from_json", "to_json"]


def to_json(element: Element, *, schema: Schema | None = None, name: str | None = None) -> str:
    """Return an element as JSON on one line. Members of substitution groups carry their name as `type`.

    `schema` and `name` are needed only where `encode_fragment` needs them. Raises ExiEncodeError when the element has
    no name in the schema.
    """
    schema = schema or schema_of(type(element))
    root = root_name(type(element), schema, name)
    # The standard library writes integers of any length, such as certificate serial numbers.
    return json.dumps({root.local: msgspec.to_builtins(element)}, ensure_ascii=False)


def from_json(text: str, schema: Schema) -> Element:
    """Return the element that JSON describes. Raises ExiEncodeError with the JSON path of what is not declared."""
    try:
        found = json.loads(text)
        ((name, value),) = found.items()
        return msgspec.convert(value, root_type_of_local(name, schema))
    except (ValueError, AttributeError, RecursionError, msgspec.ValidationError) as error:
        raise ExiEncodeError(f"not the JSON of a message: {error}") from error
