"""What several tests of codec use."""

from hypothesis import strategies as st

from v2g.exi.declare import Element, Schema
from v2g.exi.grammar import fragment
from v2g.exi.model import QName
from v2g.iso15118.select import NAMESPACES

SCHEMAS = tuple(NAMESPACES.values())


def clark(name: QName) -> str:
    """Return a name in Clark notation, which is never ambiguous."""
    return f"{{{name.uri}}}{name.local}"


def structures(schema: Schema) -> list[tuple[QName, type[Element]]]:
    """Return everything that can be a fragment of a schema."""
    roots = fragment(schema)
    found = [(name, roots.structure_of(name)) for name in roots.names]
    return [(name, declaration) for name, declaration in found if declaration is not None]


FRAGMENTS = [(schema, name, declaration) for schema in SCHEMAS for name, declaration in structures(schema)]
ANY_FRAGMENT = st.sampled_from(FRAGMENTS)
