"""Contracts to install and vehicles to install them into, of both kinds of keys."""

import itertools
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from typing import Any

from cryptography import x509
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import ec

from pki_tools.tree import PkiTree
from v2g.iso15118.engine.contracts import Contract, Service
from v2g.pki.issue import Issuer, IssueRequest, Subject, issue
from v2g.pki.keys import PrivateKey, load_private_key, new_ed448_contract_key
from v2g.pki.profile import Role

NOW = datetime.now(UTC).replace(microsecond=0)
PCID = "WMIV2GENGINE00001X"


def drawn(start: int = 1) -> Callable[[int], bytes]:
    """Return entropy that is the same in every run."""
    numbers = itertools.count(start)
    return lambda n: next(numbers).to_bytes(8, "big") * (n // 8) + bytes(range(1, n % 8 + 1))


def new_key(*, ed448: bool = False, start: int = 1) -> PrivateKey:
    return new_ed448_contract_key(drawn(start)) if ed448 else ec.generate_private_key(ec.SECP521R1())


def new_contract(tree: PkiTree, emaid: str, *, ed448: bool = False, start: int = 1, **change: Any) -> Contract:
    """Return a contract under the tree's MO root, requested with `change`."""
    key = new_key(ed448=ed448, start=start)
    above = tree.path("mo/sub2.pem")
    request = {
        "role": Role.CONTRACT,
        "subject": Subject(common_name=emaid, organization="eMSP"),
        "public_key": key.public_key(),
        "serial": int.from_bytes(emaid.encode(), "big") + start,
        "not_before": NOW - timedelta(days=1),
        "ocsp_url": "http://ocsp.invalid",
    } | change
    issuer = Issuer(x509.load_pem_x509_certificate(above.read_bytes()), load_private_key(above.with_suffix(".key")))
    leaf = issue(IssueRequest(**request), issuer).public_bytes(serialization.Encoding.DER)
    return Contract((leaf, *tree.chain("contract")[1:]), key)


def own_contract(tree: PkiTree) -> Contract:
    """Return the contract that the tree was made with."""
    return Contract(tree.chain("contract"), load_private_key(tree.path("contract/leaf.key")))


def service(tree: PkiTree) -> Service:
    return Service(tree.chain("cps"), tree.key("cps"))
