"""The settlement bundle of a session: everything that two parties in dispute need, in one directory, checked offline.

====================  ==============================================================================
journal.jsonl         the journal, line by line
settlement.json       intervals, lines and totals: what `settle` makes of the journal, canonical
ocmf_import.txt       the meter's signed data sets for energy taken from the grid, one in each line
ocmf_export.txt       and for energy fed back
charger_chain.pem     the charger's TLS leaf and its sub-CAs
contract_chain.pem    the contract leaf and its sub-CAs (empty without a contract)
meter_chain.pem       the meter's leaf and its sub-CAs
roots.pem             the roots that the chains end in
manifest.json         SHA-256 and size of every file above, head and length of the journal, canonical
manifest.sig          the charger's signature over manifest.json, canonical JSON
receipt.json          perhaps: the back end's receipt of the whole journal, signed by the operator, canonical JSON
====================  ==============================================================================

The roots in the bundle make it self-contained; readers with roots of their own pass them as `anchors`.
"""

from collections.abc import Collection, Iterable, Mapping, Sequence
from datetime import UTC, datetime
from typing import Annotated, Final, Literal, cast

import msgspec
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import Encoding
from msgspec import UNSET, Meta

from v2g.energy.settlement import ocmf, signed_meter
from v2g.energy.settlement.authorization import (
    ReadAuthorization,
    ReadConfirmation,
    check_authorization,
    check_confirmations,
)
from v2g.energy.settlement.canonical import canonical, parse_canonical, sha256_hex
from v2g.energy.settlement.checkpoints import Checkpoints, Copy, check_copies
from v2g.energy.settlement.journal import Entry, verify_lines
from v2g.energy.settlement.operator import MAX_RECEIPT_BYTES, JournalReceipt, check_prices, check_seal, is_of
from v2g.energy.settlement.pricing import Direction
from v2g.energy.settlement.proof import prove_discharge
from v2g.energy.settlement.records import MOST_REACTION_MS, Addition, ContractAuthorized, ServiceChanged, SessionStarted
from v2g.energy.settlement.report import UNSIGNED, Received, Report
from v2g.energy.settlement.settle import Settlement, settle
from v2g.energy.signed import Party
from v2g.errors import CertificateError, CodecError, SignatureError, VerificationError
from v2g.pki.certificates import chain_from_pem, chain_to_pem, common_name, key_kind, load_certificate, normalize_emaid
from v2g.pki.keys import Algorithm, PublicKey, SigningKey, algorithm_of, verify_signature
from v2g.pki.profile import KeyKind, Role
from v2g.pki.verify import VerifiedChain, verify_chain

JOURNAL: Final = "journal.jsonl"
SETTLEMENT: Final = "settlement.json"
CHARGER_CHAIN: Final = "charger_chain.pem"
CONTRACT_CHAIN: Final = "contract_chain.pem"
METER_CHAIN: Final = "meter_chain.pem"
ROOTS: Final = "roots.pem"
OCMF_FILES: Final[dict[Direction, str]] = {"import": "ocmf_import.txt", "export": "ocmf_export.txt"}
MANIFEST: Final = "manifest.json"
SIGNATURE: Final = "manifest.sig"
RECEIPT: Final = "receipt.json"
"""The back end's receipt, which comes when the bundle is sealed: it has the operator's own signature."""

Demand = Literal["signed", "checkpoints", "authorization", "operator"]
"""What a reader requires: no energy fed back by the plain standard, where the charger's own statement is the only
evidence; that the vehicle countersigned all energy; that its contract's key signed for this very session; that the
operator has this whole journal, and signed its prices.
"""

LISTED: Final = (JOURNAL, SETTLEMENT, *OCMF_FILES.values(), CHARGER_CHAIN, CONTRACT_CHAIN, METER_CHAIN, ROOTS)
"""Files that the manifest lists; a bundle is these, manifest and signature, perhaps a receipt, and nothing else."""


