"""One transaction priced by the station: its tariffs, and how readings and time update its tally (I12)."""

from typing import Final, Literal

import msgspec

from v2g.energy.price_plan import PricePlan
from v2g.energy.settlement.costing import Bill, Tally, extend, open_tally, total
from v2g.energy.settlement.intervals import Registers
from v2g.energy.settlement.pieces import Usage
from v2g.ocpp.messages.authorization import IdToken
from v2g.ocpp.messages.tariff_cost import CostDetails
from v2g.translate.details import cost_details
from v2g_station.blocks.transaction_records import MeterSample, TransactionRecord
from v2g_station.kernel.kernel import CLOCK_SET_MS, Kernel, Moment

MAX_PERIODS: Final = 200
"""Maximum number of charging periods reported for a transaction; its cost does not depend on them."""

NO_READING: Final = "the meter could not be read"

_replace = msgspec.structs.replace


class PricedTerms(msgspec.Struct, frozen=True, kw_only=True):
    """The pricing terms of a transaction: plans by start (UTC ms), and the inputs of their conditions.

    `own` means that the tariff is not a default one; `text` describes it to its driver.
    """

    evse_id: int
    id_token: IdToken
    own: bool
    plans: tuple[tuple[int, PricePlan], ...]
    evse_kind: Literal["AC", "DC"]
    text: str = ""

    @property
    def plan(self) -> PricePlan:
        """The plan in force."""
        return self.plans[-1][1]

    def usage(self, start_ms: int, end_ms: int) -> Usage:
        """Return a period of the transaction without known events."""
        return Usage(
            start_ms=start_ms,
            end_ms=end_ms,
            evse_kind=self.evse_kind,
            payment_brand=self._paid_by("PaymentBrand"),
            payment_recognition=self._paid_by("PaymentRecognition"),
        )

    def _paid_by(self, what: str) -> str | None:
        """Return a property of an ad hoc payment (part 2, 2.96)."""
        return next((each.additional_id_token for each in self.id_token.additional_info if each.type == what), None)


class PricedState(msgspec.Struct, frozen=True, kw_only=True):
    """How far a transaction is priced, and its state since then."""

    tally: Tally
    charging: bool = False
    current_a: int = 0
    metered: bool = True
    """Whether there was an initial reading."""

    failure: str = ""


