"""Internal resistance by recursive least squares with forgetting (R115).

When the current steps, the voltage of a cell steps by the resistance; what charge and diffusion do to it in the same
seconds is small. So changes of both between readings that follow each other quickly are a regression through zero.
Ljung, "System Identification", 2nd ed., section 11.2.
"""

from typing import Annotated

import msgspec
from msgspec import Meta

from v2g.battery.cell import Reading


class Settings(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """Which steps count, and how long."""

    within_s: Annotated[float, Meta(gt=0, le=60, description="longest time between two readings of a step, s")] = 12.0
    step: Annotated[float, Meta(gt=0, le=5, description="smallest step of the current, 1/h")] = 0.1
    forget: Annotated[float, Meta(ge=0.5, le=1, description="weight of all earlier steps after a new one")] = 0.98
    reference: Annotated[int, Meta(ge=1, le=1000, description="steps that make the resistance of the new battery")] = 20


class State(msgspec.Struct, frozen=True):
    """Estimate in V for each 1/h of a cell: ohm times Ah, as in `Cell`."""

    value: float = 0.0
    spread: float = 1e3
    """Inverse of the steps' sum of squares so far."""
    steps: int = 0
    fresh: float = 0.0
    """The value when `reference` steps were known; 0 before."""

    @property
    def growth(self) -> float:
        """Resistance in proportion to that of the new battery; 1 while that is not known."""
        return self.value / self.fresh if self.fresh > 0 else 1.0


def update(settings: Settings, state: State, before: Reading, now: Reading, capacity_ah: float) -> State:
    """Return the estimate after two readings, the same one where they are no step."""
    rate = (now.current_a - before.current_a) / capacity_ah
    if now.at_ms - before.at_ms > settings.within_s * 1000 or abs(rate) < settings.step:
        return state
    gain = state.spread * rate / (settings.forget + rate * state.spread * rate)
    value = state.value + gain * (now.cell_v - before.cell_v - rate * state.value)
    steps = state.steps + 1
    return State(
        value=value,
        spread=(1 - gain * rate) * state.spread / settings.forget,
        steps=steps,
        fresh=value if steps == settings.reference else state.fresh,
    )
