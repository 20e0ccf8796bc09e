"""Signatures of ISO 15118-2: what each message signs, the published example, the forms of other stacks, and attacks."""

from typing import Any

import pytest
from cryptography.hazmat.primitives.asymmetric import ec

from tests.exi.instances import draw
from tests.iso15118.engine.signature_vectors import J_ELEMENT, J_PRIVATE, J_VALUE
from tests.iso15118.engine.signing import (
    ELEMENTS_2,
    P256,
    P521,
    SIMPLE,
    as_der,
    replace,
    resigned,
    with_reference,
    with_value,
)
from tests.together import together
from v2g.errors import SignatureError
from v2g.iso15118.d2.messages import common
from v2g.iso15118.d2.messages.data_types import EMAID, CertificateChain, EVSEProcessing, ResponseCode, SAScheduleList
from v2g.iso15118.d2.schedules import PriceStep, sales_tariff, schedule_tuple
from v2g.iso15118.d2.schemas import ISO2
from v2g.iso15118.d2.signatures import sign, signed_elements, verify
from v2g.iso15118.engine.power_schedule import PowerSchedule, Step
from v2g.iso15118.engine.signature import SignatureDeviation
from v2g.iso15118.engine.xmldsig import Transform, Transforms
from v2g.pki.keys import SoftwareKey

OTHER = SoftwareKey(ec.generate_private_key(ec.SECP256R1()))
CHAIN, KEY = ELEMENTS_2["ContractSignatureCertChain"], ELEMENTS_2["ContractSignatureEncryptedPrivateKey"]
DH, NAME = ELEMENTS_2["DHpublickey"], ELEMENTS_2["eMAID"]


def installed(kind: Any) -> Any:
    return kind(
        response_code=ResponseCode.OK,
        sa_provisioning_certificate_chain=CertificateChain(certificate=b"cps"),
        contract_signature_cert_chain=CHAIN,
        contract_signature_encrypted_private_key=KEY,
        dh_public_key=DH,
        emaid=NAME,
    )


def offered(*element_ids: str | None) -> Any:
    schedule = PowerSchedule((Step(0, 11_000),), 86_400)
    tuples = tuple(
        schedule_tuple(at, schedule, sales_tariff(at, [PriceStep(0, 1)], end_s=86_400, element_id=name))
        for at, name in enumerate(element_ids, 1)
    )
    return common.ChargeParameterDiscoveryRes(
        response_code=ResponseCode.OK,
        evse_processing=EVSEProcessing.Finished,
        sa_schedules=SAScheduleList(sa_schedule_tuple=tuples),
        evse_charge_parameter=object(),  # not part of what is signed
    )


BODIES: dict[str, Any] = {
    **{
        name: ELEMENTS_2[name]
        for name in ("AuthorizationReq", "MeteringReceiptReq", "CertificateInstallationReq", "CertificateUpdateReq")
    },
    "CertificateInstallationRes": installed(common.CertificateInstallationRes),
    "CertificateUpdateRes": installed(common.CertificateUpdateRes),
    "ChargeParameterDiscoveryRes": offered("id1", None, "id2"),
}
BODIES["AuthorizationReq"] = common.AuthorizationReq(gen_challenge=bytes(range(16)), id="id1")
COUNTS = {"CertificateInstallationRes": 4, "CertificateUpdateRes": 4, "ChargeParameterDiscoveryRes": 2}


def altered(body: Any) -> Any:
    """Return a body that says something else in what is signed."""
    match body:
        case common.AuthorizationReq():
            return replace(body, gen_challenge=bytes(16))
        case common.MeteringReceiptReq():
            return replace(
                body, meter_info=replace(body.meter_info, meter_reading=(body.meter_info.meter_reading or 0) + 1)
            )
        case common.CertificateInstallationReq():
            return replace(body, oem_provisioning_cert=b"another")
        case common.CertificateUpdateReq():
            return replace(body, emaid="DEV2GC99999999")
        case common.ChargeParameterDiscoveryRes():
            changed = offered("id1", None, "id2")
            tuples = changed.sa_schedules.sa_schedule_tuple
            tariff = replace(tuples[2].sales_tariff, sales_tariff_id=99)
            return replace(
                changed,
                sa_schedules=SAScheduleList(sa_schedule_tuple=(*tuples[:2], replace(tuples[2], sales_tariff=tariff))),
            )
    return replace(body, emaid=EMAID(value="DEV2GC99999999", id=body.emaid.id))


@together("name", sorted(BODIES))
def test_every_signed_message_verifies_and_no_other_content_or_key_does(name: str) -> None:
    body = BODIES[name]
    assert len(signed_elements(body)) == COUNTS.get(name, 1)
    signature = sign(body, P256)
    assert verify(signature, body, P256.public_key) == frozenset()
    with pytest.raises(SignatureError, match="hash"):
        verify(signature, altered(body), P256.public_key)
    with pytest.raises(SignatureError, match="does not match"):
        verify(signature, body, OTHER.public_key)
    with pytest.raises(SignatureError, match="no signature"):
        verify(None, body, P256.public_key)


