"""The proximity contact: whether the plug is inserted and latched, and the cable's rating (IEC 61851-1). Pure."""

from typing import Final, Literal

import msgspec


class Proximity(msgspec.Struct, frozen=True):
    """State by the proximity contact: the plug inserted or not, and the cable's ampacity (A) if it is coded.

    `unlatched` is a Type 1 plug whose release button is pressed: about to be pulled.
    """

    state: Literal["seated", "unlatched", "open", "fault"]
    max_current_a: int = 0


Coding = Literal["type2", "type1"]
"""`type2` (IEC 62196-2/-3): the cable's ampacity by resistance; `type1` (SAE J1772, CCS1): the latch."""

SEATED_OHM: Final = 1_500
"""A CCS2 vehicle connector for DC."""

CABLES: Final = ((80, 140, 63), (164, 308, 32), (400, 936, 20), (1_100, 2_460, 13))
"""Type 2: minimum and maximum ohm, and the ampacity (A). 63 A three-phase also means 70 A single-phase."""

SHORTED_OHM: Final = 60
OPEN_OHM: Final = 4_500

_TYPE1 = ((SHORTED_OHM, 300, "seated"), (300, 800, "unlatched"))


def read_proximity(resistance_ohm: int | None, coding: Coding = "type2") -> Proximity:
    """Return the meaning of the resistance between proximity and earth (IEC 61851-1); None is an open contact.

    Type 2: between two ranges the lower ampacity applies. Below 60 ohm is a short (`fault`), above 4.5 kohm no plug
    (`open`). Type 1: about 150 ohm is a latched plug, about 480 ohm one with its button pressed; anything else is no
    plug, because its tolerances are an open point.
    """
    if resistance_ohm is None or resistance_ohm > OPEN_OHM:
        return Proximity("open")
    if resistance_ohm < SHORTED_OHM:
        return Proximity("fault")
    if coding == "type1":
        for least, most, state in _TYPE1:
            if least <= resistance_ohm < most:
                return Proximity("seated" if state == "seated" else "unlatched")
        return Proximity("open")
    for _, highest, ampere in CABLES:
        if resistance_ohm <= highest:
            return Proximity("seated", ampere)
    return Proximity("seated", CABLES[-1][2])
