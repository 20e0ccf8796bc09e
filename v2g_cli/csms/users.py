"""`v2g csms users`: people who log in to the console."""

from typing import Annotated, Any

import typer

from v2g_cli.csms.show import JsonFlag, Limit, OnlySites, client_of, part, show, show_one
from v2g_cli.output import print_json, say

app = typer.Typer(help="People who log in to the console.", no_args_is_help=True)
UserName = Annotated[str, typer.Argument(metavar="NAME", help="Name at the login, in lower case.")]


@app.command("list")
def list_users(context: typer.Context, limit: Limit = 100, json: JsonFlag = False) -> None:
    """List who may log in.

    Example: `v2g csms users list`
    """
    columns = {
        "name": "name",
        "role": "role",
        "sites": "sites",
        "second factor": "second_factor",
        "last login (UTC)": "login_ms",
    }
    show(client_of(context).pages("/access/users", limit), "Users", columns, json=json)


@app.command()
def add(
    context: typer.Context,
    name: UserName,
    role: Annotated[str, typer.Option("--role", help="Role, such as viewer or operator.")] = "viewer",
    site: OnlySites = None,
    json: JsonFlag = False,
) -> None:
    """Let a person log in; prints a password, to be changed at the first login.

    Example: `v2g csms users add ada --role operator --site depot`
    """
    _issued(
        client_of(context).ask("POST", "/access/users", {"name": name, "role": role, "sites": site}).body, json=json
    )


@app.command()
def reset(context: typer.Context, name: UserName, json: JsonFlag = False) -> None:
    """Issue another password, and remove the second factor; sessions end.

    Example: `v2g csms users reset ada`
    """
    _issued(client_of(context).ask("POST", f"/access/users/{part(name)}/reset").body, json=json)


@app.command("role")
def set_role(
    context: typer.Context,
    name: UserName,
    role: Annotated[str, typer.Argument(metavar="ROLE", help="Role, such as viewer or operator.")],
    site: OnlySites = None,
    json: JsonFlag = False,
) -> None:
    """Give a person another role, of all sites or some, at once.

    Example: `v2g csms users role ada installer`
    """
    body = {"role": role, "sites": site}
    show_one(client_of(context).ask("PUT", f"/access/users/{part(name)}/role", body).body, json=json)


@app.command()
def remove(context: typer.Context, name: UserName) -> None:
    """Remove a person; sessions end.

    Example: `v2g csms users remove ada`
    """
    client_of(context).ask("DELETE", f"/access/users/{part(name)}")


def _issued(made: Any, *, json: bool) -> None:
    if json:
        print_json(made)
    else:
        say(made["password"])
