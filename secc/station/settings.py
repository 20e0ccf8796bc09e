"""The settings of a charging station's core, from the charger's configuration."""

from collections.abc import Mapping

from msgspec.structs import replace

from secc.station.config import StationConfig
from secc.station.device import Premises
from secc.station.files import running_firmware
from v2g.ocpp.messages.ev_charging import DERControl
from v2g.ocpp.messages.provisioning import BootReason
from v2g.ocpp.messages.security import CertificateSigningUse
from v2g.ota.window import parse_window
from v2g_station.blocks.connection.network import first_profile
from v2g_station.blocks.der.reactive import BY_VOLTAGE as VAR_BY_VOLTAGE
from v2g_station.blocks.der.reactive import REACTIVE
from v2g_station.blocks.der.response import BY_FREQUENCY, BY_VOLTAGE
from v2g_station.blocks.security.certificate_store import Stored
from v2g_station.blocks.settings import Inverter, StationSettings
from v2g_station.kernel.layout import EvseLayout, Layout


def settings_of(
    config: StationConfig,
    reason: BootReason,
    *,
    same_boot: bool,
    scale: float,
    able: frozenset[str],
    premises: Premises,
    roots: tuple[Stored, ...],
    chains: Mapping[CertificateSigningUse, str],
    password: str = "",
) -> StationSettings:
    """Return the settings of this charger; an EVSE unknown to `premises` counts as direct current."""
    frequency = config.frequency
    if frequency is not None:
        able |= {"frequency", "der"}
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
    return StationSettings(
        identity=config.identity,
        network=first_profile(
            config.url, security_profile=config.security_profile, message_timeout=config.message_timeout
        ),
        layout=Layout(
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
        der_controls=_der_controls(premises) if frequency is not None else (),
        inverter=_inverter(config, premises),
        nominal_hz=frequency.nominal_hz if frequency is not None else 50.0,
        nominal_v=frequency.nominal_v if frequency is not None else 230.0,
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
