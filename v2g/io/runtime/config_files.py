"""Files named in a configuration: whether they can be opened, hold what they should, and own certificates are valid."""

import contextlib
import itertools
import os
import stat
import tempfile
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping, Sequence
from datetime import UTC, datetime
from functools import partial
from pathlib import Path
from types import MappingProxyType
from typing import Any, Final
from urllib.parse import urlsplit

import msgspec
from cryptography import x509
from cryptography.x509.oid import ExtendedKeyUsageOID

from v2g import typed_json
from v2g.config import Flaw, fault, values_in
from v2g.errors import ConfigError, RevocationError, V2GError
from v2g.io.keys.stores import load_credentials, open_key
from v2g.io.storage.record_keys import RecordKeys
from v2g.iso15118.engine.identifiers import is_digits, is_evse_id
from v2g.pki.certificates import load_certificate
from v2g.pki.conformity import extension, is_authority
from v2g.pki.credentials import load_chain
from v2g.pki.crl import load_crls
from v2g.pki.keys import load_public_key, read_secret
from v2g.pki.ocsp import check_ocsp
from v2g.pki.paths import PathSearch, signature_matches
from v2g.pki.reference import KeyReference
from v2g.text import printable, redacted

_OWN: Final = {"chain": "key", "certificate": "key", "rsa_certificate": "rsa_key"}
"""Keys of the program's own certificates, and those of their private keys beside them."""

_USES: Final = {ExtendedKeyUsageOID.SERVER_AUTH: "server", ExtendedKeyUsageOID.CLIENT_AUTH: "client"}

Opener = Callable[[Path], object]
OfKey = tuple[tuple[str, ...], Callable[[], object]]
"""A key by its path, and what opens the file that it names."""

Roots = Mapping[str, tuple[str, Sequence[Path], Sequence[Path]]]
"""Section of own chains -> the key of their roots, these, and certificates that may be between them. Without roots a
chain leads anywhere."""


def _is_file(path: Path) -> None:
    with path.open("rb"):
        pass


def _authorities(path: Path) -> Iterator[x509.Certificate]:
    for each in map(load_certificate, load_chain(path)):
        if not is_authority(each):
            name = printable(each.subject.rfc4514_string())
            raise ConfigError(f"{path} has the certificate of {name}, which is not an authority", hint="name a root")
        yield each


def _roots(path: Path) -> None:
    for each in _authorities(path):
        if each.issuer != each.subject:
            name, by = (printable(one.rfc4514_string()) for one in (each.subject, each.issuer))
            raise ConfigError(f"{path}: {name} is not a root, but a CA below {by}", hint="name the root above it")


def _certificates(path: Path) -> None:
    for each in load_chain(path):
        load_certificate(each)


def _first_root(path: Path) -> None:
    """Open the root metadata of a repository of releases (TUF). An old one is as good: it leads to the newest."""
    try:
        typed_json.decode(path.read_bytes(), _Root)
    except msgspec.DecodeError as error:
        raise ConfigError(f"{path} is not the root metadata of a repository: {error}", hint="v2g ota init") from None


class _Signed(msgspec.Struct, frozen=True, tag_field="_type", tag="root"):
    version: int


class _Root(msgspec.Struct, frozen=True):
    signed: _Signed


def _secret(path: Path) -> None:
    if not read_secret(path).strip():
        raise ConfigError(f"{path} is empty", hint="one line: the password, secret or token")


def check_folder(folder: Path) -> None:
    """Raise ConfigError for a folder in which this user cannot write. Only a file there proves that one can:
    permissions are not all, as on a disk that is full or only read."""
    if not folder.is_dir():
        raise ConfigError(f"{folder} is no folder", hint="make it first")
    _check_writable(folder, os.W_OK | os.X_OK)
    try:
        with tempfile.NamedTemporaryFile(dir=folder):
            pass
    except OSError as error:
        hint = "name a folder on a disk that has room and can be written"
        raise ConfigError(f"{folder}: nothing can be written there: {error.strerror}", hint=hint) from None


def _check_writable(path: Path, mode: int = os.W_OK) -> None:
    if not os.access(path, mode):
        raise ConfigError(f"{path}: this user may not write there", hint="chown it to the program's user")


