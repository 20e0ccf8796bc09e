"""The simulated vehicle in its space: its distance, its position, and signals on its way."""

import asyncio
from collections.abc import Callable
from typing import Annotated, Final

import msgspec
from msgspec import Meta

from evcc.session.ports import DriveIn, DroveIn
from v2g.iso15118.d20.wpt_methods import BY_PERSON
from v2g.observe import Callbacks

STEP_CM: Final = 150
"""Distance between two reports of the position."""

SECONDS: Final = 0.1
"""Real seconds for this distance."""

Offset = Annotated[int, Meta(ge=-1_000, le=1_000)]


class PlaceConfig(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """A vehicle's start position without a plug, and its driving accuracy."""

    distance_cm: Annotated[
        int, Meta(ge=0, le=100_000, description="distance to the charging device when the session begins, cm")
    ] = 400
    off_x_cm: Annotated[
        Offset, Meta(description="how far a driver stops beyond the device, cm; 0 if a signal guides")
    ] = 0
    off_y_cm: Annotated[Offset, Meta(description="lateral offset of the vehicle, cm; not corrected by driving on")] = 0
    clearance_mm: Annotated[int, Meta(ge=0, le=1_000, description="ground clearance of the secondary device, mm")] = 170
    roof_mm: Annotated[int, Meta(ge=500, le=10_000, description="height of the rails for a connection device, mm")] = (
        3_400
    )


class Driving:
    """Drives on in steps. Without a distance from charger or `place`, one step is the whole way.

    `receives` returns whether the guiding signal of a method is received. Not modelled:
    steering, and an occupied space.
    """

    def __init__(self, place: PlaceConfig | None = None) -> None:
        self._place = place
        self._travel_cm = 0
        self._stopped = False
        self.on_move: Final = Callbacks[[]]()
        """Called when the vehicle has moved, begins to move, or stops."""
        self.moving = False
        self.receives: Callable[[str], bool] = lambda _method: True

    @property
    def ahead_cm(self) -> int:
        """Remaining distance to the device; negative if the vehicle has driven beyond it."""
        return self._place.distance_cm - self._travel_cm if self._place is not None else 0

    @property
    def aside_cm(self) -> int:
        """Lateral offset of the device."""
        return self._place.off_y_cm if self._place is not None else 0

    async def drive(self, command: DriveIn) -> DroveIn:
        """Drive on, and return the new position."""
        if self._stopped:
            return DroveIn(in_place=True, travel_cm=self._travel_cm)
        self._moved(moving=True)
        await asyncio.sleep(SECONDS)
        in_place = self._step(command)
        self._stopped = in_place and self._place is not None
        self._moved(moving=not in_place)
        return DroveIn(in_place=in_place, travel_cm=self._travel_cm)

    def _step(self, command: DriveIn) -> bool:
        """Move by one step; return whether this was the last one."""
        ahead = command.ahead_cm
        if ahead is None and self._place is not None:
            guided = command.method not in ("", BY_PERSON)
            if guided and not self.receives(command.method):
                return False  # no guidance
            ahead = self.ahead_cm + (0 if guided else self._place.off_x_cm)
        if ahead is None:
            in_place = self._travel_cm > 0
            self._travel_cm = max(self._travel_cm, STEP_CM)
            return in_place
        self._travel_cm += max(-STEP_CM, min(STEP_CM, ahead))
        return abs(ahead) <= STEP_CM

    def _moved(self, *, moving: bool) -> None:
        self.moving = moving
        self.on_move.tell()
