"""A running session whose offers are answered: its journal, as the charger has sent it so far."""

from tests.csms.settlement.journals import SESSION, started
from v2g.asn1.discharge import PriceSlot
from v2g.energy.grid_signal import Tariff
from v2g.energy.settlement.records import (
    CommandAccepted,
    CommandRejected,
    GridSupportGiven,
    LimitChanged,
    MeterReading,
    TariffSet,
    TermsDecided,
    TermsOffered,
)
from v2g.energy.settlement.session_journal import SessionJournal

HOUR_MS = 3_600_000


def limit(site_w: int, source: str) -> LimitChanged:
    """Return limits of which the site's, or another, binds."""
    return LimitChanged(
        ev_w=10_000,
        evse_w=11_000,
        site_w=site_w,
        operator_w=9_000,
        max_discharge_w=min(site_w, 9_000),
        source=source,
        version=1,
    )


def commanded(effective_w: int, sequence: int) -> CommandAccepted:
    """Return a command of the vehicle, which its charger accepts."""
    return CommandAccepted(sequence=sequence, effective_w=effective_w, until_ms=0, payload=b"", result=b"")


def running(begin_ms: int, session: str = SESSION, *, ended: bool = False) -> list[bytes]:
    """Return the lines of a session that began at a time: a step a minute, prices that change after an hour."""
    slots = tuple(
        PriceSlot(start_ms=begin_ms + at, duration_ms=HOUR_MS, import_price=price, export_compensation=200_000)
        for at, price in ((-HOUR_MS, 250_000), (0, 300_000), (HOUR_MS, 350_000))
    )
    ledger = SessionJournal()
    lines = ledger.record(started(session=session), begin_ms)
    refused = CommandRejected(
        reason="expired", detail="too <late>", sequence=1, size=0, sha256="", payload=b"", result=None
    )
    steps = (
        TariffSet(tariff=Tariff(currency="EUR", slots=slots, version=1)),
        limit(6_000, "site"),
        TermsOffered(payload=b""),
        TermsDecided(accepted=False, reason="state_of_charge_too_low", payload=b""),
        TermsDecided(accepted=True, reason="accepted", payload=b""),
        refused,
        commanded(5_000, 2),
        commanded(5_000, 3),
        MeterReading(import_mwh=2_000, export_mwh=1_000),
        limit(20_000, "operator"),
        commanded(9_000, 4),
        GridSupportGiven(functions=("over_frequency_watt", "volt_var"), values="{}"),
    )
    for number, each in enumerate(steps, start=1):
        lines += ledger.record(each, begin_ms + number * 60_000)
    if ended:
        lines += ledger.end("vehicle", begin_ms + 900_000, import_mwh=2_000, export_mwh=1_000)
    return lines
