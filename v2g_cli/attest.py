"""`v2g attest`: the signed manifest of a program's files, with which a charger compares them (R148)."""

import sys
from importlib.metadata import version as released
from pathlib import Path
from typing import Annotated

import typer

from v2g_cli.output import print_json, say

app = typer.Typer(no_args_is_help=True, rich_markup_mode="markdown")
JsonFlag = Annotated[bool, typer.Option("--json", help="One JSON record per line.")]


@app.command()
def make(
    manifest: Annotated[Path, typer.Argument(help="File to write; its signature gets the same name and `.sig`.")],
    paths: Annotated[
        list[Path] | None,
        typer.Argument(help="Files, and folders with all that is in them; default: this Python environment."),
    ] = None,
    key: Annotated[str, typer.Option("--key", help="Private key of the signer: PEM file, or key URI.")] = ...,  # type: ignore[assignment]
    version: Annotated[
        int, typer.Option("--number", min=0, help="Chargers that have seen a higher number refuse this manifest.")
    ] = 0,
    root: Annotated[Path, typer.Option("--root", help="Folder in which the charger's files are laid out.")] = Path("/"),
) -> None:
    """List files with their SHA-256, and sign the list.

    Example: `v2g attest make manifest.json /opt/v2g --key signer.key --number 3`
    """
    from v2g.errors import ConfigError, StoreError
    from v2g.io.keys import open_key
    from v2g.io.runtime.attestation import make_manifest
    from v2g.pki.attestation import SIGNATURE, sign_manifest
    from v2g_cli.pki.keys import reference_of

    if not paths and sys.prefix == sys.base_prefix:
        raise ConfigError("no files given", hint="name the folders of the program, such as /opt/v2g")
    made = make_manifest(paths or [Path(sys.prefix)], release=released("v2g-engine"), version=version, root=root)
    data, signature = sign_manifest(made, open_key(reference_of(key)))
    try:
        manifest.write_bytes(data)
        manifest.with_name(manifest.name + SIGNATURE).write_bytes(signature)
    except OSError as error:
        raise StoreError(f"{error.filename}: {error.strerror}") from None
    say(f"{manifest}: {len(made.files)} files, number {version}")


@app.command()
def check(
    manifest: Annotated[Path, typer.Argument(help="The manifest.")],
    public_key: Annotated[Path, typer.Option("--public-key", help="Public key, or certificate, of the signer, PEM.")],
    version: Annotated[int, typer.Option("--number", min=0, help="Lowest acceptable number.")] = 0,
    json: JsonFlag = False,
) -> None:
    """List the files that differ from a manifest; exit code 4 if there are any.

    Example: `v2g attest check /usr/share/v2g-engine/manifest.json --public-key signer.pem`
    """
    from v2g.errors import TrustError
    from v2g.io.runtime.attestation import Attestation
    from v2g.pki.keys import load_public_key
    from v2g.text import printable

    found = list(Attestation(manifest, load_public_key(public_key)).differences(version, lambda _: None))
    for each in found:
        if json:
            print_json(each)
        else:
            say(f"{each.kind}\t{printable(each.path)}")
    if found:
        raise TrustError(f"{len(found)} differences", hint="install the program anew")
