"""The readings that the vehicle signed by the plain standard (MeteringConfirmation), checked against the journal.

This package does not know ISO 15118 messages: a reader for them is an argument.
"""

from collections.abc import Callable, Sequence

import msgspec

from v2g.energy.settlement.journal import Entry
from v2g.energy.settlement.records import MeteringConfirmed, SessionStarted
from v2g.energy.settlement.session_journal import readings_of
from v2g.errors import CodecError, SignatureError, VerificationError
from v2g.pki.keys import PublicKey

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
