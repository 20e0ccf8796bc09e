"""What a run of `v2g demo` is made of."""

from typing import Final, Literal

import msgspec

from pki_tools.tree import Fault as CertificateFault
from v2g_cli.demo.faults import Fault

Ending = Literal["whole", "charged", "two", "stopped", "interrupted", "refused", "no_session", "no_export"]
"""`whole`: everything happened. `charged`: whole, but nothing was fed back. `two`: two
vehicles charged at once, each with its own bill. `stopped`: power stopped safely in mid-run. `interrupted`: ended in
good order before it was over. `refused`: authorised, but no energy could flow, and the charger says why.
`no_session`: no energy at all. `no_export`: charged, but nothing was fed back beyond what was signed."""

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
    """The back end withdraws the permission to give energy back in mid-run."""
    rest_by_csms: bool = False
    """The back end's charging profile allows nothing for a while."""
    csms_away: bool = False
    kill_secc: bool = False
    kill_paused_secc: bool = False
    trades: bool = False
    """By the bill the vehicle has bought in cheap hours and sold in dear ones."""
    two_evses: bool = False
    """Two EVSEs in one charger, and a vehicle at each."""
    freeze_evcc: bool = False
    interrupt_evcc: bool = False
    """Ctrl-C at the vehicle in the charge loop."""
    cut_powerline: bool = False
    """The modems cannot hear each other any more, from the charge loop on."""
    off_within_s: float | None = None
    """How long after fate has struck the charger may take to switch power off, real seconds."""
    plug: bool = True
    """Pilot and powerline through a plug; else the vehicle is driven to its place, and found on the network."""
    broker: bool = True
    charger: str = ""
    """Lines of the charger's [charger], TOML."""
    secc_tables: str = ""
    evcc_tables: str = ""
    """More tables of either configuration, TOML."""
    program: str = PROGRAM
    """What the vehicle does, TOML."""
    ocpp: tuple[str, ...] = ("ocpp2.1", "ocpp2.0.1")
