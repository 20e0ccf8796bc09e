"""Money: journals in quarantine, tariffs, reports."""

from collections.abc import Mapping
from decimal import Decimal, InvalidOperation
from typing import Final

from litestar import Response

from csms.booking import api as quarantine
from csms.books import api as reports
from csms.console.visit import ROOT, Visit, action, page
from csms.http.operations import Operation
from csms.http.pipeline import Answer
from csms.http.problems import ApiError
from csms.tariffs import api as tariffs
from v2g.energy.price_plan import ChargeKind, PricePlan
from v2g.energy.settlement.rows import csv_text

_PAGE = 50
_QUARANTINE = f"{ROOT}/quarantine"
_PRICES: Final[tuple[ChargeKind, ...]] = ("energy", "export", "charging_time", "idle_time", "fixed")


@page("/quarantine", quarantine.list_quarantine)
async def list_quarantine(visit: Visit) -> Answer:
    """List journals that are not booked, and held transactions."""
    asked = visit.asked("state")
    found, following = await visit.page(quarantine.list_quarantine, limit=_PAGE, **asked, **visit.asked("cursor"))
    return visit.show("quarantine.html", reviews=found, next=following, asked=asked, may=quarantine.release_journal)


@action("/quarantine/{station_id}/{session_id}/release", quarantine.release_journal)
async def release(visit: Visit) -> Answer:
    """Book a journal, or a held transaction."""
    return await _decide(visit, quarantine.release_journal)


@action("/quarantine/{station_id}/{session_id}/reject", quarantine.reject_journal)
async def reject(visit: Visit) -> Answer:
    """Never book a journal or a held transaction."""
    return await _decide(visit, quarantine.reject_journal)


async def _decide(visit: Visit, operation: Operation) -> Answer:
    visit.back = _QUARANTINE
    note = visit.form.get("note", "").strip()
    if not note:
        raise ApiError(400, "a decision needs a note", "why? The audit log keeps it")
    which = {"station": visit.path["station_id"], "session_id": visit.path["session_id"]}
    found = await visit.ask(operation, {"note": note}, **which)
    text = "Session {session}: {state}" if found["kind"] == "journal" else "Transaction {session}: {state}"
    return visit.see(_QUARANTINE, text, session=found["session_id"], state=found["state"])


@page("/tariffs", tariffs.list_tariffs)
async def list_tariffs(visit: Visit) -> Answer:
    """List tariffs, and to whom they apply."""
    found, following = await visit.page(tariffs.list_tariffs, limit=_PAGE, **visit.asked("cursor"))
    used = await visit.ask(tariffs.list_assignments, limit=200)
    return visit.show("tariffs.html", plans=found, next=following, assignments=used)


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
