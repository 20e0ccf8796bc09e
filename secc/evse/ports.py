"""Facts for the core of an EVSE, and its actions. Facts are also `secc.session.ports.PilotChanged`, those commands of
the running session that are about its pause or its transaction, and the station's Serve, RemoteStopRequested,
AllowEnergyTransfer and Restart."""

from typing import Literal

import msgspec

from secc.session.basic_charging import Way
from secc.session.ports import Paused
from v2g.iec61851.pilot import PilotState
from v2g.iso15118.engine.session import Fact
from v2g.observe import Observe


class Present(msgspec.Struct, frozen=True):
    """What the hardware shows at this moment. `pilot` is None without a control pilot; `seated` is the plug's."""

    pilot: PilotState | None = None
    seated: bool = False
    faults: tuple[str, ...] = ()

    @property
    def connected(self) -> bool:
        """Whether the pilot shows a vehicle."""
        return self.pilot is not None and self.pilot.connected


class ServiceBegun(Fact, frozen=True):
    """Vehicles may come from now on; `link` is whether there is a data link (SLAC)."""

    link: bool


class PausedFound(Fact, frozen=True):
    """A session that was paused when the program ended."""

    paused: Paused


class EvseFault(Fact, frozen=True):
    """A fault of `v2g.hardware.faults` began or ended."""

    code: str
    active: bool


class MatchingStarted(Fact, frozen=True):
    """The vehicle has begun to match."""


class LinkUp(Fact, frozen=True):
    """The data link is up: D-LINK_READY."""


class LinkDown(Fact, frozen=True):
    """The data link went down or will not come up; for reasons see `v2g.io.plc.datalink`."""

    reason: str


class SupplyChanged(Fact, frozen=True):
    """Whether site and operator permit energy into and out of the vehicle now, and otherwise in how many (simulated)
    seconds, if known. `bidirectional` is whether the running session may feed back; None without messages."""

    charge: bool
    discharge: bool
    again_in_s: float | None = None
    bidirectional: bool | None = None


class VehicleConnected(Fact, frozen=True):
    """A vehicle has connected, which `refusal` permits."""


class VehicleServed(Fact, frozen=True):
    """The running session has ended, of either kind; nothing of it drives the hardware any more. `begun` is whether
    there was one: a connection alone has none."""

    reason: str
    begun: bool = True


class PausedStored(Fact, frozen=True):
    """This session is on the disk, or could not be written because of an error."""

    session_id: bytes
    error: str = ""


class ShutDown(Fact, frozen=True):
    """The program ends."""


class TellSession(msgspec.Struct, frozen=True):
    """Pass this fact to the running session."""

    fact: Fact


class AbortSession(msgspec.Struct, frozen=True):
    """End the running session at once, without waiting for its vehicle."""

    reason: str


class BeginBasic(msgspec.Struct, frozen=True):
    """Charge the vehicle by nominal duty."""

    way: Way


class MoveLink(msgspec.Struct, frozen=True):
    """Call this method of the data link (`v2g.io.plc.datalink`); only `restart` has a reason."""

    to: Literal["terminate", "restart", "pause", "wake_up", "hand_over", "hold", "release"]
    reason: str = ""


class SetDuty(msgspec.Struct, frozen=True):
    """Show this duty cycle, percent."""

    percent: float


class StorePaused(msgspec.Struct, frozen=True):
    """Write this session to the disk, in place of an earlier one; the outcome is PausedStored."""

    paused: Paused


class JoinPaused(msgspec.Struct, frozen=True):
    """Continue the journal of this session, and delete what was stored."""

    session_id: bytes


class ClosePaused(msgspec.Struct, frozen=True):
    """Close journal and transaction of this session, and delete what was stored, unless that is another one by now.

    `stopped` is OCPP's reason.
    """

    session_id: bytes
    reason: str
    stopped: str
    delete: bool = True


class ForgetPaused(msgspec.Struct, frozen=True):
    """Let the safety channel know that no paused session will be resumed."""


class ShowStatus(msgspec.Struct, frozen=True):
    """Report the connector's state, which may have changed, to the CSMS (G01)."""


Action = (
    TellSession
    | AbortSession
    | BeginBasic
    | MoveLink
    | SetDuty
    | StorePaused
    | JoinPaused
    | ClosePaused
    | ForgetPaused
    | ShowStatus
    | Observe
)
