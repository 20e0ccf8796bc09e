"""Our envelope and one written from the clause by other hands open what the other sealed, whatever goes in."""

from datetime import UTC, datetime, timedelta
from typing import Final

import pytest
from cryptography import x509
from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec, ed448, x448
from hypothesis import example, given, settings
from hypothesis import strategies as st

from tests.iso15118.d20 import independent_envelope as independent
from v2g.errors import EnvelopeError
from v2g.iso15118.d20.envelope import Entropy, Envelope, additional_data, derive_key, seal, unseal
from v2g.iso15118.d20.messages.certificates import EcdhCurve
from v2g.pki.keys import PrivateKey, SoftwareKey, x448_of, x448_public_of

CURVE: Final = ec.SECP521R1()
ISSUER: Final = ec.generate_private_key(CURVE)
ORDER: Final = independent.ORDER_521
FAST: Final = settings(max_examples=40, deadline=None)

# the ends of the range, and values with leading zeros in their fields, come up often
scalars = st.integers(1, ORDER - 1) | st.integers(1, 2**64) | st.integers(ORDER - 2**64, ORDER - 1)
seeds = st.binary(min_size=57, max_size=57)
keys_448 = st.binary(min_size=56, max_size=56)
identifiers = st.binary(min_size=8, max_size=8)
pcids = st.from_regex(r"[A-Za-z0-9]{3}-?[A-Za-z0-9]{14}-?[A-Za-z0-9]?", fullmatch=True)
ivs = st.binary(min_size=12, max_size=12)
draws = st.binary(min_size=74, max_size=74)


def certificate_of(key: PrivateKey, identifier: bytes) -> x509.Certificate:
    """Return a certificate of `key` with this SubjectKeyIdentifier; nothing else of it enters into the envelope."""
    name = x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, "DEV2GC00000001")])
    start = datetime(2026, 1, 1, tzinfo=UTC)
    builder = x509.CertificateBuilder(name, name, key.public_key(), 1, start, start + timedelta(days=1))
    return builder.add_extension(x509.SubjectKeyIdentifier(identifier), critical=False).sign(ISSUER, hashes.SHA512())


def drawing(*parts: bytes) -> Entropy:
    """Return entropy that hands out the heads of `parts`, one per call."""
    rest = iter(parts)
    return lambda length: next(rest)[:length]


def key_521(scalar: int) -> ec.EllipticCurvePrivateKey:
    return ec.derive_private_key(scalar, CURVE)


class TestSecp521r1:
    """Vehicle and contract with keys on secp521r1."""

    @FAST
    @given(vehicle=scalars, contract=scalars, ephemeral=draws, iv=ivs, pcid=pcids, identifier=identifiers)
    def test_the_other_vehicle_opens_what_we_seal(
        self, vehicle: int, contract: int, ephemeral: bytes, iv: bytes, pcid: str, identifier: bytes
    ) -> None:
        ours, theirs = key_521(contract), key_521(vehicle)
        envelope = seal(
            ours,
            theirs.public_key(),
            contract=certificate_of(ours, identifier),
            pcid=pcid,
            entropy=drawing(ephemeral, iv),
        )
        assert (envelope.curve, envelope.holds) == (EcdhCurve.SECP521, EcdhCurve.SECP521)
        data = independent.additional_data(pcid, identifier)
        assert independent.open_521(theirs, envelope.public_key, envelope.encrypted, data) == contract

    @FAST
    @given(vehicle=scalars, contract=scalars, ephemeral=scalars, iv=ivs, pcid=pcids, identifier=identifiers)
    def test_our_vehicle_opens_what_the_other_seals(
        self, vehicle: int, contract: int, ephemeral: int, iv: bytes, pcid: str, identifier: bytes
    ) -> None:
        ours = key_521(vehicle)
        point, blob = independent.seal_521(
            ours.public_key(), key_521(ephemeral), iv, contract, independent.additional_data(pcid, identifier)
        )
        certificate = certificate_of(key_521(contract), identifier)
        envelope = Envelope(EcdhCurve.SECP521, point, EcdhCurve.SECP521, blob)
        opened = unseal(envelope, SoftwareKey(ours), contract=certificate, pcid=pcid)
        assert isinstance(opened, ec.EllipticCurvePrivateKey)
        assert opened.private_numbers().private_value == contract

    @FAST
    @given(vehicle=scalars, contract=scalars, ephemeral=draws, iv=ivs, pcid=pcids, identifier=identifiers)
    def test_both_send_the_same_bytes(
        self, vehicle: int, contract: int, ephemeral: bytes, iv: bytes, pcid: str, identifier: bytes
    ) -> None:
        """With the same ephemeral key and IV: the field, the tag, everything."""
        ours, theirs = key_521(contract), key_521(vehicle).public_key()
        envelope = seal(
            ours, theirs, contract=certificate_of(ours, identifier), pcid=pcid, entropy=drawing(ephemeral, iv)
        )
        drawn = key_521(int.from_bytes(ephemeral, "big") % (ORDER - 1) + 1)  # how a draw becomes a key is our own
        data = independent.additional_data(pcid, identifier)
        assert (envelope.public_key, envelope.encrypted) == independent.seal_521(theirs, drawn, iv, contract, data)


