"""Every place in the product that reports an event, found in its source.

Events are made by `Observe(stage, name, data)`, and by functions that pass a name on to it and perhaps fill in the
stage or fields of their own. A field `...` stands for those that only a running program knows.
"""

import ast
import re
from collections import deque
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Final, NamedTuple

from v2g.events import STAGES, reported_by

ROOT: Final = Path(__file__).resolve().parent.parent

PROGRAMS: Final = {
    "secc": "secc",
    "v2g/eebus": "secc",
    "v2g/io/eebus": "secc",
    "v2g/io/ota/follower.py": "csms evcc gateway",
    "v2g/io/ota": "csms evcc gateway secc",
    "v2g_station": "secc",
    "evcc": "evcc",
    "csms": "csms",
    "v2g_gateway": "gateway",
    "pki-tools": "pki",
    "v2g/io/hardware/emergency.py": "evcc secc",
    "v2g/io/hardware": "secc",
    "v2g/io/http/self_enrolment.py": "gateway secc",
    "v2g/io/network/interfaces.py": "secc",
    "v2g/io/network/plain_tcp.py": "evcc secc",
    "v2g/io/plc": "evcc secc",
    "v2g/io/runtime/runner.py": "evcc secc",
    "v2g/io/runtime/supervision.py": "csms evcc gateway pki secc",
    "v2g/io/storage/outbox.py": "gateway",
    "v2g/io/tls/revocation.py": "csms evcc secc",
    "v2g/io/tls/identity.py": "secc",
    "v2g/io/tls/files.py": "csms evcc gateway secc",
    "v2g/io/tls/stapler.py": "secc",
    "v2g/io/tls/warnings.py": "evcc secc",
    "v2g/io/websocket/bridged.py": "csms",
    "v2g/io/websocket/rpc.py": "csms secc",
    "v2g/iso15118/engine": "evcc secc",
    "v2g/ocpp/rpc.py": "csms secc",
    "v2g/telemetry/gnss.py": "gateway",
    "v2g/slac/ev.py": "evcc",
    "v2g/slac/evse.py": "secc",
    "v2g/slac/host.py": "evcc secc",
}
"""Where events are made, and which programs report them."""

INHERITED: Final = {
    "_observe": {"v2g/slac": "link"},
    "note": {"secc": "ocpp", "v2g_station": "ocpp"},
}
"""Functions that a class has from another file: their names, where they are used, and the stage that they fill in."""

_CONSTANT: Final = re.compile(r'^(\w+): [^=\n]+ = "([^"\\\n]*)"', re.MULTILINE)
"""Texts that modules give a name."""

_Scope = ast.FunctionDef | ast.AsyncFunctionDef


class Emission(NamedTuple):
    """One place that reports an event."""

    where: str
    programs: frozenset[str]
    stage: str
    name: str
    fields: frozenset[str]


class _Maker(NamedTuple):
    """A function that makes an event: its stage, or where its arguments have it, likewise its name and fields."""

    stage: str | int
    name: int
    data: int | None
    added: frozenset[str] = frozenset()

    def fields(self, call: ast.Call) -> ast.expr | None:
        """Return the argument that holds the fields."""
        return call.args[self.data] if self.data is not None and self.data < len(call.args) else None


_OUTCOME: Final = _Maker("link", 1, None, frozenset({"pev", "sounds", "db"}))
"""A run of matching reports through its owner."""


def emissions() -> list[Emission]:
    """Return them. Raises AssertionError for an event whose stage or name is not in the source."""
    return _found({"Observe": _Maker(0, 1, 2)}, *PROGRAMS)


def kinds() -> set[str]:
    """Return the kinds of events that the back end publishes in its feed."""
    return {each.name for each in _found({"publish": _Maker("feed", 0, None)}, "csms")}


def _found(basis: Mapping[str, "_Maker"], *places: str) -> list[Emission]:
    makers, stages = "|".join((*basis, *INHERITED, "MatchingOutcome")), "|".join(STAGES)
    words = rf'\b({makers})\(|\(\s*"({stages})"'
    texts = {path: path.read_text() for place in places for path in sorted(_files(ROOT / place))}
    constants = dict(each for text in texts.values() for each in _CONSTANT.findall(text))
    files = [_File(path, text, basis) for path, text in texts.items() if re.search(words, text)]
    shared: dict[str, _Maker] = {}
    for _ in range(2):  # some pass on to those of other files
        for file in files:
            shared |= {name: each for name, each in file.learn(shared).items() if each.name == 1}
    return [found for each in files for found in each.emissions(shared, constants)]


