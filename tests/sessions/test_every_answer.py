"""The vehicle in every stage of every set of messages against every answer there is: its own, or a safe end.

The stages are reached with our charger on the other side, once each; from there the session is copied for each answer.
"""

import copy
import time
from typing import Any

import msgspec
import pytest

from evcc.session.d20.session import SideStreams, VehicleSession
from evcc.session.ports import SAFE
from evcc.session.settings import AuthorizationConfig, ProgramStep, ServiceConfig, SessionConfig
from evcc.session.steps import Ended
from evcc.session.watch import Watch
from pki_tools.tree import PkiTree
from secc.session.config import EnergyService, ParkingSpace, SeccConfig
from tests.sessions.joined import Joined
from tests.sessions.timers import SERVICE, requests_of
from v2g import exi
from v2g.exi.declare import schema_of
from v2g.iso15118.d20.charts import Family
from v2g.iso15118.d20.messages.common_messages import Authorization
from v2g.iso15118.d20.messages.common_types import ResponseCode
from v2g.iso15118.d20.session import SCHEMAS
from v2g.iso15118.engine.message_timing import SessionTime
from v2g.iso15118.engine.session import Close, Send
from v2g.iso15118.engine.v2gtp import Framer, PayloadType, frame

EVERYTHING = tuple(EnergyService)
STAGES = [
    (family, name) for family in Family for name in (*requests_of(family), "VehicleCheckInReq", "VehicleCheckOutReq")
]
BY_CARD = SeccConfig(services=EVERYTHING, authorization=(Authorization.EIM,), parking=ParkingSpace())


def ids(value: object) -> str:
    return str(getattr(value, "value", value))


def join(pki: PkiTree, family: Family) -> Joined:
    energy: Any = (EnergyService(SERVICE[family]).name,)
    vehicle = SessionConfig(
        program=(ProgramStep(do="charge", for_s=40),),
        services=ServiceConfig(energy=energy, parking="Manual"),
        authorization=AuthorizationConfig(allow_eim=True),
    )
    return Joined(pki, time.time_ns() // 1_000_000, vehicle=vehicle, charger=BY_CARD)


@pytest.fixture(scope="module")
def answers(pki: PkiTree) -> dict[str, bytes]:
    """One frame of every response that our charger gives in a session of any family."""
    frames: dict[str, bytes] = {}
    for family in Family:
        joined = join(pki, family)
        joined.run()
        assert joined.evcc_reason == "finished"
        for action in joined.secc_actions:
            if isinstance(action, Send):
                for each in Framer().feed(action.data):
                    if each.payload_type < PayloadType.SCHEDULE_RENEGOTIATION:
                        message = exi.decode(each.payload, SCHEMAS[each.payload_type])
                        frames.setdefault(type(message).__name__, action.data)
    assert {name.removesuffix("Req") + "Res" for _, name in STAGES} <= set(frames)
    return frames


def waiting_for(pki: PkiTree, family: Family, name: str) -> tuple[Joined, bytes]:
    """Return a pair whose vehicle waits for the answer to that request, and the answer."""
    joined = join(pki, family)
    held: list[bytes] = []

    def hold(data: bytes) -> bytes:
        beside = next(iter(Framer().feed(data))).payload_type >= PayloadType.SCHEDULE_RENEGOTIATION
        if held or beside or type(joined.evcc.pending).__name__ != name:
            return b"" if held else data
        held.append(data)
        return b""

    joined.wire_to_evcc = hold
    joined.run(lambda: bool(held), most_s=60)
    return joined, held[0]


def fork(session: VehicleSession) -> VehicleSession:
    """Return a copy that goes its own way."""
    other, shared = copy.copy(session), dict[int, object]()
    for name, value in vars(session).items():
        if isinstance(value, dict | list | Watch):
            setattr(other, name, copy.copy(value))
        elif isinstance(value, Framer | SessionTime | SideStreams):  # side streams run in the session's time
            setattr(other, name, copy.deepcopy(value, shared))
    other.actions()
    return other


def assert_safe(session: VehicleSession, reason: str) -> None:
    actions = session.actions()
    assert session.reason == reason
    assert isinstance(session.stage, Ended)
    commands = [each for each in actions if each in SAFE]
    assert commands[-len(SAFE) :] == list(SAFE)
    assert isinstance(actions[-1], Close)
    assert not any(isinstance(each, Send) for each in actions)


@pytest.mark.some(18)
@pytest.mark.parametrize(("family", "name"), STAGES, ids=ids)
def test_every_answer_in_every_stage(pki: PkiTree, answers: dict[str, bytes], family: Family, name: str) -> None:
    joined, own = waiting_for(pki, family, name)
    for answer, data in answers.items():
        session = fork(joined.evcc)
        right = answer == name.removesuffix("Req") + "Res"
        session.receive(own if right else data, joined.now, joined.utc_ms)
        if right:
            assert session.reason in ("", "finished")
        else:
            assert_safe(session, "unexpected_message")


@pytest.mark.some(18)
@pytest.mark.parametrize(("family", "name"), STAGES, ids=ids)
def test_every_failure_in_every_stage(pki: PkiTree, family: Family, name: str) -> None:
    if name == "SupportedAppProtocolReq":
        return  # has one failure, which other tests have
    joined, own = waiting_for(pki, family, name)
    (only,) = Framer().feed(own)
    response = exi.decode(only.payload, SCHEMAS[only.payload_type])
    payload_type = schema_of(type(response)).payload_type
    assert payload_type is not None
    for code in ResponseCode:
        if code.name.startswith("FAILED"):
            session = fork(joined.evcc)
            failed = exi.encode(msgspec.structs.replace(response, response_code=code))
            session.receive(frame(payload_type, failed), joined.now, joined.utc_ms)
            assert_safe(session, code.name)


@pytest.mark.parametrize(("family", "name"), STAGES, ids=ids)
def test_what_else_can_happen_in_every_stage(pki: PkiTree, family: Family, name: str) -> None:
    """Half an answer waits for the rest; garbage, an end without notice and two answers at once are borne."""
    joined, own = waiting_for(pki, family, name)
    half = fork(joined.evcc)
    half.receive(own[: len(own) // 2], joined.now, joined.utc_ms)
    assert not half.closed
    half.receive(own[len(own) // 2 :], joined.now, joined.utc_ms)
    assert half.reason in ("", "finished")
    garbage = fork(joined.evcc)
    garbage.receive(b"\x01\xfe\x80\x02\x00\x00\x00\x01\x80", joined.now, joined.utc_ms)
    assert_safe(garbage, "undecodable_message")
    alone = fork(joined.evcc)
    alone.receive_eof(joined.now, joined.utc_ms)
    assert_safe(alone, "secc_vanished")
    twice = fork(joined.evcc)
    twice.receive(own + own, joined.now, joined.utc_ms)
    assert twice.reason in ("", "finished", "unexpected_message", "wrong_service")  # "" where it asks the same again
