"""`v2g csms campaigns` and `v2g csms inventory`: updates of a fleet, drills, and what is installed where."""

import bisect
import json as json_
import math
import time
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Final

import msgspec
import typer

from v2g.errors import CodecError, ConfigError, TrustError
from v2g.svg_chart import Row, Series, stairs_chart
from v2g.typed_json import Fields
from v2g.units import DAY_MS
from v2g_cli.csms.client import CsmsClient
from v2g_cli.csms.declared import campaigns
from v2g_cli.csms.show import JsonFlag, client_of, columns_of, show
from v2g_cli.options import with_option_groups
from v2g_cli.output import print_json, print_table, read_file, say, tell, write_new

if TYPE_CHECKING:
    from v2g.io.advisories import Affected, Database

Number = Annotated[int, typer.Argument(metavar="CAMPAIGN", help="Number of a campaign.", min=0)]
PlanFile = Annotated[Path, typer.Argument(metavar="PLAN", help="JSON file with the plan.")]


class ChosenStations(msgspec.Struct, frozen=True):
    """Stations of a new campaign."""

    station: Annotated[list[str] | None, typer.Option("--station", help="A station; may be repeated.")] = None
    model: Annotated[str | None, typer.Option("--model", help="Only stations of this model.")] = None
    firmware: Annotated[str | None, typer.Option("--firmware", help="Only stations with this version.")] = None
    every: Annotated[bool, typer.Option("--all", help="Every station of the back end.")] = False


class Target(msgspec.Struct, frozen=True):
    """What a campaign has to reach, how long to wait for it, and where to report."""

    wait: Annotated[float, typer.Option("--wait", min=0, help="Seconds to wait for the end of the campaign.")] = 0.0
    share: Annotated[float, typer.Option("--share", min=0.01, max=1, help="Share of the stations to reach.")] = 0.95
    days: Annotated[float, typer.Option("--days", min=0.001, help="Days in which to reach it.")] = 30.0
    out: Annotated[Path | None, typer.Option("--out", "-o", metavar="FILE", help="New file for the report, JSON.")] = (
        None
    )


_LOOK_S: Final = 2.0
_OVER: Final = ("Halted", "Finished", "Cancelled")
_LONGEST: Final = 45 * 60_000
"""What an update should last at most, ms (R142)."""
_STEPS: Final = 300


@campaigns.command("show")
def show_campaign(
    context: typer.Context,
    number: Number,
    chart: Annotated[Path | None, typer.Option("--chart", metavar="FILE", help="Write its course (SVG).")] = None,
    json: JsonFlag = False,
) -> None:
    """Show a campaign and the progress of each station.

    Examples: `v2g csms campaigns show 7`, `v2g csms campaigns show 7 --chart course.svg`
    """
    found = client_of(context).ask("GET", f"/campaigns/{number}").body
    if chart is not None:
        write_new(chart, course(found, _now_ms()))
    if json:
        print_json(found)
        return
    reason = f": {found['reason']}" if found["reason"] else ""
    say(f"{found['name']}: {found['state']}{reason}")
    columns = columns_of("station: station_id, cohort, state, status, attempts, begun_ms, installed_ms")

    def shown(row: dict[str, object]) -> Fields:
        return {**row, "begun_ms": row["begun_ms"] or None, "installed_ms": row["installed_ms"] or None}

    show(found["members"], "Stations", columns, json=False, present=shown)


@campaigns.command()
@with_option_groups
def create(
    context: typer.Context,
    name: Annotated[str, typer.Argument(metavar="NAME", help="Name of the campaign.")],
    plan: PlanFile,
    which: ChosenStations,
    json: JsonFlag = False,
) -> None:
    """Begin a campaign with the plan of a file.

    Examples: `v2g csms campaigns create 1.4 plan.json --all`,
    `v2g csms campaigns create 1.4 plan.json --model DC-50 --firmware 1.3.0`
    """
    client = client_of(context)
    chosen = _chosen(client, which)
    made = _create(client, name, plan, chosen)
    tell(made, f"campaign {made['campaign_id']}: {len(chosen)} stations", json=json)


