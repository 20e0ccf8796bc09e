"""What several tests of random use."""

from hypothesis import strategies as st

from secc.session import ports
from v2g.energy.limits import SITE, Limit
from v2g.iec61851.pilot import PilotState
from v2g_station.blocks.authorization.contracts import AuthorizationStatus

FACTS = [
    ports.PilotChanged(PilotState.B),
    ports.PilotChanged(PilotState.C),
    ports.ContactorState(closed=False),
    ports.ContactorState(closed=True),
    ports.CableCheckFinished(passed=True),
    ports.CableCheckFinished(passed=False),
    ports.AuthorizationDecided(1, AuthorizationStatus.ACCEPTED),
    ports.AuthorizationDecided(1, AuthorizationStatus.REFUSED),
    ports.StopRequested("remote"),
    ports.HardwareFault("over_temperature"),
    ports.Measured(400_000, 10_000),
    ports.Measured(600_000, 0),
    ports.GridChanged((Limit(source=SITE, charge_w=0, discharge_w=0, version=5),)),
    ports.GridChanged((Limit(source=SITE, charge_w=9_000, discharge_w=0, version=6),)),
]
numbers = st.integers(-32768, 32767)
