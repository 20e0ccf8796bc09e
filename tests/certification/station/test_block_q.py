"""Certification cases of functional block Q, energy both ways, and of the device model beside R: the station."""

from typing import Any

import msgspec
import pytest

from tests.certification.station.bench import Bench, EvseLayout, at
from tests.certification.station.test_block_e import charging as charging_any
from tests.certification.station.test_block_k import limit, profile, put, transaction
from tests.certification.station.test_high_level import NEEDS, PLAN, offers
from v2g.ocpp.messages.provisioning import ReportBase
from v2g_station.blocks.evse import Power
from v2g_station.blocks.smart_charging.energy_transfer import AllowEnergyTransfer
from v2g_station.blocks.smart_charging.external_limits import ExternalLimit, ExternalPeriod
from v2g_station.blocks.smart_charging.frequency import GridFrequency
from v2g_station.blocks.smart_charging.high_level import Needs, Plan, Renegotiate, RenegotiateServices, VehicleKnown
from v2g_station.blocks.smart_charging.load_balancing import UpstreamLoad
from v2g_station.blocks.smart_charging.local_control import SetPower
from v2g_station.blocks.smart_charging.smart_charging import SetLimit, Sleep, SleepRefused

V2X = EvseLayout(max_power_w=50_000, max_discharge_w=20_000)
BOTH = msgspec.structs.replace(
    NEEDS, service="DC_BPT", control_mode="dynamic", max_discharge_w=10_000, available=("DC_BPT", "DC")
)
ONE = msgspec.structs.replace(BOTH, service="DC", max_discharge_w=0)


def charging(**more: Any) -> Bench:
    """A station of 2.1 that charges, at an EVSE for both directions."""
    return charging_any(version="2.1", **({"evses": (V2X,)} | more))


def vehicle(**more: Any) -> Bench:
    """A vehicle of ISO 15118-20 is there, with its transaction."""
    found = Bench("2.1", variables={"TxCtrlr.TxStartPoint": "EVConnected,Authorized"}, evses=(V2X,), **more)
    found.fact(VehicleKnown(evse_id=1, evccid="WMIV1234567890ABCDEX", protocol="urn:iso:std:iso:15118:-20:DC"))
    found.present()
    found.plug()
    return found


def own(found: Bench, period: dict[str, Any], *, dynamic: bool = False, **more: Any) -> str:
    """Set a profile with one period for the transaction that runs."""
    wanted = profile("TxProfile", transactionId=transaction(found), periods=[{"startPeriod": 0} | period], **more)
    if dynamic:
        wanted["chargingProfileKind"] = "Dynamic"
        del wanted["chargingSchedule"][0]["startSchedule"]
    status: str = found.ask("SetChargingProfile", evseId=1, chargingProfile=wanted)["status"]
    return status


def wish(found: Bench) -> float | None:
    """The set point that the hardware was told last."""
    told = [each for each in found.commands if isinstance(each, SetLimit)]
    return told[-1].allowance.setpoint_w


def entered(found: Bench, mode: str) -> dict[str, Any]:
    """The transaction goes on in another mode."""
    return found.expect("TransactionEvent", triggerReason="OperationModeChanged", transactionInfo__operationMode=mode)


# -- Q01, Q02


def measured(event: dict[str, Any]) -> set[str]:
    """What an event has measured."""
    return {each.get("measurand", "") for value in event["meterValue"] for each in value["sampledValue"]}


