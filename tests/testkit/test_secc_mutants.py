"""Chargers with one thing wrong: each fails the cases that are about it, and no other."""

from collections.abc import Callable
from typing import Any, Final

import msgspec
import pytest
from msgspec.structs import replace

from pki_tools.tree import PkiTree
from secc.session.config import SeccConfig
from secc.session.d20 import delivery
from secc.session.d20.session import SeccSession
from tests.safety.charger_findings import Undo, any_voltage_matches, forgets_stops, keeps_power, silence_is_borne
from tests.testkit.rig import WIRE_S, Rig, kit_of
from tests.testkit.secc_cases import EVERYTHING
from tests.testkit.secc_mutants import AnySession, NoSequenceError
from v2g.errors import CodecError
from v2g.iso15118.d20.charts import Family
from v2g.iso15118.d20.messages.common_types import ResponseCode
from v2g.iso15118.d20.session import decode_payload
from v2g.iso15118.d20.timing import Timing
from v2g_testkit.cases.case import Case, Verdict, complaint
from v2g_testkit.cases.report import chosen
from v2g_testkit.cases.secc_cases import secc_cases

QUICK: Final = [case for case in chosen(secc_cases(Family.AC), quick=True) if case.scripts]


def failed(rig: Rig) -> set[str]:
    """Return the ids of the cases that the charger fails."""
    found = set()
    for case in QUICK:
        result = rig.run(case)
        if result.verdict is Verdict.FAIL:
            found.add(case.id)
    return found


def about(*words: str, without: tuple[str, ...] = ()) -> set[str]:
    """Return the ids of cases that fail a charger, and are about this."""
    names = chosen((case for case in QUICK if not case.open), words)
    return {case.id for case in names if not any(each in case.id for each in without)}


class SaysOk(SeccSession):
    """Answers OK where something is out of order, though it does nothing."""

    def _refuse(self, request: Any, code: str, stream: int | None = None) -> None:
        super()._refuse(request, "OK" if code == "FAILED_SequenceError" else code, stream)


class NeverCloses(SeccSession):
    """Leaves it to the vehicle to close, whatever happened."""

    def _close(self, reason: str) -> None:
        self._time.timers.clear()


class SilentInstead(SeccSession):
    """Closes without a word when a request is wrong."""

    def _refuse(self, request: Any, code: str, stream: int | None = None) -> None:
        """Say nothing."""


class WholeFramesOnly(SeccSession):
    """Takes what one read brings for a message."""

    def receive(self, data: bytes, now: float, utc_ms: int) -> None:
        super().receive(data, now, utc_ms)
        if self._framer.pending and not self.closed:
            self._on_broken(CodecError("half a message"))


class OtherType(SeccSession):
    """Answers ServiceSelectionReq with the response of another request."""

    def _send(self, message: Any, payload_type: int | None = None, *, encoded: bytes = b"") -> None:
        if type(message).__name__ == "ServiceSelectionRes" and message.response_code is not ResponseCode.OK:
            from v2g.iso15118.d20.messages.common_messages import SessionStopRes

            message = SessionStopRes(header=message.header, response_code=message.response_code)
        super()._send(message, payload_type, encoded=encoded)


class ForgetsItsSession(SeccSession):
    """Puts another SessionID into its loop."""

    def _send(self, message: Any, payload_type: int | None = None, *, encoded: bytes = b"") -> None:
        if type(message).__name__ == "AC_ChargeLoopRes":
            header = msgspec.structs.replace(message.header, session_id=b"12345678")
            message = msgspec.structs.replace(message, header=header)
        super()._send(message, payload_type, encoded=encoded)


ANEW: Final = about("*SAF*-services-anew-ac_charge_loop")
STOPPED: Final = about("*SAF*stop-then*")
CLOSING: Final = (
    about("SEQ", "SID", "SVC", "SIL", "terminate", "PAR") | about("*signature", "*SAF*pause*") | ANEW | STOPPED
)

KINDS: Final[tuple[tuple[type[SeccSession], set[str]], ...]] = (
    (AnySession, about("SID")),
    (NoSequenceError, about("SEQ") | ANEW),
    (SaysOk, about("SEQ") | ANEW),
    (NeverCloses, CLOSING),
    (SilentInstead, about("SEQ", "SID", "SVC", "PAR") | about("*signature") | ANEW | STOPPED),
    (WholeFramesOnly, about("*byte_by_byte", "*cut_within_the_header")),
    (OtherType, about("SVC-AC-selection", "SVC-AC-set", "SVC-AC-added")),
    (ForgetsItsSession, about("RUN", "MUX-AC-renegotiation")),
)


