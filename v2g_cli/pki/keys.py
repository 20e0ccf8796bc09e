"""`v2g pki key` and `wrap`: creates keys, wraps secrets, and handles keys for other commands of `v2g pki`."""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from v2g.errors import ConfigError
from v2g_cli.output import say, tell
from v2g_cli.pki.common import JsonFlag, kind_of

if TYPE_CHECKING:
    from v2g.io.keys.stores import StoredKey
    from v2g.pki.keys import LeafKey
    from v2g.pki.reference import KeyReference


def key(
    uri: Annotated[
        str,
        typer.Argument(
            metavar="KEY", help="PEM file to write, or pkcs11:token=...;object=...?pin-source=... for a token."
        ),
    ],
    key_kind: Annotated[str, typer.Option(help="secp521r1, ed448, or secp256r1 for meters.")] = "secp521r1",
    tpm: Annotated[bool, typer.Option("--tpm", help="Create a key that only this TPM can use.")] = False,
    json: JsonFlag = False,
) -> None:
    """Make a private key in a file, a PKCS#11 token or a TPM; in the latter two it can never be exported.

    Examples:

    `v2g pki key "pkcs11:token=car;object=vehicle?pin-source=file:pin"`

    `v2g pki key --tpm "file:vehicle.tss?pin-source=file:pin"`
    """
    made = make_key(reference_of(uri), key_kind, tpm=tpm)
    data = {"key": uri, "algorithm": made.algorithm.value, "public_key": _public(made)}
    tell(data, f"{uri}: new key for {made.algorithm.value}", json=json)


def wrap(
    file: Annotated[Path, typer.Argument(help="File of secrets: journal_keys, outbox_keys, store_key.")],
    by: Annotated[
        str, typer.Option("--by", metavar="KEY", help="Key that opens it, relative to FILE; none: plain.")
    ] = "",
) -> None:
    """Wrap a file of secrets, so that it opens only with a private key in a token or a TPM.

    Example: `v2g pki wrap journal.keys --by "pkcs11:token=car;object=storage?pin-source=file:pin"`
    """
    from v2g.io.keys.wrapped import read_wrapped, save_wrapped

    try:
        save_wrapped(file, read_wrapped(file), reference_of(by, file.parent) if by else None)
    except OSError as error:
        raise ConfigError(f"{file}: {error.strerror}") from None
    say(f"{file}: opens with {by}" if by else f"{file}: plain")


def reference_of(text: str, folder: Path = Path()) -> "KeyReference":
    """Return the key reference in a user's text, with files relative to `folder`. Raises ConfigError."""
    from v2g.pki.reference import KeyReference

    try:
        return KeyReference.from_text(text, folder)
    except ValueError as error:
        raise ConfigError(f"{text!r}: {error}") from None


def make_key(reference: "KeyReference", kind: str, *, tpm: bool = False) -> "LeafKey | StoredKey":
    """Make a key. Raises ConfigError, KeyAccessError."""
    from pki_tools.authority import new_key
    from v2g.io.keys.pins import read_pin
    from v2g.pki.keys import SoftwareKey, algorithm_of, save_key
    from v2g.pki.profile import Role

    wanted = kind_of(kind)
    if wanted is None:
        raise ConfigError("no kind of key given", hint="--key-kind secp521r1")
    sample = new_key(wanted, Role.VEHICLE)
    if reference.scheme == "pkcs11":
        from v2g.io.keys.pkcs11 import make_pkcs11

        return make_pkcs11(reference, algorithm_of(sample))
    if tpm or reference.path is None:
        from v2g.io.keys.tpm import make_tpm

        return make_tpm(reference, algorithm_of(sample))
    if reference.path.exists():
        raise ConfigError(f"{reference.path} exists", hint="choose another name, or move it away")
    try:
        save_key(reference.path, sample, read_pin(reference.pin))
    except OSError as error:
        raise ConfigError(f"{reference.path}: {error.strerror}") from None
    return SoftwareKey(sample)


def _public(made: "LeafKey") -> str:
    from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat

    return made.public_key.public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo).decode()