def test_tc_q_100_cs_measurands_of_operation_modes() -> None:
    more = {
        f"V2XChargingCtrlr.{name}[CentralSetpoint]": "Power.Active.Setpoint,Power.Active.Residual"
        for name in ("TxStartedMeasurands", "TxUpdatedMeasurands", "TxEndedMeasurands")
    }
    found = Bench("2.1", evses=(V2X,), variables=more)
    period = {"startPeriod": 0, "operationMode": "CentralSetpoint", "setpoint": -4000.0}
    assert put(found, 1, periods=[period]) == "Accepted"
    found.plug()
    found.present()
    extra = {"Power.Active.Setpoint", "Power.Active.Residual"}
    begun = found.expect("TransactionEvent", eventType="Started")
    assert begun["transactionInfo"]["operationMode"] == "CentralSetpoint"
    assert extra <= measured(begun)
    found.flow()
    found.wait(61)
    told = found.expect("TransactionEvent", triggerReason="MeterValuePeriodic")
    values = {each["measurand"]: each["value"] for each in told["meterValue"][0]["sampledValue"]}
    assert values["Power.Active.Setpoint"] == -4000
    assert values["Power.Active.Residual"] == -4000, "11 kW of charging are none of discharging"
    assert "Energy.Active.Import.Register" in values, "besides what is always measured"
    assert put(found, 1, limit=9000.0) == "Accepted"
    found.clear()
    found.wait(61)
    assert not extra & measured(found.expect("TransactionEvent", triggerReason="MeterValuePeriodic"))
    put(found, 1, periods=[period])
    found.present()
    found.unplug()
    assert extra <= measured(found.expect("TransactionEvent", eventType="Ended"))


def test_tc_q_101_cs_needs_that_take_time() -> None:
    found = vehicle()
    started = found.expect("TransactionEvent", eventType="Started")
    extra = {"additionalIdToken": "WMIV1234567890ABCDEX", "type": "EVCCID"}
    assert extra in started["idToken"]["additionalInfo"], "Q01.FR.02"
    place = {"component": {"name": "ConnectedEV", "evse": {"id": 1}}, "variable": {"name": "VehicleID"}}
    answer = found.ask("GetVariables", getVariableData=[place])
    assert answer["getVariableResult"][0]["attributeValue"] == "WMIV1234567890ABCDEX", "Q01.FR.36"
    found.answers["NotifyEVChargingNeeds"] = {"status": "Processing"}
    found.fact(Needs(evse_id=1, needs=BOTH))
    told = found.expect("NotifyEVChargingNeeds", evseId=1)["chargingNeeds"]
    assert told["requestedEnergyTransfer"] == "DC_BPT"
    assert told["availableEnergyTransfer"] == ["DC_BPT", "DC"]
    assert told["v2xChargingParameters"]["maxDischargePower"] == 10_000
    assert offers(found) == []
    assert own(found, {"operationMode": "CentralSetpoint", "setpoint": -3000.0}) == "Accepted"
    assert offers(found) == ["profile"]
    assert wish(found) == -3000
    entered(found, "CentralSetpoint")


def test_tc_q_102_cs_charging_only_until_both_ways_are_allowed() -> None:
    found = vehicle()
    found.services = {"DC_BPT"}
    found.fact(Needs(evse_id=1, needs=ONE))
    told = found.expect("NotifyEVChargingNeeds")["chargingNeeds"]
    assert (told["requestedEnergyTransfer"], told["availableEnergyTransfer"]) == ("DC", ["DC_BPT", "DC"])
    assert own(found, {"operationMode": "ChargingOnly", "limit": 9000.0}) == "Accepted"
    assert offers(found) == ["profile"]
    found.flow()
    answer = found.ask(
        "NotifyAllowedEnergyTransfer", transactionId=transaction(found), allowedEnergyTransfer=["DC", "DC_BPT"]
    )
    assert answer["status"] == "Accepted"
    allowed = next(each for each in found.commands if isinstance(each, AllowEnergyTransfer))
    assert (allowed.transaction_id, allowed.modes) == (transaction(found), ("DC", "DC_BPT"))
    found.fact(Needs(evse_id=1, needs=BOTH))
    assert found.expect("NotifyEVChargingNeeds")["chargingNeeds"]["requestedEnergyTransfer"] == "DC_BPT"
    assert own(found, {"operationMode": "CentralSetpoint", "setpoint": -3000.0}) == "Accepted"
    entered(found, "CentralSetpoint")
    assert wish(found) == -3000


