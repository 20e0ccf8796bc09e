"""A settlement is what the journal says and nothing else."""

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.energy.settlement.conftest import Session
from v2g.energy.settlement.canonical import canonical
from v2g.energy.settlement.journal import Journal, verify_lines
from v2g.energy.settlement.records import LineCorrected, TermsDecided, TermsOffered
from v2g.energy.settlement.settle import settle
from v2g.errors import StoreError, VerificationError


@pytest.mark.requirement("R31", "R37")
def test_a_session_settles_to_its_registers(finished: Session) -> None:
    """Energy of the lines is energy of the registers, each way, and the times add up to the plugged time."""
    s = settle(verify_lines(finished.journal))
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
    with pytest.raises(VerificationError, match="no standing line") as error:
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
    from v2g.energy.settlement.records import MeterReading, SessionStarted

    journal = Journal()
    journal.append(
        SessionStarted(
            station_id="CS",
            evse_id="E",
            session_id="00",
            meter_serial="M",
            meter_certificate="ab",
            charger_certificate="cd",
            import_mwh=0,
            export_mwh=0,
        ),
        0,
    )
    in_order = order == sorted(order)
    try:
        for number in order:
            journal.append(MeterReading(import_mwh=number * 10, export_mwh=0), number)
    except StoreError:
        assert not in_order
    else:
        assert in_order
