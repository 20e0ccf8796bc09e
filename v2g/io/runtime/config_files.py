"""Files named in a configuration: whether they can be opened, hold what they should, and own certificates are valid."""

from collections.abc import Callable, Iterable, Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Final

import msgspec

from v2g.config import Flaw, fault, values_in
from v2g.errors import ConfigError, V2GError
from v2g.hardware.meters.registers import load_map
from v2g.io.storage.record_keys import RecordKeys
from v2g.pki.certificates import load_certificate
from v2g.pki.credentials import load_chain, load_credentials
from v2g.pki.keys import load_public_key, read_secret
from v2g.pki.reference import KeyReference

_OWN: Final = {"chain": "key", "certificate": "key", "rsa_certificate": "rsa_key"}
"""Keys of the program's own certificates, and those of their private keys beside them."""

Opener = Callable[[Path], object]
OfKey = tuple[tuple[str, ...], Callable[[], object]]
"""A key by its path, and what opens the file that it names."""


def _is_file(path: Path) -> None:
    with path.open("rb"):
        pass


_OPENERS: Final[dict[str, Opener]] = (
    dict.fromkeys(
        ("ca", "v2g_roots", "oem_roots", "mo_roots", "client_roots", "cross_certificates", "root"), load_chain
    )
    | dict.fromkeys(("password_file", "token_file", "secret_file", "client_secret_file"), read_secret)
    | dict.fromkeys(("journal_keys", "outbox_keys"), RecordKeys)
    | dict.fromkeys(("crls", "ocsp", "manifest", "policy"), _is_file)
    | {"public_key": load_public_key, "map_file": load_map, "docs": lambda folder: _is_file(folder / "index.html")}
)
"""What opens the other files that must exist at the start, by their keys."""


def file_faults(text: str, config: msgspec.Struct, *, name: str, openers: Iterable[OfKey] = ()) -> list[ConfigError]:
    """Return the faults of the files named in a configuration; `openers` open those of one program only."""
    flaws = [*_flaws(config), *(flaw for where, opener in openers for flaw in opened(where, opener))]
    return [fault(text, name, *each) for each in flaws]


def expired(config: Any) -> list[str]:
    """Return, in a sentence each, which own certificates are not valid now."""
    own = [(where, value) for where, value, _ in values_in(config) if where[-1] in _OWN and isinstance(value, Path)]
    flaws = [flaw for where, file in own for flaw in _certificate(file, where)]
    return [f"{'.'.join(path)} {why}" for path, why, _ in flaws if "valid" in why]


def opened(where: tuple[str, ...], opener: Callable[[], object]) -> Iterator[Flaw]:
    """Open what the key at `where` names; yield why it cannot be."""
    try:
        opener()
    except V2GError as error:
        yield where, str(error), error.hint
    except OSError as error:
        yield where, f"{error.filename}: {error.strerror}", "paths are relative to the configuration file"
    except UnicodeDecodeError:
        yield where, "is not UTF-8 text", ""


def _flaws(config: Any) -> Iterator[Flaw]:
    for where, value, section in values_in(config):
        files = [each for each in (value if isinstance(value, tuple) else (value,)) if isinstance(each, Path)]
        if where[-1] in _OWN:
            for file in files:
                flaws = list(_certificate(file, where))
                yield from flaws or _key_of(file, section, (*where[:-1], _OWN[where[-1]]))
        elif (opener := _OPENERS.get(where[-1])) is not None:
            for file in files:
                yield from opened(where, lambda file=file: opener(file))  # type: ignore[misc]


def _key_of(chain: Path, section: Any, where: tuple[str, ...]) -> Iterator[Flaw]:
    """Yield why the key beside a chain is not its key. Keys in tokens, and those with a passphrase, are not opened."""
    key = section.get(where[-1])
    if isinstance(key, KeyReference) and (path := key.path) is not None and key.pin is None:
        from v2g.io.keys.stores import is_tpm_file

        if not is_tpm_file(key):
            yield from opened(where, lambda: load_credentials(chain, path))
    elif isinstance(key, Path) or (key is None and where[-1] in section):
        import ssl

        from v2g.io.tls.files import show

        yield from opened(where, lambda: show(ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT), chain, key))


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
