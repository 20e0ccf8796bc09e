"""Functional block Q, energy both ways, of our station, beyond the cases of the test lab."""

from typing import Any

import msgspec
import pytest

from tests.station.bench import Bench, at
from tests.station.high_level import NEEDS, offers
from tests.station.profiles import limit, profile, put
from tests.station.vehicles import V2X, charging, own
from v2g.hardware.energy_manager.commands import CommandStep
from v2g_station.blocks.authorization.contracts import CHARGING_ONLY
from v2g_station.blocks.evse import AllowPower, Power
from v2g_station.blocks.smart_charging.external_limits import ExternalLimit
from v2g_station.blocks.smart_charging.high_level import NeedsReported, VehicleKnown
from v2g_station.blocks.smart_charging.local_control import GridFrequency, SetPower, UpstreamLoad
from v2g_station.blocks.smart_charging.profiles import ProfileLimits
from v2g_station.blocks.smart_charging.smart_charging import Sleep, SleepRefused
from v2g_station.kernel.layout import EvseLayout

BOTH = msgspec.structs.replace(
    NEEDS, service="DC_BPT", control_mode="dynamic", max_discharge_w=10_000, available=("DC_BPT", "DC")
)


def vehicle(**more: Any) -> Bench:
    """A vehicle of ISO 15118-20 is there, with its transaction."""
    found = Bench("2.1", variables={"TxCtrlr.TxStartPoint": "EVConnected,Authorized"}, evses=(V2X,), **more)
    found.fact(VehicleKnown(evse_id=1, evccid="WMIV1234567890ABCDEX", protocol="urn:iso:std:iso:15118:-20:DC"))
    found.present()
    found.plug()
    return found


def wish(found: Bench) -> float | None:
    """The last set point of the hardware."""
    reported = [each for each in found.commands if isinstance(each, ProfileLimits)]
    return reported[-1].setpoint_w


def entered(found: Bench, mode: str) -> dict[str, Any]:
    """The transaction goes on in another mode."""
    return found.expect("TransactionEvent", triggerReason="OperationModeChanged", transactionInfo__operationMode=mode)


# -- Q01, Q02


def test_tc_q_103_cs_needs_rejected() -> None:
    found = vehicle()
    found.station.kernel.put("ISO15118Ctrlr.ServiceRenegotiationSupport", "false")
    found.answers["NotifyEVChargingNeeds"] = {"status": "Rejected"}
    found.fact(NeedsReported(evse_id=1, needs=BOTH))
    event = found.expect("TransactionEvent", eventType="Ended", triggerReason="AbnormalCondition")
    assert event["transactionInfo"]["stoppedReason"] == "ReqEnergyTransferRejected"
    assert not found.allowed()
    assert offers(found) == []


def test_v2x_that_the_csms_turns_off_discharges_no_vehicle() -> None:
    """V2XChargingCtrlr.Enabled (part 2, 2.17): what runs ends at once, and what begins is charging only."""
    found = charging()
    own(found, {"operationMode": "CentralSetpoint", "setpoint": -9000.0, "limit": 9000.0, "dischargeLimit": -9000.0})
    assert wish(found) == -9000
    assert found.set("V2XChargingCtrlr", "Enabled", "false") == "Accepted"
    last = [each for each in found.commands if isinstance(each, ProfileLimits)][-1]
    assert (last.setpoint_w, last.charge_w, last.discharge_w) == (0, 9000, 0)
    (period,) = found.ask("GetCompositeSchedule", evseId=1, duration=60)["schedule"]["chargingSchedulePeriod"]
    assert (period["setpoint"], "dischargeLimit" in period) == (0, False)
    found.fact(ExternalLimit(source="EMS", setpoint_w=-5000.0))
    assert wish(found) == 0
    found.fact(ExternalLimit(source="EMS"))
    assert found.set("V2XChargingCtrlr", "Enabled", "true") == "Accepted"
    assert wish(found) == -9000


