"""Power by temperature: all of it from 20 to 40 °C, less outside (R128).

Cold cells plate lithium when they are charged, so charging ends at a higher temperature than discharging; hot cells age
and may run away, so both end early there. A pack is as cold as its coldest cell and as hot as its hottest one.
"""

import itertools
import math
from typing import Annotated, Final

import msgspec
from msgspec import Meta

from v2g.energy.curves import Point, share_at

Curve = Annotated[tuple[Point, ...], Meta(min_length=2, max_length=32)]

CHARGE: Final = ((-10.0, 0.0), (0.0, 0.1), (10.0, 0.4), (20.0, 1.0), (40.0, 1.0), (50.0, 0.4), (55.0, 0.0))
DISCHARGE: Final = ((-30.0, 0.0), (-20.0, 0.2), (0.0, 0.6), (20.0, 1.0), (40.0, 1.0), (50.0, 0.5), (60.0, 0.0))


class DeratingSettings(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """Curves of (degrees C, share of the power): linear between the points, and no power beyond them."""

    charge: Annotated[Curve, Meta(description="pairs of degrees C and share of the charging power")] = CHARGE
    discharge: Annotated[Curve, Meta(description="pairs of degrees C and share of the discharging power")] = DISCHARGE

    def __post_init__(self) -> None:
        """Reject curves that are none, that leave power at an end, or that rise again: the window is one."""
        check_curve("charge", self.charge)
        check_curve("discharge", self.discharge)


def check_curve(name: str, curve: Curve) -> None:
    """Raise ValueError, with the curve's name, unless its power rises with temperature, and falls again, between two
    ends without power."""
    heats, shares = zip(*curve, strict=True)
    if not all(map(math.isfinite, heats)) or any(b <= a for a, b in itertools.pairwise(heats)):
        raise ValueError(f"{name}: its temperatures must rise")
    if any(not 0 <= each <= 1 for each in shares) or shares[0] or shares[-1]:
        raise ValueError(f"{name}: shares are 0 to 1, and 0 at both ends")
    top = shares.index(max(shares))
    up, down = itertools.pairwise(shares[: top + 1]), itertools.pairwise(shares[top:])
    if any(b < a for a, b in up) or any(b > a for a, b in down):
        raise ValueError(f"{name}: its shares must rise, and then fall")


def share(curve: Curve, coldest_c: float, hottest_c: float) -> float:
    """Return the share of power (0 to 1) for the range of temperatures in a pack; 0 if one is no finite number."""
    return share_at(curve, coldest_c, hottest_c)
