"""What becomes of a partner's CDR, by what is known of its driver, its place, its prices and its other CDRs."""

from datetime import UTC, datetime
from typing import Any

import msgspec
import pytest
from sqlalchemy import Connection, select

from csms.db.store import Store
from csms.roaming import received
from csms.roaming import store as rows
from csms.roaming.rules import Partner
from csms.roaming.store import Kept
from csms.tokens import store as tokens
from csms.tokens.rules import Terms, Token
from csms.tokens.tables import token_uses
from tests.csms.conftest import Databases
from v2g import typed_json
from v2g.errors import OcpiError
from v2g.ocpi import wire
from v2g.ocpi.objects import ClientInfo, OcpiCdr, OcpiObject, OcpiTariff, PartyRole

PARTNER = Partner(partner_id="cpo")
BEGIN, END = "2026-05-01T10:00:00Z", "2026-05-01T11:00:00Z"
NOW = "2026-05-01T12:00:00Z"
HOUR_MS = 3_600_000


def ms(text: str) -> int:
    return round(datetime.fromisoformat(text).timestamp() * 1000)


def tariff(price: object = "0.5", *, name: str = "T", updated: str = "2026-04-01T00:00:00Z", **more: Any) -> Any:
    part = {"type": "ENERGY", "price": price, "step_size": 1}
    return {
        "country_code": "DE", "party_id": "CPO", "id": name, "currency": "EUR", "tax_included": "NO",
        "elements": [{"price_components": [part]}], "last_updated": updated, **more,
    }  # fmt: skip


DRIVER = {"country_code": "DE", "party_id": "MSP", "uid": "04A1B2C3", "type": "RFID", "contract_id": "DE-MSP-C00000001"}
PLACE = {
    "id": "Depot", "address": "A", "city": "B", "country": "DEU",
    "coordinates": {"latitude": "1.0", "longitude": "2.0"}, "evse_uid": "E1", "evse_id": "DE*CPO*E1",
    "connector_id": "1", "connector_standard": "IEC_62196_T2", "connector_format": "SOCKET",
    "connector_power_type": "AC_3_PHASE",
}  # fmt: skip
CDR: dict[str, Any] = {
    "country_code": "DE", "party_id": "CPO", "id": "A", "start_date_time": BEGIN, "end_date_time": END,
    "session_id": "S1", "cdr_token": DRIVER, "auth_method": "WHITELIST", "cdr_location": PLACE, "currency": "EUR",
    "tariffs": [tariff()], "total_cost": {"before_taxes": 10}, "total_energy": 20, "total_time": 1,
    "charging_periods": [
        {"start_date_time": BEGIN, "tariff_id": "T", "dimensions": [{"type": "ENERGY", "volume": 20}]}
    ],
    "last_updated": END,
}  # fmt: skip
"""20 kWh within an hour at 0.5 EUR/kWh."""


def made(kind: type[OcpiObject], value: Any) -> Any:
    return wire.read(value, kind)


def keep(connection: Connection, module: str, name: str, document: Any, owner: str = "cpo", **more: Any) -> None:
    """Store an object as it has come."""
    kept = Kept(
        owner=owner, module=module, object_id=name, updated_ms=more.pop("updated_ms", 0),
        document=msgspec.json.encode(document).decode(), **more,
    )  # fmt: skip
    rows.put_object(connection, kept)


def own_token(connection: Connection, kind: str = "RFID", *, at: str = BEGIN, **changes: Any) -> None:
    """Publish a driver's token, since a time."""
    token = {
        **DRIVER, "type": kind, "issuer": "M", "valid": True, "whitelist": "ALLOWED", "last_updated": at, **changes,
    }  # fmt: skip
    keep(connection, "tokens", f"{token['uid']}*{kind}".lower(), token, "", updated_ms=ms(at))


def took(connection: Connection, partner: Partner = PARTNER, now: str = NOW, **changes: Any) -> str:
    """Receive a CDR; return its state and what is found about it."""
    sent = {name: each for name, each in (CDR | changes).items() if each is not None}
    cdr = made(OcpiCdr, sent)
    taken = received.take_cdr(connection, partner, cdr, wire.encode(cdr).decode(), ms(now))
    return f"{taken[0].state} {taken[0].detail}".strip() if taken else ""


def booked(connection: Connection, **changes: Any) -> None:
    assert took(connection, **changes) == "booked"


def credit(of: str, name: str = "C", cost: object = -10, **changes: Any) -> dict[str, Any]:
    return {"id": name, "credit": True, "credit_reference_id": of, "total_cost": {"before_taxes": cost}, **changes}


def at(begin: str, end: str, **more: Any) -> dict[str, Any]:
    """A session like it, at another time of that day."""
    begin, end = (f"2026-05-01T{each}:00Z" for each in (begin, end))
    periods = [{**CDR["charging_periods"][0], "start_date_time": begin}]
    hours = (ms(end) - ms(begin)) / HOUR_MS
    return {
        "start_date_time": begin, "end_date_time": end, "charging_periods": periods, "total_time": hours,
        "last_updated": end, **more,
    }  # fmt: skip


@pytest.fixture
def store_url(sqlite_databases: Databases) -> str:
    """One kind of database is enough: that both find the same is tried elsewhere."""
    return sqlite_databases.create()


