"""What the vehicle signed by the plain standard, checked against the journal: that it was at this charger for this very
session, and readings (MeteringConfirmation).

A charger that begins a session by contract writes the journal's first entry before it lets the vehicle sign: the
challenge is the start of that entry's hash, which covers session, place, time, registers and fresh entropy. The signed
AuthorizationReq is an entry. So whoever has a contract's chain, and even an earlier signature of it, makes no other
session of it.

This package does not know ISO 15118 messages: a reader for them is an argument.
"""

from collections.abc import Callable, Sequence
from typing import Final, Literal

import msgspec

from v2g.energy.settlement.journal import Entry, Journal
from v2g.energy.settlement.records import AuthorizationSigned, ContractAuthorized, MeteringConfirmed, SessionStarted
from v2g.energy.settlement.session_journal import readings_of
from v2g.energy.signed import Party
from v2g.errors import CertificateError, CodecError, SignatureError, VerificationError
from v2g.pki.keys import PublicKey

CHALLENGE_BYTES: Final = 16
"""Length of GenChallenge in both editions (genChallengeType)."""

SIGNED_SINCE: Final = 3
"""Version of bundles from which a contract's session needs the signature."""


class SignedChallenge(msgspec.Struct, frozen=True):
    """What a signed AuthorizationReq says; `certificate` is the contract's (DER), None where the message has none."""

    session_id: bytes
    challenge: bytes
    certificate: bytes | None


ReadAuthorization = Callable[[bytes, PublicKey], SignedChallenge]
"""Takes the vehicle's message and the contract's key. Raises CodecError or SignatureError."""

Authorization = Literal["signed", "unsigned", "external"]
"""How a session was authorised: by a contract whose key signed for this very session; by a contract without that, in a
journal of an earlier version; or by external means (EIM), for which no vehicle signs.
"""


def challenge_of(started: SessionStarted, utc_ms: int) -> bytes:
    """Return the challenge for a vehicle whose session begins with this entry, at that time."""
    journal = Journal()
    journal.append(started, utc_ms)
    return bytes.fromhex(journal.state.head)[:CHALLENGE_BYTES]


def check_authorization(
    entries: Sequence[Entry], certificate: bytes | None, read: ReadAuthorization, *, name: str = "journal.jsonl"
) -> Authorization:
    """Return how a verified journal's session was authorised. `certificate` is its contract's (DER), None without one.

    Whether that is the journal's, and its chain valid, the caller checks. Raises VerificationError (`name:line`) for a
    signature that does not match, is of another session or contract, or is missing.
    """
    started = entries[0].data
    assert isinstance(started, SessionStarted), "checked by verify_lines"
    contract = next((each.data for each in entries if isinstance(each.data, ContractAuthorized)), None)
    signed = [(n, each.data) for n, each in enumerate(entries, 1) if isinstance(each.data, AuthorizationSigned)]
    if len(signed) > 1:
        raise VerificationError("an authorisation is signed once", where=f"{name}:{signed[1][0]}")
    if not signed:
        if contract is not None and started.bundle is not msgspec.UNSET and started.bundle >= SIGNED_SINCE:
            raise VerificationError("the vehicle's signed AuthorizationReq is missing", where=name)
        return "external" if contract is None else "unsigned"
    number, record = signed[0]
    where = f"{name}:{number}"
    if contract is None or certificate is None:
        raise VerificationError("an authorisation was signed without a contract", where=where)
    try:
        found = read(record.payload, Party.of(certificate).public_key)
    except (CertificateError, CodecError, SignatureError) as error:
        raise VerificationError(f"the vehicle's AuthorizationReq: {error}", where=where) from None
    if found.session_id.hex() != started.session_id:
        raise VerificationError(f"session {found.session_id.hex()} was authorised", where=where)
    if found.challenge != bytes.fromhex(entries[0].hash)[:CHALLENGE_BYTES]:
        raise VerificationError("the vehicle signed another challenge than the hash of the first entry", where=where)
    if found.certificate not in (None, certificate):
        raise VerificationError("another contract was presented", where=where)
    return "signed"


ReadConfirmation = Callable[[bytes, PublicKey], tuple[bytes, int, int]]
"""Takes the vehicle's message and the contract's key; returns session id, Wh charged and Wh discharged of the session.

Raises CodecError or SignatureError.
"""


class Confirmed(msgspec.Struct, frozen=True):
    """How many readings the vehicle signed, and the energy (Wh of the session) in the last one."""

    count: int
    charged_wh: int
    discharged_wh: int


def check_confirmations(
    entries: Sequence[Entry], key: PublicKey | None, read: ReadConfirmation, *, name: str = "journal.jsonl"
) -> Confirmed:
    """Return which readings the vehicle signed.

    Raises VerificationError (`name:line`) for a signature that does not match, another session, or a reading beyond the
    meter's.
    """
    started = entries[0].data
    assert isinstance(started, SessionStarted), "checked by verify_lines"
    readings = readings_of(entries)
    count, before = 0, (0, 0)
    for number, entry in enumerate(entries, 1):
        if not isinstance(entry.data, MeteringConfirmed):
            continue
        where = f"{name}:{number}"
        if key is None:
            raise VerificationError("a reading was confirmed without a contract", where=where)
        try:
            session_id, charged, discharged = read(entry.data.payload, key)
        except (CodecError, SignatureError) as error:
            raise VerificationError(f"the vehicle's confirmation: {error}", where=where) from None
        if session_id.hex() != started.session_id:
            raise VerificationError(f"a reading of session {session_id.hex()} was confirmed", where=where)
        after = next((each for each in readings if each.utc_ms >= entry.utc_ms), readings[-1])
        reached = (after.import_mwh - started.import_mwh) // 1000, (after.export_mwh - started.export_mwh) // 1000
        if not (before[0] <= charged <= reached[0] and before[1] <= discharged <= reached[1]):
            raise VerificationError(f"{charged} Wh in, {discharged} Wh out differs from the meter reading", where=where)
        count, before = count + 1, (charged, discharged)
    return Confirmed(count, *before)
