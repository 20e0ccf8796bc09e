"""Functional block J, meter values, of our station, beyond the cases of the test lab."""

from typing import Any

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
