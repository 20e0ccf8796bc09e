"""`v2g ota`: a repository of releases, and what a device thinks of it (R139, R140)."""

import hashlib
import sys
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import msgspec
import typer

from v2g.errors import ConfigError, InstallError
from v2g_cli.options import with_option_groups
from v2g_cli.output import print_json, print_table, read_file, say
from v2g_cli.pki.ceremony import Holders, Print, ShareFiles, holders_of, share_out

if TYPE_CHECKING:
    from v2g.io.ota.repository import Repository, RoleName
    from v2g.pki.keys import PublicKey, SigningKey
    from v2g.pki.reference import KeyReference

app = typer.Typer(no_args_is_help=True, rich_markup_mode="markdown")

Folder = Annotated[Path, typer.Argument(metavar="REPOSITORY", help="Folder of the repository.")]
KeyOption = Annotated[str | None, typer.Option("--key", help="Private key of the holder: PEM file, or key URI.")]
SealedOption = Annotated[
    Path | None, typer.Option("--sealed", help="Instead: sealed key, made by `key --shares`, which shares open.")
]
JsonFlag = Annotated[bool, typer.Option("--json", help="One JSON record per line.")]


def _keys(role: str) -> object:
    return typer.Option(f"--{role}-key", metavar="PEM", help=f"Public key of a holder of {role}; repeatable.")


class Signers(msgspec.Struct, frozen=True):
    """Who signs which role, and how many of them."""

    root_keys: Annotated[list[Path] | None, _keys("root")] = None
    targets_keys: Annotated[list[Path] | None, _keys("targets")] = None
    snapshot_keys: Annotated[list[Path] | None, _keys("snapshot")] = None
    timestamp_keys: Annotated[list[Path] | None, _keys("timestamp")] = None
    root_threshold: Annotated[
        int | None, typer.Option(min=1, help="Signatures that a new root needs; default: more than half.")
    ] = None
    targets_threshold: Annotated[
        int | None, typer.Option(min=1, help="Signatures that a release needs; default: more than half.")
    ] = None


@app.command()
def key(
    uri: Annotated[
        str,
        typer.Argument(
            metavar="KEY", help="PEM file, or sealed key, to write; or pkcs11:token=...;object=... for a token."
        ),
    ],
    public: Annotated[Path, typer.Option("--public", help="File to write the public half to, PEM.")],
    tpm: Annotated[bool, typer.Option("--tpm", help="Create a key that only this TPM can use.")] = False,
    shares: Annotated[
        int | None, typer.Option(min=2, max=16, help="Shares to split the key into; only they open the file KEY.")
    ] = None,
    threshold: Annotated[
        int | None, typer.Option(min=2, max=16, help="Shares needed to sign; default: more than half.")
    ] = None,
    holder: Holders = None,
    print_: Print = False,
) -> None:
    """Make the key of a holder, on P-256, and write its public half.

    With `--shares`, several people hold it together: the key itself is never written to disk.

    Examples: `v2g ota key ada.key --public ada.pem`

    `v2g ota key board.sealed --public board.pem --shares 5 --threshold 3 --holder Ada --holder Grace`
    """
    from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat

    from v2g_cli.pki.common import new_file, write_out
    from v2g_cli.pki.keys import make_key, reference_of

    new_file(public)
    made: SigningKey
    if shares is None:
        if threshold or holder or print_:
            raise ConfigError("--threshold, --holder and --print need --shares", hint="--shares 5")
        made = make_key(reference_of(uri), "secp256r1", tpm=tpm)
    elif tpm:
        raise ConfigError("a key in a TPM cannot be split into shares", hint="--tpm or --shares")
    else:
        made = _make_shared(
            reference_of(uri), public.stem, threshold or shares // 2 + 1, holders_of(holder, shares), print_=print_
        )
    write_out(public, made.public_key.public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo))
    say(f"{public}: the public half of {uri}")


