"""The charger's knowledge of the grid: limits of site and operator, prices, and set points.

It outlives sessions: a session begins with the present state, and gets changes as facts.
"""

from collections.abc import Sequence
from typing import Final

from msgspec.structs import replace

from secc.session import ports
from v2g.energy.conductors import line_current_ma
from v2g.energy.grid_signal import ExportSignal, GridSignal, PriceSignal, Tariff
from v2g.energy.grid_support import GridSupport
from v2g.energy.limits import (
    AUTHORIZATION,
    CABLE,
    MOST_MA,
    NO_RESPONSE,
    OPERATOR,
    PHASES,
    SITE,
    TEMPERATURE,
    EffectiveLimits,
    GridResponse,
    Limit,
    Setpoint,
    effective_limits,
    setpoint_limit,
)
from v2g.iso15118.engine.session import Fact
from v2g.translate.csms_prices import CsmsPrices
from v2g_station.blocks.smart_charging.profiles import ProfileLimits
from v2g_station.blocks.smart_charging.smart_charging import AnnouncePrices

UNLIMITED_W: Final = 10_000_000
MOST_VERSION: Final = 2**32 - 1
FREQUENCY: Final = "frequency"
CSMS: Final = "csms"
"""Source of the set point in charging profiles."""


class SiteGrid:
    """The present state. `charge_w` is the site's maximum draw, `discharge_w` its maximum feed-back without a signal.

    Each limit has one carrier. Charging profiles of the back end limit the site: chargers share one
    connection. In OCPP 2.1 they also limit the feed-back; in 2.0.1 the grid signal does, as the operator's limit, and
    otherwise only carries prices. A signal from a file limits the draw, too. The signal's figures are for the
    connection point: if several EVSEs are behind it, each connected vehicle gets its share of the site.

    `outlet`: V between line and neutral, and number of line conductors, with alternating current; `charge_ma` and
    `discharge_ma`: what a conductor of the site carries, None: that of its power.
    """

    def __init__(
        self,
        *,
        charge_w: int,
        discharge_w: int,
        outlet: tuple[int, int] | None = None,
        charge_ma: int | None = None,
        discharge_ma: int | None = None,
    ) -> None:
        self._charge_w, self._discharge_w = charge_w, discharge_w
        self._outlet, self._charge_ma, self._discharge_ma = outlet, charge_ma, discharge_ma
        self._signal: PriceSignal | None = None
        self._profiles = ProfileLimits()
        self._site_version = self._operator_version = 0
        self._share: Limit | None = None
        self.foreseen: tuple[Limit, ...] = ()
        """Future limits of charging profiles."""
        self.tariff: Tariff | None = None
        self.csms_prices: CsmsPrices | None = None
        """Prices in charging profiles."""
        self._wish: Setpoint | None = None
        self._local: Setpoint | None = None
        self._local_version = 0
        self._suspended = False
        self._cable_ma: int | None = None
        self._derated: Limit | None = None
        self._response = self._code = NO_RESPONSE
        self.grid_support: GridSupport | None = None
        """The operator's controls of vehicles' inverters; None: those of the configuration."""
        self._resting = self._disconnected = False
        """Whether no power flows, and mains are disconnected, while the phases change."""

    @property
    def setpoint(self) -> Setpoint | None:
        """The set point in force: that of the frequency has precedence over charging profiles."""
        return self._local or self._wish

    def local(self, power_w: float | None) -> Sequence[Fact]:
        """Set the set point by the grid's frequency (Q08), None: none; return the facts for a running
        session."""
        self._local_version += 1
        self._local = (
            None
            if power_w is None
            else Setpoint(power_w=round(power_w), source=FREQUENCY, priority=1, version=self._local_version)
        )
        return (ports.SetpointChanged(self.setpoint),)

    @property
    def response(self) -> GridResponse:
        """Correction of the power by frequency and voltage, of the back end's controls and of the grid code; mains are
        disconnected as by a trip while phases change."""
        response = self._response.beside(self._code)
        return replace(response, trip=True) if self._disconnected else response

    def respond(self, response: GridResponse) -> Sequence[Fact]:
        """Set the correction of the power (R01); return the facts for a running session."""
        self._response = response
        return (ports.GridResponseChanged(self.response),)

    def by_code(self, response: GridResponse) -> Sequence[Fact]:
        """Set the correction by the charger's own grid code (R209); return the facts for a running session."""
        self._code = response
        return (ports.GridResponseChanged(self.response),)

    def support(self, support: GridSupport | None) -> Sequence[Fact]:
        """Set the operator's controls of vehicles' inverters; return the facts for a running session."""
        self.grid_support = support
        return (ports.GridSupportChanged(support),)

    def interrupt(self, *, rest: bool, disconnect: bool = False) -> Sequence[Fact]:
        """Let no power flow, or disconnect mains, or end both; return the facts for a running session."""
        self._resting, self._disconnected = rest, disconnect
        return ports.GridChanged((_gate(PHASES, closed=self._resting),)), ports.GridResponseChanged(self.response)

    @property
    def facts(self) -> tuple[Fact, ...]:
        """The present limits, for a session without them."""
        return (
            ports.GridChanged(self.limits, self.tariff),
            ports.GridResponseChanged(self.response),
            ports.SetpointChanged(self.setpoint),
        )

    @property
    def limits(self) -> tuple[Limit, ...]:
        """The latest limits of site and operator, of authorisation, of the cable, and of temperatures."""
        return self._now(), *self._own

    @property
    def _own(self) -> tuple[Limit, ...]:
        """All but the site's."""
        cable_ma = self._cable_ma
        cable = Limit(
            source=CABLE, charge_w=UNLIMITED_W, discharge_w=UNLIMITED_W, charge_ma=cable_ma, discharge_ma=cable_ma
        )
        derated = () if self._derated is None else (self._derated,)
        resting = (_gate(PHASES, closed=self._resting),) if self._resting else ()
        return self._operator(), _gate(AUTHORIZATION, closed=self._suspended), cable, *derated, *resting

    def plugged(self, cable_ma: int | None) -> None:
        """A session begins with a cable whose conductors have this rating, mA; None if uncoded."""
        self._cable_ma = cable_ma

    def derate(self, charge_w: int, discharge_w: int) -> Sequence[Fact]:
        """Parts are too warm or too cold for more than this (R128); return the facts for a running session."""
        self._derated = Limit(source=TEMPERATURE, charge_w=charge_w, discharge_w=discharge_w)
        return (ports.GridChanged((self._derated,)),)

    def nothing_allowed(self, *, bidirectional: bool = True) -> bool:
        """Return whether site and operator permit no energy, in either direction or into the vehicle."""
        charge, discharge = zip(*((each.charge_w, each.discharge_w) for each in self.limits), strict=True)
        return min(charge) == 0 and not (bidirectional and min(discharge))

    @property
    def nothing_until_ms(self) -> int | None:
        """When energy may flow again by charging profiles (UTC); None if unknown."""
        limits = (each for each in self.foreseen if each.source == SITE)
        return next((each.valid_from_ms for each in limits if each.charge_w or each.discharge_w), None)

    def connection(self, lines: int | None = None) -> Limit:
        """Return what may flow at the site's connection point, by configuration and signal; with alternating current
        also in each of its `lines`, None: as many as the outlet has."""
        charge_w, discharge_w, signal = self._charge_w, self._discharge_w, self._signal
        if isinstance(signal, GridSignal):
            charge_w = min(charge_w, signal.site_import_limit_w)
        if isinstance(signal, ExportSignal):
            discharge_w = min(self._charge_w, signal.export_limit_w)
        charge_ma, discharge_ma = self._charge_ma, self._discharge_ma
        if charge_ma is None or charge_w < self._charge_w:  # watts name no conductor: those of a balanced connection
            charge_ma = _smallest(charge_ma, self._balanced(charge_w, lines))
        if discharge_ma is None or discharge_w != self._discharge_w:
            discharge_ma = _smallest(discharge_ma, self._balanced(discharge_w, lines))
        return Limit(
            source=SITE, charge_w=charge_w, discharge_w=discharge_w, charge_ma=charge_ma, discharge_ma=discharge_ma
        )

    @property
    def whole(self) -> ProfileLimits | None:
        """What profiles allow the whole station; None for no limit."""
        return self._profiles.whole

    def together(self, feeder: Limit, wholes: Sequence[ProfileLimits], lines: int) -> Limit:
        """Return what may flow at a feeder of so many lines within what profiles allow the whole station, by each EVSE:
        these differ where a limit in A counts for another number of phases."""
        charge_w, discharge_w = (
            max(_watts(getattr(each, name)) for each in wholes) for name in ("charge_w", "discharge_w")
        )
        charge_ma, discharge_ma = (
            max((_milliamperes(value) for each in wholes if (value := getattr(each, name)) is not None), default=None)
            for name in ("charge_a", "discharge_a")
        )
        bound = Limit(
            source=SITE,
            charge_w=charge_w,
            discharge_w=discharge_w,
            charge_ma=_smallest(charge_ma, self._balanced(charge_w, lines)),
            discharge_ma=_smallest(discharge_ma, self._balanced(discharge_w, lines)),
        )
        return _lower(feeder, bound)

    @property
    def exports(self) -> bool:
        """Whether charging profiles permit feed-back, for this EVSE alone, beyond what the site is configured for."""
        return self._profiles.export_w is not None and not isinstance(self._signal, ExportSignal)

    def most(self, rated: Limit, utc_ms: int) -> EffectiveLimits:
        """Return what this EVSE could use of the site if it were alone there."""
        return effective_limits((rated, self._site(self._profiles, None), *self._own), utc_ms)

    def share(self, share: Limit | None) -> Sequence[Fact]:
        """Set this EVSE's share of the site, None: all of it; return the facts for a running session."""
        if share == self._share:
            return ()
        before, self._share = self._now(), share
        foreseen = self._foresee()
        if foreseen is None and replace(self._now(), version=before.version) == before:
            return ()
        self._site_version += 1
        return (ports.GridChanged((self._now(),), foreseen=foreseen),)

    def signal(self, signal: PriceSignal) -> Sequence[ports.GridChanged]:
        """Set a grid signal with its limits; return the facts for a running session. A lower version counts when it was
        issued later: its provider has begun to count again."""
        known = self._signal
        if known is not None and signal.version < known.version and signal.issued_at_ms <= known.issued_at_ms:
            return ()
        self._signal, self.tariff = signal, signal.tariff()
        if known is None or signal.version >= self._operator_version:
            self._operator_version = signal.version
        else:  # a session keeps the highest version of a limit
            self._operator_version = min(MOST_VERSION, self._operator_version + 1)
        self._site_version += 1
        return (ports.GridChanged(self.limits, self.tariff, self._foresee()),)

    def suspend(self, suspended: bool) -> Sequence[Fact]:
        """Block or unblock energy of the present token (E05); return the facts for a running session."""
        if suspended is self._suspended:
            return ()
        self._suspended = suspended
        return (ports.GridChanged((_gate(AUTHORIZATION, closed=self._suspended),)),)

    def profiles(self, limits: ProfileLimits) -> Sequence[Fact]:
        """Set the present limits of charging profiles; return the facts for a running session."""
        before, had = self._now(), self._wish
        self._profiles = limits
        self._site_version += 1
        wish = limits.setpoint_w
        self._wish = None if wish is None else Setpoint(power_w=round(wish), source=CSMS, version=self._site_version)
        changed = ports.GridChanged((self._now(),), foreseen=self._foresee())
        wished = ports.SetpointChanged(self.setpoint)
        if (had and had.power_w) == (self._wish and self._wish.power_w):
            return changed, wished
        # what rises waits for the set point, which may bound it
        return ports.GridChanged((_lower(before, self._now()),)), wished, changed

    def prices(self, announced: AnnouncePrices) -> Sequence[Fact]:
        """Set the prices in charging profiles; return the facts for a running session."""
        self.csms_prices = announced.prices
        return (announced,)

    def _foresee(self) -> tuple[Limit, ...] | None:
        """Compute future limits; return them if they have changed."""
        before = self.foreseen
        later = self._profiles.later
        self.foreseen = tuple(self._site(each, self._share, each.from_ms) for each in later)
        if self._profiles.setpoint_w is not None or any(each.setpoint_w is not None for each in later):
            self.foreseen += tuple(
                setpoint_limit(None if each.setpoint_w is None else round(each.setpoint_w), each.from_ms)
                for each in later
            )
        return self.foreseen if self.foreseen != before else None

    def _now(self) -> Limit:
        return self._site(self._profiles, self._share)

    def _site(self, profiles: ProfileLimits, share: Limit | None, from_ms: int = 0) -> Limit:
        """Return the site's limit with that of charging profiles, and of a share of it, from a time on."""
        site, until_ms = self.connection(), None
        back_w = None
        if isinstance(self._signal, ExportSignal):
            back_w = self._charge_w if share is None else None
        elif profiles.export_w is not None:  # specified for each EVSE
            back_w = min(self._charge_w, _watts(profiles.export_w))
            until_ms = next((e.from_ms for e in self._profiles.later if e.from_ms > from_ms and not e.export_w), None)
        if back_w is not None:
            back_ma = _smallest(self._balanced(back_w), self._discharge_ma, self._charge_ma)
            site = replace(site, discharge_w=back_w, discharge_ma=back_ma)
        if share is not None:
            site = replace(
                site,
                charge_w=min(site.charge_w, share.charge_w),
                discharge_w=min(site.discharge_w, share.discharge_w),
                charge_ma=_smallest(site.charge_ma, share.charge_ma),
                discharge_ma=_smallest(site.discharge_ma, share.discharge_ma),
            )
        return replace(
            site,
            charge_w=min(site.charge_w, _watts(profiles.charge_w)),
            discharge_w=min(site.discharge_w, _watts(profiles.discharge_w)),
            charge_ma=self._line(site.charge_ma, profiles.charge_w, profiles.charge_a),
            discharge_ma=self._line(site.discharge_ma, profiles.discharge_w, profiles.discharge_a),
            version=0 if from_ms else self._site_version,  # forecasts are repeated only when they differ
            valid_from_ms=from_ms,
            valid_until_ms=until_ms,
        )

    def _balanced(self, watts: int, lines: int | None = None) -> int | None:
        """Return the current of each conductor at a power on all `lines`, or those of the outlet."""
        if self._outlet is None:
            return None
        return min(MOST_MA, line_current_ma(watts, self._outlet[0], lines or self._outlet[1]))

    def _line(self, site_ma: int | None, profile_w: float | None, profile_a: float | None) -> int | None:
        """Return the current of each conductor within a charging profile; one in watts names none, either."""
        if self._outlet is None:
            return site_ma
        profile_ma = self._balanced(_watts(profile_w)) if profile_a is None else _milliamperes(profile_a)
        return max(0, _smallest(site_ma, profile_ma) or 0)

    def _operator(self) -> Limit:
        signal, charge_w, discharge_w, until_ms = self._signal, self._charge_w, self._charge_w, None
        if isinstance(signal, GridSignal):
            charge_w = signal.site_import_limit_w
        if isinstance(signal, ExportSignal):
            discharge_w, until_ms = signal.export_limit_w, signal.valid_until_ms
        return Limit(
            source=OPERATOR,
            charge_w=charge_w,
            discharge_w=discharge_w,
            version=self._operator_version,
            valid_until_ms=until_ms,
        )


def _gate(source: str, *, closed: bool) -> Limit:
    """Return the limit of a source that permits everything or, closed, nothing."""
    most_w = 0 if closed else UNLIMITED_W
    return Limit(source=source, charge_w=most_w, discharge_w=most_w)


def _lower(one: Limit, other: Limit) -> Limit:
    """Return the other limit, as far as it is lower than one in each direction."""
    return replace(
        other,
        charge_w=min(one.charge_w, other.charge_w),
        discharge_w=min(one.discharge_w, other.discharge_w),
        charge_ma=_smallest(one.charge_ma, other.charge_ma),
        discharge_ma=_smallest(one.discharge_ma, other.discharge_ma),
    )


def _smallest(*currents_ma: int | None) -> int | None:
    return min((each for each in currents_ma if each is not None), default=None)


def _watts(limit: float | None) -> int:
    """Return a limit in whole watts, rounded down; none is no limit."""
    return UNLIMITED_W if limit is None else max(0, min(UNLIMITED_W, int(limit)))


def _milliamperes(limit: float) -> int:
    return min(MOST_MA, int(limit * 1000 + 1e-6))
