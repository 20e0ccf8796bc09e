"""A PKI tree for benches, of which a run of the tests makes thousands: each file is read once."""

import functools
from pathlib import Path

from pki_tools.tree import PkiTree
from v2g.pki.keys import SoftwareKey


class KnownTree(PkiTree, frozen=True):
    """A tree that does not change any more."""

    def anchors(self, *roots: str) -> tuple[bytes, ...]:
        """See PkiTree."""
        return tuple(_anchor(self.directory, root) for root in roots)

    def chain(self, leaf: str) -> tuple[bytes, ...]:
        """See PkiTree."""
        return _chain(self.directory, leaf)

    def key(self, leaf: str) -> SoftwareKey:
        """See PkiTree."""
        return _key(self.directory, leaf)


def known(tree: PkiTree) -> PkiTree:
    """Return the tree as one that does not change any more; one that is special in its own way stays as it is."""
    return KnownTree(tree.directory) if type(tree) is PkiTree else tree


@functools.cache
def _anchor(directory: Path, root: str) -> bytes:
    return PkiTree(directory).anchors(root)[0]


@functools.cache
def _chain(directory: Path, leaf: str) -> tuple[bytes, ...]:
    return PkiTree(directory).chain(leaf)


@functools.cache
def _key(directory: Path, leaf: str) -> SoftwareKey:
    return PkiTree(directory).key(leaf)
