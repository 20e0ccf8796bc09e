"""Each charger is of one station, the same on either kind of database, also when two sessions are booked at once."""

from datetime import UTC

from msgspec.structs import replace
from sqlalchemy import Connection

from csms.booking import store as reviews
from csms.booking.facts import Fact
from csms.booking.rules import Certificates, Finding
from csms.booking.store import Review
from csms.books import store as books
from csms.db.store import Store
from csms.station_security import store as chargers
from csms.station_security.rules import Charger
from pki_tools.tree import PkiTree
from tests.csms.settlement.lies import charger_named
from v2g.energy.settlement.bookkeeping import Posting, Use

NAME = "DC=CPO,C=DE,O=V2G Engine Operator,CN="


def book(connection: Connection, station: str, session: str, certificate: bytes, *, signed: bool = True) -> str:
    """Book a session that was judged before anything was known."""
    reviews.save_certificates(connection, station, session, Certificates(certificate, b"", ""))
    review = Review(
        station_id=station, session_id=session, state="booked", transaction_id=session, begin_ms=1, end_ms=2,
        reason="", detail="", since_ms=3, due_ms=4,
    )  # fmt: skip
    use = Use(import_mwh=0, export_mwh=0, full_cycles=0, v2g_cycles=0, charging_ms=0, discharging_ms=0, idle_ms=1)
    posting = Posting(
        kind="settlement", station_id=station, session_id=session, journal_head=session, vehicle="", begin_ms=1,
        end_ms=2, entries=(), use=use,
    )  # fmt: skip
    fact = Fact(
        kind="evse", key="", station_id=station, evse_id=0, source="journal", source_id=session, transaction_id="",
        from_ms=1, to_ms=2,
    )  # fmt: skip
    found = reviews.book(connection, review, posting, b'{"totals":[]}', (fact,), int(session), UTC, signed=signed)
    return found.reason if isinstance(found, Finding) else found


def test_the_session_that_is_booked_first_says_whose_a_charger_is(store: Store, pki: PkiTree) -> None:
    one, two = charger_named(pki, "one").leaf, charger_named(pki, "two").leaf

    def work(connection: Connection) -> None:
        assert chargers.known(connection, "CS-1", one) == Charger(f"{NAME}one", "", "")
        assert book(connection, "CS-1", "1", one, signed=False) == "fresh"
        assert book(connection, "CS-2", "2", one) == "fresh"
        assert book(connection, "CS-1", "3", one) == "charger"
        assert book(connection, "CS-2", "4", two) == "charger"
        assert book(connection, "CS-1", "5", two) == "fresh"
        assert book(connection, "CS-1", "6", two) == "fresh"
        assert reviews.get(connection, "CS-1", "3") is None
        assert books.of_session(connection, "CS-1", "3") == []
        assert chargers.known(connection, "CS-1", one) == Charger(f"{NAME}one", "CS-2", f"{NAME}two")

    store.do(work)


def test_a_station_is_known_by_what_it_used_last(store: Store, pki: PkiTree) -> None:
    one, two = charger_named(pki, "one").leaf, charger_named(pki, "two").leaf

    def work(connection: Connection) -> None:
        chargers.take(connection, "CS-1", two, 1)
        chargers.take(connection, "CS-1", one, 2)
        assert chargers.known(connection, "CS-1", charger_named(pki, "three").leaf) == Charger(
            f"{NAME}three", "", f"{NAME}one"
        )
        chargers.take(connection, "CS-1", two, 3)
        assert chargers.known(connection, "CS-2", one) == Charger(f"{NAME}one", "CS-1", "")
        assert chargers.known(connection, "CS-1", one) == Charger(f"{NAME}one", "CS-1", f"{NAME}two")
        assert chargers.known(connection, "CS-1", b"none") is None

    store.do(work)


def test_certificates_are_kept_as_they_were_judged(store: Store) -> None:
    def work(connection: Connection) -> None:
        assert book(connection, "CS-1", "1", b"first", signed=False) == "fresh"
        reviews.save_certificates(connection, "CS-1", "1", Certificates(b"second", b"", ""))
        found = reviews.evidence(connection, "CS-1", "1", (1, 2), (), margin_ms=0)
        assert found.certificates is not None
        assert found.certificates.charger == b"first"
        waiting = reviews.get(connection, "CS-1", "1")
        assert waiting is not None
        reviews.put(connection, replace(waiting, session_id="2", state="waiting"))
        reviews.save_certificates(connection, "CS-1", "2", Certificates(b"second", b"", ""))
        reviews.save_certificates(connection, "CS-1", "2", Certificates(b"third", b"", ""))
        assert reviews.evidence(connection, "CS-1", "2", (1, 2), (), margin_ms=0).certificates == Certificates(
            b"third", b"", ""
        )

    store.do(work)
