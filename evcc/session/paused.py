"""A vehicle's selection in a session, and the state stored over a pause."""

from typing import TypedDict

import msgspec

from evcc.session.program import ProgramProgress
from evcc.session.settings import NeedsConfig
from v2g.asn1.discharge import DischargeCheckpoint
from v2g.energy.grid_support import Function
from v2g.iso15118.d20.charts import Family
from v2g.iso15118.d20.services import DER_SCHEMAS, ENERGY_TRANSFER, ServiceId


class PausedChoice(msgspec.Struct, frozen=True):
    """The selected services. `signed_set` is the parameter set of the signed-discharge service, if selected."""

    service_id: int
    parameter_set_id: int
    bpt: bool
    dynamic: bool
    signed_set: int | None = None
    renegotiable: bool = False
    needs_by_secc: bool = False
    """Whether the charger sets departure and states of charge (MobilityNeedsMode 2)."""
    checkpoints: bool = False
    """Whether signed discharge has version 2 or 3, in which this vehicle countersigns the charger's journal."""
    ends: bool = False
    """Whether it has version 3, in which this vehicle signs the end of the session."""
    functions: frozenset[Function] = frozenset()
    """Grid support that AC DER demands of the vehicle."""
    lacking: frozenset[str] = frozenset()
    """Demanded functions that this vehicle lacks: it never feeds back then."""
    one_way: bool = False
    """Whether the charger offers a service without discharge, too."""
    added: tuple[tuple[int, int], ...] = ()
    """Other value-added services with their parameter sets."""

    @property
    def parking(self) -> bool:
        """Whether the vehicle checks in and out of its space."""
        return any(service_id == ServiceId.PARKING_STATUS for service_id, _ in self.added)

    @property
    def der(self) -> bool:
        """Whether the vehicle's inverter supports the grid as the charger demands (AC DER)."""
        return self.service_id in DER_SCHEMAS

    @property
    def family(self) -> Family:
        """The set of messages that the service uses."""
        return ENERGY_TRANSFER[self.service_id].family


class Kept(TypedDict):
    """The fields of both structs below that do not depend on the edition."""

    progress: ProgramProgress | None
    needs: NeedsConfig
    departure_ms: int


class PausedSession(msgspec.Struct, frozen=True):
    """State stored over a pause of ISO 15118-2: the vehicle resumes with the same id and the same values [V2G2-740].

    `mode` is the energy transfer mode, `contract` whether a contract pays, `leaf` its certificate (DER).
    """

    session_id: bytes
    mode: str
    contract: bool
    progress: ProgramProgress | None = None
    needs: NeedsConfig | None = None
    departure_ms: int | None = None
    leaf: bytes = b""


class Resume(msgspec.Struct, frozen=True):
    """State stored over a pause: the session, its selection, and its charger.

    `charger` is SHA-512(SessionID || SHA-512(charger's leaf)), the worked example of V2G20-2539.
    """

    session_id: bytes
    choice: PausedChoice
    charger: bytes
    progress: ProgramProgress | None = None
    """Where the vehicle's program continues; None if it had not begun."""
    checkpoint: DischargeCheckpoint | None = None
    """The last one that this vehicle countersigned."""
    needs: NeedsConfig | None = None
    """The driver's latest needs, with the departure, ms of UTC; None in files of earlier versions."""
    departure_ms: int | None = None
    leaf: bytes | None = None
    """Certificate (DER) of the contract that pays, empty where external means do; None in files of earlier versions."""


Paused = Resume | PausedSession
"""What a vehicle keeps of a paused session, by its edition."""
