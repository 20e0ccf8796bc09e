"""A maker's repository of releases: roles and images are drafted, signed by their holders, then published (TUF).

::

    metadata/   N.root.json, N.targets.json, N.snapshot.json, timestamp.json: what devices read
    targets/    the images
    drafts/     root.json and targets.json, until enough holders have signed them

Root and targets have keys that people hold, most of them offline: a draft goes from holder to holder, or in copies
whose signatures are joined. Snapshot and timestamp are signed at publication; whoever has only those two keys can
withhold a release, until the timestamp expires, but install nothing.
"""

import hashlib
import io
from collections.abc import Mapping, Sequence
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any, Final, Literal, TypeAlias, TypeVar

import msgspec
from cryptography.hazmat.primitives.asymmetric import ec
from securesystemslib.signer import Key, Signature, Signer, SSlibKey
from tuf.api import exceptions
from tuf.api.metadata import Metadata, MetaFile, Role, Root, Snapshot, TargetFile, Targets, Timestamp
from tuf.api.serialization import DeserializationError

from v2g.errors import ConfigError
from v2g.io.storage.journal_file import write_files
from v2g.ota.release import Origin, Release, TargetFacts, components_name, patch_name, read_release
from v2g.pki.keys import PublicKey, SigningKey, sign_der
from v2g.text import printable

RoleName = Literal["root", "targets", "snapshot", "timestamp"]
ROLES: Final[tuple[RoleName, ...]] = ("root", "targets", "snapshot", "timestamp")
PEOPLES: Final[tuple[Literal["root", "targets"], ...]] = ("root", "targets")
"""Roles whose keys people hold."""

VALID_DAYS: Final[Mapping[RoleName, int]] = {"root": 365, "targets": 180, "snapshot": 30, "timestamp": 2}
"""How long metadata are valid: within the timestamp's time devices notice that releases are withheld."""

MAX_METADATA: Final = 5_000_000

T = TypeVar("T", Root, Targets, Snapshot, Timestamp)
AnyMetadata: TypeAlias = Metadata[Any]
"""Of a role that is known only when it is read."""


class RepositoryProgress(msgspec.Struct, frozen=True):
    """Signatures of a draft: of `threshold` that are needed, these keys have signed, and these could yet."""

    role: str
    version: int
    threshold: int
    signed: tuple[str, ...]
    unsigned: tuple[str, ...]
    complete: bool


class KeySigner(Signer):
    """Signs by one of the project's keys: in a file, a PKCS#11 token or a TPM, or joined from shares."""

    def __init__(self, key: SigningKey) -> None:
        """Raises ConfigError for another curve than P-256."""
        self._key = key
        self._public = public_key_of(key.public_key)

    @property
    def public_key(self) -> Key:
        return self._public

    @classmethod
    def from_priv_key_uri(cls, priv_key_uri: str, public_key: Key, secrets_handler: object = None) -> "KeySigner":
        """See Signer; keys are opened by `v2g.io.keys`."""
        raise NotImplementedError

    def sign(self, payload: bytes) -> Signature:
        return Signature(self._public.keyid, sign_der(self._key, payload).hex())


def public_key_of(key: PublicKey) -> SSlibKey:
    """Return a key as metadata name it. Raises ConfigError for another curve than P-256."""
    if not isinstance(key, ec.EllipticCurvePublicKey) or key.curve.name != "secp256r1":
        raise ConfigError("releases are signed by keys on P-256", hint="v2g ota key makes one")
    return SSlibKey.from_crypto(key)


