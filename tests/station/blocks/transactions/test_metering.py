"""Functional block J, meter values, of our station, beyond the cases of the test lab."""

from typing import Any

import pytest

from tests.station.bench import FIXED, Bench
from tests.station.blocks.transactions.managed_resumption import begin, lead, show
from tests.station.charging import charging


def values(message: dict[str, Any]) -> list[dict[str, Any]]:
    """All sampled values of a message."""
    return [value for each in message.get("meterValue", ()) for value in each["sampledValue"]]


def test_sampled_signed() -> None:
    found = Bench(variables={"SampledDataCtrlr.SignReadings": "true"})
    found.signs = True
    found.plug()
    found.present()
    event = found.expect("TransactionEvent", eventType="Started")
    (signed,) = [value for value in values(event) if "signedMeterValue" in value]
    assert signed["signedMeterValue"]["publicKey"]
    found.set("SampledDataCtrlr", "SignReadings", "false")
    found.flow()
    found.present()
    event = found.expect("TransactionEvent", eventType="Ended")
    last = [value for value in values(event) if value["context"] == "Transaction.End"]
    assert last
    assert not [value for value in last if "signedMeterValue" in value]


def signing(version: Any = "2.0.1", **variables: str) -> Bench:
    """A station that charges under a meter that signs, with all that can be signed sent once."""
    intervals = {"SampledDataCtrlr.TxUpdatedInterval": "60", "AlignedDataCtrlr.Interval": "900"}
    signs = {"AlignedDataCtrlr.SignReadings": "true", "AlignedDataCtrlr.TxEndedInterval": "900"}
    measurands = {"AlignedDataCtrlr.TxEndedMeasurands": "Energy.Active.Import.Register"}
    found = Bench(version, variables=intervals | signs | measurands | variables)
    found.signs = True
    found.plug()
    found.present()
    found.flow()
    found.wait(901)
    found.present()
    return found


def keys_of(messages: list[dict[str, Any]]) -> list[str]:
    """The public keys of all signed values."""
    found = (each.get("signedMeterValue") for message in messages for each in values(message))
    return [signed["publicKey"] for signed in found if signed is not None]


def signed_values(found: Bench) -> list[tuple[str, str, bool]]:
    """(event, context, with the meter's key) of what was signed, each once."""
    values_ = (
        (event["eventType"], each["context"], bool(each["signedMeterValue"]["publicKey"]))
        for event in found.all("TransactionEvent")
        for each in values(event) if "signedMeterValue" in each
    )  # fmt: skip
    return list(dict.fromkeys(values_))


@pytest.mark.parametrize("started", ["true", "false"])
@pytest.mark.parametrize("updated", ["true", "false"])
def test_what_is_signed_at_the_beginning_and_in_between_is_chosen_in_21(started: str, updated: str) -> None:
    """2.9.5, 2.9.6, 2.9.20 of part 2; the end has all."""
    variables = {
        "SampledDataCtrlr.SignStartedReadings": started, "SampledDataCtrlr.SignUpdatedReadings": updated,
        "AlignedDataCtrlr.SignUpdatedReadings": updated,
    }  # fmt: skip
    between = {("Updated", "Sample.Periodic", True), ("Updated", "Sample.Clock", True)}
    end = {("Ended", each, True) for each in ("Transaction.Begin", "Sample.Clock", "Transaction.End")}
    begin = {("Started", "Transaction.Begin", True)}
    expected = end | (begin if started == "true" else set()) | (between if updated == "true" else set())
    assert set(signed_values(signing("2.1", **variables))) == expected
    assert set(signed_values(signing("2.0.1", **variables))) == begin | between | end
    never = variables | {"SampledDataCtrlr.SignReadings": "false", "AlignedDataCtrlr.SignReadings": "false"}
    assert signed_values(signing("2.1", **never)) == []


@pytest.mark.parametrize(
    ("policy", "keys"),
    [("EveryMeterValue", None), ("Never", 0), ("OncePerTransaction", 1)],
)
def test_the_meter_s_key_is_sent_as_often_as_the_csms_wants(policy: str, keys: int | None) -> None:
    """PublicKeyWithSignedMeterValue: else the field is empty."""
    found = signing(**{"OCPPCommCtrlr.PublicKeyWithSignedMeterValue": policy})
    sent = keys_of(found.all("TransactionEvent"))
    assert len(sent) > 5
    assert sum(map(bool, sent)) == (len(sent) if keys is None else keys)
    assert bool(sent[0]) is (policy != "Never")
    assert {bool(each) for each in keys_of(found.all("MeterValues"))} == {keys is None}