@pytest.mark.parametrize("remote", [True, False])
@pytest.mark.parametrize(
    ("listed", "allowed"),
    [(["DC", "DC_BPT"], ("DC",)), (["DC_BPT"], CHARGING_ONLY), (None, CHARGING_ONLY)],
)
def test_v2x_that_the_csms_has_turned_off_is_not_allowed_to_drivers(
    listed: list[str] | None, allowed: tuple[str, ...], *, remote: bool
) -> None:
    found = Bench("2.1", evses=(V2X,), variables={"V2XChargingCtrlr.Enabled": "false"})
    found.answers["Authorize"] = {"idTokenInfo": {"status": "Accepted"}} | (
        {"allowedEnergyTransfer": listed} if listed else {}
    )
    found.plug()
    if remote:
        token = {"idToken": "TAG-1", "type": "ISO14443"}
        assert found.ask("RequestStartTransaction", idToken=token, remoteStartId=1, evseId=1)["status"] == "Accepted"
        found.wait(1)
    else:
        found.present()
    (order,) = [each for each in found.commands if isinstance(each, AllowPower) and each.allowed]
    assert order.energy_transfer == allowed


def test_needs_that_20_1_rejects_are_planned_by_default() -> None:
    """There Rejected says that there is no schedule (K15.FR.04), not that energy is unwelcome."""
    found = Bench("2.0.1", variables={"TxCtrlr.TxStartPoint": "EVConnected"}, evses=(V2X,))
    found.plug()
    found.present()
    found.answers["NotifyEVChargingNeeds"] = {"status": "Rejected"}
    found.fact(NeedsReported(evse_id=1, needs=BOTH))
    assert offers(found) == ["default"]
    found.nothing("TransactionEvent", eventType="Ended")


# -- Q03 to Q07


def test_a_central_frequency_that_ends_leaves_it_to_the_frequency_here() -> None:
    """Q07, second scenario."""
    found = charging()
    curve = [{"frequency": 49.0, "power": -10_000.0}, {"frequency": 51.0, "power": 10_000.0}]
    local = {"operationMode": "LocalFrequency", "v2xBaseline": 0.0, "v2xFreqWattCurve": curve}
    assert own(found, local, id=7) == "Accepted"
    more = {"stackLevel": 1, "schedule": {"duration": 60}}
    assert own(found, {"operationMode": "CentralFrequency", "setpoint": 3000.0}, dynamic=True, **more) == "Accepted"
    found.fact(GridFrequency(hz=49.5))
    assert powers(found) == []
    found.wait(61)
    assert powers(found) == [-5000]
    found.ask("UpdateDynamicSchedule", chargingProfileId=1, scheduleUpdate={"setpoint": 2000.0})
    assert powers(found) == [-5000, None], "the CSMS leads again"
    assert wish(found) == 2000


def foreign(found: Bench) -> dict[str, Any]:
    """The profile of an external system, as the station reports it."""
    found.ask("GetChargingProfiles", requestId=1, chargingProfile={"chargingLimitSource": ["EMS"]})
    report = found.expect("ReportChargingProfiles", chargingLimitSource="EMS")
    (one,) = report["chargingProfile"]
    assert one["chargingProfilePurpose"] == "ChargingStationExternalConstraints"
    wanted: dict[str, Any] = one
    return wanted


def test_scheduled_limits_of_an_external_system() -> None:
    found = charging()
    assert own(found, {"operationMode": "CentralSetpoint", "setpoint": -9000.0}) == "Accepted"
    steps = (
        CommandStep(start_s=0, limit_w=7000.0, discharge_w=5000.0),
        CommandStep(start_s=300, limit_w=3000.0, discharge_w=1000.0),
    )
    found.fact(ExternalLimit(source="EMS", schedule=steps))
    reported = found.expect("NotifyChargingLimit", chargingLimit__chargingLimitSource="EMS")
    assert [p["dischargeLimit"] for p in reported["chargingSchedule"][0]["chargingSchedulePeriod"]] == [-5000, -1000]
    assert foreign(found)["chargingProfileKind"] == "Absolute"
    assert wish(found) == -5000
    found.wait(301)
    assert (wish(found), limit(found)) == (-1000, 3000)
    found.fact(ExternalLimit(source="EMS"))
    found.expect("ClearedChargingLimit", chargingLimitSource="EMS")
    assert wish(found) == -9000


