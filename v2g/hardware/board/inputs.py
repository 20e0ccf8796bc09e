"""Inputs of the safety monitor on a control board: what TELL carries, one for each method of
`v2g.safety.ChargerMonitor`. Durations and times in ms from when it is first sent, FOREVER_MS and more: for ever. Pure.
"""

from typing import Annotated, Final, Literal

import msgspec
from msgspec import Meta

FOREVER_MS: Final = 10**12
UNBOUNDED: Final = 10**9

Milliseconds = Annotated[int, Meta(ge=0, le=FOREVER_MS)]
FromNow = Annotated[int, Meta(ge=-FOREVER_MS, le=FOREVER_MS)]
Most = Annotated[int, Meta(ge=0, le=UNBOUNDED)]
"""W, mA or mV, a magnitude; or ms that are bounded."""
Measured32 = Annotated[int, Meta(ge=-(2**31) + 1, le=2**31 - 1)]
Word = Annotated[str, Meta(pattern=r"^[A-Za-z0-9_.:+-]{1,32}\Z")]
Phase = Literal["idle", "voltage", "power", "rest"]
Rule = Literal["none", "signed", "standard"]


class BoardRating(msgspec.Struct, frozen=True, kw_only=True, tag_field="what", tag="rating"):
    """The charger's maxima and reaction times; the monitor begins anew."""

    charge_w: Most
    discharge_w: Most
    follow_ms: Most
    excess_ms: Most
    open_ms: Milliseconds
    close_ms: Milliseconds
    grace_ms: Milliseconds
    stop_ms: Milliseconds
    voltage_ms: Milliseconds


class Begin(msgspec.Struct, frozen=True, tag_field="what", tag="begin"):
    """A session begins, not authorised yet."""


class Authorise(msgspec.Struct, frozen=True, kw_only=True, tag_field="what", tag="authorise"):
    """Authorisation begins or ends; `paused`: until the session resumes."""

    allowed: bool
    paused: bool = False


class Forget(msgspec.Struct, frozen=True, tag_field="what", tag="forget"):
    """A paused session will not be resumed."""


class Stop(msgspec.Struct, frozen=True, tag_field="what", tag="stop"):
    """The session must end."""


class Fault(msgspec.Struct, frozen=True, kw_only=True, tag_field="what", tag="fault"):
    """A fault of the hardware that forbids energy begins or ends."""

    word: Word
    active: bool


class Request(msgspec.Struct, frozen=True, kw_only=True, tag_field="what", tag="request"):
    """A vehicle's message: its phase, how long power may flow and the contactor be closed, whether it is ready, its
    target voltage, and when it learns of a smaller output."""

    phase: Phase | None = None
    power_ms: Milliseconds = 0
    closed_ms: Milliseconds = 0
    ready: bool | None = None
    target_mv: Most | None = None
    notice_ms: Milliseconds | None = None


class Bears(msgspec.Struct, frozen=True, kw_only=True, tag_field="what", tag="bears"):
    """A vehicle's maxima."""

    charge_w: Most
    discharge_w: Most
    charge_ma: Most
    discharge_ma: Most
    voltage_mv: Most


class Limit(msgspec.Struct, frozen=True, kw_only=True, tag_field="what", tag="limit"):
    """A source's limit; discharge from a time until before another. With alternating current `charge_ma` and
    `discharge_ma` bound each line conductor."""

    source: Word
    charge_w: Most
    discharge_w: Most
    charge_ma: Most | None = None
    discharge_ma: Most | None = None
    from_ms: FromNow
    until_ms: FromNow


class Discharge(msgspec.Struct, frozen=True, kw_only=True, tag_field="what", tag="discharge"):
    """What permits feeding back: nothing, signed commands, or limits alone."""

    rule: Rule


class Signed(msgspec.Struct, frozen=True, kw_only=True, tag_field="what", tag="signed"):
    """The vehicle has signed for this discharge."""

    power_w: Most
    until_ms: FromNow


class Drive(msgspec.Struct, frozen=True, kw_only=True, tag_field="what", tag="drive"):
    """The power stage is commanded this."""

    charge_w: Most
    discharge_w: Most
    charge_ma: Most
    discharge_ma: Most
    voltage_mv: Most


class Measured(msgspec.Struct, frozen=True, kw_only=True, tag_field="what", tag="measured"):
    """Voltage and current of the output with direct current; out of the vehicle is negative."""

    voltage_mv: Measured32
    current_ma: Measured32


class Drawn(msgspec.Struct, frozen=True, tag_field="what", tag="drawn"):
    """Power with alternating current, or of a coil, and the currents of the conductors L1, L2 and L3, where these are
    measured: all or none; out of the vehicle is negative."""

    power_w: Measured32
    first_ma: Measured32 | None = None
    second_ma: Measured32 | None = None
    third_ma: Measured32 | None = None

    @property
    def line_ma(self) -> tuple[int, int, int] | None:
        """The currents of the conductors, None where one is missing."""
        first, second, third = self.first_ma, self.second_ma, self.third_ma
        return None if first is None or second is None or third is None else (first, second, third)


Input = (
    BoardRating | Begin | Authorise | Forget | Stop | Fault | Request | Bears | Limit | Discharge | Signed | Drive
    | Measured | Drawn
)  # fmt: skip
