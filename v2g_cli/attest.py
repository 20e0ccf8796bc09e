"""`v2g attest`: the signed manifest of a program's files, with which a charger compares them (R148)."""

import sys
from pathlib import Path
from typing import Annotated

import typer

from v2g.version import VERSION
from v2g_cli.output import print_json, say, say_row

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
    from v2g.io.keys.stores import open_key
    from v2g.io.runtime.attestation import make_manifest
    from v2g.pki.attestation import SIGNATURE, sign_manifest
    from v2g_cli.pki.keys import reference_of

    if not paths and sys.prefix == sys.base_prefix:
        raise ConfigError("no files given", hint="name the folders of the program, such as /opt/v2g")
    made = make_manifest(paths or [Path(sys.prefix)], release=VERSION, version=version, root=root)
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

    found = list(Attestation(manifest, load_public_key(public_key)).differences(version, lambda _: None))
    for each in found:
        if json:
            print_json(each)
        else:
            say_row(each.kind, each.path)
    if found:
        raise TrustError(f"{len(found)} differences", hint="install the program anew")


@app.command()
def quote(
    manifest: Annotated[Path, typer.Argument(help="The manifest.")],
    public_key: Annotated[Path, typer.Option("--public-key", help="Public key, or certificate, of the signer, PEM.")],
    nonce: Annotated[
        str, typer.Option("--nonce", help="The back end's random number, hexadecimal, 16 octets or more.")
    ],
    key: Annotated[str, typer.Option("--key", help="Key of the TPM that only quotes: handle:0x81010002")],
    pid: Annotated[int | None, typer.Option("--pid", min=1, help="Process whose code in memory is measured.")] = None,
    register: Annotated[
        list[int] | None, typer.Option("--register", min=0, max=23, help="Register; repeatable. Default: 0 to 7.")
    ] = None,
) -> None:
    """Measure a charger, and write evidence that its TPM has signed (R148).

    Example: `v2g attest quote manifest.json --public-key signer.pem --nonce $NONCE --key handle:0x81010002 --pid 812`
    """
    import msgspec

    from v2g.io.keys.quotes import quote_registers
    from v2g.io.runtime.attestation import measure
    from v2g.pki.keys import load_public_key
    from v2g.pki.quote import QuoteEvidence, binding
    from v2g_cli.pki.keys import reference_of

    number = _nonce(nonce)
    report = msgspec.json.encode(measure(manifest, load_public_key(public_key), pid))
    quoted = quote_registers(reference_of(key), register or range(8), binding(number, report))
    print_json(
        QuoteEvidence(
            report=report.decode(), registers=quoted.registers, quote=quoted.quote, signature=quoted.signature
        )
    )


@app.command()
def verify(
    evidence: Annotated[Path, typer.Argument(help="What the charger has sent.")],
    manifest: Annotated[Path, typer.Argument(help="The manifest of its release.")],
    public_key: Annotated[Path, typer.Option("--public-key", help="Public key, or certificate, of the signer, PEM.")],
    nonce: Annotated[str, typer.Option("--nonce", help="The random number that the charger was given.")],
    key: Annotated[Path, typer.Option("--tpm-key", help="Public key of the charger's TPM, PEM, as it was made.")],
    registers: Annotated[
        Path | None, typer.Option("--registers", metavar="FILE", help="Evidence of a whole charger: same registers.")
    ] = None,
) -> None:
    """Verify a charger's evidence; exit code 4 if it differs from its release (R148).

    Example: `v2g attest verify evidence.json manifest.json --public-key signer.pem --nonce $NONCE --tpm-key tpm.pem`
    """
    import hashlib

    from v2g.errors import TrustError
    from v2g.pki.attestation import SIGNATURE, parse_manifest
    from v2g.pki.keys import load_public_key
    from v2g.pki.quote import deviations, parse_evidence, verify_evidence
    from v2g.text import printable
    from v2g_cli.output import read_file

    data = read_file(manifest)
    release = parse_manifest(
        data, read_file(manifest.with_name(manifest.name + SIGNATURE)), load_public_key(public_key)
    )
    given = parse_evidence(read_file(evidence))
    report = verify_evidence(given, _nonce(nonce), load_public_key(key))
    golden = {} if registers is None else parse_evidence(read_file(registers)).registers
    found = deviations(report, given.registers, release, hashlib.sha256(data).hexdigest(), golden)
    for each in found:
        say(printable(each))
    if found:
        raise TrustError(f"{len(found)} deviations", hint="take its permission to discharge, and service it")
    say(f"release {printable(release.release)}, number {release.version}: {len(report.mapped)} files in memory")


def _nonce(text: str) -> bytes:
    from v2g.errors import ConfigError

    try:
        return bytes.fromhex(text)
    except ValueError:
        raise ConfigError("--nonce is not hexadecimal", hint="openssl rand -hex 16") from None
