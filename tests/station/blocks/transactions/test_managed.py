"""What a charger reports of the transactions that it leads, and when nobody new may begin."""

from typing import Any

import pytest
from msgspec.structs import replace

from tests.station.authorizations import says
from tests.station.bench import FIXED, Bench
from tests.station.blocks.transactions.managed_resumption import begin, lead, show
from tests.station.reports import reports
from tests.station.vehicles import V2X, measured
from v2g.ocpp.messages.availability import ConnectorStatus
from v2g.ocpp.routes import Version
from v2g_station.blocks.authorization.contracts import CHARGING_ONLY
from v2g_station.blocks.availability import Serve
from v2g_station.blocks.evse import StopButton
from v2g_station.blocks.smart_charging.high_level import VehicleKnown
from v2g_station.blocks.smart_charging.local_control import GridFrequency
from v2g_station.blocks.transaction_records import SignedRegister
from v2g_station.blocks.transactions.managed import RemoteStartExpired, RemoteStartRequested, RemoteStopRequested
from v2g_station.kernel.layout import ConnectorLayout

DIRECTIONS = {"Energy.Active.Import.Register", "Energy.Active.Export.Register"}


def reported(found: Bench, kind: str) -> Any:
    """The next event of a kind."""
    return found.expect("TransactionEvent", eventType=kind)


@pytest.mark.parametrize(
    ("name", "has", "lacks"),
    [
        ("TxStartPoint", "PowerPathClosed", ("Authorized", "EnergyTransfer", "PowerPathClosed,EVConnected")),
        ("TxStopPoint", "Authorized,EVConnected", ("Authorized", "EnergyTransfer", "EVConnected,PowerPathClosed")),
        ("StopTxOnEVSideDisconnect", "true", ("false",)),
    ],
)
def test_when_a_transaction_begins_and_ends_is_not_the_csmss_choice(
    name: str, has: str, lacks: tuple[str, ...]
) -> None:
    """E01, E06: what the charger would not follow is rejected, and not what an earlier version has stored."""
    found = Bench("2.1", evses=(FIXED,), managed=True, variables={f"TxCtrlr.{name}": lacks[0]})
    assert set(found.get("TxCtrlr", name)["attributeValue"].split(",")) == set(has.split(","))
    assert found.set("TxCtrlr", name, has) == "Accepted"
    for each in lacks:
        assert found.set("TxCtrlr", name, each) == "Rejected"
    asked = {"component": {"name": "TxCtrlr"}, "variable": {"name": name}}
    found.ask("GetReport", requestId=1, componentVariable=[asked])
    (report,) = reports(found)
    listed = report["variableCharacteristics"].get("valuesList", has)
    assert set(listed.split(",")) == set(has.split(","))
    assert Bench("2.1", evses=(FIXED,)).set("TxCtrlr", name, lacks[0]) == "Accepted"


def test_the_operation_mode_adds_its_measurands_from_the_first_event_to_the_last() -> None:
    """Q01.FR.33 to .35."""
    more = {f"V2XChargingCtrlr.Tx{each}Measurands[ChargingOnly]": "Frequency,Power.Active.Setpoint"
            for each in ("Started", "Ended")}  # fmt: skip
    found = Bench("2.1", evses=(V2X,), managed=True, variables=more)
    period = {"startPeriod": 0, "limit": 9000.0, "operationMode": "ChargingOnly"}
    profile = {
        "id": 1, "stackLevel": 0, "chargingProfilePurpose": "TxDefaultProfile", "chargingProfileKind": "Absolute",
        "chargingSchedule": [{"id": 1, "startSchedule": "2026-01-01T00:00:00Z", "chargingRateUnit": "W",
                              "chargingSchedulePeriod": [period]}],
    }  # fmt: skip
    assert found.ask("SetChargingProfile", evseId=1, chargingProfile=profile)["status"] == "Accepted"
    found.fact(GridFrequency(hz=49.98))
    begin(found, "a")
    started = reported(found, "Started")
    assert started["transactionInfo"]["operationMode"] == "ChargingOnly"
    assert measured(started) >= DIRECTIONS | {"Frequency"}
    lead(found, lambda s: s.progress("a", "ChargingStateChanged", charging_state="SuspendedEV", sample=found.read(1)))
    assert "Frequency" not in measured(reported(found, "Updated"))
    lead(found, lambda s: s.finish("a", trigger="StopAuthorized", reason="Local", sample=found.read(1)))
    assert measured(reported(found, "Ended")) >= DIRECTIONS | {"Frequency"}


