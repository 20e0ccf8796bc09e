"""Grid codes: what a country or utility demands of generating units at its grid, as data with sources (R209).

Presets are TOML files in `grid_codes`, in per unit of the nominal voltage and of the unit's rating. The standards
themselves were not available: each table names its `source` by a letter of `references`, "K" is general knowledge that
no source here confirms. So an owner may edit a copy and use that.
"""

import functools
import hashlib
from collections.abc import Mapping
from importlib.resources import files
from typing import Annotated, Final, Literal

import msgspec
from msgspec import UNSET, Meta, UnsetType

from v2g.energy.grid_support import REACTIVE, GridSupport, Hertz
from v2g.errors import ConfigError
from v2g.text import printable

PerUnit = Annotated[float, Meta(gt=0, le=2)]
Duration = Annotated[float, Meta(ge=0, le=3600)]
Text = Annotated[str, Meta(min_length=1, max_length=200)]
UNVERIFIED: Final = "K"
"""The source of values that are general knowledge."""
Reactive = Literal["volt_var", "watt_var", "watt_cos_phi"]


class ProtectionStage(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """Disconnect if a quantity is beyond a limit for longer than a time."""

    name: Annotated[str, Meta(min_length=1, max_length=20)]
    """Such as `U<<`."""
    of: Literal["voltage", "mean_voltage", "frequency", "rocof"]
    """`mean_voltage`: that of ten minutes; `rocof`: the rate of change of frequency, either way."""
    side: Literal["over", "under"] = "over"
    limit: Annotated[float, Meta(gt=0, le=100)]
    """Per unit of the nominal voltage between phase and neutral, Hz, or Hz/s."""
    seconds: Duration
    """How long it may last."""
    rms: bool = False
    """With `mean_voltage`: the quadratic mean, in place of the arithmetic one."""
    source: Text

    def __post_init__(self) -> None:
        """Reject limits that have no sense for the quantity."""
        if self.rms and self.of != "mean_voltage":
            raise ValueError(f"{self.name}: rms is of mean_voltage")
        if self.of in ("voltage", "mean_voltage") and self.limit > 2:
            raise ValueError(f"{self.name}: a voltage is per unit of the nominal one, at most 2")
        if self.of in ("mean_voltage", "rocof") and self.side != "over":
            raise ValueError(f"{self.name}: {self.of} has the side over only")
        if self.of == "frequency" and not 40 <= self.limit <= 70:
            raise ValueError(f"{self.name}: a frequency is from 40 to 70 Hz")


class ConnectionRule(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """When a unit may connect: the grid within these bounds for a time; then by a ramp."""

    low_v: PerUnit
    high_v: PerUnit
    low_hz: Hertz
    high_hz: Hertz
    wait_s: Duration
    ramp: Annotated[float, Meta(ge=0, le=6000)] = 0.0
    """Percent of the rating per minute; 0: at once."""
    source: Text

    def __post_init__(self) -> None:
        """Reject empty ranges."""
        if self.low_v >= self.high_v or self.low_hz >= self.high_hz:
            raise ValueError("low_v and low_hz must be below high_v and high_hz")


class ShortInterruption(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """After a disconnection of at most `lasting_s` a unit waits `wait_s` only."""

    lasting_s: Duration
    wait_s: Duration
    source: Text


class GridCode(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """A grid code, in per unit."""

    name: Annotated[str, Meta(min_length=1, max_length=60)]
    edition: Annotated[str, Meta(min_length=1, max_length=60)]
    about: Annotated[str, Meta(max_length=500)] = ""
    read: Annotated[str, Meta(pattern=r"^\d{4}-\d{2}-\d{2}\Z")]
    """When its values were read."""
    nominal_hz: Annotated[float, Meta(ge=50, le=60)]
    nominal_v: Annotated[float, Meta(ge=100, le=1000)]
    """Between phase and neutral, V."""
    references: Annotated[Mapping[str, Text], Meta(max_length=20)]
    """What the letters of `source` stand for."""
    protection: Annotated[tuple[ProtectionStage, ...], Meta(min_length=1, max_length=30)]
    narrow: Annotated[tuple[ProtectionStage, ...], Meta(max_length=10)] | UnsetType = UNSET
    """Stages that act as well while a signal of the network operator, or a local command, selects them (CEI 0-21)."""
    connection: ConnectionRule
    """At the start of the charger."""
    reconnection: ConnectionRule
    """After a disconnection by `protection`."""
    short_interruption: ShortInterruption | None = None
    support: GridSupport = GridSupport()
    """Functions that always act, with voltages in per unit, powers as parts of the rating (1: all of it)."""
    reactive: GridSupport = GridSupport()
    """Curves of reactive power, of which the network operator may demand one, in the same units."""
    sources: Annotated[Mapping[str, Text], Meta(max_length=20)]
    """Source of each function of `support` and `reactive`."""

    def __post_init__(self) -> None:
        """Reject sources that are not explained, functions without one, and frequencies of another grid."""
        used = {each.source for each in (*self.protection, *self.narrow_stages)} | {*self.sources.values()}
        used |= {self.connection.source, self.reconnection.source}
        used |= {self.short_interruption.source} if self.short_interruption is not None else set()
        if missing := sorted(used - self.references.keys()):
            raise ValueError(f"references lack {', '.join(missing)}")
        functions = self.support.functions | self.reactive.functions
        if functions != self.sources.keys():
            raise ValueError(f"sources must name these functions: {', '.join(sorted(functions))}")
        if self.reactive.functions - set(REACTIVE) or self.support.functions & set(REACTIVE):
            raise ValueError(f"reactive has {', '.join(REACTIVE)}, and support none of them")
        if wrong := self.support.wrong_at(self.nominal_hz):
            raise ValueError(f"support: {wrong}")
        for each in (self.connection, self.reconnection):
            if not each.low_hz < self.nominal_hz < each.high_hz:
                raise ValueError("the nominal frequency must be within those of connection and reconnection")
        for stage in (*self.protection, *self.narrow_stages):
            if stage.of == "frequency" and (stage.limit > self.nominal_hz) is not (stage.side == "over"):
                raise ValueError(f"{stage.name}: the nominal frequency is beyond it")
            if stage.of in ("voltage", "mean_voltage") and (stage.limit > 1) is not (stage.side == "over"):
                raise ValueError(f"{stage.name}: the nominal voltage is beyond it")

    @property
    def narrow_stages(self) -> tuple[ProtectionStage, ...]:
        """See `narrow`; none without any. Codes without it have the digest of before there was any."""
        return self.narrow or ()

    @property
    def title(self) -> str:
        """Name and edition, printable."""
        return printable(f"{self.name}:{self.edition}")

    @property
    def digest(self) -> str:
        """SHA-256 of all values, by which logs name them."""
        return hashlib.sha256(msgspec.json.encode(self, order="sorted")).hexdigest()

    @property
    def unverified(self) -> tuple[str, ...]:
        """What is general knowledge only: stages, rules and functions by name."""
        named = [(each.name, each.source) for each in (*self.protection, *self.narrow_stages)]
        named += [("connection", self.connection.source), ("reconnection", self.reconnection.source)]
        named += [] if self.short_interruption is None else [("short_interruption", self.short_interruption.source)]
        return tuple(name for name, source in (*named, *self.sources.items()) if source == UNVERIFIED)

    def functions_for(self, *, volts: float, watts: float, reactive: Reactive | None) -> GridSupport:
        """Return its functions in V, W and var for a unit of this voltage and rating. Raises as `with_curve`."""
        return self.with_curve(reactive).scaled(volts=volts, watts=watts)

    def with_curve(self, reactive: Reactive | None) -> GridSupport:
        """Return its functions, with this curve of reactive power, in per unit.

        Raises ConfigError for a curve that the code does not have.
        """
        chosen = self.support
        if reactive is not None:
            if reactive not in self.reactive.functions:
                has = ", ".join(sorted(self.reactive.functions)) or "none"
                raise ConfigError(f"{self.title} has no {reactive}", hint=f"curves of reactive power: {has}")
            chosen = chosen.overlaid(self.reactive.only({reactive}))
        return chosen


def preset_texts() -> Mapping[str, str]:
    """Return the grid codes that come with the program as TOML, by name of their file."""
    found = [each for each in (files("v2g.energy") / "grid_codes").iterdir() if each.name.endswith(".toml")]
    return {each.name.removesuffix(".toml"): each.read_text("utf-8") for each in sorted(found, key=lambda f: f.name)}


@functools.cache
def presets() -> Mapping[str, GridCode]:
    """Return the grid codes that come with the program, by name of their file."""
    return {name: parse_code(text) for name, text in preset_texts().items()}


MOST_OCTETS: Final = 100_000


def parse_code(text: str) -> GridCode:
    """Return a grid code of a TOML file. Raises ConfigError."""
    if len(text) > MOST_OCTETS:
        raise ConfigError("a grid code is too long", hint=f"at most {MOST_OCTETS} characters")
    try:
        return msgspec.toml.decode(text, type=GridCode)
    except (ValueError, RecursionError, msgspec.MsgspecError) as error:
        raise ConfigError(
            f"not a grid code: {printable(str(error))[:300]}",
            hint="`v2g grid-code show NAME --toml` writes one to edit",
        ) from None
