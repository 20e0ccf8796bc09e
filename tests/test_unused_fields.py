"""Every field that a structure declares is written and read somewhere in the product, or crosses its edge."""

import ast
import re
from collections.abc import Callable, Iterable, Mapping
from fnmatch import fnmatch
from functools import cache
from pathlib import Path
from typing import Final, NamedTuple

import pytest

from tests.together import together

ROOT: Final = Path(__file__).resolve().parents[1]

PACKAGES: Final = (
    "csms", "evcc", "pki-tools", "secc", "v2g", "v2g_cli", "v2g_gateway", "v2g_station", "v2g_testkit"
)  # fmt: skip

STANDARDS: Final = (
    "v2g/exi/", "v2g/iso15118/d2/messages/", "v2g/iso15118/d20/messages/", "v2g/iso15118/din/messages/",
    "v2g/ocpi/objects.py", "v2g/ocpp/messages/",
)  # fmt: skip
"""Messages of standards, whole."""

WHOLE: Final = {
    "csms/*/api.py": "answers of the HTTP API",
    "csms/payments/work.py::Scan": "an answer of the HTTP API",
    "evcc/policy/policy.py::Situation": "what an owner's own policy reads",
    "pki-tools/pki_tools/show.py::CertificateRow": "`v2g pki show --json` prints it",
    "secc/status.py": "the status page's JSON",
    "v2g/battery/heat_profiles.py::Shift": "`v2g csms profile` prints it",
    "v2g/energy/dispatch/forecast.py::Skill": "an answer of the HTTP API",
    "v2g/energy/settlement/ocmf.py": "readings in OCMF",
    "v2g/io/advisories.py": "advisories in OSV",
    "v2g/io/network/tcp_info.py::TcpConnection": "`v2g diag net --json` prints it",
    "v2g/openadr/objects.py": "objects of OpenADR 3",
}
"""Modules and classes that are written or printed with all their fields."""

NAMED: Final = {
    "csms/fleets/rules.py::FleetBid": "answers of the HTTP API show its amounts as money, by their names",
    "v2g/energy/dispatch/flexibility.py::Bid": "as those of a FleetBid",
    "csms/config.py::Retention": "read by the names of what is retained",
    "v2g/iso15118/engine/quirks.py::Quirk": "the page of quirks shows them",
}
"""Classes whose fields are read by other means."""


UNWRITTEN: Final = {
    "v2g/battery/heat_profiles.py::HeatProfileSettings.least_days": "tests ask for more days than there are",
    "v2g/energy/dispatch/problem.py::FleetVehicle.arrival_ms": "the benchmark's vehicles come over the day",
    "v2g/iso15118/engine/sdp.py::SdpLimits": "tests judge by them what is answered",
    "v2g/safety/vehicle.py::VehicleRating": "tests judge by it what the monitor does",
    "v2g_station/blocks/settings.py::StationSettings.max_events": "tests fill a smaller queue",
    "v2g_station/simulator/fleet.py::FleetTally.boot_s": "it begins empty, and grows",
}
"""Fields and classes that keep their defaults in every program."""


class Field(NamedTuple):
    """A field of a structure: its class, name, place, and whether it has a default."""

    kind: str
    name: str
    place: int
    optional: bool


class Module:
    """What a module declares and does with fields, all by name."""

    def __init__(self, source: str) -> None:
        self.fields: list[Field] = []
        self.read: set[str] = set()
        """Attributes, patterns, and texts such as for `getattr`."""
        self.written: set[str] = set()
        """Keywords, attributes that are assigned, and texts such as of a dictionary."""
        self.values: dict[str, int] = {}
        """Each function or class that is called, and the most values that it is given by their places."""
        self.outside: set[str] = set()
        """Types that functions are given, or of a decorated function's arguments: such are read from outside."""
        self.parts: dict[str, set[str]] = {}
        """Each class or alias, and the names in its declaration."""
        for node in ast.walk(ast.parse(source)):
            self._look(node)

    def _look(self, node: ast.AST) -> None:
        match node:
            case ast.Attribute(attr=name, ctx=context):
                (self.read if isinstance(context, ast.Load) else self.written).add(name)
            case ast.Constant(value=str(name)):
                self.read.add(name)
                self.written.add(name)
            case ast.MatchClass(kwd_attrs=attributes):
                self.read.update(attributes)
            case ast.Call(func=function, args=values, keywords=keywords):
                self.written.update(each.arg for each in keywords if each.arg)
                name = function.id if isinstance(function, ast.Name) else getattr(function, "attr", "")
                given = len(values) if not any(isinstance(each, ast.Starred) for each in values) else 99
                self.values[name] = max(self.values.get(name, 0), given)
                types = (each for each in (*values, *(each.value for each in keywords)) if isinstance(each, _TYPES))
                self.outside |= _names(*types)
            case ast.FunctionDef(args=arguments) | ast.AsyncFunctionDef(args=arguments) if node.decorator_list:
                all_ = (*arguments.args, *arguments.kwonlyargs)
                self.outside |= _names(*(each.annotation for each in all_ if each.annotation))
            case ast.ClassDef(name=name, bases=bases):
                found = [each for each in node.body if isinstance(each, ast.AnnAssign)]
                self.parts.setdefault(name, set()).update(_names(*bases, *(each.annotation for each in found)))
                if any("Struct" in ast.unparse(base) for base in bases):
                    found = [each for each in found if "ClassVar" not in _names(each.annotation)]
                    self.fields += (
                        Field(name, ast.unparse(each.target), place, each.value is not None)
                        for place, each in enumerate(found)
                    )
            case ast.Assign(targets=[ast.Name(id=name)], value=value) if isinstance(value, _TYPES):
                self.parts.setdefault(name, set()).update(_names(value))