# -- Q09


MODE = "LocalLoadBalancing"
AC = EvseLayout(phases=3, max_power_w=22_000, max_discharge_w=11_000)
THRESHOLDS = {
    f"V2XChargingCtrlr.LocalLoadBalancing[{name}]": value
    for name, value in (
        ("UpperThreshold", "10000"), ("LowerThreshold", "-5000"), ("UpperOffset", "1000"), ("LowerOffset", "-1000"),
    )
}  # fmt: skip


class Building:
    """A building whose vehicle follows, a moment later."""

    def __init__(self, found: Bench) -> None:
        self.found = found
        found.power_w = 0

    def draws(self, watts: float) -> float | None:
        """Everything but the vehicle draws so much; return what was wanted of the vehicle last."""
        self.found.fact(UpstreamLoad(power_w=watts + self.found.power_w))
        reported = powers(self.found)
        return reported[-1] if reported else None

    def follow(self) -> None:
        """The vehicle does what was wanted."""
        reported = powers(self.found)
        self.found.power_w = int(reported[-1] or 0) if reported else 0


def powers(found: Bench) -> list[float | None]:
    """What local control has wanted of the hardware."""
    return [each.power_w for each in found.commands if isinstance(each, SetPower)]


def test_tc_q_122_cs_thresholds_of_load_balancing() -> None:
    period = {"operationMode": "LocalLoadBalancing"}
    wanted = profile(periods=[{"startPeriod": 0} | period])
    for missing in THRESHOLDS:
        found = Bench("2.1", evses=(V2X,), variables={k: v for k, v in THRESHOLDS.items() if k != missing})
        answer = found.ask("SetChargingProfile", evseId=1, chargingProfile=wanted)
        assert (answer["status"], answer["statusInfo"]["reasonCode"]) == ("Rejected", "MissingDevModelInfo")
    name = "V2XChargingCtrlr.LocalLoadBalancing[LowerThreshold]"
    found = Bench("2.1", evses=(V2X,), variables=THRESHOLDS | {name: "10000"})
    assert found.ask("SetChargingProfile", evseId=1, chargingProfile=wanted)["status"] == "Rejected"
    assert found.set("V2XChargingCtrlr", "LocalLoadBalancing", "-5000", instance="LowerThreshold") == "Accepted"
    assert found.ask("SetChargingProfile", evseId=1, chargingProfile=wanted)["status"] == "Accepted"


def test_the_load_of_a_building_stays_between_its_thresholds() -> None:
    """Q09.FR.04, and FR.05 for the profile's own limits."""
    found = charging(variables=THRESHOLDS)
    period = {"operationMode": "LocalLoadBalancing", "limit": 6000.0, "dischargeLimit": -8000.0}
    assert own(found, period) == "Accepted"
    building = Building(found)
    assert building.draws(5000) == 0, "between them nothing is to be done"
    assert building.draws(15_000) == -4000, "UpperThreshold and UpperOffset: 11 kW are left"
    assert building.draws(15_000) == -4000, "what was asked for and has not come is not asked for twice"
    building.follow()
    assert building.draws(15_000) == -4000, "with it the load is where it should be"
    assert building.draws(40_000) == -8000, "no more than the profile allows"
    building.follow()
    assert building.draws(-20_000) == 6000
    found.drop()
    building.follow()
    assert building.draws(15_000) == -4000, "nobody else is needed"
    building.follow()
    found.fact(UpstreamLoad(power_w=None))
    assert powers(found)[-1] == 0, "no power goes out for a load that is unknown"
    building.follow()
    assert building.draws(15_000) == -4000
    found.power_w = None
    found.fact(UpstreamLoad(power_w=-20_000))
    assert powers(found)[-1] == 0, "more than nothing waits until it is known what flows"
    found.fact(UpstreamLoad(power_w=20_000))
    assert powers(found)[-1] == -8000, "less does not"
    building.follow()
    found.back()
    found.ask("ClearChargingProfile", chargingProfileId=1)
    assert powers(found)[-1] is None


