"""Makes external text safe to display, and names in series; times and ages for people."""

import re
from datetime import UTC, datetime, timedelta, tzinfo
from typing import Final

_BASIC: Final = 0xFFFF
_EPOCH: Final = datetime(1970, 1, 1, tzinfo=UTC)
_LAST_MS: Final = (datetime.max.replace(tzinfo=UTC) - _EPOCH) // timedelta(milliseconds=1)


def printable(text: str, *, lines: bool = False) -> str:
    r"""Return text with printable characters only: others are escaped as in JSON, `\u001b`.

    Escaped are controls (such as terminal escape sequences), line ends, tabs, invisible characters, those that change
    the writing direction, and unpaired surrogates. `lines` preserves line ends (`\n`): for text with our own lines, and
    for JSON, whose meaning stays the same.
    """
    if text.isprintable():
        return text
    if lines:
        return "\n".join(printable(line) for line in text.split("\n"))
    return "".join(each if each.isprintable() else _escaped(ord(each)) for each in text)


_PASSWORD: Final = re.compile(r"(?P<before>[A-Za-z][A-Za-z0-9+.-]*://[^\s/?#:@]*:)[^\s/?#]*(?=@)")
"""Of a URL in a text (RFC 3986, 3.2.1)."""


def redacted(text: str) -> str:
    """Return text with passwords in URLs replaced by three asterisks: others read what is printed."""
    return _PASSWORD.sub(r"\g<before>***", text) if "://" in text else text


def same_language(one: str | None, other: str | None) -> bool:
    """Return whether two tags (RFC 5646) name one language, as `de` and `de-AT` do; None names none."""
    return bool(one and other) and (one or "").partition("-")[0].lower() == (other or "").partition("-")[0].lower()


def numbered(prefix: str, count: int) -> tuple[str, ...]:
    """Return that many names: the prefix and a number from 1, all of the same length."""
    return tuple(f"{prefix}{number:0{len(str(count))}d}" for number in range(1, count + 1))


def moment(utc_ms: int, zone: tzinfo = UTC) -> str:
    """Return a time (ms since 1970, up to the year 9999) with its zone: `2026-11-27 20:53:10 UTC`."""
    return f"{(_EPOCH + timedelta(milliseconds=min(utc_ms, _LAST_MS))).astimezone(zone):%Y-%m-%d %H:%M:%S} {zone}"


def age(ms: int) -> str:
    """Return how long something has lasted: seconds, minutes, hours or days, in the signs of every language."""
    seconds = max(0, ms) // 1000
    for size, sign in ((86_400, "d"), (3600, "h"), (60, "min")):
        if seconds >= size * (2 if sign == "d" else 1):
            return f"{seconds // size}\u00a0{sign}"
    return f"{seconds}\u00a0s"


def _escaped(code: int) -> str:
    if code <= _BASIC:
        return f"\\u{code:04x}"
    code -= _BASIC + 1
    return f"\\u{0xD800 | code >> 10:04x}\\u{0xDC00 | code & 0x3FF:04x}"
