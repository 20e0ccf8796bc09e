"""`v2g battery`: the signed report on a battery, for a buyer or an insurer (R213)."""

from pathlib import Path
from typing import Annotated

import typer

from v2g_cli.csms.show import NO_ACCESS, AccessOptions, client_of, part
from v2g_cli.options import with_option_groups
from v2g_cli.output import print_json, print_table, read_file, say, write_new

app = typer.Typer(no_args_is_help=True, rich_markup_mode="markdown")

SIGNATURE = ".sig"

Soh = Annotated[float | None, typer.Option("--soh", min=0, help="Claim: state of health, %.")]
Capacity = Annotated[float | None, typer.Option("--capacity", min=0, help="Claim: capacity, Ah.")]
Cycles = Annotated[float | None, typer.Option("--cycles", min=0, help="Claim: equivalent full cycles.")]
Share = Annotated[float | None, typer.Option("--v2g-share", min=0, max=100, help="Claim: cycles for the grid, %.")]


@app.command()
@with_option_groups
def report(
    context: typer.Context,
    ev: Annotated[str, typer.Argument(metavar="EV", help="Pseudonym of the vehicle.")],
    out: Annotated[Path, typer.Option("--out", help="JSON file to write; NAME.sig and NAME.html go beside it.")],
    soh: Soh = None,
    capacity: Capacity = None,
    cycles: Cycles = None,
    v2g_share: Share = None,
    access: AccessOptions = NO_ACCESS,
) -> None:
    """Write the report that a running back end signs, with its signature and as a page that prints.

    A claim that contradicts the record is refused. URL and token as for `v2g csms`.

    Example: `v2g battery report EV-1 --out report.json`
    """
    import base64

    import msgspec

    from v2g import typed_json
    from v2g.battery.report import HealthReport
    from v2g.battery.report_page import report_page
    from v2g.errors import VerificationError

    access.give(context)
    claims = {"soh_percent": soh, "capacity_ah": capacity, "cycles": cycles, "v2g_share_percent": v2g_share}
    given = {name: value for name, value in claims.items() if value is not None}
    found = client_of(context).ask("GET", f"/vehicles/{part(ev)}/battery/report", **given).body
    data, signature = found["report"].encode(), base64.b64decode(found["signature"])
    try:
        page = report_page(typed_json.decode(data, HealthReport), data, signature)
    except msgspec.DecodeError as error:
        raise VerificationError(f"the back end's report is not understood: {error}", where="report") from None
    for path, content in ((out, data), (_beside(out, SIGNATURE), signature), (_beside(out, ".html"), page)):
        write_new(path, content)
    say(f"{out}: signed by key {found['key_id'][:16]}")


@app.command()
def verify(
    file: Annotated[Path, typer.Argument(help="The report (JSON); its signature is in FILE.sig.")],
    key: Annotated[Path, typer.Option("--key", help="Operator's public key, PEM: `v2g csms books key`.")],
    ev: Annotated[str, typer.Option("--ev", help="The vehicle must be this one.")] = "",
    soh: Soh = None,
    capacity: Capacity = None,
    cycles: Cycles = None,
    v2g_share: Share = None,
    json: Annotated[bool, typer.Option("--json", help="Print the report.")] = False,
) -> None:
    """Verify a report offline, and what is claimed of the battery against it; show what it says.

    `openssl dgst -sha256 -verify KEY -signature FILE.sig FILE` verifies the signature, too.

    Example: `v2g battery verify report.json --key operator.pem --soh 94`
    """
    from v2g.battery.report import BatteryClaims, refuse_claims, verify_report
    from v2g.errors import RefusedError
    from v2g.pki.keys import load_public_key

    found = verify_report(read_file(file), read_file(_beside(file, SIGNATURE)), load_public_key(key))
    if ev and found.ev != ev:
        raise RefusedError(
            f"{file} is about {found.ev!r}", reason="claim_contradicted", hint="another vehicle's report"
        )
    refuse_claims(
        found, BatteryClaims(soh_percent=soh, capacity_ah=capacity, cycles=cycles, v2g_share_percent=v2g_share)
    )
    if json:
        print_json(found)
        return
    size, health, used = found.capacity_ah, found.soh_percent, found.cycles
    print_table(
        f"Battery of {found.ev}",
        ("what", "value", "deviation"),
        (
            ("capacity (Ah)", f"{size.value:.2f}", f"{size.deviation:.2f}"),
            ("state of health (%)", f"{health.value:.2f}", f"{health.deviation:.2f}"),
            ("equivalent full cycles", f"{used.total:.1f}", ""),
            ("of these for the grid (%)", f"{used.v2g_share_percent:.1f}", ""),
            ("events", str(len(found.events)), ""),
        ),
    )


def _beside(path: Path, suffix: str) -> Path:
    return path.with_name(path.name + suffix) if suffix == SIGNATURE else path.with_suffix(suffix)
