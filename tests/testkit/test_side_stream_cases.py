"""The cases about side streams: our charger passes, and with one thing wrong it fails in that alone."""

from typing import Any, Final

import pytest
from msgspec.structs import replace

from pki_tools.tree import PkiTree
from secc.session.d20.session import SeccSession
from tests.testkit.rig import Rig
from tests.testkit.secc_cases import EVERYTHING
from v2g.iso15118.d20.charts import Family
from v2g.iso15118.d20.messages.common_types import MessageHeader
from v2g.iso15118.engine.sequence import State
from v2g.iso15118.engine.v2gtp import PayloadType
from v2g_testkit.cases.case import Beside, Verdict, complaint
from v2g_testkit.cases.secc_side_streams import side_streams

RENEGOTIATION: Final = PayloadType.SCHEDULE_RENEGOTIATION
ORDER: Final = {"order-power", "order-parameters", "order-power-first", "early"}


def found(
    pki: PkiTree, family: Family = Family.DC, *, kind: type[SeccSession] = SeccSession
) -> tuple[dict[str, Verdict], set[str]]:
    """Return the verdicts, and the cases in which something else was seen than expected, also where that is open."""
    rig = Rig(pki, family, config=EVERYTHING, kind=kind)
    verdicts, wrong = {}, set()
    for case in side_streams(family):
        name = case.id.removeprefix(f"SECC-MUX-{family.value}-")
        verdicts[name] = rig.run(case).verdict
        if any(complaint(script.expect, seen) for script, seen in zip(case.scripts, rig.seen, strict=False)):
            wrong.add(name)
    return verdicts, wrong


def without_bytes(names: set[str]) -> set[str]:
    return {name for name in names if not name.startswith("gtp")}


@pytest.mark.some(1)
@pytest.mark.parametrize("family", Family, ids=lambda family: family.value)
def test_our_charger_does_everything_as_expected(pki: PkiTree, family: Family) -> None:
    verdicts, wrong = found(pki, family)
    assert not wrong
    assert {verdicts[name] for name in without_bytes(set(verdicts))} == {Verdict.PASS}


class OneStream(SeccSession):
    """Does not have side streams."""

    def _on_side_request(self, request: Any, stream: PayloadType) -> None:
        """Ignore it."""


def test_a_charger_without_side_streams_is_not_judged(pki: PkiTree) -> None:
    verdicts, _ = found(pki, kind=OneStream)
    absent = {name for name, each in verdicts.items() if each is Verdict.NOT_APPLICABLE}
    assert absent == without_bytes(set(verdicts))


class AnySession(SeccSession):
    """Does not look at the SessionID of side streams."""

    def _on_side_request(self, request: Any, stream: PayloadType) -> None:
        header = replace(request.header, session_id=self.session_id)
        super()._on_side_request(replace(request, header=header), stream)


class SaysOk(SeccSession):
    """Answers OK on side streams where it refuses."""

    def _refuse(self, request: Any, code: str, stream: int | None = None) -> None:
        super()._refuse(request, "OK" if stream is not None else code, stream)


class StaysSilent(SeccSession):
    """Refuses requests on side streams without a word."""

    def _refuse(self, request: Any, code: str, stream: int | None = None) -> None:
        if stream is None:
            super()._refuse(request, code, stream)


class OneThingAtATime(SeccSession):
    """Does not answer the charge loop while a schedule is renegotiated."""

    def _send(self, message: Any, payload_type: int | None = None, *, encoded: bytes = b"") -> None:
        busy = self._sides.state(RENEGOTIATION) is not State.SIDE_IDLE
        if not (busy and type(message).__name__ == "DC_ChargeLoopRes"):
            super()._send(message, payload_type, encoded=encoded)


class EndsTheLoop(SeccSession):
    """Takes the end of the renegotiation for that of the session."""

    def _send(self, message: Any, payload_type: int | None = None, *, encoded: bytes = b"") -> None:
        super()._send(message, payload_type, encoded=encoded)
        if payload_type == RENEGOTIATION and type(message).__name__ == "PowerDeliveryRes":
            self._close("done")


class OtherSession(SeccSession):
    """Answers on side streams with another SessionID."""

    def _send(self, message: Any, payload_type: int | None = None, *, encoded: bytes = b"") -> None:
        if payload_type == RENEGOTIATION:
            header: MessageHeader = replace(message.header, session_id=b"12345678")
            message = replace(message, header=header)
        super()._send(message, payload_type, encoded=encoded)


CLOSING: Final = {*ORDER, "session", "metering-early", "parking-VehicleCheckInReq", "parking-VehicleCheckOutReq"}
METERING: Final = {"metering-signature", "metering-unsigned", "metering-reading"}


@pytest.mark.some(1)
@pytest.mark.parametrize(
    ("kind", "wrong"),
    [
        (AnySession, {"session"}),
        (SaysOk, CLOSING | METERING),
        (StaysSilent, CLOSING | METERING),
        (OneThingAtATime, {"renegotiation", "schedule"}),
        (EndsTheLoop, {"renegotiation", "schedule"}),
        (OtherSession, {"renegotiation", "schedule"}),
    ],
    ids=lambda each: getattr(each, "__name__", ""),
)
def test_a_charger_with_one_thing_wrong_fails_in_it_alone(
    pki: PkiTree, kind: type[SeccSession], wrong: set[str]
) -> None:
    verdicts, seen = found(pki, kind=kind)
    assert without_bytes(seen) == wrong
    certain = wrong - METERING - {name for name in wrong if name.startswith("parking")}
    assert {name for name, each in verdicts.items() if each is Verdict.FAIL} == certain


def test_a_charger_that_takes_any_order_fails_there(pki: PkiTree, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("secc.session.d20.session.sequence.accepts", lambda *_: True)
    verdicts, _ = found(pki)
    assert {name for name, each in verdicts.items() if each is Verdict.FAIL} >= {"order-parameters"}


def test_a_charger_that_believes_any_reading_is_seen(pki: PkiTree, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("secc.session.d20.loop.signature.verify", lambda *_, **__: None)
    verdicts, wrong = found(pki)
    assert wrong == {"metering-signature", "metering-unsigned"}
    assert {verdicts[name] for name in wrong} == {Verdict.OPEN}


def test_each_side_stream_has_cases() -> None:
    used = {
        case.scripts[0].do.stream
        for family in Family
        for case in side_streams(family)
        if isinstance(case.scripts[0].do, Beside)
    }
    assert used == {
        PayloadType.SCHEDULE_RENEGOTIATION,
        PayloadType.METERING_CONFIRMATION,
        PayloadType.PARKING_STATUS,
        PayloadType.ACDP_SYSTEM_STATUS,
    }
