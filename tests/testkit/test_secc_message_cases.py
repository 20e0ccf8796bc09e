"""Our charger in the cases of ISO 15118-2 and DIN 70121: it passes; with one thing wrong it fails in that alone."""

from fnmatch import fnmatchcase
from typing import Any, Final

import pytest
from msgspec.structs import replace

from pki_tools.tree import PkiTree
from secc.session.d2.session import Iso2Session
from secc.session.din.session import DinSession
from tests.io.tls.support import pki_2
from tests.testkit.message_chargers import WAYS, Way, rig_of
from v2g.iec61851.pilot import PilotState
from v2g.iso15118.d2.charts import STRICT as CHARTS_2
from v2g.iso15118.d2.charts import Family as Family2
from v2g.iso15118.d20.charts import Family
from v2g.iso15118.din.charts import STRICT as CHART_DIN
from v2g.iso15118.engine.sequence import State
from v2g.iso15118.engine.v2gtp import Framer
from v2g_testkit.cases.case import Case, Silence, Verdict, judge
from v2g_testkit.cases.declaration import ChargerDeclaration
from v2g_testkit.cases.editions import CHARGERS, Edition
from v2g_testkit.cases.evcc_cases import evcc_cases
from v2g_testkit.cases.known import Kit
from v2g_testkit.cases.report import chosen

__all__ = ["pki_2"]

ABSENT: Final = {
    "TC_SECC_CMN_VTB_SupportedAppProtocol_001",  # over TLS
    "TC_SECC_CMN_VTB_ServiceDetail_001",  # no value-added service
    "TC_SECC_CMN_VTB_ServiceDetail_011",
    "TC_SECC_CMN_VTB_PaymentServiceSelection_002",
    "TC_SECC_CMN_VTB_PaymentServiceSelection_010",  # external payment is offered
    "SECC-PowerDelivery-DIN-profile_above_PMax",  # 40 kW are more than DIN 70121 can write
}
"""What does not apply to a charger without TLS that offers no services beside charging."""


@pytest.mark.parametrize(
    ("answer", "said"),
    [
        ("01fe9000 00000004 80400040", "sends a V2GTP frame of payload type 0x9000"),
        ("02fd8001 00000004 80400040", "sends a V2GTP frame of another version, or length 0"),
        ("01fe8001 00000000", "sends a V2GTP frame of another version, or length 0"),
        ("01fe8001 00000004 ffffffff", "not the EXI header of V2G"),
        ("", "stays silent"),
    ],
)
@pytest.mark.parametrize("name", ["SECC-RUN-DIN-EIM", "SECC-SupportedAppProtocol-DIN-004"])
def test_an_answer_that_cannot_be_read_is_no_silence(name: str, answer: str, said: str) -> None:
    edition = CHARGERS[Edition.DIN]
    (case,) = (each for each in edition.cases(Family.DC) if each.id == name)
    vehicle = edition.vehicle(case.scripts[0], Kit(), edition.known(Family.DC), entropy=lambda size: bytes(size))
    vehicle.start(0.0, 0)
    if answer:
        vehicle.receive(bytes.fromhex(answer), 0.5, 0)
    while (at := vehicle.deadline()) is not None:
        vehicle.tick(at, 0)
    verdict, found = judge(case, [vehicle.seen])
    assert verdict is Verdict.FAIL
    assert said in found or (not answer and "no answer to SupportedAppProtocolReq" in found)


@pytest.mark.requirement("R16")
@pytest.mark.parametrize("way", WAYS, ids=str)
def test_our_charger_passes(pki: PkiTree, way: Way) -> None:
    rig = rig_of(way, pki)
    verdicts = {case.id: rig.run(case) for case in way.cases() if not any(each.pay for each in case.scripts)}
    absent = {name for name, result in verdicts.items() if result.verdict is Verdict.NOT_APPLICABLE}
    assert absent == ABSENT & verdicts.keys()
    wrong = [result for result in verdicts.values() if result.verdict not in (Verdict.PASS, Verdict.NOT_APPLICABLE)]
    assert not wrong


