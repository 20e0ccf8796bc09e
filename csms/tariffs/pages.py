"""Tariffs: the list, one with its week and where it applies, and the form of a new one."""

from collections.abc import Mapping, Sequence
from datetime import UTC, date, datetime, timedelta
from decimal import Decimal, InvalidOperation
from typing import Any, Final

import msgspec

from csms.console.listing import Column, Listing, show_list
from csms.console.visit import Visit, action, page, place, segment
from csms.http.pipeline import Answer
from csms.http.problems import ApiError
from csms.sites import api as sites
from csms.tariffs import api as tariffs
from csms.tariffs.rules import CLOCK, PricedHours, as_sundays, by_clock, filling, gaps, week, weeks
from v2g import typed_json
from v2g.config import misfit
from v2g.energy.price_plan import KINDS, ChargeKind, PricePlan, Rate, When
from v2g.energy.settlement.pieces import zone_of
from v2g.typed_json import Fields

_PRICES: Final[tuple[ChargeKind, ...]] = ("energy", "export", "charging_time", "idle_time", "fixed")
WEEKLY: Final[Mapping[ChargeKind, str]] = {"energy": "Price of charging", "export": "Price of feeding back"}
"""Kinds of charges that a week shows."""

DAYS: Final = {
    "": "every day", "01234": "Monday to Friday", "56": "Saturday and Sunday", "0": "Monday", "1": "Tuesday",
    "2": "Wednesday", "3": "Thursday", "4": "Friday", "5": "Saturday", "6": "Sunday", "012345": "Monday to Saturday",
}  # fmt: skip
WEEKDAYS: Final = ("Mon", "Tue", "Wed", "Thu", "Fri", "Sat", "Sun")
HOLIDAYS: Final = {"": "also on holidays", "only": "only on holidays", "never": "never on holidays"}
TO: Final = {
    "": "Every station without one of its own", "site_id": "Site", "station_id": "Station",
    "group_id": "Group of tokens", "id_token": "Driver: type and token",
}  # fmt: skip
_TEXTS: Final = frozenset({"id", "description", "closed", "zone", "like"})
_MOST_ROWS: Final = 30
_MOST_GAPS: Final = 5
_COLUMNS: Final = ("price", "days", "holidays", "start", "end", "first", "last")


def _where(visit: Visit, assignment: Fields) -> str:
    """Return where a plan applies."""
    if site := assignment["site_id"]:
        return visit.said("site {name}", name=site)
    if group := assignment["group_id"]:
        return visit.said("group {name}", name=group)
    there = assignment["station_id"] or visit.said("everywhere")
    there += f" EVSE {assignment['evse_id']}" if assignment["evse_id"] else ""
    return there + (f": {assignment['token_type']} {assignment['id_token']}" if assignment["token_type"] else "")


def _range(plan: Fields, kind: str) -> str | None:
    """Return the least and the greatest price of a kind."""
    found = sorted({Decimal(each["price"]) for each in plan[kind]["rates"]}) if plan.get(kind) else []
    return " … ".join(f"{each:f}" for each in dict.fromkeys((found[0], found[-1]))) if found else None


TARIFFS: Final = (
    Column("tariff", "Tariff", lambda row: row["id"], href=lambda row: f"/tariffs/{segment(row['id'])}"),
    Column("energy", "Energy, per kWh", lambda row: _range(row, "energy"), "price"),
    Column("export", "Fed back, per kWh", lambda row: _range(row, "export"), "price", phone=False),
    Column("currency", "Currency", lambda row: row["currency"]),
    Column("applies", "Applies", lambda row: row["applies"]),
    Column("description", "Description", lambda row: row.get("description"), phone=False),
)


@page("/tariffs", tariffs.list_tariffs)
async def list_tariffs(visit: Visit) -> Answer:
    """List tariffs, and to whom they apply."""
    applies: dict[str, list[str]] = {}
    async for each in visit.every(tariffs.list_assignments):
        applies.setdefault(each["plan_id"], []).append(_where(visit, each))
    plans = visit.every(tariffs.list_tariffs)
    rows = [{**each, "applies": ", ".join(applies.get(each["id"], []))} async for each in plans]
    empty = "No tariff yet: sessions cost nothing."
    links = {"/tariffs/new": "New tariff"} if visit.may(tariffs.make_tariff) else {}
    shown = Listing(title="Tariffs", columns=TARIFFS, rows=rows, empty=empty, links=links)
    return await show_list(visit, shown, by=("currency",))