class Priced:
    """A transaction with its tariff. `reported_at` is when its cost was reported, `shown` the cost shown (micro-units).

    `scale` is seconds of UTC per second of the monotonic clock.
    """

    def __init__(
        self, name: str, terms: PricedTerms, state: PricedState, *, scale: float, moment: Moment | None = None
    ) -> None:
        self.name: Final = name
        self.terms = terms
        self.state = state
        self.reported_at = 0.0
        self.shown: int | None = None
        self._scale = scale
        self._now = moment.now if moment is not None else None
        """When the state was last updated, None if it comes from the store."""

    def change(self, plan: PricePlan) -> None:
        """Switch to another plan for good (I11.FR.08)."""
        plans = (*self.terms.plans, (self.state.tally.progress.last.utc_ms, plan))
        self.terms = _replace(self.terms, plans=plans, own=True)

    def flows(self, *, charging: bool) -> None:
        """Start or stop the energy flow."""
        self.state = _replace(self.state, charging=charging)

    def advance(self, moment: Moment, sample: MeterSample | None, current_a: int) -> bool:
        """Update the tally to now; return whether the clock was set meanwhile, which changes the terms.

        After a restart of the program, the delivered energy is priced as before, and the time counts as neither
        charging nor idle (`transactions.interrupted`).
        """
        dark = self._now is None
        moved = self._follow_clock(moment)
        self._now = moment.now
        if sample is not None and not self.state.metered:
            # start counting energy here: there was no earlier reading
            progress = self.state.tally.progress
            last = Registers(progress.last.utc_ms, sample.import_mwh, sample.export_mwh)
            progress = _replace(progress, last=last, first_mwh=sample.import_mwh)
            self.state = _replace(self.state, metered=True, tally=_replace(self.state.tally, progress=progress))
        last = self.state.tally.progress.last
        now = last.utc_ms if dark else max(last.utc_ms, moment.utc_ms)
        here = Registers(
            now,
            max(last.import_mwh, sample.import_mwh) if sample is not None else last.import_mwh,
            max(last.export_mwh, sample.export_mwh) if sample is not None else last.export_mwh,
        )
        if here != last:
            usage = _replace(
                self.terms.usage(last.utc_ms, here.utc_ms),
                readings=(last, here),
                charging=((last.utc_ms, self.state.charging),),
                currents=((last.utc_ms, self.state.current_a),),
            )
            try:
                tally = extend(self.state.tally, self.terms.plans, usage, most_periods=MAX_PERIODS)
            except (ValueError, OverflowError, OSError) as error:  # a clock beyond the calendar, a removed zone
                self.state = _replace(self.state, failure=str(error)[:200])
            else:
                self.state = _replace(self.state, tally=tally)
        if dark:
            self._continue_from(_replace(here, utc_ms=max(now, moment.utc_ms)))
        self.state = _replace(self.state, current_a=current_a)
        return moved

    def _continue_from(self, here: Registers) -> None:
        """Continue from these registers."""
        tally = self.state.tally
        self.state = _replace(self.state, tally=_replace(tally, progress=_replace(tally.progress, last=here)))

    def _follow_clock(self, moment: Moment) -> bool:
        """Follow the time of day when the clock was set, so that a jump counts as no time."""
        if self._now is None:
            return False
        progress = self.state.tally.progress
        passed_ms = round((moment.now - self._now) * 1000 * self._scale)
        jump_ms = moment.utc_ms - progress.last.utc_ms - passed_ms
        if abs(jump_ms) < CLOCK_SET_MS * max(1.0, self._scale):
            return False
        last = _replace(progress.last, utc_ms=progress.last.utc_ms + jump_ms)
        progress = _replace(progress, start_ms=progress.start_ms + jump_ms, last=last)
        self.state = _replace(self.state, tally=_replace(self.state.tally, progress=progress))
        self.terms = _replace(self.terms, plans=tuple((since + jump_ms, plan) for since, plan in self.terms.plans))
        return True

    # -- results

    def bill(self, *, ended: bool = False) -> Bill:
        """Return the bill of the transaction up to its last reading."""
        return total(self.state.tally, self.terms.plans, ended=ended)

    def failure(self) -> str:
        """Return why the cost cannot be calculated, "" if it can."""
        unmetered = not self.state.metered and any(plan.energy is not None for _, plan in self.terms.plans)
        return self.state.failure or (NO_READING if unmetered else "")

    def details(self, *, ended: bool) -> CostDetails:
        """Return the cost details for an event; a running cost without periods (I12.FR.02, .14)."""
        details, failure = cost_details(self.bill(ended=ended), periods=ended), self.failure()
        return _replace(details, failure_to_calculate=True, failure_reason=failure) if failure else details


def stored_prices(kernel: Kernel) -> dict[str, Priced]:
    """Return the transactions that were priced when the program last stopped, by their id."""
    states = kernel.stored("costs", PricedState)
    return {
        name: Priced(name, terms, _replace(states[name], charging=False), scale=kernel.scale)
        for name, terms in kernel.stored("terms", PricedTerms).items()
        if name in states
    }


def priced_from_now(
    record: TransactionRecord,
    terms: PricedTerms,
    moment: Moment,
    sample: MeterSample | None,
    current_a: int,
    *,
    reserved_ms: int | None,
    fees: bool,
    scale: float,
) -> Priced:
    """Price a transaction from now on, by the one plan of its terms; the time before is free.

    Its `fees` are charged once, by the clock at the transaction's start (I12.FR.06, .30).
    """
    begun_ms = min(record.started_ms, moment.utc_ms)
    usage = _replace(terms.usage(begun_ms, begun_ms), reserved_ms=reserved_ms)
    tally = open_tally(terms.plans, usage, fees=fees)
    here = Registers(moment.utc_ms, sample.import_mwh if sample else 0, sample.export_mwh if sample else 0)
    progress = _replace(tally.progress, last=here, first_mwh=here.import_mwh)
    state = PricedState(
        tally=_replace(tally, progress=progress),
        charging=record.charging_state == "Charging",
        metered=sample is not None,
        current_a=current_a,
    )
    return Priced(record.transaction_id, terms, state, scale=scale, moment=moment)