BRIEF: Final = {AnySession, NeverCloses, WholeFramesOnly}
"""Tried in every run."""


@pytest.mark.some(1)
@pytest.mark.parametrize(
    ("kind", "wrong"),
    [
        pytest.param(kind, wrong, id=kind.__name__, marks=() if kind in BRIEF else pytest.mark.long)
        for kind, wrong in KINDS
    ],
)
def test_a_charger_with_one_thing_wrong_fails_in_it_alone(
    pki: PkiTree, kind: type[SeccSession], wrong: set[str]
) -> None:
    assert wrong
    assert failed(Rig(pki, Family.AC, config=EVERYTHING, kind=kind)) == wrong


def late(*names: str, by: float) -> Callable[[bytes], float]:
    def delay(data: bytes) -> float:
        message, _ = decode_payload(int.from_bytes(data[2:4], "big"), data[8:], Family.AC)
        return by if type(message).__name__ in names else WIRE_S

    return delay


@pytest.mark.some(1)
@pytest.mark.parametrize(
    ("answer", "by", "wrong"),
    [
        ("ServiceDetailRes", 4.4, set()),
        pytest.param("ServiceDetailRes", 4.6, about("*ServiceDetailReq") & about("TIM"), marks=pytest.mark.long),
        pytest.param("SessionStopRes", 1.8, about("*SessionStopReq") & about("TIM"), marks=pytest.mark.long),
        ("AC_ChargeLoopRes", 0.4, about("*AC_ChargeLoopReq") & about("TIM")),
    ],
)
@pytest.mark.long
def test_a_charger_that_is_late_fails_where_it_is_late(pki: PkiTree, answer: str, by: float, wrong: set[str]) -> None:
    rig = Rig(pki, Family.AC, config=EVERYTHING)
    rig.delay = late(answer, by=by)
    assert failed(rig) == wrong


def feeds_standby(patch: pytest.MonkeyPatch) -> None:
    silence_is_borne(patch)  # what takes power away in standby, too
    known = delivery.apply_output
    patch.setattr(delivery, "apply_output", lambda context, world: known(replace(context, standby=False), world))


@pytest.mark.some(1)
@pytest.mark.parametrize(
    ("family", "undo", "wrong"),
    [
        (Family.AC, keeps_power, {"energy-services-anew"}),
        (Family.DC, keeps_power, {"energy-services-anew"}),
        (Family.AC, forgets_stops, {"stop-then-services", "stop-then-pause", "notice-ignored"}),
        (Family.DC, forgets_stops, {"stop-then-services", "stop-then-pause", "notice-ignored"}),
        (Family.DC, any_voltage_matches, {"pre-charge-zero", "pre-charge-unreached"}),
        (Family.DC, silence_is_borne, {"energy-schedules-anew"}),
        (Family.DC, feeds_standby, {"energy-standby", "energy-schedules-anew"}),
    ],
)
def test_a_charger_in_which_power_flows_on_is_caught(
    pki: PkiTree, monkeypatch: pytest.MonkeyPatch, family: Family, undo: Undo, wrong: set[str]
) -> None:
    """What the cases see, whether a charger can be failed by it or not."""
    undo(monkeypatch)
    rig, found = Rig(pki, family, config=EVERYTHING), set()
    for case in (each for each in secc_cases(family) if each.group == "SAF"):
        rig.run(case)
        if any(complaint(script.expect, seen) for script, seen in zip(case.scripts, rig.seen, strict=True)):
            found.add(case.id.removeprefix(f"SECC-SAF-{family.value}-"))
    assert found == wrong


@pytest.mark.some(1)
@pytest.mark.parametrize(
    ("kit", "config", "name", "why"),
    [
        ({"stops": False}, {}, "stop-then-services", "--stop"),
        ({}, {"meter_info": False}, "energy-standby", ""),
        ({"current": 0.0}, {}, "energy-standby", "there is no load"),
        ({}, {"service_renegotiation": False}, "energy-services-anew", "FAILED_NoServiceRenegotiationSupported"),
        ({}, {"standby": False}, "energy-standby", "standby is not allowed"),
    ],
)
def test_what_a_bench_cannot_show_is_judged_for_nobody(
    pki: PkiTree, kit: dict[str, Any], config: dict[str, Any], name: str, why: str
) -> None:
    rig = Rig(pki, Family.DC, config=replace(EVERYTHING, **config), kit=replace(kit_of(pki), **kit))
    (case,) = (each for each in secc_cases(Family.DC) if each.id == f"SECC-SAF-DC-{name}")
    result = rig.run(case)
    assert why in result.found
    assert result.verdict is (Verdict.NOT_APPLICABLE if why else Verdict.PASS), result


