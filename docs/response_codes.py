"""The reference of response codes: what is written here by hand, and where code and tests are found by machine.

The charger's code is searched for the codes that it can say, the tests for those that they assert. A code that can be
said and has no line here, or no test, is found by `tests/docs/test_response_codes.py`.
"""

import ast
import re
from collections import defaultdict
from collections.abc import Iterator, Mapping
from functools import cache
from pathlib import Path
from typing import Final

from docs.markdown import table as markdown
from evcc.session.d20.response_policy import Reaction, reaction
from v2g.iso15118.d2.response_codes import USES as USES_2
from v2g.iso15118.d20.messages.common_types import ResponseCode
from v2g.iso15118.d20.response_codes import USES
from v2g.iso15118.din.response_codes import NAMES_OF_2
from v2g.iso15118.din.response_codes import USES as USES_DIN
from v2g.iso15118.engine.app_protocol import ResponseCode as ProtocolCode
from v2g.iso15118.engine.response_codes import EVERY, CodeUse, consequence_of

ROOT: Final = Path(__file__).resolve().parent.parent

_SHARED: Final = ("secc/session/delivery.py", "secc/session/session.py")
_MESSAGE: Final = ("secc/session/v2g_message", *_SHARED)

SAYERS: Final[Mapping[str, tuple[str, ...]]] = {
    "d20": ("secc/session/d20", *_SHARED, *("v2g/iso15118/d20/provisioning.py", "v2g/iso15118/d20/installation.py")),
    "d2": ("secc/session/d2", *_MESSAGE),
    "din": ("secc/session/din", *_MESSAGE),
}
"""Where response codes are said, by edition: the charger, and the back end's provisioning service whose answers it
passes on."""

SHOWN: Final = 2
"""How many tests of a code the table names."""


def table() -> str:
    """Return the table of all codes."""
    said, tested = emitted(), proofs()
    head = ("#", "Code", "Responses", "When our charger says it", "What our vehicle does", "Said in", "Tested by")
    uses = ((number, code.name, USES[code.name], code) for number, code in enumerate(ResponseCode))
    return markdown(
        head,
        (
            (
                str(number), f"`{name}`", ", ".join(use.responses), use.when, _reactions(code, use),
                ", ".join(f"`{place}`" for place in sorted(said.get(name, ()))), _linked(tested.get(name, [])),
            )
            for number, name, use, code in uses
        ),
    )  # fmt: skip


def uses_table(edition: str) -> str:
    """Return the codes of ISO 15118-2 (d2) or DIN 70121 (din) with their places and consequences."""
    said, rows = emitted(edition), []
    for number, (code, use) in enumerate(OLDER[edition].items()):
        names = use.responses if use.responses != EVERY else ("AuthorizationRes",)
        follows = ", ".join(dict.fromkeys(consequence_of(name, code).value for name in names))
        places = ", ".join(f"`{place}`" for place in sorted(said.get(code, ())))
        rows.append((str(number), f"`{code}`", ", ".join(use.responses), use.when, follows, places))
    head = ("#", "Code", "Responses", "When the charger sends it", "What the vehicle does", "Said in")
    return markdown(head, rows)


def protocol_table() -> str:
    """Return the codes of SupportedAppProtocolRes."""
    tested = proofs()
    when = {
        "OK_SuccessfulNegotiation": "a namespace and version that are spoken here",
        "OK_SuccessfulNegotiationWithMinorDeviation": "the minor version differs",
        "Failed_NoNegotiation": "nothing in common; also the answer to anything else that fails in this state",
    }
    rows = (
        (str(number), f"`{code.name}`", when[code.name], _linked(tested.get(code.name, [])))
        for number, code in enumerate(ProtocolCode)
    )
    return markdown(("#", "Code", "When our charger says it", "Tested by"), rows)


def _reactions(code: ResponseCode, use: CodeUse) -> str:
    """Return the vehicle's reaction; by response where they differ."""
    import msgspec

    names = use.responses if use.responses != EVERY else ("SessionStopRes",)
    by_reaction: dict[Reaction, list[str]] = defaultdict(list)
    for name in names:
        by_reaction[reaction(msgspec.defstruct(name, [("response_code", object)])(code))].append(name)
    if len(by_reaction) == 1:
        return next(iter(by_reaction)).value
    return "; ".join(f"{each.value} ({', '.join(where)})" for each, where in by_reaction.items())


def _linked(ids: list[str]) -> str:
    return ", ".join(f"[{name}](../../{file})" for file, _, name in (each.partition("::") for each in ids[:SHOWN]))


@cache
def emitted(edition: str = "d20") -> dict[str, set[str]]:
    """Return, for every code that the charger can say in an edition, the modules that say it."""
    found: dict[str, set[str]] = defaultdict(set)
    names = NAMES_OF_2 if edition == "din" else {}
    for place in SAYERS[edition]:
        path = ROOT / place
        for file in sorted(path.rglob("*.py")) if path.is_dir() else [path]:
            tree = ast.parse(file.read_text())
            compared = {id(each) for node in ast.walk(tree) if isinstance(node, ast.Compare) for each in ast.walk(node)}
            for node in ast.walk(tree):
                code = _code(node)
                if code and id(node) not in compared:
                    found[names.get(code, code)].add(str(file.relative_to(ROOT)))
    return found


@cache
def proofs() -> dict[str, list[str]]:
    """Return, for every code, the tests that assert it: FILE::NAME, those of the charger's core first."""
    found: dict[str, list[str]] = defaultdict(list)
    for folder in ("secc", "station", "sessions", "iso15118", "evcc", "csms"):
        for file in sorted((ROOT / "tests" / folder).rglob("test_*.py")):
            source = file.read_text()
            for name, codes in asserted(ast.parse(source)) if _MENTIONED.search(source) else ():
                for code in sorted(codes):
                    found[code].append(f"{file.relative_to(ROOT)}::{name}")
    return found


def asserted(tree: ast.Module) -> Iterator[tuple[str, set[str]]]:
    """Yield every test with the codes that stand in its parameters or assertions."""
    for node in ast.walk(tree):
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef) and node.name.startswith("test_"):
            claims: list[ast.AST] = [each for each in ast.walk(node) if isinstance(each, ast.Assert)]
            claims += node.decorator_list
            yield node.name, {code for claim in claims for each in ast.walk(claim) if (code := _code(each))}


def _code(node: ast.AST) -> str:
    """Return the code that an expression names, or the empty text."""
    match node:
        case ast.Attribute(attr=attr, value=ast.Name(id="ResponseCode")) if attr in _NAMES:
            return attr
        case ast.Attribute(attr=attr, value=ast.Attribute(attr="ResponseCode")) if attr in _NAMES:
            return attr
        case ast.Constant(value=str(text)) if text in _NAMES and text != "OK":
            return text
    return ""


OLDER: Final[Mapping[str, Mapping[str, CodeUse]]] = {"d2": USES_2, "din": USES_DIN}
"""Codes of the older editions, with their uses."""

_NAMES: Final = frozenset((*(each.name for each in (*ResponseCode, *ProtocolCode)), *USES_2, *USES_DIN))
_MENTIONED: Final = re.compile(rf"\b(?:{'|'.join(sorted(_NAMES))})\b")
