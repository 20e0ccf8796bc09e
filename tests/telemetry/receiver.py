"""A satellite receiver: what it would send on a drive."""

import math
from collections.abc import Iterable, Sequence
from functools import reduce
from operator import xor

Place = tuple[float, float]


def drive(seconds: int, *, metres_s: float = 15.0, begin: Place = (48.1371, 11.5754)) -> list[Place]:
    """Return the places of a drive along bends, one a second."""
    found, (latitude, longitude) = [], begin
    for second in range(seconds):
        found.append((latitude, longitude))
        bearing = 0.8 * math.sin(second / 20)
        latitude += metres_s * math.cos(bearing) / 111_320
        longitude += metres_s * math.sin(bearing) / 111_320 / math.cos(math.radians(latitude))
    return found


def sentence(text: str) -> bytes:
    return f"${text}*{reduce(xor, text.encode()):02X}\r\n".encode()


def _angle(value: float, digits: int, sides: str) -> str:
    degrees, minutes = divmod(round(abs(value) * 60_000_000), 60_000_000)
    return f"{degrees:0{digits}d}{minutes / 1e6:09.6f},{sides[value < 0]}"


SKY = b"".join(
    sentence(
        f"GPGSV,3,{part + 1},09," + ",".join(f"{3 * part + each + 1:02d},40,{100 * each:03d},40" for each in range(3))
    )
    for part in range(3)
)


def epoch(second: float, place: Place | None, *, quality: int = 1, hdop: float = 0.9) -> bytes:
    """Return GGA, RMC, GSA and GSV of one second; without a place those of a receiver without a fix."""
    whole = int(second)
    at = f"{whole // 3600 % 24:02d}{whole // 60 % 60:02d}{second % 60:05.2f}"
    if place is None:
        return sentence(f"GPGGA,{at},,,,,0,00,99.99,,,,,,") + sentence(f"GPRMC,{at},V,,,,,,,270624,,,N")
    where = f"{_angle(place[0], 2, 'NS')},{_angle(place[1], 3, 'EW')}"
    return (
        sentence(f"GPGGA,{at},{where},{quality},09,{hdop:.2f},545.4,M,46.9,M,,")
        + sentence(f"GPRMC,{at},A,{where},029.2,084.4,270624,,,A")
        + sentence(f"GPGSA,A,3,01,02,03,04,05,06,07,08,09,,,,1.7,{hdop:.2f},1.4")
        + SKY
    )


def track(places: Sequence[Place | None], *, begin_s: float = 43_200.0) -> list[bytes]:
    return [epoch(begin_s + second, place) for second, place in enumerate(places)]


def apart_m(first: Place, second: Place) -> float:
    """Return the distance on a sphere (haversine), which the product does not calculate so."""
    one, other = (tuple(map(math.radians, each)) for each in (first, second))
    half = math.sin((other[0] - one[0]) / 2) ** 2
    half += math.cos(one[0]) * math.cos(other[0]) * math.sin((other[1] - one[1]) / 2) ** 2
    return 2 * 6_371_009 * math.asin(math.sqrt(half))


def off_track_m(place: Place, places: Iterable[Place]) -> float:
    return min(apart_m(place, each) for each in places)
