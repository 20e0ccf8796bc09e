"""Alerts in both databases: two nodes at once, silences, e-mails that wait."""

from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest
from sqlalchemy import insert

from csms.alerts import sources as alert_sources
from csms.alerts import store as alert_mails
from csms.alerts.rules import HOLD_MS, RULES, Evidence, Mail, Report, Silence, SubjectKind, reports
from csms.attestations.store import attestations
from csms.db import leases
from csms.db.store import Store
from csms.device_model.store import device_variables
from csms.firmware.store import campaign_members, campaigns
from csms.roaming.received import store_object
from csms.roaming.tables import roaming_deliveries, roaming_objects, roaming_partners
from csms.session_metrics.store import session_metrics
from csms.settlements.tables import journal_reviews
from csms.station_security.store import station_certificates
from csms.stations.tables import connectors, stations
from csms.telemetry.tables import telemetry_states
from csms.webhooks.rules import BACK_OFF_S
from v2g.errors import RefusedError
from v2g.events import Severity
from v2g.ocpi import wire

T0 = 1_900_000_000_000
DAY = 86_400_000
ALL: tuple[tuple[SubjectKind, None], ...] = (("station", None), ("vehicle", None), ("node", None))
TO = alert_mails.Announcing(escalate_ms=(900_000,), addresses=lambda _: ("ops@example.com",), mails_after_ms=10_000)


def report(
    at_ms: int = T0, *, subject: str = "CS-1", kind: str = "station_offline", raised: bool = True,
    severity: Severity = "error",
) -> Report:  # fmt: skip
    return Report("station", subject, kind, severity, at_ms, raised, Evidence(5.0, 1.0))


def shown(store: Store, active: bool | None = None) -> list[dict[str, Any]]:
    return store.do(alert_mails.listed, None, 1000, ALL, active=active, subject=None, kind=None)


def said(store: Store, now_ms: int, to: alert_mails.Announcing = TO) -> list[tuple[str, str]]:
    return [(kind, alert.subject) for kind, alert in store.do(alert_mails.announce, now_ms, to)]


def claim(store: Store, now_ms: int) -> list[Mail]:
    return store.do(alert_mails.claim, now_ms)


@pytest.mark.some(1)
@pytest.mark.requirement("R125")
def test_two_nodes_that_find_the_same_raise_and_announce_it_once(store_url: str) -> None:
    """Two nodes take the same 40 reports in opposite orders at the same time, thrice, and both announce."""
    nodes = [Store(store_url), Store(store_url)]
    found = [report(subject=f"CS-{number}") for number in range(40)]
    announced: list[tuple[str, str]] = []
    with ThreadPoolExecutor(2) as pool:
        for order in (found, found[::-1], found):
            for work in [
                pool.submit(node.do, alert_mails.take, part, T0)
                for node, part in zip(nodes, (order, order[::-1]), strict=True)
            ]:
                work.result()
        for each in [pool.submit(said, node, T0 + 1) for node in nodes]:
            announced += each.result()
    assert sorted(announced) == sorted(("alert_raised", each.subject) for each in found)
    assert sorted(each["subject"] for each in shown(nodes[0])) == sorted(each.subject for each in found)
    assert {each["count"] for each in shown(nodes[0])} == {1}
    mails = [each for node in nodes for each in claim(node, T0 + 20_000)]
    assert sorted(each.alert.subject for each in mails) == sorted(each.subject for each in found)
    for node in nodes:
        node.close()


@pytest.mark.some(1)
@pytest.mark.requirement("R125")
def test_an_alert_that_is_over_stays_listed_below_the_next_one(store: Store) -> None:
    store.do(alert_mails.take, [report(T0), report(T0 + 5, raised=False)], T0 + 5)
    assert said(store, T0 + 5) == [("alert_raised", "CS-1")]
    assert said(store, T0 + 5 + HOLD_MS) == [("alert_cleared", "CS-1")]
    store.do(alert_mails.take, [report(T0 + 100_000)], T0 + 100_000)
    assert said(store, T0 + 100_000) == [("alert_raised", "CS-1")]
    new, old = shown(store)
    assert new["alert_id"] > old["alert_id"]
    assert (new["raised_ms"], new["cleared_ms"], old["cleared_ms"]) == (T0 + 100_000, None, T0 + 5)
    assert not store.do(alert_mails.take, [report(T0), report(T0 + 5, raised=False)], T0 + 100_000), "repetitions"