@pytest.mark.parametrize("way", [way for way in WAYS if way.edition is Edition.ISO2], ids=str)
def test_our_charger_passes_with_contracts(pki_2: PkiTree, way: Way) -> None:
    rig = rig_of(way, pki_2, tls=True)
    cases = [case for case in way.cases() if case.scripts[-1].pay.startswith("PnC") and not case.scripts[-1].installs]
    found = {case.id: rig.run(case) for case in cases}
    absent = {"ServiceDetail_002", "ServiceDetail_012", "PaymentServiceSelection_003"}
    for name, result in found.items():
        expected = Verdict.NOT_APPLICABLE if name.removeprefix("TC_SECC_CMN_VTB_") in absent else Verdict.PASS
        assert result.verdict is expected, result
    assert len(found) >= 18


@pytest.mark.parametrize("way", WAYS, ids=str)
def test_ids_are_unique_and_every_exchange_of_the_chart_is_tested_in_all_four_ways(way: Way) -> None:
    cases = way.cases()
    assert len({case.id for case in cases}) == len(cases)
    chart = CHART_DIN if way.edition is Edition.DIN else CHARTS_2[Family2(way.family.value)]
    # those that are left need a receipt or a contract from a back end
    left = {State.AC_METERING_RECEIPT, State.DC_METERING_RECEIPT, State.CONTRACT_INSTALLED, State.PAUSED, State.ENDED}
    for state in chart.keys() - left:
        done = [case.scripts[-1] for case in cases if case.scripts[-1].goal is state]
        codes = {code for each in done for code in each.expect.codes}
        assert done, state
        if state in (State.SUPPORTED_APP_PROTOCOL, State.SCHEDULE_RENEGOTIATION, State.POWER_DELIVERY_RENEGOTIATED):
            continue
        if state is not State.DC_PRE_CHARGE_ONGOING:
            assert "FAILED_UnknownSession" in codes or state is State.SESSION_SETUP, state
        assert "FAILED_SequenceError" in codes, state
        assert any(isinstance(each.do, Silence) for each in done), state


def test_cases_are_found_by_the_message_and_by_the_number() -> None:
    cases = Way(Edition.ISO2, Family.DC).cases()
    assert {case.group for case in chosen(cases, ["CableCheck"])} == {"CableCheck"}
    (one,) = chosen(cases, ["CableCheck_003"])
    assert one.id == "TC_SECC_DC_VTB_CableCheck_003"
    assert not chosen(cases, ["Cable"])
    failures = chosen(evcc_cases(Family.DC), ["COD-DC-SessionSetupRes-FAILED"])
    assert [case.id for case in failures] == ["EVCC-COD-DC-SessionSetupRes-FAILED"]


@pytest.mark.parametrize(
    ("name", "declared", "verdict"),
    [
        ("CurrentDemand_006", {}, Verdict.PASS),
        ("CurrentDemand_008", {}, Verdict.OPEN),
        ("CurrentDemand_008", {"meter_reading": True}, Verdict.FAIL),
        ("CurrentDemand_008", {"meter_reading": False}, Verdict.NOT_APPLICABLE),
        ("DC_VTB_SessionSetup_001", {"pause": False}, Verdict.NOT_APPLICABLE),
        ("WeldingDetection_005", {"welding_detection": False}, Verdict.NOT_APPLICABLE),
        ("DC_VTB_SessionStop_002", {"welding_detection": False}, Verdict.NOT_APPLICABLE),
        ("DC_VTB_SessionStop_001", {"welding_detection": False}, Verdict.PASS),
        ("DC_VTB_ChargeParameterDiscovery_023", {"renegotiation": False}, Verdict.NOT_APPLICABLE),
        ("DC_VTB_PowerDelivery_012", {"renegotiation": False}, Verdict.NOT_APPLICABLE),
        ("DC_VTB_PowerDelivery_011", {"renegotiation": False}, Verdict.NOT_APPLICABLE),
        ("Authorization_007", {"contracts": False}, Verdict.NOT_APPLICABLE),
    ],
)
def test_the_declaration_decides_what_applies_and_what_is_certain(
    pki: PkiTree, name: str, declared: dict[str, bool], verdict: Verdict
) -> None:
    rig = rig_of(DC2, pki, kind=WithoutReading, declared=ChargerDeclaration(**declared))
    (case,) = chosen(DC2.cases(), [name])
    result = rig.run(case)
    assert result.verdict is verdict, result
    if verdict is Verdict.NOT_APPLICABLE:
        ((key, value),) = declared.items()
        assert result.found == f"declared: {key} = {str(value).lower()}"


