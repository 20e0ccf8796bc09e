"""Name constraints (RFC 5280 4.2.1.10): whether a CA may certify names.

Directory names, DNS names, IP addresses and URIs are supported. A constraint of any
other kind rejects every certificate below with a name of that kind.
"""

from collections.abc import Iterator, Sequence
from ipaddress import IPv4Network, IPv6Network
from urllib.parse import urlsplit

from cryptography import x509

from v2g.pki.conformity import extension, refusal


def check_name_constraints(path: Sequence[x509.Certificate]) -> None:
    """Check every certificate of a path (leaf first) against the constraints of all above it.

    A CA's certificate for its own new key is bound only if it is the leaf. Raises
    CertificateError(name_constraints).
    """
    for place, authority in enumerate(path):
        constraints = extension(authority, x509.NameConstraints)
        if constraints is None:
            continue
        for below, certificate in enumerate(path[:place]):
            if below == 0 or certificate.subject != certificate.issuer:
                _check(certificate, constraints.value)


def _check(certificate: x509.Certificate, constraints: x509.NameConstraints) -> None:
    for name in _names(certificate):
        excluded, permitted = (
            [each for each in subtrees or () if type(each) is type(name)]
            for subtrees in (constraints.excluded_subtrees, constraints.permitted_subtrees)
        )
        if any(_lies_within(name, each, otherwise=True) for each in excluded):
            what = f"has the name {name.value}, which a CA above excludes"
        elif permitted and not any(_lies_within(name, each, otherwise=False) for each in permitted):
            what = f"has the name {name.value}, which a CA above does not permit"
        else:
            continue
        raise refusal(certificate, what, "name_constraints")


def _names(certificate: x509.Certificate) -> Iterator[x509.GeneralName]:
    if certificate.subject.rdns:
        yield x509.DirectoryName(certificate.subject)
    alternative = extension(certificate, x509.SubjectAlternativeName)
    if alternative is not None:
        yield from alternative.value


def _lies_within(name: x509.GeneralName, subtree: x509.GeneralName, *, otherwise: bool) -> bool:
    """Return whether a name belongs to a subtree of the same kind; `otherwise` for unsupported kinds."""
    match name, subtree:
        case x509.DirectoryName(value=value), x509.DirectoryName(value=base):
            wanted = [_comparable(each) for each in base.rdns]
            return [_comparable(each) for each in value.rdns[: len(wanted)]] == wanted
        case x509.DNSName(value=host), x509.DNSName(value=base):
            return _is_host_below(host, base.removeprefix("."))
        case x509.IPAddress(value=address), x509.IPAddress(value=IPv4Network() | IPv6Network() as network):
            return address in network
        case x509.UniformResourceIdentifier(value=uri), x509.UniformResourceIdentifier(value=base):
            return _is_uri_at(uri, base, otherwise=otherwise)
        case _:
            return otherwise


def _comparable(rdn: x509.RelativeDistinguishedName) -> frozenset[tuple[str, str]]:
    """Return a part of a name for comparison by RFC 5280 7.1: ignoring case and amount of space."""
    return frozenset((each.oid.dotted_string, " ".join(str(each.value).casefold().split())) for each in rdn)


def _is_host_below(host: str, base: str) -> bool:
    host, base = host.lower().rstrip("."), base.lower().rstrip(".")
    return not base or host == base or host.endswith(f".{base}")


def _is_uri_at(uri: str, base: str, *, otherwise: bool) -> bool:
    """Return whether the host of `uri` is `base`, or below it if that begins with a period."""
    try:
        host = urlsplit(uri).hostname
    except ValueError:
        host = None
    if not host or ":" in host or host.replace(".", "").isdigit():  # an address cannot be constrained
        return otherwise
    host, suffix = host.rstrip("."), base.lower().removeprefix(".")
    return host == suffix if suffix == base.lower() else host.endswith(f".{suffix}")