def test_an_authorization_that_a_vehicle_has_not_used_is_not_the_next_ones() -> None:
    """E09.FR.01. One that is given before a vehicle comes waits for it."""
    found = Bench("2.0.1", evses=(FIXED,), managed=True)
    starts: dict[str, Any] = {"evseId": 1, "idToken": {"idToken": "TAG", "type": "ISO14443"}}

    def expired(status: ConnectorStatus) -> list[RemoteStartExpired]:
        found.commands.clear()
        show(found, status)
        return [each for each in found.commands if isinstance(each, RemoteStartExpired)]

    show(found, "Available")
    assert found.ask("RequestStartTransaction", remoteStartId=1, **starts)["status"] == "Accepted"
    assert expired("Available") == expired("Occupied") == []
    assert expired("Available") == [RemoteStartExpired(evse_id=1)]
    show(found, "Occupied")
    assert found.ask("RequestStartTransaction", remoteStartId=2, **starts)["status"] == "Accepted"


@pytest.mark.parametrize(
    ("shown", "state"), [("Available", "Idle"), ("Occupied", "EVConnected"), (None, "EVConnected")]
)
def test_a_transaction_whose_vehicle_has_left_ends_idle(shown: ConnectorStatus | None, state: str) -> None:
    """As the test cases of part 6 have it (TC_E_17_CS)."""
    found = Bench("2.0.1", evses=(FIXED,), managed=True)
    begin(found, "a")
    if shown is not None:
        show(found, shown)
    lead(found, lambda s: s.finish("a", trigger="EVCommunicationLost", reason="EVDisconnected", sample=found.read(1)))
    assert reported(found, "Ended")["transactionInfo"]["chargingState"] == state


@pytest.mark.requirement("R53")
@pytest.mark.parametrize("version", ["2.0.1", "2.1"])
def test_state_of_charge_power_and_frequency_are_reported_with_their_units(version: Version) -> None:
    wanted = "SoC,Power.Active.Import,Power.Active.Export,Frequency"
    found = Bench(version, evses=(V2X,), managed=True, variables={"SampledDataCtrlr.TxUpdatedMeasurands": wanted})
    begin(found, "a")
    found.fact(GridFrequency(hz=49.987))
    sample = found.read(1)
    assert sample is not None
    sample = replace(sample, power_w=-9_000, soc=56)
    lead(found, lambda s: s.progress("a", "ChargingStateChanged", charging_state="Charging", sample=sample))
    values = [each for value in reported(found, "Updated")["meterValue"] for each in value["sampledValue"]]
    assert {each["measurand"]: (each["value"], each["unitOfMeasure"]["unit"]) for each in values} == {
        "SoC": (56, "Percent"),
        "Power.Active.Import": (0, "W"),
        "Power.Active.Export": (9_000, "W"),
        "Frequency": (49.987, "Hz"),
    }


@pytest.mark.parametrize(
    ("chosen", "expected"), [("Energy.Active.Import.Register", {"Energy.Active.Import.Register"}), ("", None)]
)
def test_the_csms_chooses_what_is_measured(chosen: str, expected: set[str] | None) -> None:
    """J02.FR.11: no measurands, no values."""
    found = Bench("2.1", evses=(FIXED,), managed=True, variables={"SampledDataCtrlr.TxStartedMeasurands": chosen})
    begin(found, "a")
    event = reported(found, "Started")
    assert (measured(event) if "meterValue" in event else None) == expected


