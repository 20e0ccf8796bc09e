"""What the certificate profiles of Annex B allow. What they refuse stands in `bad_certificates`."""

from typing import Any

import pytest
from cryptography import x509

from pki_tools.tree import PkiTree
from tests.pki.chains import ROLES
from tests.pki.forge import CN, COUNTRY, DC, NOW, ORG, UNIT, Forge, name, usage
from tests.together import together
from v2g.errors import CertificateError
from v2g.pki.conformity import check_profile
from v2g.pki.profile import Role
from v2g.pki.verify import verify_chain

POINT = x509.DistributionPoint([x509.UniformResourceIdentifier("http://c")], None, None, None)


@together(
    ("role", "change"),
    [
        (
            Role.CONTRACT,
            {"subject": name((CN, "DEV2GC00000001"), (ORG, "o"), (COUNTRY, "DE"), (UNIT, "u"), (DC, "MO"))},
        ),
        (Role.CONTRACT, {"subject": name((CN, "DE-V2G-C00000001-X"), (ORG, "o"))}),
        (Role.CONTRACT, {"add": [(usage(digital_signature=True, content_commitment=True), True)]}),
        (
            Role.CONTRACT,
            {"without": (x509.AuthorityInformationAccess,), "add": [(x509.CRLDistributionPoints([POINT]), True)]},
        ),
        (Role.SECC, {"without": (x509.ExtendedKeyUsage,)}),
        (Role.SECC, {"add": [(usage(digital_signature=True, key_agreement=True), True)]}),
        (Role.VEHICLE, {"subject": name((CN, "WMI1"), (ORG, "OEM"), (DC, "VEHICLE"))}),
        (Role.OEM_PROVISIONING, {"subject": name((CN, "WMIV2GENGINE00042X"), (ORG, "OEM"), (DC, "OEM"))}),
        (Role.STATION, {"add": [(usage(digital_signature=True, key_encipherment=True), True)]}),
    ],
)
def test_what_a_profile_leaves_open_is_believed_either_way(role: Role, change: dict[str, Any]) -> None:
    made = Forge(role).made(leaf=change)
    verify_chain(made.chain[0], made.chain[1:], made.anchors, role=role, at=NOW)


def test_no_leaf_passes_for_another_role(pki: PkiTree) -> None:
    """Except that station certificates are general clients, which OCPP wants so."""
    leaves = ("secc", "vehicle", "provisioning", "contract", "cps")
    roles = {leaf: ROLES.get(leaf, Role.CPS) for leaf in leaves}
    for leaf in leaves:
        for role in set(roles.values()) - {roles[leaf]}:
            with pytest.raises(CertificateError):
                check_profile(x509.load_der_x509_certificate(pki.chain(leaf)[0]), role)
