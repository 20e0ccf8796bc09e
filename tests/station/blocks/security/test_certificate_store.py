"""The roots that a station trusts (M03 to M05), and which chains lead to them."""

import hashlib
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat

from tests.station.bench import Bench
from tests.station.certificates import DAY, NOW, ROOT, Authority, install, key_usage, pem
from v2g.ocpp.messages.security import CertificateSigningUse
from v2g_station.blocks.connection.network import first_profile
from v2g_station.blocks.security.certificate_store import (
    CertificateStore,
    RootsChanged,
    StoredCertificate,
    is_current,
    parse_chain,
    stored_chains,
)

SUB = Authority("Sub-CA", ROOT)
OTHER = Authority("Other")
SECURE = first_profile("wss://csms.example/ocpp", security_profile=2, message_timeout=30)


def leaf(by: Authority = ROOT, **options: Any) -> x509.Certificate:
    return by.sign(x509.Name([]), ec.generate_private_key(ec.SECP256R1()).public_key(), **options)


def store(found: Bench) -> CertificateStore:
    return found.station.certificates


def listed(found: Bench, *uses: str) -> list[dict[str, Any]]:
    answer = found.ask("GetInstalledCertificateIds", {"certificateType": list(uses)} if uses else {})
    chains: list[dict[str, Any]] = answer.get("certificateHashDataChain", [])
    assert answer["status"] == ("Accepted" if chains else "NotFound")
    return chains


def hashed(certificate: x509.Certificate, issuer: x509.Certificate, algorithm: str = "SHA256") -> dict[str, str]:
    """Return what identifies a certificate, by 2.7 CertificateHashDataType and RFC 6960 4.1.1."""
    key = issuer.public_key().public_bytes(Encoding.X962, PublicFormat.UncompressedPoint)  # type: ignore[call-arg]
    name = certificate.issuer.public_bytes()
    digest = algorithm.lower()
    return {
        "hashAlgorithm": algorithm,
        "issuerNameHash": hashlib.new(digest, name).hexdigest(),
        "issuerKeyHash": hashlib.new(digest, key).hexdigest(),
        "serialNumber": f"{certificate.serial_number:x}",
    }


def delete(found: Bench, certificate: x509.Certificate, issuer: x509.Certificate, **changes: str) -> str:
    algorithm = changes.pop("algorithm", "SHA256")
    status: str = found.ask("DeleteCertificate", certificateHashData=hashed(certificate, issuer, algorithm) | changes)[
        "status"
    ]
    return status


