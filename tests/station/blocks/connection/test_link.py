"""A connection that ends without a report: nothing waits for its answers (`v2g_station.blocks.connection.link`)."""

from tests.station.bench import Bench
from v2g_station.kernel.kernel import Connect, Disconnect


def waiting() -> Bench:
    """A station whose message the CSMS has not answered."""
    found = Bench("2.1", variables={"TxCtrlr.TxStartPoint": "EVConnected"})
    found.answers["TransactionEvent"] = None
    found.plug()
    found.expect("TransactionEvent", eventType="Started")
    return found


def test_what_a_replaced_connection_did_not_answer_is_sent_again() -> None:
    found = waiting()
    del found.answers["TransactionEvent"]
    found.run(found.station.opened("2.1", found.moment))
    found.expect("TransactionEvent", eventType="Started")
    found.wait(60)
    assert len(found.station.outbox) == 0


def test_who_is_connected_does_not_connect_again() -> None:
    found = waiting()
    assert not [each for each in found.station.start(found.moment) if isinstance(each, Connect)]


def test_stopping_ends_an_attempt_to_connect() -> None:
    found = Bench("2.1", power=False)
    assert [each for each in found.station.start(found.moment) if isinstance(each, Connect)]
    assert [each for each in found.station.stop(found.moment) if isinstance(each, Disconnect)]
    assert found.station.deadline() is None
