"""What operators ask of stations, in the database: the same on SQLite and PostgreSQL."""

from concurrent.futures import ThreadPoolExecutor

import msgspec
from sqlalchemy import Connection, text

from csms.db.store import Store
from csms.diagnostics import store as diagnostics
from csms.display import store as display
from csms.firmware import store as campaigns
from csms.firmware.rules import CampaignPlan, Image, Member
from csms.payments import store as payments
from csms.remote_control import store as commands
from csms.remote_control import store as remote_control
from csms.requests import store as requests
from csms.reservations import store as reservations
from csms.tokens import store as tokens
from tests.csms.databases import Cluster
from v2g.ocpp.messages.authorization import IdToken
from v2g.ocpp.messages.base import Component, MessageContent, Variable
from v2g.ocpp.messages.battery_swap import BatteryData, BatterySwapRequest
from v2g.ocpp.messages.data_transfer import DataTransferRequest
from v2g.ocpp.messages.diagnostics import EventData, GetLogRequest, LogParameters
from v2g.ocpp.messages.display import MessageInfo
from v2g.ocpp.messages.monitoring import (
    ConstantStreamData,
    MonitoringData,
    NotifyPeriodicEventStream,
    PeriodicEventStreamParams,
    SetMonitoringData,
    StreamDataElement,
    VariableMonitoring,
)
from v2g.ocpp.messages.payment import NotifySettlementRequest
from v2g.ocpp.messages.transactions import TransactionLimit

TOKEN = IdToken(id_token="0A1B", type="ISO14443")
NOW = "2026-01-01T00:00:00Z"
EVSE, POWER = Component(name="EVSE"), Variable(name="Power")


def get_log(number: int) -> GetLogRequest:
    """Return a request that has a number."""
    return GetLogRequest(log=LogParameters(remote_location="x"), log_type="SecurityLog", request_id=number)


def test_requests_are_numbered_followed_and_given_up(store: Store) -> None:
    def work(connection: Connection) -> None:
        first, request = requests.open_request(connection, "CS", get_log, 1)
        second, _ = requests.open_request(connection, "CS", get_log, 2)
        assert second == first + 1
        assert request == get_log(first)
        requests.save_answer(connection, first, "Accepted", "", 3, done=False)
        assert requests.save_progress(connection, "CS", "GetLog", first, "Uploading", 4, done=False)
        assert not requests.save_progress(connection, "CS-2", "GetLog", first, "Uploaded", 4, done=True)
        assert not requests.save_progress(connection, "CS", "GetReport", first, "Uploaded", 4, done=True)
        for done, expected in ((False, second), (True, second), (False, None)):
            newest = requests.save_progress(connection, "CS", "GetLog", None, "Uploaded", 4, done=done)
            assert newest == expected, "a station of 1.6 names none"
        requests.supersede(connection, "CS", "GetLog", second, 5)
        found = requests.find(connection, first)
        assert found is not None
        assert (found["progress"], found["done_ms"]) == ("AcceptedCanceled", 5)
        for seq_no in (1, 0, 1):
            assert requests.save_part(connection, "CS", "GetLog", second, seq_no, f'"{seq_no}"', 6, last=seq_no == 1)
        assert requests.parts(connection, second) == ['"0"', '"1"']
        assert [each["request_id"] for each in requests.list_requests(connection, None, 100, "CS", "GetLog")] == [
            second,
            first,
        ]

    store.do(work)


