"""One suite for keys in encrypted files, in a PKCS#11 token (SoftHSM2) and in a TPM 2.0 (swtpm).

What they sign is verified, and what they agree on is agreed with, by `cryptography`.
"""

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec, ed448, x448
from cryptography.hazmat.primitives.asymmetric.utils import encode_dss_signature

from evcc.session.contracts import Contract
from evcc.session.settings import SessionConfig
from pki_tools.tree import PkiTree
from tests.evcc.session.bench import Bench, Identities
from tests.io.keys.stores import WRONG, Files, Store, Tpm, refer
from tests.io.keys.stores_support import certified
from tests.io.tls.support import evcc, secc, shake
from v2g.errors import KeyAccessError, SignatureError, TlsError
from v2g.io.keys.stores import load_credentials, open_key
from v2g.io.tls.endpoint import open_channel
from v2g.io.tls.native import NativeChannel
from v2g.iso15118.d20.envelope import seal, unseal
from v2g.iso15118.d20.messages import common_messages as cm
from v2g.iso15118.d20.schemas import COMMON_MESSAGES
from v2g.iso15118.engine.signature import verify
from v2g.pki.certificates import chain_to_pem
from v2g.pki.credentials import Credentials
from v2g.pki.keys import Algorithm, LeafKey, SoftwareKey
from v2g.pki.profile import Role

EC = (Algorithm.ECDSA_SHA512, Algorithm.ECDSA_SHA256)
ALL = tuple(Algorithm)
HASHES = {Algorithm.ECDSA_SHA512: hashes.SHA512(), Algorithm.ECDSA_SHA256: hashes.SHA256()}


def opened(store: Store, algorithm: Algorithm = Algorithm.ECDSA_SHA512) -> LeafKey:
    if isinstance(store, Tpm) and algorithm is Algorithm.ED448:
        pytest.skip("a TPM has no Ed448: TCG's algorithm registry lacks it")
    return open_key(refer(store.make(algorithm), store))


def check(key: LeafKey, signature: bytes, data: bytes) -> None:
    """Verify a raw signature without our own verification."""
    public = key.public_key
    if isinstance(public, ed448.Ed448PublicKey):
        public.verify(signature, data)
        return
    half = len(signature) // 2
    r, s = int.from_bytes(signature[:half], "big"), int.from_bytes(signature[half:], "big")
    public.verify(encode_dss_signature(r, s), data, ec.ECDSA(HASHES[key.algorithm]))


class TestUse:
    """What keys are for."""

    @pytest.mark.parametrize("algorithm", ALL)
    def test_signatures_are_raw_and_verify(self, store: Store, algorithm: Algorithm) -> None:
        key = opened(store, algorithm)
        assert key.algorithm is algorithm
        for number in range(8):
            data = bytes([number]) * 1000
            check(key, key.sign(data), data)

    @pytest.mark.parametrize("algorithm", EC)
    def test_both_sides_agree_on_the_x_coordinate(self, store: Store, algorithm: Algorithm) -> None:
        key = opened(store, algorithm)
        assert isinstance(key.public_key, ec.EllipticCurvePublicKey)
        for _ in range(8):
            other = ec.generate_private_key(key.public_key.curve)
            assert key.agree(other.public_key()) == other.exchange(ec.ECDH(), key.public_key)

    def test_a_secret_that_begins_with_zeros_keeps_its_length(self, store: Store) -> None:
        key = opened(store, Algorithm.ECDSA_SHA256)
        assert isinstance(key.public_key, ec.EllipticCurvePublicKey)
        for number in range(1, 5000):
            other = ec.derive_private_key(number, ec.SECP256R1())
            secret = other.exchange(ec.ECDH(), key.public_key)
            if secret[0] == 0:
                assert key.agree(other.public_key()) == secret
                return
        raise AssertionError("no such secret")

    def test_a_point_of_another_curve_is_refused(self, store: Store) -> None:
        key = opened(store)
        with pytest.raises(SignatureError, match="cannot agree"):
            key.agree(ec.generate_private_key(ec.SECP384R1()).public_key())
        with pytest.raises(SignatureError, match="cannot agree"):
            key.agree(x448.X448PrivateKey.generate().public_key())

    @pytest.mark.requirement("R146")
    @pytest.mark.parametrize("algorithm", [Algorithm.ECDSA_SHA512, Algorithm.ED448])
    def test_a_vehicle_authenticates_in_a_full_mutual_handshake(
        self, store: Store, pki: PkiTree, algorithm: Algorithm
    ) -> None:
        key = opened(store, algorithm)
        credentials = Credentials(certified(key, pki, Role.VEHICLE, "WMISTORE", "oem"), key)
        vehicle, charger = open_channel(evcc(pki, credentials=credentials)), open_channel(secc(pki))
        assert isinstance(vehicle, NativeChannel) is not isinstance(key, SoftwareKey)
        shake(vehicle, charger)
        assert charger.peer is not None
        assert charger.peer.subject_cn == "WMISTORE"
        vehicle.write(b"supportedAppProtocolReq")
        charger.feed(vehicle.take())
        assert charger.read(100) == b"supportedAppProtocolReq"

    def test_a_contract_signs_the_authorization_request_of_plug_and_charge(self, store: Store, pki: PkiTree) -> None:
        key = opened(store)
        chain = certified(key, pki, Role.CONTRACT, "DEV2GC00000077", "mo")
        identities = Identities()
        identities.contract = Contract(chain, key)
        bench = Bench(identities, SessionConfig())
        bench.run_to("ServiceDiscoveryReq")
        (request,) = [each for each in bench.requests if isinstance(each, cm.AuthorizationReq)]
        mode = request.pnc_a_req_authorization_mode
        assert mode is not None
        assert request.header.signature is not None
        assert mode.contract_certificate_chain.certificate == chain[0]
        public = x509.load_der_x509_certificate(chain[0]).public_key()
        assert isinstance(public, ec.EllipticCurvePublicKey)
        verify(request.header.signature, mode, public, schema=COMMON_MESSAGES)

    def test_a_provisioning_key_opens_the_envelope_of_a_contract_key(self, store: Store, pki: PkiTree) -> None:
        provisioning = opened(store)
        contract = ec.generate_private_key(ec.SECP521R1())
        leaf = x509.load_der_x509_certificate(
            certified(SoftwareKey(contract), pki, Role.CONTRACT, "DEV2GC00000078", "mo")[0]
        )
        entropy = iter(range(1, 100))
        envelope = seal(
            contract,
            provisioning.public_key,
            contract=leaf,
            pcid="WMIV2G123456789AB",
            entropy=lambda size: next(entropy).to_bytes(size, "big"),
        )
        found = unseal(envelope, provisioning, contract=leaf, pcid="WMIV2G123456789AB")
        assert isinstance(found, ec.EllipticCurvePrivateKey)
        assert found.private_numbers() == contract.private_numbers()