class FileSum(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """A file's entry in the manifest."""

    sha256: str
    size: int


class Manifest(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """What the charger signs."""

    format: Literal["v2g-bundle/1", "v2g-bundle/2", "v2g-bundle/3"]
    created_ms: int
    files: dict[str, FileSum]
    journal_entries: int
    journal_head: str


class Seal(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """The detached signature: raw form in hex, over the bytes of manifest.json."""

    algorithm: Algorithm
    signer: str  # SHA-256 of the charger's certificate
    signature: Annotated[str, Meta(pattern=r"^([0-9a-f]{2})+\Z")]


class Chains(msgspec.Struct, frozen=True, kw_only=True):
    """DER certificates, each chain leaf first; `contract` is empty without one."""

    charger: Sequence[bytes]
    contract: Sequence[bytes]
    meter: Sequence[bytes]
    roots: Sequence[bytes]


def write_bundle(
    journal: bytes, *, ocmf_import: str, ocmf_export: str, chains: Chains, key: SigningKey, created_ms: int
) -> dict[str, bytes]:
    """Return the files of a bundle by name. `key` is the charger's, the one of `chains.charger[0]`.

    What `verify_bundle` checks is not checked here, except that the journal can be settled: raises VerificationError.
    """
    entries = verify_lines(journal)
    files = {
        JOURNAL: journal,
        SETTLEMENT: canonical(settle(entries)),
        OCMF_FILES["import"]: ocmf_import.encode(),
        OCMF_FILES["export"]: ocmf_export.encode(),
        CHARGER_CHAIN: chain_to_pem(chains.charger).encode(),
        CONTRACT_CHAIN: chain_to_pem(chains.contract).encode(),
        METER_CHAIN: chain_to_pem(chains.meter).encode(),
        ROOTS: chain_to_pem(chains.roots).encode(),
    }
    manifest = canonical(
        Manifest(
            format=_format(entries),
            created_ms=created_ms,
            files={name: FileSum(sha256_hex(data), len(data)) for name, data in files.items()},
            journal_entries=len(entries),
            journal_head=entries[-1].hash,
        )
    )
    seal = Seal(algorithm=key.algorithm, signer=sha256_hex(chains.charger[0]), signature=key.sign(manifest).hex())
    return {**files, MANIFEST: manifest, SIGNATURE: canonical(seal)}


def _format(entries: Sequence[Entry]) -> Literal["v2g-bundle/1", "v2g-bundle/2", "v2g-bundle/3"]:
    version = signed_meter.version_of(entries)
    return "v2g-bundle/1" if version == 1 else "v2g-bundle/2" if version == 2 else "v2g-bundle/3"


def verify_bundle(
    files: Mapping[str, bytes],
    *,
    anchors: Sequence[bytes] | None = None,
    now: datetime | None = None,
    confirmations: ReadConfirmation | None = None,
    authorizations: ReadAuthorization | None = None,
    most_reaction_ms: int = MOST_REACTION_MS,
    require: Collection[Demand] = (),
    copies: Iterable[tuple[str, Copy]] | None = None,
    operators: Collection[PublicKey] = (),
) -> Report:
    """Recompute everything in a bundle and return what it proves.

    `anchors` are the reader's own roots (DER); without them the bundle's are used and the report says so. Chains are
    verified at the start of the session; `now` (aware, UTC) only lets the report list what has expired since.
    `confirmations` and `authorizations` read what the vehicle signed by the plain standard
    (`v2g.iso15118.signed_requests`); without them the report omits it. `most_reaction_ms`: the longest reaction time
    that the charger may declare for its power electronics, as it extends what each command allows. `require` rejects
    what does not meet a `Demand`. `copies` are countersigned checkpoints that another party kept
    (`checkpoints.read_copies`), none of which the bundle may lack or contradict. `operators` are the public keys of the
    operator that the reader trusts: only their receipt shows that the journal is complete where the vehicle has not
    signed the end.

    Raises VerificationError whose `where` is `file` or `file:line`.
    """
    _check_names(files)
    manifest = parse_canonical(files[MANIFEST], Manifest, where=MANIFEST)
    charger_chain = _chain(files, CHARGER_CHAIN)
    signer = _check_seal(files, charger_chain[0])
    _check_sums(files, manifest)
    entries = verify_lines(files[JOURNAL], name=JOURNAL)
    if (manifest.journal_entries, manifest.journal_head) != (len(entries), entries[-1].hash):
        raise VerificationError("the manifest belongs to another journal", where=MANIFEST)
    if manifest.format != _format(entries):
        raise VerificationError(f"the journal was begun for {_format(entries)}", where=MANIFEST)
    started = entries[0].data
    assert isinstance(started, SessionStarted), "checked by verify_lines"
    _check_terms(entries, started, most_reaction_ms, signed_only="signed" in require)
    roots = _chain(files, ROOTS)
    trusted = roots if anchors is None else anchors
    interop = key_kind(signer.public_key) is KeyKind.SECP256R1
    trust = _Trust(trusted, _moment(entries[0].utc_ms), own=anchors is not None, interop=interop)
    charger = trust.check(charger_chain, Role.SECC, CHARGER_CHAIN, started.charger_certificate)
    meter = trust.check(_chain(files, METER_CHAIN), Role.METER, METER_CHAIN, started.meter_certificate)
    contract = _contract(files, entries, trust)
    settlement = settle(entries, name=JOURNAL)
    if canonical(settlement) != files[SETTLEMENT]:
        raise VerificationError("differs from the settlement of the journal", where=SETTLEMENT)
    vehicle = Party.of(contract.der[0]) if contract else None
    proof = prove_discharge(entries, charger=signer, vehicle=vehicle, name=JOURNAL)
    if "checkpoints" in require:
        _check_countersigned(proof.checkpoints, len(entries))
    authorization = None
    if authorizations is not None:
        leaf = contract.der[0] if contract else None
        authorization = check_authorization(entries, leaf, authorizations, name=JOURNAL)
    if "authorization" in require and authorization != "signed":
        raise VerificationError(f"no vehicle signed for this session: {UNSIGNED[authorization]}", where=JOURNAL)
    copied = None if copies is None else check_copies(entries, copies, charger=signer, vehicle=vehicle)
    receipt = _check_receipt(files, entries, started)
    received = None
    if receipt is not None:
        about = receipt.received
        known, priced = is_of(receipt.seal, operators), about.prices is not UNSET
        received = Received(receipt.seal.key_id, known, about.taxation, priced)
    if "operator" in require:
        _check_operator(received)
    confirmed = None
    if confirmations is not None:
        confirmed = check_confirmations(entries, vehicle.public_key if vehicle else None, confirmations, name=JOURNAL)
    readings = min(
        _check_ocmf(files[name], direction, name, settlement, started, meter, entries)
        for direction, name in OCMF_FILES.items()
    )
    return Report(
        settlement=settlement,
        discharge=proof,
        version=signed_meter.version_of(entries),
        received=received,
        authorization=authorization,
        copies=copied,
        confirmations=None if confirmed is None else confirmed.count,
        confirmed_wh=None if confirmed is None else (confirmed.charged_wh, confirmed.discharged_wh),
        charger=charger.subject_cn,
        contract=contract.subject_cn if contract else None,
        meter=meter.subject_cn,
        signed_readings=readings,
        roots=tuple(sorted({sha256_hex(c.anchor.public_bytes(Encoding.DER)) for c in (charger, meter, contract) if c})),
        own_anchors=anchors is not None,
        interop=trust.interop,
        reaction_ms=started.reaction_ms,
        tolerance_permille=started.tolerance_permille,
        expired=_expired((charger, meter, *((contract,) if contract else ())), now),
    )


def _check_terms(
    entries: Sequence[Entry], started: SessionStarted, most_reaction_ms: int, *, signed_only: bool
) -> None:
    """Reject a charger's own statements that would void the proof, and those that are not its own."""
    if started.reaction_ms > most_reaction_ms:
        raise VerificationError(
            f"the charger declares a reaction time of {started.reaction_ms / 1000:g} s, and at most "
            f"{most_reaction_ms / 1000:g} s are accepted",
            where=f"{JOURNAL}:1",
            hint=f"--max-reaction {started.reaction_ms / 1000:g}, if a simulated clock ran faster",
        )
    for number, entry in enumerate(entries, 1):
        record = entry.data
        if isinstance(record, Addition):
            raise VerificationError(
                "a correction in what the charger sealed: corrections are the operator's", where=f"{JOURNAL}:{number}"
            )
        if signed_only and isinstance(record, SessionStarted | ServiceChanged) and record.discharge == "standard":
            why = "energy may be fed back by the plain standard, but signed commands are required"
            raise VerificationError(
                why, where=f"{JOURNAL}:{number}", hint="the charger's own statement is the only evidence"
            )


def _check_countersigned(proved: Checkpoints, entries: int) -> None:
    """Reject energy that only the charger and its meter state."""
    if not proved.countersigned:
        raise VerificationError("the vehicle countersigned no checkpoint", where=f"{JOURNAL}:{entries}")
    if proved.after_import_mwh or proved.after_export_mwh:
        after = f"{proved.after_import_mwh} mWh in, {proved.after_export_mwh} mWh out"
        raise VerificationError(
            f"{after} after the last checkpoint that the vehicle countersigned", where=f"{JOURNAL}:{entries}"
        )


def _check_names(files: Mapping[str, bytes]) -> None:
    expected = {*LISTED, MANIFEST, SIGNATURE}
    for name in sorted(expected - set(files)):
        raise VerificationError("the file is missing", where=name)
    for name in sorted(set(files) - expected - {RECEIPT}):
        raise VerificationError("the file does not belong to the bundle", where=name)


def _check_receipt(
    files: Mapping[str, bytes], entries: Sequence[Entry], started: SessionStarted
) -> JournalReceipt | None:
    """Return the back end's receipt of this very journal, None without one; whose key signed it, is the reader's."""
    if RECEIPT not in files:
        return None
    if len(files[RECEIPT]) > MAX_RECEIPT_BYTES:
        raise VerificationError(f"a receipt of {len(files[RECEIPT])} bytes", where=RECEIPT)
    receipt = parse_canonical(files[RECEIPT], JournalReceipt, where=RECEIPT)
    found = receipt.received
    if (found.station_id, found.session_id) != (started.station_id, started.session_id):
        raise VerificationError("the receipt is of another session", where=RECEIPT)
    if (found.entries, found.head) != (len(entries), entries[-1].hash):
        raise VerificationError(
            f"the back end has a journal of {found.entries} entries that ends otherwise", where=RECEIPT
        )
    check_seal(found, receipt.seal, where=RECEIPT)
    if found.prices is not UNSET:
        check_prices(entries, found.prices, name=JOURNAL)
    return receipt


def _check_operator(received: Received | None) -> None:
    """Reject a journal whose end and prices the reader's operator has not signed."""
    if received is None:
        raise VerificationError("the operator's receipt is missing", where=RECEIPT)
    if not received.known:
        hint = "--operator FILE, the operator's public key"
        raise VerificationError(f"signed by a key that was not given: {received.key}", where=RECEIPT, hint=hint)
    if not received.priced:
        raise VerificationError("the operator has not signed the prices", where=RECEIPT)


def _chain(files: Mapping[str, bytes], name: str) -> tuple[bytes, ...]:
    try:
        return chain_from_pem(files[name])
    except CertificateError as error:
        raise VerificationError(str(error), where=name) from None


def _check_seal(files: Mapping[str, bytes], certificate: bytes) -> Party:
    """Return the signer of the manifest, by the profile of -20 or, with a smaller key, by that of interoperability."""
    seal = parse_canonical(files[SIGNATURE], Seal, where=SIGNATURE)
    try:
        party = Party.of(certificate)
        if seal.signer != party.fingerprint.hex() or seal.algorithm is not algorithm_of(party.public_key):
            raise VerificationError(f"not signed by the certificate in {CHARGER_CHAIN}", where=SIGNATURE)
        verify_signature(party.public_key, files[MANIFEST], bytes.fromhex(seal.signature))
        return party
    except CertificateError as error:
        raise VerificationError(str(error), where=CHARGER_CHAIN) from None
    except SignatureError as error:
        raise VerificationError(str(error), where=SIGNATURE, hint=f"{MANIFEST} was edited") from None


def _check_sums(files: Mapping[str, bytes], manifest: Manifest) -> None:
    if set(manifest.files) != set(LISTED):
        raise VerificationError("the list of files does not match that of a bundle", where=MANIFEST)
    for name in LISTED:
        if manifest.files[name] == FileSum(sha256_hex(files[name]), len(files[name])):
            continue
        if name == JOURNAL:
            verify_lines(files[name], name=name)  # names the line if possible
        raise VerificationError("the file differs from the signed one", where=name)


class _Trust:
    """The trusted roots, whether they are the reader's own, the time of verification, and the profile."""

    def __init__(self, anchors: Sequence[bytes], at: datetime, *, own: bool, interop: bool) -> None:
        self._anchors = anchors
        self._own = own
        self._at = at
        self.interop = interop

    def check(self, chain: Sequence[bytes], role: Role, name: str, fingerprint: str) -> VerifiedChain:
        """Return a chain that leads to an anchor and has the leaf that the journal names.

        A contract of -2 has the smaller key, whatever the charger's is.
        """
        if sha256_hex(chain[0]) != fingerprint:
            raise VerificationError("the leaf differs from the one in the journal", where=name)
        try:
            leaf, *authorities = chain
            older = role is Role.CONTRACT and key_kind(load_certificate(leaf)) is KeyKind.SECP256R1
            return verify_chain(leaf, authorities, self._anchors, role=role, at=self._at, interop=self.interop or older)
        except CertificateError as error:
            lacks = self._own and error.reason == "unknown_root"
            hint = f"--root FILE, the root above it, too: {error.hint}" if lacks else error.hint
            raise VerificationError(f"{error.reason}: {error}", where=name, hint=hint) from None


def _moment(utc_ms: int) -> datetime:
    try:
        return datetime.fromtimestamp(utc_ms / 1000, tz=UTC)
    except (ValueError, OverflowError):
        raise VerificationError(f"{utc_ms} ms is beyond the calendar", where=f"{JOURNAL}:1") from None


def _contract(files: Mapping[str, bytes], entries: Sequence[Entry], trust: _Trust) -> VerifiedChain | None:
    found = [(n, e.data) for n, e in enumerate(entries, 1) if isinstance(e.data, ContractAuthorized)]
    if len(found) > 1:
        raise VerificationError("a session has one contract only", where=f"{JOURNAL}:{found[1][0]}")
    if not found:
        if files[CONTRACT_CHAIN]:
            raise VerificationError("no contract was authorised", where=CONTRACT_CHAIN)
        return None
    number, record = found[0]
    chain = _chain(files, CONTRACT_CHAIN)
    contract = trust.check(chain, Role.CONTRACT, CONTRACT_CHAIN, record.contract_certificate)
    if normalize_emaid(record.emaid) != contract.emaid:
        raise VerificationError(f"the contract differs from that of {record.emaid}", where=f"{JOURNAL}:{number}")
    return contract


def _check_ocmf(
    data: bytes,
    direction: Direction,
    name: str,
    settlement: Settlement,
    started: SessionStarted,
    meter: VerifiedChain,
    entries: Sequence[Entry],
) -> int:
    """Check that the meter signed the journal's registers of one direction; return the number of readings."""
    key = meter.leaf.public_key()
    assert isinstance(key, ec.EllipticCurvePublicKey), "required by a meter's profile"
    try:
        first, *more = data.decode().split("\n")
        data_set = ocmf.verify(first, key)
    except (CodecError, SignatureError, UnicodeDecodeError) as error:
        raise VerificationError(str(error), where=name) from None
    begin, end = settlement.begin, settlement.end
    registers = (begin.import_mwh, end.import_mwh) if direction == "import" else (begin.export_mwh, end.export_mwh)
    states = [(each.state, each.errors) for each in signed_meter.ends(entries, direction)]
    for what, theirs, ours in (
        ("direction", data_set.direction, direction),
        ("begin register", data_set.begin.register_mwh, registers[0]),
        ("end register", data_set.end.register_mwh, registers[1]),
        ("begin", data_set.begin.utc_ms, begin.utc_ms),
        ("end", data_set.end.utc_ms, end.utc_ms),
        ("status of begin", (data_set.begin.state, data_set.begin.errors), states[0]),
        ("status of end", (data_set.end.state, data_set.end.errors), states[1]),
        ("meter", data_set.meter_serial, started.meter_serial),
        ("EVSE", data_set.evse_id, started.evse_id),
        ("contract", data_set.emaid, settlement.emaid),
        ("version", data_set.tariff_text, signed_meter.version_text(entries)),
    ):
        if theirs != ours:
            raise VerificationError(
                f"{what}: the meter signed {theirs or 'none'}, the journal has {ours or 'none'}", where=name
            )
    end_reason = cast("ocmf.EndReason", data_set.end_reason)
    return max(2, signed_meter.check_readings(more, direction, entries, end_reason, key, name=name))


def _expired(chains: Sequence[VerifiedChain], now: datetime | None) -> tuple[str, ...]:
    if now is None:
        return ()
    return tuple(
        common_name(certificate)
        for chain in chains
        for certificate in (*chain.certificates, chain.anchor)
        if certificate.not_valid_after_utc < now
    )
