"""Checkpoints of whole sessions: what both sides have signed, for every version, pause and loss."""

import time
from typing import Any

import pytest
from msgspec.structs import replace

from evcc.session.settings import DischargeConfig, ProgramStep, ServiceConfig, SessionConfig
from pki_tools.tree import PkiTree
from secc.session import ports as se
from secc.session.config import EnergyService, SeccConfig, SignedDischargeConfig
from tests.sessions.joined import Joined
from v2g.asn1.discharge import CheckpointReceipt, DischargeCheckpoint, signed_content
from v2g.energy.limits import Setpoint
from v2g.energy.settlement.bundle import Chains, verify_bundle, write_bundle
from v2g.energy.settlement.checkpoints import Copy
from v2g.energy.settlement.journal import verify_lines
from v2g.energy.settlement.ocmf import Assignment, MeterIdentity
from v2g.energy.settlement.records import (
    CheckpointAnswered,
    CheckpointIssued,
    CommandAccepted,
    ServiceChanged,
    TermsDecided,
)
from v2g.energy.settlement.report import Report
from v2g.energy.settlement.session_journal import SessionJournal
from v2g.energy.settlement.signed_meter import sign_meter
from v2g.errors import VerificationError
from v2g.iso15118.d20.services import ServiceId
from v2g.iso15118.engine.v2gtp import HEADER_SIZE, PayloadType
from v2g.iso15118.signed_requests import read_confirmation

pytestmark = pytest.mark.requirement("R25", "R32")

CHARGE = ProgramStep(do="charge", energy_wh=200)
DISCHARGE = ProgramStep(do="discharge", energy_wh=300)
VEHICLE = SessionConfig(program=(CHARGE, DISCHARGE))
OLD_VEHICLE = SessionConfig(program=(CHARGE, DISCHARGE), services=ServiceConfig(checkpoints=False))
OLD_CHARGER = SeccConfig(signed_discharge=SignedDischargeConfig(checkpoints=False))


