"""The page of a case (HTML): for OCPP its frames in order, with the faulty field marked, for OCPI its exchanges."""

import json
from collections.abc import Iterable, Iterator, Mapping, Sequence
from html import escape
from typing import Final

from v2g.look import document
from v2g.text import printable
from v2g_cli.conform.report import JUDGED
from v2g_testkit.ocpi.partner import Exchange
from v2g_testkit.ocpp.connection import Frame, decoded

_STYLE: Final = """
details{border-bottom:1px solid var(--line);padding:.2em 0}summary{font-weight:400}
.sent{color:var(--out)}.received{color:var(--in)}.note{margin:.2em 0 .2em 1.1em}.fault{color:var(--bad);font-weight:600}
pre{margin:.3em 0 .6em 2em;overflow-x:auto;font-size:13px}mark{background:var(--bad-bg);color:inherit}
time{color:var(--dim);display:inline-block;width:6em;text-align:right;padding-right:.8em}
"""
_ARROWS: Final = {"sent": "tester → device", "received": "device → tester", "note": ""}
_MOST_SHOWN: Final = 20_000
_KINDS: Final = {3: "answer", 4: "CALLERROR", 5: "CALLRESULTERROR"}


def frames_page(title: str, frames: Sequence[Frame]) -> str:
    """Return the page of a case's frames."""
    began = frames[0].at_s if frames else 0.0
    asked = {name: action for each in frames for name, action in _asked(each.text)}
    received = [each for each in frames if each.way == "received"]
    judged = next((each for each in received if each.fault), received[-1] if received else None)
    return _page(title, (_row(each, each.at_s - began, asked, judged=each is judged) for each in frames))


def exchanges_page(title: str, exchanges: Sequence[Exchange]) -> str | None:
    """Return the page of a case's requests and answers; None if there were none."""
    began = min((each.at_s for each in exchanges), default=0.0)
    ordered = sorted(exchanges, key=lambda each: each.at_s)
    return _page(title, (_exchange(each, each.at_s - began) for each in ordered)) if exchanges else None


def _exchange(each: Exchange, seconds: float) -> str:
    way = "sent" if each.sent else "received"
    found = {"request": each.body, "answer": each.answer}
    lines = escape(json.dumps(found, indent=1, default=str, ensure_ascii=False)[:_MOST_SHOWN])
    ended = f"HTTP {each.status}, status_code {each.code}" if each.status else "no answer"
    return (
        f'<details><summary><time>{seconds:.3f} s</time><span class="{way}">{_ARROWS[way]}</span> '
        f"<b>{escape(each.asked)}</b> {ended}</summary><pre>{lines}</pre></details>"
    )


def _page(title: str, rows: Iterable[str]) -> str:
    listed = "\n".join(rows)
    body = f'<h1>{escape(title)}</h1><p><a href="index.html">All cases</a></p>\n<div class="card">{listed}</div>'
    return document(title, body, style=_STYLE)


def _row(frame: Frame, seconds: float, asked: Mapping[str, str], *, judged: bool) -> str:
    at = f"<time>{seconds:.3f} s</time>"
    if frame.way == "note":
        return f'<p class="note">{at}{escape(printable(frame.text))}</p>'
    content = decoded(frame.text)
    name, place = _read(content, asked)
    fault = f' <span class="fault">{escape(printable(frame.fault))}</span>' if frame.fault else ""
    path = frame.fault.split(": ")[1] if frame.fault.count(": ") > 1 else ""
    lines = "\n".join(_shown(where, text, path) for where, text in _frame_lines(content, place))
    opened = (f" {JUDGED}" if judged else "") + (" open" if frame.fault or judged else "")
    return (
        f'<details{opened}><summary>{at}<span class="{frame.way}">{_ARROWS[frame.way]}</span> '
        f"<b>{escape(printable(name))}</b>{fault}</summary><pre>{lines}</pre></details>"
    )


def _asked(text: str) -> Iterator[tuple[str, str]]:
    """Yield the id and action of a request."""
    match decoded(text):
        case [2, str() as identifier, str() as action, _]:
            yield identifier, action


def _read(frame: object, asked: Mapping[str, str]) -> tuple[str, int]:
    """Return the name of a frame, and the place of its payload; -1 without one."""
    match frame:
        case [2, str(), str() as action, _]:
            return action, 3
        case [6, str(), str() as action, _]:
            return f"{action} (SEND)", 3
        case [int() as kind, str() as identifier, *rest]:
            name = f"{asked.get(identifier, identifier[:40])} {_KINDS.get(kind, kind)}"
            return name, 2 if len(rest) == 1 else -1
    return "not OCPP-J", -1


def _frame_lines(frame: object, place: int) -> Iterator[tuple[str, str]]:
    """Yield a frame in lines of JSON, each with the JSON path in the payload of what it shows."""
    if not isinstance(frame, list):
        yield from _lines(frame, "$", "")
        return
    yield "", "["
    for number, each in enumerate(frame):
        inner = _lines(each, "$" if number == place else "", "  ")
        yield from _separated(inner, last=number == len(frame) - 1)
    yield "", "]"


def _lines(value: object, path: str, indent: str, name: str = "") -> Iterator[tuple[str, str]]:
    """Yield a JSON value in lines, each with the JSON path of what it shows."""
    label = f"{json.dumps(name)}: " if name else ""
    if isinstance(value, dict) and value:
        yield path, f"{indent}{label}{{"
        for number, (key, each) in enumerate(value.items(), 1):
            inner = _lines(each, f"{path}.{key}" if path else "", f"{indent}  ", str(key))
            yield from _separated(inner, last=number == len(value))
        yield "", f"{indent}}}"
    elif isinstance(value, list) and value:
        yield path, f"{indent}{label}["
        for number, each in enumerate(value):
            inner = _lines(each, f"{path}[{number}]" if path else "", f"{indent}  ")
            yield from _separated(inner, last=number == len(value) - 1)
        yield "", f"{indent}]"
    else:
        yield path, f"{indent}{label}{json.dumps(value, ensure_ascii=False)}"


def _separated(lines: Iterator[tuple[str, str]], *, last: bool) -> Iterator[tuple[str, str]]:
    """Yield the lines of a value, with a comma after it unless it is the `last`."""
    held = next(lines)
    for following in lines:
        yield held
        held = following
    yield held if last else (held[0], f"{held[1]},")


def _shown(where: str, text: str, faulty: str) -> str:
    shown = escape(printable(text))
    return f"<mark>{shown}</mark>" if faulty and where == faulty else shown
