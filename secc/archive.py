"""What a charger keeps of its sessions: journals while they run, settlement bundles when they have ended.

`journals/<session>.jsonl` and the contract chain beside it belong to a session that runs or was cut off;
`settlements/<session>/` is a bundle that anyone can verify (`v2g settle verify`).
"""

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Final

import msgspec

from secc.meter import Meter
from v2g.errors import CertificateError, StoreError, VerificationError
from v2g.net.clock import Clock
from v2g.net.journal_file import JournalFile, read_files, write_files
from v2g.observe import Observe, Scalar
from v2g.pki.certificates import chain_from_pem, chain_to_pem, common_name, load_certificate
from v2g.pki.credentials import Credentials
from v2g.settlement.bundle import OCMF_FILES, Chains, sign_ocmf_pair, write_bundle
from v2g.settlement.journal import verify_lines
from v2g.settlement.ledger import Ledger
from v2g.settlement.ocmf import EndReason, MeterIdentity
from v2g.settlement.pricing import Direction
from v2g.settlement.settle import Settlement, settle

CONTRACT_SUFFIX: Final = ".contract.pem"
COUNTER: Final = "pagination"

END_REASONS: Final[dict[str, EndReason]] = {"vehicle": "L", "remote": "R", "aborted": "P"}
"""Our word for a session's end -> OCMF's (table 7); anything else is an abort by an error."""


class Owner(msgspec.Struct, frozen=True):
    """Who signs: the charger's credentials seal bundles, the meter's sign readings. `roots` (DER) go along."""

    charger: Credentials
    meter: Credentials
    roots: tuple[bytes, ...]


class Archive:
    """The folder. Everything raises StoreError when the disk does not take it."""

    def __init__(self, directory: Path, owner: Owner, *, clock: Clock, observe: Callable[[Observe], None]) -> None:
        self._journals, self._settlements = directory / "journals", directory / "settlements"
        self._directory, self._owner, self._clock, self._observe = directory, owner, clock, observe
        try:
            for folder in (self._journals, self._settlements):
                folder.mkdir(parents=True, exist_ok=True, mode=0o700)
        except OSError as error:
            raise StoreError(f"{directory}: {error.strerror}", hint="data_dir must be writable") from None

    @property
    def meter_serial(self) -> str:
        """The common name of the meter's certificate."""
        return common_name(load_certificate(self._owner.meter.leaf))

    def open_journal(self, session_id: str, contract: Sequence[bytes]) -> JournalFile:
        """Return a new journal file; the contract chain (DER, perhaps none) is kept beside it first."""
        write_files(self._journals, {f"{session_id}{CONTRACT_SUFFIX}": chain_to_pem(tuple(contract)).encode()})
        return JournalFile.open(self._path(session_id))

    def finish(self, session_id: str) -> None:
        """Make the settlement bundle of a session whose journal has ended.

        Raises VerificationError when the journal does not hold.
        """
        journal = self._path(session_id).read_bytes()
        entries = verify_lines(journal, name=f"{session_id}.jsonl")
        contract_file = self._journals / f"{session_id}{CONTRACT_SUFFIX}"
        contract = chain_from_pem(contract_file.read_bytes()) if contract_file.stat().st_size else ()
        signed = self._sign(settle(entries))
        files = write_bundle(
            journal,
            ocmf_import=signed["import"],
            ocmf_export=signed["export"],
            chains=Chains(
                charger=self._owner.charger.chain,
                contract=contract,
                meter=self._owner.meter.chain,
                roots=self._owner.roots,
            ),
            key=self._owner.charger.signing_key,
            created_ms=self._clock.utc_ms(),
        )
        directory = self._settlements / session_id
        write_files(directory, files)
        self._path(session_id).unlink()  # the bundle holds it from here on
        contract_file.unlink()
        self._note("bundle_written", session_id=session_id, directory=str(directory), entries=len(entries))

    def recover(self, meter: Meter, on_journal: Callable[[str, list[str]], None]) -> list[str]:
        """Close and settle what a killed process left, hand out its lines (`on_journal`); return the session ids.

        A journal that does not hold is put aside as `<name>.damaged`: it is evidence, and no reason not to charge.
        """
        recovered = []
        for path in sorted(self._journals.glob("*.jsonl")):
            session_id = path.stem
            try:
                self._recover_one(path, meter, on_journal)
            except (VerificationError, CertificateError, FileNotFoundError) as error:
                path.rename(path.with_suffix(".damaged"))
                self._note("journal_damaged", session_id=session_id, reason=str(error))
            else:
                recovered.append(session_id)
                self._note("journal_recovered", session_id=session_id)
        return recovered

    def _recover_one(self, path: Path, meter: Meter, on_journal: Callable[[str, list[str]], None]) -> None:
        file = JournalFile.open(path)
        if not file.recovered:  # killed before its first line: nothing has happened
            file.close()
            path.unlink()
            return
        ledger = Ledger.resume(file.recovered)
        if not ledger.state.ended:
            reading = meter.read(self._clock.utc_ms())
            file.append(
                ledger.end("aborted", reading.utc_ms, import_mwh=reading.import_mwh, export_mwh=reading.export_mwh)
            )
        file.close()
        on_journal(path.stem, path.read_text().splitlines(keepends=True))
        self.finish(path.stem)

    def signed(self, session_id: str) -> dict[Direction, str]:
        """Return the meter's signed data sets of a settled session; none of one that is not settled."""
        directory = self._settlements / session_id
        if not directory.is_dir():
            return {}
        files = read_files(directory)
        return {direction: files[name].decode() for direction, name in OCMF_FILES.items()}

    def _sign(self, settlement: Settlement) -> dict[Direction, str]:
        identity = MeterIdentity(
            meter_serial=self.meter_serial, gateway="v2g-engine", gateway_serial=settlement.station_id
        )
        return sign_ocmf_pair(
            settlement,
            identity=identity,
            pagination=self._count(len(OCMF_FILES)),
            key=self._owner.meter.signing_key,
            end_reason=END_REASONS.get(settlement.reason or "", "A"),
        )

    def _count(self, number: int) -> int:
        """Return the first of `number` page numbers that this meter has never used."""
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