def _create(client: CsmsClient, name: str, plan: Path, stations: Sequence[str]) -> Fields:
    try:
        document = json_.loads(read_file(plan, hint="name a file with the plan"))
    except (ValueError, RecursionError) as error:
        raise ConfigError(
            f"{plan}: not JSON: {error}", hint='at least {"image": {"location": "https://..."}}'
        ) from None
    made: dict[str, object] = client.ask(
        "POST", "/campaigns", {"name": name, "plan": document, "station_ids": list(stations)}
    ).body
    return made


def _chosen(client: CsmsClient, which: ChosenStations) -> list[str]:
    """Return the stations that options name."""
    several = which.every or which.model or which.firmware
    if which.station and not several:
        return which.station
    if which.station or not several:
        raise ConfigError("which stations?", hint="--station names each; or --all, --model, --firmware")
    return [
        each["station_id"]
        for each in client.pages("/stations", 100_000)
        if which.model in (None, each["model"]) and which.firmware in (None, each["firmware"])
    ]


# -- drills


@campaigns.command()
@with_option_groups
def drill(
    context: typer.Context,
    name: Annotated[str, typer.Argument(metavar="NAME", help="Name of the campaign.")],
    plan: PlanFile,
    which: ChosenStations,
    target: Target,
    json: JsonFlag = False,
) -> None:
    """Exercise a recall: begin a campaign, and report how long it takes to reach the fleet.

    The exit code is 1 if too few stations were reached in time. `report` continues after `--wait`.

    Example: `v2g csms campaigns drill "recall 2026 Q4" plan.json --all --wait 3600 --out drill.json`
    """
    client = client_of(context)
    made = _create(client, name, plan, _chosen(client, which))
    _report(client, made["campaign_id"], target, json=json)


@campaigns.command()
@with_option_groups
def report(context: typer.Context, number: Number, target: Target, json: JsonFlag = False) -> None:
    """Report how long a campaign took to reach the fleet: time to patch, share reached, duration of an update.

    The exit code is 1 if too few stations were reached in time.

    Example: `v2g csms campaigns report 7 --out drill.json`
    """
    _report(client_of(context), number, target, json=json)


def _report(client: CsmsClient, number: int, target: Target, *, json: bool) -> None:
    until_s = time.monotonic() + target.wait
    found = client.ask("GET", f"/campaigns/{number}").body
    while found["state"] not in _OVER and (left_s := until_s - time.monotonic()) > 0:
        time.sleep(min(_LOOK_S, left_s))
        found = client.ask("GET", f"/campaigns/{number}").body
    result = recall_report(found, _now_ms(), share=target.share, days=target.days)
    if target.out is not None:
        write_new(target.out, json_.dumps(result, indent=2) + "\n")
    if json:
        print_json(result)
    else:
        for field, value in result.items():
            say(f"{field.replace('_', ' ')}: {'-' if value is None else value}")
    if result["verdict"] == "missed":
        raise typer.Exit(1)


