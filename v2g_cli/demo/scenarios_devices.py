"""Scenarios of `v2g demo` without a plug: wireless power transfer, and automatic connection devices."""

from typing import Final

from v2g_cli.demo.scenario import CHARGE, PROGRAM, Scenario

_WPT: Final = '[hardware]\nkind = "wpt"\n'
_ACDP: Final = '[hardware]\nkind = "acdp"\n'
_ARM: Final = "[hardware.simulated.pantograph]\nspeed_mm_per_s = 3000.0\n"


def _vehicle(service: str, *tables: str) -> str:
    return "".join((f'[services]\nenergy = ["{service}"]\ncontrol_mode = ["dynamic"]\n', *tables))


DEVICES: Final[tuple[Scenario, ...]] = (
    Scenario(
        name="wireless",
        about="a vehicle is positioned above a coil, pairs, is aligned, and charges wirelessly (WPT)",
        ending="charged",
        plug=False,
        charger="services = [3]",
        secc_tables=_WPT + '[charger.wpt]\npairing = ["Optical", "LPE"]\n',
        evcc_tables=_vehicle("WPT"),
        program=CHARGE,
        sees=(
            ("evcc", "sdp", "found", {"evse_id": "DEV2GE00001"}),
            ("evcc", "place", "methods", {"pairing": "Optical"}),
            ("evcc", "place", "paired", {"method": "Optical"}),
            ("secc", "wpt", "alignment", {"aligned": "True"}),
        ),
    ),
    Scenario(
        name="wireless-misaligned",
        about="a vehicle is too far beside its coil: the alignment check fails, and no power is sent",
        ending="refused",
        plug=False,
        charger="services = [3]",
        secc_tables=_WPT,
        evcc_tables=_vehicle("WPT", "[hardware.place]\noff_y_cm = 48\n", "[timing]\nplace_s = 1.0\n"),
        program=CHARGE,
        sees=(
            ("evcc", "stop", "stopping", {"cause": "misaligned"}),
            ("secc", "stop", "session_stop", {"code": "misaligned"}),
        ),
    ),
    Scenario(
        name="wireless-foreign-object",
        about="metal stays on the coil in the charge loop: power stops at once, the session later",
        ending="interrupted",
        plug=False,
        charger="services = [3]",
        secc_tables=_WPT
        + '[charger.wpt]\ntrouble_s = 1.0\n[[hardware.simulated.faults]]\nfault = "foreign_object"\nwhen = "current"\n'
        + "after_s = 1.0\n",
        evcc_tables=_vehicle("WPT"),
        program=CHARGE,
        sees=(
            ("secc", "hardware", "fault_began", {"fault": "foreign_object"}),
            ("csms", "ocpp", "device_event", {"tech_code": "foreign_object"}),
            ("secc", "power", "device_trouble", {"trouble": "SPCFODDetected"}),
            ("evcc", "loop", "flow", {"trouble": "SPCFODDetected"}),
            ("secc", "session", "session_ended", {"reason": "foreign_object"}),
        ),
    ),
    Scenario(
        name="pantograph",
        about="a pantograph is lowered to a vehicle, charges it, and is raised again (DC_ACDP)",
        ending="charged",
        plug=False,
        charger="services = [4]",
        secc_tables=_ACDP + _ARM,
        evcc_tables=_vehicle("DC_ACDP"),
        program=CHARGE,
        sees=(("secc", "acdp", "connected", {}), ("secc", "acdp", "disconnected", {})),
    ),
    Scenario(
        name="pantograph-v2g",
        about="the same in both directions, by signed commands (DC_ACDP_BPT)",
        ending="whole",
        plug=False,
        charger="services = [7]",
        secc_tables=_ACDP + _ARM,
        evcc_tables=_vehicle("DC_ACDP_BPT"),
        program=PROGRAM,
        sees=(("secc", "acdp", "connected", {}), ("secc", "acdp", "disconnected", {})),
    ),
    Scenario(
        name="pantograph-stuck",
        about="the pantograph jams while being lowered: no contact, no power, and the charger is out of service",
        ending="refused",
        plug=False,
        charger="services = [4]",
        secc_tables=_ACDP + _ARM + "[hardware.watch]\ndevice_s = 1.5\n[[hardware.simulated.faults]]\n"
        'fault = "device_jammed"\nwhen = "moving"\nafter_s = 0.2\n',
        evcc_tables=_vehicle("DC_ACDP"),
        program=CHARGE,
        sees=(
            ("secc", "hardware", "fault_began", {"fault": "device_stuck"}),
            ("csms", "ocpp", "device_event", {"tech_code": "device_stuck"}),
            ("csms", "ocpp", "connector_status", {"status": "Faulted"}),
            ("secc", "session", "session_ended", {"reason": "device_stuck"}),
        ),
    ),
)
"""Each device once without and once with a fault."""
