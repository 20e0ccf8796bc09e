"""A session's knowledge of its surroundings: the latest fact of each kind, in any edition."""

from msgspec import Struct
from msgspec.structs import replace

from secc.session import ports
from v2g.energy.grid_signal import Tariff
from v2g.energy.grid_support import GridSupport
from v2g.energy.limits import NO_RESPONSE, GridResponse
from v2g.iec61851.pilot import PilotState
from v2g.iso15118.d20.messages.schedules import AbsolutePriceSchedule, PriceLevelSchedule
from v2g.iso15118.engine.session import Fact
from v2g_station.blocks.smart_charging.smart_charging import AnnouncePrices


class SessionFacts(Struct, frozen=True):
    """The surroundings of a session. `pilot` is None if the hardware does not report it."""

    tariff: Tariff | None = None
    meter: ports.MeterRead | None = None
    pilot: PilotState | None = None
    meter_begin: tuple[int, int] = (0, 0)
    """The registers (mWh import, export) when the session began."""
    measured: ports.Measured = ports.Measured(voltage_mv=0, current_ma=0)
    device: ports.Device = ports.Device()
    response: GridResponse = NO_RESPONSE
    """Correction of the power by the grid's frequency and voltage."""
    grid_support: GridSupport | None = None
    """The operator's values of grid support, which precede the configured ones."""
    can_install: bool = False
    """Whether a back end that issues contracts is reachable."""
    allowed: frozenset[int] | None = None
    """Ids of the energy services that the back end allows; None: it has set no restriction."""
    lines: int = 3
    """How many line conductors of the AC outlet are in use, at most."""
    csms_prices: AbsolutePriceSchedule | PriceLevelSchedule | None = None
    """Prices that the back end has sent with a charging profile."""

    def from_here(self) -> "SessionFacts":
        """Return the same, for a session that begins at the present meter reading."""
        meter = self.meter
        return self if meter is None else replace(self, meter_begin=(meter.import_mwh, meter.export_mwh))

    def updated(self, fact: Fact) -> "SessionFacts":
        """Return the state after this fact."""
        match fact:
            case ports.Measured():
                return replace(self, measured=fact)
            case ports.MeterRead() if self.meter is None:
                return replace(self, meter=fact).from_here()
            case ports.MeterRead():
                return replace(self, meter=fact)
            case ports.DeviceChanged(device=device):
                return replace(self, device=device)
            case ports.PilotChanged(state=state):
                return replace(self, pilot=state)
            case ports.AuthorizationDecided(services=services) if services is not None:
                return replace(self, allowed=services)
            case ports.EnergyTransferAllowed(services=services):
                return replace(self, allowed=services)
            case ports.InstallationAvailable(available=available):
                return replace(self, can_install=available)
            case ports.GridResponseChanged(response=response):
                return replace(self, response=response)
            case ports.GridSupportChanged(support=support):
                return replace(self, grid_support=support)
            case ports.PhasesChanged(lines=lines):
                return replace(self, lines=lines)
            case AnnouncePrices(prices=prices):
                return replace(self, csms_prices=prices)
        return self
