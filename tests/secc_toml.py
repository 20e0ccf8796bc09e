"""The least that a charger's configuration needs."""

from typing import Final

from pki_tools.tree import PkiTree

SECC: Final = """data_dir = "secc"
[tls]
chain = "chain.pem"
key = "leaf.key"
v2g_roots = ["root.pem"]
[meter]
chain = "meter.pem"
key = "meter.key"
"""


def identity(pki: PkiTree, *roots: str, ocsp: bool = False) -> str:
    """Return the tables of a charger's certificate, of the roots that it trusts, and of its meter's key."""
    return "\n".join(
        (
            "[tls]",
            f'chain = "{pki.path("secc/chain.pem")}"',
            f'key = "{pki.path("secc/leaf.key")}"',
            *([f'ocsp = "{pki.path("secc/ocsp.der")}"'] if ocsp else []),
            *(f'{each}_roots = ["{pki.path(f"{each}/root.pem")}"]' for each in roots),
            "[meter]",
            f'chain = "{pki.path("meter/chain.pem")}"',
            f'key = "{pki.path("meter/leaf.key")}"',
        )
    )
