"""A connection device that is lowered to a vehicle's roof: its position, and its contacts. Pure.

Heights are mm above the road, speeds mm a second, of real time.
"""

from typing import Annotated, Literal

import msgspec
from msgspec import Meta

Millimetres = Annotated[int, Meta(ge=0, le=20_000)]
Mechanical = Literal["Home", "Moving", "EndPosition"]


class PantographConfig(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """Home position, reach, and speed of the device. Heights are above the road."""

    home_mm: Millimetres = 4_600
    """Height of the contacts at home."""
    lowest_mm: Millimetres = 3_000
    """Lowest height that the contacts reach."""
    speed_mm_per_s: Annotated[float, Meta(gt=0, le=100_000)] = 400.0
    """Speed of the contacts, mm/s of real time."""

    def __post_init__(self) -> None:
        """Check that home is above."""
        if self.lowest_mm >= self.home_mm:
            raise ValueError("lowest_mm must be below home_mm")


class Pantograph:
    """`send` it down or home, `advance` it by a time, then read `height_mm`, `mechanical` and `connected`.

    It stops on the roof, or at its lowest position. `jammed` holds it in place; `worn` contacts touch
    the roof and do not close.
    """

    def __init__(self, config: PantographConfig) -> None:
        self._config = config
        self._height = float(config.home_mm)
        self._down = False
        self.jammed = self.worn = False
        self._roof: int | None = None

    @property
    def height_mm(self) -> int:
        """Height of the contacts."""
        return round(self._height)

    @property
    def mechanical(self) -> Mechanical:
        """Its position, by the name in the schema."""
        if self._down and self._height <= self._stop_mm:
            return "EndPosition"
        return "Home" if self._height >= self._config.home_mm and not self._down else "Moving"

    @property
    def connected(self) -> bool:
        """Whether all contacts have closed: it rests on a roof."""
        return self._roof is not None and self._height <= self._roof and not self.worn

    @property
    def moving(self) -> bool:
        target = self._stop_mm if self._down else self._config.home_mm
        return self._height != target and not self.jammed

    def send(self, *, down: bool) -> None:
        """Move to the vehicle, or home."""
        self._down = down

    def advance(self, seconds: float, roof_mm: int | None) -> None:
        """Advance by `seconds` above a roof of that height, None without one in the contact window."""
        self._roof = roof_mm if roof_mm is not None and roof_mm >= self._config.lowest_mm else None
        if self.jammed:
            return
        way = seconds * self._config.speed_mm_per_s
        if self._down:
            self._height = max(float(self._stop_mm), self._height - way)
        else:
            self._height = min(float(self._config.home_mm), self._height + way)

    @property
    def _stop_mm(self) -> int:
        """Its lower limit: the roof, or its own end."""
        return min(self._config.home_mm, self._roof if self._roof is not None else self._config.lowest_mm)
