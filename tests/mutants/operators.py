"""Makes mutants of a module's source: one change of one node of its syntax tree each."""

import ast
import copy
from collections import Counter
from collections.abc import Iterator
from typing import Final

import msgspec

_COMPARISONS: Final[dict[type[ast.cmpop], tuple[type[ast.cmpop], ...]]] = {
    ast.Lt: (ast.LtE, ast.GtE),
    ast.LtE: (ast.Lt, ast.Gt),
    ast.Gt: (ast.GtE, ast.LtE),
    ast.GtE: (ast.Gt, ast.Lt),
    ast.Eq: (ast.NotEq,),
    ast.NotEq: (ast.Eq,),
    ast.Is: (ast.IsNot,),
    ast.IsNot: (ast.Is,),
    ast.In: (ast.NotIn,),
    ast.NotIn: (ast.In,),
}
_ARITHMETIC: Final[dict[type[ast.operator], type[ast.operator]]] = {
    ast.Add: ast.Sub,
    ast.Sub: ast.Add,
    ast.Mult: ast.FloorDiv,
    ast.FloorDiv: ast.Mult,
    ast.Div: ast.Mult,
    ast.Mod: ast.Mult,
    ast.BitOr: ast.BitAnd,
    ast.BitAnd: ast.BitOr,
}
_QUANTIFIERS: Final = ("}", "*", "+", "?")
"""Ends of regular expressions that a question mark would only make lazy."""

_NAMES: Final = {"min": "max", "max": "min", "any": "all", "all": "any"}


class Mutant(msgspec.Struct, frozen=True):
    """One change. `name` is stable while the function stands; `lines` are those of the statement that it is in.

    `function` is the qualified name of the function whose body is changed, empty where it is the module's or a class's
    own body, or a default argument.
    """

    name: str
    function: str
    lines: tuple[int, int]
    module: ast.Module
    node: ast.AST
    new: ast.AST

    @property
    def tree(self) -> ast.Module:
        """The module with the change."""
        memo: dict[int, object] = {id(self.node): ast.copy_location(copy.deepcopy(self.new), self.node)}
        return ast.fix_missing_locations(copy.deepcopy(self.module, memo))  # type: ignore[arg-type]


class _Site(msgspec.Struct, frozen=True):
    """Where a change is made: the node, what it becomes, and the statement around it."""

    node: ast.AST
    new: ast.AST
    statement: ast.stmt
    scope: str
    function: str


def mutants(source: str) -> list[Mutant]:
    """Return every mutant of a module."""
    tree = ast.parse(source)
    counted: Counter[str] = Counter()
    found = []
    for site in _sites(tree.body, "", ""):
        name = f"{site.scope or 'module'}: {_text(site.node)} -> {_text(site.new)}"
        counted[name] += 1
        if counted[name] > 1:
            name += f" #{counted[name]}"
        statement = site.statement
        last = statement.body[0].lineno - 1 if hasattr(statement, "body") else statement.end_lineno
        lines = (statement.lineno, max(statement.lineno, last or 0))
        found.append(Mutant(name, site.function, lines, tree, site.node, site.new))
    return found


def _text(node: ast.AST) -> str:
    text = " ".join(ast.unparse(node).split())
    return text if len(text) <= 100 else text[:97] + "..."


def _sites(body: list[ast.stmt], scope: str, function: str) -> Iterator[_Site]:
    for statement in body:
        if isinstance(statement, ast.FunctionDef | ast.AsyncFunctionDef):
            inner = f"{scope}.{statement.name}".lstrip(".")
            for default in (*statement.args.defaults, *(each for each in statement.args.kw_defaults if each)):
                yield from _expressions(default, statement, inner, "")
            yield from _sites(statement.body, inner, function or inner)
        elif isinstance(statement, ast.ClassDef):
            yield from _sites(statement.body, f"{scope}.{statement.name}".lstrip("."), "")
        elif not isinstance(statement, ast.Import | ast.ImportFrom) and not _is_left_out(statement):
            yield from _statement(statement, scope, function)


def _is_left_out(statement: ast.stmt) -> bool:
    """Say whether this is a docstring, a list of what a module exports, imported for types only, or a table of the
    database, which a test compares with its revisions."""
    match getattr(statement, "value", None):
        case ast.Call(ast.Name("declare_table")):
            return True
    if isinstance(statement, ast.Assign):
        return ast.unparse(statement.targets[0]) == "__all__"
    if isinstance(statement, ast.If):
        return ast.unparse(statement.test) == "TYPE_CHECKING"
    return isinstance(statement, ast.Expr) and isinstance(statement.value, ast.Constant)