def fault(process: str, stage: str, name: str, data: Mapping[str, object], **_: object) -> str:
    """Return what of a line of events is not as declared; empty: nothing."""
    declared = next((each for each in reported_by(process) if each.name == f"{stage}.{name}"), None)
    if declared is None:
        return f"{process} {stage} {name} is not declared"
    types = {"evse_id": "text"} | {field.name: field.type for field in declared.fields}
    wrong = [key for key, value in data.items() if value is not None and type(value) not in _TYPES[types.get(key, "")]]
    return f"{stage} {name}: {', '.join(f'{key}={data[key]!r}' for key in wrong)}" if wrong else ""


_TYPES: Final[Mapping[str, tuple[type, ...]]] = {
    "text": (str,), "int": (int,), "float": (int, float), "bool": (bool,), "": (),
}  # fmt: skip


def other_files() -> list[str]:
    """Return the modules of the product outside `PROGRAMS` that make events."""
    known = {path for place in PROGRAMS for path in _files(ROOT / place)}
    files = (path for package in ("secc", "evcc", "csms", "v2g", "v2g_station", "v2g_gateway", "pki-tools")
             for path in _files(ROOT / package) if path not in known)  # fmt: skip
    return [str(path) for path in files if "import Observe" in (text := path.read_text()) and " Observe(" in text]


def _files(path: Path) -> list[Path]:
    return list(path.rglob("*.py")) if path.is_dir() else [path]


class _File:
    def __init__(self, path: Path, text: str, basis: Mapping[str, _Maker]) -> None:
        self._path = path
        self._scopes: dict[_Scope, list[ast.Call]] = {}
        self._inner: dict[int, _Scope] = {}
        self._calls: list[ast.Call] = []
        left = deque[tuple[ast.AST, tuple[_Scope, ...]]]([(ast.parse(text), ())])
        while left:  # once, and not once more for each scope
            node, scopes = left.popleft()
            if isinstance(node, ast.Call):
                self._calls.append(node)
                for scope in scopes:
                    self._scopes[scope].append(node)
                if scopes:
                    self._inner[id(node)] = scopes[-1]
            elif isinstance(node, _Scope):
                self._scopes[node], scopes = [], (*scopes, node)
            if not isinstance(node, ast.Name | ast.Constant):
                left.extend((each, scopes) for each in ast.iter_child_nodes(node))
        self._called = {id(call): _called(call) for call in self._calls}
        self._passed_on: set[int] = set()
        self._basis, self._makers = basis, dict[str, _Maker]()

    def learn(self, shared: Mapping[str, _Maker]) -> Mapping[str, _Maker]:
        """Return the functions of this file that pass a name on, perhaps to those of other files (`shared`)."""
        found = True
        while found:
            found = any(self._passes_on(scope, calls, shared) for scope, calls in self._scopes.items())
        return self._makers

    def _passes_on(self, scope: _Scope, calls: list[ast.Call], shared: Mapping[str, _Maker]) -> bool:
        names = [argument.arg for argument in scope.args.args if argument.arg not in ("self", "cls")]
        for call in calls:
            if id(call) in self._passed_on:
                continue
            maker = self._maker(call, shared)
            if maker is None or not isinstance(name := call.args[maker.name], ast.Name) or name.id not in names:
                continue
            self._passed_on.add(id(call))
            stage = maker.stage if isinstance(maker.stage, str) else call.args[maker.stage]
            self._makers[scope.name] = _Maker(
                stage if isinstance(stage, str) else _place_of(stage, names),
                names.index(name.id),
                names.index("data") if "data" in names else None,
                maker.added | (frozenset(_fields(call, maker.fields(call), self._inner[id(call)])) - {"..."}),
            )
            return True
        return False

    def emissions(self, shared: Mapping[str, _Maker], constants: Mapping[str, str]) -> Iterator[Emission]:
        """Yield what this file reports."""
        relative = str(self._path.relative_to(ROOT))
        programs = next(PROGRAMS[place] for place in PROGRAMS if relative == place or relative.startswith(f"{place}/"))
        for call in self._calls:
            maker = self._maker(call, shared)
            if maker is None or id(call) in self._passed_on:
                continue
            if self._called[id(call)] != "Observe" and isinstance(call.args[maker.name], ast.Call | ast.Attribute):
                continue  # another function of this name
            where, scope = f"{relative}:{call.lineno}", self._inner.get(id(call))
            stage = maker.stage if isinstance(maker.stage, str) else _text(call.args[maker.stage])
            names = list(_names(call.args[maker.name], scope, constants))
            assert stage, f"{where}: the stage is not in the source"
            assert names, f"{where}: the name is not in the source"
            fields = maker.added | frozenset(_fields(call, maker.fields(call), scope))
            yield from (Emission(where, frozenset(programs.split()), stage, name, fields) for name in names)

    def _maker(self, call: ast.Call, shared: Mapping[str, _Maker]) -> _Maker | None:
        called = self._called[id(call)]
        found = self._basis.get(called, self._makers.get(called))
        if called == "MatchingOutcome" and "slac" in self._path.parts:
            found = _OUTCOME
        if found is None:
            inherited = INHERITED.get(called, {})
            found = next((_Maker(inherited[place], 0, None) for place in inherited if self._is_in(place)), None)
        if found is None and call.args and _text(call.args[0]) in STAGES:
            found = shared.get(called, shared.get(called.lstrip("_")))  # which was given to a constructor
        return None if found is None or len(call.args) <= found.name else found

    def _is_in(self, place: str) -> bool:
        return self._path.is_relative_to(ROOT / place)