def make(pki: PkiTree, **options: Any) -> Joined:
    return Joined(pki, time.time_ns() // 1_000_000, **{"vehicle": VEHICLE, **options})


def interval(joined: Joined) -> None:
    """A quarter hour is over."""
    joined.secc.fact(joined.read("interval"), joined.now, joined.utc_ms)
    joined.settle()


def run(joined: Joined) -> Joined:
    """Run to the end, with a quarter hour in the middle of the discharge."""
    joined.run(lambda: joined.exported_mwh() > 100_000)
    interval(joined)
    joined.run()
    assert joined.evcc_reason == "finished"
    return joined


def bundle(joined: Joined, pki: PkiTree) -> dict[str, bytes]:
    journal = b"".join(joined.lines)
    charger, meter = pki.credentials("secc"), pki.credentials("meter")
    signed = sign_meter(
        verify_lines(journal),
        identity=MeterIdentity(meter_serial="METER-0001", gateway="v2g-engine"),
        assignment=Assignment(emaid="DEV2GC00000001", evse_id=joined.charger_config.evse_id),
        pagination=1,
        key=meter.key,
    )
    contract = pki.credentials("contract")
    chains = Chains(charger=charger.chain, contract=contract.chain, meter=meter.chain, roots=pki.anchors("v2g", "mo"))
    return write_bundle(
        journal,
        ocmf_import=signed["import"],
        ocmf_export=signed["export"],
        chains=chains,
        key=charger.key,
        created_ms=joined.utc_ms,
    )


def verified(joined: Joined, pki: PkiTree, **options: Any) -> Report:
    copies = [(f"copies:{number}", copy) for number, copy in enumerate(joined.copies, 1)]
    files = bundle(joined, pki)
    return verify_bundle(files, confirmations=read_confirmation, most_reaction_ms=10_000, copies=copies, **options)


@pytest.fixture(scope="module")
def finished(pki: PkiTree) -> Joined:
    """A whole session of two honest sides."""
    return run(make(pki))


def test_both_sides_sign_every_quarter_hour_and_the_end(finished: Joined, pki: PkiTree) -> None:
    proved = verified(finished, pki, require={"checkpoints"}).discharge.checkpoints
    assert (proved.version, proved.issued, proved.countersigned, proved.refused) == (2, 2, 2, 0)
    assert proved.final
    assert (proved.import_mwh, proved.export_mwh) == (finished.imported_mwh(), finished.exported_mwh())
    assert (proved.after_import_mwh, proved.after_export_mwh) == (0, 0)
    assert [copy.number for copy in finished.copies] == [1, 2]
    assert not finished.vehicle_saw("offer", "checkpoint_missing")


@pytest.mark.some(1)
@pytest.mark.parametrize(
    "options", [{"vehicle": OLD_VEHICLE}, {"charger": OLD_CHARGER}, {"vehicle": OLD_VEHICLE, "charger": OLD_CHARGER}]
)
def test_peers_of_version_1_discharge_and_the_bundle_says_what_it_lacks(pki: PkiTree, options: dict[str, Any]) -> None:
    joined = run(make(pki, **options))
    report = verified(joined, pki, require={"signed"})
    assert (report.discharge.checkpoints.version, report.discharge.checkpoints.issued) == (1, 0)
    assert report.discharge.export_mwh > 250_000
    assert not joined.copies
    assert any(line.startswith("No checkpoints, as discharge was signed by version 1") for line in report.lines())
    with pytest.raises(VerificationError, match="countersigned no checkpoint"):
        verified(joined, pki, require={"checkpoints"})


def test_a_vehicle_without_the_service_leaves_its_confirmed_readings(pki: PkiTree) -> None:
    vehicle = SessionConfig(
        program=(CHARGE, DISCHARGE),
        services=ServiceConfig(signed_discharge=False),
        discharge=DischargeConfig(require_signed=False),
    )
    joined = make(pki, vehicle=vehicle, charger=SeccConfig(signed_discharge=SignedDischargeConfig(required=False)))
    joined.run(lambda: joined.imported_mwh() > 200_000)
    joined.secc.fact(se.SetpointChanged(Setpoint(power_w=-8_000, source="csms")), joined.now, joined.utc_ms)
    joined.run(lambda: joined.exported_mwh() > 100_000)
    interval(joined)
    joined.secc.fact(se.MeteringConfirmationRequested(), joined.now, joined.utc_ms)
    joined.run()
    report = verified(joined, pki)
    assert report.discharge.checkpoints.version == 0
    assert report.confirmed_wh is not None
    (said,) = [line for line in report.lines() if line.startswith("The vehicle signed")]
    assert f"{report.confirmed_wh[0]} Wh in and {report.confirmed_wh[1]} Wh out" in said
    assert report.confirmed_wh[1] >= 100
    with pytest.raises(VerificationError, match="plain standard"):
        verified(joined, pki, require={"signed", "checkpoints"})


def test_a_pause_continues_the_numbers(pki: PkiTree) -> None:
    vehicle = SessionConfig(program=(CHARGE, DISCHARGE, ProgramStep(do="wait", pause=True, for_s=60), DISCHARGE))
    first = make(pki, vehicle=vehicle)
    first.run()
    assert first.evcc_reason == "paused"
    assert [copy.number for copy in first.copies] == [1]
    second = make(pki, before=first)
    run(second)
    assert [copy.number for copy in second.copies] == [1, 2, 3]
    proved = verified(second, pki, require={"checkpoints"}).discharge.checkpoints
    assert (proved.issued, proved.countersigned, proved.final, proved.ended) == (3, 3, True, True)
    receipts = [signed_content(copy.receipt) for copy in second.copies]
    assert [each.ended for each in receipts if isinstance(each, CheckpointReceipt)] == [False, None, True]
    resumed = next(number for number, line in enumerate(second.lines) if b'"resumed"' in line)
    second.lines, second.copies = closed(second.lines[:resumed]), []  # a charger that hides what followed the pause
    found = verified(second, pki, require={"checkpoints"})
    assert (found.discharge.checkpoints.final, found.complete) == (True, False)


def closed(lines: list[bytes]) -> list[bytes]:
    """The first lines of a journal, ended with the registers that they have."""
    cut = SessionJournal.resume(b"".join(lines))
    head, last = cut.head, verify_lines(b"".join(lines))[-1].utc_ms
    return lines + cut.end("vehicle", last, import_mwh=head.import_mwh, export_mwh=head.export_mwh)


@pytest.mark.requirement("R33")
def test_the_vehicle_signs_the_end_and_a_journal_that_was_cut_before_is_incomplete(pki: PkiTree) -> None:
    """Cut after its first checkpoint, with the keys of charger and meter, the energy of both sides still agrees."""
    joined = run(make(pki))
    report = verified(joined, pki, require={"checkpoints"})
    assert report.complete
    assert report.lines()[0] == "Complete: the vehicle signed the end of the session"
    answered = next(number for number, line in enumerate(joined.lines, 1) if b"checkpoint_answered" in line)
    joined.lines, joined.copies = closed(joined.lines[:answered]), []
    found = verified(joined, pki, require={"checkpoints"})
    assert found.settlement.totals[0].balance != report.settlement.totals[0].balance
    assert not found.complete
    assert found.lines()[0].startswith("INCOMPLETE: the vehicle has not signed the end")


@pytest.mark.requirement("R33")
def test_a_quarter_hour_that_ends_after_power_has_stopped_leaves_the_end_signed(pki: PkiTree) -> None:
    """The vehicle keeps the receipt of the end until it asks to stop; what is issued meanwhile must not overtake it."""
    joined = make(pki)
    joined.run(lambda: bool(joined.charger_saw("stop", "power_stopped")))
    interval(joined)
    joined.run()
    assert not joined.charger_saw("offer", "command_rejected")
    report = verified(joined, pki, require={"checkpoints"})
    assert (report.complete, report.discharge.checkpoints.ended) == (True, True)


def lossy(lost: type[Any]) -> Any:
    """A wire that loses messages of this kind."""

    def wire(data: bytes) -> bytes:
        if int.from_bytes(data[2:4], "big") != PayloadType.SIGNED_DISCHARGE:
            return data
        return b"" if isinstance(signed_content(data[HEADER_SIZE:]), lost) else data

    return wire


@pytest.mark.parametrize("service", ["DC_BPT", "AC_BPT"])
def test_a_charger_whose_checkpoints_are_lost_is_waited_for_briefly(pki: PkiTree, service: Any) -> None:
    vehicle = replace(VEHICLE, services=ServiceConfig(energy=(service,)))
    joined = make(pki, vehicle=vehicle, charger=SeccConfig(services=(EnergyService[service],)))
    joined.wire_to_evcc = lossy(DischargeCheckpoint)
    run(joined)
    proved = verified(joined, pki).discharge.checkpoints
    assert (proved.issued, proved.countersigned, proved.after_export_mwh) == (2, 0, joined.exported_mwh())
    assert joined.vehicle_saw("offer", "checkpoint_missing") == [{}]


def test_lost_receipts_end_the_discharge_and_nothing_else(pki: PkiTree) -> None:
    """No command counts that names a checkpoint of which the charger could not show the receipt."""
    joined = make(pki)
    joined.wire_to_secc = lossy(CheckpointReceipt)
    run(joined)
    assert {each["reason"] for each in joined.charger_saw("offer", "command_rejected")} == {"unknown_checkpoint"}
    proved = verified(joined, pki).discharge.checkpoints
    assert (proved.issued, proved.countersigned) == (2, 0)


def test_a_charger_that_counts_otherwise_is_refused_the_signature(pki: PkiTree) -> None:
    joined = make(pki)
    joined.run(lambda: joined.exported_mwh() > 100_000)
    joined.plant.import_mwh += 400_000
    interval(joined)
    joined.run()
    answers = [e.data for e in verify_lines(b"".join(joined.lines)) if isinstance(e.data, CheckpointAnswered)]
    assert [each.status for each in answers] == ["energy_differs", "energy_differs"]
    report = verified(joined, pki)
    assert "2 refused" in "\n".join(report.lines())
    assert not joined.copies


def test_a_receipt_that_comes_late_counts(pki: PkiTree) -> None:
    """The vehicle's disk is slow: two quarter hours pass before the first receipt."""
    held: list[Any] = []
    joined = make(pki)
    obey = joined.obey_vehicle

    def slow(command: Any) -> Any:
        fact = obey(command)
        if type(fact).__name__ == "CheckpointStored":
            held.append(fact)
            return None
        return fact

    joined.obey_vehicle = slow  # type: ignore[method-assign]
    joined.run(lambda: joined.exported_mwh() > 100_000)
    interval(joined)
    joined.run(lambda: joined.exported_mwh() > 150_000)
    interval(joined)
    joined.run(lambda: joined.exported_mwh() > 200_000)
    for fact in held:
        joined.evcc.fact(fact, joined.now, joined.utc_ms)
    joined.settle()
    joined.obey_vehicle = obey  # type: ignore[method-assign]
    joined.run()
    assert verified(joined, pki, require={"checkpoints"}).discharge.checkpoints.countersigned == 3


def test_copies_name_the_session(finished: Joined, pki: PkiTree, monkeypatch: pytest.MonkeyPatch) -> None:
    assert {copy.session_id for copy in finished.copies} == {finished.evcc.session_id.hex()}
    other = Copy(session_id="ff" * 8, number=9, checkpoint=b"", receipt=b"")
    monkeypatch.setattr(finished, "copies", [*finished.copies, other])
    assert verified(finished, pki).copies == 2


def test_services_that_are_selected_again_continue_the_numbers(pki: PkiTree) -> None:
    """Both sides begin with new offers, and the vehicle's messages name what it countersigned before."""
    joined = make(pki)
    joined.run(lambda: joined.exported_mwh() > 100_000)
    interval(joined)
    joined.secc.fact(se.EnergyTransferAllowed(frozenset({ServiceId.DC_BPT})), joined.now, joined.utc_ms)
    joined.settle()
    joined.run()
    assert joined.evcc_reason == "finished"
    entries = verify_lines(b"".join(joined.lines))
    _, again = [each.sequence for each in entries if isinstance(each.data, ServiceChanged)]
    issued = [(each.data.number, each.sequence > again) for each in entries if isinstance(each.data, CheckpointIssued)]
    assert issued == [(1, False), (2, False), (3, True)]
    messages = [each.data for each in entries[again:] if isinstance(each.data, TermsDecided | CommandAccepted)]
    assert {type(each) for each in messages} == {TermsDecided, CommandAccepted}
    assert {signed_content(each.payload).checkpoint for each in messages} == {2}  # type: ignore[union-attr]
    proved = verified(joined, pki, require={"checkpoints"}).discharge.checkpoints
    assert (proved.issued, proved.countersigned, proved.final) == (3, 3, True)
    assert proved.export_mwh == joined.exported_mwh()
