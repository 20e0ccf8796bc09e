"""A settlement is what the journal says and nothing else."""

from collections.abc import Callable

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.energy.settlement.conftest import Session
from v2g.energy.grid_signal import QUARTER_MS
from v2g.energy.settlement.canonical import canonical
from v2g.energy.settlement.intervals import intervals_of
from v2g.energy.settlement.journal import Journal, verify_lines
from v2g.energy.settlement.ledger import readings_of
from v2g.energy.settlement.records import (
    AnyRecord,
    ContractAuthorized,
    LineCorrected,
    MeterReading,
    SessionEnded,
    SessionStarted,
    TermsDecided,
    TermsOffered,
    VehicleDescribed,
)
from v2g.energy.settlement.settle import BatteryUse, Settlement, settle
from v2g.errors import StoreError, VerificationError

START = SessionStarted(
    station_id="CS",
    evse_id="E",
    session_id="00",
    meter_serial="M",
    meter_certificate="ab",
    charger_certificate="cd",
    import_mwh=0,
    export_mwh=0,
)
T0 = 2_000_000 * QUARTER_MS


@pytest.mark.requirement("R31", "R37")
def test_a_session_settles_to_its_registers(finished: Session) -> None:
    """Energy of the lines is energy of the registers, each way, and the times add up to the plugged time."""
    entries = verify_lines(finished.journal)
    s = settle(entries)
    assert (s.begin.utc_ms, s.end.utc_ms) == (finished.start_ms, finished.now)
    assert (s.journal_entries, s.journal_head) == (len(finished.lines), entries[-1].hash)
    taken, fed_back = (
        sum(line.energy_mwh for line in s.lines if line.direction == direction) for direction in ("import", "export")
    )
    assert taken == finished.import_mwh - finished.begin[0]
    assert fed_back == finished.export_mwh - finished.begin[1]
    assert s.times.charging_ms == s.times.discharging_ms == 20 * 60_000
    assert s.times.idle_ms == 0
    assert (s.emaid, s.reason, s.state) == ("DEV2GC00000001", "vehicle", "closed")


def test_import_follows_the_tariff_and_export_the_accepted_offer(finished: Session) -> None:
    """The basis of each line says which."""
    s = settle(verify_lines(finished.journal))
    assert {line.basis for line in s.lines if line.direction == "import"} == {"tariff:3"}
    offer = finished.vehicle.offer
    assert offer is not None
    assert {line.basis for line in s.lines if line.direction == "export"} == {f"offer:{offer.offer_id.hex()}"}


@pytest.mark.requirement("R35", "R36")
def test_battery_use_counts_throughput_and_cycles(finished: Session) -> None:
    """Export over capacity, in millionths of a cycle."""
    use = settle(verify_lines(finished.journal)).battery
    taken, fed_back = finished.import_mwh - finished.begin[0], finished.export_mwh - finished.begin[1]
    assert use.capacity_wh == 60_000
    assert use.throughput_mwh == taken + fed_back
    assert use.v2g_cycles == fed_back * 10**6 // (60_000 * 1_000)
    assert use.full_cycles == (taken + fed_back) * 10**6 // (2 * 60_000 * 1_000)


def test_a_settlement_survives_its_canonical_form(finished: Session) -> None:
    """Every figure an integer, so that nothing is lost in JSON."""
    s = settle(verify_lines(finished.journal))
    assert msgspec.json.decode(canonical(s), type=type(s)) == s
    assert b"." not in canonical([line.amount for line in s.lines])


def test_corrections_follow_the_end_and_reverse(finished: Session) -> None:
    """The journal grows; the line that was wrong stays where it is."""
    s = settle(verify_lines(finished.journal))
    wrong = s.lines[0]
    journal = Journal.resume(finished.journal)
    corrected = finished.journal + journal.append(
        LineCorrected(line=wrong.id, price=0, reason="free hour"), finished.now + 1
    )
    again = settle(verify_lines(corrected))
    assert again.lines[: len(s.lines)] == s.lines
    assert again.totals[0].import_cost == s.totals[0].import_cost - wrong.amount
    assert again.totals[0].import_mwh == s.totals[0].import_mwh
    twice = corrected + journal.append(LineCorrected(line=wrong.id, price=1, reason="again"), finished.now + 2)
    with pytest.raises(VerificationError, match="is in force") as error:
        settle(verify_lines(twice))
    assert error.value.where == f"journal.jsonl:{len(finished.lines) + 2}"


@pytest.mark.parametrize("payload", [b"", b"\x30\x00", b"garbage"])
def test_terms_that_cannot_be_read_stop_the_settlement(session: Session, payload: bytes) -> None:
    """By file and line."""
    session.start()
    session.record(TermsOffered(payload=payload))
    with pytest.raises(VerificationError) as error:
        settle(verify_lines(session.journal))
    assert error.value.where == f"journal.jsonl:{len(session.lines)}"


def test_an_acceptance_of_no_offer_stops_the_settlement(session: Session) -> None:
    """Prices come from an offer in the same journal."""
    session.start()
    session.offer()
    decision = session.lines.pop()
    offered = session.lines.pop()
    journal = Journal.resume(session.journal)
    payload = verify_lines(session.journal + offered + decision)[-1].data
    assert isinstance(payload, TermsDecided)
    session.lines.append(journal.append(payload, session.now))
    with pytest.raises(VerificationError, match="no offer in this journal"):
        settle(verify_lines(session.journal))


