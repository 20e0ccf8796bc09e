"""GPIO lines of Linux by libgpiod (package `gpiod`)."""

from collections.abc import Iterable, Mapping
from typing import TYPE_CHECKING, Annotated, Any, Final, Literal, Protocol

import msgspec
from msgspec import Meta

from v2g.errors import TransportError
from v2g.extras import extras_named

if TYPE_CHECKING:
    from gpiod import LineRequest

CONSUMER: Final = "v2g-secc"
"""Who uses the lines, as `gpioinfo` shows it."""


class GpioLine(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """A GPIO line."""

    chip: Annotated[str, Meta(min_length=1)] = "/dev/gpiochip0"
    """Its chip."""
    line: Annotated[int, Meta(ge=0, le=1023)] | Annotated[str, Meta(min_length=1, max_length=64)]
    """Its number at the chip, or its name."""
    active_low: bool = False
    """It is active at low level."""
    bias: Literal["as_is", "disabled", "pull_up", "pull_down"] = "as_is"
    """Resistor of the chip at an input."""


class GpioLines(Protocol):
    """Lines by the names that their user gives them. Threads may call it at the same time."""

    def read(self) -> dict[str, bool]:
        """Return whether each input is active. Raises TransportError."""

    def write(self, name: str, *, active: bool) -> None:
        """Set an output. Raises TransportError."""

    def close(self) -> None:
        """Release the lines. What an output does then is up to its chip."""


class GpiodLines:
    """See Lines."""

    def __init__(self, outputs: Mapping[str, GpioLine], inputs: Mapping[str, GpioLine]) -> None:
        """Take the lines, outputs inactive. Raises TransportError, and ConfigError without the extra `gpio`."""
        with extras_named():
            from gpiod.line import Direction

        self._outputs, self._inputs = outputs, inputs
        self._requests: dict[tuple[str, Direction], LineRequest] = {}
        try:
            for direction, lines in ((Direction.OUTPUT, outputs), (Direction.INPUT, inputs)):
                for chip in {each.chip for each in lines.values()}:
                    self._requests[chip, direction] = _request(chip, direction, lines)
        except TransportError:
            self.close()
            raise

    def read(self) -> dict[str, bool]:
        from gpiod.line import Direction, Value

        found: dict[str, bool] = {}
        for (chip, direction), request in self._requests.items():
            if direction is Direction.INPUT:
                here = {name: each for name, each in self._inputs.items() if each.chip == chip}
                try:
                    values = request.get_values([each.line for each in here.values()])
                except OSError as error:
                    raise TransportError(f"{chip}: {error}") from None
                found |= {name: value is Value.ACTIVE for name, value in zip(here, values, strict=True)}
        return found

    def write(self, name: str, *, active: bool) -> None:
        from gpiod.line import Direction, Value

        line = self._outputs[name]
        try:
            self._requests[line.chip, Direction.OUTPUT].set_value(line.line, Value.ACTIVE if active else Value.INACTIVE)
        except OSError as error:
            raise TransportError(f"{line.chip}, {name}: {error}") from None

    def close(self) -> None:
        for request in self._requests.values():
            request.release()
        self._requests.clear()


def _request(chip: str, direction: Any, lines: Mapping[str, GpioLine]) -> "LineRequest":
    import gpiod
    from gpiod.line import Bias, Value

    here = {name: each for name, each in lines.items() if each.chip == chip}
    settings: dict[Iterable[int | str] | int | str, gpiod.LineSettings | None] = {
        each.line: gpiod.LineSettings(
            direction=direction, active_low=each.active_low, bias=Bias[each.bias.upper()], output_value=Value.INACTIVE
        )
        for each in here.values()
    }
    try:
        return gpiod.request_lines(chip, config=settings, consumer=CONSUMER)
    except (OSError, ValueError) as error:
        raise TransportError(
            f"{chip}, {', '.join(here)}: {error}", hint="`gpioinfo` shows the lines, and who uses them"
        ) from None
