"""Which DER controls are in force, and the responses that they want (IEEE 2030.5-2018, 10.2.3 and 10.10).

For each demand the active event of the program with the lowest primacy applies, of one program the one created last;
without one, the default of the program with the lowest primacy that has it. An event all of whose demands are taken
over by others is superseded, and does not return. Of successive events of a program the first ends when the next one
begins, whatever both draw at random. All times are the server's.
"""

import itertools
import zlib
from bisect import bisect_left
from collections.abc import Iterator, Mapping, Sequence
from enum import IntEnum
from typing import Final, Literal

import msgspec

from v2g.ieee2030_5.resources import Control, ControlBase, Program

_CANCELLED, _CANCELLED_RANDOMLY, _SUPERSEDED = 2, 3, 4
_RECEIVED_BIT, _SPECIFIC_BIT = 1, 2
_MOST_SHIFT_S: Final = 3600
_MOST_RIVALS: Final = 24
"""Of the events that overlap with one and come before it, so many are considered."""
_SETPOINTS: Final = "fixed", "storage_target_w", "target_w"
FOREVER: Final = 2**41
"""A time (s) after everything that a server may name."""

Profile = Literal["csip", "csip-aus"]
"""Whose rules a server follows: California's CSIP, or Australia's."""


class ControlResponse(IntEnum):
    """Status of an event at this device, as reported to the server (table 27)."""

    RECEIVED = 1
    STARTED = 2
    COMPLETED = 3
    CANCELLED = 6
    SUPERSEDED = 7
    NOT_APPLICABLE = 252
    EXPIRED = 254


_OVER: Final = frozenset(ControlResponse) - {ControlResponse.RECEIVED, ControlResponse.STARTED}
_UNSENT: Final[Mapping[Profile, frozenset[ControlResponse]]] = {
    "csip": frozenset(),
    "csip-aus": frozenset({ControlResponse.NOT_APPLICABLE, ControlResponse.EXPIRED}),
}
"""Responses that servers of a profile refuse: those of Australia take 1, 2, 3, 6 and 7 only."""


class ProgramState(msgspec.Struct, frozen=True, kw_only=True):
    """A program, its events, and its default."""

    program: Program
    controls: tuple[Control, ...]
    default: ControlBase = ControlBase()
    gradient: int = 0
    """setGradW of the default, 0 without one."""


class Demanded(msgspec.Struct, frozen=True, kw_only=True):
    """What is in force, until `until_s` at least; `events`: the id of the event that sets each demand, `ends`: when it
    ends (s).

    `states`: the latest status of each event: scheduled ones are RECEIVED. `ramps`: rampTms of demands that have one.
    """

    base: ControlBase
    until_s: int
    ends: Mapping[str, int]
    events: Mapping[str, str]
    states: Mapping[str, ControlResponse]
    ramps: Mapping[str, int]

    @property
    def setpoint(self) -> str:
        """The mode that sets the power, empty without one."""
        return next((each for each in _SETPOINTS if getattr(self.base, each) is not None), "")

    def ramp_s(self, change: float, gradient: int, *, from_default: bool) -> float:
        """Return how long a change of the set-point takes (s): rampTms, else by setGradW from and to a default.

        `change`: as a part of the rating.
        """
        mode = self.setpoint
        if mode in self.ramps:
            return self.ramps[mode] / 100
        return change * 10_000 / gradient if gradient and (from_default or mode not in self.events) else 0.0


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
    superseded = [
        (each.program.primacy, one) for each in programs for one in each.controls if one.status == _SUPERSEDED
    ]
    events = [each for state in programs for each in _in_succession(state, superseded, device, at_s, known)]
    begun = sorted((each for each in events if _counts(each, at_s, known)), key=lambda each: each.rank)
    states = {each.control.mrid: _state(each, begun, at_s, known) for each in events}
    active = sorted(
        (each for each in events if states[each.control.mrid] is ControlResponse.STARTED), key=lambda each: each.rank
    )
    values: dict[str, object] = {}
    sources: dict[str, str] = {}
    ends: dict[str, int] = {}
    ramps: dict[str, int] = {}

    def take(base: ControlBase) -> frozenset[str]:
        demands = base.demands
        taken = frozenset(demands.keys() - values.keys())
        values.update((mode, demands[mode]) for mode in taken)
        if base.ramp is not None:
            ramps.update(dict.fromkeys(taken, base.ramp))
        return taken

    for each in active:
        for mode in take(each.control.base):
            sources[mode], ends[mode] = each.control.mrid, each.end_s
    for state in _ranked(programs):
        take(state.default)
    edges = [edge for each in events for edge in (each.start_s, each.end_s) if edge > at_s]
    return Demanded(
        base=ControlBase.of(values),
        until_s=min(edges, default=FOREVER),
        ends=ends,
        events=sources,
        states=states,
        ramps=ramps,
    )


