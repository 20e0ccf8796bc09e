"""`v2g pki ceremony`: root keys shared among several people, none of whom can use them alone; and `share_out`, which
shares any key, for `v2g ota key`, too."""

import os
import secrets
import shutil
import signal
import subprocess
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, NamedTuple, TextIO

import msgspec
import typer

from v2g.errors import ConfigError, KeyAccessError
from v2g_cli.output import print_json, say, terminal
from v2g_cli.pki.common import JsonFlag, Tree, load_sealed, new_file, now, progress, read_shares, write_out

if TYPE_CHECKING:
    from cryptography import x509

    from pki_tools.ceremony import Sealed, ShareWords
    from v2g.pki.keys import PrivateKey

app = typer.Typer(
    help="Split a root key into shares (SLIP-39), join it, and sign with it: any k of n holders, never fewer.",
    no_args_is_help=True,
    rich_markup_mode="markdown",
)
SealedArgument = Annotated[Path, typer.Argument(metavar="SEALED", help="Sealed key, made by `split`.")]
ShareFiles = Annotated[
    list[Path] | None, typer.Option("--share", help="Sheet of a share; repeatable; otherwise prompted.")
]
Holders = Annotated[list[str] | None, typer.Option("--holder", help="Holders of the shares, in order.")]
Print = Annotated[bool, typer.Option("--print", help="Show the sheets here and write no share to disk.")]
Present = Annotated[list[str] | None, typer.Option("--present", help="Person present, for the transcript; repeatable.")]


@app.command()
def split(
    key: Annotated[
        Path, typer.Argument(metavar="ROOT.key", help="Private key of a root; ROOT.pem must be in the same folder.")
    ],
    threshold: Annotated[int, typer.Option(min=2, max=16, help="Shares needed to open the key.")] = 3,
    shares: Annotated[int, typer.Option(min=2, max=16, help="Shares to create.")] = 5,
    out: Annotated[Path, typer.Option("--out", "-o", help="Folder for sheets, sealed key and transcript.")] = Path(
        "ceremony"
    ),
    holder: Holders = None,
    present: Present = None,
    print_: Print = False,
    remove_key: Annotated[
        bool, typer.Option("--remove-key", help="Remove ROOT.key once every trial join has succeeded.")
    ] = False,
    json: JsonFlag = False,
) -> None:
    """Encrypt a root key and split the secret that opens it. Every combination is test-joined before a key is removed.

    Example: `v2g pki ceremony split certs/lab/v2g/root.key --threshold 3 --shares 5 --out ceremony --holder Ada`

    Writes `root.sealed`, one sheet for each holder (mode 0600; print them and delete the files) and a transcript.
    """
    from pki_tools.authority import load_pem
    from v2g.pki.keys import load_private_key

    holders = holders_of(holder, shares)
    private, certificate = load_private_key(key), load_pem(key.with_suffix(".pem"))
    if certificate.subject != certificate.issuer:
        raise ConfigError(f"{key.with_suffix('.pem')} is not a root certificate", hint="only root keys can be split")
    sealed_file = out / f"{key.stem}.sealed"
    shown = (sys.stderr if json else sys.stdout) if print_ else None
    done = share_out(private, certificate, sealed_file, threshold, holders, shown=shown)
    if remove_key:
        _remove(key)
    record = {
        "what": "split",
        "threshold": threshold,
        "shares": [
            {"number": share.number, "holder": name or None, "mark": share.mark}
            for share, name in zip(done.shares, holders, strict=True)
        ],
        "trial_joins": done.trials,
        "key_removed": remove_key,
    }
    transcript = _transcript(out, done.sealed, record, present)
    if json:
        sheets = [str(sheet) for sheet in done.sheets]
        print_json(record | {"sealed": str(sealed_file), "sheets": sheets, "transcript": str(transcript)})
        return
    done.say(sealed_file)
    say(f"{key}: removed" if remove_key else f"{key}: still there; --remove-key removes it")
    say(f"{transcript}: transcript")


