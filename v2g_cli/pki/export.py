"""`v2g pki export`: certificates and keys for other implementations."""

from pathlib import Path
from typing import Annotated

import typer

from v2g.errors import ConfigError
from v2g_cli.output import print_json, say
from v2g_cli.pki.common import JsonFlag, Tree, password, write_out

FORMATS = ("pem", "der", "pkcs12", "josev")


def export(
    directory: Tree,
    name: Annotated[str, typer.Argument(metavar="[NAME]", help="Name of a certificate; omit it for josev.")] = "",
    format_: Annotated[str, typer.Option("--format", "-f", help=", ".join(FORMATS))] = "pem",
    out: Annotated[Path | None, typer.Option("--out", "-o", help="File, or folder for josev.")] = None,
    password_env: Annotated[str, typer.Option(help="Environment variable with the password for keys.")] = "",
    password_file: Annotated[Path | None, typer.Option(help="File of mode 0600 with the password for keys.")] = None,
    vehicle: Annotated[str, typer.Option(help="josev: leaf certificate of its vehicle.")] = "vehicle",
    contract: Annotated[str, typer.Option(help="josev: the contract of its vehicle.")] = "contract",
    json: JsonFlag = False,
) -> None:
    """Export a chain as PEM, a certificate as DER, a key with its chain as PKCS #12, or a tree for Josev.

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
