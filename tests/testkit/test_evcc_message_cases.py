"""Our vehicle in the cases of ISO 15118-2 and DIN 70121: it passes; with one thing wrong it fails in that alone."""

from collections.abc import Callable
from typing import Any, Final

import pytest
from msgspec.structs import replace

from evcc.session.d2.session import Vehicle2
from evcc.session.din.session import DinVehicle
from evcc.session.ports import SetCpState
from evcc.session.v2g_message.session import MessageVehicle
from evcc.session.vehicle import Vehicle
from pki_tools.tree import PkiTree
from tests.io.tls.support import pki_2
from tests.testkit.evcc_rig import EvccRig
from v2g.iec61851.pilot import PilotState
from v2g.iso15118.d2 import schedules as d2_schedules
from v2g.iso15118.d2.messages.data_types import ChargeProgress
from v2g.iso15118.d20.charts import Family
from v2g.iso15118.din.messages import data_types as din
from v2g.iso15118.engine.power_schedule import Step
from v2g.iso15118.engine.session import Command
from v2g_testkit.cases.case import Case, Verdict, complaint
from v2g_testkit.cases.editions import VEHICLES, Edition
from v2g_testkit.cases.report import chosen
from v2g_testkit.cases.v2g_message.evcc_cases import EDITION_2, EDITION_DIN, requests_of

__all__ = ["pki_2"]

WAYS: Final = ((Edition.ISO2, Family.AC), (Edition.ISO2, Family.DC), (Edition.DIN, Family.DC))
OWN: Final[dict[Edition, Callable[..., Vehicle]]] = {Edition.ISO2: Vehicle2, Edition.DIN: DinVehicle}


def cases_of(edition: Edition, family: Family = Family.DC, *, quick: bool = False) -> list[Case]:
    """Return the cases that need no socket."""
    return [case for case in chosen(VEHICLES[edition].cases(family), quick=quick) if not case.probe]


@pytest.mark.requirement("R16")
@pytest.mark.parametrize("quick", [True, pytest.param(False, marks=pytest.mark.long)], ids=["quick", "all"])
@pytest.mark.parametrize(("edition", "family"), WAYS, ids=["2-AC", "2-DC", "din-DC"])
def test_our_vehicle_passes(pki_2: PkiTree, edition: Edition, family: Family, quick: bool) -> None:
    rig = EvccRig(pki_2, family, edition=edition, kind=OWN[edition])
    for case in cases_of(edition, family, quick=quick):
        result = rig.run(case)
        assert result.verdict is Verdict.PASS, result
        (script,) = case.charger_scripts
        assert not complaint(script.expect, rig.seen[0]), result


def test_a_vehicle_of_din_70121_may_read_the_status_code_alone(pki_2: PkiTree) -> None:
    """EVSENotification is always None there (V2G-DC-500)."""

    class ReadsCodes(DinVehicle):
        def _on_body(self, body: Any, header: Any) -> None:
            if (status := getattr(body, "dc_evse_status", None)) is not None:
                notification = type(status.evse_notification)("None")
                body = replace(body, dc_evse_status=replace(status, evse_notification=notification))
            super()._on_body(body, header)

    rig = EvccRig(pki_2, Family.DC, kind=ReadsCodes, edition=Edition.DIN)
    cases = chosen(cases_of(Edition.DIN), ["RUN", "NOT"])
    assert len(cases) == 2
    assert [rig.run(case).verdict for case in cases] == [Verdict.PASS] * 2


def test_a_contract_is_paid_with_at_the_present_time(pki_2: PkiTree) -> None:
    """A vehicle without a clock takes the charger's: contracts of today are not valid yet in 2023."""
    told: list[int] = []

    class Listening(Vehicle2):
        def _on_body(self, body: Any, header: Any) -> None:
            told.extend([body.evse_time_stamp] if type(body).__name__ == "PaymentDetailsRes" else [])
            super()._on_body(body, header)

    rig = EvccRig(pki_2, Family.DC, kind=Listening, edition=Edition.ISO2)
    (case,) = chosen(VEHICLES[Edition.ISO2].cases(Family.DC), ["RUN-2-DC-PnC"])
    assert rig.run(case).verdict is Verdict.PASS
    assert len(told) == 1
    assert abs(told[0] - rig.utc_ms / 1000) < 60


