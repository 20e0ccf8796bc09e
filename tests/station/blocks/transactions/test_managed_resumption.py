"""Transactions that the charger leads, over an interruption: they wait for their vehicle (E17)."""

import pytest

from tests.station.bench import FIXED, Bench
from tests.station.blocks.transactions.managed_resumption import begin, lead, records, show
from v2g_station.blocks.evse import Restart
from v2g_station.blocks.transaction_records import TransactionRecord
from v2g_station.blocks.transactions.managed import RemoteStopRequested


def charging(timeout: int = 300, **variables: str) -> Bench:
    """A charger in which a contract charges, that is then killed for half a minute."""
    settings = {"TxCtrlr.ResumptionTimeout": str(timeout)} | variables
    found = Bench("2.1", evses=(FIXED,), managed=True, variables=settings)
    begin(found, "a")
    found.power_loss(away_s=30, same_boot=True)
    return found


def resume(found: Bench) -> None:
    """Take up what was open, as the charger does."""
    found.clear()
    (record,) = records(found).values()
    assert found.station.resuming or found.station.resumption.in_time(record)
    found.run(found.station.resume(record, found.read(1), found.moment))
    event = found.expect("TransactionEvent", eventType="Updated", triggerReason="TxResumed")
    assert event["transactionInfo"]["chargingState"] == "EVConnected"


def ended(found: Bench) -> tuple[str, str]:
    """How the transaction has ended: trigger and reason."""
    event = found.expect("TransactionEvent", eventType="Ended", transactionInfo__transactionId="tx-a")
    assert not records(found).keys() & {"a"}
    return event["triggerReason"], event["transactionInfo"]["stoppedReason"]


GONE = ("EVCommunicationLost", "EVDisconnected")


def test_the_same_contract_goes_on_and_is_kept_under_its_new_session() -> None:
    found = charging()
    resume(found)
    begin(found, "b")
    assert [(r.transaction_id, r.reference) for r in records(found).values()] == [("tx-a", "b")]
    found.nothing("TransactionEvent", eventType="Started")
    found.wait(60)
    show(found, "Available")
    found.nothing("TransactionEvent", eventType="Ended")
    found.power_loss(away_s=30)
    assert list(records(found)) == ["b"]


@pytest.mark.parametrize("emaid", ["EMAID2", ""])
def test_somebody_else_begins_anew(emaid: str) -> None:
    found = charging()
    resume(found)
    begin(found, "b", emaid)
    assert ended(found) == GONE
    found.expect("TransactionEvent", eventType="Started", transactionInfo__transactionId="tx-b")


def test_nobody_is_never_the_same_again() -> None:
    found = Bench("2.1", evses=(FIXED,), managed=True, variables={"TxCtrlr.ResumptionTimeout": "300"})
    begin(found, "a", "")
    found.power_loss(away_s=30)
    resume(found)
    begin(found, "b", "")
    assert ended(found) == GONE


def test_without_leave_to_charge_on_the_next_session_begins_anew() -> None:
    found = charging(**{"TxCtrlr.AllowEnergyTransferResumption": "false"})
    resume(found)
    begin(found, "b")
    assert ended(found) == GONE


def test_a_vehicle_that_is_gone_ends_it_once_the_charger_knows() -> None:
    found = charging()
    resume(found)
    show(found, "Available")
    found.nothing("TransactionEvent", eventType="Ended")
    found.wait(16)
    assert ended(found) == GONE


def test_a_vehicle_that_stays_keeps_it_open_until_it_leaves() -> None:
    found = charging()
    resume(found)
    show(found, "Occupied")
    found.wait(3600)
    found.nothing("TransactionEvent", eventType="Ended")
    show(found, "Available")
    assert ended(found) == GONE


def test_the_csms_ends_what_waits_for_no_session_could() -> None:
    found = charging()
    resume(found)
    found.commands.clear()
    assert found.ask("RequestStopTransaction", transactionId="tx-a")["status"] == "Accepted"
    found.wait(1)
    assert ended(found) == ("RemoteStop", "Remote")
    assert not any(isinstance(command, RemoteStopRequested) for command in found.commands)


