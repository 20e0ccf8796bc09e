"""What several tests of client and server use."""

from pki_tools.tree import PkiTree
from v2g.io.tls.files import TlsFiles


def files(pki: PkiTree, leaf: str, root: str = "csms/root.pem") -> TlsFiles:
    """The PEM files of a leaf."""
    return TlsFiles(ca=pki.path(root), chain=pki.path(f"{leaf}/chain.pem"), key=pki.path(f"{leaf}/leaf.key"))