# -- one thing wrong ----------------------------------------------------------------------------------------------


class AnySession(Iso2Session):
    """Does not look at the SessionID."""

    def _on_request(self, request: Any, *, same_session: bool) -> None:
        super()._on_request(request, same_session=True)


class NoSequenceError(Iso2Session):
    """Has another word for what is out of order."""

    def _sequence_code(self, _request: Any) -> str:
        return "FAILED"


class NeverCloses(Iso2Session):
    """Leaves it to the vehicle to close, whatever happened."""

    def _close(self, reason: str) -> None:
        self._time.timers.clear()


class SilentInstead(Iso2Session):
    """Closes without a word when a request is wrong."""

    def _refuse(self, request: Any, code: str, stream: int | None = None) -> None:
        """Say nothing."""


class NoOtherVersion(Iso2Session):
    """Ends the session at a wrong V2GTP version."""

    def __init__(self, *args: Any, **options: Any) -> None:
        super().__init__(*args, **options)
        self._framer = Framer()


class NoPilot(Iso2Session):
    """Does not look at the control pilot."""

    def request_context(self, *, waited: bool) -> Any:
        context = super().request_context(waited=waited)
        name = type(self.newest.message.body.body_element).__name__ if hasattr(self.newest.message, "body") else ""
        state = PilotState.C if name == "CableCheckReq" else PilotState.B
        if name not in ("CableCheckReq", "WeldingDetectionReq", "SessionStopReq"):
            return context
        return replace(context, facts=replace(context.facts, pilot=state))


class OtherAnswer(Iso2Session):
    """Changes its responses as a subclass says."""

    def _send_body(self, body: Any, signature: Any = None) -> None:
        super()._send_body(self.altered(body), signature)

    def altered(self, body: Any) -> Any:
        return body


class WithoutReading(OtherAnswer):
    """Sends its meter without a reading."""

    def altered(self, body: Any) -> Any:
        info = getattr(body, "meter_info", None)
        return body if info is None else replace(body, meter_info=replace(info, meter_reading=None))


class ShortSchedule(OtherAnswer):
    """Offers power for an hour."""

    def altered(self, body: Any) -> Any:
        schedules = getattr(body, "sa_schedules", None)
        if schedules is None:
            return body
        one = schedules.sa_schedule_tuple[0]
        entry = one.p_max_schedule.p_max_schedule_entry[0]
        entry = replace(entry, time_interval=replace(entry.time_interval, duration=3600))
        p_max = replace(one.p_max_schedule, p_max_schedule_entry=(entry,))
        return replace(body, sa_schedules=replace(schedules, sa_schedule_tuple=(replace(one, p_max_schedule=p_max),)))


class StaysInvalid(OtherAnswer):
    """Ends the cable check without a result."""

    def altered(self, body: Any) -> Any:
        if type(body).__name__ != "CableCheckRes":
            return body
        level = type(body.dc_evse_status.evse_isolation_status)
        return replace(body, dc_evse_status=replace(body.dc_evse_status, evse_isolation_status=level.Invalid))


class NeverFinishes(OtherAnswer):
    """Checks the cable for ever."""

    def altered(self, body: Any) -> Any:
        if type(body).__name__ != "CableCheckRes" or body.response_code.name != "OK":
            return body
        return replace(body, evse_processing=type(body.evse_processing).Ongoing)


class RefusesToStop(OtherAnswer):
    """Takes a vehicle's error for one of its own when power stops."""

    def altered(self, body: Any) -> Any:
        message = self.newest.message
        request = message.body.body_element if hasattr(message, "body") else None
        parameter = getattr(request, "ev_power_delivery_parameter", None)
        if parameter is None or parameter.dc_ev_status.ev_error_code.name == "NO_ERROR":
            return body
        return replace(body, response_code=type(body.response_code).FAILED)


