"""A charger's archive, with a meter and the journal of a session."""

import hashlib
from pathlib import Path
from typing import Literal

from pki_tools.tree import PkiTree
from secc.evse.archive import Archive, ChargerOwner
from secc.evse.session_records import RecordKeeping
from secc.hardware.meter import SimulatedMeter
from tests.sealing import Keys
from v2g.energy.settlement.bundle import verify_bundle
from v2g.energy.settlement.records import ContractAuthorized, MeterReading, SessionStarted
from v2g.energy.settlement.session_journal import SessionJournal
from v2g.io.runtime.clock import Clock, ClockConfig
from v2g.io.runtime.disk import DiskThread, Turnstile
from v2g.io.storage.journal_file import JournalFile, read_files
from v2g.observe import Observe

SESSION = "0011223344556677"


class Desk:
    """An archive, a meter, and a session's ledger on a clock that runs a thousand times too fast."""

    def __init__(self, folder: Path, pki: PkiTree, keys: Keys = None, current: Literal["AC", "DC"] = "DC") -> None:
        self.folder, self.pki, self.keys, self.events = folder, pki, keys, list[Observe]()
        self.clock = Clock(ClockConfig(scale=1000))
        self.owner = ChargerOwner(
            chargers=(pki.credentials("secc"),),
            meter=pki.credentials("meter"),
            roots=pki.anchors("v2g", "mo"),
            current_type=current,
            vendor="Maker",
            model="DC-1",
            firmware="2.0",
        )
        self.archive = Archive(folder, self.owner, clock=self.clock, observe=self.events.append, keys=keys)
        self.meter = SimulatedMeter(self.archive.meter_serial, folder / "meter", now_ms=self.clock.utc_ms, keys=keys)
        self.ledger = SessionJournal()

    def keeping(self) -> RecordKeeping:
        """Return what records of sessions are kept with here."""
        return RecordKeeping(
            self.archive, self.meter, self.clock, DiskThread(), DiskThread(), self.events.append, lambda *_: None,
            lambda *_: None, Turnstile(), lambda: (0, 0),
        )  # fmt: skip

    def begin(self, session: str = SESSION) -> None:
        """Write the start of a session, some energy with it, and leave it open."""
        contract = ContractAuthorized(
            emaid="DEV2GC00000001",
            contract_certificate=hashlib.sha256(self.pki.chain("contract")[0]).hexdigest(),
            authorized_by="csms",
        )
        file = self.archive.open_journal(session, self.pki.chain("contract"))
        self.meter.flow(self.clock.utc_ms(), 400_000, 100_000)
        for record in (started(self, session), contract):
            file.append(self.ledger.record(record, self.clock.utc_ms()))
        reading = self.meter.read(self.clock.utc_ms())
        record = MeterReading(import_mwh=reading.import_mwh, export_mwh=reading.export_mwh, power_w=40_000)
        file.append(self.ledger.record(record, reading.utc_ms))
        file.close()

    def end(self, reason: str = "vehicle") -> None:
        reading = self.meter.read(self.clock.utc_ms())
        path = self.folder / "journals" / f"{SESSION}.jsonl"
        lines = self.ledger.end(reason, reading.utc_ms, import_mwh=reading.import_mwh, export_mwh=reading.export_mwh)
        file = JournalFile.open(path, self.keys)
        file.append(lines)
        file.close()

    def verify(self, session: str = SESSION) -> None:
        verify_bundle(
            read_files(self.folder / "settlements" / session, self.keys), anchors=self.pki.anchors("v2g", "mo")
        )

    def names(self) -> list[str]:
        return [event.name for event in self.events]


def started(desk: Desk, session: str = SESSION) -> SessionStarted:
    """Return the first entry of a journal of this desk."""
    return SessionStarted(
        station_id="CS-V2G-0001",
        evse_id="DEV2GE00001",
        session_id=session,
        meter_serial=desk.archive.meter_serial,
        meter_certificate=hashlib.sha256(desk.pki.chain("meter")[0]).hexdigest(),
        charger_certificate=hashlib.sha256(desk.pki.chain("secc")[0]).hexdigest(),
        import_mwh=0,
        export_mwh=0,
    )
