"""Who a partner of roaming is, what it may see, and where it may be called."""

import hashlib

import pytest

from csms.roaming.rules import (
    KINDS,
    MODULES,
    Partner,
    best_version,
    check_partner_url,
    digest_of,
    host_of,
    key_of,
    party_of,
    seal_purpose,
    with_roles,
)
from csms.webhooks.rules import Reach
from tests.together import together
from v2g.errors import OcpiError
from v2g.ocpi.objects import (
    BusinessDetails,
    ModuleEndpoint,
    OcpiCredentials,
    OcpiLocation,
    OcpiSession,
    OcpiTariff,
    OcpiToken,
    OfferedVersion,
    PartyRole,
)


def roles(*named: str) -> tuple[PartyRole, ...]:
    """Return roles from `EMSP NL TNM`."""
    return tuple(
        PartyRole(role=role, business_details=BusinessDetails(name="X"), country_code=country, party_id=party)
        for role, country, party in map(str.split, named)
    )


HUB = Partner(partner_id="hub", roles=roles("CPO de one", "Hub NL Hub"))
PLAIN = Partner(partner_id="plain", roles=roles("EMSP NL TNM", "CPO NL TNM"))


def test_each_module_has_its_owner_on_this_side() -> None:
    """Senders own the objects: a CPO its locations, a provider its tokens (OCPI 2.2.1, 8 to 13)."""
    assert {"locations": OcpiLocation, "tariffs": OcpiTariff, "sessions": OcpiSession, "tokens": OcpiToken} == KINDS
    for module in ("locations", "tariffs", "sessions", "cdrs"):
        assert (MODULES["cpo"][module], MODULES["emsp"][module]) == ("SENDER", "RECEIVER")
    for module in ("tokens", "commands"):
        assert (MODULES["cpo"][module], MODULES["emsp"][module]) == ("RECEIVER", "SENDER")
    assert MODULES["cpo"].keys() - MODULES["emsp"].keys() == {"chargingprofiles"}
    assert MODULES["cpo"]["chargingprofiles"] == "RECEIVER"
    assert {each["hubclientinfo"] for each in MODULES.values()} == {"RECEIVER"}


def test_a_partner_is_the_parties_that_it_speaks_for() -> None:
    assert Partner(partner_id="x") == Partner(
        partner_id="x", state="invited", versions_url="", hosts=(), bare_token=False, negative_energy=True,
        discharge=False, clients=(), hub_party="", created_ms=0, version="", roles=(), endpoints=(),
    )  # fmt: skip
    assert (PLAIN.parties, PLAIN.hub, PLAIN.behind("de*two")) == ({"nl*tnm"}, None, "")
    assert HUB.hub == ("NL", "Hub")
    assert (HUB.behind("nl*hub"), HUB.behind("de*two"), HUB.behind("de*one")) == ("", "de*two", "de*one")
    named = Partner(partner_id="hub", hub_party="NLHUB", clients=("de*two",), roles=roles("HUB BE OLD"))
    assert (named.hub, named.parties) == (("NL", "HUB"), {"be*old", "de*two", "nl*hub"})


@together(
    ("module", "role", "url"),
    [
        ("tokens", "SENDER", "u1"),
        ("tokens", "RECEIVER", "u2"),
        ("sessions", "RECEIVER", "u3"),
        ("sessions", "SENDER", "u3"),  # 2.1.1 and credentials say no role
        ("cdrs", "SENDER", None),
        ("TOKENS", "SENDER", None),
        ("tariffs", "SENDER", "u5"),
    ],
)
def test_a_module_is_found_by_its_role(module: str, role: str, url: str | None) -> None:
    endpoints = (
        ModuleEndpoint(identifier="Tokens", url="u1", role="sender"),
        ModuleEndpoint(identifier="tokens", url="u2", role="RECEIVER"),
        ModuleEndpoint(identifier="sessions", url="u3"),
        ModuleEndpoint(identifier="cdrs", url="u4", role="RECEIVER"),
        ModuleEndpoint(identifier="tariffs", url="u5", role="SENDER"),
        ModuleEndpoint(identifier="tariffs", url="u6", role="SENDER"),
    )
    partner = Partner(partner_id="plain", endpoints=endpoints)
    assert partner.endpoint(module, "SENDER" if role == "SENDER" else "RECEIVER") == url


