"""State of a session that its vehicle has paused."""

import msgspec

from secc.session.config import ControlMode, EnergyService
from secc.session.identity import Contract


class Paused(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """Stored state of a paused session, also over a restart.

    `vehicle` is the binding to the vehicle's certificate; `meter_begin` the registers at the session's beginning.
    """

    session_id: bytes
    vehicle: bytes
    evcc_id: str
    contract: Contract | None
    service: EnergyService
    control_mode: ControlMode
    signed_discharge: bool
    meter_begin: tuple[int, int]
    added: frozenset[int] = frozenset()
    needs_by_secc: bool = False
    pricing: int = 0
    checkpoints: bool = False
    allowed: frozenset[int] | None = None
    """Ids of the energy services that the back end allows; None: no restriction."""
