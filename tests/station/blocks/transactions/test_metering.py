"""Functional block J, meter values, of our station, beyond the cases of the test lab."""

from typing import Any

import pytest

from tests.station.bench import Bench
from tests.station.charging import charging


def values(message: dict[str, Any]) -> list[dict[str, Any]]:
    """All sampled values of a message."""
    return [value for each in message["meterValue"] for value in each["sampledValue"]]


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