class Repository:
    """A repository in a folder. All methods raise ConfigError for what is missing or malformed, StoreError of the
    disk."""

    def __init__(self, folder: Path) -> None:
        self.folder: Final = folder
        self._metadata, self._drafts = folder / "metadata", folder / "drafts"

    # -- drafts

    def begin(
        self, keys: Mapping[RoleName, Sequence[PublicKey]], thresholds: Mapping[RoleName, int], now: datetime
    ) -> None:
        """Draft the first root and an empty list of images."""
        if self._newest("root") is not None or (self._drafts / "root.json").exists():
            raise ConfigError(f"{self.folder} has a root", hint="v2g ota roles changes its keys")
        root = Root(version=1, expires=_until("root", now), consistent_snapshot=True)
        _assign(root, keys, thresholds)
        self._draft(Metadata(root))
        self._draft(Metadata(Targets(version=1, expires=_until("targets", now))))

    def change_roles(
        self, keys: Mapping[RoleName, Sequence[PublicKey]], thresholds: Mapping[RoleName, int], now: datetime
    ) -> None:
        """Draft the next root: the roles in `keys` have these keys, the others keep theirs."""
        root = self._next(Root, "root", now)
        _assign(root.signed, keys, thresholds)
        self._draft(root)

    def add(self, image: Path, name: str, facts: TargetFacts, now: datetime, components: bytes | None = None) -> None:
        """Draft a list of images with this one, too, and copy it to `targets`, with the list of its components."""
        targets = self._next(Targets, "targets", now)
        highest = max((each.facts.number for each in _releases(targets)), default=0)
        if facts.number <= highest:
            raise ConfigError(f"release {facts.number} is not above {highest}", hint="releases only count up")
        if name in targets.signed.targets:
            raise ConfigError(f"{name} is released", hint="an image keeps its content: give another name")
        try:
            data = image.read_bytes()
        except OSError as error:
            raise ConfigError(f"{image}: {error.strerror}") from None
        if components is not None:
            facts = msgspec.structs.replace(facts, components=hashlib.sha256(components).hexdigest())
            write_files(self.folder / "targets", {components_name(name): components})
        self._list(targets, name, data, facts)

    def add_patch(self, name: str, old: str, now: datetime) -> Release:
        """Draft a patch that turns an older image into this one; return it."""
        from detools import create_patch  # with several libraries

        targets = self._next(Targets, "targets", now)
        found = {each.name: each for each in _releases(targets)}
        for each in (name, old):
            if each not in found or found[each].facts.patch_of is not None:
                raise ConfigError(f"{printable(each)} is not released", hint="v2g ota show lists what is")
            self._check_image(each, targets.signed.targets[each])
        into = io.BytesIO()
        images = self.folder / "targets"
        with (images / old).open("rb") as before, (images / name).open("rb") as after:
            create_patch(before, after, into)
        origin = Origin(length=found[old].length, digest=found[old].digest.hex())
        facts = msgspec.structs.replace(found[name].facts, patch_of=origin)
        self._list(targets, patch_name(name, found[old].facts.number), into.getvalue(), facts)
        return _releases(targets)[-1]

    def withdraw(self, name: str, now: datetime) -> None:
        """Draft a list of images without this one: no device installs it any more."""
        targets = self._next(Targets, "targets", now)
        if targets.signed.targets.pop(name, None) is None:
            raise ConfigError(f"{printable(name)} is not released", hint="v2g ota show lists what is")
        self._draft(targets)

    def sign(self, key: SigningKey) -> list[RepositoryProgress]:
        """Sign the drafts whose role has this key; return how far they are."""
        signer, signed = KeySigner(key), []
        for draft in self.drafts():
            if self._held(draft, signer.public_key.keyid):
                draft.sign(signer, append=True)
                self._draft(draft)
                signed.append(self.progress(draft))
        return signed

    def join(self, draft: Path) -> RepositoryProgress:
        """Take over the signatures of a copy of a draft."""
        theirs = _read(draft)
        ours = self._drafted(theirs.signed.type)
        if ours is None or ours.signed_bytes != theirs.signed_bytes:
            raise ConfigError(f"{draft} is not a copy of the draft in {self._drafts}")
        ours.signatures |= {name: each for name, each in theirs.signatures.items() if self._held(ours, name)}
        self._draft(ours)
        return self.progress(ours)

    def progress(self, metadata: AnyMetadata) -> RepositoryProgress:
        """Return how far the signatures of root or targets are."""
        role, root = metadata.signed.type, self._root_for(metadata)
        if role == "root":
            before = self._newest("root")
            found: Any = metadata.signed.get_root_verification_result(
                before.signed if before is not None else None, metadata.signed_bytes, metadata.signatures
            )
            threshold = max(found.first.threshold, found.second.threshold)
        else:
            found = root.get_verification_result(role, metadata.signed_bytes, metadata.signatures)
            threshold = found.threshold
        return RepositoryProgress(
            role, metadata.signed.version, threshold, tuple(found.signed), tuple(found.unsigned), found.verified
        )

    def drafts(self) -> list[AnyMetadata]:
        """Return what waits for signatures or publication."""
        return [each for role in PEOPLES if (each := self._drafted(role)) is not None]

    def published(self) -> list[AnyMetadata]:
        """Return the newest metadata of each role that is published."""
        return [each for role in ROLES if (each := self._newest(role)) is not None]

    def releases(self) -> list[Release]:
        """Return what is published."""
        return _releases(self._newest("targets"))

    def drafted_releases(self) -> list[Release]:
        """Return what the draft would publish anew."""
        before = self.releases()
        return [each for each in _releases(self._drafted("targets")) if each not in before]

    # -- publication

    def publish(self, snapshot: SigningKey, timestamp: SigningKey, now: datetime) -> None:
        """Publish the drafts that are there, all of them or none, and a new timestamp.

        The timestamp comes last: devices see all of it, or nothing.
        """
        drafts = self.drafts()
        for each in drafts:
            progress = self.progress(each)
            if not progress.complete:
                signed = f"{len(progress.signed)} of {progress.threshold} signatures"
                raise ConfigError(f"{progress.role} {progress.version} has {signed}", hint="v2g ota sign adds them")
        root = next((each for each in drafts if each.signed.type == "root"), None) or self._newest("root")
        targets = next((each for each in drafts if each.signed.type == "targets"), None) or self._newest("targets")
        if root is None or targets is None:
            raise ConfigError(f"{self.folder} has nothing to publish", hint="v2g ota init begins a repository")
        for name, target in targets.signed.targets.items():
            self._check_image(name, target)
        self._put([each for each in drafts if each is not root])
        listed = {"targets.json": MetaFile.from_data(targets.signed.version, targets.to_bytes(), ["sha256"])}
        latest = self._newest("snapshot")
        if (
            latest is None
            or latest.signed.meta != listed
            or latest.signed.expires - now < timedelta(days=VALID_DAYS["snapshot"] / 2)
            or not self._fits(root, latest)
        ):
            version = 1 if latest is None else latest.signed.version + 1
            latest = self._signed(
                root, Snapshot(version=version, expires=_until("snapshot", now), meta=listed), snapshot
            )
            self._put([latest])
        before = self._newest("timestamp")
        version = 1 if before is None else before.signed.version + 1
        meta = MetaFile(latest.signed.version)
        made = self._signed(
            root, Timestamp(version=version, expires=_until("timestamp", now), snapshot_meta=meta), timestamp
        )
        self._put([root])  # of which old metadata may not be: no sooner than what is new
        write_files(self._metadata, {"timestamp.json": made.to_bytes()})
        for each in drafts:
            (self._drafts / f"{each.signed.type}.json").unlink()

    def _fits(self, root: "Metadata[Root]", other: AnyMetadata) -> bool:
        return root.signed.get_verification_result(other.signed.type, other.signed_bytes, other.signatures).verified

    def _signed(self, root: "Metadata[Root]", signed: T, key: SigningKey) -> "Metadata[T]":
        made = Metadata(signed)
        made.sign(KeySigner(key))
        if not self._fits(root, made):
            raise ConfigError(f"this key is none of the role {signed.type}")
        return made

    def _put(self, metadata: Sequence[AnyMetadata]) -> None:
        files = {f"{each.signed.version}.{each.signed.type}.json": each.to_bytes() for each in metadata}
        write_files(self._metadata, files)

    def _check_image(self, name: str, target: TargetFile) -> None:
        path = self.folder / "targets" / name
        try:
            with path.open("rb") as file:
                target.verify_length_and_hashes(file)
        except (OSError, exceptions.LengthOrHashMismatchError):
            raise ConfigError(
                f"{path} is not the image that the drafts list", hint="copy the image there again"
            ) from None

    # -- files

    def _next(self, kind: type[T], role: RoleName, now: datetime) -> "Metadata[T]":
        """Return the draft of a role without its signatures, or one that follows what is published."""
        found = self._drafted(role) or self._newest(role)
        if found is None:
            raise ConfigError(f"{self.folder} has no {role}", hint="v2g ota init begins a repository")
        drafted = self._drafted(role) is not None
        found.signed.version += 0 if drafted else 1
        found.signed.expires = _until(role, now)
        found.signatures.clear()
        return found

    def _held(self, metadata: AnyMetadata, keyid: str) -> bool:
        """Return whether a key may sign metadata: one of the role's, for a root also one of the root before."""
        roots = [self._root_for(metadata)]
        if metadata.signed.type == "root" and (before := self._newest("root")) is not None:
            roots.append(before.signed)
        return any(keyid in root.roles[metadata.signed.type].keyids for root in roots)

    def _root_for(self, metadata: AnyMetadata) -> Root:
        """Return the root that a draft has to fit: itself, the drafted one, or the newest."""
        if metadata.signed.type == "root":
            return metadata.signed  # type: ignore[no-any-return]
        root = self._drafted("root") or self._newest("root")
        if root is None:
            raise ConfigError(f"{self.folder} has no root", hint="copy metadata and drafts together")
        return root.signed  # type: ignore[no-any-return]

    def _drafted(self, role: str) -> AnyMetadata | None:
        path = self._drafts / f"{role}.json"
        return _read(path, role) if path.exists() else None

    def _newest(self, role: str) -> AnyMetadata | None:
        if role == "timestamp":
            path = self._metadata / "timestamp.json"
            return _read(path, role) if path.exists() else None
        versions = [int(each.name.split(".")[0]) for each in self._metadata.glob(f"[0-9]*.{role}.json")]
        return _read(self._metadata / f"{max(versions)}.{role}.json", role) if versions else None

    def _list(self, targets: "Metadata[Targets]", name: str, data: bytes, facts: TargetFacts) -> None:
        """Draft a list with this file, too, and write it."""
        hashes, custom = {"sha256": hashlib.sha256(data).hexdigest()}, msgspec.to_builtins(facts)
        targets.signed.targets[name] = TargetFile(len(data), hashes, name, {"custom": custom})
        write_files(self.folder / "targets", {name: data})
        self._draft(targets)

    def _draft(self, metadata: AnyMetadata) -> None:
        write_files(self._drafts, {f"{metadata.signed.type}.json": metadata.to_bytes()})