@pytest.fixture(autouse=True)
def known(store: Store) -> None:
    store.do(lambda connection: own_token(connection))


def test_a_right_cdr_is_booked_and_found_by_its_session_and_its_token(store: Store) -> None:
    def check(connection: Connection) -> None:
        booked(connection, session_id="S1", last_updated="2026-05-01T10:30:00Z")
        (kept,) = rows.cdrs_near(connection, "cpo", "s1", "", 0)
        assert (kept.object_id, kept.state, kept.detail, kept.alias) == ("de*cpo*a", "booked", "", "04A1B2C3")
        assert kept.updated_ms == ms(END), "of last change and end the later one"
        assert typed_json.decode_exact(kept.document.encode())["id"] == "A"
        booked(connection, id="B", session_id=None, **at("11:00", "12:00") | {"last_updated": "2026-05-02T00:00:00Z"})
        (kept,) = rows.cdrs_near(connection, "cpo", "", "04A1B2C3", ms(END))
        assert (kept.object_id, kept.about, kept.updated_ms) == ("de*cpo*b", "", ms("2026-05-02T00:00:00Z"))

    store.do(check)


def test_a_cdr_that_is_sent_again_is_not_taken_again_and_never_changed(store: Store) -> None:
    """CDRs, 10.1: they are replaced by a credit CDR and a new one."""

    def check(connection: Connection) -> None:
        booked(connection)
        assert took(connection) == took(connection, last_updated=NOW) == ""
        cdr = made(OcpiCdr, CDR)
        assert received.take_cdr(connection, PARTNER, cdr, wire.encode(cdr).decode(), ms(NOW)) == []
        with pytest.raises(OcpiError, match="CDRs never change") as caught:
            took(connection, total_energy=21)
        assert caught.value.code == 2001
        assert len(rows.cdrs_near(connection, "cpo", "s1", "04A1B2C3", 0)) == 1

    store.do(check)


# -- whose session it is


@pytest.mark.parametrize(
    ("driver", "found"),
    [
        ({"uid": "04a1b2c3"}, ""),
        ({"contract_id": "de-msp-c00000001"}, ""),
        ({"uid": "FF"}, "token: FF is none of ours"),
        ({"type": "APP_USER"}, "token: 04A1B2C3 is none of ours"),
        ({"contract_id": "DE-MSP-C00000002"}, "token: it has another contract"),
    ],
)
def test_the_token_is_ours_and_of_that_contract(store: Store, driver: dict[str, str], found: str) -> None:
    def check(connection: Connection) -> None:
        assert took(connection, cdr_token=DRIVER | driver) == (f"disputed {found}" if found else "booked")

    store.do(check)


@pytest.mark.parametrize(("kind", "known_"), [("OTHER", True), ("RFID", True), ("EMAID", True), ("AD_HOC_USER", False)])
def test_a_contract_is_named_in_each_way_of_each_version(store: Store, kind: str, known_: bool) -> None:
    """2.3.0 has EMAID, of which partners of earlier versions make OTHER, or RFID."""

    def check(connection: Connection) -> None:
        own_token(connection, "EMAID", uid="DEMSPC00000009X", contract_id="DEMSPC00000009X")
        driver = DRIVER | {"uid": "DEMSPC00000009X", "contract_id": "DEMSPC00000009X", "type": kind}
        assert took(connection, cdr_token=driver).startswith("booked" if known_ else "disputed token: ")

    store.do(check)


@pytest.mark.parametrize(("late_s", "found"), [(3_600, ""), (3_600.001, "token: it was not valid any more")])
def test_a_token_is_good_for_what_began_within_an_hour_of_its_end(store: Store, late_s: float, found: str) -> None:
    """By then its partner knows."""

    def check(connection: Connection) -> None:
        ended = datetime.fromtimestamp(ms(BEGIN) / 1000 - late_s).astimezone().isoformat()
        own_token(connection, valid=False, at=ended)
        assert took(connection) == (f"disputed {found}" if found else "booked")

    store.do(check)


def test_a_token_that_has_to_be_asked_about_needs_an_authorization(store: Store) -> None:
    def check(connection: Connection) -> None:
        own_token(connection, whitelist="NEVER")
        assert took(connection) == "disputed authorization: this token needs one for each session"
        keep(connection, "authorizations", "r1", {}, about="04A1B2C3")
        booked(connection, id="B", **at("11:00", "12:00", session_id="S2", authorization_reference="R1"))

    store.do(check)


