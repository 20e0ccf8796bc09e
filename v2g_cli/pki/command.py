"""`v2g pki`: a complete V2G public-key infrastructure, from root ceremony to OCSP responder."""

from pathlib import Path
from typing import Annotated

import msgspec
import typer

from v2g.errors import ConfigError
from v2g.observe import Observe
from v2g_cli.output import print_json, say
from v2g_cli.pki import ceremony as pki_ceremony
from v2g_cli.pki import est as pki_est
from v2g_cli.pki import issue as pki_issue
from v2g_cli.pki import keys as pki_keys
from v2g_cli.pki import pools as pki_pools
from v2g_cli.pki import show as pki_show
from v2g_cli.pki.common import JsonFlag, Out, Tree, generation_of, kind_of, now, password, run_until_stopped, write_out

# -- `v2g pki serve`: the OCSP responder and CRL server


def serve(
    directory: Tree,
    host: Annotated[str, typer.Option(help="Address to listen on.")] = "127.0.0.1",
    port: Annotated[int, typer.Option(min=0, max=65535, help="TCP port; 0 picks a free one.")] = 8088,
    events: Annotated[Path | None, typer.Option(help="File for one JSON line per event.")] = None,
    json: JsonFlag = False,
) -> None:
    """Answer OCSP requests and serve CRLs for a tree, until SIGTERM; revocations take effect at once.

    Example: `v2g pki serve certs/lab --port 8088`

    Certificates contain its URL when they are made with `v2g pki make DIR --url http://HOST:8088`. Keys of authorities
    that
    have a delegated responder need not be in the folder.
    """
    from pki_tools.serve import serve as run_server

    def show(event: Observe) -> None:
        if event.name == "ready":
            shown = f"[{host}]" if ":" in host else host
            say(f"ready: http://{shown}:{event.data['port']} serves {directory}")

    run_until_stopped(lambda observe: run_server(directory, host, port, observe=observe), show, events, json=json)


# -- `v2g pki export`: certificates and keys for other implementations

FORMATS = ("pem", "der", "pkcs12", "josev")


def export(
    directory: Tree,
    name: Annotated[str, typer.Argument(metavar="[NAME]", help="Name of a certificate; omit it for josev.")] = "",
    format_: Annotated[str, typer.Option("--format", "-f", help=", ".join(FORMATS))] = "pem",
    out: Out = None,
    password_env: Annotated[str, typer.Option(help="Environment variable with the password for keys.")] = "",
    password_file: Annotated[Path | None, typer.Option(help="File of mode 0600 with the password for keys.")] = None,
    vehicle: Annotated[str, typer.Option(help="josev: leaf certificate of its vehicle.")] = "vehicle",
    contract: Annotated[str, typer.Option(help="josev: the contract of its vehicle.")] = "contract",
    json: JsonFlag = False,
) -> None:
    """Export a chain as PEM, a certificate as DER, a key with its chain as PKCS #12, or a tree (folder) for Josev.

    Examples: `v2g pki export certs/lab secc --out secc.pem`,
    `v2g pki export certs/lab vehicle --format pkcs12 --out vehicle.p12 --password-env P12`,
    `v2g pki export certs/p256 --format josev --out pki --password-env JOSEV`

    Without a password option it is asked for at the terminal.
    """
    from pki_tools.export import LEAVES, export_der, export_josev, export_pem, export_pkcs12
    from pki_tools.index import load_index

    if format_ not in FORMATS:
        raise ConfigError(f"unknown format {format_!r}", hint=f"known: {', '.join(FORMATS)}")
    index = load_index(directory)
    if format_ == "josev":
        if out is None or name:
            raise ConfigError(
                "--format josev exports the whole tree to a folder",
                hint="v2g pki export DIR --format josev --out FOLDER",
            )
        leaves = LEAVES | {"oemLeaf": vehicle, "contractLeaf": contract}
        secret = password(password_env, password_file)
        files = export_josev(directory, index, out, secret, leaves=leaves)
        if json:
            print_json({"folder": str(out), "files": files})
        else:
            say(f"{out}: {len(files)} files; start the peer with PKI_PATH={out.resolve()}/")
        return
    if not name:
        raise ConfigError("no certificate given", hint=f"v2g pki show {directory} lists their names")
    entry = index.find(name)
    if format_ == "pkcs12":
        if out is None:
            raise ConfigError("a key is not written to standard output", hint="--out FILE")
        data = export_pkcs12(directory, index, entry, password(password_env, password_file))
        write_out(out, data, mode=0o600)
    else:
        write_out(out, export_pem(directory, index, entry) if format_ == "pem" else export_der(directory, entry))
    if out is None:
        return
    if json:
        print_json({"file": str(out), "format": format_, "name": name, "serial": entry.serial})
    else:
        say(f"{out}: {name} as {format_}")


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
    from v2g.pki.profile import Generation, KeyKind

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
        from urllib.parse import urlsplit

        parts = urlsplit(url)
        if parts.scheme != "http" or not parts.hostname or parts.query or parts.fragment:
            raise ConfigError(
                f"{url!r} is not an http:// URL of a responder", hint="such as http://127.0.0.1:8088, without TLS"
            )
        options = msgspec.structs.replace(options, url=url)
    try:
        tree = make_pki(directory, now=now(), options=options)
    except OSError as error:
        raise ConfigError(f"{directory}: {error}") from None
    files = sorted(path.relative_to(tree.directory) for path in tree.directory.rglob("*") if path.is_file())
    if json:
        print_json({"directory": str(tree.directory), "files": [str(path) for path in files]})
        return
    keys = sum(path.suffix == ".key" for path in files)
    say(f"{tree.directory}: {len(files) - keys} certificates, chains, lists and answers, {keys} private keys (0600)")


app.command()(pki_show.show)
app.command()(pki_show.verify)
app.command()(pki_show.lint)
app.command()(pki_keys.key)
app.command()(pki_keys.wrap)
app.command()(pki_issue.csr)
app.command()(pki_issue.issue)
app.command()(pki_issue.renew)
app.command()(pki_issue.revoke)
app.command()(pki_issue.staple)
app.command()(pki_issue.crl)
app.command()(export)
app.command()(serve)
app.command()(pki_est.est)
app.command()(pki_est.approve)
app.command()(pki_est.enrol)
app.add_typer(pki_pools.app, name="pools")
app.add_typer(pki_ceremony.app, name="ceremony")
