"""`v2g csms`: who may charge, who may ask, who changed what, and anything else of the API."""

import json as json_
from typing import Annotated, Any

import typer

from cli.csms_show import JsonFlag, Limit, client_of, part, show, show_one
from cli.output import print_json
from v2g.errors import ConfigError

app = typer.Typer()
TokenName = Annotated[str, typer.Argument(metavar="TOKEN", help="Its identifier.")]
TokenType = Annotated[str, typer.Option("--type", help="Its type, such as ISO14443, eMAID, Central.")]


@app.command()
def tokens(
    context: typer.Context,
    group: Annotated[str | None, typer.Option("--group", help="Only members of this group.")] = None,
    limit: Limit = 100,
    json: JsonFlag = False,
) -> None:
    """List who may charge.

    Example: `v2g csms tokens --group fleet-7`
    """
    rows = client_of(context).pages("/tokens", limit, group_id=group)
    columns = {
        "type": "token_type",
        "token": "id_token",
        "status": "status",
        "group": "group",
        "until (UTC)": "until_ms",
    }
    if json:
        show(rows, "", columns, json=True)
        return
    told = ({**row, "group": row["terms"].get("group_id"), "until_ms": row["terms"].get("expires_ms")} for row in rows)
    show(told, "Tokens", columns, json=False)


@app.command()
def allow(
    context: typer.Context,
    token: TokenName,
    kind: TokenType = "Central",
    group: Annotated[str | None, typer.Option("--group", help="In which group.")] = None,
    block: Annotated[bool, typer.Option("--block", help="Block it instead.")] = False,
    json: JsonFlag = False,
) -> None:
    """Let somebody charge, or no more.

    Examples: `v2g csms allow 04A1B2C3 --type ISO14443`, `v2g csms allow 04A1B2C3 --type ISO14443 --block`
    """
    path = f"/tokens/{part(kind)}/{part(token)}"
    if block:
        show_one(client_of(context).ask("PUT", f"{path}/status", {"status": "Blocked"}).body, json=json)
        return
    body: dict[str, Any] = {"terms": {"group_id": group}} if group else {}
    show_one(client_of(context).ask("PUT", path, body).body, json=json)


@app.command("token")
def make_token(
    context: typer.Context,
    name: Annotated[str, typer.Argument(metavar="NAME", help="Whose it is.")],
    role: Annotated[str, typer.Option("--role", help="What they may do, such as viewer or operator.")] = "viewer",
    json: JsonFlag = False,
) -> None:
    """Make a bearer token of the API; it is shown once.

    Example: `v2g csms token console --role viewer`
    """
    made = client_of(context).ask("POST", "/access/tokens", {"name": name, "role": role}).body
    if json:
        print_json(made)
    else:
        typer.echo(made["secret"])


@app.command()
def audit(context: typer.Context, limit: Limit = 50, json: JsonFlag = False) -> None:
    """Tell who changed what, newest first.

    Example: `v2g csms audit --limit 10`
    """
    columns = {
        "when (UTC)": "at_ms",
        "who": "caller",
        "what": "operation",
        "path": "path",
        "status": "status",
        "with": "request",
    }
    show(client_of(context).pages("/audit", limit), "Audit log", columns, json=json)


@app.command()
def request(
    context: typer.Context,
    method: Annotated[str, typer.Argument(metavar="METHOD", help="GET, POST, PUT, PATCH or DELETE.")],
    path: Annotated[str, typer.Argument(metavar="PATH", help="Path of the API, such as /openapi.json.")],
    body: Annotated[str | None, typer.Argument(metavar="[JSON]", help="What it carries.")] = None,
    json: JsonFlag = False,
) -> None:
    """Ask anything of the API.

    Example: `v2g csms request GET /campaigns`
    """
    try:
        content = None if body is None else json_.loads(body)
    except ValueError as error:
        raise ConfigError(f"the body is no JSON: {error}", hint='quote it: \'{"name": "value"}\'') from None
    show_one(client_of(context).ask(method.upper(), path, content).body, json=json)
