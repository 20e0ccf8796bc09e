"""What the judges of chargers and vehicles say of recorded real devices (tests/vectors/din70121/README.md).

A rule that blames a device which worked states its clause, or is softened. In most recordings one side is experimental:
its faults are named here, so that a judge that no longer sees them is noticed as well.
"""

from datetime import UTC, datetime
from fnmatch import fnmatchcase
from itertools import pairwise
from typing import Any, Final

import pytest

from tests.iso15118.din.recordings import (
    ABB,
    ALPITRONIC,
    BULB,
    COMPLEO,
    HYC300,
    IONIQ,
    MODEL_Y,
    NAMES,
    TESLA_CHARGER,
    Recorded,
    recording,
)
from tests.together import together
from v2g.iso15118.d20.charts import Family
from v2g.iso15118.engine.sequence import is_failed
from v2g.iso15118.engine.v2gtp import PayloadType, frame
from v2g_testkit.cases.case import Seen, Verdict, judge
from v2g_testkit.cases.editions import CHARGERS, VEHICLES, Edition
from v2g_testkit.cases.known import Kit
from v2g_testkit.cases.v2g_message.charger import ChargerDin
from v2g_testkit.cases.v2g_message.checks import faults
from v2g_testkit.cases.v2g_message.requests import MessageKnown, RequestsDin

pytestmark = pytest.mark.requirement("R16")

EXPERIMENTAL: Final = {"isolation not stated after the cable check", "status EVSE_NotReady"}
"""Of a charger without a safety circuit, which says so."""

CHARGER_FAULTS: Final[dict[str, set[str]]] = {
    **{each: set() for each in (ABB, COMPLEO, ALPITRONIC, TESLA_CHARGER, HYC300)},
    BULB: {"status EVSE_EmergencyShutdown"},  # a lamp is no battery
    IONIQ: {"schedules []", *EXPERIMENTAL},
    MODEL_Y: {"a schedule of 0 s, at least 86400 s are required", *EXPERIMENTAL},
}

VEHICLE_FAULTS: Final = {
    (ALPITRONIC, 0): "out of order: CurrentDemandReq in dc_welding_detection",
    (TESLA_CHARGER, 0): "asks ServiceDiscoveryReq with another SessionID, *",
    (TESLA_CHARGER, 2): "asks ServiceDiscoveryReq with another SessionID, *",
}
"""Of the experimental vehicle; others ended early or without a fault."""


def of_kind(name: str, kind: str) -> list[Recorded]:
    return [each for each in recording(name) if type(each.body).__name__ == kind]


def recorded_at(name: str, body: Any) -> int:
    """Return the time of a response, s since 1970: its own if that is on the day of the recording."""
    day = datetime.fromisoformat(name[:10]).replace(tzinfo=UTC)
    own = getattr(body, "date_time_now", None) or 0
    return own if datetime.fromtimestamp(own, UTC).date() == day.date() else round(day.timestamp())


@together("name", NAMES)
def test_real_chargers_are_blamed_for_what_they_did_only(name: str) -> None:
    found: set[str] = set()
    for connection in {each.connection for each in recording(name)}:
        known = MessageKnown(Family.DC)
        made = RequestsDin(known, Kit())
        for each in recording(name):
            if each.connection != connection or each.sender != "charger" or "Supported" in type(each.body).__name__:
                continue
            made.utc_s = recorded_at(name, each.body)
            found |= set() if is_failed(each.body) else set(faults(each.asked, each.body, made))
            known.hear(each.body)
    assert found == {f"wrong: {each}" for each in CHARGER_FAULTS[name]}


@together("name", NAMES)
def test_a_recorded_new_session_is_one(name: str) -> None:
    case = next(each for each in CHARGERS[Edition.DIN].cases(Family.DC) if each.id == "SECC-SessionSetup-DIN-good")
    codes = case.scripts[-1].expect.codes
    answers = [each.body for each in of_kind(name, "SessionSetupRes")]
    assert answers
    assert {each.response_code.name for each in answers} <= set(codes)


class Replayed(ChargerDin):
    """Judges the requests of a vehicle, and answers as the recorded charger did."""

    answer: Any

    def _made(self, request: Any) -> Any:
        super()._made(request)
        return self.answer


def heard(name: str, connection: int) -> Seen:
    """Return what the tester's charger notes of a recorded vehicle."""
    case = next(each for each in VEHICLES[Edition.DIN].cases(Family.DC) if each.group == "RUN")
    messages = [each for each in recording(name) if each.connection == connection]
    given = next(each.message.header.session_id for each in messages if type(each.body).__name__ == "SessionSetupRes")
    charger = Replayed(case.charger_scripts[0], Family.DC, entropy=lambda _: given)
    now = messages[0].t
    charger.start(now, 0)

    def go(until: float) -> None:
        while (at := charger.deadline()) is not None and at <= until:
            charger.tick(at, 0)

    for asked, answered in pairwise(messages):
        if asked.sender == "vehicle" and answered.sender == "charger":
            now, charger.answer = asked.t, answered.body
            go(now)
            charger.receive(frame(PayloadType.SAP, asked.payload), now, 0)
    go(now + 1)
    charger.receive_eof(now + 1, 0)
    return charger.seen


CONNECTIONS: Final = [(name, each.connection) for name in NAMES for each in of_kind(name, "SessionSetupRes")]


@together(("name", "connection"), CONNECTIONS)
def test_recorded_vehicles_are_blamed_for_what_they_did_only(name: str, connection: int) -> None:
    case = next(each for each in VEHICLES[Edition.DIN].cases(Family.DC) if each.group == "RUN")
    verdict, why = judge(case, [heard(name, connection)])
    if expected := VEHICLE_FAULTS.get((name, connection)):
        assert verdict is Verdict.FAIL
        assert fnmatchcase(why, expected)
        said = why.split(", ")
        assert len(said) == len(set(said)), "each once"
    elif of_kind(name, "SessionStopRes"):
        charged = of_kind(name, "CurrentDemandRes")
        assert verdict is (Verdict.PASS if charged else Verdict.INCONCLUSIVE), why
    else:
        assert "did not reach the end: it closed in" in why