def _statement(statement: ast.stmt, scope: str, function: str) -> Iterator[_Site]:
    removable = ast.Expr | ast.Assign | ast.AugAssign | ast.Delete | ast.Raise | ast.Continue | ast.Break
    if function and isinstance(statement, removable):
        yield _Site(statement, ast.Pass(), statement, scope, function)
    if isinstance(statement, ast.Return) and ast.unparse(statement) not in ("return", "return None"):
        yield _Site(statement, ast.Return(ast.Constant(None)), statement, scope, function)
    if isinstance(statement, ast.Assert):
        return
    for name, value in ast.iter_fields(statement):
        if name in ("body", "orelse", "finalbody"):
            yield from _sites(value, scope, function)
        elif name == "handlers":
            for handler in value:
                yield from _sites(handler.body, scope, function)
        elif name == "cases":
            for case in value:
                if case.guard is not None:
                    yield from _condition(case.guard, statement, scope, function)
                yield from _sites(case.body, scope, function)
        elif name == "test":
            yield from _condition(value, statement, scope, function)
        elif name not in ("annotation", "target", "targets"):
            for each in value if isinstance(value, list) else [value]:
                if isinstance(each, ast.expr):
                    yield from _expressions(each, statement, scope, function)


def _condition(test: ast.expr, statement: ast.stmt, scope: str, function: str) -> Iterator[_Site]:
    if not isinstance(test, ast.Compare | ast.UnaryOp):  # these are turned round anyway
        yield _Site(test, ast.UnaryOp(ast.Not(), test), statement, scope, function)
    yield from _expressions(test, statement, scope, function)


def _expressions(node: ast.expr, statement: ast.stmt, scope: str, function: str) -> Iterator[_Site]:
    for new in _changed(node):
        yield _Site(node, new, statement, scope, function)
    if isinstance(node, ast.JoinedStr | ast.Constant):  # what is formatted is for people
        return
    for child in ast.iter_child_nodes(node):
        if isinstance(child, ast.keyword):
            yield from _expressions(child.value, statement, scope, function)
        elif isinstance(child, ast.comprehension):
            for each in (child.iter, *child.ifs):
                yield from _expressions(each, statement, scope, function)
        elif isinstance(child, ast.expr) and not (
            isinstance(node, ast.Subscript) and child is node.slice and _is_type(node)
        ):
            yield from _expressions(child, statement, scope, function)


def _is_type(node: ast.Subscript) -> bool:
    """Say whether this is a type: `Literal["a"]`, `Callable[[], None]`."""
    return isinstance(node.value, ast.Name) and node.value.id[:1].isupper()


def _changed(node: ast.expr) -> Iterator[ast.expr]:
    match node:
        case ast.Compare(left, ops, comparators):
            for at, operation in enumerate(ops):
                for other in _COMPARISONS[type(operation)]:
                    yield ast.Compare(left, [*ops[:at], other(), *ops[at + 1 :]], comparators)
        case ast.BoolOp(operation, values):
            yield ast.BoolOp(ast.Or() if isinstance(operation, ast.And) else ast.And(), values)
            for at in range(len(values)):
                rest = values[:at] + values[at + 1 :]
                yield rest[0] if len(rest) == 1 else ast.BoolOp(operation, rest)
        case ast.UnaryOp(ast.Not() | ast.USub(), operand):
            yield operand
        case ast.BinOp(left, operation, right) if type(operation) in _ARITHMETIC:
            yield ast.BinOp(left, _ARITHMETIC[type(operation)](), right)
        case ast.IfExp(test, body, orelse):
            yield ast.IfExp(test, orelse, body)
        case ast.Call(ast.Name(name), args, keywords) if name in _NAMES:
            yield ast.Call(ast.Name(_NAMES[name], ast.Load()), args, keywords)
            if len(args) > 1:
                for at in range(len(args)):
                    rest = args[:at] + args[at + 1 :]
                    yield ast.Call(node.func, rest, keywords) if len(rest) > 1 else rest[0]
        case ast.Constant(bool() as value):
            yield ast.Constant(not value)
        case ast.Constant(int() | float() as value):
            yield ast.Constant(value + 1)
            if value:
                yield ast.Constant(0)
        case ast.Constant(str() as value) if " " not in value:  # what has blanks is for people
            yield ast.Constant(value + ("!" if value.endswith(_QUANTIFIERS) else "?"))