def test_what_a_vehicle_cannot_follow_is_asked_of_the_other_ones() -> None:
    """One is full, and the other one got less than it can draw; later one feeds nothing back."""
    found = charging(
        variables=THRESHOLDS | {"V2XChargingCtrlr.LocalLoadBalancing[LowerThreshold]": "9000"}, evses=(AC, AC)
    )
    found.plug(2)
    found.present("TAG-2", 2)
    assert put(found, 0, purpose="TxDefaultProfile", periods=[{"startPeriod": 0, "operationMode": MODE}]) == "Accepted"
    found.powers_w = {1: 6000, 2: 0}

    def draws(watts: float, seconds: int) -> dict[int, float | None]:
        for _ in range(seconds // 5):
            found.fact(UpstreamLoad(power_w=watts + sum((found.powers_w or {}).values())))
            found.wait(5)
        return {each.evse_id: each.power_w for each in found.commands if isinstance(each, SetPower)}

    assert draws(-2000, 10) == {1: 8000, 2: 2000}, "8 kW are left"
    assert draws(-2000, 10) == {1: 8000, 2: 4000}, "1 needs no more, and 2 draws 4140 W or nothing"
    assert draws(-2000, 15)[2] == 4000
    assert draws(9000, 5) == {1: 2000, 2: 0}, "1 draws less before 2 feeds back"
    found.powers_w = {1: 2000, 2: 0}
    assert draws(13_000, 5) == {1: -1000, 2: -1000}
    found.powers_w = {1: -1000, 2: 0}
    assert draws(13_000, 5) == {1: -1000, 2: -1000}, "it may still come"
    assert draws(13_000, 10) == {1: -2000, 2: -1000}


def test_what_the_limits_of_a_vehicle_do_not_permit_is_asked_of_the_other_ones_at_once() -> None:
    found = charging(variables=THRESHOLDS, evses=(AC, EvseLayout(phases=3, max_power_w=22_000, max_discharge_w=1_000)))
    found.plug(2)
    found.present("TAG-2", 2)
    assert put(found, 0, purpose="TxDefaultProfile", periods=[{"startPeriod": 0, "operationMode": MODE}]) == "Accepted"

    def draws(watts: float) -> dict[int, float | None]:
        assert found.powers_w is not None
        found.fact(UpstreamLoad(power_w=watts + sum(found.powers_w.values())))
        return {each.evse_id: each.power_w for each in found.commands if isinstance(each, SetPower)}

    found.powers_w = {1: 0, 2: 0}
    assert draws(15_000) == {1: -3000, 2: -1000}
    found.powers_w = {1: -3000, 2: -1000}
    assert draws(-7000) == {1: 500, 2: 500}, "1 does not feed 2"


def test_a_load_balancing_that_ends_leaves_it_to_the_frequency_here() -> None:
    found = charging(variables=THRESHOLDS)
    curve = [{"frequency": 49.0, "power": -10_000.0}, {"frequency": 51.0, "power": 10_000.0}]
    local = {"operationMode": "LocalFrequency", "v2xBaseline": 0.0, "v2xFreqWattCurve": curve}
    assert own(found, local, id=7) == "Accepted"
    more = {"stackLevel": 1, "schedule": {"duration": 60, "startSchedule": at(found.utc_ms)}}
    assert own(found, {"operationMode": "LocalLoadBalancing"}, **more) == "Accepted"
    found.fact(GridFrequency(hz=49.5))
    assert Building(found).draws(15_000) == -4000
    found.wait(61)
    assert powers(found) == [-4000, -5000], "what the frequency asks for is not taken back"


# -- Q10


SLEEP = {"operationMode": "Idle", "evseSleep": True}


def test_idle_with_sleep() -> None:
    found = charging()
    assert found.get("SmartChargingCtrlr", "SupportsEvseSleep")["attributeValue"] == "true"
    assert own(found, SLEEP) == "Accepted"
    assert entered(found, "Idle")["evseSleep"] is True
    assert Sleep(evse_id=1, asleep=True) in found.commands
    assert (limit(found), wish(found)) == (0, 0)
    found.wait(61)
    assert found.expect("TransactionEvent", triggerReason="MeterValuePeriodic")["evseSleep"] is True
    assert own(found, {"operationMode": "ChargingOnly", "limit": 0.0}) == "Accepted"
    assert found.commands.count(Sleep(evse_id=1, asleep=False)) == 1, "any other profile wakes it, one of 0 W as well"
    assert "evseSleep" not in entered(found, "ChargingOnly")


def test_an_evse_that_cannot_sleep_is_not_said_to() -> None:
    """Q10.FR.05."""
    found = charging()
    own(found, SLEEP)
    found.fact(SleepRefused(evse_id=1))
    found.clear()
    found.wait(61)
    assert "evseSleep" not in found.expect("TransactionEvent", triggerReason="MeterValuePeriodic")


def test_the_end_of_a_transaction_wakes_the_evse() -> None:
    found = charging()
    own(found, SLEEP)
    found.present()
    found.unplug()
    assert found.commands.count(Sleep(evse_id=1, asleep=False)) == 1


def test_tc_q_126_cs_idle_with_sleep_unsupported() -> None:
    found = charging(able=frozenset({"logs", "firmware", "certificates", "display"}))
    assert own(found, SLEEP) == "Accepted"
    assert entered(found, "Idle").get("evseSleep", False) is False
    assert Sleep(evse_id=1, asleep=True) not in found.commands
    assert limit(found) == 0


# -- Q11, Q12


@pytest.mark.parametrize("for_good", [True, False])
def test_offline_for_too_long(for_good: bool) -> None:
    found = charging()
    assert own(found, {"limit": 4000.0}, id=7, stackLevel=1) == "Accepted"
    more = {"stackLevel": 2, "maxOfflineDuration": 60, "invalidAfterOfflineDuration": for_good}
    assert own(found, {"operationMode": "CentralSetpoint", "setpoint": -5000.0}, **more) == "Accepted"
    entered(found, "CentralSetpoint")
    found.drop()
    found.wait(59)
    assert wish(found) == -5000
    found.wait(2)
    assert (wish(found), limit(found)) == (None, 4000)
    found.back()
    event = entered(found, "ChargingOnly")
    assert event["offline"] is True
    if for_good:
        found.wait(10)
        assert wish(found) is None, "K01.FR.102"
        assert own(found, {"operationMode": "CentralSetpoint", "setpoint": -5000.0}, **more) == "Accepted"
    entered(found, "CentralSetpoint")
    assert wish(found) == -5000


def test_a_restart_does_not_prolong_what_may_hold_offline() -> None:
    """K01.FR.101: a station that restarts again and again would obey for ever."""
    found = Bench("2.1", evses=(V2X,))
    put(found, 0, purpose="ChargingStationMaxProfile", maxOfflineDuration=60)
    for _ in range(2):
        found.drop()
        found.wait(30)
        found.power_loss()
        found.wait(20)
        assert limit(found) == 6000
        found.wait(10)
        assert limit(found) is None
        found.back()
        found.wait(1)
        assert limit(found) == 6000


def test_a_short_time_offline_changes_nothing() -> None:
    found = charging()
    own(found, {"operationMode": "CentralSetpoint", "setpoint": -5000.0}, maxOfflineDuration=60)
    found.clear()
    found.drop()
    found.wait(30)
    found.back(patience=25)
    assert wish(found) == -5000
    found.nothing("TransactionEvent", triggerReason="OperationModeChanged")


# -- R


def test_hardware_that_pauses_is_not_asked_again() -> None:
    """An EVSE without a transaction has no operation mode and nobody to tell."""
    found = Bench("2.1", evses=(V2X,))
    put(found, 1, periods=[{"startPeriod": 0, "operationMode": "CentralSetpoint", "setpoint": 1.0}])
    found.fact(Power(evse_id=1, state="SuspendedEV"))
    assert not found.all("TransactionEvent")
