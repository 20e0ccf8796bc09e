"""What every key store needs: its PIN or passphrase, and keys of one curve.

PINs and passphrases are from a file, an environment variable or a systemd credential, never from a command line.
"""

import os
from pathlib import Path

from cryptography.hazmat.primitives.asymmetric import ec

from v2g.errors import KeyAccessError
from v2g.pki.keys import LeafKey, read_secret
from v2g.pki.reference import PinSource


def read_pin(source: PinSource | None) -> bytes | None:
    """Return the secret, without a trailing line end; None without a source.

    Raises KeyAccessError when it is missing, empty, or in a file that others may read.
    """
    if source is None:
        return None
    match source.kind:
        case "env":
            secret = os.environb.get(source.name.encode(), b"")
            hint = f"set the environment variable {source.name}"
        case "file":
            secret = read_secret(Path(source.name))
            hint = f"write it into {source.name}"
        case "credential":
            folder = os.environ.get("CREDENTIALS_DIRECTORY")
            if folder is None:
                raise KeyAccessError("systemd gave no credentials", hint=f"unit: LoadCredential={source.name}:/path")
            # systemd's own access control applies to the folder, which only this user can read.
            try:
                secret = (Path(folder) / source.name).read_bytes()
            except OSError as error:
                hint = f"unit: LoadCredential={source.name}:/path"
                raise KeyAccessError(f"systemd credential {source.name}: {error.strerror}", hint=hint) from None
            hint = "it is empty"
    secret = secret.removesuffix(b"\n").removesuffix(b"\r")
    if not secret:
        raise KeyAccessError(f"no PIN or passphrase in {source.kind} {source.name}", hint=hint)
    return secret


def same_curve(key: LeafKey, peer: object) -> ec.EllipticCurvePublicKey:
    """Return `peer` for an agreement inside a token or TPM, which have no X448 for an Ed448 key.

    Raises KeyAccessError.
    """
    if not isinstance(peer, ec.EllipticCurvePublicKey):
        raise KeyAccessError(
            f"{key} cannot agree by X448", hint="for contract installation store the Ed448 key in a file"
        )
    return peer
