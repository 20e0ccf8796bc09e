"""What several tests of secc cases use."""

from typing import Final

from secc.session.config import ControlMode, EnergyService, SeccConfig
from v2g.iso15118.d20.messages.common_messages import Authorization
from v2g_testkit.cases.der import SUPPORT

EVERYTHING: Final = SeccConfig(
    services=tuple(EnergyService),
    control_modes=(ControlMode.DYNAMIC, ControlMode.SCHEDULED),
    authorization=(Authorization.EIM, Authorization.PnC),
    standby=True,
    certificate_installation=True,
    der="iec",
    grid_support=SUPPORT,
)