@pytest.mark.parametrize(("edition", "family"), WAYS, ids=["2-AC", "2-DC", "din-DC"])
def test_ids_are_unique_and_every_request_of_a_session_is_answered_wrongly_in_each_way(
    edition: Edition, family: Family
) -> None:
    cases = cases_of(edition, family)
    assert len({case.id for case in cases}) == len(cases)
    words = EDITION_DIN if edition is Edition.DIN else EDITION_2
    asked = {*requests_of(words, family), *(["PaymentDetailsReq"] if edition is Edition.ISO2 else [])}
    first = {"SupportedAppProtocolReq", "SessionSetupReq"}
    for group, left in (("COD", set()), ("SIL", set()), ("SID", first), ("TYP", {"SupportedAppProtocolReq"})):
        assert {case.charger_scripts[0].at for case in cases if case.group == group} == asked - left, group


# -- one thing wrong ----------------------------------------------------------------------------------------------


class TakesFailures(Vehicle2):
    """Takes FAILED for OK."""

    def _on_body(self, body: Any, header: Any | None) -> None:
        if body.response_code.name.startswith("FAILED"):
            body = replace(body, response_code=type(body.response_code).OK)
        super()._on_body(body, header)


class _AnySession(MessageVehicle):
    """Does not look at the SessionID."""

    def _belongs(self, session_id: bytes) -> bool:
        return True

    def _on_body(self, body: Any, header: Any | None) -> None:
        if header is not None and type(body).__name__ != "SessionSetupRes":
            header = replace(header, session_id=self.session_id)
        super()._on_body(body, header)


class AnySession(_AnySession, Vehicle2):
    """See there."""


class AnySessionOfDin(_AnySession, DinVehicle):
    """See there."""


class WaitsForEver(Vehicle2):
    """Waits for an answer as long as it takes."""

    def _arm(self, name: str, seconds: float) -> None:
        if name not in ("message", "communication_setup"):
            super()._arm(name, seconds)


class ImpatientVehicle(Vehicle2):
    """Gives an answer one second."""

    def _arm(self, name: str, seconds: float) -> None:
        super()._arm(name, min(seconds, 1.0) if name == "message" else seconds)


class PollsForEver(Vehicle2):
    """Asks again as long as the charger wants."""

    def _arm(self, name: str, seconds: float) -> None:
        if name not in ("authorization", "parameters", "cable_check", "pre_charge"):
            super()._arm(name, seconds)


class DoesNotListen(Vehicle2):
    """Passes over what the charger wants."""

    def _on_body(self, body: Any, header: Any | None) -> None:
        status = getattr(body, "dc_evse_status", None)
        if type(body).__name__ == "CurrentDemandRes":
            silent = type(status.evse_notification).None_
            ready = type(status.evse_status_code).EVSE_Ready
            body = replace(body, dc_evse_status=replace(status, evse_notification=silent, evse_status_code=ready))
        super()._on_body(body, header)


class AnyInsulation(Vehicle2):
    """Does not look at the result of the cable check."""

    def _on_body(self, body: Any, header: Any | None) -> None:
        if type(body).__name__ == "CableCheckRes":
            status = body.dc_evse_status
            level = type(status.evse_isolation_status).Valid
            body = replace(body, dc_evse_status=replace(status, evse_isolation_status=level))
        super()._on_body(body, header)


class SignsNothing(Vehicle2):
    """Sends a contract and no signature."""

    def _send_body(self, body: Any, signature: Any = None) -> None:
        super()._send_body(body)