def test_tc_q_103_cs_needs_rejected() -> None:
    found = vehicle()
    found.station.kernel.put("ISO15118Ctrlr.ServiceRenegotiationSupport", "false")
    found.answers["NotifyEVChargingNeeds"] = {"status": "Rejected"}
    found.fact(Needs(evse_id=1, needs=BOTH))
    event = found.expect("TransactionEvent", eventType="Ended", triggerReason="AbnormalCondition")
    assert event["transactionInfo"]["stoppedReason"] == "ReqEnergyTransferRejected"
    assert not found.allowed()
    assert offers(found) == []


def test_tc_q_130_cs_needs_rejected_and_services_renegotiated() -> None:
    found = vehicle()
    found.answers["NotifyEVChargingNeeds"] = {"status": "Rejected"}
    found.fact(Needs(evse_id=1, needs=BOTH))
    assert RenegotiateServices(evse_id=1, refused="DC_BPT") in found.commands
    found.nothing("TransactionEvent", eventType="Ended")
    found.answers.clear()
    found.clear()
    found.fact(Needs(evse_id=1, needs=ONE))
    assert found.expect("NotifyEVChargingNeeds")["chargingNeeds"]["requestedEnergyTransfer"] == "DC"
    assert own(found, {"limit": 9000.0}) == "Accepted"
    assert offers(found) == ["profile"]


def test_needs_that_20_1_rejects_are_planned_by_default() -> None:
    """There Rejected says that there is no schedule (K15.FR.04), not that energy is unwelcome."""
    found = Bench("2.0.1", variables={"TxCtrlr.TxStartPoint": "EVConnected"}, evses=(V2X,))
    found.plug()
    found.present()
    found.answers["NotifyEVChargingNeeds"] = {"status": "Rejected"}
    found.fact(Needs(evse_id=1, needs=BOTH))
    assert offers(found) == ["default"]
    found.nothing("TransactionEvent", eventType="Ended")


def test_tc_q_104_cs_scheduled_control() -> None:
    found = vehicle()
    scheduled = msgspec.structs.replace(BOTH, control_mode="scheduled")
    found.fact(Needs(evse_id=1, needs=scheduled))
    assert found.expect("NotifyEVChargingNeeds")["chargingNeeds"]["controlMode"] == "ScheduledControl"
    periods = [
        {"startPeriod": 0, "operationMode": "CentralSetpoint", "setpoint": 5000.0},
        {"startPeriod": 600, "operationMode": "CentralSetpoint", "setpoint": -5000.0},
    ]
    wanted = profile("TxProfile", transactionId=transaction(found), periods=periods,
                     schedule={"startSchedule": at(found.utc_ms)})  # fmt: skip
    assert found.ask("SetChargingProfile", evseId=1, chargingProfile=wanted)["status"] == "Accepted"
    assert offers(found) == ["profile"]
    entered(found, "CentralSetpoint")
    found.fact(Plan(evse_id=1, schedule=PLAN, selected_id=1))
    found.expect("NotifyEVChargingSchedule", selectedChargingScheduleId=1)
    assert wish(found) == 5000
    (told,) = [each for each in found.commands if isinstance(each, SetLimit)][-1].allowance.later
    assert told.setpoint_w == -5000, "the vehicle's schedule can know it now"
    found.wait(601)
    assert wish(found) == -5000
    found.nothing("TransactionEvent", triggerReason="OperationModeChanged")
    own(found, {"operationMode": "CentralSetpoint", "setpoint": 1000.0})
    assert Renegotiate(evse_id=1) in found.commands


def test_tc_q_107_cs_charging_only_before_both_ways() -> None:
    found = vehicle()
    found.answers["NotifyEVChargingNeeds"] = {"status": "Accepted"}
    found.fact(Needs(evse_id=1, needs=ONE))
    found.expect("NotifyEVChargingNeeds")
    for bad in ({"dischargeLimit": -1.0}, {"setpoint": 1.0}):
        assert own(found, {"operationMode": "ChargingOnly", "limit": 9000.0} | bad) == "Rejected", "Q02.FR.02"
    assert own(found, {"limit": 9000.0}) == "Accepted"
    allowance = [each for each in found.commands if isinstance(each, SetLimit)][-1].allowance
    assert (allowance.charge_w, allowance.discharge_w, allowance.operation_mode) == (9000, 0, "ChargingOnly")
    found.nothing("TransactionEvent", triggerReason="OperationModeChanged")


