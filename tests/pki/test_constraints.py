"""Name constraints, name by name (RFC 5280 4.2.1.10)."""

import re
from ipaddress import ip_address, ip_network

import pytest
from cryptography import x509

from tests.pki.forge import CN, COUNTRY, ORG, Forge, name
from tests.together import together
from v2g.errors import CertificateError
from v2g.pki.profile import Role
from v2g.pki.verify import check_name_constraints

DNS, URI, DIRECTORY = x509.DNSName, x509.UniformResourceIdentifier, x509.DirectoryName
SUBJECT = name((COUNTRY, "DE"), (ORG, "An  Operator"), (CN, "leaf"))


def permits(subtree: x509.GeneralName, alternative: x509.GeneralName | None, *, excluded: bool = False) -> bool:
    """Say whether a leaf of that name passes a CA with one permitted (or excluded) subtree."""
    names = ([subtree], None) if not excluded else (None, [subtree])
    leaf = {"subject": SUBJECT}
    if alternative is not None:
        leaf["add"] = [(x509.SubjectAlternativeName([alternative]), False)]  # type: ignore[assignment]
    parties = Forge(Role.STATION).parties(root={"add": [(x509.NameConstraints(*names), True)]}, leaf=leaf)
    # the CA between has a name of its own, which is not what is asked about
    path = [parties["leaf"].certificate, parties["root"].certificate]
    return accepted(path)


def accepted(path: list[x509.Certificate]) -> bool:
    """Say whether a path passes the constraints in it."""
    try:
        check_name_constraints(path)
    except CertificateError as error:
        if error.reason == "name_constraints":
            return False
        raise
    return True


@together(
    ("subtree", "inside", "outside"),
    [
        (DNS("example"), DNS("example"), DNS("an-example")),
        (DNS("a.example."), DNS("a.example"), DNS("b.example")),
        (DNS("example"), DNS("a.B.EXAMPLE"), DNS("example.org")),
        (DNS(".example"), DNS("a.example"), DNS("a.examples")),
        (DNS("a.example"), DNS("x.a.example."), DNS("example")),
        (x509.IPAddress(ip_network("10.1.0.0/16")), x509.IPAddress(ip_address("10.1.2.3")),
         x509.IPAddress(ip_address("10.2.0.1"))),
        (x509.IPAddress(ip_network("fd00::/8")), x509.IPAddress(ip_address("fd00::1")),
         x509.IPAddress(ip_address("10.1.2.3"))),
        (URI("host.example"), URI("ocpp://HOST.example:80/x"), URI("http://a.host.example")),
        (URI("host.example"), URI("http://host.example./"), URI("http://xhost.example")),
        (URI(".example"), URI("http://a.b.example/"), URI("http://example/")),
        (DIRECTORY(name((CN, "other"))), DIRECTORY(name((CN, "Other"), (ORG, "x"))), DIRECTORY(name((ORG, "x")))),
    ],
)  # fmt: skip
def test_names_lie_inside_or_outside(
    subtree: x509.GeneralName, inside: x509.GeneralName, outside: x509.GeneralName
) -> None:
    if isinstance(subtree, DIRECTORY):  # the subject is a directory name, too
        assert not permits(subtree, inside)
    else:
        assert permits(subtree, inside)
    assert not permits(subtree, outside)
    assert not permits(subtree, inside, excluded=True)
    assert permits(subtree, outside, excluded=True)


@pytest.mark.parametrize("base", [(), ((COUNTRY, "DE"),), ((COUNTRY, "de"), (ORG, "an operator"))])
def test_a_subject_is_compared_from_its_front_without_case_and_double_spaces(base: tuple[object, ...]) -> None:
    assert permits(DIRECTORY(name(*base)), None)  # type: ignore[arg-type]
    assert not permits(DIRECTORY(name(*base)), None, excluded=True)  # type: ignore[arg-type]


