"""Configuration templates: stored, compared with what stations report, and set."""

from typing import Annotated

import msgspec

from csms.accounts.rules import Permission
from csms.http.call import Call
from csms.http.operations import Page, delete, get, post, put
from csms.http.parameters import Paged, StationId, page_of, pages
from csms.http.problems import existing
from csms.requests.rules import check_own_variables, permission_to_set
from csms.station_templates import store as rows
from csms.station_templates.rules import DriftState, StationTemplate, TemplateBody, TemplateId
from csms.station_templates.work import TemplateOutcome, apply, compare


class WhichDrift(Paged, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Filter for differences."""

    template_id: Annotated[TemplateId | None, msgspec.Meta(description="Only from this template.")] = None
    station_id: Annotated[StationId | None, msgspec.Meta(description="Only of this station.")] = None


class StationDrift(msgspec.Struct, frozen=True, kw_only=True):
    """A variable of a station that is not as a template wants, and since when; `actual` null: not reported."""

    template_id: str
    station_id: str
    place: str
    wanted: str
    actual: str | None
    state: DriftState
    since_ms: int


class ToApply(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Stations to be set, by default all that differ; `dry_run`: say what would be, and set nothing."""

    stations: Annotated[tuple[StationId, ...], msgspec.Meta(max_length=10_000)] = ()
    dry_run: bool = False


_EXAMPLE = {
    "sites": ["north"],
    "values": [{"component": "OCPPCommCtrlr", "variable": "HeartbeatInterval", "value": "300"}],
}


@get("/station-templates", Permission.READ_STATIONS)
async def list_station_templates(call: Call, parameters: Paged) -> Page[StationTemplate]:
    """List configuration templates, by id."""
    return page_of(call, await call.run(rows.templates), parameters, lambda each: each.id)


@get("/station-templates/{template_id}", Permission.READ_STATIONS, problems=(404,))
async def read_station_template(call: Call, template_id: TemplateId) -> StationTemplate:
    """Return one configuration template."""
    return await _template(call, template_id)


@put("/station-templates/{template_id}", Permission.COMMAND_STATIONS, conditional=True, example=_EXAMPLE)
async def put_station_template(call: Call, template_id: TemplateId, body: TemplateBody) -> StationTemplate:
    """Store a configuration template, and compare its stations with it; nothing is set. A change is a new version."""
    name = template_id
    _check(call, body)
    await call.change(
        lambda connection: rows.template(connection, name),
        lambda connection, _before: rows.save_template(connection, name, body),
    )
    found = await _template(call, name)
    await compare(call.services, found)
    return found


@delete("/station-templates/{template_id}", Permission.COMMAND_STATIONS, problems=(404,), conditional=True)
async def delete_station_template(call: Call, template_id: TemplateId) -> None:
    """Delete a configuration template; stations keep their values."""
    await call.remove(
        "template",
        lambda connection: rows.template(connection, template_id),
        lambda connection, before: rows.remove_template(connection, before.id),
    )


@get("/station-drift", Permission.READ_STATIONS)
async def list_station_drift(call: Call, parameters: WhichDrift) -> Page[StationDrift]:
    """List where stations differ from configuration templates, by what they reported last."""
    keys, which = ("template_id", "station_id", "place"), (parameters.template_id, parameters.station_id)
    return await pages(call, parameters, StationDrift, tuple[str, str, str], keys, rows.differing, *which)


@post("/station-templates/{template_id}/apply", Permission.COMMAND_STATIONS, problems=(404,), example={"dry_run": True})
async def apply_station_template(call: Call, template_id: TemplateId, body: ToApply) -> tuple[TemplateOutcome, ...]:
    """Set what differs at stations (B05), and say what became of each."""
    found = await _template(call, template_id)
    _check(call, found)
    return tuple(await apply(call.services, found, body.stations, dry=body.dry_run))


def _check(call: Call, of: TemplateBody) -> None:
    """Refuse values that the caller may not set, or that nobody sets this way."""
    wanted = [each.to_set for each in of.values]
    call.require(permission_to_set(wanted))
    check_own_variables(wanted)


async def _template(call: Call, template_id: str) -> StationTemplate:
    return existing("template", await call.run(rows.template, template_id))
