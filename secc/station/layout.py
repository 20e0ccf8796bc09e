"""An EVSE's layout for OCPP: its connector, its phases, and its power in both directions."""

from secc.config import ProgramConfig
from secc.session.config import EnergyService
from v2g.hardware.interfaces import PhaseSwitch
from v2g_station.kernel.layout import ConnectorLayout, EvseLayout

DIRECT = {"type1": "cCCS1", "type2": "cCCS2"}
CABLE = {"type1": "cType1", "type2": "cType2"}


def evse_layout(
    config: ProgramConfig, *, rating: tuple[int, int], latch: bool, switch: PhaseSwitch | None = None
) -> EvseLayout:
    """Return the layout of one EVSE. `rating` is W of charging and of discharging; with alternating current a `latch`
    of ours locks the driver's own cable in a socket, and a `switch` changes its phases."""
    hardware, charger = config.hardware, config.charger
    coding = hardware.plug or (hardware.board.proximity if hardware.board is not None else "type2")
    match hardware.kind:
        case "ac":
            connector = ConnectorLayout(connector_type="sType2" if latch else CABLE[coding], fixed_cable=not latch)
        case "wpt":
            connector = ConnectorLayout(connector_type="wInductive")
        case "acdp":
            connector = ConnectorLayout(connector_type="Pan")
        case "dc":
            mega = any(service in (EnergyService.MCS, EnergyService.MCS_BPT) for service in charger.services)
            connector = ConnectorLayout(connector_type="cMCS" if mega else DIRECT[coding])
    alternating = hardware.kind == "ac"
    return EvseLayout(
        connectors=(connector,),
        evse_id=charger.evse_id,
        max_power_w=rating[0],
        max_discharge_w=rating[1],
        phases=charger.ac_rating.phases if alternating else 0,
        switches_phases=switch is not None and alternating and charger.ac_rating.phases > 1,
        selects_phase=switch is not None and switch.selects and alternating,
        line_v=float(charger.ac_rating.nominal_voltage_v) if alternating else 230.0,
    )