@app.command()
@with_option_groups
def init(folder: Folder, signers: Signers) -> None:
    """Begin a repository: draft who may sign what. Each role needs a key, root and targets best five.

    Example: `v2g ota init releases --root-key ada.pem --targets-key ada.pem --snapshot-key online.pem --timestamp-key
    online.pem`
    """
    keys = _public_keys(signers)
    if missing := [role for role in ("root", "targets", "snapshot", "timestamp") if role not in keys]:
        raise ConfigError(f"no key for {', '.join(missing)}", hint=f"--{missing[0]}-key FILE; v2g ota key makes one")
    repository = _open(folder)
    repository.begin(keys, _thresholds(keys, signers), _now())
    _say_drafts(repository)


@app.command()
@with_option_groups
def roles(folder: Folder, signers: Signers) -> None:
    """Draft the next root: a role gets the keys that are given, all of them; other roles keep theirs.

    The holders of the present root and of the next one have to sign it. Without keys it only renews the root.

    Example: `v2g ota roles releases --timestamp-key new.pem`
    """
    keys = _public_keys(signers)
    repository = _open(folder)
    repository.change_roles(keys, _thresholds(keys, signers), _now())
    _say_drafts(repository)


@app.command()
def add(
    folder: Folder,
    image: Annotated[Path, typer.Argument(help="The image.")],
    number: Annotated[int, typer.Option(min=1, help="Number of the release, above all before.")],
    hardware: Annotated[list[str], typer.Option(help="Kind of hardware that may have it; repeatable.")],
    name: Annotated[str, typer.Option(help="Its name in the repository; default: the file's.")] = "",
    components: Annotated[Path | None, typer.Option(metavar="FILE", help="List of its components (CycloneDX).")] = None,
) -> None:
    """Draft a release: copy an image into the repository, and list it.

    Example: `v2g ota add releases charger-0.3.0.img --number 30 --hardware dc30`
    """
    import re

    import msgspec

    from v2g import typed_json
    from v2g.config import misfit
    from v2g.ota.release import NAME, TargetFacts

    name = name or image.name
    if re.fullmatch(NAME, name) is None:
        raise ConfigError(f"{name!r} is no name for an image", hint="letters, digits, and . _ + - in between")
    try:
        facts = typed_json.convert({"number": number, "hardware": hardware}, TargetFacts)
    except msgspec.ValidationError as error:
        raise ConfigError(misfit(error, TargetFacts), hint="hardware is a word, such as dc30") from None
    repository = _open(folder)
    repository.add(image, name, facts, _now(), None if components is None else read_file(components))
    _say_drafts(repository)


@app.command()
def patch(
    folder: Folder,
    name: Annotated[str, typer.Argument(help="Name of the image.")],
    old: Annotated[str, typer.Option("--from", metavar="NAME", help="Name of the image that devices have now.")],
) -> None:
    """Draft a patch, by which devices with an older release load the difference alone.

    Images without compression have small ones: one per cent where a compressed one has twenty.

    Example: `v2g ota patch releases charger-0.3.0.img --from charger-0.2.0.img`
    """
    repository = _open(folder)
    made = repository.add_patch(name, old, _now())
    whole = next(each.length for each in (*repository.releases(), *repository.drafted_releases()) if each.name == name)
    say(f"{made.name}: {made.length} octets, {100 * made.length / whole:.1f} % of the image")
    _say_drafts(repository)


@app.command()
def withdraw(folder: Folder, name: Annotated[str, typer.Argument(help="Name of the image.")]) -> None:
    """Draft a list of releases without an image: once that is published, no device installs it any more.

    Example: `v2g ota withdraw releases charger-0.3.0.img`
    """
    repository = _open(folder)
    repository.withdraw(name, _now())
    _say_drafts(repository)


