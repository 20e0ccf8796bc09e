"""A connection that ends without a report: nothing waits for its answers (`v2g_station.blocks.connection.link`)."""

import pytest

from tests.station.bench import Bench
from v2g_station.kernel.kernel import Connect, Disconnect, Ping


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


@pytest.mark.parametrize(
    ("answer", "quirks"),
    [
        ('{"idTokenInfo":null,"totalCost":null}', ["null_field"]),
        ('{"paid":true,"idTokenInfo":{"status":"accepted"}}', ["enum_case", "unknown_field"]),
        ("null", []),
    ],
)
def test_what_an_answer_says_beside_the_standard_does_not_count(answer: str, quirks: list[str]) -> None:
    """The CSMS has booked the event: it is not sent again, and others do not wait for it."""
    found = waiting()
    del found.answers["TransactionEvent"]
    found.answer_late("TransactionEvent", answer)
    found.unplug()
    found.wait(60)
    assert [each["eventType"] for each in found.all("TransactionEvent")] == ["Started", "Ended"]
    assert sorted(str(each.data["quirk"]) for each in found.observed if each.name == "quirk_tolerated") == quirks


def test_who_is_connected_does_not_connect_again() -> None:
    found = waiting()
    assert not [each for each in found.station.start(found.moment) if isinstance(each, Connect)]


def test_stopping_ends_an_attempt_to_connect() -> None:
    found = Bench("2.1", power=False)
    assert [each for each in found.station.start(found.moment) if isinstance(each, Connect)]
    assert [each for each in found.station.stop(found.moment) if isinstance(each, Disconnect)]
    assert found.station.deadline() is None


@pytest.mark.parametrize(("asked_s", "waits_s"), [(0, 1), (120, 120), (86_400, 300)])
def test_a_csms_that_is_busy_is_called_when_it_asks_to_be(asked_s: float, waits_s: float) -> None:
    """Its Retry-After (RFC 9110 10.2.3) is heeded, for five minutes at the most, beside the own back-off."""
    found = Bench("2.1", power=False, variables={"OCPPCommCtrlr.RetryBackOffRandomRange": "0",
                                                 "OCPPCommCtrlr.RetryBackOffWaitMinimum": "1"})  # fmt: skip
    found.station.start(found.moment)
    found.station.failed("busy", found.moment, wait_s=asked_s)
    assert found.station.deadline() == found.now + waits_s
    found.advance_clock(waits_s)
    assert [each for each in found.station.tick(found.moment) if isinstance(each, Connect)]
    found.station.failed("unreachable", found.moment)
    assert found.station.deadline() == found.now + 2, "that was for once"


def test_another_ping_interval_holds_at_once() -> None:
    found = Bench("2.1")
    for interval in ("30", "0"):
        found.set("OCPPCommCtrlr", "WebSocketPingInterval", interval)
    assert found.pings == [Ping(30.0), Ping(0.0)]
    assert found.connected