class StaysInC(Vehicle2):
    """Does not let go of the pilot."""

    def _command(self, *commands: Command) -> None:
        super()._command(*(each for each in commands if each != SetCpState(PilotState.B)))


def about(*words: str, edition: Edition = Edition.ISO2, without: tuple[str, ...] = ()) -> set[str]:
    """Return the ids of cases that fail a vehicle, and are about this."""
    left = {case.id for case in chosen(cases_of(edition), without)} if without else set()
    return {case.id for case in chosen(cases_of(edition), words) if not case.open} - left


LAST: Final = ("*SessionStopRes*",)
STOPPING: Final = (*LAST, "*WeldingDetectionRes*")
"""After these only SessionStopReq follows, which is allowed."""

BRIEF: Final = (TakesFailures, AnySession, AnyInsulation)
"""They are tried in every run, with the cases of --quick."""

KINDS: Final[tuple[tuple[type[Vehicle], Edition, set[str]], ...]] = (
    (TakesFailures, Edition.ISO2, about("COD", without=("*SupportedApp*", *LAST))),
    (AnySession, Edition.ISO2, about("SID", without=STOPPING)),
    (AnySessionOfDin, Edition.DIN, about("SID", edition=Edition.DIN, without=STOPPING)),
    (WaitsForEver, Edition.ISO2, about("SIL", without=("*PreChargeReq",))),  # whose seven seconds run on
    (ImpatientVehicle, Edition.ISO2, about("SIL", without=("*CurrentDemandReq",))),
    (PollsForEver, Edition.ISO2, about("ONG")),
    (DoesNotListen, Edition.ISO2, about("NOT", "SAF-2-DC-emergency", "RUN")),
    (AnyInsulation, Edition.ISO2, about("SAF-2-DC-isolation")),
    (SignsNothing, Edition.ISO2, about("RUN-2-DC-PnC")),
)


@pytest.mark.some(1)
@pytest.mark.parametrize(
    ("kind", "edition", "wrong", "quick"),
    [
        pytest.param(
            *kind, quick, id=f"{kind[0].__name__}-{'quick' if quick else 'all'}",
            marks=() if quick and kind[0] in BRIEF else pytest.mark.long,
        )
        for kind in KINDS
        for quick in (True, False)
    ],
)  # fmt: skip
def test_a_vehicle_with_one_thing_wrong_fails_in_it_alone(
    pki_2: PkiTree, kind: type[Vehicle], edition: Edition, wrong: set[str], quick: bool
) -> None:
    cases = [case for case in cases_of(edition, quick=quick) if not case.open]
    expected = wrong & {case.id for case in cases}
    assert expected
    rig = EvccRig(pki_2, Family.DC, edition=edition, kind=kind)
    assert {case.id for case in cases if rig.run(case).verdict is Verdict.FAIL} == expected


@pytest.mark.parametrize("response", ["CableCheckRes", "CurrentDemandRes"])
def test_a_vehicle_that_stays_in_state_c_after_a_failure_is_noticed(pki_2: PkiTree, response: str) -> None:
    (case,) = chosen(cases_of(Edition.ISO2), [f"COD-2-DC-{response}-FAILED"])
    result = EvccRig(pki_2, Family.DC, edition=Edition.ISO2, kind=StaysInC).run(case)
    assert result.verdict is Verdict.FAIL
    assert result.found == "does not show state B"


CHARGE = "ChargeParameterDiscoveryReq"


def _amount(name: str, message: str, **number: int) -> Callable[[Any], Any]:
    def changed(body: Any) -> Any:
        if type(body).__name__ != message:
            return body
        if hasattr(body, name):
            return replace(body, **{name: replace(getattr(body, name), **number)})
        limits = body.ev_charge_parameter
        return replace(body, ev_charge_parameter=replace(limits, **{name: replace(getattr(limits, name), **number)}))

    return changed


