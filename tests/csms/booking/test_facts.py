"""Which sessions cannot both be: at one EVSE, by one meter, with one contract or vehicle at two places."""

from typing import Any

import msgspec
import pytest

from csms.booking.facts import (
    STANDING,
    Contradiction,
    Fact,
    contradictions,
    evse_key,
    held_by,
    of_journal,
    of_session,
    placed,
)
from tests.csms.settlement.journals import T0, journal, started
from tests.csms.support import utc
from v2g.energy.settlement.journal import verify_lines
from v2g.energy.settlement.records import MeterReading, VehicleDescribed
from v2g.energy.settlement.session_journal import SessionJournal
from v2g.energy.settlement.settle import settle

pytestmark = pytest.mark.requirement("R195")

MINUTE = 60_000
HOUR = 60 * MINUTE
KWH = 1_000_000
NOON = 1_795_000_000_000


def fact(name: str = "tx-1", begin_ms: int = NOON, lasts_ms: int = HOUR, **changes: Any) -> Fact:
    """Return what a transaction says about its EVSE: 5 kWh from 100 kWh on, in an hour from noon."""
    known = Fact(
        kind="evse",
        key="CS-1/1",
        station_id="CS-1",
        evse_id=1,
        source="transaction",
        source_id=name,
        transaction_id=name,
        from_ms=begin_ms,
        to_ms=begin_ms + lasts_ms,
        imports=(100 * KWH, 105 * KWH),
    )
    return msgspec.structs.replace(known, **changes)


def after(name: str = "tx-2", **changes: Any) -> Fact:
    """Return what the next one says, an hour later: 105 to 110 kWh."""
    return msgspec.structs.replace(fact(name, NOON + 2 * HOUR, imports=(105 * KWH, 110 * KWH)), **changes)


def reasons(one: Fact, *others: Fact) -> list[str]:
    """Return why a fact contradicts others."""
    return [each.reason for each in contradictions(one, others)]


def both_ways(one: Fact, other: Fact) -> list[list[str]]:
    """Return the reasons whichever landed first."""
    return [reasons(one, other), reasons(other, one)]


def test_one_after_the_other_fits() -> None:
    assert both_ways(fact(), after()) == [[], []]
    assert reasons(fact("tx-1"), fact("tx-1", HOUR, imports=(0, 1))) == [], "it lands again, by later events"


def test_the_same_session_under_another_id() -> None:
    again = fact("tx-2")
    (by_time, by_register) = contradictions(again, [fact()])
    assert by_time == Contradiction(
        "repeated", f"transaction tx-1 of CS-1 was at its EVSE from {utc(NOON)} to {utc(NOON + HOUR)}", fact()
    )
    detail = "the import register is 100000 to 105000 Wh, that of transaction tx-1 of CS-1 100000 to 105000 Wh"
    assert by_register == Contradiction("repeated", detail, fact())


def test_what_contradicts_one_at_its_evse_is_held_whatever_the_other_s_state() -> None:
    for state in ("booked", "disputed"):
        other = msgspec.structs.replace(fact("tx-2"), state=state)
        assert {held_by(each) for each in contradictions(fact(), [other])} == {"held"}


def test_one_transaction_at_a_time_but_for_what_clocks_differ() -> None:
    for overlap_ms, found in ((MINUTE, []), (MINUTE + 1, ["repeated"])):
        early = after(from_ms=NOON + HOUR - overlap_ms)
        assert both_ways(fact(), early) == [found, found]


def test_the_same_registers_later() -> None:
    later = after(imports=(100 * KWH, 105 * KWH))
    assert both_ways(fact(), later) == [["repeated"], ["repeated"]]
    (found,) = contradictions(fact(), [later])
    assert found.detail == (
        "the import register is 100000 to 105000 Wh, later that of transaction tx-2 of CS-1 100000 to 105000 Wh"
    )
    assert found.other == later