def test_an_authorization_is_of_one_token_and_one_session(store: Store) -> None:
    def check(connection: Connection) -> None:
        keep(connection, "authorizations", "r1", {}, about="04A1B2C3")
        keep(connection, "authorizations", "r2", {}, about="FFFF")
        keep(connection, "authorizations", "r3", {}, about="04A1B2C3", owner="another")
        ours = "disputed authorization: we did not issue its reference for this token"
        for number, reference in enumerate(("R2", "R3", "R4")):
            hour = at(f"{14 + number}:00", f"{15 + number}:00", session_id=f"X{number}")
            said = took(
                connection, id=f"X{number}", now="2026-05-02T00:00:00Z", authorization_reference=reference, **hour
            )
            assert said == ours
        booked(connection, authorization_reference="R1")
        again = at("11:00", "12:00", authorization_reference="R1")
        for name, session_id, other in (("B", "S2", "s1"), ("C", None, "s1")):
            said = took(connection, **again, id=name, session_id=session_id)
            assert said.startswith(f"disputed authorization: its reference is that of session {other}")
        reference = rows.find_object(connection, "cpo", "authorizations", "r1")
        assert reference is not None
        assert reference.alias == "s1"
        booked(connection, **credit("A", "CA", authorization_reference="R1", session_id="S9"))
        keep(connection, "authorizations", "r5", {}, about="04A1B2C3")
        booked(connection, **at("06:00", "07:00", authorization_reference="R5", id="NAMELESS"), session_id=None)
        reference = rows.find_object(connection, "cpo", "authorizations", "r5")
        assert reference is not None
        assert reference.alias == "nameless", "without a session's id that of its CDR stands for it"

    store.do(check)


@pytest.mark.parametrize("field", ["uid", "contract_id", ""])
def test_a_session_that_was_shown_with_another_driver_is_disputed(store: Store, field: str) -> None:
    def check(connection: Connection) -> None:
        driver = {name: "OTHER" if name == field else each.lower() for name, each in DRIVER.items()}
        shown = {
            **{name: CDR[name] for name in ("country_code", "party_id", "start_date_time", "auth_method", "currency")},
            "id": "S1", "kwh": 1, "cdr_token": driver, "location_id": "L", "evse_uid": "E",
            "connector_id": "1", "status": "ACTIVE", "last_updated": BEGIN,
        }  # fmt: skip
        keep(connection, "sessions", "de*cpo*s1", shown)
        contract = "OTHER" if field == "contract_id" else "de-msp-c00000001"
        other = f"disputed token: session S1 was shown with that of {contract}"
        assert took(connection) == (other if field else "booked"), "case does not count"

    store.do(check)


# -- once


@pytest.mark.parametrize(
    ("changes", "twice"),
    [
        ({"session_id": "s1", **at("11:00", "12:00")}, True),
        ({"session_id": "S2"}, True),
        ({"session_id": None}, True),
        ({"session_id": "S2", **at("10:59", "12:00")}, True),
        ({"session_id": "S2", **at("11:00", "12:00")}, False),
        ({"session_id": "S2", **at("09:00", "10:00")}, False),
        ({"session_id": "S2", **at("09:00", "10:01")}, True),
        ({"session_id": None, "cdr_location": PLACE | {"id": "depot", "evse_uid": "e1"}}, True),
        ({"session_id": "S2", "cdr_location": PLACE | {"id": "Other"}}, False),
        ({"session_id": "S2", "cdr_location": PLACE | {"evse_uid": "E2"}}, False),
        ({"session_id": "S2", "party_id": "XYZ"}, False),
    ],
)
def test_one_session_is_billed_once(store: Store, changes: dict[str, Any], twice: bool) -> None:
    """Also under another name, or none: where and when it charged is the same. Parties have ids of their own."""

    def check(connection: Connection) -> None:
        booked(connection)
        said = took(connection, id="B", **changes)
        assert said == ("disputed twice: CDR A is of the same session" if twice else "booked")

    store.do(check)


def test_a_session_that_had_no_name_is_billed_once_with_one(store: Store) -> None:
    def check(connection: Connection) -> None:
        booked(connection, session_id=None)
        assert took(connection, id="B") == "disputed twice: CDR A is of the same session"

    store.do(check)


def test_a_place_is_that_of_its_evse_by_either_of_its_names(store: Store) -> None:
    def check(connection: Connection) -> None:
        unnamed = {name: each for name, each in PLACE.items() if name != "evse_uid"}
        booked(connection, cdr_location=unnamed)
        assert "twice" in took(connection, id="B", session_id="S2", cdr_location=unnamed | {"evse_uid": "de*cpo*e1"})
        booked(connection, id="C", session_id="S3", cdr_location=unnamed | {"evse_id": "DE*CPO*E2"})

    store.do(check)


def test_what_is_rejected_or_taken_back_makes_room(store: Store) -> None:
    def check(connection: Connection) -> None:
        booked(connection)
        booked(connection, **credit("a", session_id="s1"))
        booked(connection, id="B")
        assert took(connection, id="D") == "disputed twice: CDR B is of the same session"
        for name in ("b", "d"):
            kept = rows.find_object(connection, "cpo", "cdrs", f"de*cpo*{name}")
            assert kept is not None
            rows.put_object(connection, msgspec.structs.replace(kept, state="rejected"))
        booked(connection, id="E")

    store.do(check)


