"""Finds a declared type by name."""

from difflib import get_close_matches

from v2g.errors import ConfigError
from v2g.exi.declare import Element, Schema
from v2g.exi.grammar import fragment
from v2g_cli.exi.guess import schemas

__all__ = ["type_named"]


def type_named(name: str, schema: Schema | None) -> type[Element]:
    """Return the complex type of an element or class. Raises ConfigError when there is none, or several."""
    found: dict[type[Element], Schema] = {}
    known: dict[str, str] = {}
    for each in [schema] if schema else schemas():
        for local, kind in _types(each):
            known.setdefault(local.lower(), local)
            if local == name:
                found.setdefault(kind, each)
    if len(found) == 1:
        return next(iter(found))
    if found:
        places = "; ".join(f"--namespace {each.prefix}: {kind.__module__}" for kind, each in found.items())
        raise ConfigError(f"{name} is declared {len(found)} times", hint=places)
    near = [known[each] for each in get_close_matches(name.lower(), known, n=5)]
    raise ConfigError(
        f"no element or type {name!r}", hint=f"near: {', '.join(near)}" if near else "use the schema's names"
    )


def _types(schema: Schema) -> list[tuple[str, type[Element]]]:
    """Return names of elements and classes with their types."""
    found = [(kind.__name__, kind) for each in schema.closure() for kind in each.types()]
    roots = fragment(schema)
    for qname in roots.names:
        found += [(qname.local, kind) for kind in roots.types[qname] if isinstance(kind, type)]
    return found
