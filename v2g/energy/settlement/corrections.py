"""Corrections of a settled session: entries of the operator that continue the charger's journal at the back end.

The charger signs its journal and never changes it, nor may it hold a correction. The operator's addendum is what
follows the session's end in the back end's copy: entries `line_corrected` and `session_repriced`, chained to the last
hash that the charger signed, and `corrections_signed`, the operator's signature of those before it. Copies of earlier
versions have none until their operator signs them.
"""

from collections.abc import Collection, Sequence

import msgspec

from v2g.energy.settlement.journal import Entry, verify_lines
from v2g.energy.settlement.operator import CorrectionsMade, OperatorSeal, check_seal, is_of, seal
from v2g.energy.settlement.pricing import Total
from v2g.energy.settlement.records import Correction, CorrectionsSigned, LineCorrected
from v2g.energy.settlement.settle import settle
from v2g.errors import VerificationError
from v2g.pki.keys import PublicKey, SigningKey


class Change(msgspec.Struct, frozen=True, kw_only=True):
    """One correction: who says to have made it, when (UTC ms) and why, and the key (SHA-256) that signed it.

    `line` is None where the session was repriced by a tariff of that `version`; `price` is micro-units per kWh. Without
    `key` it is the back end's statement alone. `known`: the key is one that the reader trusts.
    """

    entry: int
    utc_ms: int
    by: str | None
    reason: str
    line: str | None = None
    price: int | None = None
    version: int | None = None
    key: str | None = None
    known: bool


class Addendum(msgspec.Struct, frozen=True, kw_only=True):
    """What an operator changed in a verified session, and its totals with that."""

    changes: tuple[Change, ...]
    totals: tuple[Total, ...]


def read_corrected(data: bytes, signed: bytes, *, name: str) -> tuple[Entry, ...]:
    """Return the entries of a back end's copy of a journal, which continues the `signed` one of a bundle.

    Raises VerificationError for an invalid copy, one of another journal, and a signature that does not hold.
    """
    entries = verify_lines(data, name=name)
    if not data.startswith(signed):
        ours, theirs = signed.split(b"\n"), data.split(b"\n")
        line = next((n for n, (a, b) in enumerate(zip(ours, theirs, strict=False), 1) if a != b), len(theirs))
        raise VerificationError("the line differs from that of the bundle", where=f"{name}:{line}")
    for number, entry in enumerate(entries, 1):
        if isinstance(entry.data, CorrectionsSigned):
            check_seal(CorrectionsMade(head=entry.previous), _seal_in(entry.data), where=f"{name}:{number}")
    return entries


def read_addendum(entries: Sequence[Entry], *, operators: Collection[PublicKey] | None, name: str) -> Addendum:
    """Return what the entries of `read_corrected` change.

    With `operators`, the reader's own keys, each correction must be signed by one of them: raises VerificationError.
    """
    changes: list[Change] = []
    key: str | None = None
    known = False
    for entry in reversed(entries):
        record = entry.data
        if isinstance(record, CorrectionsSigned):  # it signs all that came before
            made = _seal_in(record)
            trusted = operators is not None and is_of(made, operators)
            if key is None or trusted:
                key, known = made.key_id, trusted
        elif isinstance(record, Correction):
            if operators is not None and not known:
                raise VerificationError(
                    f"the correction is signed by {f'key {key}' if key else 'no key'}, not by the operator's",
                    where=f"{name}:{entry.sequence + 1}",
                )
            changes.append(_change(entry, record, key, known=known))
    return Addendum(changes=tuple(reversed(changes)), totals=settle(entries, name=name).totals)


def sign_corrections(head: str, key: SigningKey) -> CorrectionsSigned:
    """Return the operator's signature of all corrections up to the entry with this hash."""
    made = seal(CorrectionsMade(head=head), key)
    return CorrectionsSigned(public_key=made.public_key, signature=made.signature)


def _seal_in(record: CorrectionsSigned) -> OperatorSeal:
    return OperatorSeal(public_key=record.public_key, signature=record.signature)


def _change(entry: Entry, record: Correction, key: str | None, *, known: bool) -> Change:
    by = record.by if isinstance(record.by, str) else None
    made = Change(entry=entry.sequence, utc_ms=entry.utc_ms, by=by, reason=record.reason, key=key, known=known)
    if isinstance(record, LineCorrected):
        return msgspec.structs.replace(made, line=record.line, price=record.price)
    return msgspec.structs.replace(made, version=record.tariff.version)
