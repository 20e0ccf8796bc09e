"""`v2g csms tariffs`: price plans, where they apply, and what an example session costs by one."""

from pathlib import Path
from typing import Annotated, Any

import typer

from v2g.errors import ConfigError, TrustError
from v2g_cli.csms.client import CsmsClient
from v2g_cli.csms.declared import tariffs
from v2g_cli.csms.show import JsonFlag, Limit, client_of, part, show, show_one
from v2g_cli.output import print_json, read_text, say

Tariff = Annotated[str, typer.Argument(metavar="TARIFF", help="Its name (id).")]
TariffFile = Annotated[Path, typer.Argument(metavar="FILE", help="JSON, TOML or YAML file with a tariff.")]

_MOST = 10_000
_PRICES = ("energy", "export", "charging_time", "idle_time", "fixed")


@tariffs.command("list")
def list_(context: typer.Context, limit: Limit = 100, json: JsonFlag = False) -> None:
    """List tariffs, and where they apply.

    Example: `v2g csms tariffs list`
    """
    client = client_of(context)
    applies = {} if json else _applies(client)

    def shown(plan: dict[str, Any]) -> dict[str, Any]:
        prices = {name: ", ".join(each["price"] for each in plan[name]["rates"]) for name in _PRICES if name in plan}
        return plan | prices | {"applies": ", ".join(applies.get(plan["id"], ()))}

    columns = {
        "tariff": "id",
        "currency": "currency",
        "per kWh": "energy",
        "per kWh fed back": "export",
        "per min charging": "charging_time",
        "per min idle": "idle_time",
        "per session": "fixed",
        "applies at": "applies",
        "description": "description",
    }
    show(client.pages("/tariffs", limit), "Tariffs, without tax", columns, json=json, present=shown)


def _applies(client: CsmsClient) -> dict[str, list[str]]:
    """Return where each tariff applies, nothing for a role that sees tariffs only for its sites."""
    found: dict[str, list[str]] = {}
    try:
        for each in client.pages("/tariff-assignments", _MOST):
            station = each["station_id"] or "every station"
            where = station + (f"/{each['evse_id']}" if each["evse_id"] else "")
            whose = f" for {each['id_token'] or each['token_type']}" if each["token_type"] else ""
            found.setdefault(each["plan_id"], []).append(where + whose)
    except TrustError:
        return {}
    return found


@tariffs.command("set")
def set_(
    context: typer.Context,
    file: TariffFile,
    station: Annotated[str | None, typer.Option("--station", help="Let it apply at this station.")] = None,
    everywhere: Annotated[
        bool, typer.Option("--everywhere", help="Let it apply at every station without a tariff of its own.")
    ] = False,
    json: JsonFlag = False,
) -> None:
    """Store a tariff. It never changes afterwards: new prices are a new tariff, which is set where the old one applied.

    Examples: `v2g csms tariffs set summer.toml --everywhere`, `v2g csms tariffs set depot.json --station CS-1`
    """
    if everywhere and station is not None:
        raise ConfigError("give --station or --everywhere")
    plan = _read(file)
    client = client_of(context)
    stored = client.ask("POST", "/tariffs", plan).body
    if everywhere or station is not None:
        client.ask("PUT", "/tariff-assignments", {"plan_id": stored["id"], "station_id": station or ""})
    show_one(stored, json=json)


@tariffs.command()
def price(
    context: typer.Context,
    tariff: Annotated[str | None, typer.Argument(metavar="[TARIFF]", help="Name of a stored tariff.")] = None,
    file: Annotated[Path | None, typer.Option("--file", help="A tariff that is not stored: JSON, TOML, YAML.")] = None,
    import_kwh: Annotated[float, typer.Option("--import-kwh", min=0, max=10_000, help="Energy taken.")] = 30,
    export_kwh: Annotated[float, typer.Option("--export-kwh", min=0, max=10_000, help="Energy fed back.")] = 0,
    charging_min: Annotated[int, typer.Option("--charging-min", min=1, max=10_000, help="Minutes of charging.")] = 60,
    idle_min: Annotated[int, typer.Option("--idle-min", min=0, max=10_000, help="Minutes idle after that.")] = 0,
    json: JsonFlag = False,
) -> None:
    """Show what a session that begins now would cost, with and without tax, as the console's editor does.

    Examples: `v2g csms tariffs price day-night --import-kwh 40`, `v2g csms tariffs price --file summer.toml`
    """
    if (tariff is None) == (file is None):
        raise ConfigError("give the name of a tariff, or --file")
    client = client_of(context)
    session = {
        "plan": client.ask("GET", f"/tariffs/{part(tariff or '')}").body if file is None else _read(file),
        "import_wh": round(import_kwh * 1000),
        "export_wh": round(export_kwh * 1000),
        "charging_min": charging_min,
        "idle_min": idle_min,
    }
    found = client.ask("POST", "/tariffs/example", session).body
    if json:
        print_json(found)
        return
    columns = {
        "for": "kind",
        "quantity": "quantity",
        "price": "price",
        "without tax": "excl_tax",
        "with tax": "incl_tax",
    }
    show(found["lines"], "Cost of the example", columns, json=False)
    say(f"{found['incl_tax']} {found['currency']} with tax, {found['excl_tax']} without")


def _read(file: Path) -> dict[str, Any]:
    """Return the tariff of a file, checked. Raises ConfigError."""
    import msgspec

    from v2g.config import parse_config
    from v2g.energy.price_plan import PricePlan

    found: dict[str, Any] = msgspec.to_builtins(parse_config(read_text(file), PricePlan, name=str(file)))
    return found