def _current_in_volts(body: Any) -> Any:
    if type(body).__name__ != "CurrentDemandReq":
        return body
    current = body.ev_target_current
    return replace(body, ev_target_current=replace(current, unit=type(current.unit)("V")))


def _status(message: str, **status: Any) -> Callable[[Any], Any]:
    def changed(body: Any) -> Any:
        if type(body).__name__ != message:
            return body
        now = body.dc_ev_status
        if name := status.get("error"):
            return replace(body, dc_ev_status=replace(now, ev_error_code=type(now.ev_error_code)(name)))
        return replace(body, dc_ev_status=replace(now, **status))

    return changed


def _of(message: str, **fields: Any) -> Callable[[Any], Any]:
    return lambda body: replace(body, **fields) if type(body).__name__ == message else body


def _inside(message: str, part: str, **fields: Any) -> Callable[[Any], Any]:
    return lambda body: (
        replace(body, **{part: replace(getattr(body, part), **fields)}) if type(body).__name__ == message else body
    )


def _profile_twice(body: Any) -> Any:
    profile = getattr(body, "charging_profile", None)
    return (
        body
        if profile is None
        else replace(
            body, charging_profile=replace(profile, profile_entry=(*profile.profile_entry, profile.profile_entry[0]))
        )
    )


def _mode(chosen: str) -> Callable[[Any], Any]:
    def changed(body: Any) -> Any:
        for name in ("requested_energy_transfer_mode", "ev_requested_energy_transfer_type"):
            if (mode := getattr(body, name, None)) is not None:
                return replace(body, **{name: type(mode)[chosen]})
        return body

    return changed


def _plan(**more: Any) -> Callable[[Any], Any]:
    def changed(body: Any) -> Any:
        if not type(body).__name__.startswith("PowerDelivery") or not getattr(body, "ready_to_charge_state", True):
            return body
        if hasattr(body, "sa_schedule_tuple_id"):
            profile = d2_schedules.charging_profile((Step(0, more["power_w"]),))
            return replace(body, charging_profile=profile, sa_schedule_tuple_id=more["number"])
        entry = din.ProfileEntry(charging_profile_entry_start=0, charging_profile_entry_max_power=more["power_w"])
        return replace(
            body, charging_profile=din.ChargingProfile(sa_schedule_tuple_id=more["number"], profile_entry=(entry,))
        )

    return changed