def gradient(programs: Sequence[ProgramState]) -> int:
    """Return setGradW of the default of the lowest primacy that has one; 0 without one."""
    return next((each.gradient for each in _ranked(programs) if each.gradient), 0)


def _ranked(programs: Sequence[ProgramState]) -> list[ProgramState]:
    return sorted(programs, key=lambda each: (each.program.primacy, each.program.mrid))


def responses(
    control: Control, before: ControlResponse | None, after: ControlResponse, profile: Profile = "csip"
) -> Iterator[ControlResponse]:
    """Yield the responses that a control wants when its state changes, of those that a profile's servers take."""
    if not control.reply_to or before is after:
        return
    if before is None and after is not ControlResponse.EXPIRED and control.response_required & _RECEIVED_BIT:
        yield ControlResponse.RECEIVED
    if control.response_required & _SPECIFIC_BIT and after is not ControlResponse.RECEIVED:
        if after is ControlResponse.COMPLETED and before in (None, ControlResponse.RECEIVED):
            yield ControlResponse.STARTED
        if after not in _UNSENT[profile]:
            yield after


def with_unlisted(
    programs: Sequence[ProgramState], before: Sequence[ProgramState], known: Mapping[str, ControlResponse]
) -> tuple[ProgramState, ...]:
    """Return programs with the events of an earlier answer that their lists no longer have, and that are not over.

    An event that is absent is not cancelled: it runs to its end. Those of a program that is absent are over.
    """
    earlier = {each.program.mrid: each.controls for each in before}
    listed = {control.mrid for each in programs for control in each.controls}
    return tuple(
        msgspec.structs.replace(
            each,
            controls=(
                *each.controls,
                *(
                    control
                    for control in earlier.get(each.program.mrid, ())
                    if control.mrid not in listed and known.get(control.mrid) not in _OVER
                ),
            ),
        )
        for each in programs
    )


def _state(
    event: _ControlEvent, begun: Sequence[_ControlEvent], at_s: int, known: Mapping[str, ControlResponse]
) -> ControlResponse:
    control = event.control
    before = known.get(control.mrid)
    if before in _OVER:
        return before
    if before is None and at_s >= control.end_s and _live(control):
        return ControlResponse.EXPIRED
    if not control.base.modes:
        return ControlResponse.NOT_APPLICABLE
    ends_later = before is ControlResponse.STARTED and at_s < event.end_s  # one that has not begun never does
    if control.status == _CANCELLED or (control.status == _CANCELLED_RANDOMLY and not ends_later):
        return ControlResponse.CANCELLED
    if control.status == _SUPERSEDED or (event.start_s <= at_s and _superseded(event, begun, at_s)):
        return ControlResponse.SUPERSEDED
    if at_s >= event.end_s:
        return ControlResponse.COMPLETED
    return ControlResponse.STARTED if event.active(at_s) else ControlResponse.RECEIVED