def check_evse_id(evse_id: str) -> None:
    """Raise ConfigError for what has not the form of an EVSEID."""
    if not is_evse_id(evse_id) and not is_digits(evse_id):
        why = f"{printable(evse_id)!r} is not an EVSEID"
        raise ConfigError(why, hint="such as DE*V2G*E0001: country, operator, E and a number")


def _crl(path: Path) -> None:
    for each in load_crls(path.read_bytes()):
        until = each.crl.next_update_utc
        if until is not None and until < datetime.now(UTC):
            raise ConfigError(f"{path} was valid until {until:%Y-%m-%d}", hint="renew it: v2g pki crl")


def _register_map(path: Path) -> None:
    from v2g.hardware.meters.registers import load_map

    load_map(path)


_OPENERS: Final[dict[str, Opener]] = (
    dict.fromkeys(
        ("anchors", "client_roots", "manufacturer_roots", "mo_roots", "oem_roots", "root", "roots", "v2g_roots"), _roots
    )
    | dict.fromkeys(("ca", "cross_certificates", "issuers", "oem_sub_cas"), lambda path: list(_authorities(path)))
    | dict.fromkeys(("password_file", "token_file", "secret_file", "client_secret_file"), _secret)
    | dict.fromkeys(("journal_keys", "outbox_keys"), RecordKeys)
    | {"manifest": _is_file}
    | {"crls": _crl, "public_key": load_public_key, "map_file": _register_map, "books_earlier_keys": load_public_key}
    | {"price_signers": _certificates, "releases.root": _first_root}
    | {"attestation.signer": load_public_key, "releases.registers": _is_file}
    | {"docs": lambda folder: _is_file(folder / "index.html")}
)
"""What opens the other files that must exist at the start, by their keys, or by section and key."""

_FOLDERS: Final = frozenset({"cache", "certificates", "data_dir", "folder", "medium", "slots"})
_FILES: Final = frozenset({"outbox", "pause.file", "checkpoints.file", "store"})
"""What a program makes where it is not there."""

_LOGS: Final = frozenset({"log.events", "log.file", "log.trace", "record.file", "tls.key_log"})
"""Files whose folder has to be there: it is not made."""

_KEYS: Final = frozenset({"price_key", "books_key"})
"""Keys without a certificate beside them."""

_ADDRESSES: Final = frozenset(
    {"responder", "ocsp_responder", "status_urls", "ocsp_url", "crl_url", "receipt_url", "token_url", "url"}
)
"""Addresses of servers; those of other schemes than HTTP have rules of their own."""


def file_faults(
    text: str,
    config: msgspec.Struct,
    *,
    name: str,
    openers: Iterable[OfKey] = (),
    serves: Collection[str] = (),
    roots: Roots = MappingProxyType({}),
    enrolled: Path | None = None,
) -> list[ConfigError]:
    """Return the faults of the files named in a configuration; `openers` open those of one program only, unless the
    key has a fault already.

    `serves` are the sections whose certificates are of a TLS server; those of other sections are of clients. `enrolled`
    is the chain that the program gets before it serves: at first there is none.
    """
    flaws = [*_flaws(config, serves, enrolled), *_rootless(config, roots), *_one_log(config), *_addresses(config)]
    at_fault = {where for where, *_ in flaws}
    flaws += (flaw for where, opener in openers if where not in at_fault for flaw in opened(where, opener))
    return [fault(text, name, *each) for each in flaws]


def crossed(interfaces: Sequence[str], medium: Path | None, backend: str) -> list[str]:
    """Return, in a sentence, that a simulated powerline and a real network were mixed up."""
    real = ", ".join(each for each in interfaces if each != "lo")
    if medium is None or backend != "loopback" or not real:
        return []
    return [f"link: pairing by the simulated wires of {medium}, but discovery at {real}: is one left over?"]


def expired(config: object) -> list[str]:
    """Return, in a sentence each, which own certificates are not valid now."""
    own = [(where, value) for where, value, _ in values_in(config) if where[-1] in _OWN and isinstance(value, Path)]
    found = []
    for where, file in own:
        with contextlib.suppress(V2GError):  # the program says so itself
            leaf = load_certificate(load_chain(file)[0])
            found += [f"{'.'.join(path)} {why} ({hint})" for path, why, hint in _validity(leaf, file, where)]
    return found


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