@pytest.mark.parametrize("base", [((CN, "leaf"),), ((COUNTRY, "DE"), (ORG, "Operator")), ((ORG, "An Operator"),)])
def test_a_part_that_is_not_at_the_front_does_not_count(base: tuple[object, ...]) -> None:
    assert not permits(DIRECTORY(name(*base)), None)  # type: ignore[arg-type]


@pytest.mark.parametrize("uri", ["http://10.0.0.1/", "urn:x:y", "http://[fd00::1]/", "http://[/"])
def test_a_uri_without_a_host_name_passes_no_constraint(uri: str) -> None:
    assert not permits(URI("example"), URI(uri))
    assert not permits(URI("example"), URI(uri), excluded=True)


def test_kinds_that_are_not_judged_are_refused_wherever_they_are_constrained() -> None:
    mail = x509.RFC822Name("a@example")
    assert not permits(x509.RFC822Name("example"), mail)
    assert not permits(x509.RFC822Name("elsewhere"), mail, excluded=True)
    assert permits(DNS("example"), mail)  # no constraint on mail addresses


def test_a_kind_that_nobody_constrains_is_free() -> None:
    assert permits(DNS("example"), x509.IPAddress(ip_address("10.0.0.1")))
    assert permits(x509.IPAddress(ip_network("10.0.0.0/8")), DNS("example"))


def test_a_constraint_without_a_name_is_met_by_every_host() -> None:
    assert permits(DNS(""), DNS("a.example"))
    assert not permits(DNS(""), DNS("a.example"), excluded=True)


def test_one_of_several_permitted_names_is_enough() -> None:
    constraints = x509.NameConstraints([DNS("elsewhere"), DNS("example")], [DNS("b.example"), DNS("c.example")])
    for host, passes in (("a.example", True), ("b.example", False), ("c.example", False), ("a.org", False)):
        leaf = {"add": [(x509.SubjectAlternativeName([DNS(host)]), False)]}
        parties = Forge(Role.STATION).parties(root={"add": [(constraints, True)]}, leaf=leaf)
        assert accepted([parties["leaf"].certificate, parties["root"].certificate]) is passes


@pytest.mark.parametrize(
    ("issuer", "passes"), [(name((COUNTRY, "DE"), (CN, "sub")), False), (name((COUNTRY, "FR"), (CN, "sub")), True)]
)
def test_a_ca_between_is_bound_unless_it_certifies_its_own_new_key(issuer: x509.Name, passes: bool) -> None:
    """RFC 5280 6.1.3 (b)."""
    constraints = [(x509.NameConstraints([DIRECTORY(name((COUNTRY, "DE")))], None), True)]
    own = name((COUNTRY, "FR"), (CN, "sub"))
    parties = Forge(Role.STATION).parties(
        root={"add": constraints}, sub2={"subject": own, "issuer": issuer}, leaf={"subject": SUBJECT}
    )
    leaf, sub, root = (parties[level].certificate for level in ("leaf", "sub2", "root"))
    assert accepted([leaf, sub, root]) is passes
    assert not accepted([sub, root]), "a leaf is bound, whoever has issued it"


@pytest.mark.parametrize(
    ("constraints", "text"),
    [
        (
            x509.NameConstraints([DIRECTORY(name((ORG, "Other")))], None),
            "CN=leaf,O=An  Operator,C=DE, which a CA above ",
        ),
        (x509.NameConstraints(None, [DNS("example")]), "a.example, which a CA above excludes"),
    ],
)
def test_a_refusal_has_the_name_as_text(constraints: x509.NameConstraints, text: str) -> None:
    leaf = {"subject": SUBJECT, "add": [(x509.SubjectAlternativeName([DNS("a.example")]), False)]}
    parties = Forge(Role.STATION).parties(root={"add": [(constraints, True)]}, leaf=leaf)
    with pytest.raises(CertificateError, match=re.escape(f"has the name {text}")):
        check_name_constraints([parties["leaf"].certificate, parties["root"].certificate])
