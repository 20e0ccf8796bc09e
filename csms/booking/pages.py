"""Money: journals in quarantine, tariffs, reports."""

from collections.abc import Mapping
from decimal import Decimal, InvalidOperation
from typing import Any, Final

from litestar import Response

from csms.booking import api as quarantine
from csms.books import api as reports
from csms.console.bulk import Field, Question, Said, ask, picked, sure
from csms.console.listing import Act, Column, Listing, show_list, show_pages
from csms.console.visit import ROOT, Visit, action, page, segment
from csms.http.pipeline import Answer
from csms.http.problems import ApiError
from csms.tariffs import api as tariffs
from v2g.energy.price_plan import ChargeKind, PricePlan
from v2g.energy.settlement.rows import csv_text

_FEW = 20
_QUARANTINE = f"{ROOT}/quarantine"
_PRICES: Final[tuple[ChargeKind, ...]] = ("energy", "export", "charging_time", "idle_time", "fixed")


REVIEWS: Final = (
    Column("session", "Session", lambda row: row["session_id"]),
    Column("state", "State", lambda row: row["state"], "state"),
    Column("reason", "Reason", lambda row: row["reason"].replace("_", " ")),
    Column("detail", "What is wrong", lambda row: row["detail"]),
    Column(
        "station", "Station", lambda row: row["station_id"], href=lambda row: f"/stations/{segment(row['station_id'])}"
    ),
    Column("begun", "Begun", lambda row: row["begin_ms"], "time", phone=False),
    Column("ended", "Ended", lambda row: row["end_ms"], "time", phone=False),
    Column("due", "Waits until", lambda row: row["due_ms"] if row["state"] == "waiting" else None, "time", phone=False),
    Column(
        "transaction",
        "Transaction",
        lambda row: row["transaction_id"],
        "id",
        lambda row: f"/sessions/{segment(row['station_id'])}/{segment(row['transaction_id'])}",
        phone=False,
    ),
    Column("contradicts", "Contradicts", lambda row: _other(row), phone=False),
    Column("decided", "Decided", lambda row: " ".join(filter(None, (row["decided_by"], row["note"]))), phone=False),
)
STATES: Final = {
    "": "open", "waiting": "waiting", "quarantined": "quarantined", "released": "released", "rejected": "rejected",
}  # fmt: skip
BULK: Final = {"release": "Release …", "reject": "Reject …"}
DECISIONS: Final = {
    "release": (
        quarantine.release_journal,
        "Release {count} sessions?",
        "They are settled, posted and paid like any other.",
        "Release",
    ),
    "reject": (quarantine.reject_journal, "Reject {count} sessions?", "They are never booked.", "Reject"),
}


def _key(row: Mapping[str, Any]) -> str:
    return f"{row['station_id']}/{row['session_id']}"


def _other(row: Mapping[str, Any]) -> str | None:
    """Return which session a review contradicts: its station and EVSE, and its energy (Wh)."""
    other = row.get("contradicts")
    if other is None:
        return None
    energy = f", {other['import_wh'][0]} to {other['import_wh'][1]} Wh" if other["import_wh"] else ""
    return f"{other['session_id']} ({other['station_id']}, EVSE {other['evse_id']}{energy})"


@page("/quarantine", quarantine.list_quarantine)
async def list_quarantine(visit: Visit) -> Answer:
    """List journals that are not booked, and held transactions: those that are open, or of one state."""
    asked = visit.asked("state")
    may = visit.may(quarantine.release_journal)

    def acts(row: Mapping[str, Any]) -> list[Act]:
        fields = {"only": _key(row)}
        return [
            Act("/quarantine/change", label, {**fields, "do": do})
            for do, label in BULK.items()
            if row["state"] == "quarantined"
        ]

    shown = Listing(
        title="On hold",
        columns=REVIEWS,
        asked=asked,
        tab="state",
        tabs={name: (label, None) for name, label in STATES.items()},
        search=False,
        key=_key,
        bulk=("/quarantine/change", BULK) if may else None,
        acts=acts if may else None,
        empty="Nothing waits.",
    )
    return await show_pages(visit, shown, quarantine.list_quarantine, asked)


