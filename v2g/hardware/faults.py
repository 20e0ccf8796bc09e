"""Faults of a charger's hardware: stable codes, what they stop, and descriptions, as `faults.toml` has them."""

from typing import Final, Literal

import msgspec

from v2g.tables import table

Light = Literal["available", "occupied", "charging", "red", "red_flash"]
"""Signals of the charger's lamp. `red_flash`: the plug is not latched, or its proximity contact is broken."""


class FaultKind(msgspec.Struct, frozen=True):
    """One fault. `stops`: no energy flows while it is active. `until`: cleared when its cause is gone (`cleared`), when
    the vehicle has also left (`unplugged`), when a self-test without a vehicle has passed (`tested`), when the charger
    was marked as serviced (`serviced`), across restarts, or when a person has reset the emergency output (`reset`),
    across restarts. `component` is the OCPP component whose `Problem` it is."""

    sentence: str
    component: str
    stops: bool = True
    until: Literal["cleared", "unplugged", "tested", "serviced", "reset"] = "cleared"
    light: Light = "red"

    @property
    def shown_by_f(self) -> bool:
        """Whether the pilot shows F while it is active: not if the pilot itself must show its end."""
        return (
            self.stops
            and self.until not in ("unplugged", "tested")
            and self.component not in ("CPPWMController", "Connector")
        )


FAULTS: Final = table("v2g.hardware", "faults.toml", dict[str, FaultKind])
"""Code -> fault."""
