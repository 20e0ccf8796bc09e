"""Configuration templates: how many stations differ, from what and since when; and setting what differs."""

from typing import Final

from csms.console.bulk import Question, Said, ask, picked, sure
from csms.console.listing import Column, Listing, show_list
from csms.console.visit import Visit, action, page, place, segment
from csms.http.pipeline import Answer
from csms.http.problems import ApiError
from csms.station_templates import api, store
from csms.station_templates.rules import StationTemplate, place_of, read_values
from csms.station_templates.work import TemplateOutcome
from v2g import typed_json
from v2g.errors import RefusedError

_SHOWN: Final = 50

TEMPLATES: Final = (
    Column("template", "Template", lambda row: row["id"], href=lambda row: f"/templates/{segment(row['id'])}"),
    Column("differ", "Stations that differ", lambda row: row["differ"], "number", named=True),
    Column("values", "Values", lambda row: len(row["values"]), "number", phone=False),
    Column("for", "For", lambda row: ", ".join((*row["sites"], *row["models"], *row["stations"])) or None),
    Column("version", "Version", lambda row: row["version"], "number", phone=False),
)
STATES: Final = {"differs": "Differs", "not reported": "Not reported", "after its next boot": "After its next boot"}
DRIFT: Final = (
    Column(
        "station", "Station", lambda row: row["station_id"], href=lambda row: f"/stations/{segment(row['station_id'])}"
    ),
    Column("variable", "Variable", lambda row: row["place"]),
    Column("wanted", "Wanted", lambda row: row["wanted"], named=True),
    Column("is", "Is", lambda row: row["actual"], named=True),
    Column("state", "State", lambda row: STATES[row["state"]], "state", phone=False),
    Column("since", "Since", lambda row: row["since_ms"], "time", phone=False),
)


@page("/templates", api.list_station_templates)
async def list_templates(visit: Visit) -> Answer:
    """List configuration templates, with how many stations differ."""
    counts = await visit.services.store.read(store.differing_stations)
    rows = [{**each, "differ": counts.get(each["id"], 0)} async for each in visit.every(api.list_station_templates)]
    empty = "No template yet. One says what variables of stations should be, and shows where they differ."
    may = visit.may(api.put_station_template)
    shown = Listing(title="Templates", columns=TEMPLATES, rows=rows, empty=empty)
    return await show_list(visit, shown, template="templates.html", may=may, found=None, values={})


@action("/templates", api.put_station_template)
async def put_template(visit: Visit) -> Answer:
    """Store a configuration template."""
    form, visit.back = visit.form, place("templates")
    name = form.get("name", "").strip()
    which = {
        kind: [each.strip() for each in form.get(kind, "").split(",") if each.strip()]
        for kind in ("sites", "models", "stations")
    }
    try:
        body: dict[str, object] = {**which, "values": read_values(form.get("values", ""))}
    except RefusedError as error:
        raise ApiError(400, str(error), "such as OCPPCommCtrlr.HeartbeatInterval = 300") from None
    found = await visit.ask(api.put_station_template, body, template_id=name)
    visit.back = place("templates", found["id"])
    return visit.see(visit.back, "The template {name} has version {version}.", name=name, version=found["version"])


@page("/templates/{template_id}", api.read_station_template)
async def one_template(visit: Visit) -> Answer:
    """Show where stations differ from a template."""
    name = visit.path["template_id"]
    found = await visit.ask(api.read_station_template, template_id=name)
    rows = [each async for each in visit.every(api.list_station_drift, template_id=name)]
    may = visit.may(api.apply_station_template)
    texts = [f"{place_of(each)} = {each.value}" for each in typed_json.convert(found, StationTemplate).values]
    which = {kind: ", ".join(found[kind]) for kind in ("sites", "models", "stations")}
    shown = Listing(
        title="Differences",
        columns=DRIFT,
        rows=rows,
        key=lambda row: f"{row['station_id']}/{row['place']}",
        bulk=(f"/templates/{segment(name)}/apply", {"apply": "Set what is wanted …"}) if may else None,
        empty="No station differs, as far as they have reported.",
    )
    count = len({each["station_id"] for each in rows})
    values = {"name": name, "values": "\n".join(texts), **which}
    more = {"may": may, "found": found, "count": count, "values": values}
    return await show_list(visit, shown, by=("variable",), template="templates.html", **more)


@action("/templates/{template_id}/apply", api.apply_station_template)
async def apply_template(visit: Visit) -> Answer:
    """Ask before what differs is set at the chosen stations, and say what has failed."""
    name = visit.path["template_id"]
    visit.back = back = place("templates", name)
    chosen = sorted({each.partition("/")[0] for each in picked(visit)})
    would = await _apply(visit, name, chosen, dry=True)
    if not chosen or not would:
        raise ApiError(409, "no station is chosen that differs", "choose some, by the boxes before them")
    names = [each.station_id for each in would]
    away = [each for each in names if each not in visit.services.connections.connected()]
    effects = [Said("{stations}", {"stations": ", ".join(names[:_SHOWN]) + (" …" if len(names) > _SHOWN else "")})]
    effects.append(Said("Variables that are set: {count}", {"count": str(sum(each.variables for each in would))}))
    effects.append(Said("The station decides; some values hold after its next boot only."))
    effects += [Said("Not connected, so it fails there: {stations}", {"stations": ", ".join(away)})] if away else []
    values = {"template": name, "count": str(len(names))}
    question = Question(
        text="Set what {template} wants at stations: {count}?", values=values, effects=effects, button="Set"
    )
    if not sure(visit, len(names)):
        return ask(visit, question, back, len(names), names)
    outcomes = await _apply(visit, name, names, dry=False)
    failed = [each for each in outcomes if each.state == "failed"]
    if failed:
        done = Said(
            "{done} done, {failed} failed.", {"done": str(len(names) - len(failed)), "failed": str(len(failed))}
        )
        texts = [Said("{subject}: {detail}", {"subject": each.station_id, "detail": each.reason}) for each in failed]
        return ask(visit, question, back, len(failed), [each.station_id for each in failed], [done, *texts])
    return visit.see(back, "{count} stations: done.", count=len(names))


async def _apply(visit: Visit, name: str, stations: list[str], *, dry: bool) -> tuple[TemplateOutcome, ...]:
    body = {"stations": stations, "dry_run": dry}
    return await visit.find(tuple[TemplateOutcome, ...], api.apply_station_template, body, template_id=name)