@pytest.mark.some(1)
@pytest.mark.requirement("R125")
def test_what_is_silenced_is_announced_when_the_silence_ends(store: Store) -> None:
    silence = Silence(subject_kind="station", subject="CS-1", until_ms=T0 + 1000, created_ms=T0, created_by="ops")
    number = store.do(alert_mails.add_silence, silence)
    everything = Silence(subject_kind="station", kind="x", until_ms=T0 + 500, created_ms=T0, created_by="ops")
    store.do(alert_mails.add_silence, everything)
    noisy = [report(subject="CS-2"), report(subject="CS-2", kind="x"), report(), report(kind="x")]
    store.do(alert_mails.take, noisy, T0)
    assert said(store, T0) == [("alert_raised", "CS-2")]
    assert len(shown(store, active=True)) == 4
    assert said(store, T0 + 500) == [("alert_raised", "CS-2")]
    assert store.do(alert_mails.find_silence, number, T0 + 999) is not None
    assert [each.silence_id for each in store.do(alert_mails.silences, T0 + 500)] == [number]
    store.do(alert_mails.take, [report(T0 + 1, kind="x", raised=False)], T0 + 1)
    assert said(store, T0 + 999) == [], "ended in silence"
    assert said(store, T0 + 1000) == [("alert_raised", "CS-1")]
    store.do(alert_mails.end_silence, number)
    assert store.do(alert_mails.silences, T0) != []


@pytest.mark.some(1)
def test_more_silenced_alerts_than_one_step_hold_up_no_other(store: Store) -> None:
    silence = Silence(subject_kind="vehicle", until_ms=T0 + 10**6, created_ms=T0, created_by="ops")
    store.do(alert_mails.add_silence, silence)
    many = [Report("vehicle", f"EV-{number}", "x", "error", T0, raised=True) for number in range(alert_mails.STEP + 50)]
    over = [Report("vehicle", each.subject, "x", "error", T0 + 1, raised=False) for each in many]
    store.do(alert_mails.take, [*many, *over], T0 + 1)
    store.do(alert_mails.take, [report()], T0 + 1)
    assert said(store, T0 + 2) == [("alert_raised", "CS-1")]
    assert said(store, T0 + 10**7) == [("alert_escalated", "CS-1")]


@pytest.mark.some(1)
def test_silences_are_bounded(store: Store) -> None:
    def work(connection: Any) -> None:
        for _ in range(alert_mails.MOST_SILENCES):
            alert_mails.add_silence(connection, silence)

    silence = Silence(subject_kind="station", until_ms=T0 + 1000, created_ms=T0, created_by="ops")
    store.do(work)
    with pytest.raises(RefusedError):
        store.do(alert_mails.add_silence, silence)


@pytest.mark.requirement("R125")
def test_emails_wait_for_others_are_tried_again_and_given_up(store: Store) -> None:
    store.do(alert_mails.take, [report(), report(subject="CS-2")], T0)
    assert len(said(store, T0)) == 2
    assert claim(store, T0 + 9_999) == []
    store.do(alert_mails.take, [report(subject="CS-3")], T0 + 9_999)
    said(store, T0 + 9_999)
    mails = claim(store, now := T0 + 10_000)
    assert [each.alert.subject for each in mails] == ["CS-1", "CS-2", "CS-3"], "one e-mail for all"
    assert claim(store, now) == [], "claimed"
    assert [each.mail_id for each in claim(store, now + alert_mails.LEASE_MS)] == [each.mail_id for each in mails]
    for place, pause_s in enumerate(BACK_OFF_S):
        attempt = [Mail(each.mail_id, each.address, each.announcement, each.alert, place) for each in mails]
        assert store.do(alert_mails.settle, attempt, "busy", now) == 0
        assert claim(store, now + 1000 * pause_s - 1) == []
        now += 1000 * pause_s
        mails = claim(store, now)
        assert [each.attempts for each in mails] == [place + 1] * 3
    assert store.do(alert_mails.oldest) == T0
    assert store.do(alert_mails.settle, mails[:1], "busy", now) == 1
    assert store.do(alert_mails.settle, mails[1:], "", now) == 0
    assert claim(store, now + 10**9) == []
    assert store.do(alert_mails.oldest) is None


