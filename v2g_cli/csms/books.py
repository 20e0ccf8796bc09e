"""`v2g csms books`: the operator's key, and what it has signed."""

import asyncio
import os
import sys
from pathlib import Path
from typing import Annotated, Any

import typer

from v2g.errors import RefusedError, VerificationError
from v2g_cli.csms.billing import AtStation, Session
from v2g_cli.csms.show import JsonFlag, client_of, part, show_one
from v2g_cli.output import open_new, print_json, say, write_bytes

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
    """Sign the journal and corrections that a session has: those of earlier versions, or of a key that was replaced.

    The operator answers for them from then on: look at them first.

    Example: `v2g csms books sign 0A1B2C3D4E5F6071`
    """
    found = client_of(context).ask("POST", f"/settlements/{part(session)}/corrections/sign", station=station).body
    show_one(found, json=json)


@app.command()
def verify(context: typer.Context, json: JsonFlag = False) -> None:
    """Recompute the books from journals, and verify digests and signatures of closed months; exit code 9 for a finding.

    Example: `v2g csms books verify`
    """
    client = client_of(context)
    found = checked = 0
    for each in client.ask("GET", "/books/audit/periods").body:
        found += 1
        _tell(each, f"period {each['period']}: {each['finding']}", json=json)
    for each in client.pages("/books/audit/sessions", sys.maxsize):
        checked, found = checked + 1, found + len(each["findings"])
        for text in each["findings"]:
            _tell(each, f"session {each['session_id']} of {each['station_id']}: {text}", json=json)
    if found:
        raise VerificationError(f"{found} findings in {checked} sessions and all months", where="books")
    if not json:
        say(f"{checked} sessions follow from their journals, and all months hold")


def _tell(record: Any, text: str, *, json: bool) -> None:
    if json:
        print_json(record)
    else:
        say(text)


@app.command()
def anchor(
    context: typer.Context,
    period: Annotated[str, typer.Argument(metavar="YYYY-MM", help="A closed month.")],
    timestamp: Annotated[str, typer.Option("--timestamp", metavar="URL", help="A time-stamp authority (RFC 3161).")],
    out: Annotated[Path, typer.Option("--out", "-o", metavar="FILE", help="New file: its answer (DER).")],
) -> None:
    """Have an authority time-stamp the digest of a closed month, and keep its answer outside the back end.

    `openssl ts -verify -digest DIGEST -in FILE -CAfile ROOT` verifies it, with the digest that is printed here.

    Example: `v2g csms books anchor 2026-11 --timestamp https://tsa.example/ --out 2026-11.tsr`
    """
    from v2g.io.tls.timestamps import time_stamp

    found = client_of(context).ask("GET", f"/books/periods/{part(period)}").body
    digest = found["state"]["digest"]
    if digest is None:
        raise RefusedError(f"period {period} is open", reason="open", hint="v2g settle close-period closes it")
    answer = asyncio.run(time_stamp(timestamp, bytes.fromhex(digest)))
    with os.fdopen(open_new(out, hint="name another file"), "wb") as file:
        file.write(answer)
    say(f"{out}: digest {digest}")