class SharedOut(NamedTuple):
    """A key that was shared out: `trials` joins of as many shares as it takes restored it."""

    sealed: "Sealed"
    shares: "tuple[ShareWords, ...]"
    sheets: list[Path]
    trials: int

    def say(self, sealed_file: Path) -> None:
        """Say what was written."""
        say(f"{sealed_file}: sealed key of {self.sealed.subject}")
        for sheet in self.sheets:
            say(f"{sheet}: print it, hand it over, delete it")
        say(f"{self.trials} trial joins of {self.sealed.threshold} shares restored the key")


def holders_of(given: Sequence[str] | None, shares: int) -> list[str]:
    """Return the holder of each share, "" where none is given. Raises ConfigError for more than there are shares."""
    holders = [*(given or ())]
    if len(holders) > shares:
        raise ConfigError(f"{len(holders)} holders for {shares} shares")
    return holders + [""] * (shares - len(holders))


def share_out(
    key: "PrivateKey",
    owner: "x509.Certificate | str",
    sealed_file: Path,
    threshold: int,
    holders: Sequence[str],
    *,
    prefix: str = "",
    shown: TextIO | None = None,
) -> SharedOut:
    """Write a sealed key, and a sheet for each holder beside it, or `shown` only; then join what was written on trial.

    `owner`: the key's certificate or name. Raises ConfigError, KeyAccessError.
    """
    from pki_tools.ceremony import read_sheet, try_all, write_sheet
    from pki_tools.ceremony import split as split_key

    sealed, made = split_key(key, owner, threshold=threshold, shares=len(holders), entropy=secrets.token_bytes)
    new_file(sealed_file)
    sealed_file.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
    write_out(sealed_file, msgspec.json.format(msgspec.json.encode(sealed), indent=1) + b"\n")
    texts = [write_sheet(sealed, share, name, at=now()) for share, name in zip(made, holders, strict=True)]
    sheets = [] if shown else _write_sheets(sealed_file.parent, prefix, texts)
    if shown:
        for text in texts:
            shown.write(text + "\f\n")
            if sys.stdin.isatty() and shown.isatty():
                typer.prompt("Next holder: press Enter", default="", show_default=False)
                terminal().clear()
    with progress("joining the shares on trial"):
        written = load_sealed(sealed_file)
        again = tuple(read_sheet("a sheet", text.encode(), written) for text in texts)
        trials = try_all(written, read_shares(written, sheets) if sheets else again, key.public_key())
    return SharedOut(sealed, made, sheets, trials)


def _write_sheets(out: Path, prefix: str, texts: Sequence[str]) -> list[Path]:
    paths = [out / f"{prefix}share-{number}-of-{len(texts)}.txt" for number in range(1, len(texts) + 1)]
    for path in paths:
        new_file(path)
    for path, text in zip(paths, texts, strict=True):
        write_out(path, text.encode(), mode=0o600)
    return paths


def _remove(key: Path) -> None:
    """Overwrite a key file once and delete it, and a link to it. Flash memory may retain a copy."""
    target = key.resolve()
    try:
        with target.open("r+b", buffering=0) as file:
            file.write(b"\0" * target.stat().st_size)
            os.fsync(file.fileno())
        target.unlink()
        if key.is_symlink():
            key.unlink()
    except OSError as error:
        raise KeyAccessError(f"{key}: {error.strerror}: remove it yourself") from None


def _transcript(folder: Path, sealed: "Sealed", record: Mapping[str, object], present: Sequence[str] | None) -> Path:
    """Write what was done, when, by whom and with which shares; it contains no secrets."""
    at = now()
    path = folder / f"transcript-{record['what']}-{at:%Y%m%dT%H%M%SZ}-{secrets.token_hex(3)}.json"
    root = {"subject": sealed.subject, "sha256": sealed.fingerprint, "set": sealed.identifier}
    data = {"at": at, "user": _user(), "present": list(present or ()), "root": root, **record}
    write_out(path, msgspec.json.format(msgspec.json.encode(data), indent=1) + b"\n")
    return path


def _user() -> str:
    import getpass

    try:
        return getpass.getuser()
    except (KeyError, OSError):
        return str(os.getuid())


@app.command()
def check(sealed_file: SealedArgument, share: ShareFiles = None, json: JsonFlag = False) -> None:
    """Check that share sheets are readable and belong to a sealed key, without joining them.

    Example: `v2g pki ceremony check ceremony/root.sealed --share ceremony/share-2-of-5.txt`
    """
    sealed = load_sealed(sealed_file)
    for each in read_shares(sealed, share or ()):
        if json:
            print_json({"share": each.number, "mark": each.mark, "source": each.source, "of": sealed.shares})
        else:
            say(f"{each.source}: share {each.number} of {sealed.shares}, mark {each.mark}, of {sealed.subject}")


