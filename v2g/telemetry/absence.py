"""Which raw values of a CAN signal are no quantity: states that a value table names, and codes of J1939 (R210).

A name beside a number is often only a remark: 50 % "Reserve", 0 A "Zero". It is a state where it says that there is no
value, where it contradicts the number, or where the code stands at the end of the range, as makers place states.
"""

import re
from collections.abc import Iterator
from typing import Final

from v2g.dbc import DbcMessage, DbcSignal
from v2g.tables import table

_WORDS: Final = re.compile(r"[^\W\d_]+")
_CAMEL: Final = re.compile(r"(?<=[a-zß-ÿ])(?=[A-ZÀ-Þ])|(?<=[A-Z])(?=[A-Z][a-z])")
_FIGURE: Final = re.compile(r"\s*[<>=≤≥~]*\s*([-+]?\d+(?:[.,]\d+)?)\s*(\S{0,12})\s*")

_NAMES: Final = table("v2g.telemetry", "data/state_names.toml", dict[str, str])
_WORDS_OF: Final = {key: frozenset(text.split()) for key, text in _NAMES.items()}
_BEGINNINGS: Final = tuple(_WORDS_OF["no_value_beginnings"])


def says_no_value(label: str) -> bool:
    """Return whether the name of a raw value says that there is none: not available, invalid, error, reserved, ..."""
    if not any(each.isalnum() for each in label):
        return True  # "-", "---", "?"
    words = _words(label)
    if not _WORDS_OF["no_value"].isdisjoint(words) or any(each.startswith(_BEGINNINGS) for each in words):
        return True
    return any(each in label.lower() for each in _WORDS_OF["no_value_parts"]) or any(
        word in _WORDS_OF["negations"] and any(map(_is_negated, words[place + 1 : place + 3]))
        for place, word in enumerate(words)
    )


def _is_negated(word: str) -> bool:
    return any(word == each if len(each) < 3 else word.startswith(each) for each in _WORDS_OF["negated"])


def _words(label: str) -> list[str]:
    return [each.casefold() for each in _WORDS.findall(_CAMEL.sub(" ", label))]


def scaled(signal: DbcSignal, raw: float) -> float:
    """Return the physical value of a raw one, in the signal's unit."""
    return raw * signal.scale + signal.offset


def states(signal: DbcSignal, *, is_state: bool) -> frozenset[float]:
    """Return the named raw values that are no value of the quantity. `is_state`: what is wanted is itself a state,
    such as a contactor's, whose numbers have names."""
    if not signal.names:
        return signal.absent
    ends = frozenset(_ends(signal))
    least, most = signal.codes
    identity = (signal.scale, signal.offset) == (1.0, 0.0)
    enumeration = not is_state and not signal.float_format and identity and 2 * len(signal.names) > most - least
    found = set(signal.absent)
    for raw, label in signal.names.items():
        value, words = scaled(signal, raw), _words(label)
        slack = abs(signal.scale) / 2
        if says_no_value(label):
            found.add(raw)
        elif is_state:
            continue
        elif (figure := _FIGURE.fullmatch(label)) is not None and (not signal.unit or figure[2] in ("", signal.unit)):
            if abs(float(figure[1].replace(",", ".")) - value) > slack:
                found.add(raw)
        elif signal.minimum < signal.maximum and not signal.minimum - slack <= value <= signal.maximum + slack:
            found.add(raw)
        elif not _WORDS_OF["zero"].isdisjoint(words):
            if abs(value) > slack:
                found.add(raw)
        elif (
            enumeration
            or not _WORDS_OF["states"].isdisjoint(words)
            or (raw in ends and _WORDS_OF["ends"].isdisjoint(words))
        ):
            found.add(raw)
    return frozenset(found)


def _ends(signal: DbcSignal) -> Iterator[float]:
    """Yield the named raw values that follow each other up to the last code, and of a signed signal from the first."""
    if signal.float_format:
        return
    least, most = signal.codes
    code = most
    while code in signal.names:
        yield code
        code -= 1
    code = least
    while signal.signed and code in signal.names:
        yield code
        code += 1


def is_j1939_absence(message: DbcMessage, signal: DbcSignal, raw: float) -> bool:
    """Return whether a raw value is one of J1939's for "error" or "not available" (J1939-71, 5.1.4): the highest octet
    FE or FF, of 2 bits 2 or 3, of 4 bits 14 or 15; in messages declared to be of J1939 also FB to FD, the other codes
    that are no values. A message of 29 bits counts as one of J1939 unless the file says otherwise."""
    declared = message.j1939
    if not (message.extended if declared is None else declared) or signal.signed or signal.float_format:
        return False
    if signal.length in (2, 4):
        return raw >= (1 << signal.length) - 2
    return signal.length >= 8 and int(raw) >> signal.length - 8 >= (0xFB if declared else 0xFE)