@action("/quarantine/change", quarantine.release_journal)
async def decide_reviews(visit: Visit) -> Answer:
    """Ask why journals or held transactions are booked, or never are, and decide."""
    visit.back, do = _QUARANTINE, visit.form.get("do", "")
    if do not in DECISIONS:
        raise ApiError(400, "a decision is release or reject")
    operation, text, effect, button = DECISIONS[do]
    found = {_key(each): each async for each in visit.every(quarantine.list_quarantine, state="quarantined")}
    keys = [each for each in picked(visit) if each in found]
    if not keys:
        raise ApiError(409, "no session in quarantine is chosen", "choose some, by the boxes before them")
    effects = [
        Said("{subject}: {detail}", {"subject": key, "detail": _why(found[key])}) for key in keys[:_FEW]
    ]  # fmt: skip
    question = Question(
        text=text,
        values={"count": str(len(keys))},
        effects=[*effects, Said(effect)],
        button=button,
        fields=[Field("note", "Why", required=True)],
        tick=do == "reject",
    )
    note = visit.form.get("note", "").strip()
    if not sure(visit, len(keys)) or not note:
        return ask(visit, question, _QUARANTINE, len(keys), keys)
    failed: dict[str, Said] = {}
    for key in keys:
        station, _, session = key.partition("/")
        try:
            await visit.ask(operation, {"note": note}, station=station, session_id=session)
        except ApiError as error:
            failed[key] = Said("{subject}: {detail}", {"subject": key, "detail": error.detail})
    if failed:
        return ask(visit, question, _QUARANTINE, len(failed), list(failed), list(failed.values()))
    return visit.see(_QUARANTINE, "{count} sessions are decided.", count=len(keys))


def _why(row: Mapping[str, Any]) -> str:
    return " ".join(filter(None, (row["reason"].replace("_", " "), row["detail"], _other(row))))


@page("/tariffs", tariffs.list_tariffs)
async def list_tariffs(visit: Visit) -> Answer:
    """List tariffs, and to whom they apply."""
    plans = [each async for each in visit.every(tariffs.list_tariffs)]
    used = [each async for each in visit.every(tariffs.list_assignments)]
    applies: dict[str, list[str]] = {}
    for each in used:
        applies.setdefault(each["plan_id"], []).append(_where(each))
    rows = [{**each, "applies": ", ".join(applies.get(each["id"], []))} for each in plans]
    empty = "No tariff yet: sessions cost nothing."
    links = {"/tariffs/new": "New tariff"} if visit.may(tariffs.make_tariff) else {}
    shown = Listing(title="Tariffs", columns=TARIFFS, rows=rows, empty=empty, links=links)
    return await show_list(visit, shown, by=("currency",))


def _where(assignment: Mapping[str, Any]) -> str:
    """Return where a plan applies."""
    place = assignment["station_id"] or "everywhere"
    place += f" EVSE {assignment['evse_id']}" if assignment["evse_id"] else ""
    token = f" to {assignment['token_type']} {assignment['id_token']}" if assignment["token_type"] else ""
    return place + token


def _prices(plan: Mapping[str, Any], kind: str) -> str | None:
    """Return the least and the greatest price of a kind."""
    found = sorted({Decimal(each["price"]) for each in plan[kind]["rates"]}) if plan.get(kind) else []
    return " … ".join(f"{each:f}" for each in dict.fromkeys((found[0], found[-1]))) if found else None


TARIFFS: Final = (
    Column("tariff", "Tariff", lambda row: row["id"], href=lambda row: f"/tariffs/{segment(row['id'])}"),
    Column("energy", "Energy, per kWh", lambda row: _prices(row, "energy")),
    Column("export", "Fed back, per kWh", lambda row: _prices(row, "export"), phone=False),
    Column("currency", "Currency", lambda row: row["currency"]),
    Column("applies", "Applies", lambda row: row["applies"]),
    Column("description", "Description", lambda row: row.get("description"), phone=False),
)


@page("/tariffs/{plan_id}", tariffs.read_tariff)
async def one_tariff(visit: Visit) -> Answer:
    """Show a tariff's prices, and where it applies."""
    plan = await visit.ask(tariffs.read_tariff, plan_id=visit.path["plan_id"])
    used = [each async for each in visit.every(tariffs.list_assignments) if each["plan_id"] == plan["id"]]
    return visit.show("plan.html", plan=plan, applies=[_where(each) for each in used])


