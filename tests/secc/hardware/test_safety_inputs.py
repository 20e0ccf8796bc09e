"""Which inputs of a session reach the monitor, each with its values: noted by a control board, which gets them all."""

import asyncio
from collections.abc import Callable
from typing import Any, Final

import pytest
from msgspec.structs import replace

from secc.hardware.safety import SafetyChannel
from secc.session import ports
from tests.secc.hardware.bare import at, play
from tests.secc.hardware.channel import ALL, BOTH_WAYS, RATING, Place, on_mains
from tests.together import together
from v2g.asn1.discharge import (
    DischargeCommand,
    DischargeContent,
    DischargeResult,
    ResultStatus,
    SignatureAlgorithm,
    SignedMessage,
    encode_content,
    encode_signed,
)
from v2g.energy.limits import GridResponse, Limit, Setpoint
from v2g.energy.settlement.records import CommandAccepted, CommandRejected, TermsDecided
from v2g.hardware.board import inputs
from v2g.hardware.board.inputs import FOREVER_MS, UNBOUNDED, Input
from v2g.iec61851.pilot import PilotState
from v2g.io.runtime.clock import Clock, ClockConfig
from v2g.safety import Phase, Request

RESULT: Final = DischargeResult(
    session_id=bytes(8), sequence=1, status=ResultStatus.ACCEPTED, effective_w=0, decided_at_ms=0
)


def signed(content: DischargeContent) -> bytes:
    """Its signature was verified before."""
    message = SignedMessage(
        content=encode_content(content),
        signer=bytes(32),
        algorithm=SignatureAlgorithm.ED448,
        signature=bytes(114),
    )
    return encode_signed(message)


def command(power_w: int, valid_until_ms: int = 30_000) -> bytes:
    return signed(
        DischargeCommand(
            session_id=bytes(8),
            offer_id=bytes(16),
            terms_hash=bytes(64),
            challenge=bytes(16),
            sequence=1,
            nonce=bytes(16),
            power_w=power_w,
            issued_at_ms=0,
            valid_until_ms=valid_until_ms,
        )
    )


def accepted(payload: bytes) -> ports.Journal:
    return ports.Journal(CommandAccepted(sequence=1, effective_w=1, until_ms=9_000, payload=payload, result=b""))


def rejected(reason: str, payload: bytes) -> ports.Journal:
    return ports.Journal(
        CommandRejected(reason=reason, detail="", sequence=1, size=0, sha256="", payload=payload, result=None)
    )


def decided(yes: bool) -> ports.Journal:
    return ports.Journal(TermsDecided(accepted=yes, reason="", payload=b""))


def reaches(*acts: Callable[[SafetyChannel], Any], mains: bool = False) -> list[Input]:
    """Return the inputs of the monitor that the last of these acts makes."""
    found: list[Input] = []

    async def scenario(place: Place) -> None:
        if mains:
            on_mains(place, lambda: 0)
        for act in acts:
            place.board.inputs.clear()
            act(place.channel)
        found.extend(each for each in place.board.inputs if not isinstance(each, inputs.Drawn))

    play(Place, scenario)
    return found


REST: Final = inputs.Request(phase="idle")
READY: Final = inputs.Request(phase="power", power_ms=FOREVER_MS, closed_ms=FOREVER_MS)
NONE: Final = {"charge_w": 0, "discharge_w": 0, "charge_ma": 0, "discharge_ma": 0, "voltage_mv": 0}
FREE: Final = dict.fromkeys(NONE, UNBOUNDED)
TOLD: Final = Request(phase=Phase.REST, closed_s=2.0)


def basic(state: PilotState) -> Callable[[SafetyChannel], None]:
    return lambda channel: channel.signal(state, most_w=11_000, interval_s=5.0)


def pilot(state: PilotState) -> Callable[[SafetyChannel], None]:
    return lambda channel: channel.fact(ports.PilotChanged(state))


def converse(channel: SafetyChannel) -> None:
    channel.converse(lambda message, _: message)


BEGIN: Final = [inputs.Begin(), inputs.Authorise(allowed=False)]
"""With the end of the session before."""

BASIC: Final = [
    *BEGIN,
    inputs.Bears(**FREE | {"charge_w": 11_000, "discharge_w": 0}),
    inputs.Request(notice_ms=5_000),
]


