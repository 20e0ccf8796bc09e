"""Vehicle and charger of DIN 70121 and ISO 15118-2 joined in memory: whole sessions, stops, random conversations."""

from functools import partial
from typing import Any

import pytest
from hypothesis import HealthCheck, Phase, given, settings
from hypothesis import strategies as st
from msgspec.structs import replace

from evcc.session import ports as ev
from evcc.session.settings import ProgramStep
from evcc.session.v2g_message.stages import RampingDown
from pki_tools.tree import PkiTree
from secc.session import ports as se
from tests.sessions.joined import end_meanwhile
from tests.sessions.joined_messages import VEHICLE, MessageJoined, utc_ms
from v2g.iec61851.pilot import PilotState
from v2g.iso15118.engine.session import Fact, Send
from v2g.iso15118.engine.v2g_message import body_of, decode_message
from v2g.iso15118.engine.v2gtp import Framer

pytestmark = pytest.mark.requirement("R15")

__all__ = ["utc_ms"]


@pytest.fixture(params=["din", "2-dc", "2-ac"])
def edition(request: pytest.FixtureRequest) -> str:
    return str(request.param)


@pytest.fixture
def joined(edition: str, pki: PkiTree, utc_ms: int) -> MessageJoined:
    return MessageJoined(edition, pki, utc_ms)


def test_a_whole_session(joined: MessageJoined) -> None:
    joined.complete()
    joined.assert_safe()
    assert joined.imported_mwh() >= 100_000
    assert joined.exported_mwh() == 0
    quirks = [each["quirk"] for each in joined.vehicle_saw("session", "quirk_tolerated")]
    assert quirks == (["evseid_text"] if joined.edition == "din" else [])
    assert joined.charger_saw("session", "quirk_tolerated") == []


def test_a_lower_limit_of_the_site_is_followed(joined: MessageJoined) -> None:
    joined.run(lambda: joined.plant.flow()[1] > 0)
    joined.limit(5_000)
    for _ in range(20):
        joined.advance()
    assert joined.plant.ev_limits.charge_w in (4_999, 5_000)  # alternating current is limited per phase
    voltage_mv, current_ma = joined.plant.flow()
    assert 0 < voltage_mv * current_ma <= 5_000_000_000


@pytest.mark.parametrize("direct", ["2-dc", "2-ac"])
def test_a_charger_that_ends_the_session_meanwhile_is_not_asked_to_pause(
    direct: str, pki: PkiTree, utc_ms: int
) -> None:
    pause = ProgramStep(do="wait", for_s=600, pause=True)
    joined = MessageJoined(direct, pki, utc_ms, replace(VEHICLE, program=(*VEHICLE.program, pause, *VEHICLE.program)))
    end_meanwhile(joined, RampingDown)
    assert (joined.evcc_reason, joined.secc_reason) == ("finished", "finished")


def test_the_owner_stops(joined: MessageJoined) -> None:
    joined.run(lambda: joined.plant.flow()[1] > 0)
    joined.evcc.fact(ev.StopRequested("owner"), joined.now, joined.utc_ms)
    joined.complete()
    joined.assert_safe()


def test_the_charger_stops(joined: MessageJoined) -> None:
    joined.run(lambda: joined.plant.flow()[1] > 0)
    joined.secc.fact(se.StopRequested("operator"), joined.now, joined.utc_ms)
    joined.run()
    assert joined.evcc_reason == "finished"
    assert joined.vehicle_saw("stop", "stopping")[0]["cause"] == "evse_terminated"
    joined.assert_safe()


@pytest.mark.parametrize("edition", ["2-dc", "2-ac"])
def test_a_renegotiation_asked_for_by_the_charger_goes_on_charging(joined: MessageJoined) -> None:
    joined.run(lambda: joined.plant.flow()[1] > 0)
    joined.limit(21_000)
    joined.secc.fact(se.RenegotiationRequested(), joined.now, joined.utc_ms)
    flows: list[int] = []

    def opened() -> bool:
        flows.append(abs(joined.plant.output.current_ma) if joined.edition == "2-dc" and joined.plant.output else 0)
        return bool(joined.vehicle_saw("schedule", "renegotiating")) and not joined.plant.ev_closed

    if joined.edition == "2-dc":
        joined.run(opened)
        assert not flows[-1], "no current flows when the contactor opens"
    joined.complete()
    assert joined.imported_mwh() >= 100_000


@pytest.mark.parametrize("seconds", [0.0, 0.5, 1.0, 2.0, 4.0])
def test_a_lost_link_leaves_both_ends_safe(edition: str, pki: PkiTree, utc_ms: int, seconds: float) -> None:
    joined = MessageJoined(edition, pki, utc_ms)
    joined.start()
    end = joined.now + seconds
    joined.run(lambda: joined.now >= end)
    joined.evcc.receive_eof(joined.now, joined.utc_ms)
    joined.secc.receive_eof(joined.now, joined.utc_ms)
    joined.settle()
    joined.run()
    joined.assert_safe()


WISHES: dict[str, tuple[Fact, ...]] = {
    "owner": (ev.StopRequested("owner"), ev.StopRequested("owner", pause=True)),
    "needs": (ev.NeedsChanged(target_soc=95.0), ev.NeedsChanged(target_soc=30.0)),
    "inlet": (ev.HardwareFault("isolation_lost"), ev.ContactorState(closed=False), ev.ContactorState(closed=True)),
    "operator": (se.StopRequested("operator"), se.RenegotiationRequested(), se.MeteringConfirmationRequested()),
    "evse": tuple(se.HardwareFault(word) for word in ("emergency_stop", "over_temperature", "isolation_low")),
    "seen": (
        *(se.PilotChanged(state) for state in (PilotState.B, PilotState.E)),
        *(se.CableCheckFinished(passed=False), se.ContactorState(closed=True)),
    ),
}
"""What either side receives: `owner`, `needs` and `inlet` are the vehicle's."""
HARMS = ("lose", "flip", "cut", "double", "garbage")
EVENTS = st.sampled_from(("wait", "wait", "limit", "unplug", "battery", "vanish", *HARMS, *WISHES))
"""What happens, in both directions of the wire."""