def test_a_credit_that_has_waited_is_booked_with_its_cdr(store: Store) -> None:
    """Of two one, and none that has other faults."""

    def check(connection: Connection) -> None:
        wait = "disputed credit: no CDR A is known"
        for sent in (
            credit("A", "C1"),
            credit("A", "C2"),
            credit("B", "C3"),
            credit("A", "C4", cdr_token=DRIVER | {"uid": "F"}),
        ):
            assert took(connection, **sent).startswith("disputed")
        assert took(connection, **credit("A", "C5", currency="USD")) == wait
        assert took(connection, **credit("A", "C0")) == wait
        refused = rows.find_object(connection, "cpo", "cdrs", "de*cpo*c0")
        assert refused is not None
        rows.put_object(connection, msgspec.structs.replace(refused, state="rejected"))
        cdr = made(OcpiCdr, CDR)
        taken = received.take_cdr(connection, PARTNER, cdr, wire.encode(cdr).decode(), ms(NOW))
        assert [(each.object_id, each.state, each.detail) for each in taken] == [
            ("de*cpo*a", "booked", ""), ("de*cpo*c1", "booked", ""),
        ]  # fmt: skip
        kept = rows.find_object(connection, "cpo", "cdrs", "de*cpo*c1")
        assert kept == taken[1]

    store.do(check)


def test_what_is_disputed_waits_for_a_person_though_its_fault_is_gone(store: Store) -> None:
    """Only a credit CDR was waiting for its CDR."""

    def check(connection: Connection) -> None:
        said = took(connection, tariffs=[], credit_reference_id="B")  # which is none of a credit CDR
        assert said == "disputed price: tariff T is not known"
        keep(connection, "tariffs", "de*cpo*t", tariff())
        booked(connection, id="B", **at("09:00", "10:00"), session_id="S2")
        assert took(connection, **credit("B", authorization_reference="R")).startswith("disputed authorization")
        keep(connection, "authorizations", "r", {}, about="04A1B2C3")
        booked(connection, id="D", **at("08:00", "09:00"), session_id="S3")
        for name in ("a", "c"):
            kept = rows.find_object(connection, "cpo", "cdrs", f"de*cpo*{name}")
            assert kept is not None
            assert kept.state == "disputed"

    store.do(check)


def test_what_is_found_is_kept_up_to_4000_characters(store: Store) -> None:
    def check(connection: Connection) -> None:
        names = [f"tariff-with-quite-a-long-name-of-{number:02}" for number in range(99)]
        for name in names:
            keep(connection, "tariffs", f"de*cpo*{name}", tariff("9", name=name))
        said = took(connection, tariffs=[tariff(), *(tariff(name=each) for each in names)])
        assert len(said) == len("disputed ") + 4000

    store.do(check)


def test_a_credit_is_of_what_is_booked(store: Store) -> None:
    def check(connection: Connection) -> None:
        assert took(connection, total_energy=30).startswith("disputed energy")
        assert took(connection, **credit("A")) == "disputed credit: A is disputed, not booked"
        kept = rows.find_object(connection, "cpo", "cdrs", "de*cpo*a")
        assert kept is not None
        rows.put_object(connection, msgspec.structs.replace(kept, state="rejected"))
        assert took(connection, **credit("A", "D")) == "disputed credit: A is rejected, not booked"
        rows.put_object(connection, msgspec.structs.replace(kept, state="released"))
        booked(connection, **credit("A", "E"))

    store.do(check)


def test_a_credit_with_times_of_its_own_finds_the_credits_before_it(store: Store) -> None:
    """A is of 10:00 to 11:00 and of 10 EUR; C1 took back all of it, and the later C2 cannot do so again."""

    def check(connection: Connection) -> None:
        booked(connection, session_id=None)
        booked(connection, **credit("A", "C1", session_id=None))
        late = at("11:30", "11:50", session_id=None)
        assert took(connection, **credit("A", "C2", **late)) == "disputed credit: C1 has credited that CDR"

    store.do(check)


def test_a_credit_without_a_reference_is_of_nothing(store: Store) -> None:
    def check(connection: Connection) -> None:
        booked(connection, id="?")
        unrelated = credit("A") | {"credit_reference_id": None}
        assert took(connection, **unrelated).startswith("disputed credit: no CDR")

    store.do(check)


def test_credits_in_part_leave_room_up_to_the_whole(store: Store) -> None:
    """Energy fed back first (4 of 10 EUR), then the rest; a third finds no room."""

    def check(connection: Connection) -> None:
        booked(connection)
        assert took(connection, **credit("A", "C0", -4, currency="USD")).startswith("disputed")
        alone = rows.find_object(connection, "cpo", "cdrs", "de*cpo*c0")
        assert alone is not None
        assert received.credit_before(connection, alone) == ""
        booked(connection, **credit("A", "C1", -4, total_energy=8))
        rest = {"charging_periods": CDR["charging_periods"]}
        assert took(connection, **credit("A", "C2", -4, **rest)) == "disputed credit: C1 has credited that CDR"
        assert took(connection, **credit("A", "C3", -6, **rest)) == "booked"
        kept = rows.find_object(connection, "cpo", "cdrs", "de*cpo*c2")
        assert kept is not None
        assert received.credit_before(connection, kept) == "C1"
        first = rows.find_object(connection, "cpo", "cdrs", "de*cpo*c3")
        assert first is not None
        rows.put_object(connection, msgspec.structs.replace(first, state="disputed"))
        assert received.credit_before(connection, first) == "", "together they are the whole"
        assert took(connection, **credit("unknown", "C4")).startswith("disputed")
        unknown = rows.find_object(connection, "cpo", "cdrs", "de*cpo*c4")
        assert unknown is not None
        assert received.credit_before(connection, unknown) == ""

    store.do(check)


# -- by which prices and at which power


