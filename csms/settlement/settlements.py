"""Settles a session from the copy of its journal."""

import msgspec

from v2g.energy.settlement.bookkeeping import Posting, posting_of
from v2g.energy.settlement.canonical import canonical
from v2g.energy.settlement.journal import verify_lines
from v2g.energy.settlement.pricing import NO_CURRENCY
from v2g.energy.settlement.settle import settle
from v2g.observe import Scalar


class Settled(msgspec.Struct, frozen=True):
    """A settlement: its canonical JSON, its posting in the books, and figures for the timeline."""

    document: bytes
    posting: Posting
    summary: dict[str, Scalar]


def settle_journal(data: bytes, name: str) -> Settled:
    """Return the settlement of a complete journal. Raises VerificationError for an invalid one."""
    settlement = settle(verify_lines(data, name=name), name=name)
    totals = settlement.totals
    priced = [each for each in totals if each.currency != NO_CURRENCY]
    summary: dict[str, Scalar] = {
        "emaid": settlement.emaid,
        "lines": len(settlement.lines),
        "intervals": len(settlement.intervals),
        "import_mwh": sum(each.import_mwh for each in totals),
        "export_mwh": sum(each.export_mwh for each in totals),
    }
    for total in priced or totals:  # one, unless the currency changed: the timeline then shows the last
        summary |= {"currency": total.currency, "balance": total.balance}
    return Settled(canonical(settlement), posting_of(settlement), summary)