RUNS: Final = [case for case in secc_cases(Family.DC) if case.id.startswith("SECC-RUN-DC-")]


@pytest.mark.parametrize("case", RUNS, ids=[case.id for case in RUNS])
@pytest.mark.parametrize("without_power", [False, True])
def test_no_vehicle_closes_its_contactor_on_another_voltage(pki: PkiTree, case: Case, without_power: bool) -> None:
    rig = Rig(pki, Family.DC, config=EVERYTHING, kit=replace(kit_of(pki), without_power=without_power))
    rig.most_mv = 300_000
    result = rig.run(case)
    assert result.verdict is Verdict.FAIL, result
    assert "300 V after 3 s of pre-charge, 400 V were requested" in result.found
    asked = [request for request, _ in rig.seen[-1].times]
    assert "DC_PreChargeReq" in asked
    assert "PowerDeliveryReq" not in asked[asked.index("DC_PreChargeReq") :]


@pytest.mark.parametrize("without_power", [False, True])
def test_a_charger_without_power_electronics_is_tested_on_when_somebody_says_so(
    pki: PkiTree, without_power: bool
) -> None:
    rig = Rig(pki, Family.DC, config=EVERYTHING, kit=replace(kit_of(pki), without_power=without_power))
    rig.most_mv = 0
    result = rig.run(RUNS[0])
    assert ("--without-power" in result.found) == (not without_power)
    assert ("PowerDeliveryReq was answered" in result.found) == without_power  # ours does not close on 0 V


@pytest.mark.long
def test_a_charger_that_always_draws_the_same_numbers_fails_in_what_has_to_be_new(
    pki: PkiTree, monkeypatch: pytest.MonkeyPatch
) -> None:
    rig = Rig(pki, Family.AC, config=EVERYTHING)
    rig.entropy = lambda n: b"\x07" * n
    monkeypatch.setattr("secc.session.stages.challenge_of", lambda *_: rig.entropy(16))  # ours goes by the time, too
    assert failed(rig) == {"SECC-SES-AC-new", "SECC-AUT-AC-modes"}


@pytest.mark.some(1)
@pytest.mark.parametrize(("seconds", "loop"), [(30.0, 0.5), (90.0, 0.5), (60.0, 0.2), (60.0, 90.0)])
@pytest.mark.long
def test_a_charger_that_is_impatient_or_waits_for_ever_fails_in_silence(
    pki: PkiTree, seconds: float, loop: float
) -> None:
    timing = Timing(secc_sequence=seconds, secc_sequence_loop=loop, secc_loop_tolerance=0.0)
    config: SeccConfig = msgspec.structs.replace(EVERYTHING, timing=timing)
    looping = {each for each in about("SIL") if each.endswith("loop")}
    wrong = (about("SIL") - looping if seconds != 60 else set()) | (looping if loop != 0.5 else set())
    assert failed(Rig(pki, Family.AC, config=config)) - about("RUN", "TIM") == wrong


@pytest.mark.long
def test_a_charger_that_believes_any_signature_fails_there(pki: PkiTree, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("secc.session.d20.authorization.signature.verify", lambda *_, **__: None)
    assert failed(Rig(pki, Family.AC, config=EVERYTHING)) == about("*signature")


@pytest.mark.long
def test_a_charger_that_lets_anybody_resume_fails_there(pki: PkiTree, monkeypatch: pytest.MonkeyPatch) -> None:
    for module in ("setup", "delivery"):
        monkeypatch.setattr(f"secc.session.d20.{module}.binding", lambda *_: b"anybody")
    assert failed(Rig(pki, Family.AC, config=EVERYTHING)) == about("*pause-other")


def test_a_charger_that_serves_nobody_after_garbage_fails(pki: PkiTree) -> None:
    class Shaken(SeccSession):
        shaken = False

        def _on_broken(self, error: CodecError) -> None:
            Shaken.shaken = True
            super()._on_broken(error)

        def start(self, now: float, utc_ms: int) -> None:
            super().start(now, utc_ms)
            if Shaken.shaken:
                self.abort("shaken", now, utc_ms)

    rig, found = Rig(pki, Family.AC, config=EVERYTHING, kind=Shaken), set()
    malformed: list[Case] = [case for case in QUICK if case.group == "GTP"]
    for case in malformed:
        Shaken.shaken = False
        if rig.run(case).verdict is Verdict.FAIL:
            found.add(case.id.rpartition("-")[2])
    assert found == {  # any other is ignored
        "length_too_small", "payload_type_of_another_schema", "payload_of_4_GiB_announced", "EXI_cut_off",
        "EXI_of_no_message", "no_EXI_header",
    }  # fmt: skip
