"""`v2g pki`: make a whole V2G public-key infrastructure, and look into certificate files."""

from datetime import UTC, datetime
from pathlib import Path
from typing import Annotated

import msgspec
import typer

from cli.output import print_json, print_table
from v2g.errors import ConfigError

app = typer.Typer(
    help="Make and inspect certificates of a V2G public-key infrastructure.",
    no_args_is_help=True,
    rich_markup_mode="markdown",
)
JsonFlag = Annotated[bool, typer.Option("--json", help="One JSON record per line.")]


@app.command()
def make(
    directory: Annotated[Path, typer.Argument(help="Folder to fill; must be new or empty unless --force.")],
    emaid: Annotated[
        str, typer.Option(help="Contract identifier (EMAID) of the contract certificate.")
    ] = "DEV2GC00000001",
    evcc_id: Annotated[str, typer.Option(help="EVCCID of the vehicle certificate.")] = "WMIV2GENGINE0000001X",
    station_id: Annotated[str, typer.Option(help="OCPP identity of the charging station.")] = "CS-V2G-0001",
    gateway_id: Annotated[str, typer.Option(help="Pseudonym of the telemetry gateway.")] = "ev-0001",
    host: Annotated[list[str] | None, typer.Option(help="Name or address of back end and broker; repeatable.")] = None,
    force: Annotated[bool, typer.Option("--force", help="Replace a PKI that is already there.")] = False,
    json: JsonFlag = False,
) -> None:
    """Make roots, sub-CAs and leaves for charger, vehicle, contract, meter and back end; keys get mode 0600.

    Example: `v2g pki make certs/lab --emaid DEABCC1234567X`
    """
    from pki_tools.tree import PkiOptions, make_pki

    if directory.exists() and any(directory.iterdir()) and not force:
        raise ConfigError(f"{directory} is not empty", hint="--force replaces what is there")
    options = PkiOptions(emaid=emaid, evcc_id=evcc_id, station_id=station_id, gateway_id=gateway_id)
    if host:
        options = msgspec.structs.replace(options, csms_hosts=tuple(host))
    tree = make_pki(directory, now=datetime.now(UTC), options=options)
    files = sorted(path.relative_to(tree.directory) for path in tree.directory.rglob("*") if path.is_file())
    if json:
        print_json({"directory": str(tree.directory), "files": [str(path) for path in files]})
        return
    keys = sum(path.suffix == ".key" for path in files)
    typer.echo(f"{tree.directory}: {len(files) - keys} certificates, chains and answers, {keys} private keys (0600)")


@app.command()
def show(
    file: Annotated[Path, typer.Argument(help="PEM chain or DER certificate.")],
    role: Annotated[str, typer.Option(help="Judge the first certificate by this role's profile.")] = "",
    json: JsonFlag = False,
) -> None:
    """Show what a certificate file holds: names, validity, keys, and which profiles it keeps.

    Example: `v2g pki show certs/lab/secc/chain.pem --role secc`

    Exit code 4 when --role is given and the certificate does not keep that profile.
    """
    from pki_tools.show import describe
    from v2g.pki.profiles import Role

    try:
        wanted = Role(role) if role else None
    except ValueError:
        raise ConfigError(f"no role {role!r}", hint=f"known: {', '.join(r.value for r in Role)}") from None
    try:
        data = file.read_bytes()
    except OSError as error:
        raise ConfigError(f"{file}: {error.strerror}") from None
    rows = describe(data, at=datetime.now(UTC), role=wanted)
    if json:
        for row in rows:
            print_json(row)
    else:
        print_table(
            str(file),
            ("subject", "issuer", "valid", "key", "bytes", "keeps the profile of"),
            (
                (
                    row.subject,
                    row.issuer,
                    f"{row.not_before:%Y-%m-%d} to {row.not_after:%Y-%m-%d} ({row.state})",
                    f"{row.key}, {row.signature}",
                    str(row.size),
                    ", ".join(r.value for r in row.fits) or "none",
                )
                for row in rows
            ),
        )
    if rows and rows[0].problem:
        typer.echo(f"{file}: not a {role} certificate: {rows[0].problem}", err=True)
        raise typer.Exit(4)


@app.command()
def staple(
    directory: Annotated[Path, typer.Argument(help="Folder of a PKI made by `v2g pki make`.")],
    revoked: Annotated[bool, typer.Option("--revoked", help="Say that the charger's certificate is revoked.")] = False,
    json: JsonFlag = False,
) -> None:
    """Renew the OCSP answers that chargers staple and back ends check; each is valid for a week.

    A running charger takes the new answer with the next vehicle. Example: `v2g pki staple certs/lab`
    """
    from pki_tools.tree import PkiTree, refresh_staple

    tree = PkiTree.load(directory)
    for leaf in ("secc", "contract"):
        refresh_staple(tree, now=datetime.now(UTC), leaf=leaf, revoked=revoked and leaf == "secc")
        path = tree.path(f"{leaf}/ocsp.der")
        if json:
            print_json({"file": str(path), "leaf": leaf, "revoked": revoked and leaf == "secc"})
        else:
            typer.echo(f"{path}: valid for a week" + (", says revoked" if revoked and leaf == "secc" else ""))