# -- Q03 to Q07


def pushed(mode: str) -> None:
    """The CSMS changes a set point."""
    found = charging()
    assert own(found, {"operationMode": mode, "setpoint": 3000.0}, dynamic=True) == "Accepted"
    entered(found, mode)
    assert wish(found) == 3000
    for watts in (-2000.0, 0.0, 5000.0):
        answer = found.ask("UpdateDynamicSchedule", chargingProfileId=1, scheduleUpdate={"setpoint": watts})
        assert answer["status"] == "Accepted"
        assert wish(found) == watts
    found.nothing("TransactionEvent", triggerReason="OperationModeChanged")


def test_tc_q_109_cs_central_set_point_pushed() -> None:
    pushed("CentralSetpoint")


def test_tc_q_117_cs_central_frequency_pushed() -> None:
    pushed("CentralFrequency")


def test_tc_q_110_cs_central_set_point_pulled() -> None:
    found = charging()
    found.answers["PullDynamicScheduleUpdate"] = {"status": "Accepted", "scheduleUpdate": {"setpoint": -2500.0}}
    period = {"operationMode": "CentralSetpoint", "setpoint": 3000.0}
    assert own(found, period, dynamic=True, dynUpdateInterval=60) == "Accepted"
    assert wish(found) == 3000
    found.wait(61)
    found.expect("PullDynamicScheduleUpdate", chargingProfileId=1)
    assert wish(found) == -2500


def ends(found: Bench, mode: str, *, put_on: Any, back: dict[str, Any]) -> None:
    """A dynamic profile that nobody keeps up ends, and holds again with the next value (K28.FR.13, .14)."""
    assert own(found, {"operationMode": "ChargingOnly", "limit": 4000.0}, id=7) == "Accepted"
    more = {"stackLevel": 1, "schedule": {"duration": 60}}
    assert own(found, {"operationMode": mode} | back, dynamic=True, **more) == "Accepted"
    put_on()
    held = wish(found)
    assert held is not None
    found.clear()
    found.wait(59)
    assert wish(found) == held
    found.wait(2)
    assert (wish(found), limit(found)) == (None, 4000)
    entered(found, "ChargingOnly")
    put_on()
    assert wish(found) == held
    entered(found, mode)


def test_tc_q_118_cs_central_frequency_ends() -> None:
    found = charging()

    def push() -> None:
        found.ask("UpdateDynamicSchedule", chargingProfileId=1, scheduleUpdate={"setpoint": -3000.0})

    ends(found, "CentralFrequency", put_on=push, back={"setpoint": 1.0})


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


def test_tc_q_111_cs_external_set_point_by_leave_of_the_csms() -> None:
    found = charging(variables={"SmartChargingCtrlr.ExternalConstraintsProfileDisallowed": "true"})
    period = {"operationMode": "ExternalSetpoint", "limit": 8000.0, "dischargeLimit": -5000.0}
    assert own(found, period, dynamic=True) == "Accepted"
    entered(found, "ExternalSetpoint")
    for asked, done in ((3000.0, 3000), (-4000.0, -4000), (-9000.0, -5000), (20_000.0, 8000)):
        found.fact(ExternalLimit(source="EMS", setpoint_w=asked))
        assert wish(found) == done, "V2X.03, V2X.04"
    told = found.expect("NotifyChargingLimit")
    assert told["chargingSchedule"][0]["chargingSchedulePeriod"][0]["setpoint"] == 3000


def test_tc_q_112_cs_external_limit_by_leave_of_the_csms() -> None:
    found = charging(variables={"SmartChargingCtrlr.ExternalConstraintsProfileDisallowed": "true"})
    assert own(found, {"operationMode": "ExternalLimits"}, dynamic=True) == "Accepted"
    found.fact(ExternalLimit(source="EMS", limit_w=7000.0, discharge_w=2000.0))
    allowance = [each for each in found.commands if isinstance(each, SetLimit)][-1].allowance
    assert (allowance.charge_w, allowance.discharge_w) == (7000, 2000)
    entered(found, "ExternalLimits")
    assert not [i for i in found.station.smart_charging.installed if i.source != "CSO"]