def _counts(event: _ControlEvent, at_s: int, known: Mapping[str, ControlResponse]) -> bool:
    """Return whether an event has begun, so that it may supersede others: not one that has been superseded itself, or
    was over when it was received."""
    before = known.get(event.control.mrid)
    late = before is None and at_s >= event.control.end_s
    ignored = late or before in (ControlResponse.SUPERSEDED, ControlResponse.EXPIRED)
    return event.start_s <= at_s and _live(event.control) and not ignored


def _live(control: Control) -> bool:
    return control.status not in (_CANCELLED, _CANCELLED_RANDOMLY, _SUPERSEDED)


def _superseded(event: _ControlEvent, begun: Sequence[_ControlEvent], at_s: int) -> bool:
    """Return whether others together have taken over all demands of an event, by now and within its time.

    Events whose stated times do not overlap do not supersede each other, whatever their random shifts.
    """
    modes = event.control.base.modes
    earlier = itertools.takewhile(lambda other: other.rank < event.rank, begun)
    overlapping = (
        other
        for other in earlier
        if other.start_s < event.end_s
        and event.start_s < other.end_s
        and other.control.start_s < event.control.end_s
        and event.control.start_s < other.control.end_s
        and modes & other.control.base.modes
    )
    rivals = list(itertools.islice(overlapping, _MOST_RIVALS))
    moments = {max(event.start_s, each.start_s) for each in rivals}
    return any(
        modes <= {mode for each in rivals if each.active(moment) for mode in each.control.base.modes}
        for moment in moments
        if moment <= at_s
    )


def _in_succession(
    state: ProgramState,
    superseded: Sequence[tuple[int, Control]],
    device: str,
    at_s: int,
    known: Mapping[str, ControlResponse],
) -> list[_ControlEvent]:
    """Return when the events of a program apply. One ends when the next of the same demands begins, if that is stated
    for its end, or if random shifts let both overlap."""
    placed = (_placed(state.program, each, device) for each in state.controls)
    events = sorted((_taking_over(each, superseded, at_s, known) for each in placed), key=_start)
    starts = [_start(each) for each in events]
    found = []
    for each in events:
        stated_s, end_s = each.control.end_s, each.end_s
        for place in range(bisect_left(starts, stated_s), len(events)):
            after = events[place]
            if starts[place] > max(stated_s, end_s + _MOST_SHIFT_S):
                break
            if not _live(after.control) or after is each or not after.control.base.modes & each.control.base.modes:
                continue
            if starts[place] == stated_s or after.start_s < end_s:
                end_s = after.start_s
                break
        ended = each.control.status == _CANCELLED_RANDOMLY
        found.append(msgspec.structs.replace(each, end_s=min(each.end_s, end_s) if ended else end_s))
    return found


def _taking_over(
    event: _ControlEvent,
    superseded: Sequence[tuple[int, Control]],
    at_s: int,
    known: Mapping[str, ControlResponse],
) -> _ControlEvent:
    """Return an event that begins when the server has ended the one before it as superseded, whatever it has drawn,
    unless the other one might not have begun either (EventStatus of the schema). It stays begun. One that was ended
    before this one's earliest start had given way to another. `superseded`: such events with the primacy of theirs."""
    control = event.control
    if known.get(control.mrid) is ControlResponse.STARTED:
        return msgspec.structs.replace(event, start_s=min(event.start_s, at_s))
    if not control.randomize_start_s or not _live(control):
        return event
    earliest_s = control.start_s + min(0, control.randomize_start_s)
    moments = [
        each.status_s
        for primacy, each in superseded
        if max(earliest_s, each.start_s + max(0, each.randomize_start_s)) <= each.status_s
        and event.rank[:2] <= (primacy, -each.creation_s)
        and earliest_s < each.end_s
        and each.start_s < control.end_s
        and control.base.modes & each.base.modes
    ]
    return msgspec.structs.replace(event, start_s=min([event.start_s, *moments]))


def _start(event: _ControlEvent) -> int:
    return event.control.start_s


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
