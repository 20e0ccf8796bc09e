"""Efficient XML Interchange (W3C, 2014) for V2G, derived from the declarations of messages.

Schema-informed, bit-packed, not strict, all options at their defaults except the value tables, which stay empty.

How a type of a schema is declared: `declare.py`; which simple types there are, and their bits: `Simple` in `model.py`,
then `encoder.py` and `decoder.py`, which also reject what a declaration does not allow. The types themselves:
`messages` of each edition in `v2g/iso15118`.
"""

from v2g.exi.cbexigen import Dialect
from v2g.exi.codec import decode, decode_fragment, encode, encode_fragment
from v2g.exi.declare import Element, Schema, schema_of

__all__ = [
    "Dialect",
    "Element",
    "Schema",
    "decode",
    "decode_fragment",
    "encode",
    "encode_fragment",
    "schema_of",
    "to_xml",
]


def to_xml(element: Element, *, schema: Schema | None = None, name: str | None = None) -> str:
    """Return an element as indented XML for display; `v2g.exi.xml` has the details, `v2g.exi.json` the same in JSON."""
    from v2g.exi import xml  # imported here, because a running charger rarely needs it

    return xml.to_xml(element, schema=schema, name=name)