@pytest.mark.parametrize(
    ("agreed", "found"), [(True, ""), (False, "energy: below zero is not agreed with this partner")]
)
def test_energy_below_zero_is_agreed_with_a_partner(store: Store, agreed: bool, found: str) -> None:
    def check(connection: Connection) -> None:
        periods = [
            {"start_date_time": BEGIN, "tariff_id": "T", "dimensions": [{"type": "ENERGY", "volume": volume}]}
            for volume in (21, -1)
        ]
        partner = msgspec.structs.replace(PARTNER, negative_energy=agreed)
        said = took(connection, partner, charging_periods=periods)
        assert said == (f"disputed {found}" if found else "booked")
        later = at("11:00", "12:00", id="B", session_id="S2")
        nothing = {"start_date_time": END, "tariff_id": "T", "dimensions": [{"type": "ENERGY", "volume": 0}]}
        later["charging_periods"].append(nothing)
        assert took(connection, partner, **later) == "booked", "nothing was fed back"

    store.do(check)


@pytest.mark.parametrize(
    ("published", "since", "found"),
    [
        (tariff(), "", ""),
        (tariff(last_updated="2026-04-30T00:00:00Z"), "", ""),
        (tariff("0.4"), "", "tariff: T is not what was published"),
        (tariff("0.4"), "2026-05-01T10:00:00Z", "tariff: T is not what was published"),
        (tariff("0.4"), "2026-05-01T10:00:00.001Z", ""),
        (tariff("0.4", updated="2026-05-01T10:00:01Z"), "", ""),
        (tariff(min_price={"before_taxes": 1}), "", "tariff: T is not what was published"),
        (tariff(max_price={"before_taxes": 99}), "", "tariff: T is not what was published"),
        (tariff(tax_included="N/A"), "", "tariff: T is not what was published"),
        (tariff(currency="USD"), "", "tariff: T is not what was published"),
        (tariff(start_date_time="2026-04-02T00:00:00Z"), "", ""),
    ],
)
def test_a_tariff_is_what_was_published_when_the_session_began(
    store: Store, published: Any, since: str, found: str
) -> None:
    def check(connection: Connection) -> None:
        keep(connection, "tariffs", "de*cpo*t", published, detail=str(ms(since)) if since else "")
        assert took(connection) == (f"disputed {found}" if found else "booked")

    store.do(check)


def test_prices_that_a_cdr_leaves_out_are_those_that_were_published(store: Store) -> None:
    def check(connection: Connection) -> None:
        assert took(connection, tariffs=[]) == "disputed price: tariff T is not known"
        keep(connection, "tariffs", "de*cpo*t", tariff("0.4"))
        said = took(connection, id="B", **at("11:00", "12:00"), session_id="S2", tariffs=[])
        assert said == "disputed price: 10 EUR without taxes, by its periods and tariff 8.00"
        keep(connection, "tariffs", "de*cpo*t", tariff())
        booked(connection, id="C", **at("12:00", "13:00"), now="2026-05-01T14:00:00Z", session_id="S3", tariffs=[])

    store.do(check)


def location(zone: str = "Europe/Berlin", **evse: Any) -> dict[str, Any]:
    """A depot with an EVSE of 11 and 22 kW."""
    connector = {"id": "1", "standard": "IEC_62196_T2", "format": "SOCKET", "power_type": "AC_3_PHASE",
                 "max_voltage": 230, "max_amperage": 16, "last_updated": BEGIN}  # fmt: skip
    connectors = [connector, {**connector, "id": "2", "max_amperage": 32}]
    found = {
        "uid": "E1",
        "evse_id": "DE*CPO*E1",
        "status": "AVAILABLE",
        "connectors": connectors,
        "last_updated": BEGIN,
    }
    other = {**found, "uid": "E0", "evse_id": "DE*CPO*E0"}
    return {
        "country_code": "DE", "party_id": "CPO", "id": "Depot", "publish": True, "address": "A", "city": "B",
        "country": "DEU", "coordinates": PLACE["coordinates"], "time_zone": zone, "evses": [other, found | evse],
        "last_updated": BEGIN,
    }  # fmt: skip


@pytest.mark.parametrize(
    ("place", "evse", "found"),
    [
        ({}, {}, "power: 20 kWh within 1.000 h is more than 11.04 kW"),
        ({"connector_id": "2"}, {}, ""),
        ({"connector_id": "3"}, {}, ""),
        ({"evse_uid": "e1"}, {}, "power: 20 kWh within 1.000 h is more than 11.04 kW"),
        ({"evse_uid": None}, {}, "power: 20 kWh within 1.000 h is more than 11.04 kW"),
        ({"evse_uid": "de*cpo*e1"}, {}, "power: 20 kWh within 1.000 h is more than 11.04 kW"),
        ({"evse_uid": "E9"}, {}, ""),
        ({"id": "Elsewhere"}, {}, ""),
        ({"evse_uid": None, "evse_id": None}, {"evse_id": None}, ""),
        ({}, {"evse_id": None}, "power: 20 kWh within 1.000 h is more than 11.04 kW"),
    ],
)
def test_energy_is_within_the_power_of_the_connector(
    store: Store, place: dict[str, Any], evse: dict[str, Any], found: str
) -> None:
    """16 A of three phases are 11.04 kW, of 32 A 22.08."""

    def check(connection: Connection) -> None:
        its = location(**evse)
        its["evses"][1] = {name: each for name, each in its["evses"][1].items() if each is not None}
        keep(connection, "locations", "de*cpo*depot", its)
        where = {name: each for name, each in (PLACE | place).items() if each is not None}
        assert took(connection, cdr_location=where) == (f"disputed {found}" if found else "booked")

    store.do(check)


