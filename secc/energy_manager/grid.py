"""What the charger has been told about the grid: limits of site and operator, prices, and a wish for power.

It outlives sessions: a session begins with what is known, and hears of changes as facts.
"""

from collections.abc import Sequence
from typing import Final

from secc.session import ports
from v2g.energy.grid_signal import ExportSignal, GridSignal, PriceSignal, Tariff
from v2g.energy.limits import AUTHORIZATION, CABLE, OPERATOR, SITE, GridResponse, Limit, Setpoint, setpoint_limit
from v2g.iso15118.engine.session import Fact
from v2g.translate.csms_prices import CsmsPrices
from v2g_station.blocks.smart_charging.profiles import Allowance, Later

UNLIMITED_W: Final = 10_000_000
FREQUENCY: Final = "frequency"
CSMS: Final = "csms"
"""Source of the wish for power that charging profiles express."""


class Grid:
    """What is known now. `charge_w` is what the site may draw, `discharge_w` what it may feed back unsignalled.

    Each limit has one carrier. Charging profiles of the back end bound the site: they share one connection among
    chargers. In OCPP 2.1 they also tell what may flow back; in 2.0.1 the grid signal does, as the operator's limit, and
    else brings prices only. A signal from a file bounds what may be drawn, too. The signal's figures are for the
    connection point: where several EVSEs stand behind it, each vehicle that is there gets an equal part of the site.
    """

    def __init__(self, *, charge_w: int, discharge_w: int) -> None:
        self._charge_w, self._discharge_w = charge_w, discharge_w
        self._signal: PriceSignal | None = None
        self._profiles = Allowance()
        self._site_version = 0
        self._sharers = 1
        self._all_w = (0, 0)
        self.foreseen: tuple[Limit, ...] = ()
        """What charging profiles will allow later."""
        self.tariff: Tariff | None = None
        self.csms_prices: CsmsPrices | None = None
        """What charging profiles say of prices."""
        self._wish: Setpoint | None = None
        self._local: Setpoint | None = None
        self._local_version = 0
        self._suspended = False
        self._cable_w = UNLIMITED_W
        self.response = GridResponse()
        """What frequency and voltage want of the power that would flow."""

    @property
    def setpoint(self) -> Setpoint | None:
        """The wish for power in force: what the frequency leads to wins over charging profiles."""
        return self._local or self._wish

    def local(self, power_w: float | None) -> Sequence[Fact]:
        """Let this power flow by the grid's frequency (Q08), None: it does not lead any more; return what a running
        session has to hear."""
        self._local_version += 1
        self._local = (
            None
            if power_w is None
            else Setpoint(power_w=round(power_w), source=FREQUENCY, priority=1, version=self._local_version)
        )
        return (ports.SetpointChanged(self.setpoint),)

    def respond(self, response: GridResponse) -> Sequence[Fact]:
        """Bend the power that would flow like that from now on (R01); return what a running session has to hear."""
        self.response = response
        return (ports.GridResponseChanged(response),)

    @property
    def facts(self) -> tuple[Fact, ...]:
        """What bounds power now, as who has not heard of it yet has to hear."""
        return ports.GridChanged(self.limits, self.tariff), ports.GridResponseChanged(self.response)

    @property
    def limits(self) -> tuple[Limit, ...]:
        """The newest limits of site and operator, of who may charge, and of the cable."""
        cable = Limit(source=CABLE, charge_w=self._cable_w, discharge_w=self._cable_w)
        return self._now(), self._operator(), self._authorization(), cable

    def plugged(self, cable_w: int | None) -> None:
        """A session begins by a cable that bears so much, W; None is one that says nothing of it."""
        self._cable_w = UNLIMITED_W if cable_w is None else cable_w

    def nothing_allowed(self, *, bidirectional: bool = True) -> bool:
        """Return whether site and operator let no energy flow, in either direction or into the vehicle."""
        charge, discharge = zip(*((each.charge_w, each.discharge_w) for each in self.limits), strict=True)
        return min(charge) == 0 and not (bidirectional and min(discharge))

    @property
    def nothing_until_ms(self) -> int | None:
        """When energy may flow again as charging profiles foretell it (UTC); None where they do not."""
        limits = (each for each in self.foreseen if each.source == SITE)
        return next((each.valid_from_ms for each in limits if each.charge_w or each.discharge_w), None)

    def stand_beside(self, charge_w: int, discharge_w: int) -> None:
        """Share the site with others: all EVSEs together could draw and feed back so much, W."""
        self._all_w = (charge_w, discharge_w)

    def share(self, sharers: int) -> Sequence[Fact]:
        """Leave equal parts of the site to so many vehicles; return what a running session has to hear."""
        before, self._sharers = self._now(), sharers
        after = self._now()
        if (before.charge_w, before.discharge_w) == (after.charge_w, after.discharge_w):
            return ()
        self._site_version += 1
        return (*self._foresee(), ports.LimitChanged(self._now()))

    def signal(self, signal: PriceSignal) -> Sequence[Fact]:
        """Take a grid signal with the limits that it has; return what a running session has to hear."""
        if self._signal is not None and signal.version < self._signal.version:
            return ()
        self._signal, self.tariff = signal, signal.tariff()
        self._site_version += 1
        return (*self._foresee(), ports.GridChanged(self.limits, self.tariff))

    def suspend(self, suspended: bool) -> Sequence[Fact]:
        """Whoever charges may have no energy any more, or again (E05); return what a running session has to hear."""
        if suspended is self._suspended:
            return ()
        self._suspended = suspended
        return (ports.LimitChanged(self._authorization()),)

    def _authorization(self) -> Limit:
        most_w = 0 if self._suspended else UNLIMITED_W
        return Limit(source=AUTHORIZATION, charge_w=most_w, discharge_w=most_w)

    def profiles(self, allowance: Allowance) -> Sequence[Fact]:
        """Take what charging profiles allow now; return what a running session has to hear."""
        self._profiles = allowance
        self._site_version += 1
        wish = allowance.setpoint_w
        self._wish = None if wish is None else Setpoint(power_w=round(wish), source=CSMS, version=self._site_version)
        return (*self._foresee(), ports.LimitChanged(self._now()), ports.SetpointChanged(self.setpoint))

    def prices(self, told: CsmsPrices | None) -> Sequence[Fact]:
        """Take what charging profiles say of prices; return what a running session has to hear."""
        self.csms_prices = told
        return (ports.CsmsPricesChanged(told),)

    def _foresee(self) -> Sequence[Fact]:
        """Work out what will be allowed later; return what a running session has to hear of it."""
        before = self.foreseen
        later = self._profiles.later
        self.foreseen = tuple(self._site(each, each.from_ms) for each in later)
        if self._profiles.setpoint_w is not None or any(each.setpoint_w is not None for each in later):
            self.foreseen += tuple(
                setpoint_limit(None if each.setpoint_w is None else round(each.setpoint_w), each.from_ms)
                for each in later
            )
        return (ports.LimitsForeseen(self.foreseen),) if self.foreseen != before else ()

    def _now(self) -> Limit:
        return self._site(self._profiles)

    def _site(self, profiles: Allowance | Later, from_ms: int = 0) -> Limit:
        """Return the site's limit with what charging profiles allow from a time on."""
        charge, discharge, signal, until_ms = self._charge_w, self._discharge_w, self._signal, None
        if isinstance(signal, GridSignal):
            charge = min(charge, signal.site_import_limit_w)
        if isinstance(signal, ExportSignal):
            discharge = min(self._charge_w, signal.export_limit_w) if self._sharers > 1 else self._charge_w
        if charge < self._all_w[0]:  # else there is enough for all of them
            charge //= self._sharers
        if discharge < self._all_w[1]:
            discharge //= self._sharers
        if profiles.export_w is not None and not isinstance(signal, ExportSignal):  # told of each EVSE by itself
            discharge = min(self._charge_w, _watts(profiles.export_w))
            until_ms = next((e.from_ms for e in self._profiles.later if e.from_ms > from_ms and not e.export_w), None)
        return Limit(
            source=SITE,
            charge_w=min(charge, _watts(profiles.charge_w)),
            discharge_w=min(discharge, _watts(profiles.discharge_w)),
            version=0 if from_ms else self._site_version,  # what is foreseen is told anew only when it differs
            valid_from_ms=from_ms,
            valid_until_ms=until_ms,
        )

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
            version=0 if signal is None else signal.version,
            valid_until_ms=until_ms,
        )


def _watts(limit: float | None) -> int:
    """Return a limit in whole watts, rounded down; no word is no limit."""
    return UNLIMITED_W if limit is None else max(0, min(UNLIMITED_W, int(limit)))
