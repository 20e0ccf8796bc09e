"""Text that came from outside, made fit to be shown."""

import re
from typing import Final

__all__ = ["printable", "redacted"]

_BASIC: Final = 0xFFFF


def printable(text: str, *, lines: bool = False) -> str:
    r"""Return text whose every character is one to read: the others are escaped as JSON does, `\u001b`.

    Those are controls (escape sequences of terminals among them), ends of lines, tabs, marks that turn the direction of
    writing round or take no place, and halves of characters. With `lines` the ends of lines (`\n`) stay: for text that
    was made in lines here, and for JSON, which still means the same.
    """
    if text.isprintable():
        return text
    if lines:
        return "\n".join(printable(line) for line in text.split("\n"))
    return "".join(each if each.isprintable() else _escaped(ord(each)) for each in text)


_PASSWORD: Final = re.compile(r"(?P<before>[A-Za-z][A-Za-z0-9+.-]*://[^\s/?#:@]*:)[^\s/?#]*(?=@)")
"""Of a URL in a text (RFC 3986, 3.2.1)."""


def redacted(text: str) -> str:
    """Return text in which the passwords of URLs are three stars: what is printed is read by others."""
    return _PASSWORD.sub(r"\g<before>***", text) if "://" in text else text


def _escaped(code: int) -> str:
    if code <= _BASIC:
        return f"\\u{code:04x}"
    code -= _BASIC + 1
    return f"\\u{0xD800 | code >> 10:04x}\\u{0xDC00 | code & 0x3FF:04x}"
