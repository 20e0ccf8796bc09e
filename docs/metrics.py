"""The metrics of each program, from the calls in its source that make them: name, label and help text."""

import ast
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Final

from docs.markdown import table

_ROOT: Final = Path(__file__).resolve().parents[1]

_FILES: Final = {
    "csms": ("csms/metrics.py", "csms/overview/api.py"),
    "gateway": ("v2g_gateway/metrics.py",),
    "secc": ("secc/status_page.py",),
}

_ENDINGS: Final = {"counter": "_total", "_count": "_total", "gauge": "", "Gauge": "", "_seconds": "_seconds"}
"""What makes a metric -> what it appends to its name."""


def metrics(program: str) -> str:
    """Return the metrics of a program: `csms`, `gateway` or `secc`."""
    rows = (row for file in _FILES[program] for row in _made(ast.parse((_ROOT / file).read_text())))
    return table(("Metric", "Meaning"), rows)


def _made(tree: ast.Module) -> Iterator[tuple[str, str]]:
    families = _families(tree)
    calls = sorted((each for each in ast.walk(tree) if isinstance(each, ast.Call)), key=lambda each: each.lineno)
    for call in calls:
        maker = call.func.attr if isinstance(call.func, ast.Attribute) else getattr(call.func, "id", "")
        if maker not in _ENDINGS or len(call.args) < 2:
            continue
        name, about, *rest = call.args
        if isinstance(name, ast.Constant):
            after = rest[1:] if maker in ("gauge", "counter") else rest  # those have their values before the label
            labels = [each.value for arg in after for each in ast.walk(arg) if isinstance(each, ast.Constant)]
            yield _row(f"{name.value}{_ENDINGS[maker]}", map(str, labels), ast.literal_eval(about))
        elif isinstance(name, ast.JoinedStr) and isinstance(name.values[0], ast.Constant):
            for short, text in families.get(maker, ()):
                yield _row(f"{name.values[0].value}{short}{_ENDINGS[maker]}", ["evse"], text)


def _families(tree: ast.Module) -> dict[str, list[tuple[str, str]]]:
    """Return the tables of a module that hold metrics by name, as what makes them -> (name, help text)."""
    found = {}
    for each in (each for each in tree.body if isinstance(each, ast.AnnAssign) and isinstance(each.value, ast.Dict)):
        maker = {"_GAUGES": "gauge", "_COUNTERS": "counter"}.get(getattr(each.target, "id", ""))
        if maker is not None and isinstance(each.value, ast.Dict):
            pairs = zip(each.value.keys, each.value.values, strict=True)
            found[maker] = [
                (ast.literal_eval(key), ast.literal_eval(value.elts[0]))
                for key, value in pairs
                if key is not None and isinstance(value, ast.Tuple)
            ]
    return found


def _row(name: str, labels: Iterable[str], about: str) -> tuple[str, str]:
    named = ",".join(labels)
    return f"`{name}{{{named}}}`" if named else f"`{name}`", about.rstrip(".")