@page("/tariffs/{plan_id}", tariffs.read_tariff)
async def one_tariff(visit: Visit) -> Answer:
    """Show a tariff's week, its rates, and where it applies."""
    found = await visit.ask(tariffs.read_tariff, plan_id=visit.path["plan_id"])
    plan = typed_json.convert(found, PricePlan)
    used = [each async for each in visit.every(tariffs.list_assignments) if each["plan_id"] == plan.id]
    return visit.show(
        "plan.html",
        200,
        plan=found,
        when={
            (kind, at): _words(rate)
            for kind in KINDS
            if (charge := plan.charge(kind))
            for at, rate in enumerate(charge.rates)
        },
        week=_week(plan, _today(visit, plan), _day(visit.asked("day").get("day", ""))),
        applies=[
            (_where(visit, each), {name: value for name, value in each.items() if name != "plan_id"}) for each in used
        ],
        to=TO,
        names=[each["id"] async for each in visit.every(sites.list_sites)] if visit.may(sites.list_sites) else [],
    )


class ShownWeek(msgspec.Struct, frozen=True):
    """A week of prices: its days with the blocks of each kind, a shade by block's price, hours of the next year without
    a price, other weeks to look at; `by_clock`: whether rates differ by time only."""

    days: Sequence[tuple[date, Mapping[ChargeKind, Sequence[PricedHours]]]]
    shades: Mapping[tuple[ChargeKind, str], int]
    gaps: Sequence[tuple[ChargeKind, Any]]
    fills: Mapping[ChargeKind, str]
    weeks: Sequence[date]
    day: date
    by_clock: bool
    names: Sequence[str] = WEEKDAYS


