"""Shared by the commands of `v2g pki`: options, names of roles and keys, passwords, shares, progress."""

import contextlib
import os
import stat
import sys
from collections.abc import Callable, Coroutine, Iterator, Mapping, Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, NoReturn

import typer

from v2g.errors import ConfigError, KeyAccessError
from v2g.observe import Observe
from v2g_cli.output import or_stdout, print_json, terminal

if TYPE_CHECKING:
    from pki_tools.ceremony import Sealed, ShareWords
    from v2g.pki.keys import PrivateKey
    from v2g.pki.profile import Generation, KeyKind, Role

JsonFlag = Annotated[bool, typer.Option("--json", help="One JSON record per line.")]
Tree = Annotated[Path, typer.Argument(metavar="DIR", help="Folder of a PKI made by `v2g pki make`.")]
Name = Annotated[str, typer.Argument(metavar="NAME", help="Name of a certificate, as listed by `v2g pki show DIR`.")]
Out = Annotated[
    Path | None,
    typer.Option("--out", "-o", callback=or_stdout, help="File to write; otherwise, and for -, standard output."),
]
Days = Annotated[int | None, typer.Option(min=1, help="Days of validity; otherwise the profile's.")]
SealedFile = Annotated[
    Path | None, typer.Option("--sealed", help="Sealed root key, if the PKI folder holds no root key.")
]
Shares = Annotated[list[Path] | None, typer.Option("--share", help="Share of the sealed key; repeatable.")]


def now() -> datetime:
    """Return the present time, aware."""
    return datetime.now(UTC)


def when(text: str) -> datetime:
    """Return a time given as ISO 8601, by default UTC. Raises ConfigError."""
    try:
        time = datetime.fromisoformat(text)
        return (time if time.tzinfo else time.replace(tzinfo=UTC)).astimezone(UTC)
    except (ValueError, OverflowError):
        raise ConfigError(f"{text!r} is not a time", hint="such as 2026-11-20T12:00:00Z or 2026-11-20") from None


def role_of(word: str) -> "Role":
    """Return a role by its name. Raises ConfigError."""
    from v2g.pki.profile import Role

    try:
        return Role(word.replace("-", "_"))
    except ValueError:
        raise ConfigError(f"unknown role {word!r}", hint=f"known: {', '.join(r.value for r in Role)}") from None


def kind_of(word: str) -> "KeyKind | None":
    """Return a kind of key by its name, None for "". Raises ConfigError."""
    from v2g.pki.profile import KeyKind

    try:
        return KeyKind(word) if word else None
    except ValueError:
        known = ", ".join(kind.value for kind in KeyKind if kind not in (KeyKind.RSA, KeyKind.RSA_2048))
        raise ConfigError(f"unknown kind of key {word!r}", hint=f"known: {known}") from None


def generation_of(word: str) -> "Generation":
    """Return the generation of certificate profiles. Raises ConfigError."""
    from v2g.pki.profile import Generation

    try:
        return Generation(word)
    except ValueError:
        raise ConfigError(f"unknown generation {word!r}", hint="iso15118-20 or iso15118-2") from None


def write_out(out: Path | None, data: bytes, *, mode: int = 0o644) -> None:
    """Write to a file, atomically, or to standard output."""
    from pki_tools.files import write_whole

    if out is None:
        sys.stdout.buffer.write(data)
        sys.stdout.flush()
    else:
        out.parent.mkdir(parents=True, exist_ok=True)
        write_whole(out, data, mode=mode)


def new_file(path: Path) -> None:
    """Check that the file does not exist. Raises ConfigError."""
    if path.exists():
        raise ConfigError(f"{path} exists", hint="choose another name, or move it away")


def password(env: str, file: Path | None) -> bytes:
    """Return a password: from an environment variable, a file of mode 0600, or prompted twice at a terminal.

    Raises ConfigError, KeyAccessError. It is never an argument, which all users of the machine could read.
    """
    if env:
        if not os.environ.get(env):
            raise ConfigError(f"environment variable {env} is not set")
        return os.environ[env].encode()
    if file is not None:
        try:
            if stat.S_IMODE(file.stat().st_mode) & 0o077:
                raise KeyAccessError(f"{file} may be read by others", hint=f"chmod 600 {file}")
            return file.read_bytes().split(b"\n")[0].rstrip(b"\r")
        except OSError as error:
            raise ConfigError(f"{file}: {error.strerror}") from None
    if not sys.stdin.isatty():
        raise ConfigError("a password is needed", hint="--password-env VARIABLE or --password-file FILE")
    return str(typer.prompt("Password", hide_input=True, confirmation_prompt=True)).encode()