def _assign(root: Root, keys: Mapping[RoleName, Sequence[PublicKey]], thresholds: Mapping[RoleName, int]) -> None:
    """Give roles other keys. Raises ConfigError if fewer have to sign than there are, or none."""
    for role, held in keys.items():
        ids = {each.keyid: each for each in map(public_key_of, held)}
        threshold = thresholds.get(role, 1)
        if not 1 <= threshold <= len(ids):
            raise ConfigError(
                f"{role}: {threshold} of {len(ids)} keys cannot sign", hint="a threshold from 1 to the number of keys"
            )
        for old in list(root.roles[role].keyids):
            root.revoke_key(old, role)
        root.roles[role] = Role([], threshold)
        for key in ids.values():
            root.add_key(key, role)


def _releases(targets: "Metadata[Targets] | None") -> list[Release]:
    listed = targets.signed.targets if targets is not None else {}
    return [read_release(name, each.length, each.hashes, each.custom) for name, each in listed.items()]


def _until(role: RoleName, now: datetime) -> datetime:
    return (now + timedelta(days=VALID_DAYS[role])).replace(microsecond=0)


def _read(path: Path, role: str = "") -> AnyMetadata:
    """Return metadata in a file. Raises ConfigError."""
    try:
        with path.open("rb") as file:
            found: AnyMetadata = Metadata.from_bytes(file.read(MAX_METADATA))
    except OSError as error:
        raise ConfigError(f"{path}: {error.strerror}") from None
    except DeserializationError:
        raise ConfigError(f"{path} is no metadata of a repository") from None
    if found.signed.type not in ((role,) if role else PEOPLES):
        raise ConfigError(
            f"{path} has the role {printable(found.signed.type)}", hint=f"expected {role or 'root or targets'}"
        )
    return found