@app.command()
def sign(
    folder: Folder,
    key: KeyOption = None,
    sealed: SealedOption = None,
    share: ShareFiles = None,
    joined: Annotated[
        list[Path] | None, typer.Option("--join", help="Signed copy of a draft, whose signatures to take over.")
    ] = None,
) -> None:
    """Sign the drafts that this key is for, after showing them; or take over signatures of copies.

    A key in shares is joined in memory, and never written to disk.

    Examples: `v2g ota sign releases --key ada.key`

    `v2g ota sign releases --sealed board.sealed --share board-share-1-of-5.txt --share board-share-3-of-5.txt --share
    board-share-4-of-5.txt`
    """
    if (key is None) == (sealed is None):
        raise ConfigError("one key is needed: --key or --sealed", hint="--key FILE, or --sealed FILE with --share FILE")
    repository = _open(folder)
    for each in joined or ():
        repository.join(each)
    for release in repository.drafted_releases():
        hardware = " ".join(release.facts.hardware)
        say(f"{release.name}: release {release.facts.number} for {hardware}, sha256 {release.digest.hex()}")
    if not repository.sign(_holders_key(key, sealed, share)):
        raise ConfigError("this key is none of the drafts' roles", hint="v2g ota show lists drafts and keys")
    _say_drafts(repository)


@app.command()
def publish(
    folder: Folder,
    snapshot_key: Annotated[str, typer.Option(help="Private key of the snapshot: PEM file, or key URI.")],
    timestamp_key: Annotated[str, typer.Option(help="Private key of the timestamp: PEM file, or key URI.")],
) -> None:
    """Publish the drafts, if enough holders have signed them, with a new timestamp: run it daily.

    Example: `v2g ota publish releases --snapshot-key online.key --timestamp-key online.key`
    """
    from v2g.io.keys.stores import open_key
    from v2g_cli.pki.keys import reference_of

    repository = _open(folder)
    repository.publish(open_key(reference_of(snapshot_key)), open_key(reference_of(timestamp_key)), _now())
    for each in repository.published():
        say(f"{each.signed.type} {each.signed.version}: until {each.signed.expires:%Y-%m-%d %H:%M} UTC")


@app.command()
def show(folder: Folder, json: JsonFlag = False) -> None:
    """List what is published, what waits for signatures, and all releases.

    Example: `v2g ota show releases`
    """
    repository = _open(folder)
    rows = []
    for state, found in (("published", repository.published()), ("draft", repository.drafts())):
        for each in found:
            row = {"role": each.signed.type, "version": each.signed.version, "state": state}
            row |= {"expires": f"{each.signed.expires:%Y-%m-%dT%H:%M:%SZ}"}
            if state == "draft":
                progress = repository.progress(each)
                row |= {"signatures": len(progress.signed), "needed": progress.threshold}
            rows.append(row)
    releases = repository.releases()
    if json:
        for row in rows:
            print_json(row)
        for release in releases:
            print_json({"release": release.name, "number": release.facts.number, "hardware": release.facts.hardware})
        return
    print_table(
        "Metadata",
        ("role", "version", "state", "expires", "signatures"),
        [
            (
                str(row["role"]),
                str(row["version"]),
                str(row["state"]),
                str(row["expires"]),
                f"{row['signatures']} of {row['needed']}" if "needed" in row else "",
            )
            for row in rows
        ],
    )
    print_table(
        "Releases",
        ("name", "number", "hardware", "octets", "sha256"),
        [
            (each.name, str(each.facts.number), " ".join(each.facts.hardware), str(each.length), each.digest.hex())
            for each in releases
        ],
    )


