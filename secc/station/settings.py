"""The settings of a charging station's core, from the charger's configuration."""

from collections.abc import Collection, Mapping

from msgspec.structs import replace

from secc.config import ProgramConfig
from secc.session.config import EnergyService
from secc.station.device import Premises
from secc.station_config import StationConfig, running_firmware
from v2g.hardware.interfaces import PhaseSwitch
from v2g.iso15118.d20.services import DER_FUNCTIONS, DER_MODES
from v2g.ocpp.messages.ev_charging import DERControl
from v2g.ocpp.messages.provisioning import BootReason
from v2g.ocpp.messages.security import CertificateSigningUse
from v2g.ota.window import parse_window
from v2g_station.blocks.connection.network import first_profile
from v2g_station.blocks.der.reactive import BY_VOLTAGE as VAR_BY_VOLTAGE
from v2g_station.blocks.der.reactive import REACTIVE
from v2g_station.blocks.der.response import BY_FREQUENCY, BY_VOLTAGE
from v2g_station.blocks.der.vehicle_inverters import BY_ACTIVE, BY_REACTIVE
from v2g_station.blocks.security.certificate_store import StoredCertificate
from v2g_station.blocks.settings import Inverter, StationSettings
from v2g_station.blocks.smart_charging.ev_needs import CONTROL_OF
from v2g_station.kernel.layout import ConnectorLayout, EvseLayout, StationLayout


def settings_of(
    config: StationConfig,
    reason: BootReason,
    *,
    same_boot: bool,
    scale: float,
    able: frozenset[str],
    premises: Premises,
    roots: tuple[StoredCertificate, ...],
    chains: Mapping[CertificateSigningUse, str],
    password: str = "",
) -> StationSettings:
    """Return the settings of this charger; an EVSE unknown to `premises` counts as direct current."""
    frequency = config.frequency
    if frequency is not None:
        able |= {"frequency"}
    if any(each.load for each in config.energy_managers):
        able |= {"load"}
    top = config.max_power_w
    known = premises.evses or (EvseLayout(max_power_w=top, max_discharge_w=top),) * config.evses
    evses = tuple(
        replace(
            each,
            max_power_w=min(top, each.max_power_w) if each.phases else top,
            max_discharge_w=min(top, each.max_discharge_w),
        )
        for each in known
    )
    own = _der_controls(premises) if frequency is not None else ()
    carried = _carried(premises, own)
    if own or carried:
        able |= {"der"}
    return StationSettings(
        identity=config.identity,
        network=first_profile(
            config.url,
            security_profile=config.security_profile if password or config.tls or config.versions != ("1.6",) else 0,
            message_timeout=config.message_timeout,
        ),
        layout=StationLayout(
            evses=evses,
            vendor=config.vendor,
            model=config.model,
            serial_number=config.identity,
            firmware=running_firmware(config),
            terminal=config.terminal.layout if config.terminal is not None else None,
            optional=("DataCollector", *(("WebPaymentsCtrlr",) if "web_payments" in able else ())),
        ),
        versions=config.versions,
        boot_reason=reason,
        same_boot=same_boot,
        managed=True,
        able=able,
        der_controls=tuple(sorted({*own, *carried})),
        vehicle_controls=carried,
        inverter=_inverter(config, premises),
        nominal_hz=(frequency or premises).nominal_hz,
        nominal_v=(frequency or premises).nominal_v,
        frequency_response=frequency.response if frequency is not None else None,
        roots=roots,
        chains=chains,
        scale=scale,
        update_window=parse_window(config.update.window) if config.update is not None else None,
        message_timeout=config.message_timeout,
        values={
            "OCPPCommCtrlr.RetryBackOffWaitMinimum": str(config.retry_minimum),
            "OCPPCommCtrlr.RetryBackOffRandomRange": str(config.retry_random_range),
            "OCPPCommCtrlr.MessageTimeout[Default]": f"{config.message_timeout:.0f}",
            **({"SecurityCtrlr.BasicAuthPassword": password} if password else {}),
            **({"ISO15118Ctrlr.ContractValidationOffline": "true"} if config.accept_offline else {}),
            **{f"EVSE#{number}.EvseId": each.evse_id for number, each in enumerate(evses, 1) if each.evse_id},
            **{f"EVSE#{number}.AllowReset": "false" for number in range(1, len(evses) + 1)},  # they restart together
        },
    )


