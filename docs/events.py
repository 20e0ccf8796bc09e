"""The event reference: every event that the programs can write, found in their source.

Events are made by `Observe(stage, name, data)` and by helpers that pass a name on, and perhaps fill in the stage or
fields of their own; this module looks for all of them. A name that is put together while the program runs is shown
with `*` for the part that differs.
"""

import ast
from collections import defaultdict
from collections.abc import Iterator
from pathlib import Path
from typing import Final, NamedTuple

ROOT: Final = Path(__file__).resolve().parent.parent

PLACES: Final = {
    "secc": ("secc",),
    "v2g_station": ("secc",),
    "evcc": ("evcc",),
    "csms": ("csms",),
    "v2g_gateway": ("gateway",),
    "pki-tools/pki_tools/serve.py": ("pki",),
    "v2g/slac/ev.py": ("evcc",),
    "v2g/slac/evse.py": ("secc",),
    "v2g/slac/evse_run.py": ("secc",),
    "v2g/slac/host.py": ("secc", "evcc"),
    "v2g/io/network/plain_tcp.py": ("secc", "evcc"),
    "v2g/io/plc/datalink.py": ("secc", "evcc"),
    "v2g/io/plc/reconnecting.py": ("secc", "evcc"),
    "v2g/io/plc/tap.py": ("secc", "evcc"),
    "v2g/io/network/interface_supervisor.py": ("secc",),
    "v2g/io/runtime/runner.py": ("secc", "evcc"),
    "v2g/io/tls/stapler.py": ("secc",),
    "v2g/io/runtime/supervision.py": ("evcc", "secc", "gateway", "csms", "pki"),
    "v2g/io/tls/crls.py": ("secc", "evcc", "csms"),
    "v2g/io/tls/identity.py": ("secc",),
    "v2g/io/tls/renewal.py": ("secc", "csms"),
    "v2g/io/tls/warnings.py": ("secc", "evcc"),
    "v2g/iso15118/engine/session.py": ("secc", "evcc"),
    "v2g/ocpp/rpc.py": ("secc", "csms"),
}
"""Where events are made, and which programs write them."""

INHERITED: Final = {
    "v2g/slac/ev.py": {"_observe": "link"},
    "v2g/slac/evse.py": {"_observe": "link"},
    "secc": {"note": "ocpp"},
    "v2g_station": {"note": "ocpp"},  # the kernel of the charging station's blocks
}
"""Helpers that a module has from a base class or a part of its own, with the stage that they fill in."""

DATA: Final = {"Observe": 2, "report": 3}
"""Calls that make an event, and which argument holds its fields; `report` adds whose station it is."""

TWO_WORDS: Final = frozenset({*DATA, "announce", "seen", "_observe", "observe"})
"""Calls whose first two arguments may be stage and name."""


class Event(NamedTuple):
    """One event: who writes it, what it is called, which fields it has; `...` stands for more of them."""

    process: str
    stage: str
    name: str
    fields: tuple[str, ...]


def page() -> str:
    """Return the tables, one for each program."""
    merged: dict[tuple[str, str, str], list[str]] = defaultdict(list)
    for event in find_events():
        known = merged[event.process, event.stage, event.name]
        known += [field for field in event.fields if field not in known]
    parts = []
    for process in ("evcc", "secc", "gateway", "csms", "pki"):
        parts += [f"### {process}", "", "| Stage | Name | Fields |", "|---|---|---|"]
        for (who, stage, name), fields in sorted(merged.items()):
            if who == process:
                parts.append(f"| `{stage}` | `{name}` | {', '.join(fields)} |")
        parts.append("")
    return "\n".join(parts)


def find_events() -> Iterator[Event]:
    """Yield every event of every program."""
    for place, processes in PLACES.items():
        path = ROOT / place
        for file in sorted(path.rglob("*.py")) if path.is_dir() else [path]:
            for stage, name, fields in _Module(file, place).events():
                for process in processes:
                    passed_on = process == "csms" and file.name == "rpc.py"  # the back end adds whose connection it is
                    yield Event(process, stage, name, ("station", *fields) if passed_on else fields)