def test_names_are_compared_without_case() -> None:
    assert party_of("NL", "tNm") == "nl*tnm"
    assert key_of("NL", "tNm", "LOC1", "e2") == "nl*tnm*loc1*e2"
    assert digest_of("Secret") == hashlib.sha256(b"ocpi Secret").hexdigest()
    assert seal_purpose("tnm") == "roaming partner tnm"  # what is sealed is opened with it, also by later programs
    assert (host_of("https://OCPI.example:8443/x"), host_of("mailto:x")) == ("ocpi.example", "")


@together(
    ("url", "hosts", "fits"),
    [
        ("https://OCPI.example/x", ("ocpi.example",), True),
        ("https://ocpi.example/x", (), True),
        ("https://ocpi.example/x", ("other.example", "ocpi.example"), True),
        ("https://ocpi.example.evil.example/x", ("ocpi.example",), False),
        ("https://127.0.0.1/x", (), False),
        ("https://[::1/x", (), False),
        ("ftp://ocpi.example/x", ("ocpi.example",), False),
    ],
)
def test_only_hosts_of_the_partner_are_called(url: str, hosts: tuple[str, ...], fits: bool) -> None:
    if fits:
        assert check_partner_url(url, hosts, Reach()) == url
        return
    with pytest.raises(OcpiError) as refused:
        check_partner_url(url, hosts, Reach())
    assert refused.value.code == 3001
    if "evil" in url:
        assert str(refused.value) == "ocpi.example.evil.example is not a host of this partner (ocpi.example)"


def test_a_host_that_may_be_called_is_named_in_the_configuration() -> None:
    assert check_partner_url("https://127.0.0.1/x", ("127.0.0.1",), Reach(["127.0.0.1"]))


@together(
    ("offered", "only", "best"),
    [
        ("2.1.1 2.2.1 2.3.0", "", "2.3.0"),
        ("2.3.0 2.2.1", "2.2.1", "2.2.1"),
        ("2.2.1 2.1.1", "", "2.2.1"),
        ("2.1.1 2.2.1", "2.3.0", "no common version: 2.3.0 here, 2.1.1, 2.2.1 there"),
        ("2.2 2.1.1", "", "no common version: 2.3.0, 2.2.1 here, 2.1.1, 2.2 there"),
        ("", "", "no common version: 2.3.0, 2.2.1 here, none there"),
    ],
)
def test_the_newest_common_version_is_used(offered: str, only: str, best: str) -> None:
    versions = [OfferedVersion(version=each, url=f"https://x/{each}") for each in offered.split()]
    if " " not in best:
        assert best_version(versions, only) == (best, f"https://x/{best}")
        assert only or best_version(versions) == best_version(versions, "")
        return
    with pytest.raises(OcpiError) as refused:
        best_version(versions, only)
    assert (str(refused.value), refused.value.code) == (best, 3002)


OTHERS = {"de*cpo": "this back end", "nl*tnm": "tnm"}


@together(
    ("said", "hub_party", "kept", "refusal"),
    [
        (("EMSP BE NEW", "CPO be new"), None, 2, ""),
        (("EMSP NL TNM",), None, 0, "party NL*TNM belongs to tnm"),
        (("EMSP BE NEW", "CPO de cpo", "EMSP NL TNM"), None, 0, "party de*cpo belongs to this back end"),
        (("HUB BE HUB", "CPO DE CPO", "EMSP NL TNM", "EMSP BE NEW"), None, 2, ""),
        (("CPO DE CPO", "EMSP BE NEW"), "BEHUB", 1, ""),
        (("CPO DE CPO",), "BEHUB", 0, ""),
        (("EMSP BE NEW",), "NLTNM", 0, "party NL*TNM belongs to tnm"),
    ],
)
def test_nobody_speaks_for_the_party_of_another(
    said: tuple[str, ...], hub_party: str | None, kept: int, refusal: str
) -> None:
    """A hub names all parties of its platform, also this back end's."""
    credentials = OcpiCredentials(token="t", url="https://x", roles=roles(*said), hub_party_id=hub_party)
    before = Partner(partner_id="new", hub_party="ITOLD", roles=roles("CPO IT OLD"), version="2.3.0")
    if not refusal:
        found = with_roles(before, credentials, OTHERS)
        assert (len(found.roles), found.hub_party, found.version) == (kept, hub_party or "", "2.3.0")
        assert not found.parties & OTHERS.keys()
        return
    with pytest.raises(OcpiError) as refused:
        with_roles(before, credentials, OTHERS)
    assert (str(refused.value), refused.value.code) == (refusal, 2001)
