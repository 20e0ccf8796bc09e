"""Rows of doors, device models, security and tokens: the same on SQLite and PostgreSQL."""

import msgspec
from sqlalchemy import Connection

from csms.admission import store as doors
from csms.admission.rules import wrong_password, wrong_user
from csms.db.store import Store
from csms.device_model import store as device_model
from csms.device_model.rules import Limit, reported
from csms.retention.store import delete_old
from csms.station_security import store as security
from csms.stations import store as stations
from csms.tariffs.store import save_cost
from csms.tokens import store as tokens
from csms.tokens.rules import Allowance, Group, Place, Terms, Token, Used
from csms.transactions.events import EventArrival, add_events
from csms.transactions.rules import Event, Kind, Sample
from v2g.energy.settlement.costing import Bill
from v2g.ocpp.messages.base import EVSE, Component, Variable
from v2g.ocpp.messages.provisioning import ReportData, VariableAttribute, VariableCharacteristics

CS = "CS-1"


def test_listeners(store: Store) -> None:
    visit = doors.ConnectionAttempt(station_id=CS, address="192.0.2.1", offered="ocpp1.6", security_profile=3)
    assert store.do(doors.note_attempt, visit, 1)
    assert not store.do(doors.note_attempt, visit, 2)
    store.do(doors.decide, CS, "Pending", "anna", 3)
    store.do(doors.set_password, CS, "hash 1", 4)
    store.do(doors.offer_password, CS, "hash 2")
    assert not store.do(doors.settle_password, CS, "other", taken=True, now_ms=5)
    assert store.do(doors.settle_password, CS, "hash 2", taken=True, now_ms=5)
    store.do(doors.set_least_profile, CS, 2)
    known = store.do(doors.find_all, [CS])[0]
    assert known is not None
    assert (known.decision, known.password, known.next_password, known.least_profile) == ("Pending", "hash 2", "", 2)
    (entry,) = store.do(doors.list_admissions)
    assert (entry["attempts"], entry["last_seen_ms"], entry["has_password"]) == (2, 2, True)
    counts = [
        doors.FaultCount(station_id=CS, address="a", fault=fault, times=2, first_ms=1, last_ms=at)
        for at, fault in ((1, wrong_password()), (2, wrong_user("x")))
    ]
    store.do(doors.save_faults, counts)
    (fault,) = store.do(doors.list_faults, station_id=CS)
    assert (fault["times"], fault["last_ms"], fault["detail"]) == (4, 2, wrong_user("x").detail)
    store.do(doors.forget_faults, CS, "a")
    assert store.do(doors.list_faults) == []
    assert store.do(doors.forget, CS)
    store.close()


def test_device_models(store: Store) -> None:
    data = ReportData(
        component=Component(name="EVSE", evse=EVSE(id=1)),
        variable=Variable(name="Power"),
        variable_attribute=(VariableAttribute(value="1"), VariableAttribute(type="MaxSet", value="9")),
        variable_characteristics=VariableCharacteristics(data_type="decimal", max_limit=9.5, supports_monitoring=True),
    )
    limit = ReportData(
        component=Component(name="DeviceDataCtrlr"),
        variable=Variable(name="ItemsPerMessage", instance="GetVariables"),
        variable_attribute=(VariableAttribute(value="4", constant=True),),
    )
    assert store.do(device_model.rebooted, [(CS, 3)]) == [False]
    assert store.do(device_model.save, CS, reported([data, limit], 1)) == 3
    key = {"component": "EVSE", "component_instance": "", "evse_id": 1, "connector_id": 0, "variable": "Power"}
    key |= {"variable_instance": "", "attribute": "Actual"}
    store.do(device_model.save, CS, [{**key, "after_reboot": "3"}])
    notified = {**key, "value": "2", "value_ms": 2}
    store.do(device_model.notice, CS, [notified, {**notified, "variable": "Unknown"}])
    rows = store.do(device_model.list_variables, CS, "EVSE")
    assert [(row["attribute"], row["value"], row["max_limit"], row["supports_monitoring"]) for row in rows] == [
        ("Actual", "2", 9.5, True),
        ("MaxSet", "9", 9.5, True),
    ]
    assert store.do(device_model.rebooted, [(CS, 3), ("CS-9", 3)]) == [True, False]
    assert store.do(device_model.list_variables, CS, "EVSE", "Power")[0]["value"] == "3"
    assert store.do(device_model.limit_of, CS, "GetVariables") == Limit(4, None)
    for status in ("Accepted", "Accepted"):
        store.do(device_model.save_profile, CS, 1, status, b"{}", 4)
    assert [row["slot"] for row in store.do(device_model.list_profiles, CS)] == [1]
    store.close()


