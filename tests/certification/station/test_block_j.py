"""Certification cases of functional block J, meter values: the station."""

from typing import Any

from tests.certification.station.bench import Bench
from tests.certification.station.test_block_e import charging

ALIGNED = {"AlignedDataCtrlr.Interval": "900", "SampledDataCtrlr.TxUpdatedInterval": "0"}


def values(message: dict[str, Any]) -> list[dict[str, Any]]:
    """All sampled values of a message."""
    return [value for each in message["meterValue"] for value in each["sampledValue"]]


def test_tc_j_01_cs_aligned_without_transaction() -> None:
    found = Bench(variables=ALIGNED)
    found.clear()
    found.wait(900)
    message = found.expect("MeterValues", evseId=1)
    assert {value["context"] for value in values(message)} == {"Sample.Clock"}
    minutes = message["meterValue"][0]["timestamp"][14:19]
    assert minutes in ("00:00", "15:00", "30:00", "45:00"), "by the clock"
    found.expect("MeterValues", evseId=2)


def test_tc_j_02_cs_aligned_with_transaction() -> None:
    found = charging(variables=ALIGNED)
    found.clear()
    found.wait(900)
    event = found.expect("TransactionEvent", triggerReason="MeterValueClock")
    assert {value["context"] for value in values(event)} == {"Sample.Clock"}
    found.nothing("MeterValues", evseId=1)


def test_tc_j_03_cs_aligned_in_the_ended_event() -> None:
    variables = {
        "AlignedDataCtrlr.TxEndedInterval": "60",
        "AlignedDataCtrlr.TxEndedMeasurands": "Energy.Active.Import.Register",
        "SampledDataCtrlr.TxUpdatedInterval": "0",
    }
    found = charging(variables=variables)
    found.wait(180)
    found.present()
    event = found.expect("TransactionEvent", eventType="Ended")
    contexts = [value["context"] for value in values(event)]
    assert contexts.count("Sample.Clock") == 3


def test_tc_j_04_cs_aligned_signed() -> None:
    found = Bench(variables=ALIGNED | {"AlignedDataCtrlr.SignReadings": "true"})
    found.signs = True
    found.wait(900)
    signed = [v for v in values(found.expect("MeterValues", evseId=1)) if "signedMeterValue" in v]
    assert signed[0]["signedMeterValue"]["encodingMethod"] == "OCMF"


def test_tc_j_06_cs_aligned_only_while_idle() -> None:
    found = charging(variables=ALIGNED | {"AlignedDataCtrlr.SendDuringIdle": "true"})
    found.clear()
    found.wait(900)
    found.nothing("MeterValues")
    found.nothing("TransactionEvent")
    found.present()
    found.wait(900)
    found.expect("MeterValues")


def test_tc_j_07_cs_sampled_started() -> None:
    found = Bench(variables={"SampledDataCtrlr.TxStartedMeasurands": "Energy.Active.Import.Register,Voltage"})
    found.plug()
    found.present()
    event = found.expect("TransactionEvent", eventType="Started")
    assert {value["measurand"] for value in values(event)} == {"Energy.Active.Import.Register", "Voltage"}
    assert {value["context"] for value in values(event)} == {"Transaction.Begin"}


def test_tc_j_09_cs_sampled_updated() -> None:
    variables = {
        "SampledDataCtrlr.TxUpdatedInterval": "30",
        "SampledDataCtrlr.TxUpdatedMeasurands": "Power.Active.Import,Current.Import",
    }
    found = charging(variables=variables)
    found.clear()
    found.wait(95)
    events = [payload for name, payload in found.unread if name == "TransactionEvent"]
    assert [event["triggerReason"] for event in events] == ["MeterValuePeriodic"] * 3
    assert {value["measurand"] for value in values(events[0])} == {"Power.Active.Import", "Current.Import"}
    assert {value["context"] for value in values(events[0])} == {"Sample.Periodic"}


def test_tc_j_10_cs_sampled_ended() -> None:
    variables = {
        "SampledDataCtrlr.TxEndedInterval": "60",
        "SampledDataCtrlr.TxEndedMeasurands": "Energy.Active.Import.Register",
        "SampledDataCtrlr.TxUpdatedInterval": "0",
    }
    found = charging(variables=variables)
    found.wait(125)
    found.meter_mwh[1] += 5_000_000
    found.present()
    contexts = [v["context"] for v in values(found.expect("TransactionEvent", eventType="Ended"))]
    assert contexts == ["Transaction.Begin", "Sample.Periodic", "Sample.Periodic", "Transaction.End"]


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
