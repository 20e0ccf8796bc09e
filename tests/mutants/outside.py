"""Modules beside those that `targets` lists: what decides power, money, trust or updates, or is imported by what does.

Each is left out for a reason. A new module becomes a target, or is added here with its reason.
"""

from collections.abc import Mapping
from typing import Final

SIMULATES: Final = "it simulates what a vehicle or a device does"
PROPOSES: Final = "it proposes: the limits of a site and of a charger decide"
WORDS: Final = "it declares types, or words what others decided"
FORMAT: Final = "it reads and writes a format, which recordings and vectors of others judge"
TABLES: Final = "tables of Annex B, of which `tests/pki/bad_certificates.py` tries what each refuses"
FINDS: Final = "it says what was found at a battery, to people, who decide"
FINDS_IN_CHAINS: Final = "it says to people what is wrong with a chain: `verify` decides"

OUTSIDE: Final[Mapping[str, str]] = {
    "csms/batteries/rules.py": FINDS,
    "v2g/battery/ageing.py": SIMULATES,
    "v2g/battery/cell.py": SIMULATES,
    "v2g/battery/soc.py": SIMULATES,
    "v2g/energy/frequency_trace.py": SIMULATES,
    "v2g/energy/inverter.py": SIMULATES,
    "v2g/energy/vehicle.py": SIMULATES,
    "v2g/hardware/pantograph.py": SIMULATES,
    "v2g/hardware/simulation.py": SIMULATES,
    "v2g/hardware/zvt/terminal_sim.py": SIMULATES,
    "v2g/energy/dispatch/earnings.py": PROPOSES,
    "v2g/energy/dispatch/flexibility.py": PROPOSES,
    "v2g/energy/dispatch/forecast.py": PROPOSES,
    "v2g/energy/dispatch/lp.py": PROPOSES,
    "v2g/energy/dispatch/plan.py": PROPOSES,
    "v2g/energy/dispatch/planner.py": PROPOSES,
    "v2g/energy/dispatch/problem.py": PROPOSES,
    "v2g/energy/dispatch/report.py": PROPOSES,
    "v2g/energy/dispatch/transformer.py": PROPOSES,
    "v2g/energy/feeder.py": PROPOSES,
    "v2g/energy/needs.py": PROPOSES,
    "v2g/energy/settlement/receipt.py": WORDS,
    "v2g/energy/settlement/report.py": WORDS,
    "v2g/energy/settlement/rows.py": WORDS,
    "v2g/energy/settlement/tariff_comparison.py": WORDS,
    "v2g/hardware/faults.py": WORDS,
    "v2g/hardware/interfaces.py": WORDS,
    "v2g/hardware/line_display.py": WORDS,
    "v2g/hardware/session_metrics.py": WORDS,
    "v2g/energy/meter_records/container.py": FORMAT,
    "v2g/energy/meter_records/edl40.py": FORMAT,
    "v2g/energy/meter_records/ocmf.py": FORMAT,
    "v2g/energy/meter_records/record.py": FORMAT,
    "v2g/energy/price_feeds.py": FORMAT,
    "v2g/hardware/board/protocol.py": FORMAT,
    "v2g/hardware/energy_manager/commands.py": FORMAT,
    "v2g/hardware/energy_manager/modbus_server.py": FORMAT,
    "v2g/hardware/energy_manager/registers.py": FORMAT,
    "v2g/hardware/meters/iec62056.py": FORMAT,
    "v2g/hardware/meters/registers.py": FORMAT,
    "v2g/hardware/pilot.py": FORMAT,
    "v2g/hardware/power_modules/infypower.py": FORMAT,
    "v2g/hardware/readers/pn532.py": FORMAT,
    "v2g/hardware/zvt/commands.py": FORMAT,
    "v2g/ocpi/objects.py": WORDS,
    "v2g/ocpi/wire.py": FORMAT,
    "v2g/pki/lint.py": FINDS_IN_CHAINS,
    "v2g/pki/profile.py": WORDS,
    "v2g/pki/profiles_iso15118.py": TABLES,
    "v2g/pki/reference.py": FORMAT,
}
"""Path of a module -> the reason why it is not a target."""