def test_remote_starts_orders_and_reservations(store: Store) -> None:
    def work(connection: Connection) -> None:
        start = commands.open_start(connection, "CS", 1, TOKEN, TransactionLimit(max_time=60), 1)
        commands.save_start_answer(connection, start, "Accepted", None)
        assert commands.match_start(connection, "CS-2", start, "tx", 2) is None
        matched = commands.match_start(connection, "CS", start, "tx", 2)
        assert matched is not None
        assert (matched["transaction_id"], matched["transaction_limit"]) == ("tx", '{"maxTime":60}')

        first = commands.open_order(connection, "CS", 1, 0, "Inoperative", 100, 1)
        second = commands.open_order(connection, "CS", 1, 0, "Operative", 100, 1)
        assert commands.take_due_orders(connection, ["CS"], 99) == []
        assert commands.take_due_orders(connection, ["CS-2"], 100) == []
        (taken,) = commands.take_due_orders(connection, ["CS"], 100)
        assert (taken.order_id, taken.state) == (second.order_id, "Sent")
        assert commands.take_due_orders(connection, ["CS"], 100) == []
        states = {each.order_id: each.state for each in commands.list_orders(connection)}
        assert states == {first.order_id: "Replaced", second.order_id: "Sent"}

        values = {"station_id": "CS", "token_type": "A", "id_token": "B", "expires_ms": 9, "updated_ms": 1}
        reservation = reservations.open_reservation(connection, **values)
        assert reservations.save_reservation(connection, "CS", reservation.reservation_id, "Used", 2, "tx")
        assert not reservations.save_reservation(connection, "CS", reservation.reservation_id, "Expired", 3)
        assert reservations.list_reservations(connection, "CS", only_active=True) == []
        tokens.save_local_list(connection, "CS", version=1, status="Accepted", updated_ms=1, entries="[]")
        tokens.save_local_list(connection, "CS", version=2, status="Accepted", updated_ms=2, entries="[]")
        found = tokens.find_local_list(connection, "CS")
        assert found is not None
        assert found["version"] == 2

    store.do(work)


def test_a_member_of_a_campaign_is_taken_once(store: Store) -> None:
    plan = CampaignPlan(image=Image(location="x"))

    def work(connection: Connection) -> None:
        number = campaigns.create(connection, "name", plan, 1)
        campaigns.add_members(connection, number, [Member(station_id="CS", cohort=0)])
        taken = campaigns.take(connection, number, "CS")
        assert taken is not None
        assert campaigns.take(connection, number, "CS") is None
        campaigns.save_member(connection, number, msgspec.structs.replace(taken, request_id=7))
        found = campaigns.find_attempt(connection, "CS", 7)
        assert found is not None
        assert found[0].plan == plan
        assert campaigns.find_attempt(connection, "CS-2", 7) is None
        assert campaigns.save_state(connection, number, "Halted", "why", 2, before="Running")
        assert not campaigns.save_state(connection, number, "Paused", "late", 3, before="Running")
        assert campaigns.list_campaigns(connection, "Running") == []

    store.do(work)


def test_monitors_events_and_streams(store: Store) -> None:
    asked = SetMonitoringData(value=1.0, type="Delta", severity=4, component=EVSE, variable=POWER)
    event = EventData(
        event_id=1, timestamp=NOW, trigger="Delta", actual_value="1", component=EVSE, variable=POWER,
        event_notification_type="CustomMonitor", variable_monitoring_id=1,
    )  # fmt: skip
    reported = MonitoringData(
        component=EVSE,
        variable=POWER,
        variable_monitoring=(VariableMonitoring(id=1, transaction=False, value=2.0, type="Delta", severity=5),),
    )
    stream = ConstantStreamData(id=3, params=PeriodicEventStreamParams(interval=10), variable_monitoring_id=1)
    readings = NotifyPeriodicEventStream(id=3, pending=0, basetime=NOW, data=(StreamDataElement(t=1.5, v="7"),))

    def work(connection: Connection) -> None:
        diagnostics.save_monitor(connection, "CS", 1, asked, 1)
        diagnostics.add_events(connection, "CS", [event], 1)
        assert diagnostics.list_events(connection)[0]["severity"] == 4
        diagnostics.save_reported(connection, "CS", [reported], 2)
        assert [each["severity"] for each in diagnostics.list_monitors(connection, "CS")] == [5]
        assert diagnostics.add_stream_values(connection, "CS", readings) is None
        diagnostics.open_stream(connection, "CS", stream, 1)
        diagnostics.open_stream(connection, "CS", stream, 2)
        assert diagnostics.add_stream_values(connection, "CS", readings) == 1
        assert diagnostics.close_stream(connection, "CS", 3, 3)
        assert not diagnostics.close_stream(connection, "CS", 3, 3)
        assert len(diagnostics.list_stream_values(connection, None, 10, "CS", 3)) == 1
        diagnostics.drop_monitors(connection, "CS", [1])
        assert diagnostics.list_monitors(connection, "CS") == []

    store.do(work)


