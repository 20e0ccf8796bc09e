"""How values look on pages: powers, energies, times, amounts; and text of stations, which shows what it contains."""

from bisect import bisect_right
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from decimal import Decimal, InvalidOperation
from typing import Final
from urllib.parse import urlencode

import msgspec
from jinja2 import Environment, StrictUndefined, pass_context
from jinja2.runtime import Context
from markupsafe import Markup

from csms.console.languages import Templates, Translated, drawn, filled, said
from csms.console.visit import segment, shown_now_ms, shown_point, shown_zone
from v2g.telemetry.signals import SIGNALS
from v2g.text import age, printable
from v2g.units import MINUTE_MS, currency_digits, decimals_of, payable

DASH: Final = "\u2013"

STATUS: Final[Mapping[str, str]] = {
    **dict.fromkeys(("Available", "Idle", "Connected"), "free"),
    **dict.fromkeys(("Offline", "Never connected"), "off"),
    **dict.fromkeys(("Charging", "Running", "Working", "Watched"), "in"),
    "Discharging": "out",
    **dict.fromkeys(
        ("Occupied", "Reserved", "EVConnected", "SuspendedEV", "SuspendedEVSE", "waiting", "Waits for admission"),
        "wait",
    ),
    **dict.fromkeys(("Unavailable", "Absent"), "out-of"),
    **dict.fromkeys(("Faulted", "quarantined", "Failed", "Halted", "exceeded"), "fault"),
    **dict.fromkeys(("Blocked", "Rejected", "rejected", "Reverted", "RollingBack", "Refused", "over"), "warn"),
    **dict.fromkeys(("Accepted", "Installed", "Finished", "released", "Reached"), "done"),
    "Missed": "warn",
}
"""Shapes of states; the word stands beside it."""

NUMBERS: Final = frozenset({"number", "power", "energy", "money", "duration", "percent"})
"""Looks of columns (`listing.py`) that stand at the right."""


BOUNDS: Final[Mapping[str, str]] = {
    "share": "Share of the site",
    "external": "Limit from outside",
    "vehicle": "The vehicle takes at most",
    "set_point": "Set-point of dispatch",
}

STEPS: Final[Mapping[str, str]] = {
    "session_started": "Session set up",
    "contract_authorized": "Contract authorised",
    "vehicle_described": "Vehicle described",
    "terms_offered": "Offer made",
    "terms_decided": "Offer answered",
    "command_accepted": "Discharge command accepted",
    "command_rejected": "Discharge command refused",
    "limit_changed": "Limits of discharging changed",
    "service_changed": "Services selected",
    "grid_support": "Vehicle's inverter given the grid code",
    "energy_unmetered": "Energy not metered",
    "session_ended": "Session ended",
}
"""Steps of a session of ISO 15118."""


def doing(transaction: Mapping[str, str | None]) -> str:
    """Return the state of a running transaction; OCPP's "Charging" is also that of one that feeds back."""
    state = transaction["charging_state"] or "running"
    return "Discharging" if state == "Charging" and Decimal(transaction["power_w"] or 0) < 0 else state


def environment() -> Environment:
    """Return the templates. Every text is escaped, and its invisible characters are shown."""
    made = Templates(
        loader=Translated(),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
        finalize=_visible,
    )

    made.filters |= {
        "said": said,
        "filled": filled,
        "drawn": drawn,
        "time": time,
        "power": power,
        "energy": energy,
        "number": number,
        "counted": counted,
        "money": money,
        "place": place,
        "price": price,
        "duration": duration,
        "percent": percent,
        "age": age,
        "path": segment,
        "query": lambda values: urlencode(
            {name: value for name, value in values.items() if value not in (None, "")}, doseq=True
        ),
        "facts": facts,
        "doing": doing,
        "unit": unit,
        "shape": lambda state: STATUS.get(state or "", ""),
    }
    made.globals |= {"NUMBERS": NUMBERS, "BOUNDS": BOUNDS, "STEPS": STEPS}
    return made


MONTHS: Final = ("Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec")


