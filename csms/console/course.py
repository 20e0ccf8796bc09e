"""Power of the day beside yesterday's, and use by hour: of all stations, or of sites."""

from collections.abc import Mapping, Sequence
from datetime import UTC, datetime, time, timedelta
from typing import Final

import msgspec

from csms.console.present import ChartLine, chart
from csms.console.visit import Visit
from csms.overview import api as overview
from csms.overview.course import STEP_MS, PowerPoint
from csms.overview.rules import HOUR_MS, beside, energy_wh

_DAYS: Final = 7
_SUMS: Final = ("import_w", "export_w", "unknown", "sessions", "evses", "ready")

Use = list[tuple[str, list[tuple[int | None, str]]]]


class ShownCourse(msgspec.Struct, frozen=True):
    """A chart of the day, the use of EVSEs (%) by day and hour with shades, how the energy compares with yesterday's,
    and the newest point."""

    chart: dict[str, object] | None
    use: Use
    compared: tuple[str, dict[str, str]] | None
    last: PowerPoint | None


async def course_of(visit: Visit, sites: Sequence[str]) -> ShownCourse:
    """Return the course of sites together, as far as the person may see it; "" is all stations."""
    here = datetime.fromtimestamp(visit.now_ms / 1000, UTC).astimezone(visit.zone).date()
    midnights = [
        round(datetime.combine(here - timedelta(days=back), time(), visit.zone).timestamp() * 1000)
        for back in range(_DAYS)
    ]
    points = await _points(visit, sites, midnights[1], STEP_MS)
    day = {each.at_ms: each for each in points if each.at_ms >= midnights[0]}
    before = {each.at_ms + midnights[0] - midnights[1]: each for each in points if each.at_ms < midnights[0]}
    compared = None
    if before and day:
        until = [each for at_ms, each in before.items() if at_ms <= max(day)]
        now_wh, then_wh = (energy_wh([e.import_w for e in some], STEP_MS) for some in (day.values(), until))
        compared = beside(now_wh, then_wh)
    use = _use(await _points(visit, sites, midnights[-1], HOUR_MS), midnights, visit) if points else []
    return ShownCourse(_chart(day, before) if points else None, use, compared, points[-1] if points else None)


async def _points(visit: Visit, sites: Sequence[str], from_ms: int, step_ms: int) -> list[PowerPoint]:
    if not visit.may(overview.read_power_course):
        return []
    about = {"from_ms": from_ms, "to_ms": visit.now_ms + 1, "step_ms": step_ms}
    sums: dict[int, PowerPoint] = {}
    for name in sites:
        for each in await visit.find(tuple[PowerPoint, ...], overview.read_power_course, site_id=name, **about):
            other, none = sums.get(each.at_ms), {"import_limit_w": None, "export_limit_w": None}
            added = {key: getattr(each, key) + (getattr(other, key) if other else 0) for key in _SUMS}
            # limits of several places are none of their sum
            sums[each.at_ms] = msgspec.structs.replace(each, **added, **(none if len(sites) > 1 else {}))
    return [sums[at_ms] for at_ms in sorted(sums)]


def _chart(day: Mapping[int, PowerPoint], before: Mapping[int, PowerPoint]) -> dict[str, object]:
    """Return power, positive into vehicles, beside that of the day before, and the limits."""
    times = sorted({*day, *before})

    def kilowatts(of: Mapping[int, PowerPoint], name: str = "") -> list[float | None]:
        values = [
            None if (each := of.get(at)) is None else getattr(each, name) if name else each.import_w - each.export_w
            for at in times
        ]
        return [None if each is None else each / 1000 for each in values]

    lines = [ChartLine("Today", "kW", kilowatts(day), look="net")]
    lines += [ChartLine("Yesterday", "kW", kilowatts(before), look="old")] if before else []
    for name, sign in (("import_limit_w", 1), ("export_limit_w", -1)):
        limit = [None if each is None else sign * each for each in kilowatts(day, name)]
        if any(each is not None for each in limit):
            label = "Limit into vehicles" if sign > 0 else "Limit out of vehicles"
            lines.append(ChartLine(label, "kW", limit, steps=True, look="limit"))
    return chart("Power of the day", times, lines)


def _use(hours: list[PowerPoint], midnights: list[int], visit: Visit) -> list[tuple[str, list[tuple[int | None, str]]]]:
    """Return the use of EVSEs (%) by day and hour of the viewer's zone, newest first, each with its shade."""
    found: dict[tuple[str, int], list[PowerPoint]] = {}
    for each in hours:
        at = datetime.fromtimestamp(each.at_ms / 1000, UTC).astimezone(visit.zone)
        found.setdefault((at.date().isoformat(), at.hour), []).append(each)
    days = [datetime.fromtimestamp(each / 1000, UTC).astimezone(visit.zone).date().isoformat() for each in midnights]
    rows = []
    for day in days:
        cells: list[tuple[int | None, str]] = []
        for hour in range(24):
            some = [each for each in found.get((day, hour), ()) if each.evses]
            share = sum(each.sessions / each.evses for each in some) / len(some) if some else None
            shade = "hx" if share is None else f"h{min(4, round(4 * share + 0.49))}"
            cells.append((None if share is None else round(100 * share), shade))
        if any(value is not None for value, _ in cells):
            rows.append((day, cells))
    return rows
