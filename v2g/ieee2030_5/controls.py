"""Which DER controls are in force, and the responses that they want (IEEE 2030.5-2018, 10.2.3 and 10.10).

For each demand the active event of the program with the lowest primacy applies, of one program the one created last;
without one, the default of the program with the lowest primacy that has it. An event all of whose demands are taken
over by another is superseded, and does not return.
"""

import zlib
from collections.abc import Iterator, Mapping, Sequence
from enum import IntEnum
from typing import Final

import msgspec

from v2g import typed_json
from v2g.ieee2030_5.resources import Control, ControlBase, Program

_CANCELLED, _CANCELLED_RANDOMLY, _SUPERSEDED = 2, 3, 4
_RECEIVED_BIT, _SPECIFIC_BIT = 1, 2
FOREVER: Final = 2**41
"""A time (s) after everything that a server may name."""


class ControlResponse(IntEnum):
    """Status of an event at this device, as reported to the server (table 27)."""

    RECEIVED = 1
    STARTED = 2
    COMPLETED = 3
    CANCELLED = 6
    SUPERSEDED = 7
    EXPIRED = 254


class ProgramState(msgspec.Struct, frozen=True, kw_only=True):
    """A program, its events, and its default."""

    program: Program
    controls: tuple[Control, ...]
    default: ControlBase = ControlBase()


class Demanded(msgspec.Struct, frozen=True, kw_only=True):
    """What is in force, until `until_s` at least; `events`: the id of the event that sets each demand.

    `states`: the latest status of each event: scheduled ones are RECEIVED. `fixed_until_s`: when `fixed` ends.
    """

    base: ControlBase
    until_s: int
    fixed_until_s: int
    events: Mapping[str, str]
    states: Mapping[str, ControlResponse]


class _ControlEvent(msgspec.Struct, frozen=True):
    program: Program
    control: Control
    start_s: int
    end_s: int

    @property
    def rank(self) -> tuple[int, int, str]:
        return self.program.primacy, -self.control.creation_s, self.control.mrid

    def active(self, at_s: int) -> bool:
        return self.start_s <= at_s < self.end_s


def demanded(
    programs: Sequence[ProgramState], at_s: int, *, device: str, known: Mapping[str, ControlResponse]
) -> Demanded:
    """Return what is in force at a time (s). `known`: the states of events that were returned before.

    `device` varies random shifts: the same for one event and device, on every node.
    """
    events = [_placed(state.program, control, device) for state in programs for control in state.controls]
    states = {each.control.mrid: _state(each, events, at_s, known) for each in events}
    active = sorted(
        (each for each in events if states[each.control.mrid] is ControlResponse.STARTED), key=lambda each: each.rank
    )
    values: dict[str, int | bool] = {}
    sources: dict[str, str] = {}
    ends: dict[str, int] = {}
    for each in active:
        for mode in each.control.base.modes - values.keys():
            values[mode] = getattr(each.control.base, mode)
            sources[mode], ends[mode] = each.control.mrid, each.end_s
    for state in sorted(programs, key=lambda each: (each.program.primacy, each.program.mrid)):
        for mode in state.default.modes - values.keys():
            values[mode] = getattr(state.default, mode)
    edges = [edge for each in events for edge in (each.start_s, each.end_s) if edge > at_s]
    return Demanded(
        base=typed_json.convert(values, ControlBase),
        until_s=min(edges, default=FOREVER),
        fixed_until_s=ends.get("fixed", FOREVER),
        events=sources,
        states=states,
    )


def responses(control: Control, before: ControlResponse | None, after: ControlResponse) -> Iterator[ControlResponse]:
    """Yield the responses that a control wants when its state changes; none if it wants none."""
    if not control.reply_to or before is after:
        return
    if before is None and after is not ControlResponse.EXPIRED and control.response_required & _RECEIVED_BIT:
        yield ControlResponse.RECEIVED
    if control.response_required & _SPECIFIC_BIT and after is not ControlResponse.RECEIVED:
        if after is ControlResponse.COMPLETED and before in (None, ControlResponse.RECEIVED):
            yield ControlResponse.STARTED
        yield after


def _state(
    event: _ControlEvent, events: Sequence[_ControlEvent], at_s: int, known: Mapping[str, ControlResponse]
) -> ControlResponse:
    control = event.control
    before = known.get(control.mrid)
    if before in (
        ControlResponse.COMPLETED,
        ControlResponse.CANCELLED,
        ControlResponse.SUPERSEDED,
        ControlResponse.EXPIRED,
    ):
        return before  # over is over
    if before is None and at_s >= control.start_s + control.duration_s and control.status not in (2, 3, 4):
        return ControlResponse.EXPIRED
    if control.status == _CANCELLED or (control.status == _CANCELLED_RANDOMLY and at_s >= event.end_s):
        return ControlResponse.CANCELLED
    if control.status == _SUPERSEDED or any(_supersedes(other, event, at_s) for other in events):
        return ControlResponse.SUPERSEDED
    if at_s >= event.end_s:
        return ControlResponse.COMPLETED
    return ControlResponse.STARTED if event.active(at_s) else ControlResponse.RECEIVED


def _supersedes(other: _ControlEvent, event: _ControlEvent, at_s: int) -> bool:
    """Return whether another event takes over at or before a time, in the time of this one, with all its demands."""
    return (
        other.rank < event.rank
        and other.control.status not in (_CANCELLED, _CANCELLED_RANDOMLY, _SUPERSEDED)
        and other.start_s <= at_s
        and other.start_s < event.end_s
        and event.start_s < other.end_s
        and event.start_s <= at_s
        and event.control.base.modes <= other.control.base.modes
    )


def _placed(program: Program, control: Control, device: str) -> _ControlEvent:
    """Return when an event applies, with its random shifts; a random cancellation ends it."""
    start_s = control.start_s + _random(control.randomize_start_s, f"start/{control.mrid}/{device}")
    length_s = control.duration_s + _random(control.randomize_duration_s, f"duration/{control.mrid}/{device}")
    end_s = start_s + max(0, length_s)
    if control.status == _CANCELLED_RANDOMLY:
        most_s = max(abs(control.randomize_start_s), abs(control.randomize_duration_s))
        end_s = min(end_s, control.status_s + _random(most_s, f"cancel/{control.mrid}/{device}"))
    return _ControlEvent(program, control, start_s, end_s)


def _random(most_s: int, seed: str) -> int:
    """Return a number between 0 and `most_s`, which may be negative; always the same for a seed."""
    return round(most_s * zlib.crc32(seed.encode()) / 0xFFFF_FFFF)
