"""A complete PKI on disk: V2G, OEM, MO, CPS and operator authorities with all their certificates.

The layout is described in certs/README.md. `PkiOptions` can also create invalid certificates, for
tests and demonstration scenarios.
"""

from datetime import datetime
from pathlib import Path

import msgspec

from pki_tools.authority import sign_staple
from pki_tools.files import write_whole
from pki_tools.index import Index, load_index
from pki_tools.make import Maker
from pki_tools.options import DEFAULTS, Fault, PkiOptions
from v2g.errors import ConfigError
from v2g.pki.credentials import Credentials, load_chain, load_credentials
from v2g.pki.keys import SoftwareKey, load_key

__all__ = ["DEFAULTS", "Fault", "PkiOptions", "PkiTree", "make_pki", "refresh_staple"]


class PkiTree(msgspec.Struct, frozen=True):
    """A tree on disk. Names of leaves are their folders: `secc`, `vehicle`, `contract`, `csms/server`, ..."""

    directory: Path

    @classmethod
    def load(cls, directory: Path) -> "PkiTree":
        """Return the tree in `directory`. Raises ConfigError when there is none."""
        if not (directory / "v2g" / "root.pem").is_file():
            raise ConfigError(f"{directory} holds no PKI", hint=f"make one: v2g pki make {directory}")
        return cls(directory)

    def path(self, name: str) -> Path:
        """Return the path of a file, such as `secc/chain.pem`."""
        return self.directory / name

    def index(self) -> Index:
        """Return the index on disk. Raises ConfigError."""
        return load_index(self.directory)

    def anchors(self, *roots: str) -> tuple[bytes, ...]:
        """Return DER roots by folder: `anchors("v2g", "oem")`."""
        return tuple(load_chain(self.directory / root / "root.pem")[0] for root in roots)

    def chain(self, leaf: str) -> tuple[bytes, ...]:
        """Return a leaf's DER chain, leaf first, without the root."""
        return load_chain(self.directory / leaf / "chain.pem")

    def key(self, leaf: str) -> SoftwareKey:
        """Return a leaf's signing key."""
        return load_key(self.directory / leaf / "leaf.key")

    def credentials(self, leaf: str) -> Credentials:
        """Return a leaf's chain and key."""
        return load_credentials(self.directory / leaf / "chain.pem", self.directory / leaf / "leaf.key")

    def staple(self, leaf: str = "secc") -> bytes:
        """Return the DER OCSP answer for a leaf (`secc`, `contract`, `cps`)."""
        return (self.directory / leaf / "ocsp.der").read_bytes()


def make_pki(directory: Path, *, now: datetime, options: PkiOptions = DEFAULTS) -> PkiTree:
    """Write a complete PKI below `directory`, replacing existing files, and return it.

    `now` (aware, UTC) is the start of all validity, except for faults in `options`.
    """
    Maker(directory, now.replace(microsecond=0), options).make()
    return PkiTree(directory)


def refresh_staple(tree: PkiTree, *, now: datetime, leaf: str = "secc", revoked: bool = False) -> bytes:
    """Write a new OCSP answer for `leaf`, valid a week from `now`, and return it.

    Its status is that of the index, or, if `revoked`, revoked.
    """
    index = tree.index()
    answer = sign_staple(tree.directory, index, index.find(leaf), at=now.replace(microsecond=0), revoked=revoked)
    write_whole(tree.path(f"{leaf}/ocsp.der"), answer)
    return answer
