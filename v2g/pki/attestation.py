"""The signed manifest of a program's files: which there are, and what is in them (R148).

The manifest is JSON; its signature is a file of its own (`.sig`), as openssl makes and verifies it: `openssl dgst
-sha256 -verify public.pem -signature manifest.json.sig manifest.json` for a key on secp256r1.
"""

from typing import Annotated, Final, Literal

import msgspec
from msgspec import Meta

from v2g import typed_json
from v2g.errors import VerificationError
from v2g.pki.keys import PublicKey, SigningKey, raw_signature, sign_der, verify_signature

MOST_BYTES: Final = 16 * 1024 * 1024
"""Largest manifest: 100,000 files."""

SIGNATURE: Final = ".sig"
"""What is added to the manifest's name for that of its signature."""

LINK: Final = "link:"
"""Prefix of a symbolic link's target, in place of a digest."""


class Manifest(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """The files of one release of a program, as installed. Paths are absolute.

    `version` protects from older releases: one with a lower number than the highest seen is refused. It stays the same
    while a return to the release before is harmless.
    """

    format: Literal[1] = 1
    release: str
    version: Annotated[int, Meta(ge=0, le=2**31)]
    folders: tuple[str, ...]
    """Every file below these is listed."""
    system: tuple[str, ...]
    """Folders of the operating system, from which modules may be loaded although they are not listed."""
    files: dict[str, str]
    """Path -> SHA-256 (hexadecimal) of the content, or `link:` and the target."""


def sign_manifest(manifest: Manifest, key: SigningKey) -> tuple[bytes, bytes]:
    """Return a manifest as bytes, and their signature."""
    data = msgspec.json.format(msgspec.json.encode(manifest, order="sorted"), indent=1) + b"\n"
    return data, sign_der(key, data)


def parse_manifest(data: bytes, signature: bytes, key: PublicKey) -> Manifest:
    """Return a manifest once its signature is verified.

    Raises SignatureError, and VerificationError for what is signed but no manifest.
    """
    verify_signature(key, data, raw_signature(key, signature))
    try:
        return typed_json.decode(data, Manifest)
    except msgspec.DecodeError as error:
        raise VerificationError(f"malformed: {error}", where="manifest") from None
