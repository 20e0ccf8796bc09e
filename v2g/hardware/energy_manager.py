"""What an energy manager on site wants of a charger, and what the charger tells it: the same over every transport.

Pure. Signs as everywhere: power is positive into the vehicle.
"""

import itertools
from collections.abc import Callable, Mapping
from typing import Annotated, Final, Protocol

import msgspec
from msgspec import Meta

from v2g import typed_json
from v2g.errors import CodecError

MOST_W: Final = 10_000_000
MOST_BYTES: Final = 65_536
"""Longer words are not read."""

Watts = Annotated[float, Meta(ge=0, le=MOST_W)]
SignedWatts = Annotated[float, Meta(ge=-MOST_W, le=MOST_W)]


class Step(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """What is wanted from `start_s` (s after the word came) on, W; None is no word on it."""

    start_s: Annotated[int, Meta(ge=0, le=604_800)]
    limit_w: Watts | None = None
    discharge_w: Watts | None = None
    setpoint_w: SignedWatts | None = None


class EnergyCommand(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """What an energy manager wants from now on, in place of what it wanted before; with nothing it wants nothing.

    `limit_w` and `discharge_w` bound the power in either direction (magnitudes), `setpoint_w` is the power itself;
    `schedule` stands in for the three. `generation_w` is made here and comes on top of what charging profiles allow
    (OCPP 2.1, K27), `load_w` flows into the site at its grid connection (Q09). `valid_s` is how long this word may
    stand alone.
    """

    limit_w: Watts | None = None
    discharge_w: Watts | None = None
    setpoint_w: SignedWatts | None = None
    schedule: Annotated[tuple[Step, ...], Meta(max_length=1024)] = ()
    generation_w: Watts | None = None
    load_w: SignedWatts | None = None
    grid_critical: bool | None = None
    valid_s: Annotated[int, Meta(ge=1, le=604_800)] | None = None

    def __post_init__(self) -> None:
        """Refuse schedules that say two things at a time, or nothing at first."""
        starts = [step.start_s for step in self.schedule]
        if starts and (starts[0] != 0 or any(later <= one for one, later in itertools.pairwise(starts))):
            raise ValueError("schedule starts at start_s = 0, and each step later than the one before")
        if starts and (self.limit_w, self.discharge_w, self.setpoint_w) != (None, None, None):
            raise ValueError("schedule stands in for limit_w, discharge_w and setpoint_w")


def read_command(data: bytes) -> EnergyCommand:
    """Return the word that a JSON text says. Raises CodecError, whose text tells what is wrong with it."""
    if len(data) > MOST_BYTES:
        raise CodecError(f"more than {MOST_BYTES} bytes")
    try:
        return _DECODER.decode(data)
    except (msgspec.MsgspecError, RecursionError, UnicodeDecodeError) as error:
        raise CodecError(str(error)[:200]) from None


def command_of(said: Mapping[str, object]) -> EnergyCommand:
    """Return the word with these fields. Raises CodecError."""
    try:
        return typed_json.convert(said, EnergyCommand)
    except msgspec.MsgspecError as error:
        raise CodecError(str(error)[:200]) from None


_DECODER: Final = typed_json.decoder(EnergyCommand)


class EvseState(msgspec.Struct, frozen=True, kw_only=True):
    """One EVSE as an energy manager sees it: `status` is OCPP's, power in W (signed), energies in Wh since it was new,
    limits and set point (W) as they are in force, None for no set point."""

    evse: int
    status: str
    charging: bool = False
    power_w: int = 0
    import_wh: int = 0
    export_wh: int = 0
    charge_limit_w: int = 0
    discharge_limit_w: int = 0
    setpoint_w: int | None = None


class StationState(msgspec.Struct, frozen=True, kw_only=True):
    """A charger as an energy manager sees it. `heard` is whether its words hold, or the fall-back does."""

    online: bool = True
    heard: bool = False
    timeout_s: int = 0
    evses: tuple[EvseState, ...] = ()


Take = Callable[[int, EnergyCommand], None]
"""Takes what is wanted of an EVSE (0: of the station)."""

Refused = Callable[[str], None]
"""Is told why a word was not taken."""


class EnergyManagerLink(Protocol):
    """A way to an energy manager, in one event loop. It is made with what takes commands and refusals."""

    async def open(self) -> None:
        """Be there for the energy manager from now on. Raises TransportError when that cannot be."""

    def notify(self, state: StationState) -> None:
        """Let the energy manager know, or find, how things are."""

    async def close(self) -> None:
        """Be there no longer."""