@pytest.mark.parametrize(("limit", "trigger", "reason"), [
    ({"maxTime": 600}, "TimeLimitReached", "TimeLimitReached"),
    ({"maxCost": 5.0}, "CostLimitReached", "LocalOutOfCredit"),
])  # fmt: skip
def test_a_limit_ends_what_waits_by_its_own_reason(limit: dict[str, float], trigger: str, reason: str) -> None:
    """E16.FR.06."""
    found = Bench("2.1", evses=(FIXED,), managed=True, variables={"TxCtrlr.ResumptionTimeout": "3600"})
    found.answers["TransactionEvent"] = lambda event: (
        {"transactionLimit": limit, "totalCost": 1.0} if event["eventType"] == "Started" else {}
    )
    begin(found, "a")
    found.power_loss(away_s=30, same_boot=True)
    resume(found)
    found.wait(300)
    found.nothing("TransactionEvent", eventType="Ended")
    found.ask("CostUpdated", totalCost=5.5, transactionId="tx-a")
    found.wait(300)
    assert ended(found) == (trigger, reason)


def test_one_that_was_away_for_too_long_is_not_resumed() -> None:
    found = charging(timeout=20)
    (record,) = records(found).values()
    assert not found.station.resumption.in_time(record)


def test_a_restart_that_is_to_keep_transactions_keeps_them_however_long_it_takes() -> None:
    """B13.FR.04, .20, .23."""
    found = Bench("2.1", evses=(FIXED,), managed=True, variables={"TxCtrlr.ResumptionTimeout": "300"})
    found.reset_at_once = False
    begin(found, "a")
    assert found.ask("Reset", type="ImmediateAndResume")["status"] == "Accepted"
    found.expect("TransactionEvent", eventType="Updated", triggerReason="ResetCommand")
    assert [c for c in found.commands if isinstance(c, Restart)] == [Restart(evse_id=None, keep=True)]
    found.meter_mwh[1] += 5_000
    last = found.read(1)
    lead(found, lambda s: s.finish("a", trigger="ResetCommand", reason="ImmediateReset", sample=last))
    found.nothing("TransactionEvent", eventType="Ended")
    assert records(found)["a"].last_sample == last
    found.station.provisioning.restarting()
    found.run(found.station.tick(found.moment))
    found.power_loss(away_s=3600, same_boot=True)
    assert not found.station.resumption.in_time(records(found)["a"])
    resume(found)
    begin(found, "b")
    assert [(r.transaction_id, r.reference) for r in records(found).values()] == [("tx-a", "b")]


def test_a_vehicle_that_leaves_before_such_a_restart_ends_its_transaction() -> None:
    found = Bench("2.1", evses=(FIXED,), managed=True, variables={"TxCtrlr.ResumptionTimeout": "300"})
    found.reset_at_once = False
    begin(found, "a")
    found.ask("Reset", type="ImmediateAndResume")
    lead(found, lambda s: s.finish("a", trigger=GONE[0], reason=GONE[1], sample=None))  # type: ignore[arg-type]
    assert ended(found) == GONE


def test_where_nothing_is_resumed_no_restart_is_to_keep_it() -> None:
    """B13.FR.01."""
    found = Bench("2.1", evses=(FIXED,), managed=True)
    begin(found, "a")
    assert found.ask("Reset", type="ImmediateAndResume")["status"] == "Rejected"


def test_what_is_about_to_be_ended_does_not_get_the_energy_of_the_next() -> None:
    found = charging()
    resume(found)
    begin(found, "b")
    found.wait(1)
    (first,) = records(found).values()
    second = TransactionRecord(
        transaction_id="tx-c", reference="c", evse_id=1, connector_id=1, started_ms=found.utc_ms, id_token="EMAID2",
        id_token_type="eMAID", charging_state="Charging",
    )  # fmt: skip
    lead(found, lambda sessions: sessions.begin(second, trigger="Authorized", sample=found.read(1)))
    assert set(records(found)) == {first.reference, "c"}
    found.clear()
    found.ask("TriggerMessage", requestedMessage="TransactionEvent", evse={"id": 1})
    event = found.expect("TransactionEvent", triggerReason="Trigger")
    assert event["transactionInfo"]["transactionId"] == "tx-c"
    found.nothing("TransactionEvent", transactionInfo__transactionId=first.transaction_id)
