"""What the charger has been told about the grid: limits of site, operator and back end, prices, and a wish for power.

It outlives sessions: a session begins with what is known, and hears of changes as facts.
"""

from collections.abc import Sequence

from secc.core import ports
from v2g.grid.limits import OPERATOR, SITE, Limit, Setpoint
from v2g.grid.tariff import Tariff, parse_grid_signal
from v2g.iso15118.session import Fact
from v2g.ocpp.profiles import Allowance

CSMS = "csms"
"""Source of limits that charging profiles set."""

UNLIMITED_W = 10_000_000


class Grid:
    """`limits`, `tariff` and `setpoint` as known now. The site's own figures hold until somebody says otherwise."""

    def __init__(self, *, charge_w: int, discharge_w: int) -> None:
        self._site = charge_w
        self._limits: dict[str, Limit] = {}
        for source in (SITE, OPERATOR):
            self._limits[source] = Limit(source=source, charge_w=charge_w, discharge_w=discharge_w)
        self.tariff: Tariff | None = None
        self.setpoint: Setpoint | None = None

    @property
    def limits(self) -> tuple[Limit, ...]:
        """The newest limit of each source."""
        return tuple(self._limits.values())

    def signal(self, data: bytes) -> Sequence[Fact]:
        """Take a grid signal (JSON); return what a running session has to hear. Raises CodecError."""
        signal = parse_grid_signal(data)
        known = self._limits[OPERATOR]
        if known.version > signal.version:
            return ()
        self.tariff = signal.tariff()
        site = min(self._site, signal.site_import_limit_w)
        limits = (
            Limit(
                source=OPERATOR,
                charge_w=signal.site_import_limit_w,
                discharge_w=signal.export_limit_w,
                version=signal.version,
                valid_until_ms=signal.valid_until_ms,
            ),
            # the operator's figures are for the connection point, so they bound the site as well
            Limit(source=SITE, charge_w=site, discharge_w=self._site, version=signal.version),
        )
        self._limits.update((limit.source, limit) for limit in limits)
        return (ports.TariffChanged(self.tariff), *(ports.LimitChanged(limit) for limit in limits))

    def profiles(self, allowance: Allowance, version: int) -> Sequence[Fact]:
        """Take what charging profiles allow; return what a running session has to hear."""
        limit = Limit(
            source=CSMS,
            charge_w=_watts(allowance.charge_w),
            discharge_w=_watts(allowance.discharge_w),
            version=version,
            valid_until_ms=None,
        )
        self._limits[CSMS] = limit
        self.setpoint = (
            Setpoint(power_w=round(allowance.setpoint_w), source=CSMS, version=version)
            if allowance.setpoint_w is not None
            else None
        )
        return (ports.LimitChanged(limit), ports.SetpointChanged(self.setpoint))


def _watts(limit: float | None) -> int:
    """Return a limit in whole watts, rounded down; no word is no limit."""
    return UNLIMITED_W if limit is None else max(0, min(UNLIMITED_W, int(limit)))