@together(
    ("acts", "expected"),
    [
        ([converse], BEGIN),
        (
            [lambda channel: channel.converse(lambda message, stream: [message, stream][stream])(TOLD, 0)],
            [*BEGIN, inputs.Request(phase="rest", closed_ms=2_000)],
        ),
        (
            [lambda channel: channel.maintain(seconds=0.5, voltage_mv=60_000)],
            [
                *BEGIN,
                inputs.Authorise(allowed=True),
                inputs.Bears(**FREE | {"charge_w": 0, "discharge_w": 0, "voltage_mv": 60_000}),
                inputs.Request(phase="voltage", closed_ms=500),
            ],
        ),
        (
            [lambda channel: channel.maintain(seconds=0, voltage_mv=0)],
            [
                *BEGIN,
                inputs.Authorise(allowed=False),
                inputs.Bears(**FREE | {"charge_w": 0, "discharge_w": 0, "voltage_mv": 0}),
                REST,
            ],
        ),
        ([basic(PilotState.B)], [*BASIC, REST]),
        ([basic(PilotState.C)], [*BASIC, READY]),
        ([basic(PilotState.B), pilot(PilotState.D)], [READY]),
        ([basic(PilotState.C), pilot(PilotState.A)], [REST]),
        ([basic(PilotState.C), converse, pilot(PilotState.C)], []),
        ([pilot(PilotState.C)], []),
        ([lambda channel: channel.forget_paused()], [inputs.Forget()]),
    ],
)
def test_each_kind_of_session_begins_anew_and_asks_for_its_own(
    acts: list[Callable[[SafetyChannel], None]], expected: list[Input]
) -> None:
    assert reaches(*acts) == expected


@together(
    ("command", "expected"),
    [
        (ports.TransactionStarted("session", "DEV2GC00000001"), [inputs.Authorise(allowed=True)]),
        (ports.JoinSession("session"), [inputs.Authorise(allowed=True)]),
        (ports.TransactionEnded("session", "vehicle", "StoppedByEV", None), [inputs.Authorise(allowed=False)]),
        (ports.CloseJournal("vehicle"), [inputs.Authorise(allowed=False)]),
        (ports.SaveSession(None), [inputs.Authorise(allowed=False, paused=True)]),  # type: ignore[arg-type]
        (ports.EmergencyOff("board_lost"), [REST]),
        (BOTH_WAYS, [inputs.Discharge(rule="standard")]),
        (decided(yes=False), [inputs.Signed(power_w=0, until_ms=0)]),
        (decided(yes=True), []),
        (accepted(command(4_000)), [inputs.Signed(power_w=4_000, until_ms=9_000)]),
        (accepted(b"no DER"), []),
        (accepted(signed(RESULT)), []),
    ],
)
def test_what_a_session_records_authorises_and_permits(command: Any, expected: list[Input]) -> None:
    assert reaches(lambda channel: channel.command(command)) == expected


NOT_OF_THE_VEHICLE: Final = frozenset(
    {"bad_signature", "unknown_signer", "malformed", "wrong_session", "replayed", "out_of_order"}
)
"""Rejected for what shows that it is not the vehicle's newest wish."""


@together("status", [each for each in ResultStatus if each.value not in ("accepted", "clamped")])
def test_a_refused_command_lowers_what_was_signed_if_it_is_the_vehicles_newest(status: ResultStatus) -> None:
    def last(payload: bytes) -> list[Input]:
        return reaches(
            lambda channel: channel.command(accepted(command(4_000))),
            lambda channel: channel.command(rejected(status.value, payload)),
        )

    newest = status is not ResultStatus.STOPPED and status.value not in NOT_OF_THE_VEHICLE
    assert last(command(3_000, 5_000)) == ([inputs.Signed(power_w=3_000, until_ms=5_000)] if newest else [])
    assert last(b"no DER") == last(signed(RESULT)) == []


def test_a_limit_holds_from_its_time_to_its_time() -> None:
    def reported(until_ms: int | None) -> list[Input]:
        limit = Limit(source="site", charge_w=5_000, discharge_w=3_000, valid_from_ms=2_000, valid_until_ms=until_ms)
        return reaches(lambda channel: channel.fact(ports.GridChanged((limit,))))

    expected = inputs.Limit(source="site", charge_w=5_000, discharge_w=3_000, from_ms=2_000, until_ms=9_000)
    assert reported(9_000) == [expected]
    assert reported(None) == [replace(expected, until_ms=FOREVER_MS)]


class SetClock(Clock):
    """A clock whose UTC is set: `set_ms` is by how much."""

    set_ms = 0

    def utc_ms(self) -> int:
        """See Clock."""
        return super().utc_ms() + self.set_ms