@pytest.mark.requirement("R39")
@given(order=st.permutations(range(5)))
def test_readings_out_of_order_are_refused_and_not_resorted(order: list[int]) -> None:
    """Settlement depends on the journal's order only, and that cannot be another one."""
    journal = Journal()
    journal.append(START, 0)
    in_order = order == sorted(order)
    try:
        for number in order:
            journal.append(MeterReading(import_mwh=number * 10, export_mwh=0), number)
    except StoreError:
        assert not in_order
    else:
        assert in_order


def reading(import_mwh: int, export_mwh: int = 0) -> MeterReading:
    return MeterReading(import_mwh=import_mwh, export_mwh=export_mwh)


def journal_of(*records: tuple[int, AnyRecord]) -> bytes:
    journal = Journal()
    return b"".join(journal.append(record, T0 + ms) for ms, record in ((0, START), *records))


def settled(*records: tuple[int, AnyRecord]) -> Settlement:
    return settle(verify_lines(journal_of(*records)))


def test_each_span_counts_by_what_flowed_in_it() -> None:
    """Charging, discharging, nothing, both alike, more in, more out."""
    spans = [(1, 9, 0), (2, 0, 9), (4, 0, 0), (8, 5, 5), (16, 5, 4), (32, 4, 5)]
    records, now, taken, fed_back = [], 0, 0, 0
    for length, more_in, more_out in spans:
        now, taken, fed_back = now + length, taken + more_in, fed_back + more_out
        records.append((now, reading(taken, fed_back)))
    times = settled(*records).times
    assert (times.charging_ms, times.discharging_ms, times.idle_ms) == (1 + 8 + 16, 2 + 32, 4)


def test_an_open_session_of_an_unknown_vehicle_settles_as_far_as_it_is_known() -> None:
    """No reason, no contract, no cycles, and no interval that is not over."""
    s = settled((60_000, reading(7_000, 5_000)))
    assert (s.state, s.reason, s.emaid, s.intervals, s.lines) == ("open", None, None, (), ())
    assert s.battery == BatteryUse(capacity_wh=None, throughput_mwh=12_000, full_cycles=None, v2g_cycles=None)
    assert (s.begin.utc_ms, s.end.utc_ms, s.journal_entries) == (T0, T0 + 60_000, 2)
    assert s.format == "v2g-settlement/1"


def test_the_vehicle_that_was_described_last_and_the_contract_count() -> None:
    contract = ContractAuthorized(emaid="DEV2GC00000001", contract_certificate="ab", authorized_by="csms")
    described = [VehicleDescribed(evcc_id="A"), *(VehicleDescribed(evcc_id="A", battery_capacity_wh=n) for n in (1, 2))]
    s = settled((0, contract), *((0, each) for each in described), (9, reading(8_000, 4_000)))
    assert (s.emaid, s.battery.capacity_wh) == ("DEV2GC00000001", 2)
    assert (s.battery.full_cycles, s.battery.v2g_cycles) == (12_000 * 1000 // 4, 4_000 * 1000 // 2)


def test_intervals_in_the_journal_are_those_of_its_readings() -> None:
    """While a session runs the newest may be missing; at its end none is; and there is never one more."""
    read, ended = (QUARTER_MS + 5, reading(9_000)), SessionEnded(reason="x", import_mwh=9_000, export_mwh=0)
    whole = [*intervals_of(readings_of(verify_lines(journal_of(read))), finished=True)]
    first, last = ((read[0], each) for each in whole)
    for records in ((read,), (read, first), (read, first, last), (read, first, last, (read[0], ended))):
        assert settled(*records).intervals == tuple(whole[: 2 if last in records else 1])
    extra = (read[0], msgspec.structs.replace(whole[1], start_ms=whole[1].start_ms + 1))
    for records, line, said in (
        ((read, last), 3, "differs from that of the readings"),
        ((read, first, extra), 4, "differs from that of the readings"),
        ((read, first, last, extra), 5, "differs from that of the readings"),
        ((read, first, (read[0], ended)), 4, f"the interval from {T0 + QUARTER_MS} is missing"),
        ((read, (read[0], ended)), 3, f"the interval from {T0} is missing"),
    ):
        with pytest.raises(VerificationError, match=said) as error:
            settle(verify_lines(journal_of(*records)), name="x")
        assert error.value.where == f"x:{line}"


def test_prices_follow_the_tariff_again_once_the_vehicle_has_declined(session: Session) -> None:
    """An acceptance holds until the vehicle answers a newer offer with no."""
    session.start()
    session.offer()
    session.flow(11_000, 60_000)
    session.accepts = False
    session.offer()
    session.flow(11_000, 60_000)
    session.end()
    bases = [line.basis.partition(":")[0] for line in settle(verify_lines(session.journal)).lines]
    assert bases == ["offer", "tariff"]


@pytest.mark.parametrize(
    "change",
    [
        lambda offered, decided: TermsOffered(payload=decided.payload),
        lambda offered, decided: msgspec.structs.replace(decided, payload=b"garbage"),
        lambda offered, decided: msgspec.structs.replace(decided, payload=b"0\x00"),
    ],
)
def test_signed_messages_that_are_not_what_their_entry_says_stop_the_settlement(
    session: Session, change: Callable[[TermsOffered, TermsDecided], AnyRecord]
) -> None:
    """By file and line."""
    session.start()
    session.offer()
    offered, decided = (each.data for each in verify_lines(session.journal)[-2:])
    assert isinstance(offered, TermsOffered)
    assert isinstance(decided, TermsDecided)
    session.record(change(offered, decided))
    with pytest.raises(VerificationError) as error:
        settle(verify_lines(session.journal))
    assert error.value.where == f"journal.jsonl:{len(session.lines)}"