def test_messages_without_signed_elements() -> None:
    for body in (
        common.AuthorizationReq(),
        common.ServiceDiscoveryReq(),
        common.SessionSetupReq(evcc_id=bytes(6)),
        offered(None),
        replace(offered(), sa_schedules=None),
    ):
        assert signed_elements(body) == ()
        with pytest.raises(SignatureError, match="nothing to sign"):
            sign(body, P256)
        with pytest.raises(SignatureError, match="nothing to sign"):
            verify(sign(BODIES["AuthorizationReq"], P256), body, P256.public_key)


def test_the_example_of_the_standard() -> None:
    public = SoftwareKey(ec.derive_private_key(J_PRIVATE, ec.SECP256R1())).public_key
    signature = with_value(sign(J_ELEMENT, P256), bytes.fromhex(J_VALUE))
    assert verify(signature, J_ELEMENT, public) == frozenset()


def test_a_key_of_20_is_refused() -> None:
    with pytest.raises(SignatureError, match="ecdsa-sha512 is not allowed here, only ecdsa-sha256") as caught:
        verify(sign(J_ELEMENT, P521), J_ELEMENT, P521.public_key)
    assert not caught.value.hint


def test_a_signature_of_20_is_refused_by_its_name() -> None:
    """The key is one of -2, the method that of -20."""
    info = sign(J_ELEMENT, P521).signed_info
    with pytest.raises(SignatureError, match="signature method ecdsa-sha512 is not that of the key, ecdsa-sha256"):
        verify(resigned(info, P256), J_ELEMENT, P256.public_key)


@together("name", sorted(BODIES))
def test_forms_of_other_stacks_are_understood_and_named(name: str) -> None:
    body = BODIES[name]
    usual = sign(body, P256)
    info = usual.signed_info
    bare = replace(info, reference=tuple(replace(each, transforms=None) for each in info.reference))
    assert verify(as_der(usual), body, P256.public_key) == {SignatureDeviation.DER_VALUE}
    assert verify(resigned(info, P256, ISO2), body, P256.public_key) == {SignatureDeviation.MESSAGE_GRAMMAR}
    assert verify(resigned(bare, P256), body, P256.public_key) == {SignatureDeviation.NO_TRANSFORMS}
    assert verify(as_der(resigned(bare, P256, ISO2)), body, P256.public_key) == set(SignatureDeviation)


def test_tolerance_does_not_reach_what_is_signed() -> None:
    body = BODIES["MeteringReceiptReq"]
    info = sign(body, P256).signed_info
    bare = replace(info, reference=tuple(replace(each, transforms=None) for each in info.reference))
    other = Transforms(transform=(Transform(algorithm="http://www.w3.org/TR/2001/REC-xml-c14n-20010315"),))
    wrong = {
        "transformed": resigned(with_reference(info, transforms=other), P256),
        "the hash": resigned(with_reference(info, digest_value=bytes(32)), P256),
        "is signed, not": resigned(with_reference(info, uri="#other"), P256),
        "references": resigned(replace(info, reference=info.reference * 2), P256),
        "does not match": with_value(resigned(bare, P256), sign(body, P256).signature_value.value),
        "bytes instead of 64": with_value(sign(body, P256), b"\x30\x06\x02\x01\x01\x02\x01"),
    }
    for message, signature in wrong.items():
        with pytest.raises(SignatureError, match=message):
            verify(signature, body, P256.public_key)
        with pytest.raises(SignatureError, match=r"transformed|hash|does not match|signed|references|bytes"):
            verify(
                as_der(signature) if len(signature.signature_value.value) == 64 else signature, body, P256.public_key
            )


@together("place", range(0, 64, 7))
def test_a_changed_bit_of_the_value_is_found_in_either_form(place: int) -> None:
    signature = sign(J_ELEMENT, P256)
    value = bytearray(signature.signature_value.value)
    value[place] ^= 1
    for each in (with_value(signature, bytes(value)), as_der(with_value(signature, bytes(value)))):
        with pytest.raises(SignatureError):
            verify(each, J_ELEMENT, P256.public_key)


def test_random_receipts_verify() -> None:
    for receipt in draw(next(strategy_of("MeteringReceiptReq")), 20):
        body = replace(receipt, id="id1")
        assert verify(sign(body, P256), body, P256.public_key) == frozenset()


def strategy_of(name: str) -> Any:
    from tests.exi.instances import signed

    return (each.strategy(SIMPLE) for each in signed(ISO2) if each.label == name)
