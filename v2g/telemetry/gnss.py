"""Positions of satellite receivers: NMEA 0183 and gpsd's JSON to fixes, and what is wrong with these (R78, R211).

Sentences by "NMEA Revealed" (gpsd.io/NMEA.html), JSON by gpsd_json(5).
"""

import math
import re
from collections.abc import Callable, Iterator
from functools import reduce
from operator import xor
from typing import Annotated, Final, Literal

import msgspec
from msgspec import Meta

from v2g import typed_json
from v2g.observe import Observe
from v2g.telemetry.mapping import Mapped
from v2g.telemetry.privacy import METRES_PER_DEGREE
from v2g.telemetry.signals import LATITUDE, LONGITUDE

QUALITY: Final = "location.quality"
HDOP: Final = "location.hdop"
ODOMETER: Final = "vehicle.odometer"

GPSD_WATCH: Final = b'?WATCH={"enable":true,"json":true};\n'
"""Asks gpsd for reports."""

MAX_SENTENCE: Final = 256
"""Octets; NMEA 0183 allows 82, receivers with many decimals send more."""
MAX_REPORT: Final = 10_240
"""Longest line of gpsd (gpsd_json(5))."""

DAY_S: Final = 86_400.0


class Fix(msgspec.Struct, frozen=True):
    """What a receiver says: degrees, horizontal dilution, its time (s of the UTC day), and `quality` as in GGA: 0 none,
    1 satellites alone, 2 corrected by differences, 3 precise, 4 and 5 carrier phase, 6 dead reckoning, 7 entered by
    hand, 8 simulated."""

    quality: int
    latitude: float = math.nan
    longitude: float = math.nan
    hdop: float | None = None
    time_s: float | None = None


class FixReader:
    """Cuts a receiver's octets into lines, and these into fixes. What is no such line is counted as `malformed`."""

    def __init__(self, kind: Literal["nmea", "gpsd"]) -> None:
        self.malformed = 0
        self._parse: Callable[[bytes], Fix | None] = (Sentences if kind == "nmea" else GpsdReports)().fix
        self._longest = MAX_SENTENCE if kind == "nmea" else MAX_REPORT
        self._rest = b""

    def receive(self, data: bytes) -> Iterator[Fix]:
        """Yield the fixes that end in `data`."""
        *lines, self._rest = (self._rest + data).split(b"\n")
        if len(self._rest) > self._longest:  # kept long, so that its end is no line of its own
            self._rest = self._rest[: self._longest + 1]
        for line in filter(None, map(bytes.strip, lines)):
            try:
                if len(line) > self._longest:
                    raise ValueError("too long")
                fix = self._parse(line)
            except (ValueError, LookupError):
                self.malformed += 1
                continue
            if fix is not None:
                yield fix


_SENTENCE: Final = re.compile(rb"\$([A-Z]{2})([A-Z]{3}),([\x20-\x7e]*)\*([0-9A-Fa-f]{2})")
_MODES: Final = {"N": 0, "A": 1, "D": 2, "P": 3, "R": 4, "F": 5, "E": 6, "M": 7, "S": 8}
"""Mode indicators of GNS and RMC -> quality."""


class Sentences:
    """Sentences of any talker. Each GGA or GNS is a fix; of receivers that send neither, each RMC."""

    def __init__(self) -> None:
        self._has_dilution = False
        self._hdop: float | None = None

    def fix(self, line: bytes) -> Fix | None:
        """Return the fix in a sentence, None for one without. Raises ValueError or LookupError for what is none."""
        found = _SENTENCE.fullmatch(line[line.rfind(b"$") :] if b"$" in line else line)
        if found is None or reduce(xor, line[line.rfind(b"$") + 1 : -3]) != int(found[4], 16):
            raise ValueError("not a sentence of NMEA 0183, or damaged")
        fields = found[3].decode("ascii").split(",")
        match found[2]:
            case b"GGA":
                self._has_dilution = True
                return _nmea_fix(fields[0], fields[1:5], int(fields[5] or "0"), _dilution(fields[7]))
            case b"GNS":
                self._has_dilution = True
                quality = max((_MODES[each] for each in fields[5]), default=0)
                return _nmea_fix(fields[0], fields[1:5], quality, _dilution(fields[7]))
            case b"GSA":
                self._hdop = _dilution(fields[15])
            case b"RMC" if not self._has_dilution:
                mode = fields[11] if len(fields) > 11 and fields[11] else "A"
                quality = _MODES[mode] if fields[1] == "A" else 0
                return _nmea_fix(fields[0], fields[2:6], quality, self._hdop)
        return None


