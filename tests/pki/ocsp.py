"""What several tests of ocsp use."""

from cryptography import x509

from pki_tools.tree import PkiTree
from v2g.pki.issue import Issuer
from v2g.pki.keys import load_private_key


def signer(tree: PkiTree, name: str) -> Issuer:
    path = tree.path(f"{name}.pem")
    return Issuer(x509.load_pem_x509_certificate(path.read_bytes()), load_private_key(path.with_suffix(".key")))
