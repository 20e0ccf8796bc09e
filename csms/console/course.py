"""Power of the day beside yesterday's, its plan and limits, and use by hour: of all stations, or of sites."""

from collections.abc import Callable, Iterable, Mapping, Sequence
from datetime import UTC, date, datetime, time, timedelta
from math import ceil
from typing import Final

import msgspec

from csms.console.present import ChartLine, chart
from csms.console.visit import Visit
from csms.fleets.rules import known_sum
from csms.fleets.store import PlannedPower
from csms.grid.limits import FUSE, PART, LimitState
from csms.overview import api as overview
from csms.overview.course import STEP_MS
from csms.overview.rules import WELL, PowerPoint, beside, energy_wh
from v2g.units import HOUR_MS

_DAYS: Final = 7
_SUMS: Final = ("import_w", "export_w", "unknown", "sessions", "evses", "ready")
_MOST_LIMITS: Final = 8
"""Lines of limits in a chart, the lowest first."""
_LACKING: Final = (0.995, 0.95, WELL, 0.75)
"""Shares of EVSEs that work, below which an hour has the next shade."""


class HeatMap(msgspec.Struct, frozen=True):
    """A share of EVSEs (%) by weekday, newest first, and hour of the viewer's zone, None where unknown, each with its
    shade (`look` and 0 to 4); a sentence on the hour that stands out; `ends`: what the first and last shade mean."""

    title: str
    look: str
    rows: list[tuple[str, list[tuple[int | None, str]]]]
    most: tuple[str, dict[str, str]]
    ends: tuple[str, str]


class ShownCourse(msgspec.Struct, frozen=True):
    """A chart of the day, use and availability of EVSEs by hour, how the energy compares with yesterday's, and the
    newest point."""

    chart: dict[str, object] | None
    hours: Sequence[HeatMap]
    compared: tuple[str, dict[str, str]] | None
    last: PowerPoint | None


def midnight_ms(visit: Visit, back: int = 0) -> int:
    """Return when a day began in the viewer's zone, `back` days before today (UTC ms)."""
    day = date_of(visit, visit.now_ms) - timedelta(days=back)
    return round(datetime.combine(day, time(), visit.zone).timestamp() * 1000)


def date_of(visit: Visit, at_ms: int) -> date:
    """Return the day of a time in the viewer's zone."""
    return datetime.fromtimestamp(at_ms / 1000, UTC).astimezone(visit.zone).date()


def days_later(visit: Visit, at_ms: int, days: int) -> int:
    """Return when the clock in the viewer's zone shows the same as at a time (UTC ms), so many days later."""
    at = datetime.fromtimestamp(at_ms / 1000, UTC).astimezone(visit.zone) + timedelta(days=days)
    return round(at.timestamp() * 1000)


async def course_of(visit: Visit, sites: Sequence[str], limits: Sequence[LimitState] = ()) -> ShownCourse:
    """Return the course of sites together, as far as the person may see it; "" is all stations. `limits`: those that
    hold there now or later today."""
    midnights = [midnight_ms(visit, back) for back in range(_DAYS)]
    points = await points_of(visit, sites, midnights[1], STEP_MS)
    day = {each.at_ms: each for each in points if each.at_ms >= midnights[0]}
    yesterday = [(days_later(visit, each.at_ms, 1), each) for each in points if each.at_ms < midnights[0]]
    before = dict(yesterday)
    compared = None
    if before and day:
        until = [each for at_ms, each in yesterday if at_ms <= max(day)]
        now_wh, then_wh = (energy_wh([e.import_w for e in some], STEP_MS) for some in (day.values(), until))
        compared = beside(now_wh, then_wh)
    hours = _hours(await points_of(visit, sites, midnights[-1], HOUR_MS), midnights, visit) if points else []
    last = points[-1] if points else None
    if last is None:
        return ShownCourse(None, hours, compared, last)
    ends_ms = midnight_ms(visit, -1)
    # what fleets of these sites have planned today, by time
    about = {"from_ms": midnights[0], "to_ms": ends_ms, "step_ms": STEP_MS}
    plan: dict[int, PlannedPower] = {}
    for name in sites:
        for each in await visit.find(tuple[PlannedPower, ...], overview.read_planned_power, site_id=name, **about):
            other = plan.get(each.at_ms)
            both = [each] if other is None else [each, other]
            plan[each.at_ms] = PlannedPower(
                at_ms=each.at_ms, power_w=known_sum(e.power_w for e in both), base_w=known_sum(e.base_w for e in both)
            )
    ahead = range(last.at_ms, ends_ms, STEP_MS) if plan or limits else ()
    lines = [*_lines(times := sorted({*day, *before, *plan, *ahead}), day, before, plan), *_ahead(times, limits, last)]
    return ShownCourse(chart("Power of the day", times, lines), hours, compared, last)


