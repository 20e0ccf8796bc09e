"""Broken input made of real input: bits flipped, parts cut, doubled or swapped, lies about sizes, foreign events."""

import random
from collections.abc import Callable, Sequence

LIES = (0xFFFFFFFF0F, 0xFFFFFFFFFFFFFFFF01, 0x8000, 0x00, 0x01, 0xFF7F)
"""Variable-length integers that are huge, not shortest, or zero."""

EVENTS = ("1", "11", "111", "10", "100", "1000", "1001", "101", "110", "0000")
"""Event codes at whose place a stream says something else than the schema: ends, xsi:type, undeclared, abstract."""


def mutated(corpus: Sequence[bytes], chance: random.Random) -> bytes:
    """Return one input, its first octet (which chooses the target's grammar) mostly untouched."""
    base = chance.choice(corpus)
    head, body = base[:1], base[1:]
    for _ in range(chance.choice((1, 1, 1, 2, 3, 8))):
        body = chance.choice(MUTATIONS)(body, corpus, chance)
    if chance.random() < 0.05:
        head = bytes((chance.randrange(256),))
    return head + body


def flip(body: bytes, _: Sequence[bytes], chance: random.Random) -> bytes:
    """Flip a bit."""
    if not body:
        return body
    at = chance.randrange(8 * len(body))
    return body[: at // 8] + bytes((body[at // 8] ^ 128 >> at % 8,)) + body[at // 8 + 1 :]


def cut(body: bytes, _: Sequence[bytes], chance: random.Random) -> bytes:
    """Leave out the end, or some octets."""
    start = chance.randint(0, len(body))
    return body[:start] + body[chance.choice((len(body), chance.randint(start, len(body)))) :]


def double(body: bytes, _: Sequence[bytes], chance: random.Random) -> bytes:
    """Repeat some octets, now and then very often."""
    start = chance.randint(0, len(body))
    part = body[start : start + chance.randint(1, 40)]
    return body[:start] + part * chance.choice((2, 3, 300)) + body[start:]


def splice(body: bytes, corpus: Sequence[bytes], chance: random.Random) -> bytes:
    """Go on with another input."""
    other = chance.choice(corpus)
    return body[: chance.randint(0, len(body))] + other[chance.randint(0, len(other)) :]


def lie(body: bytes, _: Sequence[bytes], chance: random.Random) -> bytes:
    """Put an integer where one may or may not stand."""
    value = chance.choice(LIES)
    return _insert(body, chance.randint(0, 8 * len(body)), f"{value:0{8 * max(1, (value.bit_length() + 7) // 8)}b}")


def event(body: bytes, _: Sequence[bytes], chance: random.Random) -> bytes:
    """Put an event code somewhere; what follows is shifted."""
    return _insert(body, chance.randint(0, 8 * len(body)), chance.choice(EVENTS) * chance.choice((1, 1, 1, 40)))


def _insert(body: bytes, at: int, bits: str) -> bytes:
    before = "".join(f"{octet:08b}" for octet in body)
    text = before[:at] + bits + before[at:]
    text += "0" * (-len(text) % 8)
    return int(text or "0", 2).to_bytes(len(text) // 8)


MUTATIONS: tuple[Callable[[bytes, Sequence[bytes], random.Random], bytes], ...] = (
    flip,
    flip,
    cut,
    double,
    splice,
    lie,
    event,
)