def test_tc_q_113_cs_external_set_point_ends() -> None:
    found = charging(variables={"SmartChargingCtrlr.ExternalConstraintsProfileDisallowed": "true"})
    ends(found, "ExternalSetpoint", put_on=lambda: found.fact(ExternalLimit(source="EMS", setpoint_w=-3000.0)), back={})


def foreign(found: Bench) -> dict[str, Any]:
    """The profile of an external system, as the station reports it."""
    found.ask("GetChargingProfiles", requestId=1, chargingProfile={"chargingLimitSource": ["EMS"]})
    report = found.expect("ReportChargingProfiles", chargingLimitSource="EMS")
    (one,) = report["chargingProfile"]
    assert one["chargingProfilePurpose"] == "ChargingStationExternalConstraints"
    wanted: dict[str, Any] = one
    return wanted


def test_tc_q_114_cs_dynamic_limits_of_an_external_system() -> None:
    found = charging()
    assert own(found, {"operationMode": "CentralSetpoint", "setpoint": -9000.0}) == "Accepted"
    for charge, discharge in ((7000.0, 5000.0), (6000.0, 3000.0)):
        found.clear()
        found.wait(1)
        found.fact(ExternalLimit(source="EMS", limit_w=charge, discharge_w=discharge))
        told = found.expect("NotifyChargingLimit", chargingLimit__chargingLimitSource="EMS")
        (period,) = told["chargingSchedule"][0]["chargingSchedulePeriod"]
        assert (period["limit"], period["dischargeLimit"]) == (charge, -discharge)
        assert period["operationMode"] == "ExternalLimits"
        assert wish(found) == -discharge
        one = foreign(found)
        assert (one["chargingProfileKind"], one["dynUpdateTime"]) == ("Dynamic", at(found.utc_ms))
    found.clear()
    found.fact(ExternalLimit(source="EMS", limit_w=6010.0, discharge_w=3000.0))
    found.nothing("NotifyChargingLimit")


@pytest.mark.parametrize("first", ["ExternalSystem", "CSMS"])
def test_tc_q_115_cs_dynamic_set_point_of_an_external_system(first: str) -> None:
    found = charging(variables={"SmartChargingCtrlr.SetpointPriority": first})
    own(found, {"operationMode": "ExternalLimits", "limit": 9000.0, "dischargeLimit": -9000.0})
    found.clear()
    if first == "ExternalSystem":
        found.ask("ClearChargingProfile", chargingProfileId=1)
        own(found, {"operationMode": "CentralSetpoint", "setpoint": 2000.0})
        found.fact(ExternalLimit(source="EMS", setpoint_w=-3000.0))
        assert foreign(found)["chargingSchedule"][0]["chargingSchedulePeriod"][0]["operationMode"] == "ExternalSetpoint"
        assert wish(found) == -3000, "Q06.FR.21"
        found.fact(ExternalLimit(source="EMS", setpoint_w=-4000.0))
        assert wish(found) == -4000
        found.fact(ExternalLimit(source="EMS"))
    else:
        own(found, {"operationMode": "CentralSetpoint", "setpoint": 2000.0})
        found.fact(ExternalLimit(source="EMS", setpoint_w=-3000.0))
    assert wish(found) == 2000, "Q06.FR.22"