def test_the_name_that_vehicles_know_an_evse_by_is_the_charger_s() -> None:
    named = replace(FIXED, evse_id="DE*V2G*E1")
    found = Bench("2.1", evses=(named, FIXED), managed=True)
    for number, known in ((1, "DE*V2G*E1"), (2, "ZZ00000")):
        component = {"name": "EVSE", "evse": {"id": number}}
        name = {"component": component, "variable": {"name": "ISO15118EvseId"}}
        (read,) = found.ask("GetVariables", getVariableData=[name])["getVariableResult"]
        assert read["attributeValue"] == known
    component = {"name": "EVSE", "evse": {"id": 1}}
    for text, status in (("DE*V2G*E9", "Rejected"), ("DE*V2G*E1", "Accepted")):
        wanted = {"component": component, "variable": {"name": "ISO15118EvseId"}, "attributeValue": text}
        (result,) = found.ask("SetVariables", setVariableData=[wanted])["setVariableResult"]
        assert result["attributeStatus"] == status


@pytest.mark.parametrize("signs", [True, False])
def test_signatures_are_sent_unless_the_csms_wants_none(signs: bool) -> None:
    variables = {"SampledDataCtrlr.SignReadings": str(signs).lower()}
    found = Bench("2.1", evses=(FIXED,), managed=True, variables=variables)
    begin(found, "a")
    sample = found.read(1)
    assert sample is not None
    signed = (SignedRegister(register="import", data="OCMF|{}|{}"),)
    last = type(sample)(utc_ms=sample.utc_ms, import_mwh=1, export_mwh=0, signed=signed)
    lead(found, lambda s: s.finish("a", trigger="StopAuthorized", reason="Local", sample=last))
    values = [each for value in reported(found, "Ended")["meterValue"] for each in value["sampledValue"]]
    assert any("signedMeterValue" in each for each in values) is signs


def test_what_closes_the_charger_for_one_reason_stays_closed_when_another_ends() -> None:
    """A restart that is awaited is not undone by an update that ends meanwhile (B12.FR.01, L01.FR.07)."""
    found = Bench("2.1", evses=(FIXED,), managed=True)
    begin(found, "a")
    found.station.availability.close("firmware", closed=True)
    assert found.ask("Reset", type="OnIdle")["status"] == "Scheduled"
    found.station.availability.close("firmware", closed=False)
    found.run(found.station.tick(found.moment))
    orders = [each.operative for each in found.commands if isinstance(each, Serve)]
    assert orders == [False]


@pytest.mark.parametrize(("version", "modes"), [("2.1", CHARGING_ONLY), ("2.0.1", ())])
def test_without_a_list_a_card_may_charge_only(version: Version, modes: tuple[str, ...]) -> None:
    """Q01.FR.09, Q02.FR.04; 2.0.1 has no list."""
    found = Bench(version, evses=(V2X,), managed=True)
    found.plug()
    found.present()
    (start,) = [each for each in found.commands if isinstance(each, RemoteStartRequested)]
    assert start.energy_transfer == modes


@pytest.mark.parametrize("plugged", [True, False], ids=["plugged in", "card first"])
def test_the_energy_that_the_csms_allows_a_card_reaches_the_charger(plugged: bool) -> None:
    """Q01.FR.01: the list is of every identifier, not only of contracts."""
    found = Bench("2.1", evses=(V2X, V2X), managed=True)
    found.answers["Authorize"] = {"idTokenInfo": {"status": "Accepted"}, "allowedEnergyTransfer": ["DC"]}
    show(found, "Available")
    if plugged:
        show(found, "Occupied")
    found.present(evse_id=None)
    if not plugged:
        show(found, "Occupied")
    (start,) = [each for each in found.commands if isinstance(each, RemoteStartRequested)]
    assert (start.evse_id, start.energy_transfer) == (1, ("DC",))


