"""A settlement is what the journal says and nothing else."""

from collections.abc import Callable

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st
from msgspec import UNSET

from tests.energy.settlement.conftest import Session
from v2g.asn1.discharge import PriceSlot
from v2g.energy.dispatch.earnings import wear_micro_per_kwh
from v2g.energy.grid_signal import Tariff
from v2g.energy.settlement.bookkeeping import is_balanced, posting_of
from v2g.energy.settlement.bundle import verify_bundle
from v2g.energy.settlement.canonical import canonical, sha256_hex
from v2g.energy.settlement.intervals import intervals_of
from v2g.energy.settlement.journal import Journal, verify_lines
from v2g.energy.settlement.records import (
    AnyRecord,
    ContractAuthorized,
    EnergyUnmetered,
    LineCorrected,
    MeterReading,
    SessionEnded,
    SessionRepriced,
    SessionStarted,
    TariffSet,
    TermsDecided,
    TermsOffered,
    VehicleDescribed,
    WearPriced,
)
from v2g.energy.settlement.session_journal import SessionJournal, readings_of
from v2g.energy.settlement.settle import BatteryUse, Settlement, price_book, settle
from v2g.errors import StoreError, VerificationError
from v2g.units import QUARTER_MS

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


@pytest.mark.requirement("R33")
def test_a_session_is_priced_anew_by_an_entry_after_its_end(finished: Session) -> None:
    s = settle(verify_lines(finished.journal))
    slots = tuple(PriceSlot(slot.start_ms, slot.duration_ms, -100_000, 0) for slot in finished.tariff.slots)
    change = SessionRepriced(tariff=Tariff(currency="EUR", slots=slots, version=9), reason="dispute 7", by="alice")
    journal = Journal.resume(finished.journal)
    again = settle(verify_lines(finished.journal + journal.append(change, finished.now + 1)))
    assert again.lines[: len(s.lines)] == s.lines
    (total,) = again.totals
    assert (total.import_mwh, total.export_credit) == (s.totals[0].import_mwh, 0)
    assert abs(total.import_cost + total.import_mwh // 10) <= len(s.lines)
    assert is_balanced(posting_of(again).entries)
    other = SessionRepriced(tariff=Tariff(currency="SEK", slots=slots), reason="x", by="alice")
    with pytest.raises(VerificationError, match="the tariff in SEK") as error:
        settle(verify_lines(finished.journal + Journal.resume(finished.journal).append(other, finished.now)))
    assert error.value.where == f"journal.jsonl:{len(finished.lines) + 1}"


@pytest.mark.parametrize("payload", [b"", b"\x30\x00", b"garbage"])
def test_terms_that_cannot_be_read_stop_the_settlement(session: Session, payload: bytes) -> None:
    """By file and line."""
    session.start()
    session.record(TermsOffered(payload=payload))
    with pytest.raises(VerificationError) as error:
        settle(verify_lines(session.journal))
    assert error.value.where == f"journal.jsonl:{len(session.lines)}"
    with pytest.raises(VerificationError) as error:
        price_book(verify_lines(session.journal))
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


def test_an_interval_in_which_the_meter_was_silent_has_to_say_so() -> None:
    missing = MeterReading(import_mwh=0, export_mwh=0, status=("missing",))
    records = ((60_000, missing), (QUARTER_MS + 5, reading(9_000)))
    (first,) = settled(*records).intervals
    assert first.status == ("missing",)
    assert settled(*records, (QUARTER_MS + 5, first)).intervals == (first,)
    unmarked = msgspec.structs.replace(first, status=UNSET)
    with pytest.raises(VerificationError, match="differs from that of the readings"):
        settled(*records, (QUARTER_MS + 5, unmarked))


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


def flat(currency: str = "EUR") -> TariffSet:
    return TariffSet(tariff=Tariff(currency=currency, slots=(PriceSlot(T0, QUARTER_MS, 300_000, 200_000),), version=3))


def session_of(*records: AnyRecord, exported: int) -> bytes:
    """Return the journal of a quarter of an hour that takes 2 kWh and feeds `exported` mWh back, half by half."""
    made = SessionJournal()
    lines = [line for record in (START, *records) for line in made.record(record, T0)]
    lines += made.record(reading(2_000_000, exported // 2), T0 + 60_000)
    return b"".join([*lines, *made.end("vehicle", T0 + QUARTER_MS, import_mwh=2_000_000, export_mwh=exported)])


@pytest.mark.requirement("R35")
def test_wear_has_a_line_of_its_own_beside_that_of_the_energy_fed_back() -> None:
    """100 a kWh of capacity of which 100 cycles take 0.4 %, worthless at 80 %: 0.02 a kWh."""
    price = wear_micro_per_kwh(100_000_000, loss_percent=0.4, worthless_at_percent=80)
    s = settle(verify_lines(session_of(flat(), WearPriced(price=price), exported=1_500_000)))
    assert [(line.kind, line.direction, line.energy_mwh, line.price, line.amount, line.basis) for line in s.lines] == [
        ("energy", "import", 2_000_000, 300_000, 600_000, "tariff:3"),
        ("energy", "export", 1_500_000, 200_000, 300_000, "tariff:3"),
        ("wear", "export", 1_500_000, 20_000, 30_000, "wear"),
    ]
    (total,) = s.totals
    assert (total.export_mwh, total.export_credit, total.wear_credit) == (1_500_000, 300_000, 30_000)
    assert total.balance == 600_000 - 300_000 - 30_000
    posting = posting_of(s)
    amounts = {each.account: each.amount for each in posting.entries if each.unit == "EUR"}
    assert amounts == {"sales": -600_000, "purchases": 300_000, "wear": 30_000, "driver": 270_000}
    assert is_balanced(posting.entries)
    assert msgspec.json.decode(canonical(s), type=Settlement) == s


@pytest.mark.requirement("R35")
@given(price=st.integers(0, 10**7), exported=st.integers(0, 10**8), before=st.booleans())
def test_wear_is_recomputed_from_the_journal_alone(price: int, exported: int, before: bool) -> None:
    """Energy times price, to half a micro-unit; the other lines are those of the session without it."""
    records = (WearPriced(price=price), flat()) if before else (flat(), WearPriced(price=price))
    plain, worn = (settle(verify_lines(session_of(*each, exported=exported))) for each in ((flat(),), records))
    assert [line for line in worn.lines if line.kind != "wear"] == list(plain.lines)
    assert abs(2 * (int(worn.totals[0].wear_credit or 0) * 10**6 - price * exported)) <= 10**6
    assert plain.totals[0].balance - worn.totals[0].balance == (worn.totals[0].wear_credit or 0)
    assert worn.battery == plain.battery


@pytest.mark.requirement("R35")
def test_wear_without_a_price_of_the_energy_earns_nothing() -> None:
    """It has no currency of its own."""
    s = settle(verify_lines(session_of(WearPriced(price=20_000), exported=1_500_000)))
    assert [line.kind for line in s.lines] == ["energy", "energy"]


@pytest.mark.requirement("R35")
def test_a_line_for_wear_is_corrected_like_any_other() -> None:
    journal = session_of(flat(), WearPriced(price=20_000), exported=1_500_000)
    (line,) = (each for each in settle(verify_lines(journal)).lines if each.kind == "wear")
    journal += Journal.resume(journal).append(LineCorrected(line=line.id, price=10_000, reason="x"), T0 + QUARTER_MS)
    (total,) = settle(verify_lines(journal)).totals
    assert (total.export_mwh, total.export_credit, total.wear_credit) == (1_500_000, 300_000, 15_000)


@pytest.mark.requirement("R35")
def test_a_journal_without_wear_settles_to_the_same_bytes_as_before() -> None:
    """The digests are those of the version before wear had a price."""
    journal = session_of(VehicleDescribed(evcc_id="A", battery_capacity_wh=60_000), flat(), exported=1_500_000)
    assert sha256_hex(journal) == "77093d66e3761cc98364647ef0696549896171dceab55cc644d00cffeb9db3da"
    assert (
        sha256_hex(canonical(settle(verify_lines(journal))))
        == "7f047b3508fd52e7f8caa07f6e34c1a43a11a5a548b8bcaff2f86a949202dd67"
    )


@pytest.mark.requirement("R35")
def test_a_bundle_with_wear_is_verified_and_its_report_says_what_it_earns(session: Session) -> None:
    session.start()
    session.record(WearPriced(price=600_000))
    session.offer()
    session.flow(-10_000, 60_000)
    session.end()
    report = verify_bundle(session.bundle())
    assert report.settlement.totals[0].wear_credit == 99_994
    assert any(", wear 0.10 EUR, balance" in line for line in report.lines())
    assert not any("did not count" in line for line in report.lines())


@pytest.mark.requirement("R31")
def test_energy_that_the_meter_did_not_count_is_stated_and_not_charged(session: Session) -> None:
    session.start()
    session.flow(10_000, 60_000)
    session.record(EnergyUnmetered(import_mwh=0, export_mwh=2_000))
    session.record(EnergyUnmetered(import_mwh=111_000, export_mwh=0))
    session.end()
    report = verify_bundle(session.bundle())
    assert report.settlement.unmetered == EnergyUnmetered(import_mwh=111_000, export_mwh=2_000)
    assert report.settlement.totals[0].import_mwh == session.import_mwh - session.begin[0]
    assert any("import 0.111000 kWh and" in line and "did not count" in line for line in report.lines())
