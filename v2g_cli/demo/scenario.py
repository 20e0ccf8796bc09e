"""Declaration of a scenario of `v2g demo`."""

from typing import Final, Literal

import msgspec

from pki_tools.tree import Fault as CertificateFault
from v2g_cli.demo.faults import Fault

Ending = Literal["whole", "charged", "two", "stopped", "interrupted", "refused", "no_session", "no_export"]
"""`whole`: everything happened. `charged`: whole, but without discharging. `two`: two
vehicles charged at once, each with its own bill. `stopped`: power stopped safely during the session. `interrupted`:
ended gracefully before completion. `refused`: authorised, but no energy could flow, for a reported reason.
`no_session`: no energy at all. `no_export`: charged, but no discharging beyond signed commands."""

PROGRAM: Final = """
[[program]]
do = "charge"
for_s = 1200

[[program]]
do = "discharge"
for_s = 2100
"""
PAUSING: Final = """
[[program]]
do = "charge"
for_s = 1200

[[program]]
do = "wait"
for_s = 1200
pause = true

[[program]]
do = "discharge"
for_s = 1200
"""
PLAN: Final = """
[[program]]
do = "plan"
"""
CHARGE: Final = """
[[program]]
do = "charge"
for_s = 2100
"""


class Scenario(msgspec.Struct, frozen=True, kw_only=True):
    """One run. `sees` are (process, stage, name, {field: value}) events that must happen."""

    name: str
    about: str
    ending: Ending
    sees: tuple[tuple[str, str, str, dict[str, str]], ...] = ()
    secc: CertificateFault = CertificateFault.NONE
    vehicle: CertificateFault = CertificateFault.NONE
    contract: CertificateFault = CertificateFault.NONE
    cps: CertificateFault = CertificateFault.NONE
    install: bool = False
    evcc_fault: Fault | None = None
    secc_fault: Fault | None = None
    lower_limit: bool = False
    withdraw_v2g: bool = False
    """The back end withdraws the permission to discharge during the session."""
    rest_by_csms: bool = False
    """The back end's charging profile allows nothing for a while."""
    csms_away: bool = False
    kill_secc: bool = False
    kill_paused_secc: bool = False
    trades: bool = False
    """The bill shows that the vehicle bought at low and sold at high prices."""
    two_evses: bool = False
    """Two EVSEs in one charger, with a vehicle at each."""
    freeze_evcc: bool = False
    interrupt_evcc: bool = False
    """Ctrl-C at the vehicle in the charge loop."""
    cut_powerline: bool = False
    """The modems lose each other, from the charge loop on."""
    off_within_s: float | None = None
    """Limit for the charger to switch power off after the fault, real seconds."""
    plug: bool = True
    """Pilot and powerline through a plug; else the vehicle is positioned, and discovered on the network."""
    broker: bool = True
    charger: str = ""
    """Lines of the charger's [charger], TOML."""
    secc_tables: str = ""
    evcc_tables: str = ""
    """More tables of either configuration, TOML."""
    program: str = PROGRAM
    """The vehicle's program, TOML."""
    ocpp: tuple[str, ...] = ("ocpp2.1", "ocpp2.0.1")
