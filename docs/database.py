"""The reference of the back end's database, from the declarations of its tables."""

import ast
import inspect
import io
import tokenize
from collections.abc import Iterator, Mapping
from itertools import pairwise
from types import ModuleType
from typing import Final

from sqlalchemy import Column, Table

from csms.db import base
from csms.db.schema import TABLES
from docs.markdown import table as markdown
from v2g.telemetry.signals import SIGNALS

_SIGNALS: Final = {name.replace(".", "_"): f"signal `{name}`" for name in SIGNALS}


def tables() -> str:
    """Return each feature with its tables."""
    rows = (
        (_feature(module), _said(module), [f"`{table.name}`" for table, *_ in declared(module)]) for module in TABLES
    )
    return markdown(
        ("Feature", "What its tables hold", "Tables"),
        ((f"`{feature}`", said, ", ".join(names)) for feature, said, names in rows if names),
    )


def columns() -> str:
    """Return every table with its columns: type, key, whether they may be NULL, and what their source says of them."""
    parts = [inspect.cleandoc(base.__doc__ or "").partition("\n\n")[2] + "\n"]
    for module in TABLES:
        for place, (table, said, comments) in enumerate(declared(module)):
            if not place:
                parts.append(f"### `{_feature(module)}`\n\n{_said(module)}\n")
            rows = (
                (
                    f"`{each.name}`", str(each.type), _key(each), "yes" if each.nullable else "",
                    comments.get(each.name) or _SIGNALS.get(each.name, ""),
                )
                for each in table.columns
            )  # fmt: skip
            shown = markdown(("Column", "Type", "Key", "NULL", "Meaning"), rows)
            parts.append("\n\n".join(filter(None, (f"**`{table.name}`**", said, shown))))
    return "\n".join(parts)


def declared(module: ModuleType) -> Iterator[tuple[Table, str, Mapping[str, str]]]:
    """Yield each table of a module with the string below its declaration and the comments behind its columns."""
    source = inspect.getsource(module)
    comments = {
        token.start[0]: token.string.removeprefix("#").strip()
        for token in tokenize.generate_tokens(io.StringIO(source).readline)
        if token.type == tokenize.COMMENT
    }
    for statement, below in pairwise((*ast.parse(source).body, None)):
        target = getattr(statement, "target", None)
        table = getattr(module, target.id) if isinstance(target, ast.Name) else None
        if isinstance(table, Table):
            said = isinstance(below, ast.Expr) and isinstance(below.value, ast.Constant) and str(below.value.value)
            behind = {
                str(each.args[0].value): comments.get(each.end_lineno or 0, "")
                for each in ast.walk(statement)
                if isinstance(each, ast.Call) and each.args and isinstance(each.args[0], ast.Constant)
            }
            yield table, " ".join((said or "").split()), behind


def _feature(module: ModuleType) -> str:
    return module.__name__.split(".")[1]


def _said(module: ModuleType) -> str:
    return " ".join((inspect.getdoc(module) or "").partition("\n\n")[0].split())


def _key(column: Column[object]) -> str:
    """Return what a column is a key of: of its own table, of none of its other rows, of another table."""
    own = ["primary"] if column.primary_key else ["unique"] if column.unique else []
    return ", ".join([*own, *(f"`{each.target_fullname}`" for each in column.foreign_keys)])