def test_the_meter_s_key_is_sent_again_after_a_restart_no_more_than_wanted() -> None:
    variables = {
        "OCPPCommCtrlr.PublicKeyWithSignedMeterValue": "OncePerTransaction",
        "TxCtrlr.ResumptionTimeout": "600",
    }
    found = charging(version="2.1", variables=variables | {"SampledDataCtrlr.SignUpdatedReadings": "true"})
    found.signs = True
    found.wait(61)
    found.power_loss()
    found.plug()
    found.wait(61)
    sent = [bool(each) for each in keys_of(found.all("TransactionEvent"))]
    assert sent == [True, *[False] * (len(sent) - 1)]
    assert len(sent) > 2


@pytest.mark.parametrize(
    ("variables", "expected"),
    [
        ({"SampledDataCtrlr.Enabled": "false"}, {"Voltage"}),
        ({"AlignedDataCtrlr.Measurands": ""}, set()),
        ({"AlignedDataCtrlr.Enabled": "false"}, set()),
    ],
)
def test_clock_aligned_values_of_transactions_are_by_their_own_variables(
    variables: dict[str, str], expected: set[str]
) -> None:
    """J01.FR.22; without measurands, nothing is sent."""
    aligned = {"AlignedDataCtrlr.Interval": "60", "AlignedDataCtrlr.Measurands": "Voltage"}
    found = charging(variables=aligned | {"SampledDataCtrlr.TxUpdatedInterval": "0"} | variables)
    found.clear()
    found.wait(61)
    events = [each for action, each in found.unread if action == "TransactionEvent"]
    assert {value["measurand"] for event in events for value in values(event)} == expected
    assert len(events) == len(expected)


def test_clock_aligned_values_for_the_end_are_collected_beside_those_in_between() -> None:
    """AlignedDataCtrlr.Interval and TxEndedInterval fall due together."""
    aligned = {"AlignedDataCtrlr.Interval": "60", "AlignedDataCtrlr.TxEndedInterval": "60"}
    found = charging(variables=aligned | {"AlignedDataCtrlr.TxEndedMeasurands": "Voltage"})
    found.wait(301)
    found.present()
    ended = found.expect("TransactionEvent", eventType="Ended")
    assert [each["measurand"] for each in values(ended) if each["context"] == "Sample.Clock"] == ["Voltage"] * 5
    assert len([each for each in found.all("TransactionEvent") if each["triggerReason"] == "MeterValueClock"]) == 5


def test_the_fiscal_meter_can_be_read_as_a_variable() -> None:
    """FiscalMetering of part 2, appendix 3."""
    found = Bench()

    def energies() -> list[str]:
        names = ("EnergyImportRegister", "EnergyImport", "EnergyExportRegister", "EnergyExport")
        component = {"name": "FiscalMetering", "evse": {"id": 1}}
        data = [{"component": component, "variable": {"name": each}} for each in names]
        return [each["attributeValue"] for each in found.ask("GetVariables", getVariableData=data)["getVariableResult"]]

    assert energies() == ["1000.0", "0.0", "0.0", "0.0"]
    found.plug()
    found.present()
    found.flow(wh=2500)
    assert energies() == ["3500.0", "2500.0", "0.0", "0.0"]
    found.metered = False
    assert energies() == ["", "", "", ""]


def test_clock_aligned_values_can_be_turned_off_and_on() -> None:
    found = Bench(variables={"AlignedDataCtrlr.Interval": "60"})
    counts = []
    for value in ("true", "false", "true"):
        assert found.set("AlignedDataCtrlr", "Enabled", value) == "Accepted"
        found.wait(120)
        counts.append(len(found.all("MeterValues")))
    assert counts == [6, 6, 12], "two EVSEs and the main meter, twice"