@page("/tariffs/new", tariffs.make_tariff)
async def new_tariff(visit: Visit) -> Answer:
    """Show an empty form, or one with the prices of a stored plan."""
    values = {"currency": "EUR", "zone": visit.zone_name, "vat": "19", "import_kwh": "30", "charging_min": "60"}
    like = visit.asked("like").get("like")
    if like:
        # the fields of a form from a plan, without its conditions
        plan = await visit.find(PricePlan, tariffs.read_tariff, plan_id=like)
        found = {"currency": plan.currency, "zone": plan.zone, "description": plan.description}
        for name in _PRICES:
            if (charge := plan.charge(name)) is not None:
                found[name] = charge.rates[-1].price
                if charge.taxes:
                    found["vat"] = f"{Decimal(charge.taxes[0].ppm) / 10_000:f}".rstrip("0").rstrip(".")
        values |= found
    return _editor(visit, values)


def _editor(visit: Visit, values: Mapping[str, str], status: int = 200, **shown: object) -> Answer:
    return visit.show("tariff.html", status, values=values, **{"cost": None, "problem": None, **shown})


@action("/tariffs", tariffs.make_tariff)
async def make_tariff(visit: Visit) -> Answer:
    """Show what an example costs by these prices, or store them as a plan and let it apply."""
    form = visit.form
    try:
        plan = _plan(form)
        if form.get("do") != "store":
            wh = {f"{way}_wh": int(_number(form, f"{way}_kwh") * 1000) for way in ("import", "export")}
            minutes = {name: int(_number(form, name)) for name in ("charging_min", "idle_min")}
            minutes["charging_min"] = max(1, minutes["charging_min"])
            cost = await visit.ask(tariffs.price_example, {"plan": plan, **wh, **minutes})
            return _editor(visit, dict(form), cost=cost)
        await visit.ask(tariffs.make_tariff, plan)
        if form.get("everywhere"):
            await visit.ask(tariffs.assign_tariff, {"plan_id": plan["id"]})
        return visit.see(f"{ROOT}/tariffs", "Tariff {plan} is stored.", plan=plan["id"])
    except ApiError as error:  # what was typed stays
        return _editor(visit, dict(form), error.status, problem=error)


@action("/tariffs/assign", tariffs.assign_tariff)
async def assign_tariff(visit: Visit) -> Answer:
    """Let a plan apply to a station, or to all."""
    visit.back = f"{ROOT}/tariffs"
    plan_id, station_id = visit.form.get("plan_id", ""), visit.form.get("station_id", "").strip()
    await visit.ask(tariffs.assign_tariff, {"plan_id": plan_id, "station_id": station_id})
    return visit.see(
        visit.back,
        "{plan} applies at {station}." if station_id else "{plan} applies at every station without one of its own.",
        plan=plan_id,
        station=station_id,
    )


def _plan(form: Mapping[str, str]) -> dict[str, object]:
    """Return the plan of a form: a price of each kind, and one VAT rate. Raises ApiError."""
    plan: dict[str, object] = {name: form.get(name, "").strip() for name in ("id", "currency", "zone", "description")}
    vat = _number(form, "vat")
    taxes = [{"kind": "VAT", "ppm": int(vat * 10_000)}] if vat else []
    for name in _PRICES:
        if form.get(name, "").strip():
            _number(form, name)
            plan[name] = {"rates": [{"price": form[name].strip()}], "taxes": taxes}
    if not plan["zone"]:
        del plan["zone"]
    return plan


def _number(form: Mapping[str, str], name: str) -> Decimal:
    try:
        found = Decimal(form.get(name, "").strip() or "0")
    except InvalidOperation:
        found = Decimal("NaN")
    if not found.is_finite() or abs(found) > 1_000_000:
        raise ApiError(400, f"{name}: {form[name][:40]!r} is not a number", "such as 0.49")
    return found


@page("/reports", reports.report_transactions)
async def show_report(visit: Visit) -> Answer:
    """Show energy and money by month, day, site, station, token or tariff."""
    asked = {"by": "month", **visit.asked("by", "from_day", "to_day")}
    found, following = await visit.page(reports.report_transactions, limit=200, **asked, **visit.asked("cursor"))
    return visit.show("reports.html", sums=found, next=following, asked=asked)


@page("/reports/table.csv", reports.report_transactions)
async def download_report(visit: Visit) -> Answer:
    """Send a report as CSV, whole."""
    asked = {"by": "month", **visit.asked("by", "from_day", "to_day")}
    lines = [each async for each in visit.every(reports.report_transactions, **asked)]
    names = tuple(reports.TransactionSum.__struct_fields__)
    text = csv_text(names, *([each[name] for name in names] for each in lines))
    headers = {"Content-Disposition": f'attachment; filename="report-by-{asked["by"]}.csv"'}
    return Response(text.encode(), media_type="text/csv", headers=headers)
