"""Commands and states exchanged with an energy manager on site, independent of the transport.

Pure. Power is positive into the vehicle.
"""

import itertools
from collections.abc import Callable, Mapping
from typing import Annotated, Final, Protocol, TypeVar, runtime_checkable

import msgspec
from msgspec import Meta
from msgspec.structs import replace

from v2g import typed_json
from v2g.errors import CodecError

MOST_W: Final = 10_000_000
LIMITS: Final = "limit_w", "discharge_w", "limit_ma", "discharge_ma"
"""Values that bound what flows."""
MOST_BYTES: Final = 65_536
"""Longer commands are rejected."""

Watts = Annotated[float, Meta(ge=0, le=MOST_W)]
SignedWatts = Annotated[float, Meta(ge=-MOST_W, le=MOST_W)]
MilliAmperes = Annotated[int, Meta(ge=0, le=10_000_000)]


class FlowBounds(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """What may flow, None is unspecified: `limit_w` and `discharge_w` bound the power in either direction (magnitudes),
    `setpoint_w` is the power itself. `limit_ma` and `discharge_ma` bound the current of each line conductor instead, of
    alternating current; power follows from it."""

    limit_w: Watts | None = None
    discharge_w: Watts | None = None
    setpoint_w: SignedWatts | None = None
    limit_ma: MilliAmperes | None = None
    discharge_ma: MilliAmperes | None = None

    def __post_init__(self) -> None:
        """Reject power beside currents: one profile has one unit."""
        if self.in_amperes and (self.limit_w, self.discharge_w, self.setpoint_w) != (None, None, None):
            raise ValueError("limit_ma and discharge_ma exclude limit_w, discharge_w and setpoint_w")

    @property
    def in_amperes(self) -> bool:
        """Whether it bounds currents."""
        return self.limit_ma is not None or self.discharge_ma is not None

    @property
    def limit(self) -> float | None:
        """The limit in W, or in A if it bounds currents."""
        return self.limit_w if self.limit_ma is None else self.limit_ma / 1000

    @property
    def discharge(self) -> float | None:
        """The limit of discharge in the same unit."""
        return self.discharge_w if self.discharge_ma is None else self.discharge_ma / 1000

    def lowers(self, other: "FlowBounds | None") -> bool:
        """Whether it has a limit that the other one lacks, or has higher."""
        pairs = ((getattr(self, name), getattr(other, name, None)) for name in LIMITS)
        return any(mine is not None and (its is None or mine < its) for mine, its in pairs)

    @property
    def silent(self) -> bool:
        """Whether it has no values."""
        return self.limit is None and self.discharge is None and self.setpoint_w is None


class CommandStep(FlowBounds, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """Values from `start_s` on, s after the command arrived."""

    start_s: Annotated[int, Meta(ge=0, le=604_800)]


class EnergyCommand(FlowBounds, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """The complete command of an energy manager, replacing the previous one; empty means no request.

    `schedule` replaces the values of a flow. `generation_w` is generated on site and comes on top of charging profiles
    (OCPP 2.1, K27), `load_w` flows into the site at its grid connection (Q09). A command expires after `valid_s`
    unless renewed.
    """

    schedule: Annotated[tuple[CommandStep, ...], Meta(max_length=1024)] = ()
    generation_w: Watts | None = None
    load_w: SignedWatts | None = None
    load_repeated: bool = False
    """`load_w` was measured before an earlier command."""
    grid_critical: bool | None = None
    valid_s: Annotated[int, Meta(ge=1, le=604_800)] | None = None

    def __post_init__(self) -> None:
        """Reject schedules that are ambiguous, or do not start at 0."""
        FlowBounds.__post_init__(self)
        starts = [step.start_s for step in self.schedule]
        if starts and (starts[0] != 0 or any(later <= one for one, later in itertools.pairwise(starts))):
            raise ValueError("schedule must start at start_s = 0 and ascend")
        if starts and any(getattr(self, name) is not None for name in FlowBounds.__struct_fields__):
            raise ValueError("schedule excludes the values of a step beside it")
        if len({step.in_amperes for step in self.schedule}) > 1:
            raise ValueError("the steps of a schedule must all be in W, or all in mA")

    def failsafe(self, fallback: "EnergyCommand | None" = None, *, outlet_v: int = 690) -> "EnergyCommand":
        """Return the limits that hold once this command has expired: in each direction the least of it, at any of its
        steps, and of `fallback`, which is in W. A set point bounds its own direction, and ends the other one.
        `outlet_v`: the power of 1 A in each conductor of the outlet, W.
        """
        steps: list[FlowBounds] = [*(self.schedule or (self,)), *(() if fallback is None else (fallback,))]
        points = [each.setpoint_w for each in steps if each.setpoint_w is not None]
        charge_w = _least(*(each.limit_w for each in steps), *(max(0.0, each) for each in points))
        discharge_w = _least(*(each.discharge_w for each in steps), *(max(0.0, -each) for each in points))
        if not any(each.in_amperes for each in steps):
            return EnergyCommand(limit_w=charge_w, discharge_w=discharge_w)
        charge_ma, discharge_ma = (
            None if each is None else int(each * 1000 / outlet_v) for each in (charge_w, discharge_w)
        )
        return EnergyCommand(
            limit_ma=_least(*(each.limit_ma for each in steps), charge_ma),
            discharge_ma=_least(*(each.discharge_ma for each in steps), discharge_ma),
        )

    def at_least(self, least_w: int, *, outlet_v: int = 690) -> "EnergyCommand":
        """Return it with limits of the draw that are not below what § 14a EnWG leaves, W (R206). `outlet_v`: as of
        `failsafe`."""
        least_ma = -(-1000 * least_w // outlet_v)
        steps = tuple(_raised(step, least_w, least_ma) for step in self.schedule)
        return replace(_raised(self, least_w, least_ma), schedule=steps)


B = TypeVar("B", bound=FlowBounds)
N = TypeVar("N", int, float)


def _raised(bounds: B, least_w: int, least_ma: int) -> B:
    limit_w = None if bounds.limit_w is None else max(bounds.limit_w, least_w)
    limit_ma = None if bounds.limit_ma is None else max(bounds.limit_ma, least_ma)
    return replace(bounds, limit_w=limit_w, limit_ma=limit_ma)


def _least(*values: N | None) -> N | None:
    return min((each for each in values if each is not None), default=None)


def read_command(data: bytes) -> EnergyCommand:
    """Return the command in a JSON text. Raises CodecError with a description."""
    if len(data) > MOST_BYTES:
        raise CodecError(f"more than {MOST_BYTES} bytes")
    try:
        return typed_json.decode_sent(data, EnergyCommand)
    except msgspec.MsgspecError as error:
        raise CodecError(str(error)[:200]) from None


def command_of(said: Mapping[str, object]) -> EnergyCommand:
    """Return the command with these fields. Raises CodecError."""
    try:
        return typed_json.convert(said, EnergyCommand)
    except msgspec.MsgspecError as error:
        raise CodecError(str(error)[:200]) from None


class ManagedEvse(msgspec.Struct, frozen=True, kw_only=True):
    """One EVSE for an energy manager: `status` is OCPP's, power in W (signed, None if not measured), total energies in
    Wh, limits and set point (W) in force, None without a set point."""

    evse: int
    status: str
    charging: bool = False
    power_w: int | None = 0
    import_wh: int = 0
    export_wh: int = 0
    charge_limit_w: int = 0
    discharge_limit_w: int = 0
    setpoint_w: int | None = None


class ConnectionReading(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """What a meter at a site's grid connection reads; None: not measured. Powers (W, var) and currents (A) are positive
    if drawn, energies (Wh) rising registers; currents and voltages (V, to neutral) are those of L1, L2, L3."""

    power_w: int | None = None
    reactive_var: int | None = None
    import_wh: int | None = None
    export_wh: int | None = None
    current_a: tuple[float | None, ...] = (None, None, None)
    voltage_v: tuple[float | None, ...] = (None, None, None)
    frequency_hz: float | None = None


class ManagedStation(msgspec.Struct, frozen=True, kw_only=True):
    """A charger's or site's state for an energy manager. `heard`: the manager's commands apply, not the fallback."""

    online: bool = True
    heard: bool = False
    timeout_s: int = 0
    evses: tuple[ManagedEvse, ...] = ()
    connection: ConnectionReading | None = None


Take = Callable[[int, EnergyCommand], None]
"""Called with a command and its EVSE (0: the station)."""

Refused = Callable[[str], None]
"""Called with the reason of a rejected command."""


class EnergyManagerLink(Protocol):
    """A connection to an energy manager, in one event loop, created with the callbacks of commands and rejections."""

    async def open(self) -> None:
        """Connect to the energy manager. Raises TransportError."""

    def notify(self, state: ManagedStation) -> None:
        """Publish the current state."""

    async def close(self) -> None:
        """Stop."""


@runtime_checkable
class KeepingLink(Protocol):
    """A link whose peer may go on with a part of its commands: the others are to be kept over a restart."""

    @property
    def kept(self) -> str:
        """What was commanded, for `resume`; empty: nothing."""

    def resume(self, kept: str) -> None:
        """Go on with what was commanded before, from the next command on. Raises DecodeError."""