def test_tc_q_116_cs_scheduled_limits_of_an_external_system() -> None:
    found = charging()
    assert own(found, {"operationMode": "CentralSetpoint", "setpoint": -9000.0}) == "Accepted"
    steps = (
        ExternalPeriod(limit_w=7000.0, discharge_w=5000.0),
        ExternalPeriod(start_s=300, limit_w=3000.0, discharge_w=1000.0),
    )
    found.fact(ExternalLimit(source="EMS", schedule=steps))
    told = found.expect("NotifyChargingLimit", chargingLimit__chargingLimitSource="EMS")
    assert [p["dischargeLimit"] for p in told["chargingSchedule"][0]["chargingSchedulePeriod"]] == [-5000, -1000]
    assert foreign(found)["chargingProfileKind"] == "Absolute"
    assert wish(found) == -5000
    found.wait(301)
    assert (wish(found), limit(found)) == (-1000, 3000)
    found.fact(ExternalLimit(source="EMS"))
    found.expect("ClearedChargingLimit", chargingLimitSource="EMS")
    assert wish(found) == -9000


# -- Q09


THRESHOLDS = {
    f"V2XChargingCtrlr.LocalLoadBalancing[{name}]": value
    for name, value in (
        ("UpperThreshold", "10000"), ("LowerThreshold", "-5000"), ("UpperOffset", "1000"), ("LowerOffset", "-1000"),
    )
}  # fmt: skip


class Building:
    """A building whose vehicle does as it is told, a moment later."""

    def __init__(self, found: Bench) -> None:
        self.found = found
        found.power_w = 0

    def draws(self, watts: float) -> float | None:
        """Everything but the vehicle draws so much; return what was wanted of the vehicle last."""
        self.found.fact(UpstreamLoad(power_w=watts + self.found.power_w))
        told = powers(self.found)
        return told[-1] if told else None

    def follow(self) -> None:
        """The vehicle does what was wanted."""
        told = powers(self.found)
        self.found.power_w = int(told[-1] or 0) if told else 0


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


def test_tc_q_123_cs_load_balancing_is_not_supported() -> None:
    found = charging(able=frozenset({"logs", "firmware", "certificates", "display"}))
    modes = found.get("V2XChargingCtrlr", "SupportedOperationModes")["attributeValue"]
    assert "LocalLoadBalancing" not in modes.split(",")
    wanted = profile(periods=[{"startPeriod": 0, "operationMode": "LocalLoadBalancing"}])
    answer = found.ask("SetChargingProfile", evseId=1, chargingProfile=wanted)
    assert (answer["status"], answer["statusInfo"]["reasonCode"]) == ("Rejected", "UnsupportedParam")


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
    found.back()
    found.ask("ClearChargingProfile", chargingProfileId=1)
    assert powers(found)[-1] is None


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


def test_tc_q_125_cs_idle_with_sleep() -> None:
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
def test_tc_q_128_cs_offline_for_too_long(for_good: bool) -> None:
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


def test_tc_r_101_cs_device_model() -> None:
    found = Bench("2.1", evses=(V2X,), der_controls=("FreqDroop", "VoltVar"))
    base: ReportBase = "FullInventory"
    assert found.ask("GetBaseReport", requestId=1, reportBase=base)["status"] == "Accepted"
    reported = {
        (each["component"]["name"], each["variable"]["name"]): each
        for report in found.all("NotifyReport")
        for each in report["reportData"]
    }
    for name in ("Enabled", "MaxW", "MaxVA", "MaxVar", "ModesSupported", "InverterManufacturer", "InverterModel"):
        assert ("DCDERCtrlr", name) in reported
    modes = reported["DCDERCtrlr", "ModesSupported"]["variableAttribute"][0]["value"]
    assert modes == "FreqDroop,VoltVar"
    assert reported["DCDERCtrlr", "MaxW"]["variableAttribute"][0]["value"] == "20000"
    assert not [name for name, _ in reported if name == "ACDERCtrlr"]
    assert ("V2XChargingCtrlr", "SupportedEnergyTransferModes") in reported


def test_hardware_that_pauses_is_not_asked_again() -> None:
    """An EVSE without a transaction has no operation mode and nobody to tell."""
    found = Bench("2.1", evses=(V2X,))
    put(found, 1, periods=[{"startPeriod": 0, "operationMode": "CentralSetpoint", "setpoint": 1.0}])
    found.fact(Power(evse_id=1, state="SuspendedEV"))
    assert not found.all("TransactionEvent")