@pytest.mark.parametrize("plugged", [True, False], ids=["plugged in", "card first"])
@pytest.mark.parametrize("fixed", [True, False], ids=["cable", "socket"])
def test_a_card_at_a_common_reader_is_for_the_vehicle_that_waits(fixed: bool, plugged: bool) -> None:
    """Not for one that charges by its contract, nor where one has been."""
    layout = replace(V2X, connectors=(ConnectorLayout(fixed_cable=fixed),))
    found = Bench("2.1", evses=(layout, layout, layout), managed=True)
    for evse_id in (1, 2, 3):
        show(found, "Occupied", evse_id)
    show(found, "Available", 2)
    begin(found, "contract")
    show(found, "Faulted")
    if not plugged:
        show(found, "Available", 3)
    found.present(evse_id=None)
    show(found, "Occupied")
    show(found, "Occupied", 3)
    assert [each.evse_id for each in found.commands if isinstance(each, RemoteStartRequested)] == [3]


@pytest.mark.parametrize("place", [None, 1])
@pytest.mark.parametrize(("card", "stopped"), [("MASTER", ["master_pass"]), ("OTHER", [])])
def test_a_card_stops_what_a_contract_pays_if_it_is_the_master_pass(
    place: int | None, card: str, stopped: list[str]
) -> None:
    """C16.FR.02; at the reader of its EVSE another driver's neither ends it, presented twice, nor begins there."""
    found = Bench("2.1", evses=(FIXED,), managed=True, variables={"AuthCtrlr.MasterPassGroupId": "M"})
    group = {"groupIdToken": {"idToken": "M", "type": "Central"}}
    found.answers["Authorize"] = lambda p: says(**(group if p["idToken"]["idToken"] == "MASTER" else {}))
    begin(found, "a")
    for _ in range(2 - len(stopped)):
        found.present(card, place)
    wishes = [each for each in found.commands if isinstance(each, RemoteStopRequested | RemoteStartRequested)]
    assert wishes == [RemoteStopRequested(reference="a", cause=each) for each in stopped]  # type: ignore[arg-type]


def test_a_card_stops_its_transaction_after_a_restart() -> None:
    """E07.FR.01, E17."""
    found = Bench("2.1", evses=(FIXED,), managed=True, variables={"TxCtrlr.ResumptionTimeout": "300"})
    found.present()
    begin(found, "a", "")
    found.power_loss(away_s=30, same_boot=True)
    (record,) = found.station.sessions.records.values()  # type: ignore[attr-defined]
    found.run(found.station.resume(record, found.read(1), found.moment))
    found.present("OTHER")
    found.nothing("TransactionEvent", eventType="Ended")
    found.present()
    assert reported(found, "Ended")["triggerReason"] == "StopAuthorized"


def test_the_end_of_a_session_forgets_no_vehicle_of_the_next() -> None:
    found = Bench("2.1", evses=(FIXED,), managed=True)
    begin(found, "a")
    found.fact(VehicleKnown(evse_id=1, evccid="NEXT"))
    begin(found, "b")
    for reference, known in (("a", "NEXT"), ("b", "")):
        lead(found, lambda s, name=reference: s.finish(name, trigger="StopAuthorized", reason="Local"))  # type: ignore[misc]
        assert found.station.evses[1].evccid == known


def test_the_button_stops_what_a_contract_pays() -> None:
    """E07.FR.04."""
    found = Bench("2.1", evses=(FIXED,), managed=True)
    begin(found, "a")
    found.fact(StopButton(evse_id=1))
    assert RemoteStopRequested(reference="a", cause="local") in found.commands


def test_a_remote_start_without_an_evse_is_for_the_vehicle_that_waits() -> None:
    """F01.FR.24."""
    found = Bench("2.1", evses=(V2X, V2X), managed=True)
    show(found, "Available")
    show(found, "Occupied", 2)
    found.ask("RequestStartTransaction", remoteStartId=1, idToken={"idToken": "TAG-1", "type": "ISO14443"})
    assert [each.evse_id for each in found.commands if isinstance(each, RemoteStartRequested)] == [2]
