"""Reads XML of others: bounded, in UTF-8 or as Windows writes it, without document types, so that no entity expands."""

import re
from typing import Final
from xml.etree import ElementTree

from v2g.errors import CodecError

Node = ElementTree.Element


_WESTERN: Final = re.compile(rb"<\?xml\s[^>]*encoding\s*=\s*[\"'](?:iso-8859-1|windows-1252)[\"']", re.IGNORECASE)
"""A declaration of one of the encodings that programs for Windows write."""


def read_xml(data: bytes, name: str, *, most_bytes: int) -> Node:
    """Return the root of a document. `name` says what it is, in errors. Raises CodecError."""
    if len(data) > most_bytes:
        raise CodecError(f"{name} of {len(data)} bytes", hint=f"at most {most_bytes} bytes are accepted")
    try:
        text = data.decode()
    except UnicodeDecodeError:
        if not _WESTERN.match(data):
            raise CodecError(f"{name} is not UTF-8") from None
        text = data.decode("cp1252", "replace")
    if "<!DOCTYPE" in text or "<!ENTITY" in text:
        raise CodecError(f"{name} has a document type, which is not supported")
    try:
        return ElementTree.fromstring(text)  # noqa: S314 - no document type, hence no entities
    except (ElementTree.ParseError, ValueError) as error:
        raise CodecError(f"{name} is not well-formed XML: {error}") from None


def local_name(node: Node) -> str:
    """Return an element's name without its namespace."""
    return node.tag.rpartition("}")[2]


def child(node: Node, *path: str) -> Node | None:
    """Return the first descendant at a path of local names."""
    found: Node | None = node
    for name in path:
        found = next((each for each in found if local_name(each) == name), None) if found is not None else None
    return found


def children(node: Node, name: str) -> list[Node]:
    """Return the children of a local name."""
    return [each for each in node if local_name(each) == name]


def text_at(node: Node, *path: str) -> str:
    """Return the text of the first descendant at a path of local names, stripped; empty if there is none."""
    found = child(node, *path)
    return "" if found is None or found.text is None else found.text.strip()


def whole(text: str, name: str, least: int, most: int) -> int:
    """Return a whole number from `least` to `most`. Raises CodecError, which names it."""
    digits = text.removeprefix("-").removeprefix("+")
    if not (digits.isascii() and digits.isdigit()) or len(digits) > 20 or not least <= int(text) <= most:
        raise CodecError(f"{name}: {text[:40]!r} is not a number from {least} to {most}")
    return int(text)


def whole_at(node: Node, name: str, least: int, most: int, absent: int | None = None) -> int:
    """Return the whole number in a child, `absent` without one. Raises CodecError, also without either."""
    text = text_at(node, name)
    return absent if absent is not None and not text else whole(text, name, least, most)


def truth_at(node: Node, name: str) -> bool | None:
    """Return the boolean in a child; None without one. Raises CodecError."""
    text = text_at(node, name)
    if text not in ("", "true", "false", "1", "0"):
        raise CodecError(f"{name}: {text[:40]!r} is neither true nor false")
    return text in ("true", "1") if text else None