@pytest.mark.parametrize("set_s", [-3_600, 3_600])
@at(Place)
async def test_a_limit_keeps_its_times_when_utc_is_set_forward(place: Place, set_s: int) -> None:
    clock = SetClock(ClockConfig(origin_monotonic=asyncio.get_running_loop().time(), origin_utc_ms=10_000_000))
    channel = SafetyChannel(RATING, clock, place.events.append)
    channel.forward_to(place.board)
    limit = Limit(source="site", charge_w=5_000, discharge_w=3_000, valid_from_ms=1_000_000, valid_until_ms=20_000_000)
    channel.fact(ports.GridChanged((limit, Limit(source="cable", charge_w=9_000, discharge_w=9_000))))
    await asyncio.sleep(1.0)
    place.board.inputs.clear()
    clock.set_ms = set_s * 1000
    await asyncio.sleep(1.0)
    channel.close()
    again = [each for each in place.board.inputs if isinstance(each, inputs.Limit)]
    assert [each.source for each in again] == (["site"] if set_s > 0 else []), "else UTC of the session runs on"
    left_ms = 20_000_000 - 10_001_000 - set_s * 1000
    assert [each.until_ms for each in again] == [pytest.approx(left_ms, abs=200) for _ in again]


def response(**values: Any) -> Callable[[SafetyChannel], None]:
    return lambda channel: channel.fact(ports.GridResponseChanged(GridResponse(**values)))


def limits(found: list[Input]) -> dict[str, tuple[int, int]]:
    return {each.source: (each.charge_w, each.discharge_w) for each in found if isinstance(each, inputs.Limit)}


def trips(found: list[Input]) -> list[Input]:
    return [each for each in found if isinstance(each, inputs.Fault)]


def test_mains_are_disconnected_once_while_the_grid_requires_it() -> None:
    tripped = inputs.Fault(word="grid_trip", active=True)
    assert trips(reaches(response(trip=True), mains=True)) == [tripped]
    assert trips(reaches(response(trip=True), response(trip=True, ceiling_w=0), mains=True)) == []
    assert trips(reaches(response(trip=True), response(), mains=True)) == [replace(tripped, active=False)]
    assert trips(reaches(response(), mains=True)) == []
    assert trips(reaches(response(trip=True))) == []  # the power stage follows by itself


def setpoint(power_w: int, **values: Any) -> Callable[[SafetyChannel], None]:
    return lambda channel: channel.fact(ports.SetpointChanged(Setpoint(power_w=power_w, source="back end", **values)))


@pytest.mark.parametrize(
    ("acts", "expected"),
    [
        ([setpoint(7_000)], {"setpoint": (7_000, 0)}),
        ([response(ceiling_w=6_000)], {"grid": (6_000, UNBOUNDED), "setpoint": (UNBOUNDED, UNBOUNDED)}),
        ([setpoint(7_000), response(floor_w=8_000)], {"grid": (UNBOUNDED, 0), "setpoint": (8_000, 0)}),
        ([basic(PilotState.C), setpoint(7_000)], {"setpoint": (7_000, 0)}),
    ],
)
def test_the_grid_and_a_set_point_are_limits_of_their_own_names(
    acts: list[Callable[[SafetyChannel], None]], expected: dict[str, tuple[int, int]]
) -> None:
    assert limits(reaches(*acts)) == expected


@at(Place)
async def test_a_set_point_holds_within_its_times(place: Place) -> None:
    setpoint(7_000, valid_from_ms=1_050, valid_until_ms=2_050)(place.channel)
    for at_s, charge_w in ((1.0, 20_000), (1.06, 7_000), (2.0, 7_000), (2.06, 20_000)):
        await asyncio.sleep(at_s + 1000 - asyncio.get_running_loop().time())
        assert place.passes().charge_w == charge_w


@at(Place)
async def test_what_flows_is_lowered_when_a_set_point_begins(place: Place) -> None:
    place.passes(replace(ALL, discharge_w=0))
    setpoint(7_000, valid_from_ms=1_000)(place.channel)
    await asyncio.sleep(1.0)
    assert not [each for each in place.events if each.name == "lowered"]
    await asyncio.sleep(0.5)
    assert [each.data["charge_w"] for each in place.events if each.name == "lowered"] == [7_000]


@at(Place)
async def test_before_the_first_session_a_pilot_means_nothing_and_a_set_point_bounds(place: Place) -> None:
    channel = SafetyChannel(RATING, place.clock, place.events.append)
    channel.forward_to(place.board)
    place.board.inputs.clear()
    pilot(PilotState.C)(channel)
    setpoint(7_000)(channel)
    channel.close()
    assert limits(place.board.inputs) == {"setpoint": (7_000, 0)}
    assert len(place.board.inputs) == 1