class TestRefusal:
    """Everything that goes wrong has a name, and nothing is tried twice that could lock a store."""

    def test_a_wrong_pin_is_named(self, store: Store) -> None:
        reference = store.make(Algorithm.ECDSA_SHA256)
        with pytest.raises(KeyAccessError) as error:
            open_key(refer(reference, store, pin=WRONG))
        assert WRONG not in str(error.value)
        assert error.value.hint or "PIN" in str(error.value)

    def test_without_pin_the_hint_says_where_to_put_it(self, store: Store) -> None:
        with pytest.raises(KeyAccessError) as error:
            open_key(refer(store.make(Algorithm.ECDSA_SHA256), store, pin=None))
        assert "pin-source" in error.value.hint

    def test_a_key_that_is_not_there_is_named(self, store: Store) -> None:
        reference = store.make(Algorithm.ECDSA_SHA256).replace(Algorithm.ECDSA_SHA256.value, "nobody")
        with pytest.raises(KeyAccessError, match="nobody"):
            open_key(refer(reference, store))

    def test_a_key_of_another_certificate_is_refused(self, store: Store, pki: PkiTree) -> None:
        with pytest.raises(KeyAccessError, match="is not the key of"):
            load_credentials(pki.path("vehicle/chain.pem"), refer(store.make(Algorithm.ECDSA_SHA512), store))

    def test_a_chain_and_its_key_are_credentials(self, store: Store, pki: PkiTree) -> None:
        reference = refer(store.make(Algorithm.ECDSA_SHA512), store)
        chain = certified(open_key(reference), pki, Role.VEHICLE, "WMISTORE", "oem")
        file = store.folder / "chain.pem"
        file.write_text(chain_to_pem(chain))
        credentials = load_credentials(file, reference)
        assert credentials.chain == chain
        if not isinstance(store, Files):
            with pytest.raises(KeyAccessError, match="cannot leave its store"):
                _ = credentials.private_key

    def test_a_store_that_goes_away_in_use_ends_the_handshake_with_a_name(self, store: Store, pki: PkiTree) -> None:
        if isinstance(store, Files):
            pytest.skip("a key from a file is in memory")
        key = opened(store)
        credentials = Credentials(certified(key, pki, Role.VEHICLE, "WMISTORE", "oem"), key)
        vehicle, charger = open_channel(evcc(pki, credentials=credentials)), open_channel(secc(pki))
        store.withdraw()
        with pytest.raises(TlsError) as error:
            shake(vehicle, charger)
        assert error.value.reason == "own_key_unusable"
        assert isinstance(error.value.__cause__, KeyAccessError)
        for _ in range(2):
            with pytest.raises(KeyAccessError):
                key.sign(b"data")

    def test_a_contract_that_goes_away_in_use_ends_the_session_with_a_name(self, store: Store, pki: PkiTree) -> None:
        if isinstance(store, Files):
            pytest.skip("a key from a file is in memory")
        key = opened(store)
        identities = Identities()
        identities.contract = Contract(certified(key, pki, Role.CONTRACT, "DEV2GC00000077", "mo"), key)
        bench = Bench(identities, SessionConfig())
        bench.run_to("AuthorizationSetupReq")
        store.withdraw()
        with pytest.raises(KeyAccessError):
            bench.run_to("ServiceDiscoveryReq")

    def test_a_closed_key_is_of_no_use(self, store: Store) -> None:
        key = opened(store)
        if isinstance(key, SoftwareKey):
            pytest.skip("nothing to close")
        for _ in range(2):
            key.close()
        with pytest.raises(KeyAccessError, match="closed"):
            key.sign(b"data")