async def points_of(
    visit: Visit, sites: Sequence[str], from_ms: int, step_ms: int, to_ms: int | None = None
) -> list[PowerPoint]:
    """Return the points of sites together until a time (UTC ms), None: now."""
    if not visit.may(overview.read_power_course):
        return []
    about = {"from_ms": from_ms, "to_ms": to_ms or visit.now_ms + 1, "step_ms": step_ms}
    sums: dict[int, PowerPoint] = {}
    for name in sites:
        for each in await visit.find(tuple[PowerPoint, ...], overview.read_power_course, site_id=name, **about):
            other, none = sums.get(each.at_ms), {"import_limit_w": None, "export_limit_w": None}
            added = {key: getattr(each, key) + (getattr(other, key) if other else 0) for key in _SUMS}
            base_w = known_sum(e.base_w for e in (each, other) if e is not None)
            # limits of several places are none of their sum
            sums[each.at_ms] = msgspec.structs.replace(each, **added, base_w=base_w, **(none if len(sites) > 1 else {}))
    return [sums[at_ms] for at_ms in sorted(sums)]


def _lines(
    times: Sequence[int],
    day: Mapping[int, PowerPoint],
    before: Mapping[int, PowerPoint],
    plan: Mapping[int, PlannedPower],
) -> list[ChartLine]:
    """Return power, positive into vehicles, beside that of the day before, the plan, other loads, and the limits."""

    def kilowatts(of: Mapping[int, PowerPoint], name: str = "") -> list[float | None]:
        values = [
            None if (each := of.get(at)) is None else getattr(each, name) if name else each.import_w - each.export_w
            for at in times
        ]
        return [None if each is None else each / 1000 for each in values]

    def planned(name: str) -> list[float | None]:
        values = [None if (each := plan.get(at)) is None else getattr(each, name) for at in times]
        return [None if each is None else each / 1000 for each in values]

    lines = [ChartLine("Today", "kW", kilowatts(day), look="net")]
    lines += [ChartLine("Yesterday", "kW", kilowatts(before), look="old")] if before else []
    then = [
        value if now is None else now for now, value in zip(kilowatts(day, "base_w"), planned("base_w"), strict=True)
    ]
    for label, values, look in (("Planned", planned("power_w"), "plan"), ("Buildings, then as expected", then, "base")):
        lines += [ChartLine(label, "kW", values, look=look)] if any(each is not None for each in values) else []
    for name, sign in (("import_limit_w", 1), ("export_limit_w", -1)):
        limit = [None if each is None else sign * each for each in kilowatts(day, name)]
        if any(each is not None for each in limit):
            label = "Limit into vehicles" if sign > 0 else "Limit out of vehicles"
            lines.append(ChartLine(label, "kW", limit, steps=True, look="limit"))
    return lines


def _ahead(times: Sequence[int], limits: Iterable[LimitState], last: PowerPoint) -> list[ChartLine]:
    """Return a line for each limit from now on, as long as it holds, and where it is from."""
    found = []
    for each in limits:
        begins_ms, sign = max(each.from_ms, last.at_ms), 1 if each.direction == "import" else -1
        values = [sign * each.watts / 1000 if begins_ms <= at < each.until_ms else None for at in times]
        if any(value is not None for value in values):
            own = {FUSE: "Fuse", PART: "Share of all stations' limit"}.get(each.source)
            of = "" if own else each.source
            line = ChartLine(own or "Limit from now on:", "kW", values, steps=True, of=of, look="limit")
            found.append((each.watts, line))
    return [line for _, line in sorted(found, key=lambda pair: pair[0])[:_MOST_LIMITS]]


def _hours(points: Sequence[PowerPoint], midnights: Sequence[int], visit: Visit) -> list[HeatMap]:
    """Return which share of EVSEs was in use, and which worked, by day and hour; nothing without any EVSE."""
    known: dict[tuple[date, int], list[PowerPoint]] = {}
    for each in points:
        at = datetime.fromtimestamp(each.at_ms / 1000, UTC).astimezone(visit.zone)
        if each.evses:
            known.setdefault((at.date(), at.hour), []).append(each)
    days = [day for day in (date_of(visit, each) for each in midnights) if any(key[0] == day for key in known)]

    def heat_map(title: str, name: str, shade: Callable[[float], int], ends: tuple[str, str]) -> HeatMap:
        look, least = ("a", True) if name == "ready" else ("h", False)
        shares = {
            key: sum(getattr(each, name) / each.evses for each in some) / len(some) for key, some in known.items()
        }
        (day, hour), share = (min if least else max)(shares.items(), key=lambda item: item[1])
        value = {"day": f"{day:%a}", "hour": f"{hour:02}:00", "percent": f"{100 * share:.0f}"}
        text = "Least: {day} {hour}, {percent} %" if least else "Busiest: {day} {hour}, {percent} %"
        cells = {key: (round(100 * share), f"{look}{shade(share)}") for key, share in shares.items()}
        rows = [(f"{day:%a}", [cells.get((day, hour), (None, "hx")) for hour in range(24)]) for day in days]
        return HeatMap(title, look, rows, (text, value), ends)

    if not known:
        return []
    return [
        heat_map("Use of EVSEs by hour", "sessions", lambda share: min(4, ceil(4 * share)), ("0 %", "100 %")),
        heat_map(
            "EVSEs that work by hour",
            "ready",
            lambda share: sum(share < bound for bound in _LACKING),
            ("100 %", f"< {100 * _LACKING[-1]:.0f} %"),
        ),
    ]