def _flaws(config: object, serves: Collection[str], enrolled: Path | None) -> Iterator[Flaw]:
    for where, value, section in values_in(config):
        files = [each for each in (value if isinstance(value, tuple) else (value,)) if isinstance(each, Path)]
        if where[-1] in _OWN:
            for file in files:
                if where[-1] == "chain" and file == enrolled and not file.exists():
                    continue
                use = _use(where, serves)
                flaws = list(_certificate(file, where, use))
                yield from flaws or _key_of(file, section, (*where[:-1], _OWN[where[-1]]))
                if not flaws and isinstance(response := section.get("ocsp"), Path):
                    yield from _ocsp(response, file, (*where[:-1], "ocsp"))
            continue
        if where[-1] in _KEYS and isinstance(value, KeyReference):
            yield from _key(value, where, open_key)
        if (opener := _opener(where)) is not None:
            for file in files:
                yield from opened(where, partial(opener, file))


def _opener(where: tuple[str, ...]) -> Opener | None:
    """Return what opens the file that a key names, None for one that need not be there."""
    named = ".".join([each for each in where if not each.isdigit()][-2:])
    if named in _LOGS:
        return _log_file
    if where[-1] in _FOLDERS:
        return partial(_can_be, Path.is_dir, "a folder")
    if where[-1] in _FILES or named in _FILES:
        return partial(_can_be, Path.is_file, "a file")
    return _OPENERS.get(named) or _OPENERS.get(where[-1])


def _log_file(path: Path) -> None:
    check_folder(path.parent)
    with contextlib.suppress(FileNotFoundError):
        if stat.S_ISDIR(path.stat().st_mode):
            raise ConfigError(f"{path} is a folder", hint="name a file in it")


def _can_be(is_one: Callable[[Path], bool], what: str, path: Path) -> None:
    """Raise ConfigError where something else is or in the way to there, or where this user may not write."""
    if path.exists() and not is_one(path):
        raise ConfigError(f"{path} is there, but is not {what}", hint="name another one, which is made")
    there = next(each for each in path.absolute().parents if each.exists())
    if not there.is_dir():
        raise ConfigError(f"{path} cannot be made: {there} is no folder", hint="name another one")
    if path.is_file():
        _check_writable(path)
    check_folder(path if path.is_dir() else there)  # files are made beside a file, too


def _addresses(config: object) -> Iterator[Flaw]:
    """Yield addresses that no server can have."""
    for where, value, _ in values_in(config):
        if where[-1] not in _ADDRESSES:
            continue
        for url in filter(None, value if isinstance(value, tuple) else (value,)):
            if not isinstance(url, str) or (where[-1] == "url" and not url.startswith(("http:", "https:"))):
                continue
            try:
                parts = urlsplit(url)
                valid = parts.scheme in ("http", "https") and bool(parts.hostname) and parts.port != 0
            except ValueError:
                valid = False
            if not valid or any(each.isspace() for each in url):
                yield (
                    where,
                    f"{printable(redacted(url))!r} is no address of a server",
                    "http://HOST/, or https://HOST:PORT/",
                )


def _rootless(config: object, roots: Roots) -> Iterator[Flaw]:
    """Yield own chains that do not lead to one of the roots that the configuration names for them."""
    for where, chain, _ in values_in(config):
        named, anchors, between = roots.get(_section(where), ("", (), ()))
        if where[-1] != "chain" or not isinstance(chain, Path) or not anchors:
            continue
        with contextlib.suppress(V2GError, OSError):  # a file that cannot be read is a flaw of its own
            own, known, trusted = (
                [load_certificate(each) for file in files for each in load_chain(file)]
                for files in ((chain,), between, anchors)
            )
            if own[0] not in trusted and not any(PathSearch(own[0], [*own[1:], *known], trusted).paths()):
                issuer = printable(own[-1].issuer.rfc4514_string())
                yield where, f"{chain} ends at {issuer}, which is not in {named}", "are these of another PKI?"


def _section(where: tuple[str, ...]) -> str:
    return ".".join(each for each in where[:-1] if not each.isdigit())