def _der_controls(premises: Premises) -> tuple[DERControl, ...]:
    """Return the supported controls of block R: by the measurements, and by the power electronics."""
    found: set[DERControl] = set(BY_FREQUENCY)
    if premises.grid_voltage:
        found.update(BY_VOLTAGE)
    if premises.max_var:
        found.update(REACTIVE)
        if not premises.grid_voltage:
            found.discard(VAR_BY_VOLTAGE)
    return tuple(sorted(found))


def _carried(premises: Premises, own: Collection[DERControl]) -> tuple[DERControl, ...]:
    """Return the controls that AC DER carries to vehicles' inverters, by SAE those that its messages can say; what the
    charger itself applies is not twice."""
    if premises.der is None:
        return ()
    functions = DER_MODES if premises.der == "sae" else DER_FUNCTIONS.values()
    said = {CONTROL_OF[each] for each in functions if each in CONTROL_OF}
    return tuple(each for each in (*BY_ACTIVE, *BY_REACTIVE) if each in said and each not in own)


def _inverter(config: StationConfig, premises: Premises) -> Inverter:
    plate = config.inverter
    return Inverter(
        manufacturer=plate.manufacturer or config.vendor,
        model=plate.model or config.model,
        serial_number=plate.serial_number,
        sw_version=plate.sw_version or running_firmware(config),
        hw_version=plate.hw_version,
        max_var=premises.max_var,
    )


# -- An EVSE's layout for OCPP: its connector, its phases, and its power in both directions

DIRECT = {"type1": "cCCS1", "type2": "cCCS2", "nacs": "cNACS"}
CABLE = {"type1": "cType1", "type2": "cType2", "nacs": "cNACS"}


def evse_layout(
    config: ProgramConfig, *, rating: tuple[int, int], latch: bool, switch: PhaseSwitch | None = None
) -> EvseLayout:
    """Return the layout of one EVSE. `rating` is W of charging and of discharging; with alternating current a `latch`
    of ours locks the driver's own cable in a socket, and a `switch` changes its phases."""
    hardware, charger = config.hardware, config.charger
    plug = hardware.plug or (hardware.board.proximity if hardware.board is not None else "type2")
    match hardware.kind:
        case "ac":
            socket = latch and plug != "nacs"
            connector = ConnectorLayout(connector_type="sType2" if socket else CABLE[plug], fixed_cable=not socket)
        case "wpt":
            connector = ConnectorLayout(connector_type="wInductive")
        case "acdp":
            connector = ConnectorLayout(connector_type="Pan")
        case "dc":
            mega = any(service in (EnergyService.MCS, EnergyService.MCS_BPT) for service in charger.services)
            connector = ConnectorLayout(connector_type="cMCS" if mega else DIRECT[plug])
    alternating = hardware.kind == "ac"
    rotation = "".join("RST"[int(line[1]) - 1] for line in charger.ac_rating.feeder_phases)
    return EvseLayout(
        connectors=(connector,),
        evse_id=charger.evse_id,
        max_power_w=rating[0],
        max_discharge_w=rating[1],
        phases=charger.ac_rating.phases if alternating else 0,
        switches_phases=switch is not None and alternating and charger.ac_rating.phases > 1,
        selects_phase=switch is not None and switch.selects and alternating,
        line_v=float(charger.ac_rating.nominal_voltage_v) if alternating else 230.0,
        phase_rotation=rotation if alternating and len(rotation) == 3 and rotation != "RST" else "",
    )
