"""Messages as Python: the expression that creates one, with its imports; generated and parsed.

Parsing evaluates nothing: constructor calls of declared classes, literals and enumeration members are taken from the
syntax tree, and everything else is rejected.
"""

import ast
import sys
from collections.abc import Iterable
from enum import Enum
from importlib import import_module
from typing import Final

from v2g.errors import ExiEncodeError
from v2g.exi.declare import AnyAttribute, AnyElement, Element, Schema

_WIDTH: Final = 100
"""Longer calls are split into several lines."""

_HERE: Final = "v2g.exi.declare"


def to_python(element: Element) -> str:
    """Return import statements and one expression that is equal to the element."""
    writer = _PythonWriter()
    expression = writer.value(element, 0)
    lines = [
        f"from {kind.__module__} import {kind.__name__}{'' if name == kind.__name__ else f' as {name}'}"
        for kind, name in writer.names.items()
    ]
    return "\n".join([*sorted(lines), "", expression])


class _PythonWriter:
    def __init__(self) -> None:
        self.names: dict[type, str] = {}
        """Classes in use, with their names."""

    def name(self, kind: type) -> str:
        """Return the name of a class, with its module's if two classes have the same."""
        if kind not in self.names:
            name = kind.__name__
            taken = name in self.names.values()
            self.names[kind] = f"{name}_of_{kind.__module__.rpartition('.')[2]}" if taken else name
        return self.names[kind]

    def value(self, value: object, indent: int) -> str:
        """Return an expression for a value; its first line starts after `indent` characters."""
        line = self.line(value)
        parts = self._parts(value)
        if parts is None or indent + len(line) <= _WIDTH:
            return line
        begin, arguments = parts
        inner = " " * (indent + 4)
        lines = [f"{inner}{label}{self.value(each, indent + 4)}," for label, each in arguments]
        return "\n".join([begin, *lines, " " * indent + ")"])

    def line(self, value: object) -> str:
        """Return an expression for a value on one line."""
        parts = self._parts(value)
        if parts is not None:
            begin, arguments = parts
            comma = "," if isinstance(value, tuple) and len(value) == 1 else ""
            return f"{begin}{', '.join(label + self.line(each) for label, each in arguments)}{comma})"
        if isinstance(value, Enum):
            name = self.name(type(value))
            return f"{name}.{value.name}" if value.name.isidentifier() else f"{name}({value.value!r})"
        return repr(value)

    def _parts(self, value: object) -> tuple[str, list[tuple[str, object]]] | None:
        """Return the start of a call or a tuple, and its parts with labels."""
        if isinstance(value, tuple):
            return "(", [("", each) for each in value]
        if not isinstance(value, Element):
            return None
        fields = value.__struct_fields__
        defaults = dict(zip(reversed(fields), reversed(value.__struct_defaults__), strict=False))
        held = [(field, getattr(value, field)) for field in fields]
        given = [(f"{field}=", each) for field, each in held if field not in defaults or each != defaults[field]]
        return f"{self.name(type(value))}(", given


def from_python(text: str, schemas: Iterable[Schema]) -> Element:
    """Return the element described by Python source: import statements, if any, and one expression.

    Names are those of the import statements, or else of the only class of that name in the schemas and what they
    import. Ranges are checked when the element is encoded. Raises ExiEncodeError with the line.
    """
    try:
        body = ast.parse(text.strip()).body
    except (SyntaxError, ValueError, RecursionError, MemoryError) as error:
        raise ExiEncodeError(f"not Python: {error}") from None
    known = [each for schema in schemas for each in schema.closure()]
    modules = [name for each in known for name in (*each.modules, *(kind.__module__ for kind in each.enumerations()))]
    reader = _PythonReader(dict.fromkeys(modules))
    for statement in body[:-1]:
        reader.import_(statement)
    last = body[-1] if body else None
    if not isinstance(last, ast.Expr):
        raise ExiEncodeError("not the Python of a message: import statements and one expression")
    try:
        element = reader.value(last.value)
    except RecursionError:
        raise ExiEncodeError("nests too deeply") from None
    if not isinstance(element, Element):
        raise ExiEncodeError(f"{type(element).__name__} where a message is expected")
    return element


def _refuse(node: ast.AST, why: str) -> ExiEncodeError:
    return ExiEncodeError(f"line {getattr(node, 'lineno', 1)}: {why}")


class _PythonReader:
    def __init__(self, modules: Iterable[str]) -> None:
        self._modules: Final = [*modules, _HERE]
        self._names: dict[str, type] = {}

    def import_(self, statement: ast.stmt) -> None:
        """Add the names of an import statement."""
        if not isinstance(statement, ast.ImportFrom) or statement.level or statement.module not in self._modules:
            raise _refuse(statement, "only classes of the declarations may be imported, and one expression may follow")
        for alias in statement.names:
            found = _classes(statement.module).get(alias.name)
            if found is None:
                raise _refuse(statement, f"{statement.module} declares no {alias.name}")
            self._names[alias.asname or alias.name] = found

    def value(self, node: ast.expr) -> object:
        """Return the value of an expression."""
        match node:
            case ast.Constant(value=bool() | int() | str() | bytes() | None):
                return node.value
            case ast.UnaryOp(op=ast.USub(), operand=ast.Constant(value=int() as number)):
                return -number
            case ast.Tuple() | ast.List():
                return tuple(self.value(each) for each in node.elts)
            case ast.Attribute(value=ast.Name()) | ast.Call(func=ast.Name(), args=[_], keywords=[]):
                return self._member(node)
            case ast.Call(func=ast.Name(id=name), args=[], keywords=keywords):
                kind = self._class(node, name)
                if not (isinstance(kind, type) and issubclass(kind, Element)):
                    raise _refuse(node, f"{name} is not a structure")
                if any(each.arg is None for each in keywords):
                    raise _refuse(node, "** is not supported")
                try:
                    return kind(**{str(each.arg): self.value(each.value) for each in keywords})
                except TypeError as error:
                    raise _refuse(node, f"{name}: {error}") from None
        raise _refuse(node, "neither a literal, nor a declared class with named arguments, nor an enumeration's member")

    def _member(self, node: ast.Attribute | ast.Call) -> Enum:
        """Return `Name.member` or `Name("word")`."""
        name = node.value if isinstance(node, ast.Attribute) else node.func
        assert isinstance(name, ast.Name)
        kind = self._class(node, name.id)
        if not issubclass(kind, Enum):
            raise _refuse(node, f"{name.id} is not an enumeration")
        try:
            return kind[node.attr] if isinstance(node, ast.Attribute) else kind(self.value(node.args[0]))
        except (KeyError, ValueError) as error:
            raise _refuse(node, f"{name.id} has no {error}") from None

    def _class(self, node: ast.AST, name: str) -> type:
        if name not in self._names:
            found = {module: _classes(module)[name] for module in self._modules if name in _classes(module)}
            if len(found) != 1:
                known = f"declared in {' and '.join(found)}: import one of them" if found else "not declared"
                raise _refuse(node, f"{name} is {known}")
            self._names[name] = next(iter(found.values()))
        return self._names[name]


def _classes(module: str) -> dict[str, type]:
    """Return the structures and enumerations declared by a module."""
    if module == _HERE:
        return {each.__name__: each for each in (AnyAttribute, AnyElement)}
    import_module(module)
    return {
        name: value
        for name, value in vars(sys.modules[module]).items()
        if isinstance(value, type) and issubclass(value, Element | Enum) and value.__module__ == module
    }