Events = list[tuple[str, float, int]]
PROGRAMS = st.lists(
    st.one_of(
        st.builds(ProgramStep, do=st.just("charge"), energy_wh=st.integers(1, 80), for_s=st.just(300)),
        st.builds(ProgramStep, do=st.just("wait"), for_s=st.integers(1, 60)),
    ),
    min_size=1,
    max_size=3,
)


def converse(edition: str, pki: PkiTree, utc_ms: int, examples: int) -> None:
    """Try so many conversations: whatever happens, both ends close and are safe, no current exceeds a limit, and what
    each side says is legal."""

    @settings(
        max_examples=examples,
        deadline=None,
        suppress_health_check=list(HealthCheck),
        phases=(Phase.explicit, Phase.reuse, Phase.generate),
    )
    @given(
        program=PROGRAMS,
        soc=st.sampled_from((5.0, 60.0, 99.0)),
        events=st.lists(st.tuples(EVENTS, st.floats(0.01, 4.0), st.integers(0, 4000)), max_size=6),
    )
    def one(program: list[ProgramStep], soc: float, events: Events) -> None:
        joined = MessageJoined(edition, pki, utc_ms, replace(VEHICLE, program=tuple(program)), soc=soc)
        joined.start()
        for event, seconds, number in events:
            end = joined.now + seconds

            def over(end: float = end) -> bool:
                _, current_ma = joined.plant.flow()
                assert current_ma <= joined.plant.battery.state.max_charge_ma
                return joined.now >= end

            if joined.evcc.closed and joined.secc.closed:
                break
            joined.run(over)
            happen(joined, event, number)
        joined.wire_to_evcc = joined.wire_to_secc = lambda data: data
        joined.run(most_s=2000.0)
        joined.assert_safe()
        assert joined.exported_mwh() == 0
        assert joined.plant.battery.state.soc <= 100
        judge_messages(joined)

    one()


def judge_messages(joined: MessageJoined) -> None:
    """Each side has said only what its role may: requests, or a response to each request with a code of its type."""
    said = [_bodies(joined, actions) for actions in (joined.evcc_actions, joined.secc_actions)]
    for bodies, ending in zip(said, ("Req", "Res"), strict=True):
        assert {type(each).__name__[-3:] for each in bodies} <= {ending}
        assert len(bodies) < 20_000
    names = [type(each).__name__ for each in said[1]]
    assert names.count("SessionSetupRes") <= 1
    failed = [each.response_code.name.upper().startswith("FAILED") for each in said[1]]
    assert not any(failed[:-2]), "only the end of a session can follow a failure"


def _bodies(joined: MessageJoined, actions: list[Any]) -> list[Any]:
    data = b"".join(each.data for each in actions if isinstance(each, Send))
    schema = joined.secc.schema
    frames = Framer().feed(data)
    return [body_of(decode_message(each.payload, schema, handshake=n == 0)[0]) for n, each in enumerate(frames)]


@pytest.mark.some(1)
def test_random_conversations_end_safely(edition: str, pki: PkiTree, utc_ms: int) -> None:
    converse(edition, pki, utc_ms, 25)


@pytest.mark.long
@pytest.mark.parametrize("part", range(10))  # so that several processes share them
@pytest.mark.parametrize("edition", ["din", "2-dc", "2-ac"])
def test_ten_thousand_conversations(edition: str, part: int, pki: PkiTree, utc_ms: int) -> None:
    converse(edition, pki, utc_ms, 340)


def happen(joined: MessageJoined, event: str, number: int) -> None:
    """Let something happen; `number` chooses what, where and in which direction."""
    now, utc_ms = joined.now, joined.utc_ms
    match event:
        case "owner" | "needs" | "inlet":
            joined.evcc.fact(WISHES[event][number % len(WISHES[event])], now, utc_ms)
        case "operator" | "evse" | "seen":
            joined.secc.fact(WISHES[event][number % len(WISHES[event])], now, utc_ms)
        case "limit":
            joined.limit((0, 500, 5_000, 22_000)[number % 4])
        case "unplug":
            joined.evcc.fact(ev.PlugState(connected=False), now, utc_ms)
            joined.secc.fact(se.PilotChanged(PilotState.A), now, utc_ms)
        case "battery":
            joined.evcc.fact(replace(joined.plant.battery.state, fault="cell_overvoltage"), now, utc_ms)
        case "vanish":
            (joined.evcc if number % 2 else joined.secc).receive_eof(now, utc_ms)
        case _ if event in HARMS:
            setattr(joined, "wire_to_evcc" if number % 2 else "wire_to_secc", partial(harmed, event, number))
    joined.settle()


def harmed(how: str, number: int, data: bytes) -> bytes:
    """Return what arrives of a frame."""
    at = 8 + number % max(1, len(data) - 8)
    flipped = bytearray(data)
    flipped[at] ^= 1 << number % 8
    return {
        "lose": b"",
        "flip": bytes(flipped),
        "cut": data[:at],
        "double": data * 2,
        "garbage": data + b"\x01\xfe\x80",
    }[how]
