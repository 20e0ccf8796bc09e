"""A charger's records of sessions: journals while they run, settlement bundles when they have ended.

`journals/<session>.jsonl` and the contract chain beside it belong to a session that runs or was interrupted;
`settlements/<session>/` is a bundle that anyone can verify (`v2g settle verify`).
"""

from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from pathlib import Path
from typing import Final, Literal

import msgspec

from secc.hardware.meter import Meter
from v2g.energy.settlement.bundle import OCMF_FILES, RECEIPT, SIGNATURE, Chains, write_bundle
from v2g.energy.settlement.canonical import sha256_hex
from v2g.energy.settlement.journal import Entry, verify_lines
from v2g.energy.settlement.ocmf import Assignment, EndReason, MeterIdentity
from v2g.energy.settlement.pricing import Direction
from v2g.energy.settlement.records import ContractAuthorized, SessionStarted
from v2g.energy.settlement.session_journal import SessionJournal
from v2g.energy.settlement.settle import Settlement, settle
from v2g.energy.settlement.signed_meter import DIRECTIONS, data_sets, sign_meter
from v2g.errors import CertificateError, SealedError, StoreError, V2GError, VerificationError
from v2g.io.runtime.clock import Clock
from v2g.io.storage.journal_file import JournalFile, read_files, write_files
from v2g.io.storage.record_keys import RecordKeys, open_lines
from v2g.observe import Observe, Scalar
from v2g.pki.certificates import chain_from_pem, chain_to_pem, common_name, load_certificate
from v2g.pki.credentials import Credentials
from v2g.pki.keys import LeafKey, SoftwareKey
from v2g.version import VERSION
from v2g_station.store import JournalSigners

CONTRACT_SUFFIX: Final = ".contract.pem"
RECEIPT_SUFFIX: Final = ".receipt.json"
ASIDE: Final = ".damaged"
COUNTER: Final = "pagination"

END_REASONS: Final[Mapping[str, EndReason]] = {
    **dict.fromkeys(("vehicle", "local", "master_pass", "unplugged"), "L"),
    **dict.fromkeys(("remote", "deauthorized", "reset"), "R"),
    **dict.fromkeys(("cost_limit", "energy_limit", "time_limit", "soc_limit"), "E"),
    "aborted": "P",
}
"""Reason of a session's end -> OCMF's (table 7); anything else is an abort by an error."""


class ChargerOwner(msgspec.Struct, frozen=True):
    """Signers: the charger's credentials seal bundles, the meter's sign readings. `roots` (DER) are included.

    Of several `chargers`, the one that the session's vehicle was shown signs.
    """

    chargers: tuple[Credentials, ...]
    meter: Credentials
    roots: tuple[bytes, ...]
    prices: LeafKey | None = None
    """The key that signs price schedules, if any."""
    current_type: Literal["AC", "DC"] = "DC"
    """What the meter counts (`RT` of OCMF)."""
    vendor: str = ""
    model: str = ""
    firmware: str = ""
    """Of the meter (`MV`, `MM` and `MF`); empty: left out."""