def recall_report(campaign: Fields, now_ms: int, *, share: float, days: float) -> Fields:
    """Return what a campaign achieved (R142).

    Times to patch are from its begin until so many of its stations, excluded ones left out, had installed the image and
    were well. The verdict is `met`, `missed`, or `open` while there is time.
    """
    members = [each for each in campaign["members"] if each["state"] != "Excluded"]
    begun_ms = campaign["created_ms"]
    done_ms = sorted(each["installed_ms"] for each in members if each["state"] == "Installed")
    lasted = sorted(each["installed_ms"] - each["begun_ms"] for each in members if each["installed_ms"])

    def hours(part: float) -> float | None:
        number = max(1, math.ceil(part * len(members) - 1e-9))
        return round((done_ms[number - 1] - begun_ms) / 3_600_000, 3) if number <= len(done_ms) else None

    end_ms = begun_ms + round(days * DAY_MS)
    reached = bisect.bisect_right(done_ms, end_ms)
    enough = bool(members) and reached >= share * len(members) - 1e-9
    over = now_ms > end_ms or campaign["state"] in _OVER
    return {
        "campaign": campaign["campaign_id"],
        "name": campaign["name"],
        "state": campaign["state"],
        "reason": campaign["reason"],
        "stations": len(members),
        "excluded": len(campaign["members"]) - len(members),
        "reached": len(done_ms),
        "share_reached": round(len(done_ms) / len(members), 4) if members else 0.0,
        "failed": sum(each["state"] == "Failed" for each in members),
        "went_back": sum(each["state"] == "Reverted" for each in members),
        "time_to_patch_50_percent_h": hours(0.5),
        "time_to_patch_95_percent_h": hours(0.95),
        "time_to_patch_all_h": hours(1.0),
        "update_median_min": round(lasted[len(lasted) // 2] / 60_000, 2) if lasted else None,
        "update_longest_min": round(lasted[-1] / 60_000, 2) if lasted else None,
        "updates_over_45_min": sum(each > _LONGEST for each in lasted),
        "target_share": share,
        "target_days": days,
        "verdict": "met" if enough else "missed" if over else "open",
    }


def course(campaign: Fields, now_ms: int) -> str:
    """Return the course of a campaign as a picture, SVG."""
    members = campaign["members"]
    first_ms, end_ms = campaign["created_ms"], now_ms if campaign["state"] not in _OVER else campaign["updated_ms"]
    last_ms = max(first_ms + 60_000, end_ms, *(each["updated_ms"] for each in members))
    edges = [first_ms + (last_ms - first_ms) * step // _STEPS for step in range(_STEPS + 1)]

    def until(times_ms: Iterable[int]) -> list[float | None]:
        """Return how many there were at the end of each step."""
        found = sorted(each for each in times_ms if each)
        return [bisect.bisect_right(found, edge) for edge in edges[1:]]

    def in_state(state: str) -> list[float | None]:
        return until(each["updated_ms"] for each in members if each["state"] == state)

    rows = (
        Row(
            "stations",
            (
                Series("blue", "begun", until(each["begun_ms"] for each in members)),
                Series("green", "installed", until(each["installed_ms"] for each in members)),
            ),
        ),
        Row(
            "in trouble",
            (Series("red", "failed", in_state("Failed")), Series("orange", "went back", in_state("Reverted"))),
        ),
    )
    label = f"campaign {campaign['name']} over {len(members)} stations: {campaign['state']}"
    return stairs_chart(label, edges, rows)


def _now_ms() -> int:
    return round(time.time() * 1000)


# -- inventory


class Installed(msgspec.Struct, frozen=True, kw_only=True):
    """Firmware of a station, or of a vehicle's part or a node, where `model` is the kind of hardware; `number` of its
    release, and the newer one that `failed`. `where`: the one that has it; else `count` have it. `flaws`: known."""

    part: str
    vendor: str = ""
    model: str
    firmware: str
    number: int | None = None
    failed: int | None = None
    where: str = ""
    count: int = 1
    flaws: tuple[str, ...] | None = None


def inventory(
    context: typer.Context,
    advisories: Annotated[
        Path | None, typer.Option("--advisories", metavar="FILE", help="Known flaws, as in deploy/advisories.")
    ] = None,
    each_place: Annotated[
        bool, typer.Option("--each", help="A row for each station, gateway, vehicle and node.")
    ] = False,
    csv: Annotated[bool, typer.Option("--csv", help="Comma-separated values.")] = False,
    limit: Annotated[int, typer.Option("--limit", min=1, help="Maximum number of stations, and of parts.")] = 100_000,
    json: JsonFlag = False,
) -> None:
    """List what is installed in stations, gateways, vehicles and nodes, with known flaws from a file of advisories.

    Firmware of a station is the package VENDOR/MODEL of the ecosystem `generic`; that of others is the
    package HARDWARE, its version the number of the release. The exit code is 1 if there are flaws.

    Examples: `v2g csms inventory`, `v2g csms inventory --each --csv`,
    `v2g csms inventory --advisories advisories.jsonl`
    """
    known = None
    if advisories is not None:
        from v2g.io.advisories import read_database  # on demand: few need it

        try:
            known = read_database(read_file(advisories, hint="name a file of advisories"))
        except CodecError as error:
            raise ConfigError(f"{advisories}: {error}", hint="see deploy/advisories/advisories.jsonl") from None
    client = client_of(context)
    reads = {
        "stations": ("/stations", _of_station),
        "vehicles": ("/vehicle-firmware", _of_vehicle),
        "nodes": ("/node-firmware", _of_node),
    }
    lists = {name: client.pages(path, limit) for name, (path, _) in reads.items()}
    places, refused = list[Installed](), dict[str, TrustError]()
    for name, rows in lists.items():
        try:
            places += map(reads[name][1], rows)
        except TrustError as error:  # operators read stations, fleets their vehicles
            refused[name] = error
    if len(refused) == len(lists):
        raise refused["stations"]
    for name, why in refused.items():
        say(f"without {name}: {why}", err=True)
    found = list(installed(places, known, each_place=each_place))
    columns = ["part"] + ["where"] * each_place + ["vendor", "model", "firmware", "number", "failed"]
    columns += ["count"] * (not each_place) + ["flaws"] * (known is not None)
    table = [tuple(_cell(getattr(each, name)) for name in columns) for each in found]
    if json:
        for each in found:
            print_json({name: getattr(each, name) for name in columns})
    elif csv:
        from v2g.energy.settlement.rows import csv_text  # on demand

        for row in [tuple(columns), *table]:
            say(csv_text(row).removesuffix("\r\n"))
    elif table:
        print_table("Inventory", tuple(columns), table)
    for name, rows in lists.items():
        if rows.cut:
            say(f"only the first {limit} of {name}", err=True)
    if any(each.flaws for each in found):
        raise typer.Exit(1)


def _of_station(row: Fields) -> Installed:
    said = {name: row[name] for name in ("vendor", "model", "firmware")}
    return Installed(part="station", where=row["station_id"], **said)


def _of_vehicle(row: Fields) -> Installed:
    said = {name: row[name] for name in ("part", "number", "failed")}
    return Installed(model=row["hardware"], firmware=row["version"], where=row["ev"], **said)


def _of_node(row: Fields) -> Installed:
    said = {name: row[name] for name in ("number", "failed")}
    return Installed(part="node", model=row["hardware"], firmware=row["version"], where=row["node"], **said)


def installed(places: Iterable[Installed], known: "Database | None", *, each_place: bool) -> Iterable[Installed]:
    """Yield what is installed, that of stations first, the most frequent first, or that of each place."""
    having: dict[Installed, list[str]] = {}
    for each in places:
        having.setdefault(msgspec.structs.replace(each, where=""), []).append(each.where)
    for about, names in sorted(having.items(), key=lambda item: _order(*item)):
        package, version = about.model, str(about.number)
        if about.part == "station":
            package, version = f"{about.vendor}/{about.model}", about.firmware
        flaws = None if known is None else tuple(_flaws(known, package, version))
        if each_place:
            yield from (msgspec.structs.replace(about, where=name, flaws=flaws) for name in names)
        else:
            yield msgspec.structs.replace(about, count=len(names), flaws=flaws)


def _order(about: Installed, names: Sequence[str]) -> tuple[object, ...]:
    """Return what sorts rows: stations first, then by how many there are."""
    kind = about.vendor, about.model, about.firmware, about.number or 0, about.failed or 0
    return about.part != "station", -len(names), about.part, *kind


def _flaws(known: "Database", package: str, version: str) -> Iterable[str]:
    from v2g.io.advisories import affects

    def concerns(each: "Affected") -> bool:
        return each.package is not None and each.package.key == ("generic", package) and affects(each, version)

    for advisory in known.advisories:
        if advisory.withdrawn is None and any(map(concerns, advisory.affected)):
            yield advisory.id


def _cell(value: object) -> str:
    return " ".join(value) if isinstance(value, tuple) else "" if value is None else str(value)
