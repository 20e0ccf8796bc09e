"""`v2g diag log`: explains error codes and faults of CAN buses in a log."""

import re
from collections.abc import Iterable
from typing import Final

import msgspec

from v2g.hardware.power_modules.can_errors import FaultName, fault
from v2g.telemetry.error_codes import CODES

LONGEST_LINE: Final = 65536


class Explained(msgspec.Struct):
    """Something known in a log: where it is first, how often, what it means, and what to do."""

    code: str
    line: int
    text: str
    cause: str
    hint: str
    count: int = 1


_CODE: Final = re.compile(r"\b0x0*([0-9A-Fa-f]{1,8})\b")

_CAN: Final[tuple[tuple[re.Pattern[str], FaultName], ...]] = (
    (re.compile(r"\b(?P<channel>\w*can\d+): (?:CAN )?bus[- ]off\b", re.IGNORECASE), "bus_off"),
    (re.compile(r"\b(?P<channel>\w*can\d+): .*\berror[- ]passive\b", re.IGNORECASE), "error_passive"),
    (re.compile(r"\b(?P<channel>\w*can\d+): .*\b(?:rx|fifo|buffer) overflow\b", re.IGNORECASE), "frames_lost"),
    (re.compile(r"\b(?P<channel>\w*can\d+): restarted\b", re.IGNORECASE), "restarted"),
)
"""Lines of the kernel, as in /var/log/kern.log."""


def explain(lines: Iterable[str]) -> list[Explained]:
    """Return what is known in the lines of a log, each once, by where it is first."""
    found: dict[str, Explained] = {}
    for number, line in enumerate(lines, 1):
        for code, cause, hint in _known(line[:LONGEST_LINE]):
            if code in found:
                found[code].count += 1
            else:
                found[code] = Explained(code, number, line.strip()[:500], cause, hint)
    return list(found.values())


def _known(line: str) -> Iterable[tuple[str, str, str]]:
    for each in _CODE.finditer(line):
        if (code := int(each[1], 16)) in CODES:
            name, cause, hint = CODES[code]
            yield f"0x{code:X} {name}", cause, hint
    for pattern, name in _CAN:
        if (match := pattern.search(line)) is not None:
            known = fault(name, match["channel"])
            yield f"{match['channel']}: {name}", known.cause, known.hint
