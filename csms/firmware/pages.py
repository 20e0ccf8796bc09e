"""Campaigns of updates: their list, one of them with its stations, and what a person decides."""

from collections import Counter
from typing import Final
from urllib.parse import urlencode

from csms.console.listing import INSTALLED, Column, Listing, show_list
from csms.console.visit import Visit, action, page, place
from csms.firmware import api as firmware
from csms.firmware.rules import CampaignPlan, Image
from csms.http.operations import Operation
from csms.http.pipeline import Answer
from csms.http.problems import ApiError
from csms.overview import api as overview
from csms.stations import api as stations
from v2g.typed_json import Fields

_PAGE = 50

CAMPAIGNS: Final = (
    Column("campaign", "Campaign", lambda row: row["name"], href=lambda row: f"/campaigns/{row['campaign_id']}"),
    Column("state", "State", lambda row: row["state"], "state"),
    Column("reason", "Reason", lambda row: row["reason"]),
    Column("begun", "Begun", lambda row: row["created_ms"], "time", phone=False),
    Column("changed", "Changed", lambda row: row["updated_ms"], "time"),
)


@page("/campaigns", firmware.list_campaigns)
async def list_campaigns(visit: Visit) -> Answer:
    """List campaigns, newest first."""
    rows = [each async for each in visit.every(firmware.list_campaigns)]
    empty = "No campaign. Begin one from what is installed where."
    return await show_list(
        visit, Listing(title="Updates", columns=CAMPAIGNS, rows=rows, tab="state", empty=empty, links=INSTALLED)
    )


@page("/campaigns/{campaign_id}", firmware.read_campaign)
async def one_campaign(visit: Visit) -> Answer:
    """Show a campaign's course: how far each cohort is, and the stations that failed."""
    found = await visit.ask(firmware.read_campaign, campaign_id=visit.path["campaign_id"])
    cohorts: dict[int, Counter[str]] = {}
    for each in found["members"]:
        cohorts.setdefault(each["cohort"], Counter())[each["state"]] += 1
    states = [each for each in STATES if any(each in counts for counts in cohorts.values())]
    wrong = [each for each in found["members"] if each["back"] or each["state"] in ("Failed", "Absent")]
    return visit.show(
        "campaign.html",
        found=found,
        cohorts=sorted(cohorts.items()),
        states=states,
        wrong=wrong[:_PAGE],
        wrongs=len(wrong),
    )


STATES = ("Waiting", "Working", "Watched", "Installed", "Failed", "Reverted", "Excluded", "Absent")


_ACTIONS: dict[str, Operation] = {
    "exclude": firmware.exclude_from_campaign,
    "pause": firmware.pause_campaign,
    "resume": firmware.resume_campaign,
    "rollback": firmware.roll_back_campaign,
    "cancel": firmware.cancel_campaign,
}


@action("/campaigns/{campaign_id}/{what}", firmware.pause_campaign)
async def change_campaign(visit: Visit) -> Answer:
    """Pause, resume, take back or cancel a campaign, or leave out stations that have not begun."""
    number, what = visit.path["campaign_id"], visit.path["what"]
    visit.back = place("campaigns", number)
    if what not in _ACTIONS:
        raise ApiError(404, "there is no such action")
    body = {"station_ids": visit.form.get("stations", "").replace(",", " ").split()} if what == "exclude" else None
    found = await visit.ask(_ACTIONS[what], body, campaign_id=number)
    return visit.see(visit.back, "{name}: {state}", name=found["name"], state=found["state"])


_KIND = ("vendor", "model", "firmware")


async def _of_kind(visit: Visit, kind: tuple[str, ...]) -> list[str]:
    """Return the stations of a kind."""
    found = visit.every(stations.list_stations)
    return [each["station_id"] async for each in found if _kind(each) == kind]


def _kind(station: Fields) -> tuple[str, ...]:
    return tuple(station[name] for name in _KIND)


@page("/campaigns/new", firmware.make_campaign)
async def plan_campaign(visit: Visit) -> Answer:
    """Ask for the image of a campaign for the stations of a kind."""
    kind = tuple(visit.request.query_params.get(name, "") for name in _KIND)
    plan = CampaignPlan(image=Image(location=" "))
    about = dict(zip(_KIND, kind, strict=True))
    installed = await visit.ask(overview.read_inventory)
    count = sum(each["number"] for each in installed if _kind(each) == kind)
    return visit.show("campaign_new.html", about=about, count=count, plan=plan)


@action("/campaigns", firmware.make_campaign)
async def begin_campaign(visit: Visit) -> Answer:
    """Begin a campaign for the stations of a kind, in the usual cohorts."""
    form, about = visit.form, {name: visit.form.get(name, "") for name in _KIND}
    visit.back = f"{place('campaigns', 'new')}?{urlencode(about)}"
    images = {name: {"location": form[name].strip()} for name in ("image", "rollback") if form.get(name, "").strip()}
    plan = {**images, "window": form.get("window", "").strip() or None}
    body = {
        "name": form.get("name", "").strip(),
        "plan": plan,
        "station_ids": await _of_kind(visit, tuple(about.values())),
    }
    made = await visit.ask(firmware.make_campaign, body)
    there = place("campaigns", made["campaign_id"])
    return visit.see(there, "{name}: {state}", name=made["name"], state=made["state"])