@app.command(context_settings={"allow_extra_args": True, "ignore_unknown_options": False})
def join(
    context: typer.Context,
    sealed_file: SealedArgument,
    share: ShareFiles = None,
    out: Annotated[Path, typer.Option("--out", "-o", help="Key file to write, mode 0600; must be new.")] = Path(
        "root.key"
    ),
    present: Present = None,
    json: JsonFlag = False,
) -> None:
    """Join shares to a key file. With a command after `--`, run it and always remove the file afterwards.

    Example: `v2g pki ceremony join ceremony/root.sealed --share A --share B --share C --out certs/lab/v2g/root.key
    -- v2g pki renew certs/lab cpo/sub1`

    The exit code is the command's.
    """
    from pki_tools.ceremony import join as join_key
    from v2g.pki.keys import save_key

    sealed = load_sealed(sealed_file)
    new_file(out)
    shares = read_shares(sealed, share or ())
    key = join_key(sealed, shares)
    _transcript(sealed_file.parent, sealed, {"what": "join", "shares": _used(shares), "command": context.args}, present)
    program = shutil.which(context.args[0]) if context.args else ""
    if program is None:
        raise ConfigError(f"{context.args[0]}: no such command")
    try:
        save_key(out, key)
    except OSError as error:
        raise ConfigError(f"{out}: {error.strerror}") from None
    if program:

        def end(number: int, _frame: object) -> None:
            raise SystemExit(128 + number)  # and the key file is removed

        before = {number: signal.signal(number, end) for number in (signal.SIGTERM, signal.SIGHUP)}
        try:
            code = subprocess.run([program, *context.args[1:]], check=False).returncode
        finally:
            _remove(out)
            for number, handler in before.items():
                signal.signal(number, handler)
        raise typer.Exit(code if code >= 0 else 128 - code)
    if json:
        print_json({"key": str(out), "shares": _used(shares)})
    else:
        say(f"{out}: key of {sealed.subject}; remove it when you are done")


def _used(shares: "Sequence[ShareWords]") -> list[dict[str, object]]:
    return [{"number": each.number, "mark": each.mark} for each in shares]


@app.command()
def sign(
    directory: Tree,
    names: Annotated[list[str] | None, typer.Argument(metavar="[NAME]...", help="Certificates to renew.")] = None,
    sealed_file: Annotated[Path, typer.Option("--sealed", help="Sealed key of the root that signs.")] = Path(
        "root.sealed"
    ),
    share: ShareFiles = None,
    days: Annotated[int | None, typer.Option(min=1, help="Days of validity; otherwise the profile's.")] = None,
    present: Present = None,
    json: JsonFlag = False,
) -> None:
    """Renew certificates signed by a root, and its CRL, with a key that is joined in memory and never written to disk.

    Examples: `v2g pki ceremony sign certs/lab cpo/sub1 --sealed root.sealed --share A --share B --share C`; without a
    NAME only the CRL is signed.

    `v2g pki issue`, `renew`, `revoke` and `crl` take `--sealed` and `--share` as well.
    """
    from cryptography import x509

    from pki_tools.ceremony import join as join_key
    from pki_tools.renewal import Renewal, refresh_crls, renew_certificate

    sealed = load_sealed(sealed_file)
    shares = read_shares(sealed, share or ())
    key = join_key(sealed, shares)
    keys = {x509.SubjectKeyIdentifier.from_public_key(key.public_key()).digest.hex(): key}
    done: list[str] = []
    for name in names or ():
        for each in renew_certificate(directory, name, Renewal(days=days), at=now(), keys=keys):
            done += each.files
    done += refresh_crls(directory, at=now(), keys=keys, only=frozenset(keys))
    record = {"what": "sign", "shares": _used(shares), "files": done}
    transcript = _transcript(sealed_file.parent, sealed, record, present)
    if json:
        print_json(record | {"transcript": str(transcript)})
        return
    for file in done:
        say(f"{directory / file}: signed")
    say(f"{transcript}: transcript")
