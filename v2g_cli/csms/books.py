"""`v2g csms books`: the operator's key, and what it has signed."""

import asyncio
import sys
from pathlib import Path
from typing import Annotated, Any

import typer

from v2g.errors import RefusedError, VerificationError
from v2g_cli.csms.declared import books
from v2g_cli.csms.show import JsonFlag, client_of, part
from v2g_cli.output import print_json, say, write_new


@books.command()
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


@books.command()
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
    write_new(out, answer)
    say(f"{out}: digest {digest}")
