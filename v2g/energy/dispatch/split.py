"""Splits a power over vehicles, as evenly as their limits allow."""

from collections.abc import Hashable, Iterable, Sequence
from typing import TypeVar

import msgspec

Key = TypeVar("Key", bound=Hashable)


class Participant(msgspec.Struct, frozen=True, kw_only=True):
    """A vehicle that can be dispatched: at most `most_w` into it or `most_out_w` out of it, and if not 0 at least
    `least_w` or `least_out_w`."""

    id: str
    most_w: int
    most_out_w: int = 0
    least_w: int = 0
    least_out_w: int = 0


def split(setpoint_w: int, participants: Sequence[Participant]) -> dict[str, int]:
    """Split a set-point over vehicles, as evenly as their limits allow; return W for each.

    The sum is the set-point exactly, or the vehicles' total where that is less, or what remains when some
    could only take part below their least power: those get 0, the weakest first.
    """
    sign = 1 if setpoint_w >= 0 else -1
    able = [
        (each.id, each.most_w, each.least_w) if sign > 0 else (each.id, each.most_out_w, each.least_out_w)
        for each in participants
    ]
    chosen = [(name, most, least) for name, most, least in able if most >= least]
    while True:
        shares = level(abs(setpoint_w), [(name, most) for name, most, _ in chosen])
        weak = [(most, name) for name, most, least in chosen if shares[name] < least]
        if not weak:
            break
        out = min(weak)[1]
        chosen = [each for each in chosen if each[0] != out]
    return {each.id: sign * shares.get(each.id, 0) for each in participants}


def level(total: int, able: Iterable[tuple[Key, int]]) -> dict[Key, int]:
    """Share a total evenly under individual bounds: the weakest first, equal ones in the order given."""
    ordered = sorted(able, key=lambda each: each[1])
    shares = {}
    for number, (name, most) in enumerate(ordered):
        shares[name] = min(most, total // (len(ordered) - number))
        total -= shares[name]
    return shares
