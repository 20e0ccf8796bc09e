"""Permitted power of a session: limits of charger, site, operator and vehicle, and the set point."""

from collections.abc import Iterable

from msgspec.structs import replace

from secc.session.config import SeccConfig
from v2g.asn1.discharge import DischargeLimits
from v2g.energy.limits import (
    SETPOINT,
    VEHICLE,
    EffectiveLimits,
    Limit,
    LimitBook,
    Setpoint,
    choose_setpoint,
    setpoint_limit,
)
from v2g.energy.settlement.records import LimitChanged, limit_record
from v2g.iso15118.d20.charts import Family
from v2g.iso15118.engine.message_timing import SessionTime


class SessionLimits:
    """The limits of one session, by source, with the charger's rating for this kind of energy transfer.

    `setpoint` is the set point of operator or CSMS, `foreseen` the known limits of later times. A limit in W of a
    source that names no conductor is that of a balanced connection: see `Limit.balanced`. A set point is not one.
    """

    def __init__(
        self,
        config: SeccConfig,
        family: Family,
        limits: Iterable[Limit] = (),
        setpoint: Setpoint | None = None,
        foreseen: Iterable[Limit] = (),
    ) -> None:
        self._config, self._book = config, LimitBook()
        self.rate(family)
        self.update(limits)
        self.setpoint = setpoint
        self.foresee(foreseen)
        self._noted_w = -1

    def rate(self, family: Family, *, returns: bool = True) -> None:
        """Set the charger's rating to that of a kind of energy transfer, in which energy `returns` or never does."""
        rated = self._config.rated(family)
        self._book.update(rated if returns else replace(rated, discharge_w=0))

    def update(self, limits: Iterable[Limit]) -> list[str]:
        """Set limits; return the sources of those that changed."""
        return [limit.source for limit in limits if self._book.update(self._on_lines(limit))]

    def foresee(self, limits: Iterable[Limit]) -> None:
        """Set the known limits of later times."""
        self._foreseen = tuple(self._on_lines(each) for each in limits)

    def _on_lines(self, limit: Limit) -> Limit:
        """Return a limit with that of each conductor of the AC outlet."""
        rating = self._config.ac_rating
        return limit if limit.source == SETPOINT else limit.balanced(rating.nominal_voltage_v, rating.phases)

    def take_vehicle(self, charge_w: int, discharge_w: int) -> bool:
        """Set the vehicle's limits; return whether they changed."""
        known = self._book.get(VEHICLE)
        if known is not None and (known.charge_w, known.discharge_w) == (charge_w, discharge_w):
            return False
        version = known.version + 1 if known else 0
        self._book.update(Limit(source=VEHICLE, charge_w=charge_w, discharge_w=discharge_w, version=version))
        return True

    def effective(self, utc_ms: int) -> EffectiveLimits:
        """Return the limits of all sources together."""
        return self._book.effective(utc_ms)

    def station(self, utc_ms: int) -> EffectiveLimits:
        """Return the limits of charger, site and operator: the vehicle's may be older than its request."""
        return self._book.effective(utc_ms, without=VEHICLE)

    def discharge(self, utc_ms: int) -> DischargeLimits:
        """Return the discharge limits as offers contain them."""
        return self._book.discharge_limits(utc_ms)

    def planned(self, utc_ms: int) -> tuple[Limit, ...]:
        """Return the basis of schedules: all limits, and those of later times.

        If a set point is known for now or for later, the present one limits the schedule: there energy flows by the
        schedule, not by a command (Q03).
        """
        setpoint = self.setpoint_at(utc_ms)
        has_setpoint = setpoint is not None or any(each.source == SETPOINT for each in self._foreseen)
        present = (setpoint_limit(setpoint.power_w if setpoint else None),) if has_setpoint else ()
        return (*self._book.all, *present, *self._foreseen)

    def setpoint_at(self, utc_ms: int) -> Setpoint | None:
        """Return the set point in force at a time."""
        return self.setpoint and choose_setpoint((self.setpoint,), utc_ms)

    def take_setpoint(self, setpoint: Setpoint | None, time: SessionTime) -> None:
        """Set a new set point of operator or CSMS."""
        self.setpoint = setpoint
        self.arm_setpoint(time)

    def arm_change(self, time: SessionTime) -> None:
        """Set the timer `limits` to the next beginning or end of a limit."""
        change_ms = self._book.next_change_ms(time.utc_ms)
        if change_ms is not None:
            time.arm_utc("limits", change_ms)

    def arm_setpoint(self, time: SessionTime) -> None:
        """Set the timer `setpoint` to the next beginning or end of the set point."""
        setpoint = self.setpoint
        edges = (setpoint.valid_from_ms, setpoint.valid_until_ms) if setpoint is not None else ()
        time.arm_utc("setpoint", min((at for at in edges if at is not None and at > time.utc_ms), default=None))

    def rises(self, limits: DischargeLimits) -> bool:
        """Return whether more may leave the vehicle than the journal states."""
        return limits.max_discharge_w > self._noted_w

    def entry(self, source: str, limits: DischargeLimits) -> LimitChanged | None:
        """Return the journal entry for changed limits; for the vehicle's only if the permitted power changes."""
        if source == VEHICLE and limits.max_discharge_w == self._noted_w:
            return None
        self._noted_w = limits.max_discharge_w
        return limit_record(limits)
