"""Which cases come to a step that a person or a driver takes, by the names in their code: said before a run.

A script is a function of Python; what it can call is what it names, and what the functions that it names do.
"""

import functools
from collections.abc import Iterator
from inspect import isfunction, ismodule
from types import CodeType

from v2g_testkit.ocpp.case import CaseTest


def _names(code: CodeType) -> Iterator[str]:
    yield from code.co_names
    for each in code.co_consts:
        if isinstance(each, CodeType):
            yield from _names(each)


@functools.cache
def _steps(test: type[CaseTest], step: str) -> frozenset[str]:
    """Return the methods of a test that come to a step of this class, but for its end, which tidies up."""
    methods = {name: each.__code__ for kind in test.mro() for name, each in vars(kind).items() if isfunction(each)}
    methods.pop("leave", None)
    found, before = {step}, set[str]()
    while found != before:
        before = set(found)
        found |= {name for name, code in methods.items() if not found.isdisjoint(_names(code))}
    return frozenset(found)


def by_hand(script: object, test: type[CaseTest], step: str, seen: set[int] | None = None) -> bool:
    """Return whether a case's script, or a function of the lab that it names, comes to a step: the class `step`, by
    which a `test` asks for it."""
    known = set() if seen is None else seen
    if isinstance(script, functools.partial):
        inner = (script.func, *script.args, *script.keywords.values())
        return any(by_hand(each, test, step, known) for each in inner)
    if not isfunction(script) or id(script) in known or not script.__module__.startswith("v2g_testkit."):
        return False
    known.add(id(script))
    names = set(_names(script.__code__))
    if not names.isdisjoint(_steps(test, step)):  # type: ignore[arg-type]  # classes have hashes
        return True
    named = [script.__globals__.get(name) for name in names]
    inside = [getattr(each, name, None) for each in named if ismodule(each) for name in names]
    held = [cell.cell_contents for cell in script.__closure__ or ()]
    return any(by_hand(each, test, step, known) for each in (*named, *inside, *held))
