"""A maker of firmware with a repository, whose keys a thief may have."""

from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from functools import cache
from pathlib import Path
from typing import Any

from cryptography.hazmat.primitives.asymmetric import ec
from tuf.api.metadata import Metadata

from v2g.io.ota.repository import KeySigner, Repository, RoleName
from v2g.io.ota.trusted import TrustedReleases
from v2g.ota.release import TargetFacts
from v2g.pki.keys import SoftwareKey

HARDWARE = "dc30"


@cache
def key(name: str) -> SoftwareKey:
    return SoftwareKey(ec.generate_private_key(ec.SECP256R1()))


HOLDERS = "abcde"


class Maker:
    """Five people hold root and targets, of whom three have to sign."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.repository = Repository(folder / "repository")
        self.now = datetime.now(UTC)
        people = [key(name).public_key for name in HOLDERS]
        keys: dict[RoleName, Any] = {"root": people, "targets": people}
        keys |= {role: [key(role).public_key] for role in ("snapshot", "timestamp")}
        self.repository.begin(keys, {"root": 3, "targets": 3}, self.now)

    @property
    def root(self) -> Path:
        return self.repository.folder / "metadata" / "1.root.json"

    def path(self, name: str) -> Path:
        return self.repository.folder / "metadata" / name

    def release(self, name: str, number: int, *hardware: str, image: bytes = b"image", by: str = "abc") -> None:
        """Release an image, signed by some."""
        file = self.folder / name
        file.write_bytes(image)
        self.repository.add(file, name, TargetFacts(number=number, hardware=hardware or (HARDWARE,)), self.now)
        self.publish(by)

    def publish(self, by: str = "abc", after: timedelta = timedelta()) -> None:
        for name in by:
            self.repository.sign(key(name))
        self.repository.publish(key("snapshot"), key("timestamp"), self.now + after)

    def device(self, place: str | Path = "", name: str = "device") -> TrustedReleases:
        return TrustedReleases(self.root, str(place or self.repository.folder), self.folder / name)

    def forge(self, name: str, by: Sequence[str], **fields: Any) -> None:
        """Change fields of published metadata, and sign them by these keys alone."""
        metadata: Metadata[Any] = Metadata.from_bytes(self.path(name).read_bytes())
        for field, value in fields.items():
            setattr(metadata.signed, field, value)
        metadata.signatures.clear()
        for each in by:
            metadata.sign(KeySigner(key(each)), append=True)
        self.path(name).write_bytes(metadata.to_bytes())
