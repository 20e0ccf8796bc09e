"""Corrections of a settled session: entries of the back end that continue the charger's journal.

The charger signs its journal and never changes it. An operator's correction is a further entry (`LineCorrected`,
`SessionRepriced`) in the back end's copy: who, when, why, chained to the last hash that the charger signed.
"""

from v2g.energy.settlement.journal import Entry, verify_lines
from v2g.errors import VerificationError


def read_corrected(data: bytes, signed: bytes, *, name: str) -> tuple[Entry, ...]:
    """Return the entries of a back end's copy of a journal, which continues the `signed` one of a bundle.

    Raises VerificationError for an invalid copy, and for one of another journal.
    """
    entries = verify_lines(data, name=name)
    if not data.startswith(signed):
        ours, theirs = signed.split(b"\n"), data.split(b"\n")
        line = next((n for n, (a, b) in enumerate(zip(ours, theirs, strict=False), 1) if a != b), len(theirs))
        raise VerificationError("the line differs from that of the bundle", where=f"{name}:{line}")
    return entries
