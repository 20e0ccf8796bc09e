"""Files named in a configuration: whether they exist, and whether own certificates and register maps are valid."""

from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Final

import msgspec

from v2g.config import Flaw, fault, values_in
from v2g.errors import ConfigError, V2GError
from v2g.hardware.meters.registers import load_map
from v2g.pki.certificates import load_certificate
from v2g.pki.credentials import load_chain

_OWN: Final = frozenset({"chain", "certificate", "rsa_certificate"})
"""Keys of the program's own certificates."""

_READ: Final = frozenset(
    {
        "ca",
        "v2g_roots",
        "oem_roots",
        "mo_roots",
        "client_roots",
        "cross_certificates",
        "crls",
        "ocsp",
        "manifest",
        "password_file",
        "journal_keys",
        "policy",
        "public_key",
        "token_file",
    }
)
"""Keys of other files that must exist at the start."""

_MAP: Final = "map_file"
"""Key of a meter's registers."""


def file_faults(text: str, config: msgspec.Struct, *, name: str) -> list[ConfigError]:
    """Return the faults of the files named in a configuration."""
    return [fault(text, name, *each) for each in _flaws(config)]


def expired(config: Any) -> list[str]:
    """Return, in a sentence each, which own certificates are not valid now."""
    return [f"{'.'.join(path)} {why}" for path, why, _ in _flaws(config) if path[-1] in _OWN and "valid" in why]


def _flaws(config: Any) -> Iterator[Flaw]:
    for where, value, _ in values_in(config):
        if where[-1] in _OWN and isinstance(value, Path):
            yield from _certificate(value, where)
        elif where[-1] == _MAP and isinstance(value, Path):
            try:
                load_map(value)
            except ConfigError as error:
                yield where, str(error), error.hint
        elif where[-1] in _READ:
            for each in value if isinstance(value, tuple) else (value,):
                if isinstance(each, Path) and not _is_file(each):
                    yield where, f"{each} is not a file", "paths are relative to the configuration file"


def _is_file(path: Path) -> bool:
    try:
        return path.is_file()
    except OSError:  # such as a name that is too long
        return False


def _certificate(file: Path, where: tuple[str, ...]) -> Iterator[Flaw]:
    try:
        leaf = load_certificate(load_chain(file)[0])
    except V2GError as error:
        yield where, str(error), error.hint
        return
    now = datetime.now(UTC)
    if now > leaf.not_valid_after_utc:
        yield where, f"{file} was valid until {leaf.not_valid_after_utc:%Y-%m-%d}", "renew it: v2g pki renew"
    elif now < leaf.not_valid_before_utc:
        yield where, f"{file} is valid from {leaf.not_valid_before_utc:%Y-%m-%d} on", "is the clock right?"
