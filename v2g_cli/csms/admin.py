"""`v2g csms`: tokens, API access, the audit log, and any other request of the API."""

import json as json_
from typing import Annotated, Any

import typer

from v2g.errors import ConfigError, RefusedError
from v2g_cli.csms.client import CsmsClient
from v2g_cli.csms.commands import moment_of
from v2g_cli.csms.show import JsonFlag, client_of, part, show_one
from v2g_cli.output import write_bytes

app = typer.Typer()
TokenName = Annotated[str, typer.Argument(metavar="TOKEN", help="Identifier of the token.")]
TokenType = Annotated[str, typer.Option("--type", help="Token type, such as ISO14443, eMAID, Central.")]


@app.command()
def allow(
    context: typer.Context,
    token: TokenName,
    kind: TokenType = "Central",
    group: Annotated[str | None, typer.Option("--group", help="Group of the token.")] = None,
    until: Annotated[str | None, typer.Option("--until", help="Valid until this day or time (ISO 8601, UTC).")] = None,
    block: Annotated[bool, typer.Option("--block", help="Block the token instead.")] = False,
    json: JsonFlag = False,
) -> None:
    """Allow or block a token. Omitted settings are kept.

    Examples: `v2g csms allow 04A1B2C3 --type ISO14443 --until 2027-01-01`,
    `v2g csms allow 04A1B2C3 --type ISO14443 --block`
    """
    client, path = client_of(context), f"/tokens/{part(kind)}/{part(token)}"
    if block:
        show_one(client.ask("PUT", f"{path}/status", {"status": "Blocked"}).body, json=json)
        return
    terms = {"group_id": group, "expires_ms": None if until is None else moment_of(until, ends=True)}
    known = _known(client, path)
    known["terms"] = known.get("terms", {}) | {name: value for name, value in terms.items() if value is not None}
    show_one(client.ask("PUT", path, known | {"status": "Accepted"}).body, json=json)


def _known(client: CsmsClient, path: str) -> dict[str, Any]:
    """Return the modifiable settings of a token, none for a new one."""
    try:
        found = client.ask("GET", path).body
    except RefusedError as error:
        if error.reason != "404":
            raise
        return {}
    return {name: found[name] for name in ("terms", "energy_transfer")}


@app.command()
def request(
    context: typer.Context,
    method: Annotated[str, typer.Argument(metavar="METHOD", help="GET, POST, PUT, PATCH or DELETE.")],
    path: Annotated[str, typer.Argument(metavar="PATH", help="API path, such as /openapi.json.")],
    body: Annotated[str | None, typer.Argument(metavar="[JSON]", help="Request body.")] = None,
    json: JsonFlag = False,
) -> None:
    """Send any request to the API.

    Example: `v2g csms request GET /campaigns`
    """
    try:
        content = None if body is None else json_.loads(body)
    except ValueError as error:
        raise ConfigError(f"the body is not JSON: {error}", hint='quote it: \'{"name": "value"}\'') from None
    found = client_of(context).ask(method.upper(), path, content).body
    if isinstance(found, bytes):  # a route with another format, such as /metrics
        write_bytes(found)
    else:
        show_one(found, json=json)