@pytest.mark.parametrize("way", ["imports", "exports"])
def test_registers_never_fall_from_one_to_the_next(way: str) -> None:
    first = fact(imports=None, exports=None) if way == "exports" else fact()
    first = msgspec.structs.replace(first, **{way: (100 * KWH, 105 * KWH)})
    for begin, reason in (
        (105 * KWH, None), (105 * KWH - 1_000, None), (105 * KWH - 1_001, "repeated"), (100 * KWH + 1, "repeated"),
    ):  # fmt: skip
        second = after(imports=None, exports=None)
        second = msgspec.structs.replace(second, **{way: (begin, 110 * KWH)})
        assert both_ways(first, second) == [[reason] if reason else []] * 2
    other_meter = msgspec.structs.replace(after(imports=None), **{way: (20 * KWH, 100 * KWH)})
    assert both_ways(first, other_meter) == [["fall"], ["fall"]]
    stood = f"the {way.removesuffix('s')} register is"
    (found,) = contradictions(first, [other_meter])
    assert found.detail == f"{stood} 100000 to 105000 Wh, later that of transaction tx-2 of CS-1 20000 to 100000 Wh"
    (found,) = contradictions(other_meter, [first])
    assert found.detail == f"{stood} 20000 to 100000 Wh, that of transaction tx-1 of CS-1 100000 to 105000 Wh"
    above = msgspec.structs.replace(other_meter, **{way: (20 * KWH, 100 * KWH + 1)})
    assert both_ways(first, above) == [["repeated"], ["repeated"]]


def test_a_register_that_a_station_does_not_report_contradicts_nothing() -> None:
    assert both_ways(fact(imports=None), after(imports=(1, 2))) == [[], []]


def test_a_meter_that_counts_each_session_from_0() -> None:
    counted = fact(imports=(0, 5 * KWH))
    assert both_ways(counted, after(imports=(0, 4 * KWH))) == [[], []]
    assert reasons(after(imports=(0, 4 * KWH)), fact()) == ["fall"], "it did not before"
    assert reasons(after(imports=(1, 4 * KWH)), counted) == ["repeated"]


def test_a_journal_s_registers_may_differ_by_10_wh_from_those_by_ocpp() -> None:
    for source, least in (("journal", 10_000), ("transaction", 1_000)):
        for less, found in ((least, []), (least + 1, ["repeated"])):
            second = after(source=source, source_id="aa", imports=(105 * KWH - less, 110 * KWH))
            assert both_ways(fact(), second) == [found, found]


def test_a_journal_and_its_transaction_are_one_session() -> None:
    its = fact("aa", source="journal", transaction_id="tx-1")
    assert both_ways(fact(), its) == [[], []]
    elsewhere = msgspec.structs.replace(its, station_id="CS-2")
    assert both_ways(fact(), elsewhere) == [["repeated"] * 2] * 2
    unknown = fact("aa", source="journal", transaction_id="")
    assert reasons(unknown, fact("bb", transaction_id="")) == ["repeated"] * 2


def test_journals_of_one_transaction_touch_but_do_not_overlap() -> None:
    one = fact("aa", source="journal", transaction_id="tx-1", imports=None)
    for begin_ms, found in ((NOON + HOUR, []), (NOON + HOUR - 1, ["repeated"])):
        next_one = msgspec.structs.replace(one, source_id="bb", from_ms=begin_ms, to_ms=NOON + 2 * HOUR)
        assert both_ways(one, next_one) == [found, found]
    assert reasons(one, one) == []


