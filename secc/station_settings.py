"""What a charging station's core is told of the charger that it is part of."""

from collections.abc import Mapping, Sequence

from secc.core.station.certificate_store import Stored
from secc.core.station.der_response import EMULATED
from secc.core.station.layout import ConnectorLayout, EvseLayout, Layout
from secc.core.station.network import first_profile
from secc.core.station.settings import StationSettings
from secc.station_config import StationConfig
from v2g.ocpp.messages.provisioning import BootReason
from v2g.ocpp.messages.security import CertificateSigningUse


def settings_of(
    config: StationConfig,
    reason: BootReason,
    *,
    same_boot: bool,
    scale: float,
    able: frozenset[str],
    discharge_w: Sequence[int],
    roots: tuple[Stored, ...],
    chains: Mapping[CertificateSigningUse, str],
) -> StationSettings:
    """Return what the core is told of this charger: direct current, one fixed cable at each EVSE.

    `discharge_w` is what each EVSE can feed back at most: what controls of block R are in percent of.
    """
    frequency = config.frequency
    if frequency is not None:
        able |= {"frequency", "der"}
    if any(each.load for each in config.energy_managers):
        able |= {"load"}
    most = tuple(discharge_w) or (config.max_power_w,) * config.evses
    evses = tuple(
        EvseLayout(
            connectors=(ConnectorLayout(),),
            max_power_w=config.max_power_w,
            max_discharge_w=min(config.max_power_w, each),
        )
        for each in most
    )
    return StationSettings(
        identity=config.identity,
        network=first_profile(
            config.url, security_profile=3 if config.tls else 1, message_timeout=config.message_timeout
        ),
        layout=Layout(
            evses=evses,
            vendor=config.vendor,
            model=config.model,
            serial_number=config.identity,
            firmware=config.firmware,
            optional=("DataCollector", *(("WebPaymentsCtrlr",) if "web_payments" in able else ())),
        ),
        versions=config.versions,
        boot_reason=reason,
        same_boot=same_boot,
        managed=True,
        able=able,
        der_controls=EMULATED if frequency is not None else (),
        nominal_hz=frequency.nominal_hz if frequency is not None else 50.0,
        nominal_v=frequency.nominal_v if frequency is not None else 230.0,
        roots=roots,
        chains=chains,
        scale=scale,
        message_timeout=config.message_timeout,
        values={
            "OCPPCommCtrlr.RetryBackOffWaitMinimum": str(config.retry_minimum),
            "OCPPCommCtrlr.RetryBackOffRandomRange": str(config.retry_random_range),
            "OCPPCommCtrlr.MessageTimeout[Default]": f"{config.message_timeout:.0f}",
            **{f"EVSE#{number}.AllowReset": "false" for number in range(1, len(evses) + 1)},  # they restart together
        },
    )