@pass_context
def time(context: Context, ms: int | None, *, whole: bool = False) -> str:
    """Return a time (ms since 1970, UTC) in the zone of the page that is being drawn, without a date that is today's,
    or the year that is this year's; the `whole` of it, with seconds and zone, is its title, or shown where people keep
    the page."""
    if ms is None:
        return DASH
    try:
        moment = datetime.fromtimestamp(ms / 1000, UTC).astimezone(shown_zone.get())
    except (OverflowError, ValueError, OSError):  # a station's clock
        return str(ms)
    today = datetime.fromtimestamp(shown_now_ms.get() / 1000, UTC).astimezone(shown_zone.get())
    text, title = f"{moment:%H:%M}", f"{moment:%Y-%m-%d %H:%M:%S %Z}"
    if moment.date() != today.date():
        day = filled(
            context, "{day} {month}", {"day": str(moment.day), "month": said(context, MONTHS[moment.month - 1])}
        )
        text = f"{day}, {text}" if moment.year == today.year else f"{day} {moment.year}, {text}"
    return Markup('<time datetime="{}" title="{}">{}</time>').format(
        moment.astimezone(UTC).isoformat(timespec="seconds"), title, title if whole else text
    )


_SPACES: Final = str.maketrans({"\u00a0": " ", "\u2009": " "})
"""Spaces of our own numbers."""


def _visible(value: object) -> object:
    if value is None:
        return DASH
    if isinstance(value, dict | list | tuple):
        value = msgspec.json.encode(value).decode()
    if isinstance(value, Markup) or not isinstance(value, str) or value.translate(_SPACES).isprintable():
        return value
    return printable(value, lines=True)


def number(value: object, digits: int = 0) -> str:
    """Return a number with so many decimals, the language's sign before them, and thin spaces between thousands; a dash
    for None, text as it is."""
    if value is None:
        return DASH
    try:
        found = Decimal(str(value))
        signs = str.maketrans({",": "\u2009", ".": shown_point.get(), "-": "\u2212"})
        return f"{found:,.{digits}f}".translate(signs) if found.is_finite() else str(value)
    except (InvalidOperation, ValueError):
        return str(value)


def percent(value: object) -> str:
    """Return a share (%), with a decimal where it has one."""
    return f"{number(value, 1).removesuffix(f'{shown_point.get()}0')}\u00a0%"


@pass_context
def counted(context: Context, count: int, one: str, more: str) -> str:
    """Return a count with what it counts, in the template's language: `one` after 1, else `more`."""
    return f"{number(count)} {said(context, one if count == 1 else more)}"


def power(watts: object) -> str:
    """Return a power (W) in kW."""
    return _kilo(watts, "kW")


def energy(watt_hours: object) -> str:
    """Return an energy (Wh) in kWh."""
    return _kilo(watt_hours, "kWh")


def _kilo(value: object, unit: str) -> str:
    try:
        return f"{number(Decimal(str(value)) / 1000, 1)}\u00a0{unit}"
    except InvalidOperation:
        return DASH if value is None else str(value)


def money(amount: Mapping[str, str] | None) -> str:
    """Return an amount as it can be paid, with its currency."""
    if amount is None:
        return DASH
    currency = amount["currency"]
    return f"{number(payable(Decimal(amount['amount']), currency), currency_digits(currency))}\u00a0{currency}"


@pass_context
def place(context: Context, point: str) -> str:
    """Return a connection point, `all` or its kind and name, in the template's language."""
    kind, _, name = point.partition(" ")
    text = {"all": "all stations", "site": "site", "feeder": "feeder"}.get(kind)
    return f"{said(context, text) if text else kind} {name}".rstrip()


def fact(name: str) -> str:
    """Return the name of a fact in words, without a unit that its value will have."""
    words, _, unit = name.rpartition("_")
    return (words if unit in ("w", "wh") else name).replace("_", " ")


@pass_context
def facts(context: Context, given: Mapping[str, object]) -> str:
    """Return facts in words of the template's language: powers (`..._w`) in kW, energies (`..._wh`) in kWh."""

    def value_of(name: str, value: object) -> str:
        if name.endswith(("_w", "_wh")):
            return power(value) if name.endswith("_w") else energy(value)
        if isinstance(value, bool):
            return said(context, "yes" if value else "no")
        return str(value) if name == "detail" else said(context, str(value).replace("_", " "))

    return ", ".join(f"{said(context, fact(name))} {value_of(name, value)}" for name, value in given.items())