@pytest.mark.some(1)
def test_an_erased_vehicle_is_in_no_email(store: Store) -> None:
    store.do(alert_mails.take, [Report("vehicle", "EV-1", "x", "error", T0, raised=True)], T0)
    said(store, T0)
    store.do(alert_mails.erase, "EV-1")
    assert claim(store, T0 + 10**6) == []


def test_rules_observe_what_the_database_has(store: Store) -> None:
    def put(connection: Any) -> None:
        def row(table: Any, **values: Any) -> None:
            connection.execute(insert(table).values(**values))

        for number, seen_ms in enumerate((T0 - 901_000, T0), 1):
            name = f"CS-{number}"
            row(stations, station_id=name, first_seen_ms=0, last_seen_ms=seen_ms, protocol="x", booted_ms=1)
        row(stations, station_id="CS-3", first_seen_ms=0, last_seen_ms=0, protocol="x")
        row(connectors, station_id="CS-2", evse_id=1, connector_id=1, status="Faulted", changed_ms=T0 - 70_000)
        variable = {
            "station_id": "CS-2", "component": "TemperatureSensor", "component_instance": "", "connector_id": 0,
            "variable": "Temperature", "variable_instance": "", "attribute": "Actual",
        }  # fmt: skip
        for evse, (value, unit) in enumerate((("91.5", "Celsius"), ("hot", "Celsius"), ("nan", ""), ("212", "F"))):
            row(device_variables, **variable, evse_id=evse, value=value, unit=unit)
        leases.take(connection, f"{alert_sources.NODE}a", "a", T0 - 200_000, T0 - 100_000)
        leases.take(connection, f"{alert_sources.NODE}b", "b", T0, T0 + 30_000)
        leases.take(connection, f"{alert_sources.NODE}c", "c", T0 - 9 * DAY, T0 - 8 * DAY)
        for serial, until_ms in (("1", T0 + DAY), ("2", T0 + 3 * DAY), ("3", T0 + 300 * DAY), ("4", T0 + 20 * DAY)):
            station = {"3": "CS-2", "4": "CS-3"}.get(serial, "CS-1")
            row(
                station_certificates, serial=serial, station_id=station, kind="ChargingStationCertificate", subject="",
                issued_ms=0, until_ms=until_ms, status="Used", pem="",
            )  # fmt: skip
        review = {"transaction_id": "t", "begin_ms": 1, "end_ms": 2, "reason": "r", "detail": "", "due_ms": 9}
        for session in ("s1", "s2"):
            row(
                journal_reviews, station_id="CS-2", session_id=session, state="quarantined", since_ms=T0 - 60_000,
                decided_by="", note="", **review,
            )  # fmt: skip
        row(telemetry_states, ev="EV-1", at_ms=T0 - 8 * DAY, document=b"")
        row(telemetry_states, ev="EV-2", at_ms=T0 - DAY, document=b"")
        judged = {"kind": "", "changed_ms": 1, "document": b"", "levels": b"", "apart": 0.0, "apart_by": b"{}"}
        for name, moved in (("CS-1", 12.5), ("CS-2", 10.0)):
            by = b'{"value": %f, "facts": {}}' % moved
            row(session_metrics, station_id=name, drift=moved, drift_by=by, **judged)
        for name, state in (("CS-1", "Failed"), ("CS-2", "Whole"), ("CS-3", "Pending")):
            row(
                attestations, station_id=name, tpm_key="", state=state, reasons="[]", nonce="", asked_ms=0,
                verified_ms=0, changed_ms=T0 - 30_000,
            )  # fmt: skip
        row(campaigns, name="c", state="Halted", created_ms=1, updated_ms=1, document="{}")
        row(campaigns, name="d", state="Finished", created_ms=1, updated_ms=1, document="{}")
        row(campaigns, name="e", state="Cancelled", created_ms=1, updated_ms=1, document="{}")
        for number, station, state, trouble in (
            (2, "CS-1", "Failed", "Crashed"),
            (2, "CS-2", "Reverted", "Crashed"),
            (2, "CS-3", "Failed", ""),  # before its reasons were kept
            (3, "CS-1", "Failed", "Crashed"),
        ):
            row(
                campaign_members, campaign_id=number, station_id=station, cohort=0, state=state, attempts=1,
                not_before_ms=0, updated_ms=0, trouble=trouble,
            )  # fmt: skip

        for name, token, seen_ms in (("silent", "s", T0 - 2 * DAY), ("heard", "s", T0), ("invited", "", 1)):
            row(roaming_partners, partner_id=name, sealed_token=token, seen_ms=seen_ms, document="{}")
        for name, attempts, module in (("silent", 2, "cdrs"), ("heard", 0, "cdrs"), ("heard", 3, "locations")):
            row(
                roaming_deliveries, partner_id=name, module=module, subject="1", chain="", method="", path="", body="",
                created_ms=0, due_ms=0, attempts=attempts, error="",
            )  # fmt: skip
        for number, state in enumerate(("disputed", "disputed", "booked", "rejected")):
            row(
                roaming_objects, owner="heard", module="cdrs", object_id=str(number), audience="", updated_ms=0,
                state=state, about=f"billed-{number}", alias="T1", document="{}", detail="",
            )  # fmt: skip
        for session, token, kwh, status, days in (
            ("billed-2", "T1", 9, "COMPLETED", 9), ("open", "T1", 9, "ACTIVE", 8), ("empty", "T1", 0, "COMPLETED", 8),
            ("unnamed", "T2", 9, "COMPLETED", 7), ("owed", "T1", 9, "COMPLETED", 5), ("old", "T1", 9, "COMPLETED", 40),
        ):  # fmt: skip
            at = wire.moment(T0 - days * DAY).isoformat()
            token_of = {"country_code": "DE", "party_id": "ABC", "uid": token, "type": "RFID", "contract_id": "C"}
            sent = {
                "country_code": "NL", "party_id": "TNM", "id": session, "start_date_time": at, "kwh": kwh,
                "cdr_token": token_of, "auth_method": "WHITELIST", "location_id": "L", "evse_uid": "E",
                "connector_id": "1", "currency": "EUR", "status": status, "last_updated": at,
            }  # fmt: skip
            store_object(connection, "heard", "sessions", session, lambda _, sent=sent: sent, T0)  # type: ignore[misc]
        row(
            roaming_objects, owner="heard", module="cdrs", object_id="u", audience="", updated_ms=0, state="booked",
            about="", alias="T2", document="{}", detail="",
        )  # fmt: skip

    store.do(put)
    seen = store.do(alert_sources.observe, T0, RULES)
    found = {
        name: [(each.subject, round(each.evidence.value or 0, 3)) for each in reports(name, RULES[name], rows, (), T0)]
        for name, rows in seen.values.items()
    }
    assert found == {
        "station_offline": [("CS-1", 901)],
        "station_faulted": [("CS-2", 70)],
        "station_not_attested": [("CS-1", 30)],
        "over_temperature": [("CS-2", 100)],
        "station_drifts": [("CS-1", 12.5)],
        "station_differs": [],
        "queue_ages": [],
        "node_gone": [("a", 100)],
        "station_certificate_expires": [("CS-3", 20)],  # CS-1 has the other one
        "station_certificate_ends": [("CS-1", 3)],
        "money_quarantined": [("CS-2", 2)],
        "vehicle_silent": [("EV-1", 8 * 86_400)],
        "battery_unchecked": [],
        "campaign_halted": [("1", 1)],
        "update_failed": [("2", 1)],
        "partner_silent": [("silent", 2 * 86_400)],
        "cdrs_refused": [("silent", 1)],
        "cdrs_disputed": [("heard", 2)],
        "cdr_missing": [("heard", 5 * 86_400)],
        "price_unpublished": [],
    }
    assert (seen.nodes, seen.sites) == ({"a", "b"}, set())
