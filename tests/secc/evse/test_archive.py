"""What a charger keeps: bundles that verify, and what a killed process left."""

import hashlib
from pathlib import Path

import pytest

from pki_tools.tree import PkiTree
from secc.evse.archive import Archive, Owner
from secc.hardware.meter import SimulatedMeter
from v2g.energy.settlement.bundle import verify_bundle
from v2g.energy.settlement.journal import verify_lines
from v2g.energy.settlement.ledger import Ledger
from v2g.energy.settlement.records import ContractAuthorized, MeterReading, SessionStarted
from v2g.errors import StoreError
from v2g.io.runtime.clock import Clock, ClockConfig
from v2g.io.storage.journal_file import read_files
from v2g.observe import Observe

SESSION = "0011223344556677"


class Desk:
    """An archive, a meter, and a session's ledger on a clock that runs a thousand times too fast."""

    def __init__(self, folder: Path, pki: PkiTree) -> None:
        self.folder, self.pki, self.events = folder, pki, list[Observe]()
        self.clock = Clock(ClockConfig(scale=1000))
        owner = Owner(
            chargers=(pki.credentials("secc"),), meter=pki.credentials("meter"), roots=pki.anchors("v2g", "mo")
        )
        self.archive = Archive(folder, owner, clock=self.clock, observe=self.events.append)
        self.meter = SimulatedMeter(self.archive.meter_serial, folder / "meter", now_ms=self.clock.utc_ms)
        self.ledger = Ledger()

    def begin(self, session: str = SESSION) -> None:
        """Write the start of a session, some energy with it, and leave it open."""
        started = SessionStarted(
            station_id="CS-V2G-0001",
            evse_id="DEV2GE00001",
            session_id=session,
            meter_serial=self.archive.meter_serial,
            meter_certificate=hashlib.sha256(self.pki.chain("meter")[0]).hexdigest(),
            charger_certificate=hashlib.sha256(self.pki.chain("secc")[0]).hexdigest(),
            import_mwh=0,
            export_mwh=0,
        )
        contract = ContractAuthorized(
            emaid="DEV2GC00000001",
            contract_certificate=hashlib.sha256(self.pki.chain("contract")[0]).hexdigest(),
            authorized_by="csms",
        )
        file = self.archive.open_journal(session, self.pki.chain("contract"))
        self.meter.flow(self.clock.utc_ms(), 400_000, 100_000)
        for record in (started, contract):
            file.append(self.ledger.record(record, self.clock.utc_ms()))
        reading = self.meter.read(self.clock.utc_ms())
        record = MeterReading(import_mwh=reading.import_mwh, export_mwh=reading.export_mwh, power_w=40_000)
        file.append(self.ledger.record(record, reading.utc_ms))
        file.close()

    def end(self) -> None:
        reading = self.meter.read(self.clock.utc_ms())
        path = self.folder / "journals" / f"{SESSION}.jsonl"
        lines = self.ledger.end("vehicle", reading.utc_ms, import_mwh=reading.import_mwh, export_mwh=reading.export_mwh)
        with path.open("ab") as file:
            file.writelines(lines)

    def verify(self, session: str = SESSION) -> None:
        verify_bundle(read_files(self.folder / "settlements" / session), anchors=self.pki.anchors("v2g", "mo"))

    def names(self) -> list[str]:
        return [event.name for event in self.events]


@pytest.fixture
def desk(tmp_path: Path, pki: PkiTree) -> Desk:
    return Desk(tmp_path, pki)


def test_a_session_that_ended_becomes_a_bundle_that_verifies_and_nothing_else_stays(desk: Desk) -> None:
    desk.begin()
    desk.end()
    desk.archive.finish(SESSION)
    desk.verify()
    assert list((desk.folder / "journals").iterdir()) == []
    assert set(desk.archive.signed(SESSION)) == {"import", "export"}
    assert desk.archive.signed("ffff") == {}


def test_the_meters_page_numbers_never_repeat_even_after_a_restart(desk: Desk, pki: PkiTree) -> None:
    desk.begin()
    desk.end()
    desk.archive.finish(SESSION)
    first = desk.archive.signed(SESSION)["export"]
    again = Desk(desk.folder, pki)
    again.begin("8899aabbccddeeff")
    assert again.archive.recover(again.meter, lambda *_: None) == ["8899aabbccddeeff"]
    assert '"PG":"T2"' in first
    assert '"PG":"T3"' in again.archive.signed("8899aabbccddeeff")["import"]


@pytest.mark.requirement("R131")
def test_what_a_killed_process_left_is_closed_with_the_meters_registers_and_told_whole(desk: Desk) -> None:
    desk.begin()
    told: dict[str, list[str]] = {}
    assert desk.archive.recover(desk.meter, told.__setitem__) == [SESSION]
    desk.verify()
    entries = verify_lines("".join(told[SESSION]).encode())
    assert entries[-1].data.reason == "aborted"  # type: ignore[union-attr]
    assert desk.meter.read(desk.clock.utc_ms()).import_mwh >= entries[-1].data.import_mwh > 0  # type: ignore[union-attr]
    assert desk.archive.recover(desk.meter, told.__setitem__) == []  # once


def test_a_kill_between_the_end_and_the_bundle_is_made_good(desk: Desk) -> None:
    desk.begin()
    desk.end()
    assert desk.archive.recover(desk.meter, lambda *_: None) == [SESSION]
    desk.verify()


def test_a_kill_before_the_first_line_leaves_nothing_to_settle(desk: Desk) -> None:
    desk.archive.open_journal(SESSION, ()).close()
    desk.archive.recover(desk.meter, lambda *_: None)
    assert not list((desk.folder / "settlements").iterdir())


def test_a_journal_that_does_not_hold_is_kept_aside_and_named(desk: Desk) -> None:
    desk.begin()
    path = desk.folder / "journals" / f"{SESSION}.jsonl"
    lines = path.read_bytes().splitlines(keepends=True)
    path.write_bytes(b"".join((lines[0], lines[2])))
    assert desk.archive.recover(desk.meter, lambda *_: None) == []
    assert desk.names() == ["journal_damaged"]
    assert path.with_suffix(".damaged").exists()


def test_a_folder_that_cannot_be_written_is_named(tmp_path: Path, pki: PkiTree) -> None:
    (tmp_path / "journals").write_text("a file where a folder belongs")
    with pytest.raises(StoreError, match=r"exists|Not a directory"):
        Desk(tmp_path, pki)


@pytest.mark.parametrize("damage", ["missing", "no PEM"])
def test_a_journal_without_its_contract_chain_does_not_keep_the_charger_from_starting(desk: Desk, damage: str) -> None:
    desk.begin()
    contract = desk.folder / "journals" / f"{SESSION}.contract.pem"
    contract.unlink() if damage == "missing" else contract.write_text(damage)
    assert desk.archive.recover(desk.meter, lambda *_: None) == []
    assert (desk.folder / "journals" / f"{SESSION}.damaged").exists()
    assert "journal_damaged" in desk.names()


def test_a_page_counter_that_is_no_number_is_named(desk: Desk) -> None:
    desk.begin()
    desk.end()
    (desk.folder / "pagination").write_text("twelve")
    with pytest.raises(StoreError, match="pagination"):
        desk.archive.finish(SESSION)