def _nmea_fix(time: str, place: list[str], quality: int, hdop: float | None) -> Fix:
    """Return a fix of a sentence's fields. Raises ValueError."""
    if not 0 <= quality <= 8 or len(place) != 4:
        raise ValueError("not a quality or place of NMEA 0183")
    time_s = _seconds(time)
    if not quality or not place[0] or not place[2]:
        return Fix(0, time_s=time_s)
    latitude, longitude = _degrees(place[0], place[1], "NS", 90), _degrees(place[2], place[3], "EW", 180)
    return Fix(quality, latitude, longitude, hdop, time_s)


def _seconds(time: str) -> float | None:
    """Return a time of the day, HHMMSS.SS or HH:MM:SS.SS, in seconds; None for none."""
    at = re.fullmatch(r"(\d\d):?(\d\d):?(\d\d(?:\.\d{1,9})?)", time)
    return int(at[1]) * 3600 + int(at[2]) * 60 + float(at[3]) if at else None


def _degrees(text: str, side: str, sides: str, most: float) -> float:
    """Return degrees of `DDMM.MM`, as a number of hundreds and minutes. Raises ValueError."""
    if side not in sides or len(side) != 1 or re.fullmatch(r"\d{3,5}(\.\d*)?", text) is None:
        raise ValueError(f"{text!r} is no latitude or longitude")
    hundreds, minutes = divmod(float(text), 100)
    degrees = hundreds + minutes / 60
    if minutes >= 60 or degrees > most:
        raise ValueError(f"{text!r} is no latitude or longitude")
    return -degrees if side == sides[1] else degrees


def _dilution(text: str) -> float | None:
    """Return a dilution; receivers without a fix send none, or 99.99. Raises ValueError."""
    value = float(text) if text else math.inf
    return value if 0 < value < 99 else None


class _Report(msgspec.Struct, frozen=True):
    """A report of gpsd: TPV has a position, SKY the dilution."""

    class_: str = msgspec.field(name="class")
    mode: int = 0
    status: int = 1
    time: str = ""
    lat: Annotated[float, Meta(ge=-90, le=90)] | None = None
    lon: Annotated[float, Meta(ge=-180, le=180)] | None = None
    hdop: Annotated[float, Meta(ge=0, le=1e6)] | None = None


_reports: Final = typed_json.decoder(_Report)
_STATUSES: Final = {2: 2, 3: 4, 4: 5, 5: 6, 6: 6, 7: 7, 8: 8, 9: 3}
"""Status of TPV -> quality; 1, and 0 beside a mode with a position, are satellites alone."""


class GpsdReports:
    """Reports of gpsd: each TPV is a fix."""

    def __init__(self) -> None:
        self._hdop: float | None = None

    def fix(self, line: bytes) -> Fix | None:
        """Return the fix in a report, None for one without. Raises ValueError."""
        try:
            report = _reports.decode(line)
        except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
            raise ValueError(str(error)) from None
        if report.class_ == "SKY" and report.hdop is not None:
            self._hdop = report.hdop if 0 < report.hdop < 99 else None
        if report.class_ != "TPV":
            return None
        time_s = _seconds(report.time.rpartition("T")[2].removesuffix("Z"))
        if report.mode < 2 or report.lat is None or report.lon is None:
            return Fix(0, time_s=time_s)
        return Fix(_STATUSES.get(report.status, 1), report.lat, report.lon, self._hdop, time_s)


# -- What is wrong with fixes ------------------------------------------------------------------------------------------

FASTEST: Final = 140.0
"""m/s, 500 km/h: no vehicle moves faster between two fixes."""
SCATTER_M: Final = 50.0
"""A fix may be that far off."""
STRIDE_M: Final = 20.0
"""The way is added up in pieces of at least that, so that the scatter of a parked vehicle adds none."""
CHECKED_KM: Final = 2.0
"""The odometer is compared with the way over at least that."""
APART: Final = 0.05
APART_M: Final = 100.0
"""Way and odometer may differ by that share, and so many metres."""