def test_messages_payments_swaps_and_vendors(store: Store) -> None:
    info = MessageInfo(id=1, priority="InFront", message=MessageContent(format="UTF8", content="x"), end_date_time=NOW)
    settled = NotifySettlementRequest(psp_ref="p", status="Settled", settlement_amount=1.5, settlement_time=NOW)
    battery = BatteryData(evse_id=1, serial_number="B", soc=1.0, soh=2.0)
    swap = BatterySwapRequest(battery_data=(battery,), event_type="BatteryIn", id_token=TOKEN, request_id=5)

    def work(connection: Connection) -> None:
        assert display.next_message_id(connection, "CS") == 1
        display.save_message(connection, "CS", info, "Accepted", 1)
        display.save_message(connection, "CS", msgspec.structs.replace(info, id=2), "Accepted", 1)
        assert display.next_message_id(connection, "CS") == 3
        display.keep_only_messages(connection, "CS", [2], 2)
        assert [each["message_id"] for each in display.list_messages(connection, "CS", shown=True)] == [2]
        assert display.expire_messages(connection, 2**50) == 1
        assert payments.add_settlement(connection, "CS", settled, 1)
        assert not payments.add_settlement(connection, "CS", settled, 2)
        number = payments.open_web_payment(connection, "CS", 1, 1, 10)
        assert payments.expire_web_payments(connection, 9) == 0
        assert payments.pay(connection, number, "psp-1", None, 1) is not None
        assert payments.pay(connection, number, "psp-1", None, 1) is None
        (paid,) = payments.awaited(connection, 0)
        assert (paid.psp_ref, paid.paid_ms, paid.answer) == ("psp-1", 1, "")
        assert [payments.take_up(connection, paid, "Unanswered") for _ in range(2)] == [True, False]
        assert [payments.give_back(connection, paid) for _ in range(2)] == [True, False]
        assert payments.awaited(connection, 0) == []
        payments.add_swap(connection, "CS", swap, 1)
        assert payments.list_swaps(connection, None, 10, "CS", 5)[0]["document"]["batteryData"][0]["soC"] == 1.0
        remote_control.add_transfer(connection, "CS", DataTransferRequest(vendor_id="v", data={"a": None}), 1)
        assert remote_control.list_transfers(connection)[0]["document"] == {"a": None}

    store.do(work)


def test_a_session_that_begins_while_its_payment_is_given_back_counts(cluster: Cluster) -> None:
    """At two nodes on PostgreSQL: SQLite has one writer at a time."""
    store = Store(cluster.url(cluster.create()))
    try:
        number = store.do(payments.open_web_payment, "CS", 1, 1, 9)
        paid = store.do(payments.pay, number, "psp-1", None, 1)
        assert paid is not None
        waiting = text("SELECT count(*) FROM pg_locks WHERE NOT granted")
        with ThreadPoolExecutor(1) as thread:
            with store.engine.begin() as connection:
                assert commands.match_start(connection, "CS", paid.remote_start_id, "tx-1", 2) is not None
                given = thread.submit(store.do, payments.give_back, paid)
                while not connection.execute(waiting).scalar():
                    assert not given.done()
            assert given.result(60) is False
    finally:
        store.close()