def present(found: Bench) -> list[str]:
    """What the variables of an EVSE say."""
    names = ("Power", "DischargePower", "ChargingState", "ActiveTransactionId")
    component = {"name": "EVSE", "evse": {"id": 1}}
    data = [{"component": component, "variable": {"name": each}} for each in names]
    return [each["attributeValue"] for each in found.ask("GetVariables", getVariableData=data)["getVariableResult"]]


def test_an_evse_shows_its_transaction_and_the_power_that_flows() -> None:
    """EVSE.Power and the like of part 2, appendix 3: no power of a transaction that is over."""
    found = Bench("2.1")
    assert present(found) == ["0", "0", "Idle", ""]
    found.plug()
    found.present()
    found.flow()
    found.wait(61)
    number = found.all("TransactionEvent")[0]["transactionInfo"]["transactionId"]
    assert present(found) == ["11000", "0", "Charging", number]
    found.power_w = -5000
    found.wait(60)
    assert present(found) == ["0", "5000", "Charging", number]
    found.flow("SuspendedEV")
    assert present(found) == ["0", "0", "SuspendedEV", number]
    found.present()
    assert present(found) == ["0", "0", "EVConnected", ""]
    found.unplug()
    assert present(found) == ["0", "0", "Idle", ""]


def test_an_evse_of_a_charger_that_manages_transactions_shows_them() -> None:
    found = Bench("2.1", evses=(FIXED,), managed=True)
    show(found, "Occupied")
    assert present(found) == ["0", "0", "EVConnected", ""]
    begin(found, "a")
    number = found.all("TransactionEvent")[0]["transactionInfo"]["transactionId"]
    sample = found.read(1)
    lead(found, lambda s: s.progress("a", "ChargingStateChanged", charging_state="Charging", sample=sample))
    assert present(found) == ["11000", "0", "Charging", number]
    lead(found, lambda s: s.finish("a", trigger="StopAuthorized", reason="Local", sample=sample))
    assert present(found) == ["0", "0", "EVConnected", ""]
    show(found, "Available")
    assert present(found) == ["0", "0", "Idle", ""]


def test_a_new_interval_counts_at_once() -> None:
    found = charging(variables={"SampledDataCtrlr.TxUpdatedInterval": "0"})
    found.clear()
    found.wait(300)
    found.nothing("TransactionEvent")
    assert found.set("SampledDataCtrlr", "TxUpdatedInterval", "10") == "Accepted"
    found.wait(11)
    found.expect("TransactionEvent", triggerReason="MeterValuePeriodic")


@pytest.mark.requirement("R192")
def test_currents_voltages_and_powers_of_lines_are_reported_with_their_phase() -> None:
    """J02: as the lists of measurands say, and only what is measured."""
    wanted = "Current.Import,Current.Export,Voltage,Power.Active.Import"
    variables = {"SampledDataCtrlr.TxUpdatedInterval": "10", "SampledDataCtrlr.TxUpdatedMeasurands": wanted}
    found = charging(variables=variables)
    found.lines = {"line_a": (16.0, 0.0, -2.5), "line_v": (231.0, 230.0, 229.0), "line_w": (3_696.0, 0.0, -572.5)}
    found.clear()
    found.wait(11)
    event = found.expect("TransactionEvent", triggerReason="MeterValuePeriodic")
    read = {(each["measurand"], each.get("phase", "")): each["value"] for each in values(event)}
    assert [read["Current.Import", f"L{line}"] for line in (1, 2, 3)] == [16, 0, 0]
    assert [read["Current.Export", f"L{line}"] for line in (1, 2, 3)] == [0, 0, 2.5]
    assert (read["Current.Import", "N"], read["Current.Export", "N"]) == (17.385, 0), "phasors 120 degrees apart"
    assert [read["Voltage", f"L{line}-N"] for line in (1, 2, 3)] == [231, 230, 229]
    assert [read["Power.Active.Import", f"L{line}"] for line in (1, 2, 3)] == [3_696, 0, 0]
    assert (read["Current.Import", ""], read["Current.Export", ""], read["Voltage", ""]) == (16, 2.5, 230)
    assert not any(measurand == "Power.Active.Export" for measurand, _ in read)
    found.lines = {}
    found.clear()
    found.wait(10)
    event = found.expect("TransactionEvent", triggerReason="MeterValuePeriodic")
    assert not any("phase" in each for each in values(event))
