"""Permitted power of a session: limits of charger, site, operator and vehicle, and the set point."""

from collections.abc import Iterable

from v2g.asn1.discharge import DischargeLimits
from v2g.energy.limits import (
    EVSE,
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
from v2g.iso15118.engine.session_time import SessionTime


class SessionLimits:
    """The limits of one session, by source. `rating` is the charger's: W of charge, discharge.

    `setpoint` is the set point of operator or CSMS, `foreseen` the known limits of later times.
    """

    def __init__(
        self,
        rating: tuple[int, int],
        limits: Iterable[Limit] = (),
        setpoint: Setpoint | None = None,
        foreseen: Iterable[Limit] = (),
    ) -> None:
        self._book = LimitBook((_rated(rating), *limits))
        self.setpoint = setpoint
        self.foreseen = tuple(foreseen)
        self._noted_w = -1

    def rate(self, rating: tuple[int, int]) -> None:
        """Set the charger's rating to that of the negotiated energy service."""
        self._book.update(_rated(rating))

    def update(self, limits: Iterable[Limit]) -> list[str]:
        """Set limits; return the sources of those that changed."""
        return [limit.source for limit in limits if self._book.update(limit)]

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
        has_setpoint = setpoint is not None or any(each.source == SETPOINT for each in self.foreseen)
        present = (setpoint_limit(setpoint.power_w if setpoint else None),) if has_setpoint else ()
        return (*self._book.all, *present, *self.foreseen)

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


def _rated(rating: tuple[int, int]) -> Limit:
    charge_w, discharge_w = rating
    return Limit(source=EVSE, charge_w=charge_w, discharge_w=discharge_w)
