"""What the charger has been told about the grid: limits of site and operator, prices, and a wish for power.

It outlives sessions: a session begins with what is known, and hears of changes as facts.
"""

from collections.abc import Sequence
from typing import Final

from secc.core import ports
from v2g.grid.limits import OPERATOR, SITE, Limit, Setpoint
from v2g.grid.tariff import GridSignal, Tariff, parse_grid_signal
from v2g.iso15118.session import Fact
from v2g.ocpp.profiles import Allowance

UNLIMITED_W: Final = 10_000_000
CSMS: Final = "csms"
"""Source of the wish for power that charging profiles express."""


class Grid:
    """What is known now. `charge_w` is what the site may draw, `discharge_w` what it may feed back unsignalled.

    Charging profiles of the back end bound the site: they share one connection among chargers. The grid signal bounds
    both site and operator, since its figures are for the connection point.
    """

    def __init__(self, *, charge_w: int, discharge_w: int) -> None:
        self._charge_w, self._discharge_w = charge_w, discharge_w
        self._signal: GridSignal | None = None
        self._profiles = Allowance()
        self._site_version = 0
        self.tariff: Tariff | None = None
        self.setpoint: Setpoint | None = None

    @property
    def limits(self) -> tuple[Limit, ...]:
        """The newest limits of site and operator."""
        return self._site(), self._operator()

    def signal(self, data: bytes) -> Sequence[Fact]:
        """Take a grid signal (JSON); return what a running session has to hear. Raises CodecError."""
        signal = parse_grid_signal(data)
        if self._signal is not None and signal.version < self._signal.version:
            return ()
        self._signal, self.tariff = signal, signal.tariff()
        self._site_version += 1
        return (ports.GridChanged(self.limits, self.tariff),)

    def profiles(self, allowance: Allowance) -> Sequence[Fact]:
        """Take what charging profiles allow now; return what a running session has to hear."""
        self._profiles = allowance
        self._site_version += 1
        wish = allowance.setpoint_w
        self.setpoint = None if wish is None else Setpoint(power_w=round(wish), source=CSMS, version=self._site_version)
        return (ports.LimitChanged(self._site()), ports.SetpointChanged(self.setpoint))

    def _site(self) -> Limit:
        charge, discharge = self._charge_w, self._discharge_w
        if self._signal is not None:
            charge, discharge = min(charge, self._signal.site_import_limit_w), self._charge_w
        return Limit(
            source=SITE,
            charge_w=min(charge, _watts(self._profiles.charge_w)),
            discharge_w=min(discharge, _watts(self._profiles.discharge_w)),
            version=self._site_version,
        )

    def _operator(self) -> Limit:
        signal = self._signal
        if signal is None:
            return Limit(source=OPERATOR, charge_w=self._charge_w, discharge_w=self._discharge_w)
        return Limit(
            source=OPERATOR,
            charge_w=signal.site_import_limit_w,
            discharge_w=signal.export_limit_w,
            version=signal.version,
            valid_until_ms=signal.valid_until_ms,
        )


def _watts(limit: float | None) -> int:
    """Return a limit in whole watts, rounded down; no word is no limit."""
    return UNLIMITED_W if limit is None else max(0, min(UNLIMITED_W, int(limit)))