@pytest.mark.some(2)
@pytest.mark.parametrize(("base", "edition"), [(Vehicle2, Edition.ISO2), (DinVehicle, Edition.DIN)])
@pytest.mark.parametrize(
    ("change", "found"),
    [
        (
            _amount("ev_target_voltage", "CurrentDemandReq", value=900, multiplier=0),
            "states EVTargetVoltage 900, its EVM",
        ),
        (_amount("ev_target_voltage", "CurrentDemandReq", value=-400), "states EVTargetVoltage -400"),
        (_amount("ev_target_current", "CurrentDemandReq", value=20_000), "states EVTargetCurrent 20000, its EVM"),
        (
            _amount("ev_maximum_current_limit", "ChargeParameterDiscoveryReq", value=-5, multiplier=0),
            "states EVMaximumCurrentLimit -5",
        ),
        (_amount("ev_target_current", "CurrentDemandReq", value=-5, multiplier=0), "states EVTargetCurrent -5"),
        (_current_in_volts, "states EVTargetCurrent in V, not A"),
        (_mode("AC_three_phase_core"), "selects AC_three_phase_core, which is not offered"),
        (_mode("DC_core"), "selects DC_core, which is not offered"),
        (_plan(power_w=11_000, number=99), "selects schedule 99, which is not offered"),
        (_plan(power_w=20_000, number=1), "states a charging profile of 20000 W, PMax is 11000 W"),
        (
            _status("PreChargeReq", error="FAILED_RESSTemperatureInhibit"),
            "states EVErrorCode FAILED_RESSTemperatureInhibit in a PreChargeReq that goes on",
        ),
        (_status("CurrentDemandReq", ev_ready=False), "states that it is not ready in a CurrentDemandReq that goes on"),
        (_of("CurrentDemandReq", charging_complete=True), "states that charging is complete in a CurrentDemandReq"),
        (_amount("ev_target_voltage", "CurrentDemandReq", value=0), "states EVTargetVoltage 0 for "),
        (_amount("ev_maximum_power_limit", CHARGE, value=0), "states EVMaximumPowerLimit 0"),
        (_amount("ev_energy_request", CHARGE, value=9_000, multiplier=2), "states EVEnergyRequest 900000, its EVEner"),
        (_of("SessionSetupReq", evcc_id=bytes(6)), "states an EVCCID of zeros"),
        (_inside(CHARGE, "ev_charge_parameter", bulk_soc=90, full_soc=80), "states BulkSOC 90, its FullSOC is 80"),
        (_profile_twice, "states a charging profile with entries from "),
    ],
    ids=[
        "voltage", "no-voltage", "current", "maximum", "no-current", "unit", "mode", "pins", "schedule", "profile",
        "error", "not-ready", "complete", "zero-voltage", "no-power", "energy", "evcc-id", "soc", "entries",
    ],
)  # fmt: skip
def test_a_vehicle_that_asks_for_more_than_it_bears_or_is_offered_fails(
    pki_2: PkiTree, base: type[MessageVehicle], edition: Edition, change: Callable[[Any], Any], found: str
) -> None:
    class Changed(base):  # type: ignore[misc, valid-type]
        def _send_body(self, body: Any, signature: Any = None) -> None:
            super()._send_body(change(body), signature)

    (case,) = (each for each in cases_of(edition) if "-RUN-" in each.id and each.id.endswith("-EIM"))
    result = EvccRig(pki_2, Family.DC, edition=edition, kind=Changed).run(case)
    assert (result.verdict, found in result.found) == (Verdict.FAIL, True), result.found


@pytest.mark.parametrize(
    ("payment", "change", "found"),
    [
        ("PnC", _of("PaymentDetailsReq", emaid="DEXXXC00000009"), "states eMAID DEXXXC00000009, its certificate is of"),
        ("EIM", _of(CHARGE, max_entries_sa_schedule_tuple=0), "states MaxEntriesSAScheduleTuple 0"),
        ("EIM", _of("PowerDeliveryReq", charge_progress=ChargeProgress.Stop), "the session without a charge loop"),
    ],
    ids=["emaid", "entries", "no-energy"],
)  # fmt: skip
def test_a_vehicle_of_iso_15118_2_that_contradicts_itself_is_noticed(
    pki_2: PkiTree, payment: str, change: Callable[[Any], Any], found: str
) -> None:
    class Changed(Vehicle2):
        def _send_body(self, body: Any, signature: Any = None) -> None:
            super()._send_body(change(body), signature)

    (case,) = chosen(cases_of(Edition.ISO2), [f"EVCC-RUN-2-DC-{payment}"])
    result = EvccRig(pki_2, Family.DC, edition=Edition.ISO2, kind=Changed).run(case)
    assert found in result.found
    assert result.verdict is (Verdict.INCONCLUSIVE if "charge loop" in found else Verdict.FAIL), "it shows little"


@pytest.mark.parametrize("mode", ["AC_single_phase_core", "AC_three_phase_core"])
def test_a_vehicle_of_one_phase_and_one_of_three_select_a_mode_on_offer(pki_2: PkiTree, mode: str) -> None:
    class Selects(Vehicle2):
        def _send_body(self, body: Any, signature: Any = None) -> None:
            super()._send_body(_mode(mode)(body), signature)

    (case,) = chosen(cases_of(Edition.ISO2, Family.AC), ["EVCC-RUN-2-AC-EIM"])
    result = EvccRig(pki_2, Family.AC, edition=Edition.ISO2, kind=Selects).run(case)
    assert result.verdict is Verdict.PASS, result.found