class TestX448:
    """Vehicle and contract with Ed448 keys; the agreement on X448."""

    @FAST
    @given(vehicle=seeds, contract=keys_448, ephemeral=keys_448, iv=ivs, pcid=pcids, identifier=identifiers)
    def test_both_send_the_same_bytes_and_the_other_vehicle_opens_them(
        self, vehicle: bytes, contract: bytes, ephemeral: bytes, iv: bytes, pcid: str, identifier: bytes
    ) -> None:
        ours = ed448.Ed448PrivateKey.from_private_bytes(contract + b"\0")  # which byte is missing is our reading
        theirs = ed448.Ed448PrivateKey.from_private_bytes(vehicle)
        envelope = seal(
            ours,
            theirs.public_key(),
            contract=certificate_of(ours, identifier),
            pcid=pcid,
            entropy=drawing(ephemeral, iv),
        )
        assert (envelope.curve, envelope.holds) == (EcdhCurve.X448, EcdhCurve.X448)
        data = independent.additional_data(pcid, identifier)
        drawn = x448.X448PrivateKey.from_private_bytes(ephemeral)
        sent = independent.seal_448(theirs.public_key(), drawn, iv, contract, data)
        assert (envelope.public_key, envelope.encrypted) == sent
        assert independent.open_448(theirs, envelope.public_key, envelope.encrypted, data) == contract

    @FAST
    @given(vehicle=seeds, contract=keys_448, ephemeral=keys_448, iv=ivs, pcid=pcids, identifier=identifiers)
    def test_our_vehicle_opens_what_the_other_seals(
        self, vehicle: bytes, contract: bytes, ephemeral: bytes, iv: bytes, pcid: str, identifier: bytes
    ) -> None:
        ours = ed448.Ed448PrivateKey.from_private_bytes(vehicle)
        drawn = x448.X448PrivateKey.from_private_bytes(ephemeral)
        point, blob = independent.seal_448(
            ours.public_key(), drawn, iv, contract, independent.additional_data(pcid, identifier)
        )
        key = ed448.Ed448PrivateKey.from_private_bytes(contract + b"\0")
        envelope = Envelope(EcdhCurve.X448, point, EcdhCurve.X448, blob)
        opened = unseal(envelope, SoftwareKey(ours), contract=certificate_of(key, identifier), pcid=pcid)
        assert opened.private_bytes_raw() == contract + b"\0"  # type: ignore[union-attr]

    @FAST
    @given(seed=seeds)
    @example(seed=bytes(57))
    def test_both_find_the_same_counterparts_of_an_ed448_key(self, seed: bytes) -> None:
        key = ed448.Ed448PrivateKey.from_private_bytes(seed)
        private, public = independent.montgomery_private(key), independent.montgomery_public(key.public_key())
        assert x448_of(key).private_bytes_raw() == private.private_bytes_raw()
        assert x448_public_of(key.public_key()).public_bytes_raw() == public.public_bytes_raw()
        assert private.public_key().public_bytes_raw() == public.public_bytes_raw()


class TestSteps:
    """The steps between agreement and field."""

    @given(st.binary(min_size=56, max_size=66))
    def test_both_derive_the_same_key(self, secret: bytes) -> None:
        assert derive_key(secret) == independent.content_key(secret)

    @FAST
    @given(pcid=pcids, identifier=st.binary(min_size=1, max_size=20))
    def test_both_authenticate_the_same_data(self, pcid: str, identifier: bytes) -> None:
        certificate = certificate_of(ISSUER, identifier)
        assert additional_data(pcid, certificate) == independent.additional_data(pcid, identifier)

    @FAST
    @given(vehicle=scalars, contract=scalars, iv=ivs, bit=st.integers(0, (133 + 94) * 8 - 1))
    def test_both_refuse_the_same_changes(self, vehicle: int, contract: int, iv: bytes, bit: int) -> None:
        """One flipped bit anywhere in the two fields opens neither."""
        ours, identifier = key_521(vehicle), bytes(range(8))
        data = independent.additional_data("WMIV2GENGINE00001X", identifier)
        sent = bytearray(b"".join(independent.seal_521(ours.public_key(), key_521(7), iv, contract, data)))
        sent[bit // 8] ^= 1 << bit % 8
        point, blob = bytes(sent[:133]), bytes(sent[133:])
        with pytest.raises((ValueError, InvalidTag)):
            independent.open_521(ours, point, blob, data)
        certificate = certificate_of(key_521(contract), identifier)
        with pytest.raises(EnvelopeError):
            unseal(
                Envelope(EcdhCurve.SECP521, point, EcdhCurve.SECP521, blob),
                SoftwareKey(ours),
                contract=certificate,
                pcid="WMIV2GENGINE00001X",
            )
