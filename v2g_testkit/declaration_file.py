"""Reads the declaration of a device under test: a TOML file (like a PICS)."""

from pathlib import Path
from typing import TypeVar

import msgspec

from v2g.errors import ConfigError

D = TypeVar("D", bound=msgspec.Struct)


def read(path: Path, kind: type[D], hint: str) -> D:
    """Return the declaration in a file; its paths are relative to it. `hint` says what makes one.

    Raises ConfigError.
    """
    try:
        return msgspec.toml.decode(path.read_bytes(), type=kind, dec_hook=lambda _, text: path.parent / text)
    except OSError as error:
        raise ConfigError(f"{path}: {error.strerror}", hint=hint) from None
    except (msgspec.DecodeError, UnicodeDecodeError) as error:
        raise ConfigError(f"{path}: {error}", hint="docs/reference/conformance-declaration.md lists the keys") from None
