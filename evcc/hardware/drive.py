"""The simulated vehicle in its parking space: distance driven, position and received guidance."""

import asyncio
from collections.abc import Callable
from typing import Annotated, Final

import msgspec
from msgspec import Meta

from evcc.session.ports import DriveIn, DroveIn
from v2g.iso15118.d20.wpt_methods import BY_PERSON

STEP_CM: Final = 150
"""Distance between two position reports."""

SECONDS: Final = 0.1
"""Its duration in real seconds."""

Offset = Annotated[int, Meta(ge=-1_000, le=1_000)]


class PlaceConfig(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """Start position and driving accuracy of a vehicle without a plug."""

    distance_cm: Annotated[
        int, Meta(ge=0, le=100_000, description="how far the charging device is ahead when the session begins, cm")
    ] = 400
    off_x_cm: Annotated[
        Offset, Meta(description="how far a driver stops beyond the device, cm; nothing where a signal guides")
    ] = 0
    off_y_cm: Annotated[
        Offset, Meta(description="how far aside the vehicle stands, cm; driving on does not mend it")
    ] = 0
    clearance_mm: Annotated[int, Meta(ge=0, le=1_000, description="ground clearance of the secondary device, mm")] = 170
    roof_mm: Annotated[
        int, Meta(ge=500, le=10_000, description="height of the rails that a connection device comes to, mm")
    ] = 3_400


class Driving:
    """Drives in steps. Without guidance one step is the whole distance, unless `place` reports it.

    `hears`: whether the guiding signal of a positioning method is received. Not modelled:
    steering and an occupied space.
    """

    def __init__(self, place: PlaceConfig | None = None) -> None:
        self._place = place
        self._travel_cm = 0
        self._stopped = False
        self._callbacks: list[Callable[[], None]] = []
        self.moving = False
        self.hears: Callable[[str], bool] = lambda _method: True

    @property
    def ahead_cm(self) -> int:
        """Distance to the device; negative once the vehicle has passed it."""
        return self._place.distance_cm - self._travel_cm if self._place is not None else 0

    @property
    def aside_cm(self) -> int:
        """Lateral distance to the device."""
        return self._place.off_y_cm if self._place is not None else 0

    def on_move(self, callback: Callable[[], None]) -> None:
        """Call `callback` when the vehicle starts, has moved or stops."""
        self._callbacks.append(callback)

    async def drive(self, command: DriveIn) -> DroveIn:
        """Drive on and return the new position."""
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
            if guided and not self.hears(command.method):
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
        for callback in self._callbacks:
            callback()