_TYPES: Final = (ast.Name, ast.Subscript, ast.BinOp)
"""How a type is given: `It`, `list[It]`, `It | None`."""


def _names(*nodes: ast.expr) -> set[str]:
    found = [each for node in nodes for each in ast.walk(node)]
    return {each.id for each in found if isinstance(each, ast.Name)} | {
        each.attr for each in found if isinstance(each, ast.Attribute)
    }


def _from_outside(modules: Iterable[Module]) -> set[str]:
    """Return the types that are read from outside, with those of their fields."""
    parts: dict[str, set[str]] = {}
    for each in modules:
        for name, names in each.parts.items():
            parts.setdefault(name, set()).update(names)
    found: set[str] = set()
    todo = {name for each in modules for name in each.outside}
    while todo:
        found |= todo
        todo = {part for name in todo for part in parts.get(name, ())} - found
    return found


def unread(modules: Mapping[str, Module], templates: str = "") -> list[str]:
    """Return `file::Class.field` for each field that nothing reads."""
    names = set(re.findall(r"\w+", templates)).union(*(each.read for each in modules.values()))
    return _listed(modules, lambda field: field.name in names)


def unwritten(modules: Mapping[str, Module]) -> list[str]:
    """Return `file::Class.field` for each field with a default that nothing sets, and nobody outside."""
    names = set[str]().union(*(each.written for each in modules.values()))
    outside = _from_outside(modules.values())
    values: dict[str, int] = {}
    for each in modules.values():
        values |= {name: max(number, values.get(name, 0)) for name, number in each.values.items()}
    return _listed(
        modules,
        lambda field: (
            not field.optional
            or field.name in names
            or field.kind in outside
            or field.place < values.get(field.kind, 0)
        ),
    )


def _listed(modules: Mapping[str, Module], used: Callable[[Field], bool]) -> list[str]:
    return [
        f"{file}::{field.kind}.{field.name}"
        for file, module in modules.items()
        for field in module.fields
        if not used(field) and not file.startswith(STANDARDS)
    ]


@cache
def product() -> Mapping[str, Module]:
    files = [file for package in PACKAGES for file in sorted((ROOT / package).rglob("*.py"))]
    return {str(file.relative_to(ROOT)): Module(file.read_text()) for file in files}


@cache
def found() -> list[str]:
    columns = ROOT / "v2g_cli" / "csms" / "declared.py"
    texts = (file.read_text() for file in (*sorted((ROOT / "csms").rglob("*.html")), columns))
    return unread(product(), "".join(texts))


@pytest.mark.long
def test_every_field_is_read_or_leaves_as_a_whole() -> None:
    """A field that is declared, filled and tested, and that no program uses, promises what does not happen."""
    known = {**WHOLE, **NAMED}
    assert [each for each in found() if not any(fnmatch(each, f"{name}*") for name in known)] == []


@pytest.mark.long
def test_every_field_is_set_by_a_program_or_from_outside() -> None:
    """A field that no program ever sets is a constant, or a promise that nothing keeps."""
    assert [each for each in unwritten(product()) if not each.startswith(tuple(UNWRITTEN))] == []


@pytest.mark.long
def test_each_exception_is_needed() -> None:
    assert [each for each in UNWRITTEN if not any(name.startswith(each) for name in unwritten(product()))] == []
    assert [each for each in {**WHOLE, **NAMED} if not any(fnmatch(name, f"{each}*") for name in found())] == []


@together(
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
    assert unread({"it.py": Module(source)}) == [f"it.py::It.{field}" for field in fields]


def test_templates_read_fields() -> None:
    module = Module("class It(Struct):\n    a: int\n    b: int")
    assert unread({"it.py": module}, "<p>{{ it.a }}</p>") == ["it.py::It.b"]


@together(
    ("use", "fields"),
    [
        ("", ["b", "c"]),
        ("x.b", ["b", "c"]),
        ("x.b = 1", ["c"]),
        ("It(1)", ["b", "c"]),
        ("It(1, 2)", ["c"]),
        ("use(It(1), [It(1)])", ["b", "c"]),
        ("It(*values)", []),
        ("replace(x, c=1)", ["b"]),
        ("x = {'b': 1}", ["c"]),
        ("decode(text, It)", []),
        ("class Other(Struct):\n    one: tuple[It, ...]\ndecode(text, Other)", []),
        ("Some = It | None\ndecode(text, list[Some])", []),
        ("@app.put('/it')\ndef put(it: Annotated[It, Body()]): pass", []),
        ("x = It(1)\nuse(x)", ["b", "c"]),
        ("def put(it: It): pass", ["b", "c"]),
    ],
)
def test_what_writes_a_field(use: str, fields: list[str]) -> None:
    source = f"class It(msgspec.Struct):\n    a: int\n    b: int = 0\n    c: int = 0\n{use}"
    assert unwritten({"it.py": Module(source)}) == [f"it.py::It.{field}" for field in fields]
