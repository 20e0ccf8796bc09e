"""`v2g csms books`: the operator's key, and what it has signed."""

import os
from pathlib import Path
from typing import Annotated

import typer

from v2g_cli.csms.billing import AtStation, Session
from v2g_cli.csms.show import JsonFlag, client_of, part, show_one
from v2g_cli.output import open_new, write_bytes

app = typer.Typer(no_args_is_help=True, help="The operator's key, and what it has signed.")


@app.command()
def key(
    context: typer.Context,
    out: Annotated[Path | None, typer.Option("--out", "-o", metavar="FILE", help="New file.")] = None,
) -> None:
    """Write the public half of the operator's key (PEM), which `v2g settle verify --operator` needs.

    Example: `v2g csms books key --out operator.pem`
    """
    pem = client_of(context).ask("GET", "/books/key").body or b""
    if out is None:
        write_bytes(pem)
        return
    with os.fdopen(open_new(out, hint="name another file"), "wb") as file:
        file.write(pem)


@app.command()
def sign(context: typer.Context, session: Session, station: AtStation = None, json: JsonFlag = False) -> None:
    """Sign the corrections that a session has: those of earlier versions, or of a key that was replaced.

    Example: `v2g csms books sign 0A1B2C3D4E5F6071`
    """
    found = client_of(context).ask("POST", f"/settlements/{part(session)}/corrections/sign", station=station).body
    show_one(found, json=json)