class BadEvseId(OtherAnswer):
    """Has an EVSEID of no form."""

    def altered(self, body: Any) -> Any:
        return replace(body, evse_id="1234567") if type(body).__name__ == "SessionSetupRes" else body


class AnySessionOfDin(DinSession):
    """Does not look at the SessionID."""

    def _on_request(self, request: Any, *, same_session: bool) -> None:
        super()._on_request(request, same_session=True)


DC2: Final = Way(Edition.ISO2, Family.DC)
DIN: Final = Way(Edition.DIN, Family.DC)


def plain(way: Way) -> list[Case]:
    """Return the cases for external payment."""
    return [case for case in way.cases() if not any(each.pay for each in case.scripts) and not case.open]


def that(way: Way, *, codes: str = "", names: tuple[str, ...] = (), closes: bool = False) -> set[str]:
    """Return the ids of cases by their expectation and their names."""
    found = set()
    for case in plain(way):
        last = case.scripts[-1]
        fits = any(fnmatchcase(each, codes) for each in last.expect.codes) if codes else True
        fits &= not names or any(fnmatchcase(case.id, f"*{each}") for each in names)
        fits &= last.expect.within is not None if closes else True
        if fits:
            found.add(case.id)
    return found - ABSENT


def failed(way: Way, pki: PkiTree, kind: type, *, quick: bool) -> set[str]:
    """Return the ids of the cases that the charger fails."""
    rig = rig_of(way, pki, kind=kind)
    return {case.id for case in chosen(plain(way), quick=quick) if rig.run(case).verdict is Verdict.FAIL}


def selected(way: Way) -> set[str]:
    """Return the ids of the cases of --quick."""
    return {case.id for case in chosen(plain(way), quick=True)}


FAILURES: Final = that(DC2, codes="FAILED*")
WHOLE: Final = {"SECC-RUN-2-DC-EIM"}

KINDS: Final[tuple[tuple[type, Way, set[str]], ...]] = (
    (AnySession, DC2, that(DC2, codes="FAILED_UnknownSession")),
    (AnySessionOfDin, DIN, that(DIN, codes="FAILED_UnknownSession")),
    (NoSequenceError, DC2, that(DC2, codes="FAILED_SequenceError")),
    (NeverCloses, DC2, that(DC2, closes=True)),
    (SilentInstead, DC2, FAILURES),
    (NoOtherVersion, DC2, that(DC2, names=("V2GTPSessionSetup_004", "V2GTPSessionSetup_005"))),
    (NoPilot, DC2, that(DC2, names=("CableCheck_008", "WeldingDetection_005", "DC_VTB_SessionStop_006"))),
    (ShortSchedule, DC2, that(DC2, codes="OK", names=("ChargeParameterDiscovery_*",))),
    (StaysInvalid, DC2, that(DC2, names=("CableCheck_001",))),
    (NeverFinishes, DC2, that(DC2, names=("CableCheck_001",))),
    (RefusesToStop, DC2, that(DC2, names=tuple(f"PowerDelivery_{n:03}" for n in range(14, 22)))),
    (
        BadEvseId,
        DC2,
        that(DC2, codes="OK_*Session*", names=("VTB_SessionSetup_*",))
        | that(DC2, codes="OK", names=("VTB_CurrentDemand_*",)),  # which repeats the right one
    ),
)


@pytest.mark.some(2)
@pytest.mark.parametrize("quick", [True, pytest.param(False, marks=pytest.mark.long)], ids=["quick", "all"])
@pytest.mark.parametrize(("kind", "way", "wrong"), KINDS, ids=[kind.__name__ for kind, _, _ in KINDS])
def test_a_charger_with_one_thing_wrong_fails_in_it_alone(
    pki: PkiTree, kind: type, way: Way, wrong: set[str], quick: bool
) -> None:
    wrong = wrong & selected(way) if quick else wrong
    assert wrong
    assert failed(way, pki, kind, quick=quick) - WHOLE == wrong