class TestTrusted:
    """Which chains lead to a root of a kind."""

    @pytest.mark.parametrize(
        ("chain", "trusted"),
        [
            ([leaf()], True),
            ([leaf(SUB), SUB.certificate], True),
            ([leaf(SUB), SUB.certificate, ROOT.certificate], True),
            ([ROOT.certificate], True),
            ([], False),
            ([leaf(SUB)], False),
            ([leaf(SUB), ROOT.certificate], False),
            ([leaf(), SUB.certificate], False),
            ([leaf(OTHER)], False),
            ([leaf(OTHER), OTHER.certificate], False),
            ([leaf(days=-1)], False),
            ([leaf(begin=NOW + DAY)], False),
            ([leaf(SUB), SUB.sign(SUB.name, SUB.key.public_key(), by=ROOT, ca=True, days=-1)], False),
            ([leaf(SUB), SUB.sign(SUB.name, SUB.key.public_key(), by=ROOT)], False),
        ],
        ids=[
            *("root", "sub-CA", "with root", "root itself", "empty", "no sub-CA", "gap", "not its own", "other"),
            *("other with root", "expired", "not yet valid", "expired sub-CA", "no CA"),
        ],
    )
    def test_it(self, chain: list[x509.Certificate], trusted: bool) -> None:
        found = Bench()
        assert not store(found).trusted(chain, "ManufacturerRootCertificate")
        for each in (Authority("Another"), ROOT):
            install(found, "ManufacturerRootCertificate", each.pem)
        assert store(found).trusted(chain, "ManufacturerRootCertificate") is trusted
        assert not store(found).trusted(chain, "MORootCertificate")

    def test_a_sub_ca_certifies_what_its_path_length_and_key_usage_permit(self) -> None:
        """RFC 5280 6.1.4 (l), (m), (n), also of the anchor; a certificate of a CA for its new key does not count."""

        def subject_to(**limits: Any) -> x509.Certificate:
            return ROOT.sign(SUB.name, SUB.key.public_key(), ca=True, **limits)

        below = Authority("Below", SUB)
        renewed = Authority("Sub-CA", SUB)
        found = Bench()
        install(found, "ManufacturerRootCertificate")
        for lower, sub, trusted in (
            ([leaf(SUB)], subject_to(path_length=0), True),
            ([leaf(below), below.certificate], subject_to(path_length=0), False),
            ([leaf(below), below.certificate], subject_to(path_length=1), True),
            ([leaf(renewed), renewed.certificate], subject_to(path_length=0), True),
            ([leaf(SUB)], subject_to(extensions=[key_usage("key_cert_sign")]), True),
            ([leaf(SUB)], subject_to(extensions=[key_usage("digital_signature", "crl_sign")]), False),
            ([leaf(SUB)], subject_to(extensions=[x509.UnrecognizedExtension(x509.KeyUsage.oid, b"")]), False),
        ):
            assert store(found).trusted([*lower, sub], "ManufacturerRootCertificate") is trusted
            anchored = Bench()
            install(anchored, "ManufacturerRootCertificate", pem(sub))
            assert store(anchored).trusted(lower, "ManufacturerRootCertificate") is trusted

    def test_names_and_critical_extensions_bind(self) -> None:
        """RFC 5280 6.1.4 (g) and 4.2: a station does not trust what a CA above excludes, nor what it cannot read."""
        elsewhere = x509.NameConstraints([x509.DNSName("maker.example")], None)
        named = leaf(SUB, extensions=[x509.SubjectAlternativeName([x509.DNSName("other.example")])])
        unknown = x509.UnrecognizedExtension(x509.ObjectIdentifier("1.3.6.1.4.1.99999.1"), b"")
        sub, leaf_key = SUB.key.public_key(), ec.generate_private_key(ec.SECP256R1()).public_key()
        found = Bench()
        install(found, "ManufacturerRootCertificate")
        for chain, trusted in (
            ([named, ROOT.sign(SUB.name, sub, ca=True, extensions=[elsewhere], critical=True)], False),
            ([leaf(SUB), ROOT.sign(SUB.name, sub, ca=True, extensions=[elsewhere], critical=True)], True),
            ([leaf(SUB), ROOT.sign(SUB.name, sub, ca=True, extensions=[unknown], critical=True)], False),
            ([leaf(SUB), ROOT.sign(SUB.name, sub, ca=True, extensions=[unknown])], True),
            ([ROOT.sign(SUB.name, leaf_key, extensions=[unknown], critical=True)], False),
            ([ROOT.sign(SUB.name, leaf_key, extensions=[unknown])], True),
        ):
            assert store(found).trusted(chain, "ManufacturerRootCertificate") is trusted

    def test_an_anchor_need_not_have_signed_itself(self) -> None:
        """Such as a root of the CSMS that its predecessor has signed (M05.FR.10)."""
        found = Bench()
        install(found, "ManufacturerRootCertificate", SUB.pem)
        for chain in ([leaf(SUB)], [leaf(SUB), SUB.certificate]):
            assert store(found).trusted(chain, "ManufacturerRootCertificate")
        assert not store(found).trusted([leaf(SUB), SUB.certificate, ROOT.certificate], "ManufacturerRootCertificate")

    def test_a_certificate_is_valid_from_five_minutes_before_its_begin_to_its_end(self) -> None:
        """A CA's clock may be ahead."""
        begin, end = datetime(2026, 1, 1, tzinfo=UTC), datetime(2026, 2, 1, tzinfo=UTC)
        key = ec.generate_private_key(ec.SECP256R1()).public_key()
        found = ROOT.sign(x509.Name([]), key, begin=begin, days=(end - NOW) // timedelta(days=1))
        end_ms = round(found.not_valid_after_utc.timestamp() * 1000)
        begin_ms = 1_767_225_600_000
        for utc_ms, valid in (
            (begin_ms - 300_001, False),
            (begin_ms - 300_000, True),
            (end_ms, True),
            (end_ms + 1, False),
        ):
            assert is_current(found, utc_ms) is valid


def test_a_text_that_is_no_pem_is_no_chain() -> None:
    assert parse_chain("-----BEGIN CERTIFICATE-----") == parse_chain("\ud800") == []
    assert parse_chain(SUB.pem + ROOT.pem) == [SUB.certificate, ROOT.certificate]


# -- M03


def test_what_is_installed_is_listed_by_hashes_with_the_chain_below_it() -> None:
    found = Bench("2.1")
    for use in ("V2GRootCertificate", "OEMRootCertificate"):
        install(found, use)
    below = [leaf(SUB), SUB.certificate, ROOT.certificate]
    for first in (leaf(SUB), below[0], below[0]):  # each takes the place of the one before
        store(found).keep_chain("".join(map(pem, [first, *below[1:]])))
    v2g, oem, chain = listed(found)
    assert [each["certificateType"] for each in (v2g, oem)] == ["V2GRootCertificate", "OEMRootCertificate"]
    assert v2g["certificateHashData"] == hashed(ROOT.certificate, ROOT.certificate)
    assert "childCertificateHashData" not in v2g
    assert chain == {
        "certificateType": "V2GCertificateChain",
        "certificateHashData": hashed(below[0], SUB.certificate),
        "childCertificateHashData": [hashed(below[1], ROOT.certificate), hashed(below[2], ROOT.certificate)],
    }
    assert listed(found, "V2GCertificateChain") == [chain]
    assert listed(found, "OEMRootCertificate", "V2GRootCertificate") == [v2g, oem]
    assert listed(found, "MORootCertificate") == []
    found.power_loss()
    assert sorted(map(str, listed(found))) == sorted(map(str, [v2g, oem, chain]))


def test_at_most_four_children_of_a_chain_are_listed() -> None:
    """3.1.20: childCertificateHashData has 0..4."""
    found = Bench()
    store(found).keep_chain(pem(leaf()) + 6 * ROOT.pem)
    (chain,) = listed(found)
    assert len(chain["childCertificateHashData"]) == 4


def test_2_0_1_has_no_type_for_roots_of_vehicle_makers() -> None:
    found = Bench("2.0.1", roots=(seed(ROOT, "OEMRootCertificate"), seed(ROOT, "MORootCertificate")))
    assert [each["certificateType"] for each in listed(found)] == ["MORootCertificate"]


# -- M05


def answered(found: Bench, text: str, use: str = "CSMSRootCertificate") -> tuple[str, str]:
    answer = found.ask("InstallCertificate", certificateType=use, certificate=text)
    return answer["status"], answer.get("statusInfo", {}).get("reasonCode", "")


ACCEPTED = ("Accepted", "")
INVALID = ("Rejected", "InvalidCertificate")


def certified(authority: Authority, **options: Any) -> str:
    return pem(authority.sign(authority.name, authority.key.public_key(), **options))


@pytest.mark.parametrize(
    "text",
    [
        *("", "no certificate", ROOT.pem + OTHER.pem, certified(ROOT), certified(ROOT, ca=True, days=-1)),
        *(certified(ROOT, ca=True, begin=NOW + DAY), certified(ROOT, ca=True, responder=b"\x01\x02")),
    ],
    ids=["empty", "none", "two", "no CA", "expired", "not yet valid", "unreadable"],
)
def test_what_is_no_root_is_rejected(text: str) -> None:
    found = Bench()
    assert answered(found, text or " ") == INVALID
    assert listed(found) == []
    assert not [each for each in found.commands if isinstance(each, RootsChanged)]


def test_fifty_certificates_are_stored_and_none_more() -> None:
    found = Bench()
    for number in range(50):
        assert answered(found, Authority(f"Root {number}").pem) == ACCEPTED
    assert answered(found, ROOT.pem) == ("Rejected", "OutOfStorage")
    assert (len(listed(found)), entries(found)) == (50, "50")


def entries(found: Bench) -> str:
    value: str = found.get("SecurityCtrlr", "CertificateEntries")["attributeValue"]
    return value


def test_a_certificate_takes_its_own_place_and_no_others() -> None:
    """M05.FR.17. Serial numbers are unique for one issuer only, and a root may have several uses."""
    found = Bench()
    alike = []
    for name in ("A", "B"):
        authority, key = Authority(name), ec.generate_private_key(ec.SECP256R1())
        builder = x509.CertificateBuilder().subject_name(authority.name).issuer_name(authority.name).serial_number(7)
        builder = builder.public_key(key.public_key()).not_valid_before(NOW - DAY).not_valid_after(NOW + DAY)
        builder = builder.add_extension(x509.BasicConstraints(ca=True, path_length=None), critical=True)
        alike.append(pem(builder.sign(key, hashes.SHA256())))
    for _ in range(2):
        for use in ("V2GRootCertificate", "MORootCertificate"):
            for text in alike:
                assert answered(found, text, use) == ACCEPTED
    assert len(listed(found)) == 4
    assert RootsChanged(use="MORootCertificate", pem=tuple(alike)) == found.commands[-1]


def test_a_root_of_the_csms_is_signed_by_one_before_it_where_that_is_checked() -> None:
    """M05.FR.10, .11. The first one has none before it, and other roots are not checked."""
    found = Bench(variables={"SecurityCtrlr.AdditionalRootCertificateCheck": "true"})
    assert answered(found, ROOT.pem) == ACCEPTED
    assert answered(found, OTHER.pem) == INVALID
    second = Authority("Second", ROOT)
    for text in (second.pem, Authority("Third", ROOT).pem, Authority("Fourth", second).pem):
        assert answered(found, text) == ACCEPTED
    for _ in range(2):
        assert answered(found, Authority("Anybody").pem, "V2GRootCertificate") == ACCEPTED
    unchecked = Bench()
    assert answered(unchecked, ROOT.pem) == answered(unchecked, OTHER.pem) == ACCEPTED


# -- M04


@pytest.mark.parametrize("algorithm", ["SHA256", "SHA384", "SHA512"])
def test_a_certificate_is_deleted_by_each_hash_and_spelling(algorithm: str) -> None:
    found = Bench()
    for each in (ROOT, OTHER):
        install(found, text=each.pem)
    right = hashed(ROOT.certificate, ROOT.certificate, algorithm)
    wrong = hashed(OTHER.certificate, OTHER.certificate, algorithm)
    for name in ("issuerNameHash", "issuerKeyHash", "serialNumber"):
        mixed = {name: wrong[name]}
        assert delete(found, ROOT.certificate, ROOT.certificate, algorithm=algorithm, **mixed) == "NotFound"
    spelled = {
        "issuerNameHash": right["issuerNameHash"].upper(),
        "issuerKeyHash": right["issuerKeyHash"].upper(),
        "serialNumber": f"00{right['serialNumber'].upper()}"[:40],
    }
    if len(right["serialNumber"]) > 38:
        spelled["serialNumber"] = right["serialNumber"].upper()
    assert delete(found, ROOT.certificate, ROOT.certificate, algorithm=algorithm, **spelled) == "Accepted"
    assert found.commands[-1] == RootsChanged(use="CSMSRootCertificate", pem=(OTHER.pem,))
    assert delete(found, ROOT.certificate, ROOT.certificate) == "NotFound"
    assert entries(found) == "1"
    found.power_loss()
    assert (len(listed(found)), entries(found)) == (1, "1")


def test_the_chain_for_vehicles_is_deleted_by_its_leaf() -> None:
    found = Bench()
    chain = [leaf(SUB), SUB.certificate]
    store(found).keep_chain("".join(map(pem, chain)))
    install(found, "V2GRootCertificate")
    found.commands.clear()
    assert delete(found, SUB.certificate, ROOT.certificate) == "NotFound"
    assert delete(found, chain[0], SUB.certificate) == "Accepted"
    assert [each["certificateType"] for each in listed(found)] == ["V2GRootCertificate"]
    assert found.commands == [], "no root has changed"


def test_the_last_valid_root_of_the_csms_stays_where_it_has_to_be_verified() -> None:
    """M04.FR.03; of other kinds, and with an unverified CSMS, the last may go."""
    found = Bench(network=SECURE)
    install(found, "V2GRootCertificate")
    assert delete(found, ROOT.certificate, ROOT.certificate) == "Accepted"
    for use in ("CSMSRootCertificate", "V2GRootCertificate"):
        install(found, use)
    answer = found.ask("DeleteCertificate", certificateHashData=hashed(ROOT.certificate, ROOT.certificate))
    assert (answer["status"], answer["statusInfo"]["reasonCode"]) == ("Failed", "NotEnabled")
    assert len(listed(found)) == 2
    short = Authority("Short")
    short.certificate = short.sign(short.name, short.key.public_key(), ca=True, days=1)
    for each in (short, OTHER):
        install(found, text=each.pem)
    found.wait(2 * 86_400)
    assert delete(found, ROOT.certificate, ROOT.certificate) == "Accepted", "a valid one is left beside the expired"
    assert delete(found, ROOT.certificate, ROOT.certificate) == "Accepted", "the last one for vehicles"
    unverified = Bench()
    install(unverified)
    assert delete(unverified, ROOT.certificate, ROOT.certificate) == "Accepted"


@pytest.mark.parametrize("sent", ["with sub-CA", "with root", "alone"])
def test_the_station_s_own_certificate_is_not_deleted(sent: str) -> None:
    """M04.FR.06."""
    own = leaf(SUB)
    above = {"with sub-CA": [SUB.certificate], "with root": [ROOT.certificate, SUB.certificate], "alone": []}[sent]
    found = Bench(chains={"ChargingStationCertificate": "".join(map(pem, [own, *above]))})
    issuer = SUB.certificate if above else own
    answer = found.ask("DeleteCertificate", certificateHashData=hashed(own, issuer))
    assert (answer["status"], answer["statusInfo"]["reasonCode"]) == ("Failed", "NotEnabled")
    install(found, text=SUB.pem)
    assert found.ask("DeleteCertificate", certificateHashData=hashed(own, SUB.certificate))["status"] == "Failed"
    assert delete(found, leaf(SUB), SUB.certificate) == "NotFound"
    assert delete(Bench(), own, SUB.certificate) == "NotFound"


# -- of the configuration, and the station's own


def seed(authority: Authority, use: Any = "CSMSRootCertificate") -> StoredCertificate:
    return StoredCertificate(use=use, pem=authority.pem)


def reported(found: Bench) -> list[RootsChanged]:
    changed = [each for each in found.commands if isinstance(each, RootsChanged)]
    found.commands.clear()
    return changed


def test_a_configured_root_is_installed_once_and_goes_with_its_configuration() -> None:
    found = Bench(roots=(seed(ROOT), seed(OTHER, "MORootCertificate")))
    csms, mo = (
        RootsChanged(use=u, pem=(a.pem,)) for u, a in (("CSMSRootCertificate", ROOT), ("MORootCertificate", OTHER))
    )  # type: ignore[arg-type]
    assert reported(found) == [csms, mo]
    assert entries(found) == "2"
    assert delete(found, ROOT.certificate, ROOT.certificate) == "Accepted"
    install(found, "V2GRootCertificate")
    reported(found)
    found.power_loss()
    v2g = RootsChanged(use="V2GRootCertificate", pem=(ROOT.pem,))
    assert reported(found) == [RootsChanged(use="CSMSRootCertificate", pem=()), v2g, mo], "deleted for good"
    found.settings["roots"] = (seed(ROOT), seed(SUB))
    found.power_loss()
    sub_ca, none = (
        RootsChanged(use="CSMSRootCertificate", pem=(SUB.pem,)),
        RootsChanged(use="MORootCertificate", pem=()),
    )
    assert reported(found) == [sub_ca, v2g, none]
    found.power_loss()
    assert reported(found) == [sub_ca, v2g], "nothing of a kind that is neither installed nor configured"
    found.settings["roots"] = ()
    found.power_loss()
    assert reported(found) == [RootsChanged(use="CSMSRootCertificate", pem=()), v2g]
    found.settings["roots"] = (seed(ROOT),)
    found.power_loss()
    assert reported(found) == [csms, v2g], "configured again, it is installed again"


def test_roots_of_every_kind_are_there_from_the_start() -> None:
    """3.43 InstallCertificateUseEnumType."""
    found = Bench("2.1")
    kinds = ("V2G", "MO", "CSMS", "Manufacturer", "OEM")
    for each in kinds:
        install(found, f"{each}RootCertificate")
    reported(found)
    found.power_loss()
    assert {each.use for each in reported(found)} == {f"{each}RootCertificate" for each in kinds}


def test_there_is_a_certificate_of_a_kind_while_the_first_of_one_is_valid() -> None:
    found = Bench(chains={"ChargingStationCertificate": pem(leaf())})
    known = store(found)
    assert known.has("ChargingStationCertificate")
    assert not known.has("CSMSRootCertificate")
    for days in (1, 3):
        install(found, text=certified(Authority("Root"), ca=True, days=days))
    for wait, there in ((0, True), (2, True), (2, False)):
        found.wait(wait * 86_400)
        assert known.has("CSMSRootCertificate") is there
    known.keep_chain(pem(leaf(SUB, days=-1)) + SUB.pem)
    assert not known.has("V2GCertificateChain")
    assert not known.has("V2GRootCertificate")


def test_the_chains_of_the_station_s_own_keys_outlive_it_and_files_go_before_them() -> None:
    use: CertificateSigningUse = "ChargingStationCertificate"
    found = Bench()
    assert (store(found).own(use), store(found).own_text(use)) == ([], "")
    own = leaf(SUB)
    store(found).keep_own(use, pem(own) + SUB.pem)
    assert store(found).own(use) == [own, SUB.certificate]
    found.wait(1)
    found.power_loss()
    assert store(found).own(use) == [own, SUB.certificate]
    assert stored_chains(found.saved) == {use: pem(own) + SUB.pem}
    assert stored_chains({"own_certificates": {use: b"{", "V2GCertificate": b'{"chain":"x"}'}}) == {
        "V2GCertificate": "x"
    }
    assert stored_chains({}) == {}
    found.settings["chains"] = {use: OTHER.pem}
    found.power_loss()
    assert store(found).own(use) == [OTHER.certificate]