def _place_of(stage: ast.expr, names: list[str]) -> str | int:
    return names.index(stage.id) if isinstance(stage, ast.Name) and stage.id in names else _text(stage)


def _called(call: ast.Call) -> str:
    match call.func:
        case ast.Name(id=name):
            return name
        case ast.Attribute(value=broker, attr="publish") if "feed" not in ast.unparse(broker):
            return ""
        case ast.Attribute(attr=name):
            return name
    return ""


def _text(node: ast.expr) -> str:
    return node.value if isinstance(node, ast.Constant) and isinstance(node.value, str) else ""


def _names(node: ast.expr, scope: _Scope | None, constants: Mapping[str, str]) -> Iterator[str]:
    """Yield the names that an expression may have."""
    match node:
        case ast.Constant(value=str(name)):
            yield name
        case ast.IfExp(body=body, orelse=other):
            yield from _names(body, scope, constants)
            yield from _names(other, scope, constants)
        case ast.Name(id=name) if name in constants:
            yield constants[name]
        case ast.Name(id=name) if scope is not None:
            for each in _assigned(name, scope):
                yield from _names(each, scope, constants)


def _fields(call: ast.Call, data: ast.expr | None, scope: _Scope | None) -> Iterator[str]:
    for keyword in call.keywords:
        yield from (keyword.arg,) if keyword.arg else _keys(keyword.value, scope)
    if data is not None:
        yield from _keys(data, scope)


def _keys(data: ast.expr, scope: _Scope | None) -> Iterator[str]:
    match data:
        case ast.BinOp(left=left, right=right):
            yield from _keys(left, scope)
            yield from _keys(right, scope)
        case ast.Call(func=ast.Name(id="dict"), args=[copied, *_]):
            yield from _keys(copied, scope)
        case ast.Name(id=name) if scope is not None and (values := list(_assigned(name, scope))):
            for value in values:
                yield from _keys(value, scope)
        case ast.Dict(keys=keys, values=values):
            for key, value in zip(keys, values, strict=True):
                yield from _keys(value, scope) if key is None else (_text(key) or "...",)
        case _:
            yield "..."


def _assigned(name: str, scope: _Scope) -> Iterator[ast.expr]:
    for node in ast.walk(scope):
        match node:
            case ast.Assign(targets=targets, value=value):
                pass
            case ast.AnnAssign(target=target, value=ast.expr() as value) | ast.AugAssign(target=target, value=value):
                targets = [target]
            case _:
                continue
        if any(isinstance(target, ast.Name) and target.id == name for target in targets):
            yield value
