"""Invalid certificates derived from valid ones, with one fault each: contracts, vehicles, chargers (pure).

No new keys are generated: the invalid ones certify the keys of the valid ones.
"""

import contextlib
from collections.abc import Mapping
from datetime import datetime, timedelta
from typing import Final

from cryptography import x509
from cryptography.hazmat.primitives.serialization import Encoding
from cryptography.x509.oid import AuthorityInformationAccessOID, NameOID

from v2g.pki.certificates import load_certificate
from v2g.pki.credentials import Credentials
from v2g.pki.issue import Issuer, IssueRequest, Subject, issue
from v2g.pki.keys import PrivateKey
from v2g.pki.profile import Role

_DAY: Final = timedelta(days=1)

_VALIDITY: Final[Mapping[str, tuple[int, int]]] = {
    "expired": (-30, -1),
    "not-yet-valid": (1, 30),
    "expires-soon": (-30, 7),
}
"""Name -> first and last day, relative to now."""

_ABOVE: Final = {
    Role.CONTRACT: ((Role.MO_SUB2, "MO"), (Role.MO_ROOT, "MO")),
    Role.VEHICLE: ((Role.OEM_SUB2, "OEM"), (Role.OEM_ROOT, "OEM")),
    Role.OEM_PROVISIONING: ((Role.OEM_SUB2, "OEM"), (Role.OEM_ROOT, "OEM")),
    Role.SECC: ((Role.CPO_SUB2, "V2G"), (Role.V2G_ROOT, "V2G")),
}
"""Role of a leaf -> roles of its CA and of its root, with the DC of each."""


def variants(good: Credentials, role: Role, now: datetime, ca_key: PrivateKey | None) -> dict[str, Credentials]:
    """Return `good` (of a contract, a vehicle, its provisioning or a charger) and its invalid variants, by name.

    `now` is aware. Those with another validity need `ca_key`, the key of the leaf's issuer; one under an
    unknown root, and one with a forged signature, need nothing.
    """
    leaf, *cas = good.chain
    forged = leaf[:-1] + bytes((leaf[-1] ^ 1,))  # the last bit of its CA's signature
    found = {
        "good": good,
        "unknown-root": _under_nobody(good, role, now),
        "forged": Credentials((forged, *cas), good.key),
    }
    if ca_key is not None:
        issuer = Issuer(load_certificate(good.chain[1]), ca_key)
        for name, (first, last) in _VALIDITY.items():
            leaf = _again(good, role, issuer, now + first * _DAY, now + last * _DAY)
            found[name] = Credentials((leaf, *good.chain[1:]), good.key)
    return found


def _again(good: Credentials, role: Role, issuer: Issuer, first: datetime, last: datetime) -> bytes:
    """Return the leaf with another validity."""
    leaf = load_certificate(good.chain[0])
    request = IssueRequest(
        role=role,
        subject=_subject(leaf),
        public_key=good.private_key.public_key(),
        serial=leaf.serial_number + first.day,
        not_before=first.replace(microsecond=0),
        not_after=last.replace(microsecond=0),
        ocsp_url=_ocsp_url(leaf),
        crl_url=_crl_url(leaf),
    )
    return issue(request, issuer).public_bytes(Encoding.DER)


def _ocsp_url(leaf: x509.Certificate) -> str | None:
    with contextlib.suppress(x509.ExtensionNotFound):
        for each in leaf.extensions.get_extension_for_class(x509.AuthorityInformationAccess).value:
            if each.access_method == AuthorityInformationAccessOID.OCSP:
                return str(each.access_location.value)
    return None


def _crl_url(leaf: x509.Certificate) -> str | None:
    with contextlib.suppress(x509.ExtensionNotFound):
        for each in leaf.extensions.get_extension_for_class(x509.CRLDistributionPoints).value:
            for name in each.full_name or ():
                return str(name.value)
    return None


def _under_nobody(good: Credentials, role: Role, now: datetime) -> Credentials:
    """Return the leaf below an unknown sub-CA and root with the sub-CA's own key."""
    key, begin = good.private_key, (now - _DAY).replace(microsecond=0)
    above: x509.Certificate | None = None
    for n, (each, domain) in enumerate(reversed(_ABOVE[role])):
        request = IssueRequest(
            role=each,
            subject=Subject(common_name=f"Nobody {n}", organization="Nobody", domain=domain),
            public_key=key.public_key(),
            serial=n + 1,
            not_before=begin,
        )
        above = issue(request, Issuer(above, key))
    assert above is not None
    leaf = _again(good, role, Issuer(above, key), begin, begin + 30 * _DAY)
    return Credentials((leaf, above.public_bytes(Encoding.DER)), good.key)


def _subject(leaf: x509.Certificate) -> Subject:
    def part(oid: x509.ObjectIdentifier) -> str | None:
        found = leaf.subject.get_attributes_for_oid(oid)
        return str(found[0].value) if found else None

    return Subject(
        common_name=part(NameOID.COMMON_NAME) or "",
        organization=part(NameOID.ORGANIZATION_NAME),
        country=part(NameOID.COUNTRY_NAME),
        domain=part(NameOID.DOMAIN_COMPONENT),
    )
