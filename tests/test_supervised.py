"""Every task and thread of the programs has a parent: they begin in `v2g/io/runtime/supervision.py` only."""

import ast
from collections.abc import Iterator
from pathlib import Path

from tests.together import together

ROOT = Path(__file__).parents[1]
_PACKAGES = ("csms", "evcc", "pki-tools", "secc", "v2g", "v2g_cli", "v2g_gateway", "v2g_station", "v2g_testkit")
_HOME = ROOT / "v2g" / "io" / "runtime" / "supervision.py"
_BARE = frozenset({"create_task", "ensure_future", "Thread", "start_new_thread"})


def bare(tree: ast.Module) -> Iterator[int]:
    """Yield the lines that begin a task or a thread without a parent; a TaskGroup is one."""
    groups = {
        item.optional_vars.id
        for node in ast.walk(tree)
        if isinstance(node, ast.AsyncWith)
        for item in node.items
        if isinstance(item.optional_vars, ast.Name) and "TaskGroup" in ast.unparse(item.context_expr)
    } | {
        argument.arg
        for node in ast.walk(tree)
        if isinstance(node, ast.arg) and node.annotation is not None and "TaskGroup" in ast.unparse(node.annotation)
        for argument in (node,)
    }
    for node in ast.walk(tree):
        if not isinstance(node, ast.Call):
            continue
        match node.func:
            case ast.Attribute(attr="create_task", value=ast.Name(id=name)) if name in groups:
                continue
            case ast.Attribute(attr=name, value=ast.Name(id="threading" | "_thread" | "asyncio")) if name in _BARE:
                yield node.lineno
            case ast.Attribute(attr="create_task" | "ensure_future"):
                yield node.lineno
            case ast.Name(id=name) if name in _BARE:
                yield node.lineno


def test_no_task_and_no_thread_begins_elsewhere() -> None:
    found = [
        f"{file.relative_to(ROOT)}:{line}"
        for package in _PACKAGES
        for file in sorted((ROOT / package).rglob("*.py"))
        if file != _HOME and any(name in (text := file.read_text()) for name in _BARE)
        for line in bare(ast.parse(text))
    ]
    assert not found, "use child, spawn, new_thread or Supervisor.keep of v2g.io.runtime.supervision"


@together(
    "text",
    [
        "asyncio.create_task(f())",
        "loop.create_task(f())",
        "self._loop.create_task(f())",
        "asyncio.get_running_loop().create_task(f())",
        "asyncio.ensure_future(f())",
        "threading.Thread(target=f)",
        "Thread(target=f)",
    ],
)
def test_a_task_without_a_parent_is_found(text: str) -> None:
    assert [*bare(ast.parse(text))] == [1]


def test_a_group_is_a_parent() -> None:
    text = "async def f():\n    async with asyncio.TaskGroup() as tasks:\n        tasks.create_task(g())"
    assert not [*bare(ast.parse(text))]
