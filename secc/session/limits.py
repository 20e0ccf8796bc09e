"""How much power a session may have: limits of charger, site, operator and vehicle, and the setpoint."""

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
    """The limits that hold for one session, by source. `rating` is what the charger can do: W of charge, discharge.

    `setpoint` is the power that operator or CSMS wish for, `foreseen` the limits that are known of later times.
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
        """Take another rating of the charger: that of the kind of energy that was negotiated."""
        self._book.update(_rated(rating))

    def update(self, limits: Iterable[Limit]) -> list[str]:
        """Take limits; return the sources of those that are new."""
        return [limit.source for limit in limits if self._book.update(limit)]

    def take_vehicle(self, charge_w: int, discharge_w: int) -> bool:
        """Take what the vehicle bears; return whether that is news."""
        known = self._book.get(VEHICLE)
        if known is not None and (known.charge_w, known.discharge_w) == (charge_w, discharge_w):
            return False
        version = known.version + 1 if known else 0
        self._book.update(Limit(source=VEHICLE, charge_w=charge_w, discharge_w=discharge_w, version=version))
        return True

    def effective(self, utc_ms: int) -> EffectiveLimits:
        """Return what all allow together."""
        return self._book.effective(utc_ms)

    def station(self, utc_ms: int) -> EffectiveLimits:
        """Return what charger, site and operator allow: the entry of the vehicle may be older than its request."""
        return self._book.effective(utc_ms, without=VEHICLE)

    def discharge(self, utc_ms: int) -> DischargeLimits:
        """Return what may leave the vehicle, as offers say it."""
        return self._book.discharge_limits(utc_ms)

    def planned(self, utc_ms: int) -> tuple[Limit, ...]:
        """Return of what schedules are made: all limits, and those of later times.

        A schedule is bounded by the wish of now, where one is known for now or for later: there energy flows by the
        schedule, and not by a command (Q03).
        """
        wish_w = self.setpoint_w(utc_ms)
        wished = wish_w is not None or any(each.source == SETPOINT for each in self.foreseen)
        return (*self._book.all, *((setpoint_limit(wish_w),) if wished else ()), *self.foreseen)

    def setpoint_w(self, utc_ms: int) -> int | None:
        """Return the power that is wished for now, W; None where none is."""
        setpoint = self.setpoint and choose_setpoint((self.setpoint,), utc_ms)
        return setpoint.power_w if setpoint else None

    def take_setpoint(self, setpoint: Setpoint | None, time: SessionTime) -> None:
        """Take another wish of operator or CSMS."""
        self.setpoint = setpoint
        self.arm_setpoint(time)

    def arm_change(self, time: SessionTime) -> None:
        """Have the moment noticed when a limit begins or ends (timer `limits`)."""
        change_ms = self._book.next_change_ms(time.utc_ms)
        if change_ms is not None:
            time.arm_utc("limits", change_ms)

    def arm_setpoint(self, time: SessionTime) -> None:
        """Have the moment noticed when the wish for power begins or ends (timer `setpoint`)."""
        setpoint = self.setpoint
        edges = (setpoint.valid_from_ms, setpoint.valid_until_ms) if setpoint is not None else ()
        time.arm_utc("setpoint", min((at for at in edges if at is not None and at > time.utc_ms), default=None))

    def rises(self, limits: DischargeLimits) -> bool:
        """Return whether more may leave the vehicle than the books say."""
        return limits.max_discharge_w > self._noted_w

    def entry(self, source: str, limits: DischargeLimits) -> LimitChanged | None:
        """Return what open books note of changed limits; of the vehicle's only what changes the power that may flow."""
        if source == VEHICLE and limits.max_discharge_w == self._noted_w:
            return None
        self._noted_w = limits.max_discharge_w
        return limit_record(limits)


def _rated(rating: tuple[int, int]) -> Limit:
    charge_w, discharge_w = rating
    return Limit(source=EVSE, charge_w=charge_w, discharge_w=discharge_w)