class _Module:
    def __init__(self, file: Path, place: str) -> None:
        self._tree = ast.parse(file.read_text())
        self._file = file
        self._helpers = dict(INHERITED.get(place, {}))
        self._added: dict[str, tuple[str, ...]] = {}
        self._wrappers: set[ast.AST] = set()
        self._scopes = [n for n in ast.walk(self._tree) if isinstance(n, ast.FunctionDef | ast.AsyncFunctionDef)]
        for scope in self._scopes:
            self._learn(scope)

    def _learn(self, scope: ast.FunctionDef | ast.AsyncFunctionDef) -> None:
        """Note a helper that passes its own `name` on: which stage it fills in (empty: none)."""
        names = {argument.arg for argument in scope.args.args}
        for call in ast.walk(scope):
            if not isinstance(call, ast.Call) or _called(call) not in DATA or len(call.args) < 2:
                continue
            stage, name = call.args[:2]
            data = call.args[DATA[_called(call)] :]
            if isinstance(name, ast.Name) and name.id in names:
                self._wrappers.add(call)
                added = (*_whose(call), *(_keys(data[0], scope) if data else ()))
                self._added[scope.name] = tuple(field for field in added if field != "...")
                if isinstance(stage, ast.Constant):
                    self._helpers[scope.name] = str(stage.value)
            elif isinstance(name, ast.Attribute):  # passes an event on
                self._wrappers.add(call)

    def events(self) -> Iterator[tuple[str, str, tuple[str, ...]]]:
        """Yield (stage, name, fields)."""
        inner = {id(node): scope for scope in self._scopes for node in ast.walk(scope)}
        for call in ast.walk(self._tree):
            if not isinstance(call, ast.Call) or call in self._wrappers:
                continue
            if _called(call) == "Outcome":  # a matching run reports through its owner
                if len(call.args) > 1 and isinstance(call.args[1], ast.Constant):
                    yield "link", str(call.args[1].value), ("pev", "sounds", "db")
                continue
            found = self._read(call)
            if found is None:
                continue
            stage, name_node, data = found
            scope = inner.get(id(call))
            for name in _names(name_node, scope):
                added = _whose(call) or self._added.get(_called(call), ())
                yield stage, name, (*added, *_fields(call, data, scope))

    def _read(self, call: ast.Call) -> tuple[str, ast.expr, ast.expr | None] | None:
        called, arguments = _called(call), call.args
        two = len(arguments) >= 2 and called in TWO_WORDS and called not in self._helpers
        if two and isinstance(arguments[0], ast.Constant) and isinstance(arguments[0].value, str):
            data = arguments[DATA.get(called, 2) :]
            return arguments[0].value, arguments[1], data[0] if data else None
        stage = self._helpers.get(called)
        if stage is not None and arguments and not isinstance(arguments[0], ast.Call):
            return stage, arguments[0], None
        return None


def _whose(call: ast.Call) -> tuple[str, ...]:
    return ("station",) if _called(call) == "report" else ()


def _called(call: ast.Call) -> str:
    function = call.func
    if isinstance(function, ast.Name):
        return function.id
    name = function.attr if isinstance(function, ast.Attribute) else ""
    return "report" if (name, len(call.args)) == ("_report", 4) else name  # given to a constructor


def _names(node: ast.expr, scope: ast.FunctionDef | ast.AsyncFunctionDef | None) -> Iterator[str]:
    """Yield the names that an expression may have; `*` stands for a part that differs."""
    match node:
        case ast.Constant(value=str(name)):
            yield name
        case ast.IfExp(body=body, orelse=other):
            yield from _names(body, scope)
            yield from _names(other, scope)
        case ast.JoinedStr(values=values):
            yield "".join(str(v.value) if isinstance(v, ast.Constant) else "*" for v in values)
        case ast.Name(id=name) if scope is not None:
            for each in _assigned(name, scope):
                yield from _names(each, scope)
        case ast.Attribute() | ast.Name() | ast.Subscript():
            return


def _fields(
    call: ast.Call, data: ast.expr | None, scope: ast.FunctionDef | ast.AsyncFunctionDef | None
) -> Iterator[str]:
    for keyword in call.keywords:
        yield from (keyword.arg,) if keyword.arg else _keys(keyword.value, scope)
    if data is not None:
        yield from _keys(data, scope)


def _keys(data: ast.expr, scope: ast.FunctionDef | ast.AsyncFunctionDef | None) -> Iterator[str]:
    if isinstance(data, ast.BinOp):
        yield from _keys(data.left, scope)
        yield from _keys(data.right, scope)
    elif isinstance(data, ast.Call) and _called(data) == "dict" and data.args:
        yield from _keys(data.args[0], scope)
    elif isinstance(data, ast.Name) and scope is not None and (values := list(_assigned(data.id, scope))):
        for value in values:
            yield from _keys(value, scope)
    elif isinstance(data, ast.Dict):
        for key, value in zip(data.keys, data.values, strict=True):
            if key is None:
                yield from _keys(value, scope)
            elif isinstance(key, ast.Constant):
                yield str(key.value)
    else:
        yield "..."


def _assigned(name: str, scope: ast.FunctionDef | ast.AsyncFunctionDef) -> Iterator[ast.expr]:
    for node in ast.walk(scope):
        targets = (
            node.targets if isinstance(node, ast.Assign) else [node.target] if isinstance(node, ast.AnnAssign) else []
        )
        value = getattr(node, "value", None)
        if value is not None and any(isinstance(t, ast.Name) and t.id == name for t in targets):
            yield value