def price(given: object) -> str:
    """Return an exact figure, text or millionths (int), with the language's decimal sign; a dash for None."""
    if given is None:
        return DASH
    return (decimals_of(given) if isinstance(given, int) else str(given)).replace(".", shown_point.get())


def unit(signal: str) -> str:
    """Return the unit of a vehicle's signal as people write it."""
    found = SIGNALS[signal].unit if signal in SIGNALS else ""
    return {"degC": "°C", "degrees": "°"}.get(found, found)


def duration(ms: int | None) -> str:
    """Return a time in hours and minutes."""
    if ms is None:
        return DASH
    minutes = max(0, int(ms)) // MINUTE_MS
    return f"{minutes // 60}\u00a0h\u00a0{minutes % 60:02}" if minutes >= 60 else f"{minutes}\u00a0min"


class ChartLine:
    """A line of a chart: `values` at the chart's times, None for none. `steps`: each holds until the next. `of`: a name
    beside the label, which is not translated. `look`: "net" (power both ways), "in", "out", "limit" or "plan"."""

    def __init__(
        self,
        label: str,
        unit: str,
        values: Sequence[float | None],
        *,
        steps: bool = False,
        of: str = "",
        look: str = "",
    ) -> None:
        self.label, self.unit, self.values, self.steps, self.of, self.look = label, unit, values, steps, of, look


def chart(
    title: str, times_ms: Sequence[int], lines: Sequence[ChartLine], now_ms: int | None = None
) -> dict[str, object]:
    """Return a chart, as the page's script reads it: a plot for each unit, times in s since 1970. `now_ms`: of one that
    goes on into the future."""
    return {
        "title": title,
        "now": None if now_ms is None else max(0, bisect_right(times_ms, now_ms) - 1),
        "times": [at // 1000 for at in times_ms],
        "lines": [
            {
                "label": each.label,
                "of": each.of,
                "unit": each.unit,
                "look": each.look,
                "steps": each.steps,
                "values": list(each.values),
            }
            for each in lines
        ],
    }


class FlowPart(msgspec.Struct, frozen=True, kw_only=True):
    """A part of a lane: where from or to, power (W), and its place in the drawing, each in % of its width."""

    of: str
    look: str
    watts: int
    x: float
    width: float


class FlowBar(msgspec.Struct, frozen=True, kw_only=True):
    """Two lanes of equal length: where power comes from, and where it goes. `limit_x`: the limit of what is drawn from
    the grid, % of the width."""

    sources: tuple[FlowPart, ...]
    sinks: tuple[FlowPart, ...]
    limit_w: int | None
    limit_x: float | None


def flow_bar(import_w: int, export_w: int, limit_w: int | None, base_w: int = 0) -> FlowBar:
    """Return what flows: vehicles and generation feed others first, the grid gives or takes the rest. `limit_w`: of
    vehicles; `base_w`: what the connection draws beside them, below 0 of generation."""
    load_w, made_w = max(0, base_w), max(0, -base_w)
    grid_w = import_w + load_w - export_w - made_w
    limit_at_w = None if limit_w is None else export_w + limit_w + load_w
    most = max(import_w + load_w, export_w + made_w)
    if limit_at_w is not None and limit_at_w <= 4 * max(most, 1):
        most = max(most, limit_at_w)

    def lane(*parts: tuple[str, str, int]) -> tuple[FlowPart, ...]:
        found, x = [], 0.0
        for of, look, watts in parts:
            if watts > 0:
                width = 100 * watts / most
                found.append(FlowPart(of=of, look=look, watts=watts, x=x, width=width))
                x += width
        return tuple(found)

    return FlowBar(
        sources=lane(("Vehicles", "out", export_w), ("Generation", "base", made_w), ("Grid", "grid", grid_w)),
        sinks=lane(("Vehicles", "in", import_w), ("Buildings", "base", load_w), ("Grid", "grid", -grid_w)),
        limit_w=limit_w,
        limit_x=100 * limit_at_w / most if limit_at_w is not None and 0 < limit_at_w <= most else None,
    )
