"""Every field that a structure declares is read somewhere in the product, or leaves it as a whole."""

import ast
import re
from collections.abc import Iterator
from functools import cache
from pathlib import Path
from typing import Final

import pytest

ROOT: Final = Path(__file__).resolve().parents[1]

PACKAGES: Final = (
    "csms", "evcc", "pki_tools", "secc", "v2g", "v2g_cli", "v2g_gateway", "v2g_station", "v2g_stream", "v2g_testkit"
)  # fmt: skip

STANDARDS: Final = (
    "v2g/exi/", "v2g/iso15118/d2/messages/", "v2g/iso15118/d20/messages/", "v2g/iso15118/din/messages/",
    "v2g/ocpp/messages/",
)  # fmt: skip
"""Messages of standards, whole."""

WHOLE: Final = {
    "csms/api/": "answers of the HTTP API",
    "csms/services/billing/qr_payments.py::Scan": "an answer of the HTTP API",
    "secc/status.py": "the status page's JSON",
    "v2g/battery/heat_profiles.py::Shift": "`v2g csms profile` prints it",
    "v2g/energy/settlement/ocmf.py": "readings in OCMF",
    "v2g/io/advisories.py": "advisories in OSV",
    "v2g/io/network/tcp_info.py::Connection": "`v2g diag net --json` prints it",
    "v2g/openadr/objects.py": "objects of OpenADR 3",
}
"""Modules and classes that are written or printed with all their fields."""

NAMED: Final = {
    "csms/config.py::Retention": "read by the names of what is retained",
    "v2g/iso15118/engine/quirks.py::Quirk": "the page of quirks shows them",
}
"""Classes whose fields are read by other means."""


def look(source: str) -> tuple[list[tuple[str, str]], set[str]]:
    """Return the fields of a module's structures, by class and name, and the names by which it may read fields:
    attributes, patterns, and texts such as for `getattr`."""
    fields: list[tuple[str, str]] = []
    names: set[str] = set()
    for node in ast.walk(ast.parse(source)):
        match node:
            case ast.Attribute(attr=name, ctx=ast.Load()):
                names.add(name)
            case ast.Constant(value=str(name)):
                names.add(name)
            case ast.MatchClass(kwd_attrs=attributes):
                names.update(attributes)
            case ast.ClassDef(bases=bases) if any("Struct" in ast.unparse(base) for base in bases):
                fields += ((node.name, name) for name in _fields(node))
    return fields, names


def _fields(node: ast.ClassDef) -> Iterator[str]:
    for each in node.body:
        match each:
            case ast.AnnAssign(annotation=ast.Subscript(value=ast.Name(id="ClassVar"))):
                pass  # of the class
            case ast.AnnAssign(target=ast.Name(id=name)):
                yield name


def unread(sources: dict[str, str], templates: str = "") -> list[str]:
    """Return `file::Class.field` for each field that nothing reads."""
    looked = {file: look(source) for file, source in sources.items()}
    names = set(re.findall(r"\w+", templates)).union(*(names for _, names in looked.values()))
    return [
        f"{file}::{kind}.{field}"
        for file, (fields, _) in looked.items()
        for kind, field in fields
        if field not in names and not file.startswith(STANDARDS)
    ]


@cache
def found() -> list[str]:
    files = [file for package in PACKAGES for file in sorted((ROOT / package).rglob("*.py"))]
    pages = "".join(file.read_text() for file in sorted((ROOT / "csms").rglob("*.html")))
    return unread({str(file.relative_to(ROOT)): file.read_text() for file in files}, pages)


def test_every_field_is_read_or_leaves_as_a_whole() -> None:
    """A field that is declared, filled and tested, and that no program uses, promises what does not happen."""
    known = tuple({**WHOLE, **NAMED})
    assert [each for each in found() if not each.startswith(known)] == []


def test_each_exception_is_needed() -> None:
    assert [each for each in {**WHOLE, **NAMED} if not any(name.startswith(each) for name in found())] == []


@pytest.mark.parametrize(
    ("use", "fields"),
    [
        ("", ["a", "b"]),
        ("x.a", ["b"]),
        ("x.a = 1", ["a", "b"]),
        ("It(a=1, b=2)", ["a", "b"]),
        ("getattr(x, 'b')", ["a"]),
        ("match x:\n    case It(a=1): pass", ["b"]),
    ],
)
def test_what_reads_a_field(use: str, fields: list[str]) -> None:
    source = f"class It(msgspec.Struct):\n    kind: ClassVar[int] = 1\n    a: int = 0\n    b: int = 0\n{use}"
    assert unread({"it.py": source}) == [f"it.py::It.{field}" for field in fields]


def test_templates_read_fields() -> None:
    assert unread({"it.py": "class It(Struct):\n    a: int\n    b: int"}, "<p>{{ it.a }}</p>") == ["it.py::It.b"]
