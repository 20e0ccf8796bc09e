"""Signed elements of every kind, and signatures put together by hand as an attacker would."""

from typing import Any, Final

import msgspec
from cryptography.hazmat.primitives.asymmetric import ec, ed448
from cryptography.hazmat.primitives.asymmetric.utils import encode_dss_signature

from tests.exi.instances import draw, signed
from tests.exi.strategies import UNSPACED, Wishes
from v2g import exi
from v2g.exi.declare import Schema
from v2g.iso15118.d2.schemas import ISO2
from v2g.iso15118.d20.schemas import COMMON_MESSAGES
from v2g.iso15118.engine.schemas import XMLDSIG
from v2g.iso15118.engine.xmldsig import Signature, SignatureValue, SignedInfo
from v2g.pki.keys import SoftwareKey

P521: Final = SoftwareKey(ec.generate_private_key(ec.SECP521R1()))
P256: Final = SoftwareKey(ec.generate_private_key(ec.SECP256R1()))
ED448: Final = SoftwareKey(ed448.Ed448PrivateKey.generate())

SIMPLE: Final = Wishes(most=2, empty=False, alphabet=UNSPACED)
"""For what other processors write as we do: see tests/exi/test_peer_codec.py."""

replace: Final = msgspec.structs.replace


def instances(schema: Schema) -> dict[str, Any]:
    """Return one element for every name of a signed element, each with an Id of its own."""
    subjects = signed(schema)
    return {
        each.label: replace(draw(each.strategy(SIMPLE), 1)[0], id=f"id{place}")
        for place, each in enumerate(subjects, 1)
        if "id" in each.declaration.__struct_fields__
    }


ELEMENTS: Final = instances(COMMON_MESSAGES)
ELEMENTS_2: Final = instances(ISO2)
NAMES_2: Final = {type(ELEMENTS_2["ContractSignatureCertChain"]): "ContractSignatureCertChain"}
"""A chain has two names in -2, and is signed under one of them."""


def resigned(info: SignedInfo, key: SoftwareKey, grammar: Schema = XMLDSIG) -> Signature:
    """Return a signature over whatever `info` says, which the owner of the key has really made."""
    return Signature(
        signed_info=info, signature_value=SignatureValue(value=key.sign(exi.encode_fragment(info, grammar)))
    )


def with_reference(info: SignedInfo, **change: Any) -> SignedInfo:
    """Return SignedInfo with its only reference changed."""
    return replace(info, reference=(replace(info.reference[0], **change),))


def with_value(signature: Signature, value: bytes) -> Signature:
    return replace(signature, signature_value=SignatureValue(value=value))


def as_der(signature: Signature) -> Signature:
    """Return an ECDSA signature over P-256 with its value in DER, as some vehicles send it."""
    value = signature.signature_value.value
    der = encode_dss_signature(int.from_bytes(value[:32], "big"), int.from_bytes(value[32:], "big"))
    return with_value(signature, der)
