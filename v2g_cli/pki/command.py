"""`v2g pki`: a complete V2G public-key infrastructure, from root ceremony to OCSP responder."""

from pathlib import Path
from typing import Annotated

import msgspec
import typer

from v2g.errors import ConfigError
from v2g_cli.output import print_json, say
from v2g_cli.pki import ceremony as pki_ceremony
from v2g_cli.pki import export as pki_export
from v2g_cli.pki import issue as pki_issue
from v2g_cli.pki import keys as pki_keys
from v2g_cli.pki import serve as pki_serve
from v2g_cli.pki import show as pki_show
from v2g_cli.pki.common import JsonFlag, generation_of, kind_of, now

app = typer.Typer(no_args_is_help=True, rich_markup_mode="markdown")


@app.command()
def make(
    directory: Annotated[Path, typer.Argument(help="Target folder; must be new or empty unless --force.")],
    emaid: Annotated[list[str] | None, typer.Option(help="Contract identifier (EMAID); repeatable.")] = None,
    evcc_id: Annotated[str, typer.Option(help="EVCCID of the vehicle certificate.")] = "WMIV2GENGINE0000001X",
    station_id: Annotated[str, typer.Option(help="OCPP identity of the charging station.")] = "CS-V2G-0001",
    gateway_id: Annotated[str, typer.Option(help="Pseudonym of the telemetry gateway.")] = "ev-0001",
    host: Annotated[
        list[str] | None, typer.Option(help="Host name or address of back end and broker; repeatable.")
    ] = None,
    url: Annotated[
        str, typer.Option(help="Public URL of `v2g pki serve`: the OCSP and CRL address in certificates.")
    ] = "",
    key_kind: Annotated[str, typer.Option(help="secp521r1, ed448, or secp256r1 for peers of the -2 generation.")] = "",
    generation: Annotated[str, typer.Option(help="Profiles of iso15118-20, or iso15118-2.")] = "iso15118-20",
    force: Annotated[bool, typer.Option("--force", help="Replace a PKI that is already there.")] = False,
    json: JsonFlag = False,
) -> None:
    """Create roots, sub-CAs, OCSP responders, CRLs and leaf certificates for charger, vehicle, contracts, CPS, meter
    and back end.

    Example: `v2g pki make certs/lab --emaid DEABCC1234567X --url http://127.0.0.1:8088`

    Keys get mode 0600. V2G, OEM, MO, CPS and operator families; the V2G root certifies OEM and MO roots, too.
    """
    from pki_tools.tree import PkiOptions, make_pki
    from v2g.pki.profiles import Generation, KeyKind

    if directory.exists() and (not directory.is_dir() or any(directory.iterdir())) and not force:
        raise ConfigError(f"{directory} is not empty", hint="--force replaces it")
    ours = generation_of(generation)
    usual = KeyKind.SECP256R1 if ours is Generation.ISO15118_2 else KeyKind.SECP521R1
    kind = kind_of(key_kind) or usual
    if (ours is Generation.ISO15118_2) > (kind is KeyKind.SECP256R1):
        raise ConfigError("ISO 15118-2 allows secp256r1 only")
    options = PkiOptions(evcc_id=evcc_id, station_id=station_id, gateway_id=gateway_id, key_kind=kind, generation=ours)
    if emaid:
        options = msgspec.structs.replace(options, emaid=emaid[0], more_emaids=tuple(emaid[1:]))
    if host:
        options = msgspec.structs.replace(options, csms_hosts=tuple(host))
    if url:
        options = msgspec.structs.replace(options, url=_address(url))
    try:
        tree = make_pki(directory, now=now(), options=options)
    except (OSError, ValueError) as error:
        raise ConfigError(f"{directory}: {error}") from None
    files = sorted(path.relative_to(tree.directory) for path in tree.directory.rglob("*") if path.is_file())
    if json:
        print_json({"directory": str(tree.directory), "files": [str(path) for path in files]})
        return
    keys = sum(path.suffix == ".key" for path in files)
    say(f"{tree.directory}: {len(files) - keys} certificates, chains, lists and answers, {keys} private keys (0600)")


def _address(url: str) -> str:
    from urllib.parse import urlsplit

    parts = urlsplit(url)
    if parts.scheme != "http" or not parts.hostname or parts.query or parts.fragment:
        raise ConfigError(
            f"{url!r} is not an http:// URL of a responder", hint="such as http://127.0.0.1:8088, without TLS"
        )
    return url


app.command()(pki_show.show)
app.command()(pki_show.verify)
app.command()(pki_keys.key)
app.command()(pki_keys.wrap)
app.command()(pki_issue.csr)
app.command()(pki_issue.issue)
app.command()(pki_issue.renew)
app.command()(pki_issue.revoke)
app.command()(pki_issue.staple)
app.command()(pki_issue.crl)
app.command()(pki_export.export)
app.command()(pki_serve.serve)
app.add_typer(pki_ceremony.app, name="ceremony")