@pytest.mark.parametrize("kind", ["contract", "vehicle"])
def test_a_contract_and_a_vehicle_are_at_one_place_at_a_time(kind: str) -> None:
    here = fact(kind=kind, key="DEV2GC1", imports=None)
    for changes in ({"station_id": "CS-2"}, {"evse_id": 2}):
        for overlap_ms, found in ((2 * MINUTE, []), (2 * MINUTE + 1, ["elsewhere"])):
            there = msgspec.structs.replace(
                here, source_id="tx-2", transaction_id="tx-2", to_ms=NOON + 2 * HOUR, **changes
            )
            there = msgspec.structs.replace(there, from_ms=NOON + HOUR - overlap_ms)
            assert both_ways(here, there) == [found, found]
    same_place = msgspec.structs.replace(here, source_id="tx-2", transaction_id="tx-2", imports=(1, 2))
    assert both_ways(msgspec.structs.replace(here, imports=(2, 3)), same_place) == [[], []], "its EVSE says that"
    assert reasons(here, msgspec.structs.replace(here, station_id="CS-2")) == ["elsewhere"], "stations share names"
    (shown,) = contradictions(here, [msgspec.structs.replace(same_place, evse_id=2)])
    assert shown.detail == f"its {kind} was at another EVSE from {utc(NOON)} to {utc(NOON + HOUR)}"


@pytest.mark.parametrize(
    ("state", "found", "held"),
    [
        ("booked", [], None),
        ("disputed", [], None),
        ("proven", ["elsewhere"], "held"),
        ("released", ["elsewhere"], "held"),
    ],
)
def test_where_a_vehicle_has_signed_it_was(state: Any, found: list[str], held: str | None) -> None:
    """Unless it signed elsewhere, too, or a person says so; of a transaction only while its journal lasts."""
    signed = fact("aa", kind="contract", key="DEV2GC1", imports=None, source="journal", transaction_id="tx-1")
    signed = msgspec.structs.replace(signed, state="proven")
    there = msgspec.structs.replace(
        signed, station_id="CS-2", source="transaction", source_id="tx-2", transaction_id="tx-2", state=state
    )
    assert reasons(signed, there) == found
    its = msgspec.structs.replace(signed, source="transaction", source_id="tx-1", state="booked")
    assert reasons(its, there) == ["elsewhere"]
    assert reasons(its, there, signed) == found
    for before_ms, after_ms, beyond in (
        (MINUTE, MINUTE, found),
        (MINUTE + 1, 0, ["elsewhere"]),
        (0, MINUTE + 1, ["elsewhere"]),
    ):
        times = {"from_ms": NOON - before_ms, "to_ms": NOON + HOUR + after_ms}
        longer = [msgspec.structs.replace(each, **times) for each in (its, there)]
        assert reasons(longer[0], longer[1], signed) == beyond
    assert [held_by(each) for each in contradictions(signed, [there])] == ([held] if held else [])
    against = list(contradictions(there, [signed, its]))
    assert [held_by(each) for each in against] == ["held", "disputed"] if state != "proven" else ["held", "held"]


def test_an_exchanged_meter_counts_from_where_it_begins() -> None:
    exchange = fact("1", NOON + HOUR, 0, source="exchange", transaction_id="", imports=(105 * KWH, 7 * KWH))
    second = after(imports=(7 * KWH, 9 * KWH))
    assert reasons(second, fact(), exchange) == []
    assert reasons(second, exchange, fact()) == []
    assert reasons(fact(), second, exchange) == []
    assert reasons(exchange, fact(), second) == []
    assert reasons(after(imports=(6 * KWH, 9 * KWH)), fact(), exchange) == ["fall"]
    assert reasons(fact(imports=(100 * KWH, 106 * KWH)), exchange, second) == ["fall"]


def test_what_a_person_has_released_is_a_new_base() -> None:
    odd = after("odd", imports=(1 * KWH, 2 * KWH))
    third = fact("tx-3", NOON + 4 * HOUR, imports=(2 * KWH, 3 * KWH))
    assert reasons(third, fact(), odd) == ["fall"]
    released = msgspec.structs.replace(odd, state="released")
    assert reasons(third, fact(), released) == []
    assert reasons(fact("tx-0", NOON - 2 * HOUR, imports=(90 * KWH, 100 * KWH)), released, fact()) == ["fall"]
    assert reasons(fact("tx-0", NOON - HOUR, HOUR, imports=(0, 1)), msgspec.structs.replace(
        fact(imports=(1, 2)), state="released"), after(imports=(0, 1))) == []  # fmt: skip


