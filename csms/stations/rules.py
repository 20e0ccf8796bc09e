"""Settings of a station's clock for the local time of its site (ClockCtrlr).

A station that supports time zones gets the zone's name. Another one gets the present offset, and the time
and value of the next one; it must be updated after that.
"""

from collections.abc import Iterable, Mapping, Sequence
from datetime import UTC, datetime
from typing import Final

import msgspec

from v2g.energy.settlement.pieces import zone_of
from v2g.errors import OcppError
from v2g.ocpp.messages.base import Component, Variable
from v2g.ocpp.messages.provisioning import SetVariableData
from v2g.ocpp.times import format_time, parse_time
from v2g.units import DAY_S

CLOCK: Final = "ClockCtrlr"

_AHEAD_DAYS: Final = 400

Values = Mapping[tuple[str, str], str]
"""(variable, instance) of ClockCtrlr -> value."""


class ClockSettings(msgspec.Struct, frozen=True, kw_only=True):
    """Desired settings: `zone` (IANA name; empty: not configured), and the clock's time sources. `unknown`: the zone of
    the site, in place of which `zone` is the default, as this machine does not know it."""

    zone: str = ""
    sources: tuple[str, ...] = ()
    unknown: str = ""


class ClockMirror(msgspec.Struct, frozen=True):
    """State of a station's clock: values, and its available sources (empty: not reported)."""

    values: Values
    sources: tuple[str, ...]


def mirror_of(rows: Iterable[Mapping[str, str]]) -> ClockMirror:
    """Return the state from the mirrored variables of ClockCtrlr; values for after a reboot count as set."""
    values: dict[tuple[str, str], str] = {}
    sources: tuple[str, ...] = ()
    for row in rows:
        if row["attribute"] == "Actual":
            key = row["variable"], row["variable_instance"]
            values[key] = row["after_reboot"] if row["after_reboot"] is not None else row["value"] or ""
            if key == ("TimeSource", ""):
                sources = tuple(filter(None, (row["values_list"] or "").replace(" ", "").split(",")))
    return ClockMirror(values, sources)


def by_name(settings: ClockSettings, mirror: ClockMirror) -> dict[tuple[str, str], str]:
    """Return the settings for a station that may support time zones; none for one that does not."""
    found: dict[tuple[str, str], str] = {}
    if settings.zone and (not mirror.values or ("TimeZone", "") in mirror.values):
        found["TimeZone", ""] = settings.zone
    sources = [each for each in settings.sources if not mirror.sources or each in mirror.sources]
    if sources:
        found["TimeSource", ""] = ",".join(sources)
    return _other(found, mirror)


def by_offset(settings: ClockSettings, mirror: ClockMirror, now_ms: int) -> dict[tuple[str, str], str]:
    """Return the settings for a station that supports offsets only."""
    if not settings.zone:
        return {}
    offset, change = transition(settings.zone, now_ms)
    found = {("TimeOffset", ""): offset}
    if change is not None:
        found["TimeOffset", "NextTransition"] = change[1]
        found["NextTimeOffsetTransitionDateTime", ""] = format_time(change[0])
    return _other(found, mirror)


def transition(zone: str, now_ms: int) -> tuple[str, tuple[int, str] | None]:
    """Return a zone's present offset, and the time (UTC ms) and value of the next one within a year; None for none.

    Raises ValueError for an unknown zone.
    """
    place, now_s = zone_of(zone), now_ms // 1000

    def offset(at_s: int) -> float:
        found = datetime.fromtimestamp(at_s, UTC).astimezone(place).utcoffset()
        assert found is not None
        return found.total_seconds()

    first = offset(now_s)
    for day in range(_AHEAD_DAYS):
        early, late = now_s + day * DAY_S, now_s + (day + 1) * DAY_S
        if offset(late) == first:
            continue
        while late - early > 1:
            middle = (early + late) // 2
            early, late = (middle, late) if offset(middle) == first else (early, middle)
        return _text(first), (late * 1000, _text(offset(late)))
    return _text(first), None


def is_set(key: tuple[str, str], wanted: str, has: str | None) -> bool:
    """Return whether a variable already has a value; times are compared as such."""
    if has is None or key[0] != "NextTimeOffsetTransitionDateTime":
        return has == wanted
    try:
        return parse_time(has) == parse_time(wanted)
    except OcppError:
        return False


def data_of(values: Mapping[tuple[str, str], str]) -> Sequence[SetVariableData]:
    """Return the items for SetVariables."""
    return [
        SetVariableData(
            component=Component(name=CLOCK),
            variable=Variable(name=name, instance=instance or None),
            attribute_value=value,
        )
        for (name, instance), value in values.items()
    ]


def _other(wanted: dict[tuple[str, str], str], mirror: ClockMirror) -> dict[tuple[str, str], str]:
    return {key: value for key, value in wanted.items() if not is_set(key, value, mirror.values.get(key))}


def _text(seconds: float) -> str:
    minutes = abs(int(seconds)) // 60
    return f"{'-' if seconds < 0 else '+'}{minutes // 60:02}:{minutes % 60:02}"