class Archive:
    """The folder, with `keys` sealed from the next session on. Everything raises StoreError when the disk fails."""

    def __init__(
        self,
        directory: Path,
        owner: ChargerOwner,
        *,
        clock: Clock,
        observe: Callable[[Observe], None],
        keys: RecordKeys | None = None,
    ) -> None:
        self.keys = keys
        self._journals, self.settlements = directory / "journals", directory / "settlements"
        self._directory, self._owner, self._clock, self._observe = directory, owner, clock, observe
        try:
            for folder in (self._journals, self.settlements):
                folder.mkdir(parents=True, exist_ok=True, mode=0o700)
        except OSError as error:
            raise StoreError(f"{directory}: {error.strerror}", hint="data_dir must be writable") from None

    @property
    def meter_serial(self) -> str:
        """The common name of the meter's certificate."""
        return common_name(load_certificate(self._owner.meter.leaf))

    def open_journal(self, session_id: str, contract: Sequence[bytes]) -> JournalFile:
        """Return a new journal file; the contract chain (DER, perhaps empty) is stored beside it first."""
        try:
            if self.keys is not None:
                self.keys.renew()  # (R152)
        except V2GError as error:
            self._note("keys_kept", error=str(error))
        chain = {f"{session_id}{CONTRACT_SUFFIX}": chain_to_pem(tuple(contract)).encode()}
        # The journal synchronises both names.
        write_files(self._journals, chain, private=True, sync_names=False, keys=self.keys)
        return JournalFile.open(self._path(session_id), self.keys)

    def may_leave_loop(self, charger: Credentials) -> bool:
        """Whether `make_bundle` may run in a thread: keys in stores are used by one thread only."""
        return all(isinstance(each.key, SoftwareKey) for each in (charger, self._owner.meter))

    def tell_finished(self, session_id: str, entries: int) -> None:
        """Report that a bundle was made."""
        directory = self.settlements / session_id
        self._note("bundle_written", session_id=session_id, directory=str(directory), entries=entries)

    def make_bundle(self, session_id: str, charger: Credentials | None = None) -> int:
        """Make the settlement bundle of a session whose journal has ended; return the number of its entries.

        `charger` is the chain that the vehicle was shown, which may have been renewed since. Raises VerificationError
        for an invalid journal.
        """
        path = self._path(session_id)
        journal = open_lines(path.read_bytes(), self.keys, path.name)
        entries = verify_lines(journal, name=path.name)
        contract = self._contract(session_id, entries)
        charger = charger or self._charger(entries)
        signed = self._sign(settle(entries), entries)
        files = write_bundle(
            journal,
            ocmf_import=signed["import"],
            ocmf_export=signed["export"],
            chains=Chains(
                charger=charger.chain, contract=contract, meter=self._owner.meter.chain, roots=self._owner.roots
            ),
            key=charger.key,
            created_ms=self._clock.utc_ms(),
        )
        directory = self.settlements / session_id
        write_files(directory, files, private=True, keys=self.keys)
        self._join_receipt(session_id)
        path.unlink()  # it is in the bundle now
        self._contract_file(session_id).unlink()
        return len(entries)

    def keep_receipt(self, session_id: str, receipt: bytes) -> None:
        """Store the back end's receipt of a complete journal in its bundle, or until there is one."""
        if not (self._path(session_id).exists() or self._bundled(session_id)):
            return  # another EVSE's, or removed
        write_files(self._journals, {f"{session_id}{RECEIPT_SUFFIX}": receipt}, private=True, keys=self.keys)
        if self._bundled(session_id):
            self._join_receipt(session_id)

    def _bundled(self, session_id: str) -> bool:
        return (self.settlements / session_id / SIGNATURE).exists()

    def _join_receipt(self, session_id: str) -> None:
        """Move a receipt that has arrived into the bundle."""
        waiting = self._journals / f"{session_id}{RECEIPT_SUFFIX}"
        if waiting.exists():
            receipt = open_lines(waiting.read_bytes(), self.keys, waiting.name)
            write_files(self.settlements / session_id, {RECEIPT: receipt}, private=True, keys=self.keys)
            waiting.unlink(missing_ok=True)

    def reopen_journal(self, session_id: str) -> tuple[JournalFile, Credentials] | None:
        """Return the journal of a paused session and the chain that it names; None when there is none, or it has ended.

        Raises VerificationError for invalid lines.
        """
        if not self._path(session_id).exists():
            return None
        file = JournalFile.open(self._path(session_id), self.keys)
        if not file.recovered or SessionJournal.resume(file.recovered).state.ended:
            file.close()
            return None
        return file, self._charger(verify_lines(file.recovered, name=session_id))

    def recover(self, meter: Meter, on_journal: Callable[[str, list[str]], None], *, keep: str = "") -> list[str]:
        """Close and settle journals of a killed process, passing their lines to `on_journal`; return the session ids.

        The session `keep` is paused: its lines are passed on, and it stays open.

        An invalid journal is renamed to `<name>.damaged`: it is evidence, but does not prevent charging. One that an
        older version has set aside, as it did not know the format, is settled by this one (R133). One whose key is
        missing waits for a start with that key.
        """
        recovered = []
        for aside in self._journals.glob(f"*{ASIDE}"):
            if self._bundled(aside.stem):
                aside.unlink()
            with suppress(OSError):  # else it stays where it is
                self._path(aside.stem).hardlink_to(aside)
        for path in sorted(self._journals.glob("*.jsonl")):
            session_id = path.stem
            if session_id == keep:
                on_journal(session_id, self.lines(session_id))
                continue
            try:
                self._recover_one(path, meter, on_journal)
            except SealedError as error:
                self._note("journal_sealed", session_id=session_id, reason=str(error))
            except (VerificationError, CertificateError, FileNotFoundError) as error:
                if path.with_suffix(ASIDE).exists():
                    path.unlink()
                    continue
                path.rename(path.with_suffix(ASIDE))
                self._note("journal_damaged", session_id=session_id, reason=str(error))
            else:
                recovered.append(session_id)
                self._note("journal_recovered", session_id=session_id)
        return recovered

    def _recover_one(self, path: Path, meter: Meter, on_journal: Callable[[str, list[str]], None]) -> None:
        file = JournalFile.open(path, self.keys)
        if not file.recovered:  # killed before its first line: nothing has happened
            file.close()
            path.unlink()
            return
        journal, aside = SessionJournal.resume(file.recovered), path.with_suffix(ASIDE)
        if not journal.state.ended and aside.exists():  # the meter has counted other sessions since
            file.append(journal.end("aborted", journal.state.utc_ms))
        elif not journal.state.ended:
            reading = meter.read(self._clock.utc_ms())
            file.append(journal.end("aborted", reading.utc_ms, **reading.shown))
        file.close()
        on_journal(path.stem, self.lines(path.stem))
        self.tell_finished(path.stem, self.make_bundle(path.stem))
        aside.unlink(missing_ok=True)

    def lines(self, session_id: str, charger: Credentials | None = None) -> list[str]:
        """Return what the back end gets of a journal: its signers and its lines; `charger` as in `make_bundle`."""
        path = self._path(session_id)
        journal = open_lines(path.read_bytes(), self.keys, path.name)
        entries = verify_lines(journal, name=path.name)
        if charger is None:
            charger = self._charger(entries)
            if sha256_hex(charger.leaf) != _shown(entries):
                replaced = common_name(load_certificate(charger.leaf))
                self._note("certificate_replaced", session_id=session_id, certificate=replaced)
        return [
            JournalSigners(charger.chain, self._contract(session_id, entries)).line(),
            *journal.decode().splitlines(keepends=True),
        ]

    def _contract_file(self, session_id: str) -> Path:
        return self._journals / f"{session_id}{CONTRACT_SUFFIX}"

    def _contract(self, session_id: str, entries: Sequence[Entry]) -> tuple[bytes, ...]:
        """Return the chain of a session's contract (DER), empty without one.

        Also where the process was killed between storing it and its entry: a bundle has the contract of its journal.
        """
        if not any(isinstance(each.data, ContractAuthorized) for each in entries):
            return ()
        file = self._contract_file(session_id)
        pem = open_lines(file.read_bytes(), self.keys, file.name)
        return chain_from_pem(pem) if pem else ()

    def signed(self, session_id: str) -> dict[Direction, str]:
        """Return the meter's signed begin and end of a settled session; none of an unsettled one."""
        directory = self.settlements / session_id
        if not directory.is_dir():
            return {}
        files = read_files(directory, self.keys)
        return {direction: files[name].decode().partition("\n")[0] for direction, name in OCMF_FILES.items()}

    def _charger(self, entries: Sequence[Entry]) -> Credentials:
        """Return the own credentials with which an interrupted session began; the first ones if they are gone."""
        shown, chargers = _shown(entries), self._owner.chargers
        return next((each for each in chargers if sha256_hex(each.leaf) == shown), chargers[0])

    def _sign(self, settlement: Settlement, entries: Sequence[Entry]) -> dict[Direction, str]:
        identity = MeterIdentity(
            meter_serial=self.meter_serial,
            meter_vendor=self._owner.vendor,
            meter_model=self._owner.model,
            meter_firmware=self._owner.firmware,
            gateway="v2g-engine",
            gateway_serial=settlement.station_id,
            gateway_version=VERSION,
            current_type=self._owner.current_type,
        )
        return sign_meter(
            entries,
            identity=identity,
            assignment=Assignment(emaid=settlement.emaid, evse_id=settlement.evse_id),
            pagination=self._count(len(DIRECTIONS) * data_sets(entries)),
            key=self._owner.meter.key,
            end_reason=END_REASONS.get(settlement.reason or "", "A"),
        )

    def _count(self, number: int) -> int:
        """Return the first of `number` unused page numbers of this meter."""
        path = self._directory / COUNTER
        try:
            used = int(path.read_text()) if path.exists() else 0
        except (OSError, ValueError) as error:
            raise StoreError(f"{path}: {error}", hint="no page number may be used twice") from None
        write_files(self._directory, {COUNTER: str(used + number).encode()})
        return used + 1

    def _path(self, session_id: str) -> Path:
        return self._journals / f"{session_id}.jsonl"

    def _note(self, name: str, **data: Scalar) -> None:
        self._observe(Observe("settlement", name, data))


def _shown(entries: Sequence[Entry]) -> str:
    """Return the digest of the certificate that a session's vehicle was shown."""
    return next((each.data.charger_certificate for each in entries if isinstance(each.data, SessionStarted)), "")