def _one_log(config: object) -> Iterator[Flaw]:
    """Yield keys of the section `log` that name the file of another."""
    seen: dict[Path, str] = {}
    for where, value, _ in values_in(config):
        if where[0] != "log" or not isinstance(value, Path):
            continue
        with contextlib.suppress(OSError):  # a name that no file can have is a flaw of its own
            if value.exists() and not value.is_file():
                continue
        first = seen.setdefault(value.absolute(), where[-1])
        if first != where[-1]:
            yield where, f"{value} is log.{first}, too", "give each a file of its own"


def _key_of(chain: Path, section: Any, where: tuple[str, ...]) -> Iterator[Flaw]:
    """Yield why the key beside a chain is not its key."""
    key = section.get(where[-1])
    if isinstance(key, KeyReference):
        yield from _key(key, where, lambda reference: load_credentials(chain, reference).key)
    elif isinstance(key, Path) or (key is None and where[-1] in section):
        import ssl

        from v2g.io.tls.files import show

        yield from opened(where, lambda: show(ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT), chain, key))


def _key(reference: KeyReference, where: tuple[str, ...], by: Callable[[KeyReference], object]) -> Iterator[Flaw]:
    """Yield why a key in a file, token or TPM cannot be opened. What only systemd can give is not asked for."""
    if reference.pin is not None and reference.pin.kind == "credential" and "CREDENTIALS_DIRECTORY" not in os.environ:
        return

    def check() -> None:
        if hasattr(key := by(reference), "close"):  # a key in a file has nothing to close
            key.close()

    yield from opened(where, check)


def _use(where: tuple[str, ...], serves: Collection[str]) -> x509.ObjectIdentifier | None:
    """Return what a program's own certificate is for, if it is for TLS."""
    section = _section(where)
    if section in serves:
        return ExtendedKeyUsageOID.SERVER_AUTH
    return ExtendedKeyUsageOID.CLIENT_AUTH if section.rpartition(".")[2] in ("tls", "mqtt", "https") else None


def _ocsp(response: Path, chain: Path, where: tuple[str, ...]) -> Iterator[Flaw]:
    """Yield why an OCSP response does not prove the first certificate of a chain valid now."""
    certificates = [load_certificate(each) for each in load_chain(chain)]
    if len(certificates) < 2:  # the root has signed it
        yield from opened(where, lambda: _is_file(response))
        return
    leaf, issuer = certificates[:2]

    def check() -> None:
        try:
            check_ocsp(response.read_bytes(), leaf, issuer, datetime.now(UTC))
        except RevocationError as error:
            raise ConfigError(f"{response}: {error}", hint="v2g pki staple, or [tls.stapler]") from None

    yield from opened(where, check)


def _certificate(file: Path, where: tuple[str, ...], use: x509.ObjectIdentifier | None) -> Iterator[Flaw]:
    try:
        chain = [load_certificate(each) for each in load_chain(file)]
    except V2GError as error:
        yield where, str(error), error.hint
        return
    leaf = chain[0]
    for certificate, issuer in itertools.pairwise(chain):
        if not signature_matches(issuer, certificate):
            name = printable(certificate.subject.rfc4514_string())
            yield where, f"{file}: what follows the certificate of {name} has not signed it", "leaf first, then sub-CAs"
            return
    uses = extension(leaf, x509.ExtendedKeyUsage)
    if use is not None and uses is not None and use not in uses.value:
        yield where, f"{file} is not a certificate of a TLS {_USES[use]}", "is it that of another program?"
    yield from _validity(leaf, file, where)


def _validity(leaf: x509.Certificate, file: Path, where: tuple[str, ...]) -> Iterator[Flaw]:
    """Yield that a certificate is not valid now."""
    now = datetime.now(UTC)
    if now > leaf.not_valid_after_utc:
        yield where, f"{file} was valid until {leaf.not_valid_after_utc:%Y-%m-%d}", "renew it: v2g pki renew"
    elif now < leaf.not_valid_before_utc:
        hint = f"is the clock right? it says {now:%Y-%m-%d %H:%M} UTC"
        yield where, f"{file} is valid from {leaf.not_valid_before_utc:%Y-%m-%d} on", hint
