"""Certification cases of functional block J, meter values: the station."""

from typing import Any

from tests.certification.station.bench import Bench
from tests.certification.station.block_e import charging

ALIGNED = {"AlignedDataCtrlr.Interval": "900", "SampledDataCtrlr.TxUpdatedInterval": "0"}


def values(message: dict[str, Any]) -> list[dict[str, Any]]:
    """All sampled values of a message."""
    return [value for each in message["meterValue"] for value in each["sampledValue"]]


def test_tc_j_04_cs_aligned_signed() -> None:
    found = Bench(variables=ALIGNED | {"AlignedDataCtrlr.SignReadings": "true"})
    found.signs = True
    found.wait(900)
    signed = [v for v in values(found.expect("MeterValues", evseId=1)) if "signedMeterValue" in v]
    assert signed[0]["signedMeterValue"]["encodingMethod"] == "OCMF"


def test_tc_j_11_cs_sampled_signed() -> None:
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
