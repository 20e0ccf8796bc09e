"""Whether today is good, in one sentence, and what flows from where to where (pure)."""

from collections.abc import Mapping, Sequence
from typing import Final

import msgspec

from v2g.units import HOUR_MS

WELL: Final = 0.9
"""At least this share of EVSEs works on a good day."""


class DayFacts(msgspec.Struct, frozen=True, kw_only=True):
    """What a person may see of today; None: not that. `exceeded`: limits of the grid; `ready`: share of EVSEs."""

    critical: int | None
    warnings: int | None
    exceeded: tuple[str, ...] = ()
    ready: float | None = None
    known: int | None = None


def verdict(facts: DayFacts) -> tuple[str, dict[str, str]]:
    """Return the sentence that answers whether today is good, with the values of its fields."""
    share = {"percent": f"{100 * (facts.ready or 0):.0f}"}
    if facts.known == 0:
        return "No station has connected yet.", {}
    if facts.exceeded:
        if facts.exceeded[0] == "all":
            return "Not good: the grid's limit over all stations is exceeded.", {}
        return "Not good: {place} is above its limit.", {"place": facts.exceeded[0]}
    if facts.critical:
        return "Not good, with open critical alerts: {count}.", {"count": str(facts.critical)}
    if facts.ready is not None and facts.ready < WELL:
        return "Not good: only {percent} % of EVSEs work.", share
    if facts.warnings:
        return "Good so far, with open warnings: {count}.", {"count": str(facts.warnings)}
    if facts.ready is None:
        return "Good so far: nothing needs a person.", {}
    return "Good so far: {percent} % of EVSEs work, every limit is kept.", share


def energy_wh(watts: Sequence[float | None], step_ms: int) -> float:
    """Return the energy (Wh) of powers that each hold for a step."""
    return sum(each for each in watts if each is not None) * step_ms / HOUR_MS


def beside(now_wh: float, before_wh: float | None, days: int = 1) -> tuple[str, dict[str, str]] | None:
    """Return how an energy compares with that of so many days before by the same time; None without one."""
    if not before_wh:
        return None
    percent = round(100 * (now_wh - before_wh) / before_wh)
    value = {"percent": str(abs(percent)), "days": str(days)}
    if days > 1:
        if percent >= 0:
            return "{percent} % more energy into vehicles than in the {days} days before.", value
        return "{percent} % less energy into vehicles than in the {days} days before.", value
    if percent == 0:
        return "As much energy as yesterday by this time.", {}
    if percent > 0:
        return "{percent} % more energy than yesterday by this time.", value
    return "{percent} % less energy than yesterday by this time.", value


class PowerPoint(msgspec.Struct, frozen=True, kw_only=True):
    """What stations did at a time, or on average from then on: power (W) into and out of vehicles without that of
    `unknown` ones, sessions, EVSEs, how many of these work, and the limits (W) there; null without one. `base_w`: what
    the grid connection draws beside the vehicles, below 0 fed in, by a meter there or a fleet's forecast; null if
    unknown."""

    at_ms: int
    import_w: int
    export_w: int
    unknown: int
    sessions: float
    evses: float
    ready: float
    import_limit_w: int | None
    export_limit_w: int | None
    base_w: int | None


class PowerTrend(msgspec.Struct, frozen=True, kw_only=True):
    """A day, or a site in some days: energy (Wh), greatest power (W), use of EVSEs and how many of them work (%, None:
    unknown), and what ended sessions cost."""

    of: str
    import_wh: float
    export_wh: float
    most_w: float
    used: float | None
    ready: float | None
    sessions: int
    money: Sequence[Mapping[str, str]]


def hours_wh(points: Sequence[PowerPoint], name: str, until_ms: int) -> float:
    """Return the energy (Wh) of averages of hours, the last of which may not be over at `until_ms`."""
    return float(sum(getattr(each, name) * min(HOUR_MS, until_ms - each.at_ms) for each in points)) / HOUR_MS


def trend(
    of: str, points: Sequence[PowerPoint], until_ms: int, sessions: int = 0, money: Sequence[Mapping[str, str]] = ()
) -> PowerTrend:
    """Return what hours of power and use amount to."""

    def share(name: str) -> float | None:
        evses = sum(each.evses for each in points)
        return 100 * float(sum(getattr(each, name) for each in points)) / evses if evses else None

    return PowerTrend(
        of=of,
        import_wh=hours_wh(points, "import_w", until_ms),
        export_wh=hours_wh(points, "export_w", until_ms),
        most_w=max((each.import_w for each in points), default=0),
        used=share("sessions"),
        ready=share("ready"),
        sessions=sessions,
        money=money,
    )