@pytest.mark.parametrize(("zone", "cost"), [("Europe/Berlin", 10), ("America/New_York", 0)])
def test_prices_are_by_the_clock_of_the_location(store: Store, zone: str, cost: int) -> None:
    """10 o'clock UTC is noon in Berlin, where the price from 12 to 13 is 0.5, and 6 in New York."""

    def check(connection: Connection) -> None:
        noon = tariff()
        noon["elements"][0]["restrictions"] = {"start_time": "12:00", "end_time": "13:00"}
        keep(connection, "locations", "de*cpo*depot", location(zone))
        place = PLACE | {"connector_id": "2"}
        said = took(connection, tariffs=[noon], cdr_location=place, total_cost={"before_taxes": cost})
        assert said == "booked"

    store.do(check)


# -- what counts for allowances


@pytest.mark.parametrize(
    ("changes", "energy_wh", "cost"),
    [
        ({}, 20_000, 10_000_000),
        ({"total_cost": {"before_taxes": 10, "taxes": [{"name": "VAT", "amount": 0}]}}, 20_000, 10_000_000),
        (credit("A", session_id="S1"), -20_000, -10_000_000),
        (credit("A", session_id="S1", total_energy=-20), -20_000, -10_000_000),
    ],
)
def test_what_was_used_abroad_counts_with_taxes_and_is_taken_back(
    store: Store, changes: dict[str, Any], energy_wh: int, cost: int
) -> None:
    def check(connection: Connection) -> None:
        terms = typed_json.convert({"allowances": [{"period": "total", "energy_wh": 10**9}]}, Terms)
        tokens.put(connection, Token("ISO14443", "04A1B2C3", "Accepted", (), terms))
        cdr = made(OcpiCdr, CDR | changes)
        kept = Kept(owner="cpo", module="cdrs", object_id="de*cpo*a", updated_ms=0, document=wire.encode(cdr).decode())
        for _ in range(2):  # once
            received.count_use(connection, kept, ms(NOW))
        (row,) = connection.execute(select(token_uses))
        assert (row.energy_wh, row.cost, row.currency, row.since_ms) == (energy_wh, cost, "EUR", ms(BEGIN))

    store.do(check)