@app.command()
def verify(
    place: Annotated[str, typer.Argument(metavar="REPOSITORY", help="Folder, or address, of the repository.")],
    name: Annotated[str, typer.Argument(help="Name of the image.")],
    root: Annotated[Path, typer.Option(help="Root metadata that devices have, such as metadata/1.root.json.")],
    hardware: Annotated[str, typer.Option(help="Kind of the device's hardware.")],
    installed: Annotated[int, typer.Option(min=0, help="Number of the release that runs there.")] = 0,
    seen: Annotated[
        Path | None, typer.Option(help="Folder with what a device has seen; default: one that has seen nothing.")
    ] = None,
    components: Annotated[
        Path | None, typer.Option(metavar="FILE", help="Check that this list of components is the image's, too.")
    ] = None,
    json: JsonFlag = False,
) -> None:
    """Check, as a device does, whether it would install an image; exit code 8 if not.

    Example: `v2g ota verify releases charger-0.3.0.img --root releases/metadata/1.root.json --hardware dc30`
    """
    import tempfile

    from v2g.io.ota.trusted import TrustedReleases
    from v2g.ota.release import check_release

    with tempfile.TemporaryDirectory() as fresh:
        release = TrustedReleases(root, place, seen or Path(fresh)).find(name)
    check_release(release, hardware, installed)
    if components is not None and hashlib.sha256(read_file(components)).hexdigest() != release.facts.components:
        raise InstallError(f"{components} is not the list of components that {name} was released with")
    if json:
        print_json(release)
    else:
        say(f"{name}: release {release.facts.number}, {release.length} octets, sha256 {release.digest.hex()}")


def _make_shared(
    reference: "KeyReference", name: str, threshold: int, holders: list[str], *, print_: bool
) -> "SigningKey":
    """Make a key that only its shares open."""
    from cryptography.hazmat.primitives.asymmetric import ec

    from v2g.pki.keys import SoftwareKey

    file = reference.path
    if file is None or reference.pin is not None:
        raise ConfigError(f"{reference}: shares open a plain file only", hint="v2g ota key FILE --shares 5")
    made = ec.generate_private_key(ec.SECP256R1())
    shown = sys.stdout if print_ else None
    share_out(made, name, file, threshold, holders, prefix=f"{file.stem}-", shown=shown).say(file)
    return SoftwareKey(made)


def _holders_key(key: str | None, sealed: Path | None, shares: list[Path] | None) -> "SigningKey":
    """Return the key of a holder, or that of several, joined."""
    from v2g.io.keys.stores import open_key
    from v2g.pki.keys import SoftwareKey
    from v2g_cli.pki.common import joined_key
    from v2g_cli.pki.keys import reference_of

    if (joined := joined_key(sealed, shares)) is not None:
        return SoftwareKey(joined)
    assert key is not None
    return open_key(reference_of(key))


def _open(folder: Path) -> "Repository":
    from v2g.io.ota.repository import Repository

    return Repository(folder)


def _now() -> datetime:
    return datetime.now(UTC)


def _public_keys(signers: Signers) -> "dict[RoleName, list[PublicKey]]":
    from v2g.pki.keys import load_public_key

    given: dict[RoleName, list[Path] | None] = {
        "root": signers.root_keys,
        "targets": signers.targets_keys,
        "snapshot": signers.snapshot_keys,
        "timestamp": signers.timestamp_keys,
    }
    return {role: [load_public_key(each) for each in paths] for role, paths in given.items() if paths}


def _thresholds(keys: "dict[RoleName, list[PublicKey]]", signers: Signers) -> "dict[RoleName, int]":
    """Return the thresholds: one online signature, more than half of the people's."""
    found: dict[RoleName, int] = {"snapshot": 1, "timestamp": 1}
    found["root"] = signers.root_threshold or len(keys.get("root", ())) // 2 + 1
    found["targets"] = signers.targets_threshold or len(keys.get("targets", ())) // 2 + 1
    return found


def _say_drafts(repository: "Repository") -> None:
    for each in repository.drafts():
        progress = repository.progress(each)
        done = f"{len(progress.signed)} of {progress.threshold} signatures"
        say(f"{progress.role} {progress.version}: {'ready to publish' if progress.complete else done}")