def _week(plan: PricePlan, today: date, day: date | None = None) -> ShownWeek:
    """Return the week of a day, by default of today."""
    kinds = [each for each in WEEKLY if plan.charge(each) is not None]
    by_kind = {kind: dict(week(plan, kind, day or today)) for kind in kinds}
    days = [each for each, _ in week(plan, "energy", day or today)]
    shades: dict[tuple[ChargeKind, str], int] = {}
    for kind in kinds:
        rates = charge.rates if (charge := plan.charge(kind)) else ()
        steps = sorted({each.micro for each in rates})
        shades |= {(kind, each.price): 1 + steps.index(each.micro) * 3 // max(1, len(steps) - 1) for each in rates}
    found = [(kind, each) for kind in kinds for each in gaps(plan, kind, today)]
    fills = {kind: filling(charge, kind) for kind in kinds if (charge := plan.charge(kind))}
    return ShownWeek(
        [(each, {kind: by_kind[kind][each] for kind in kinds}) for each in days],
        shades,
        found[:_MOST_GAPS],
        {kind: fills[kind] for kind, _ in found},
        weeks(plan, today),
        day or today,
        by_clock(plan),
    )


def _today(visit: Visit, plan: PricePlan) -> date:
    try:
        zone = zone_of(plan.zone)
    except ValueError:
        raise ApiError(400, "there is no such time zone", "such as Europe/Berlin") from None
    return datetime.fromtimestamp(visit.now_ms / 1000, UTC).astimezone(zone).date()


def _day(text: str) -> date | None:
    """Return a day (`2027-01-31`) of the next or last century; None for no text. Raises ApiError."""
    if not text.strip():
        return None
    try:
        found = date.fromisoformat(text.strip())
    except ValueError:
        found = date.min
    if not 2000 <= found.year < 2100:
        raise ApiError(400, f"{text[:40]!r} is not a day", "such as 2027-01-31")
    return found


@page("/tariffs/new", tariffs.make_tariff)
async def new_tariff(visit: Visit) -> Answer:
    """Show an empty form, or one with the prices of a stored plan."""
    values = {"currency": "EUR", "zone": visit.zone_name, "vat": "19", "import_kwh": "30", "charging_min": "60"}
    like = visit.asked("like").get("like")
    if like:
        plan = await visit.find(PricePlan, tariffs.read_tariff, plan_id=like)
        # rates by the clock, the last one without conditions as base
        found = {"currency": plan.currency, "zone": plan.zone, "description": plan.description, "like": plan.id}
        found["closed"] = " ".join(each.isoformat() for each in plan.holidays)
        for name in _PRICES:
            charge = plan.charge(name)
            if charge is None:
                continue
            rates = list(charge.rates)
            if rates[-1].when == When():
                found[name] = rates.pop().price
            for at, rate in enumerate(rates[:_MOST_ROWS] if name in WEEKLY else ()):
                found |= {f"{name}{at}_{column}": text for column, text in _fields(rate).items()}
            if charge.taxes:
                found["vat"] = f"{Decimal(charge.taxes[0].ppm) / 10_000:f}".rstrip("0").rstrip(".")
        values |= found
    return _editor(visit, values)


def _fields(rate: Rate) -> dict[str, str]:
    when = rate.when
    return {
        "price": rate.price,
        "days": "".join(map(str, when.weekdays)),
        "holidays": {None: "", True: "only", False: "never"}[when.holidays],
        "start": _clock(when.from_minute),
        "end": _clock(when.to_minute),
        "first": when.from_day.isoformat() if when.from_day else "",
        "last": (when.to_day - timedelta(days=1)).isoformat() if when.to_day else "",
    }


def _words(rate: Rate) -> list[str]:
    """Return when a rate applies: days, hours, holidays, season, and conditions of use."""
    of = _fields(rate)
    spans = [f"{of[one] or '…'} \u2013 {of[other] or '…'}" for one, other in (("start", "end"), ("first", "last"))]
    some = [DAYS.get(of["days"], of["days"]) if of["days"] else "", spans[0], HOLIDAYS[of["holidays"]], spans[1]]
    known = (of["days"], of["start"] + of["end"], of["holidays"], of["first"] + of["last"])
    use = {name: value for name, value in msgspec.to_builtins(rate.when).items() if name not in CLOCK}
    return [
        *(text for text, there in zip(some, known, strict=True) if there),
        *(f"{name.replace('_', ' ')} {value}" for name, value in use.items()),
    ]


def _clock(minute: int | None) -> str:
    return "" if minute is None else f"{minute // 60:02}:{minute % 60:02}"


def _editor(visit: Visit, values: Mapping[str, str], status: int = 200, **shown: object) -> Answer:
    rows = {kind: [each for each in range(_MOST_ROWS) if _said(values, kind, each)] for kind in WEEKLY}
    for kind, some in rows.items():
        if values.get("do") == f"add-{kind}" and len(some) < _MOST_ROWS:
            some.append(next(each for each in range(_MOST_ROWS) if each not in some))
    context = {"cost": None, "problem": None, "week": None, "before": None, **shown}
    return visit.show("tariff.html", status, values=values, rows=rows, days=DAYS, holidays=HOLIDAYS, **context)


def _said(form: Mapping[str, str], kind: str, row: int) -> bool:
    return any(form.get(f"{kind}{row}_{column}", "").strip() for column in _COLUMNS)


@action("/tariffs", tariffs.make_tariff)
async def make_tariff(visit: Visit) -> Answer:
    """Show the week of these prices and what an example costs by them, or store them as a plan and let it apply."""
    form = {name: text if name in _TEXTS else text.replace(",", ".") for name, text in visit.form.items()}
    do = form.get("do", "")
    for kind in WEEKLY:
        if do == f"fill-{kind}":
            form[kind] = form.get(f"fill_{kind}", "")
    try:
        plan = _plan(form)
        if do.startswith("add-"):
            return _editor(visit, form)
        if do != "store":
            typed = typed_json.convert(plan, PricePlan)
            shown = _week(typed, _today(visit, typed), _day(form.get("day", "")))
            example = _example(form, plan)
            cost = await visit.ask(tariffs.price_example, example)
            before = None
            if form.get("like"):
                other = await visit.ask(tariffs.read_tariff, plan_id=form["like"])
                before = await visit.ask(tariffs.price_example, {**example, "plan": other})
            return _editor(visit, form, cost=cost, before=before, week=shown)
        await visit.ask(tariffs.make_tariff, plan)
        if form.get("everywhere"):
            await visit.ask(tariffs.assign_tariff, {"plan_id": plan["id"]})
        return visit.see(place("tariffs", plan["id"]), "Tariff {plan} is stored.", plan=plan["id"])
    except msgspec.ValidationError as error:
        return _editor(visit, form, 400, problem=ApiError(400, misfit(error, PricePlan)))
    except ApiError as error:  # what was typed stays
        return _editor(visit, form, error.status, problem=error)


def _example(form: Mapping[str, str], plan: Fields) -> Fields:
    """Return the example session of a form. Raises ApiError."""
    found: Fields = {f"{way}_wh": int(_number(form, f"{way}_kwh") * 1000) for way in ("import", "export")}
    found |= {name: int(_number(form, name)) for name in ("charging_min", "idle_min")}
    found["charging_min"] = max(1, found["charging_min"])
    begins = form.get("begins", "").strip()
    if begins:
        try:
            moment = datetime.fromisoformat(begins).replace(tzinfo=zone_of(plan.get("zone", "UTC")))
            found["start_ms"] = int(moment.timestamp() * 1000)
        except (ValueError, OverflowError):
            raise ApiError(400, f"{begins[:40]!r} is not a time", "such as 2027-01-07 17:30") from None
    return {"plan": plan, **found}


@action("/tariffs/assign", tariffs.assign_tariff)
async def assign_tariff(visit: Visit) -> Answer:
    """Let a plan apply to all, a site, a station, a group or a driver."""
    plan_id, to, name = (visit.form.get(each, "").strip() for each in ("plan_id", "to", "name"))
    visit.back = place("tariffs", plan_id)
    if to not in TO or (to and not name):
        raise ApiError(400, "to whom does the tariff apply?", "name a site, a station, a group or a driver")
    body = {"plan_id": plan_id} | ({to: name} if to else {})
    if to == "id_token":
        body["token_type"], _, body["id_token"] = (each.strip() for each in name.partition(" "))
    await visit.ask(tariffs.assign_tariff, body)
    return visit.see(
        visit.back,
        "{plan} applies at {station}." if to else "{plan} applies at every station without one of its own.",
        plan=plan_id,
        station=name,
    )


@action("/tariffs/unassign", tariffs.unassign_tariff)
async def unassign_tariff(visit: Visit) -> Answer:
    """Let a plan apply no longer to one of these."""
    form = visit.form
    visit.back = place("tariffs", form.get("plan_id", ""))
    names = ("station_id", "evse_id", "token_type", "id_token", "site_id", "group_id")
    await visit.ask(tariffs.unassign_tariff, **{name: form[name] for name in names if form.get(name)})
    return visit.see(visit.back, "{plan} no longer applies there.", plan=form.get("plan_id", ""))


def _plan(form: Mapping[str, str]) -> dict[str, object]:
    """Return the plan of a form: prices by the clock, one of each other kind, and one VAT rate. Raises ApiError."""
    plan: dict[str, object] = {name: form.get(name, "").strip() for name in ("id", "currency", "zone", "description")}
    plan["id"] = plan["id"] or ("-" if form.get("do") != "store" else "")
    vat = _number(form, "vat")
    taxes = [{"kind": "VAT", "ppm": int(vat * 10_000)}] if vat else []
    closed = [day for each in form.get("closed", "").replace(",", " ").split() if (day := _day(each))]
    if closed:
        plan["holidays"] = [each.isoformat() for each in sorted(set(closed))]
    for name in _PRICES:
        rates = [_rate(form, name, row) for row in range(_MOST_ROWS) if name in WEEKLY and _said(form, name, row)]
        if form.get("sundays"):
            rates = list(as_sundays(rates))
        if form.get(name, "").strip():
            _number(form, name)
            rates.append(Rate(price=form[name].strip()))
        if rates:
            plan[name] = {"rates": msgspec.to_builtins(rates), "taxes": taxes}
    if not plan["zone"]:
        del plan["zone"]
    return plan


def _rate(form: Mapping[str, str], kind: str, row: int) -> Rate:
    """Return a rate of a form. Raises ApiError."""
    of = {column: form.get(f"{kind}{row}_{column}", "").strip() for column in _COLUMNS}
    _number(form, f"{kind}{row}_price")
    if not of["price"]:
        raise ApiError(400, "a rate needs a price", "or empty its other fields")
    if not set(of["days"]) <= set("0123456") or of["holidays"] not in HOLIDAYS:
        raise ApiError(400, "a rate has days of the week")
    last = _day(of["last"])
    when = When(
        from_minute=_minute(of["start"]),
        to_minute=_minute(of["end"]),
        weekdays=tuple(map(int, of["days"])),
        holidays={"": None, "only": True, "never": False}[of["holidays"]],
        from_day=_day(of["first"]),
        to_day=last + timedelta(days=1) if last else None,
    )
    return Rate(price=of["price"], when=when)


def _minute(text: str) -> int | None:
    """Return a time of day as minutes after midnight; 24:00 is 0, the end of a day. Raises ApiError."""
    hours, colon, minutes = text.partition(":")
    if not text:
        return None
    parts = (hours, minutes if colon else "0")
    if not all(each.isdecimal() and len(each) <= 2 for each in parts) or int(parts[1]) > 59 or int(hours) > 24:
        raise ApiError(400, f"{text[:40]!r} is not a time of day", "such as 17:30")
    return (int(hours) * 60 + int(parts[1])) % 1440


def _number(form: Mapping[str, str], name: str) -> Decimal:
    try:
        found = Decimal(form.get(name, "").strip() or "0")
    except InvalidOperation:
        found = Decimal("NaN")
    if not found.is_finite() or abs(found) > 1_000_000:
        raise ApiError(400, f"{name}: {form[name][:40]!r} is not a number", "such as 0.49")
    return found
