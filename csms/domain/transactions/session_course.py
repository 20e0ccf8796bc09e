"""The course of an ISO 15118 session, by its journal: what happened, limits and prices. Pure."""

from collections.abc import Iterable, Mapping, Sequence
from typing import Final

import msgspec

from csms.domain.transactions.journals import entries_of
from v2g.energy.grid_signal import PriceSlot
from v2g.energy.settlement.journal import Entry
from v2g.energy.settlement.records import (
    CommandAccepted,
    CommandRejected,
    ContractAuthorized,
    EnergyUnmetered,
    LimitChanged,
    ServiceChanged,
    SessionEnded,
    SessionStarted,
    TariffSet,
    TermsDecided,
    TermsOffered,
    VehicleDescribed,
)
from v2g.observe import Scalar

SHOWN: Final[Mapping[type[msgspec.Struct], Sequence[str]]] = {
    SessionStarted: ("evse_id", "discharge"),
    ContractAuthorized: ("authorized_by",),
    VehicleDescribed: ("battery_capacity_wh",),
    TermsOffered: (),
    TermsDecided: ("accepted", "reason"),
    CommandAccepted: ("effective_w",),
    CommandRejected: ("reason", "detail"),
    LimitChanged: ("max_discharge_w", "source", "ev_w", "evse_w", "site_w", "operator_w"),
    ServiceChanged: ("service", "reason", "discharge"),
    EnergyUnmetered: ("import_mwh", "export_mwh"),
    SessionEnded: ("reason",),
}
"""What of each kind of record is shown: nothing by which a person is known."""


class Moment(msgspec.Struct, frozen=True, kw_only=True):
    """What happened in a session: a kind of record of its journal, and facts of that, as the records name them."""

    at_ms: int
    session_id: str
    kind: str
    facts: dict[str, Scalar]


class PriceStep(msgspec.Struct, frozen=True, kw_only=True):
    """Prices from a time on, in millionths of the currency per kWh, without taxes."""

    at_ms: int
    currency: str
    import_price: int
    export_price: int


class SessionCourse(msgspec.Struct, frozen=True, kw_only=True):
    """Moments and prices in order of time; of equal permitted powers the first."""

    moments: tuple[Moment, ...] = ()
    prices: tuple[PriceStep, ...] = ()


class Decision(msgspec.Struct, frozen=True, kw_only=True):
    """An offer that the vehicle accepted or refused (`terms`), or its command that the charger refused (`command`)."""

    at_ms: int
    kind: str
    accepted: bool
    reason: str
    detail: str


def course_of(journals: Mapping[str, Iterable[bytes]], until_ms: int) -> SessionCourse:
    """Return the course of the sessions of a transaction, from verified lines by session id; prices until a time."""
    moments: list[Moment] = []
    prices: list[PriceStep] = []
    for session_id, lines in journals.items():
        permitted_w = 0
        for entry in entries_of(session_id, lines, *SHOWN, TariffSet):
            record = entry.data
            if isinstance(record, TariffSet):
                slots = [each for each in record.tariff.slots if each.end_ms > entry.utc_ms]
                steps = [_step(each, entry.utc_ms, record.tariff.currency) for each in slots]
                prices = [*(each for each in prices if each.at_ms < entry.utc_ms), *steps]
            if type(record) not in SHOWN:
                continue
            if isinstance(record, CommandAccepted):
                if record.effective_w == permitted_w:
                    continue  # the vehicle repeats its command
                permitted_w = record.effective_w
            facts = {name: getattr(record, name) for name in SHOWN[type(record)]}
            moments.append(Moment(at_ms=entry.utc_ms, session_id=session_id, kind=entry.kind, facts=facts))
    moments.sort(key=lambda each: each.at_ms)
    return SessionCourse(moments=tuple(moments), prices=tuple(each for each in prices if each.at_ms <= until_ms))


def _step(slot: PriceSlot, set_ms: int, currency: str) -> PriceStep:
    return PriceStep(
        at_ms=max(set_ms, slot.start_ms),
        currency=currency,
        import_price=slot.import_price,
        export_price=slot.export_compensation,
    )


def decision_of(entry: Entry) -> Decision | None:
    """Return what an entry decides about an offer or a command; None for any other."""
    match entry.data:
        case TermsDecided(accepted=accepted, reason=reason):
            return Decision(at_ms=entry.utc_ms, kind="terms", accepted=accepted, reason=reason, detail="")
        case CommandRejected(reason=reason, detail=detail):
            return Decision(at_ms=entry.utc_ms, kind="command", accepted=False, reason=reason, detail=detail[:300])
        case _:
            return None