def users_of(file: Path) -> dict[str, str]:
    """Return the passwords in a file of mode 0600, by user. Raises ConfigError, KeyAccessError."""
    from v2g.pki.keys import read_secret

    found = {}
    for number, line in enumerate(read_secret(file).decode(errors="replace").splitlines(), 1):
        user, _, password = line.partition(":")
        if not user or not password:
            raise ConfigError(f"{file}:{number}: not NAME:SECRET")
        found[user] = password
    return found


def read_shares(sealed: "Sealed", paths: Sequence[Path]) -> "tuple[ShareWords, ...]":
    """Return shares from files, or, without any, typed at a terminal. Raises KeyAccessError, ConfigError."""
    from pki_tools.ceremony import MAX_BYTES, read_sheet
    from pki_tools.judge import read_file

    if paths:
        return tuple(read_sheet(str(path), read_file(path, MAX_BYTES), sealed) for path in paths)
    if not sys.stdin.isatty():
        raise ConfigError("shares of the sealed key are needed", hint=f"--share FILE, {sealed.threshold} times")
    found = []
    for number in range(1, sealed.threshold + 1):
        text = str(typer.prompt(f"Share words of holder {number} of {sealed.threshold} (not shown)", hide_input=True))
        found.append(read_sheet(f"holder {number}", text.encode("ascii", "replace"), sealed))
        terminal().clear()
    return tuple(found)


def joined_key(sealed_file: Path | None, shares: Sequence[Path] | None) -> "PrivateKey | None":
    """Return the key opened by shares, None without a sealed one. Raises KeyAccessError, ConfigError."""
    from pki_tools.ceremony import join

    if sealed_file is None:
        if shares:
            raise ConfigError("--share needs --sealed: the sealed key of the shares", hint="--sealed FILE")
        return None
    sealed = load_sealed(sealed_file)
    return join(sealed, read_shares(sealed, shares or ()))


def keys_of(sealed_file: Path | None, shares: Sequence[Path] | None) -> "Mapping[str, PrivateKey]":
    """Return the root key opened by shares, by its key identifier, or nothing. Raises KeyAccessError, ConfigError."""
    from cryptography import x509

    if (key := joined_key(sealed_file, shares)) is None:
        return {}
    return {x509.SubjectKeyIdentifier.from_public_key(key.public_key()).digest.hex(): key}


def load_sealed(path: Path) -> "Sealed":
    """Return the sealed key in a file. Raises KeyAccessError, ConfigError."""
    from pki_tools.ceremony import MAX_SEALED_BYTES, read_sealed
    from pki_tools.judge import read_file

    try:
        return read_sealed(read_file(path, MAX_SEALED_BYTES))
    except KeyAccessError as error:
        raise KeyAccessError(f"{path}: {error}", hint=error.hint) from None


@contextlib.contextmanager
def progress(what: str) -> Iterator[None]:
    """Show progress at a terminal only."""
    if not sys.stderr.isatty():
        yield
        return
    with terminal(err=True).status(what):
        yield


def run_until_stopped(
    serve: Callable[[Callable[[Observe], None]], Coroutine[object, object, int]],
    show: Callable[[Observe], None],
    events: Path | None,
    *,
    json: bool,
) -> NoReturn:
    """Run a server until SIGTERM. It gets what reports events: into the file, and to `show`, or as JSON."""
    from v2g.io.runtime.clock import Clock
    from v2g.io.runtime.events import EventLog
    from v2g.io.runtime.program import run
    from v2g.io.storage.growing_file import LogFiles

    log = EventLog("pki", Clock(), events)

    def observe(event: Observe) -> None:
        log(event)
        if json:
            print_json({"stage": event.stage, "name": event.name, "data": event.data})
        else:
            show(event)
            sys.stdout.flush()

    try:
        code = run(lambda: None, lambda _: LogFiles(level="warning"), lambda _: serve(observe))
    finally:
        log.close()
    raise typer.Exit(code)