class PositionWatch:
    """Takes fixes, and finds out where they end (a tunnel), jump, or contradict the odometer.

    A fix that no vehicle reaches waits for the next one: if that agrees with it, the receiver was off before, or the
    vehicle was carried; if not, it is left out. `now` is monotonic seconds.
    """

    def __init__(self, lost_s: float) -> None:
        """`lost_s`: time without a fix after which there is no position."""
        self._lost_s = lost_s
        self._here: tuple[Fix, float] | None = None
        self._held: tuple[Fix, float] | None = None
        self._lost = False
        self._stride: Fix | None = None
        self._way_m = 0.0
        self._had_gap = False
        self._odometer_km: float | None = None
        self._start: tuple[float, float] | None = None
        """Odometer (km) and way (m) at which the comparison began."""
        self._apart = False

    def fix(self, fix: Fix, now: float) -> tuple[Mapped, list[Observe]]:
        """Return the position that a fix shows, and what is wrong."""
        if not fix.quality:
            return self.poll(now)
        found: list[Observe] = []
        absent: tuple[str, ...] = ()
        if self._here is not None and not _reaches(self._here, fix, now):
            confirmed = self._held is not None and _reaches(self._held, fix, now)
            found += self._jumped(kept=confirmed)
            if not confirmed:
                self._held = fix, now
                return Mapped({}), found
            absent, self._stride, self._had_gap = (LATITUDE, LONGITUDE), fix, True  # not compared with what was before
        else:
            found += self._jumped(kept=False)
        if self._lost and self._here is not None:
            facts = {"after_s": now - self._here[1], "moved_m": round(metres(self._here[0], fix))}
            found.append(Observe("telemetry", "position_found", dict(facts)))
        self._lost, self._held, self._here = False, None, (fix, now)
        self._stride = self._stride or fix
        if (step := metres(self._stride, fix)) >= STRIDE_M:
            self._way_m, self._stride = self._way_m + step, fix
        values = {QUALITY: float(fix.quality), LATITUDE: fix.latitude, LONGITUDE: fix.longitude}
        return Mapped(values if fix.hdop is None else values | {HDOP: fix.hdop}, absent=absent), found

    def poll(self, now: float) -> tuple[Mapped, list[Observe]]:
        """Return whether the position is lost by now."""
        if self._here is None or self._lost or now < self._here[1] + self._lost_s:
            return Mapped({}), []
        self._lost = self._had_gap = True
        lost = Observe("telemetry", "position_lost", {"after_s": now - self._here[1]})
        return Mapped({QUALITY: 0.0}, absent=(LATITUDE, LONGITUDE, HDOP)), [*self._jumped(kept=False), lost]

    def odometer(self, km: float) -> list[Observe]:
        """Return whether an odometer contradicts the way of the fixes, which is compared where it counts on."""
        before, self._odometer_km = self._odometer_km, km
        if before is None or km == before or self._here is None:
            return []
        if self._start is None or km < before:
            self._start, self._had_gap = (km, self._way_m), False
            return []
        way_m, odometer_m = self._way_m - self._start[1], (km - self._start[0]) * 1000
        if odometer_m < CHECKED_KM * 1000:
            return []
        most_m = APART * odometer_m + APART_M
        apart = way_m > odometer_m + most_m or (way_m < odometer_m - most_m and not self._had_gap)  # a tunnel has bends
        self._start, self._had_gap = (km, self._way_m), False
        if apart == self._apart:
            return []
        self._apart = apart
        facts = {"way_m": round(way_m), "odometer_m": round(odometer_m), "raised": apart}
        return [Observe("telemetry", "odometer_apart", dict(facts))]

    def _jumped(self, *, kept: bool) -> list[Observe]:
        if self._held is None or self._here is None:
            return []
        (there, at), self._held = self._held, None
        facts = {"moved_m": round(metres(self._here[0], there)), "after_s": at - self._here[1], "kept": kept}
        return [Observe("telemetry", "position_jumped", dict(facts))]


def metres(here: Fix, there: Fix) -> float:
    """Return the distance of two fixes that are not far apart."""
    east = (there.longitude - here.longitude + 180) % 360 - 180
    shrink = math.cos(math.radians((here.latitude + there.latitude) / 2))
    return math.hypot(there.latitude - here.latitude, east * shrink) * METRES_PER_DEGREE


def _reaches(before: tuple[Fix, float], fix: Fix, now: float) -> bool:
    last, at = before
    seconds = now - at
    if last.time_s is not None and fix.time_s is not None:  # what was buffered comes at once
        seconds = (fix.time_s - last.time_s) % DAY_S
    return metres(last, fix) <= SCATTER_M + FASTEST * seconds
