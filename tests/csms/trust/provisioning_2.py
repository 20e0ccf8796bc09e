"""What several tests of provisioning 2 use."""

from pathlib import Path
from typing import Any

import msgspec

from csms.config import Provisioning
from pki_tools.tree import PkiTree
from tests.csms.trust.provisioning import provisioning


def provisioning_2(tree: PkiTree, folder: Path, **changes: Any) -> Provisioning:
    fields = {"oem_sub_cas": (tree.path("oem/sub1.pem"), tree.path("oem/sub2.pem")), **changes}
    return msgspec.structs.replace(provisioning(tree, folder), **fields)


def trusted(tree: PkiTree, *others: PkiTree) -> dict[str, Any]:
    names = ("mo/root.pem", "v2g/root.pem"), ("mo/sub2.crl", "oem/sub2.crl")
    roots, crls = (tuple(each.path(name) for each in (tree, *others) for name in part) for part in names)
    return {"roots": roots, "crls": crls}
