"""What several tests of vectors use."""

from tests.exi.vectors import Vector, load
from v2g.exi import decode, decode_fragment
from v2g.exi.declare import Element

VECTORS = load()


def ids(vector: Vector) -> str:
    return f"{vector.schema.prefix}-{vector.message}-{vector.variant}"


def prefix(vector: Vector) -> str:
    return str(vector.schema.prefix)


def read(vector: Vector) -> Element:
    function = decode_fragment if vector.fragment else decode
    return function(vector.octets, vector.schema)