def test_each_of_several_neighbours_counts() -> None:
    """A journal lands between sessions of which only the transactions, or only the journals, are there."""
    before = fact(imports=None), fact("aa", NOON - 2 * HOUR, source="journal", imports=(300 * KWH, 301 * KWH))
    assert reasons(after(), *before) == ["fall"]
    later = after(imports=None), after("bb", source="journal", from_ms=NOON + 5 * HOUR, imports=(1, 2))
    assert reasons(fact(), *later) == ["fall"]


def test_what_others_must_fit() -> None:
    assert STANDING == ("booked", "proven", "disputed", "released")
    assert fact().state == "booked"


def test_the_facts_of_a_session() -> None:
    evse = fact(exports=(1, 2))
    assert of_session(evse, "") == (evse,)
    found = of_session(evse, "DEV2GC1", "WMI1")
    assert found == (
        evse,
        msgspec.structs.replace(evse, kind="contract", key="DEV2GC1", imports=None, exports=None),
        msgspec.structs.replace(evse, kind="vehicle", key="WMI1", imports=None, exports=None),
    )
    assert [each.kind for each in of_session(evse, "", "WMI1")] == ["evse", "vehicle"]
    assert evse_key("CS-1", 2) == "CS-1/2"


def _of(lines: list[bytes]) -> tuple[Fact, ...]:
    entries = verify_lines(b"".join(lines))
    return of_journal(entries, settle(entries, name="test"))


def test_the_facts_of_a_journal() -> None:
    evse, contract = _of(journal())
    assert evse == Fact(
        kind="evse",
        key="CS-V2G-0001/0",
        station_id="CS-V2G-0001",
        evse_id=0,
        source="journal",
        source_id="0102030405060708",
        transaction_id="",
        from_ms=T0,
        to_ms=T0 + 1_600_000,
        imports=(1_000, 2_001_000),
        exports=(0, 1_000_000),
    )
    assert contract == msgspec.structs.replace(evse, kind="contract", key="DEV2GC00000001", imports=None, exports=None)
    assert placed((evse, contract), "CS-9", "aa", "tx-9", 3) == [
        msgspec.structs.replace(
            evse, key="CS-9/3", station_id="CS-9", evse_id=3, source_id="aa", transaction_id="tx-9"
        ),
        msgspec.structs.replace(
            contract, key="DEV2GC00000001", station_id="CS-9", evse_id=3, source_id="aa", transaction_id="tx-9"
        ),
    ]


def _metered(*shown: tuple[int, int], rollover_mwh: Any = msgspec.UNSET) -> Fact:
    """Return the EVSE's fact of a journal whose meter shows these registers."""
    ledger, begin = SessionJournal(), msgspec.structs.replace(started(), rollover_mwh=rollover_mwh)
    lines = ledger.record(begin, T0)
    lines += ledger.record(VehicleDescribed(evcc_id="WMI1"), T0)
    for number, (imports, exports) in enumerate(shown, 1):
        at_ms = T0 + number * MINUTE
        lines += ledger.record(MeterReading(import_mwh=imports, export_mwh=exports), at_ms)
    lines += ledger.end("vehicle", T0 + HOUR, import_mwh=imports, export_mwh=exports)
    evse, vehicle = _of(lines)
    assert (vehicle.kind, vehicle.key) == ("vehicle", "WMI1")
    return evse


def test_registers_are_those_that_the_meter_shows() -> None:
    """After a reset a journal's go on, and the next session's begin where the meter stands."""
    found = _metered((1_010, 20), (7, 8), (9, 9))
    assert (found.imports, found.exports) == ((1_000, 9), (0, 9))
    assert _metered((1_010, 20)).imports == (1_000, 1_010)


def test_registers_that_start_again_at_a_maximum_count_by_ocpp() -> None:
    found = _metered((1_010, 20), rollover_mwh=10_000)
    assert (found.imports, found.exports) == (None, None)
