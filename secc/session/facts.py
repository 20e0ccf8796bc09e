"""What a session knows of everything around it: the latest fact of each kind, whatever is spoken with the vehicle."""

from msgspec import Struct
from msgspec.structs import replace

from secc.session import ports
from v2g.energy.grid_signal import Tariff
from v2g.energy.limits import NO_RESPONSE, GridResponse
from v2g.iec61851.pilot import PilotState
from v2g.iso15118.d20.messages.schedules import AbsolutePriceSchedule, PriceLevelSchedule
from v2g.iso15118.engine.session import Fact


class SessionFacts(Struct, frozen=True):
    """The surroundings of a session. `pilot` is None when the shell does not report it."""

    tariff: Tariff | None = None
    meter: ports.MeterRead | None = None
    pilot: PilotState | None = None
    meter_begin: tuple[int, int] = (0, 0)
    """The registers (mWh import, export) when the session began."""
    measured: ports.Measured = ports.Measured(voltage_mv=0, current_ma=0)
    device: ports.Device = ports.Device()
    response: GridResponse = NO_RESPONSE
    """What the grid's frequency and voltage want."""
    can_install: bool = False
    """Whether there is a back end now that knows of contracts."""
    allowed: frozenset[int] | None = None
    """Ids of the energy services that the back end allows; None: it has not said anything."""
    csms_prices: AbsolutePriceSchedule | PriceLevelSchedule | None = None
    """Prices that the back end has sent with a charging profile."""

    def from_here(self) -> "SessionFacts":
        """Return the same, with a session that begins by the meter's reading of now."""
        meter = self.meter
        return self if meter is None else replace(self, meter_begin=(meter.import_mwh, meter.export_mwh))

    def updated(self, fact: Fact) -> "SessionFacts":
        """Return what is known with this fact."""
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
            case ports.CsmsPricesChanged(prices=prices):
                return replace(self, csms_prices=prices)
        return self