def test_what_is_booked_counts_and_what_is_disputed_does_not(store: Store) -> None:
    """Also credit CDRs that have waited, here of 4 and of 6 EUR."""

    def check(connection: Connection) -> None:
        terms = typed_json.convert({"allowances": [{"period": "total", "energy_wh": 10**9}]}, Terms)
        tokens.put(connection, Token("ISO14443", "04A1B2C3", "Accepted", (), terms))

        def counted() -> list[int]:
            return sorted(row.cost // 1_000_000 for row in connection.execute(select(token_uses)))

        assert took(connection, **credit("A", "C1", -4, total_energy=8)).startswith("disputed")
        assert took(connection, **credit("A", "C2", -6, total_energy=12)).startswith("disputed")
        assert counted() == []
        booked(connection)
        assert counted() == [-6, -4, 10]
        for name in ("c1", "c2"):
            kept = rows.find_object(connection, "cpo", "cdrs", f"de*cpo*{name}")
            assert kept is not None
            assert (kept.state, kept.detail) == ("booked", "")

    store.do(check)


def test_a_driver_without_allowances_is_not_counted(store: Store) -> None:
    def check(connection: Connection) -> None:
        booked(connection)
        tokens.put(connection, Token("ISO14443", "04A1B2C3", "Accepted", ()))
        booked(connection, id="B", **at("11:00", "12:00"), session_id="S2")
        assert connection.execute(select(token_uses)).all() == []

    store.do(check)


# -- what else partners own


def test_an_object_is_stored_unless_a_newer_one_is_there(store: Store) -> None:
    """Except one of a clock that was more than a day ahead, which would stay for ever."""

    def put(connection: Connection, price: str, updated: str, now: str) -> bool:
        sent = tariff(price, updated=updated)
        return received.store_object(connection, "cpo", "tariffs", "de*cpo*t", lambda _: sent, ms(now))

    def check(connection: Connection) -> None:
        def price() -> str:
            kept = rows.find_object(connection, "cpo", "tariffs", "de*cpo*t")
            assert kept is not None
            document: Any = typed_json.decode_exact(kept.document.encode())
            assert kept.updated_ms == ms(document["last_updated"])
            return str(document["elements"][0]["price_components"][0]["price"])

        assert put(connection, "1", "2026-05-01T10:00:00Z", NOW)
        assert not put(connection, "2", "2026-05-01T10:00:00Z", NOW)
        assert price() == "2", "one of the same time takes its place"
        assert not put(connection, "3", "2026-05-01T09:59:59Z", NOW)
        assert price() == "2"
        put(connection, "4", "2026-05-03T12:00:00Z", "2026-05-02T12:00:00Z")
        put(connection, "5", "2026-05-02T12:00:00Z", "2026-05-02T12:00:00Z")
        assert price() == "4", "a day ahead it may be"
        put(connection, "6", "2026-05-03T12:00:00Z", "2026-05-02T11:59:59.999Z")
        put(connection, "7", "2026-05-02T12:00:00Z", "2026-05-02T11:59:59.999Z")
        assert price() == "7"
        with pytest.raises(OcpiError):
            received.store_object(connection, "cpo", "tariffs", "de*cpo*u", lambda _: {"id": "U"}, ms(NOW))

    store.do(check)


def test_a_change_is_made_to_what_is_known(store: Store) -> None:
    """A PATCH changes what was stored, and of something unknown there is nothing to change."""

    def check(connection: Connection) -> None:
        seen = []

        def change(known: Any) -> Any:
            seen.append(known and known["id"])
            return tariff()

        for _ in range(2):
            received.store_object(connection, "cpo", "tariffs", "de*cpo*t", change, ms(NOW))
        assert seen == [None, "T"]

    store.do(check)


@pytest.mark.parametrize(
    ("status", "kwh", "state"), [("COMPLETED", 1, "ended"), ("COMPLETED", 0, ""), ("ACTIVE", 1, ""), ("INVALID", 1, "")]
)
def test_a_session_is_found_by_its_name_and_its_token(store: Store, status: str, kwh: int, state: str) -> None:
    """One that has ended with energy has a CDR to come."""

    def check(connection: Connection) -> None:
        session = {
            **{name: CDR[name] for name in ("country_code", "party_id", "start_date_time", "auth_method", "currency")},
            "id": "S1", "kwh": kwh, "cdr_token": DRIVER | {"uid": "04a1b2c3"}, "location_id": "L", "evse_uid": "E",
            "connector_id": "1", "status": status, "last_updated": BEGIN,
        }  # fmt: skip
        assert received.store_object(connection, "cpo", "sessions", "de*cpo*s1", lambda _: session, ms(NOW))
        kept = rows.find_object(connection, "cpo", "sessions", "de*cpo*s1")
        assert kept is not None
        assert (kept.state, kept.about, kept.alias, kept.updated_ms) == (state, "s1", "04A1B2C3", ms(BEGIN))

    store.do(check)


def test_a_partner_s_token_is_found_by_its_number_and_its_contract(store: Store) -> None:
    def check(connection: Connection) -> None:
        token = {**DRIVER, "uid": "04ffff", "issuer": "M", "valid": True, "whitelist": "ALWAYS", "last_updated": BEGIN}
        received.store_object(connection, "emsp", "tokens", "de*msp*04ffff*rfid", lambda _: token, ms(NOW))
        kept = rows.find_object(connection, "emsp", "tokens", "de*msp*04ffff*rfid")
        assert kept is not None
        assert (kept.about, kept.alias, kept.updated_ms) == ("04FFFF", "DEMSPC00000001", ms(BEGIN))

    store.do(check)


def publish(connection: Connection, price: str, updated: str, now: str = "", **more: Any) -> str:
    """Receive a tariff that has changed at a time of that day; return since when it is in force."""
    day = "2026-05-01T{}:00Z".format
    sent = tariff(price, updated=day(updated), **more)
    received.store_object(connection, "cpo", "tariffs", "de*cpo*t", lambda _: sent, ms(day(now or updated)))
    kept = rows.find_object(connection, "cpo", "tariffs", "de*cpo*t")
    assert kept is not None
    return datetime.fromtimestamp(int(kept.detail) / 1000, UTC).strftime("%H:%M")


def in_force(connection: Connection, *times: str) -> list[str]:
    """Which price holds at each time of that day."""
    found = []
    for each in times:
        kept = rows.tariff_at(connection, "cpo", "de*cpo*t", ms(f"2026-05-01T{each}:00Z"))
        assert kept is not None
        made_ = wire.read_kept(kept.document, OcpiTariff)
        found.append(str(made_.elements[0].price_components[0].price))
    return found


def test_the_prices_of_a_time_are_those_that_were_in_force(store: Store) -> None:
    """CDRs, 10.3.1. From its change on, at most an hour before it came: else a session of the past became dearer."""

    def check(connection: Connection) -> None:
        publish(connection, "1", "02:00", "08:00")
        publish(connection, "1", "09:00")
        assert in_force(connection, "00:00", "03:00", "09:30") == ["1", "1", "1"], "the first stands for before"
        kept = rows.find_object(connection, "cpo", "tariffs", "de*cpo*t")
        assert kept is not None
        assert kept.detail == str(ms("2026-05-01T02:00:00Z")), "without other prices it has not begun again"
        publish(connection, "2", "10:00", "10:30")
        publish(connection, "3", "11:00", "14:00")
        assert in_force(connection, "09:59", "10:00", "12:59", "13:00") == ["1", "2", "2", "3"]
        publish(connection, "4", "11:00", "15:00")  # says that it has not changed
        assert in_force(connection, "14:59", "15:00") == ["3", "4"]
        publish(connection, "5", "16:00", start_date_time="2026-05-01T18:00:00Z")
        assert in_force(connection, "17:59", "18:00") == ["4", "5"]
        publish(connection, "6", "17:00")
        assert in_force(connection, "16:59", "17:00", "18:00") == ["4", "6", "6"], "the fifth was never in force"
        received.remove_tariff(connection, rows.find_object(connection, "cpo", "tariffs", "de*cpo*t"), ms(END))  # type: ignore[arg-type]
        assert rows.find_object(connection, "cpo", "tariffs", "de*cpo*t") is None

    store.do(check)


def test_prices_are_in_force_from_their_beginning_or_change_whichever_is_later(store: Store) -> None:
    def check(connection: Connection) -> None:
        late = {"start_date_time": "2026-05-01T03:00:00Z"}
        assert publish(connection, "1", "02:00", **late) == "03:00"
        assert publish(connection, "1", "09:00", **late) == "03:00", "its prices are the same"
        assert publish(connection, "2", "10:00", "10:30", **late) == "10:00", "it has begun before, with other prices"
        assert in_force(connection, "09:59", "10:00") == ["1", "2"]
        keep(connection, "tariffs", "de*cpo*t", tariff("2"), updated_ms=ms("2026-05-01T08:00:00Z"))  # of earlier times
        assert publish(connection, "2", "11:00") == "08:00"
        keep(connection, "tariffs", "de*cpo*t", tariff("2"), updated_ms=ms("2026-05-01T08:00:00Z"))
        assert publish(connection, "3", "11:00") == "11:00"
        assert in_force(connection, "10:59", "11:00") == ["2", "3"]

    store.do(check)


@pytest.mark.parametrize("begins", ["18:00", "17:00"])
def test_what_was_replaced_before_it_was_in_force_prices_nothing(store: Store, begins: str) -> None:
    def check(connection: Connection) -> None:
        publish(connection, "5", "16:00", start_date_time=f"2026-05-01T{begins}:00Z")
        assert publish(connection, "6", "17:00") == "17:00"
        assert in_force(connection, "16:30", "18:30") == ["6", "6"]

    store.do(check)


def test_prices_of_a_deleted_tariff_hold_until_then(store: Store) -> None:
    def check(connection: Connection) -> None:
        keep(connection, "tariffs", "de*cpo*t", tariff(), detail="0")
        kept = rows.find_object(connection, "cpo", "tariffs", "de*cpo*t")
        assert kept is not None
        received.remove_tariff(connection, kept, ms(END))
        assert rows.find_object(connection, "cpo", "tariffs", "de*cpo*t") is None
        assert in_force(connection, "10:59") == ["0.5"]
        assert rows.tariff_at(connection, "cpo", "de*cpo*t", ms(END)) is None

    store.do(check)


def test_a_hub_speaks_for_the_parties_that_it_names(store: Store) -> None:
    """But for us, and for those that are partners themselves."""

    def check(connection: Connection) -> None:
        role = made(
            PartyRole, {"role": "CPO", "country_code": "DE", "party_id": "OWN", "business_details": {"name": "O"}}
        )
        rows.put_partner(connection, msgspec.structs.replace(PARTNER, partner_id="direct", roles=(role,)))
        rows.put_partner(connection, msgspec.structs.replace(PARTNER, partner_id="hub"))

        def named(party: str, status: str = "CONNECTED", owner: str = "hub") -> tuple[str, ...]:
            info = made(
                ClientInfo,
                {"country_code": "DE", "party_id": party, "role": "CPO", "status": status, "last_updated": BEGIN},
            )
            received.take_client(connection, owner, info, "de*usx")
            known = rows.find_partner(connection, "hub")
            assert known is not None
            return known.partner.clients

        assert named("NEW") == ("de*new",)
        assert named("NEW", "offline") == ("de*new",)
        kept = rows.find_object(connection, "hub", "hubclientinfo", "de*new")
        assert kept is not None
        assert (kept.state, kept.updated_ms) == ("OFFLINE", ms(BEGIN))
        named("NEW", "a status of another version")
        kept = rows.find_object(connection, "hub", "hubclientinfo", "de*new")
        assert kept is not None
        assert kept.state == "A STATUS OF ANOTHER "
        assert named("USX") == named("OWN") == ("de*new",)
        assert named("NXT") == ("de*new", "de*nxt")
        assert named("ABC", owner="nobody") == ("de*new", "de*nxt")
        many = tuple(f"de*{number}" for number in range(9_999))
        rows.put_partner(connection, msgspec.structs.replace(PARTNER, partner_id="hub", clients=many[2:]))
        assert len(named("A01")) == 10_000
        with pytest.raises(OcpiError, match="more than 10000 parties") as caught:
            named("A02")
        assert caught.value.code == 2001

    store.do(check)


def test_what_became_of_a_cdr_is_announced() -> None:
    class Announcing:
        def announce(self, stage: str, name: str, **data: object) -> None:
            self.said = stage, name, data

    services: Any = Announcing()
    kept = Kept(owner="cpo", module="cdrs", object_id="de*cpo*a", updated_ms=0, document="", state="disputed")
    received.announce_cdr(services, msgspec.structs.replace(kept, detail="x" * 400))
    data = {"partner": "cpo", "cdr": "de*cpo*a", "state": "disputed", "reason": "x" * 300}
    assert services.said == ("roaming", "roaming_cdr", data)
