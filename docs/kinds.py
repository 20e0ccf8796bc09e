"""The kinds of events that the back end's feed carries, found in its source and written to `csms/event_kinds.py`."""

import ast
from collections.abc import Iterator
from pathlib import Path
from typing import Final

from docs.events import _called, _names

ROOT: Final = Path(__file__).resolve().parent.parent

_BETWEEN_NODES: Final = frozenset({"ocpp_frames_wanted"})
"""What nodes tell each other, and nobody else."""

_PUBLISHERS: Final = {"report": 1, "announce": 1, "publish": 0}
"""Calls that put an event into the feed, and which argument is its kind."""

_HEAD: Final = '''"""Every kind of event in the feed, made by docs/generate.py."""

from typing import Final

KINDS: Final = (
'''


def module() -> tuple[Path, str]:
    """Return the file, and what it has to hold."""
    lines = "".join(f'    "{each}",\n' for each in sorted(set(_found()) - _BETWEEN_NODES))
    return ROOT / "csms" / "event_kinds.py", f"{_HEAD}{lines})\n"


def _found() -> Iterator[str]:
    trees = {file: ast.parse(file.read_text()) for file in sorted((ROOT / "csms").rglob("*.py"))}
    constants = {name: text for tree in trees.values() for name, text in _constants(tree)}
    yield constants["LOST"]
    for file, tree in trees.items():
        helpers = _PUBLISHERS | ({"observe": 1} if file.parent.name == "ocpp" else {})
        scopes = [each for each in ast.walk(tree) if isinstance(each, ast.FunctionDef | ast.AsyncFunctionDef)]
        helpers |= {scope.name: place for scope in scopes if (place := _passed_on(scope)) is not None}
        inner = {id(node): scope for scope in scopes for node in ast.walk(scope)}
        for call in ast.walk(tree):
            place = helpers.get(_called(call)) if isinstance(call, ast.Call) else None
            if not isinstance(call, ast.Call) or place is None or len(call.args) <= place:
                continue
            name = call.args[place]
            if isinstance(name, ast.Name) and name.id in constants:
                yield constants[name.id]
            else:
                yield from _names(name, inner.get(id(call)))


def _constants(tree: ast.Module) -> Iterator[tuple[str, str]]:
    for node in tree.body:
        match node:
            case ast.AnnAssign(target=ast.Name(id=name), value=ast.Constant(value=str(text))):
                yield name, text


def _passed_on(scope: ast.FunctionDef | ast.AsyncFunctionDef) -> int | None:
    """Return which argument of a helper is the kind that it publishes; None: it is no such helper."""
    arguments = [each.arg for each in scope.args.args if each.arg != "self"]
    for call in ast.walk(scope):
        place = _PUBLISHERS.get(_called(call)) if isinstance(call, ast.Call) else None
        if not isinstance(call, ast.Call) or place is None or len(call.args) <= place:
            continue
        name = call.args[place]
        if isinstance(name, ast.Name) and name.id in arguments:
            return arguments.index(name.id)
    return None