def test_security(store: Store) -> None:
    store.do(security.add_event, CS, "station", "StartupOfTheDevice", 1, 2, "x" * 300)
    store.do(security.add_event, "CS-2", "csms", "InvalidChargingStationCertificate", 3, 3, "")
    assert [each["station_id"] for each in store.do(security.list_events)] == ["CS-2", CS]
    assert len(store.do(security.list_events, station_id=CS)[0]["tech_info"]) == 255
    columns = {"serial": "1f", "station_id": CS, "kind": "V2GCertificate", "subject": "CN=x", "pem": "-"}
    store.do(lambda c: security.add_certificate(c, **columns, issued_ms=1, until_ms=2**40, status="Issued"))
    store.do(security.set_certificate_status, "1f", "Accepted")
    (certificate,) = store.do(security.list_certificates, station_id=CS)
    assert (certificate["status"], certificate["until_ms"]) == ("Accepted", 2**40)
    store.close()


def event(seq_no: int, kind: Kind, wh: str) -> EventArrival:
    """An event of one transaction with the import register."""
    sample = Sample(at_ms=seq_no, measurand="Energy.Active.Import.Register", value=wh, unit="Wh")
    notified = Event(
        station_id=CS, transaction_id="t", seq_no=seq_no, kind=kind, at_ms=seq_no, trigger="Authorized",
        digest=f"{seq_no}", samples=(sample,),
    )  # fmt: skip
    return EventArrival(notified, b"{}", seq_no)


def test_costs_in_several_currencies_are_not_added_up(store: Store) -> None:
    """Also not once the transactions are deleted; what an earlier version has kept counts with each."""
    allowance = Allowance(period="total", cost="100")
    token = Token("ISO14443", "A", "Accepted", (), Terms(allowances=(allowance,)))
    store.do(stations.touch, CS, "ocpp2.1", 1)
    store.do(tokens.put, token)

    def charge(connection: Connection) -> None:
        for name, currency, cost in (("t", "EUR", 40), ("u", "CZK", 90), ("v", "EUR", 30), ("w", "", 5)):
            used = Used(0, cost * 10**6, currency)
            tokens.note_use_abroad(connection, name, token, 1, used)
        add_events(connection, [event(0, "Started", "100"), event(1, "Ended", "200")])
        tokens.note_use(connection, CS, "t", token, 0)
        totals = Bill(currency="EUR", incl_tax=50 * 10**6)
        save_cost(connection, CS, "t", totals, "{}", 1, final=True, source="csms")

    store.do(charge)
    for _ in range(2):
        known = store.do(tokens.look_up, "ISO14443", "A", 5)
        assert known is not None
        assert known.used[0][1].cost == 125 * 10**6
        store.do(delete_old, "transactions", 100)
    store.close()


def test_tokens_and_what_they_have_used(store: Store) -> None:
    allowance = Allowance(period="total", energy_wh=1000)
    terms = Terms(group_id="g", allowances=(allowance,), one_at_a_time=True, places=(Place(CS, (1,)),))
    token = Token("ISO14443", "A", "Accepted", ("DC",), terms)
    store.do(stations.touch, CS, "ocpp2.1", 1)
    store.do(tokens.put, token)
    store.do(tokens.put_group, Group(group_id="g", allowances=(allowance,)))
    assert store.do(tokens.find, "ISO14443", "A") == token
    assert [each.token for each in store.do(tokens.list_known)] == [token]

    def charge(connection: Connection) -> None:
        add_events(connection, [event(0, "Started", "100"), event(1, "Updated", "350.5")])
        assert tokens.note_use(connection, CS, "t", token, 0)
        assert not tokens.note_use(connection, CS, "t", token, 0)

    store.do(charge)
    known = store.do(tokens.look_up, "ISO14443", "A", 5)
    assert known is not None
    assert known.used == ((allowance, Used(250, 0)), (allowance, Used(250, 0)))
    assert known.elsewhere
    own = store.do(tokens.look_up, "ISO14443", "A", 5, (CS, "t"))
    assert own is not None
    assert not own.elsewhere
    store.do(lambda connection: add_events(connection, [event(2, "Ended", "400")]))
    assert store.do(delete_old, "transactions", 100) > 0
    later = store.do(tokens.look_up, "ISO14443", "A", 5)
    assert later is not None
    assert later.used[0][1] == Used(300, 0)
    assert store.do(tokens.remove, "ISO14443", "A")
    assert store.do(tokens.remove_group, "g")
    store.close()


def test_terms_are_kept_small_and_read_as_written() -> None:
    assert msgspec.json.encode(Terms()) == b"{}"
    terms = Terms(group_id="g", expires_ms=5, message="ü")
    assert msgspec.json.decode(msgspec.json.encode(terms), type=Terms) == terms
