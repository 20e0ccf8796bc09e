"""The provisioning service and the vehicle's checks: what is asked, delivered, refused, and by which words."""

import base64
from collections.abc import Callable
from datetime import timedelta
from typing import Any

import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pki_tools.tree import PkiOptions, PkiTree, TreeFault, make_pki
from tests.iso15118.d20.contracts import NOW, PCID, drawn, new_contract, new_key, own_contract, service
from v2g import exi
from v2g.errors import CertificateError, CodecError, EnvelopeError, RevocationError, SignatureError
from v2g.iso15118.d20 import provisioning
from v2g.iso15118.d20.installation import (
    InstallationRequest,
    installation_data,
    make_request,
    make_response,
    open_contract,
    refusal,
    verify_service,
)
from v2g.iso15118.d20.messages.common_messages import CertificateInstallationReq, CertificateInstallationRes
from v2g.iso15118.d20.messages.common_types import MessageHeader, ResponseCode
from v2g.iso15118.d20.provisioning import MOST_BYTES, PATIENCE_MS, Asked, ProvisioningService
from v2g.iso15118.d20.schemas import COMMON_MESSAGES
from v2g.iso15118.engine.contracts import Answer, Contract, pcid_of
from v2g.pki.certificates import load_certificate
from v2g.pki.credentials import load_chain
from v2g.pki.keys import SoftwareKey, load_private_key
from v2g.pki.profile import KeyKind

SESSION = bytes(range(1, 9))
UTC_MS = int(NOW.timestamp() * 1000)
HEADER = MessageHeader(session_id=SESSION, time_stamp=UTC_MS // 1000)


@pytest.fixture(scope="module")
def edwards(tmp_path_factory: pytest.TempPathFactory) -> PkiTree:
    options = PkiOptions(key_kind=KeyKind.ED448)
    return make_pki(tmp_path_factory.mktemp("pki"), now=NOW, options=options)


@pytest.fixture(params=["secp521r1", "ed448"])
def tree(request: pytest.FixtureRequest, pki: PkiTree, edwards: PkiTree) -> PkiTree:
    return pki if request.param == "secp521r1" else edwards


def wish(tree: PkiTree, *, maximum: int = 3, emaids: tuple[str, ...] = ()) -> InstallationRequest:
    return InstallationRequest(roots=tree.anchors("v2g", "mo"), maximum=maximum, emaids=emaids)


def ask(tree: PkiTree, session: bytes = SESSION, **wishes: Any) -> CertificateInstallationReq:
    header = msgspec.structs.replace(HEADER, session_id=session)
    return make_request(header, tree.chain("provisioning"), tree.key("provisioning"), wish(tree, **wishes))


def make_service(tree: PkiTree) -> ProvisioningService:
    return ProvisioningService(service(tree), oem_roots=tree.anchors("oem", "v2g"), mo_roots=tree.anchors("mo", "v2g"))


def serve(
    at: ProvisioningService, request: CertificateInstallationReq, contracts: tuple[Contract, ...], utc_ms: int = UTC_MS
) -> Answer:
    asked = at.read(exi.encode(request), utc_ms)
    if isinstance(asked, Answer):
        return asked
    return at.answer(asked, contracts, utc_ms, drawn())


def read(answer: Answer) -> CertificateInstallationRes:
    response = exi.decode(answer.exi, COMMON_MESSAGES)
    assert isinstance(response, CertificateInstallationRes)
    assert response.header.session_id == SESSION
    assert response.response_code is answer.code
    assert abs(response.header.time_stamp - UTC_MS // 1000) < 40 * 366 * 86_400, "s, not ms"
    return response


def opened(tree: PkiTree, response: CertificateInstallationRes) -> Contract:
    """Do all that a vehicle does."""
    verify_service(response, tree.anchors("v2g"), at=NOW)
    return open_contract(
        response.signed_installation_data, tree.key("provisioning"), PCID, roots=tree.anchors("mo"), at=NOW
    )


def test_a_contract_comes_through_with_its_key(tree: PkiTree) -> None:
    contract = own_contract(tree)
    answer = serve(make_service(tree), ask(tree), (contract,))
    assert (answer.code, answer.remaining, answer.pcid, answer.emaid) == (ResponseCode.OK, 0, PCID, "DEV2GC00000001")
    found = opened(tree, read(answer))
    assert found.chain == contract.chain
    key = SoftwareKey(found.key)
    assert key.public_key == tree.key("contract").public_key
    assert found.emaid == "DEV2GC00000001"


class TestSeveralContracts:
    """One response, one contract."""

    def contracts(self, tree: PkiTree) -> tuple[Contract, ...]:
        edwards = tree.key("provisioning").algorithm.value == "ed448"
        emaids = ("DEV2GC0000000A", "DEV2GC0000000B", "DEV2GC0000000C")
        return tuple(new_contract(tree, emaid, ed448=edwards, start=n) for n, emaid in enumerate(emaids, 1))

    def fetch(self, tree: PkiTree, request: CertificateInstallationReq, times: int = 3) -> list[tuple[str, int]]:
        at, contracts = make_service(tree), self.contracts(tree)
        answers = [serve(at, request, contracts) for _ in range(times)]
        responses = [read(answer) for answer in answers]
        assert [r.remaining_contract_certificate_chains for r in responses] == [a.remaining for a in answers]
        assert [opened(tree, response).emaid for response in responses] == [answer.emaid for answer in answers]
        return [(answer.emaid, answer.remaining) for answer in answers]

    def test_the_remaining_number_counts_down_to_zero(self, tree: PkiTree) -> None:
        assert self.fetch(tree, ask(tree)) == [("DEV2GC0000000A", 2), ("DEV2GC0000000B", 1), ("DEV2GC0000000C", 0)]

    def test_preferred_contracts_come_first_however_they_are_written(self, pki: PkiTree) -> None:
        request = ask(pki, emaids=("DE-V2G-C0000000C", "FRXXXC00000001", "dev2gc0000000b7"))
        assert [emaid for emaid, _ in self.fetch(pki, request)] == [
            "DEV2GC0000000C", "DEV2GC0000000B", "DEV2GC0000000A",
        ]  # fmt: skip

    def test_no_more_are_delivered_than_the_vehicle_has_room_for(self, pki: PkiTree) -> None:
        assert self.fetch(pki, ask(pki, maximum=2, emaids=("DEV2GC0000000C",)), 2) == [
            ("DEV2GC0000000C", 1), ("DEV2GC0000000A", 0),
        ]  # fmt: skip

    def test_after_the_last_one_the_session_begins_again(self, pki: PkiTree) -> None:
        """A vehicle that asks again, because an answer was lost, is not left without."""
        assert self.fetch(pki, ask(pki), 4)[3] == ("DEV2GC0000000A", 2)

    def test_sessions_do_not_get_each_others_contracts(self, pki: PkiTree) -> None:
        at, contracts = make_service(pki), self.contracts(pki)
        one, two = ask(pki), ask(pki, session=bytes(8)[:-1] + b"\1")
        emaids = [serve(at, request, contracts).emaid for request in (one, two, one, two)]
        assert emaids == ["DEV2GC0000000A", "DEV2GC0000000A", "DEV2GC0000000B", "DEV2GC0000000B"]

    def test_a_session_that_takes_too_long_begins_again(self, pki: PkiTree) -> None:
        at, contracts = make_service(pki), self.contracts(pki)
        serve(at, ask(pki), contracts)
        assert serve(at, ask(pki), contracts, UTC_MS + PATIENCE_MS).remaining == 1
        assert serve(at, ask(pki), contracts, UTC_MS + 2 * PATIENCE_MS + 1).remaining == 2

    def test_a_vehicle_that_has_less_room_later_gets_less(self, pki: PkiTree) -> None:
        at, contracts = make_service(pki), self.contracts(pki)
        assert serve(at, ask(pki), contracts).remaining == 2
        answer = serve(at, ask(pki, maximum=1), contracts)
        assert (answer.emaid, answer.remaining) == ("DEV2GC0000000B", 0)

    def test_memory_is_bounded(self, pki: PkiTree, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr(provisioning, "MOST_SESSIONS", 4)
        at, contracts = make_service(pki), self.contracts(pki)
        sessions = [ask(pki, session=number.to_bytes(8, "big")) for number in range(1, 7)]
        assert [serve(at, each, contracts).remaining for each in sessions] == [2] * 6
        assert [serve(at, each, contracts).remaining for each in sessions[2:]] == [1] * 4, "the newest go on"
        assert serve(at, sessions[0], contracts).remaining == 2, "an older one starts over"

    def test_a_contract_that_left_the_pool_meanwhile_is_not_delivered(self, pki: PkiTree) -> None:
        at, contracts = make_service(pki), self.contracts(pki)
        serve(at, ask(pki), contracts)
        answer = serve(at, ask(pki), (contracts[0], contracts[2]))
        assert (answer.emaid, answer.remaining) == ("DEV2GC0000000C", 0)

    def test_one_that_cannot_be_delivered_does_not_keep_the_others_back(self, pki: PkiTree) -> None:
        """Its key is not that of its certificate, or its chain is too long for the transport."""
        one, *others = self.contracts(pki)
        broken = msgspec.structs.replace(one, key=new_key(start=9))
        long = new_contract(pki, "DEV2GC0000000A", crl_url=f"http://crl.invalid/{'x' * 300}")
        for other in (broken, long):
            at = make_service(pki)
            asked = at.read(exi.encode(ask(pki)), UTC_MS)
            assert isinstance(asked, Asked)
            most_bytes = len(serve(make_service(pki), ask(pki), (one,)).exi) + 20
            answer = at.answer(asked, (other, *others), UTC_MS, drawn(), most_bytes=most_bytes)
            assert (answer.emaid, answer.remaining) == ("DEV2GC0000000B", 1)

    def test_of_two_certificates_of_one_contract_the_newer_is_delivered(self, pki: PkiTree) -> None:
        old, new = (
            new_contract(pki, "DEV2GC0000000A", start=n, not_after=NOW + timedelta(days=days))
            for n, days in ((1, 30), (2, 700))
        )
        for pool in ((old, new), (new, old)):
            answer = serve(make_service(pki), ask(pki), pool)
            assert answer.remaining == 0
            assert opened(pki, read(answer)).chain == new.chain

    def test_a_response_is_delivered_up_to_the_bytes_that_fit(self, pki: PkiTree) -> None:
        """OCPP 2.1: exiResponse has 17,000 characters of base64."""
        assert len(base64.b64encode(bytes(MOST_BYTES))) == 17_000
        contracts = self.contracts(pki)[:1]
        size = len(serve(make_service(pki), ask(pki), contracts).exi)
        for most_bytes, code in ((size, "OK"), (size - 1, "WARNING_NoCertificateAvailable")):
            at = make_service(pki)
            asked = at.read(exi.encode(ask(pki)), UTC_MS)
            assert isinstance(asked, Asked)
            answer = at.answer(asked, contracts, UTC_MS, drawn(), most_bytes=most_bytes)
            assert (answer.code.name, answer.pcid, "bytes" in answer.reason) == (code, PCID, code != "OK")


class TestRefusals:
    """Every refusal is a response that the schema allows, in the vehicle's own session."""

    def refused(self, tree: PkiTree, request: CertificateInstallationReq, *contracts: Contract, **at: Any) -> str:
        answer = serve(make_service(tree), request, contracts, **at)
        response = read(answer)
        assert answer.reason
        assert response.remaining_contract_certificate_chains == 0
        return answer.code.name

    def test_a_missing_signature(self, pki: PkiTree) -> None:
        request = ask(pki)
        bare = msgspec.structs.replace(request, header=HEADER)
        assert self.refused(pki, bare, own_contract(pki)) == "FAILED_SignatureError"

    def test_a_signature_by_another_key(self, pki: PkiTree) -> None:
        request = make_request(HEADER, pki.chain("provisioning"), pki.key("vehicle"), wish(pki))
        assert self.refused(pki, request, own_contract(pki)) == "FAILED_SignatureError"

    def test_a_chain_that_was_changed_after_signing(self, pki: PkiTree) -> None:
        request = ask(pki)
        chain = msgspec.structs.replace(request.oem_provisioning_certificate_chain, sub_certificates=None)
        changed = msgspec.structs.replace(request, oem_provisioning_certificate_chain=chain)
        assert self.refused(pki, changed, own_contract(pki)) == "FAILED_SignatureError"

    def test_a_vehicle_of_a_foreign_maker(self, pki: PkiTree, edwards: PkiTree) -> None:
        answer = serve(make_service(edwards), ask(pki), (own_contract(pki),))
        assert answer.code is ResponseCode.WARNING_CertificateValidationError
        assert "unknown_root" in answer.reason

    def test_a_certificate_that_is_for_something_else(self, pki: PkiTree) -> None:
        request = make_request(HEADER, pki.chain("vehicle"), pki.key("vehicle"), wish(pki))
        assert self.refused(pki, request, own_contract(pki)) == "WARNING_CertificateValidationError"

    def test_a_cn_that_is_no_pcid(self, tmp_path: Any) -> None:
        tree = make_pki(tmp_path, now=NOW, options=PkiOptions(pcid="my car", key_kind=KeyKind.ED448))
        assert self.refused(tree, ask(tree), own_contract(tree)) == "WARNING_CertificateValidationError"

    def test_a_provisioning_chain_past_its_time_or_before_it(self, pki: PkiTree) -> None:
        year_ms = 366 * 86_400_000
        assert self.refused(pki, ask(pki), own_contract(pki), utc_ms=UTC_MS - year_ms) == (
            "WARNING_CertificateNotYetValid"
        )
        assert self.refused(pki, ask(pki), own_contract(pki), utc_ms=UTC_MS + 31 * year_ms) == (
            "WARNING_CertificateExpired"
        )

    @pytest.mark.parametrize(
        ("reason", "code"),
        [("revoked", "WARNING_CertificateRevoked"), ("unknown", "WARNING_CertificateValidationError")],
    )
    def test_a_revoked_chain(self, pki: PkiTree, reason: Any, code: str) -> None:
        at = make_service(pki)
        asked = at.read(exi.encode(ask(pki)), UTC_MS)
        assert isinstance(asked, Asked)
        answer = at.revoked(asked, RevocationError("the OEM says so", reason=reason), UTC_MS)
        assert answer.code.name == read(answer).response_code.name == code
        assert (answer.pcid, answer.reason) == (PCID, "the OEM says so")

    def test_a_pcid_without_a_contract(self, pki: PkiTree) -> None:
        assert self.refused(pki, ask(pki)) == "WARNING_NoContractMatchingPCIDFound"

    def test_a_contract_whose_root_nobody_here_knows(self, pki: PkiTree, edwards: PkiTree) -> None:
        foreign = new_contract(edwards, "DEV2GC00000001")
        assert self.refused(pki, ask(pki), foreign) == "WARNING_eMSPUnknown"

    @pytest.mark.parametrize("days", [(-30, -1), (1, 30)], ids=["expired", "not yet valid"])
    def test_contracts_out_of_their_time(self, pki: PkiTree, days: tuple[int, int]) -> None:
        begin, end = (NOW + timedelta(days=each) for each in days)
        contract = new_contract(pki, "DEV2GC00000001", not_before=begin, not_after=end)
        assert self.refused(pki, ask(pki), contract) == "WARNING_NoCertificateAvailable"

    def test_contracts_on_a_curve_that_the_vehicle_does_not_have(self, pki: PkiTree) -> None:
        contract = new_contract(pki, "DEV2GC00000001", ed448=True)
        assert self.refused(pki, ask(pki), contract) == "WARNING_NoCertificateAvailable"

    def test_a_vehicle_without_room(self, pki: PkiTree) -> None:
        assert self.refused(pki, ask(pki, maximum=0), own_contract(pki)) == "WARNING_NoCertificateAvailable"

    def test_a_key_in_the_pool_that_is_not_its_certificates(self, pki: PkiTree) -> None:
        contract = msgspec.structs.replace(own_contract(pki), key=new_key())
        assert self.refused(pki, ask(pki), contract) == "WARNING_NoCertificateAvailable"

    @settings(max_examples=50, deadline=None)
    @given(data=st.binary(max_size=300))
    def test_bytes_that_are_no_request(self, pki: PkiTree, data: bytes) -> None:
        with pytest.raises(CodecError):
            make_service(pki).read(data, UTC_MS)
        with pytest.raises(CodecError):
            make_service(pki).read(exi.encode(refusal(HEADER, ResponseCode.OK)), UTC_MS)


@pytest.fixture(scope="module")
def response(pki: PkiTree) -> CertificateInstallationRes:
    return read(serve(make_service(pki), ask(pki), (own_contract(pki),)))


class TestVehicle:
    """What the vehicle refuses, and the word for it."""

    def test_a_service_under_an_unknown_root(self, pki: PkiTree, edwards: PkiTree) -> None:
        for roots in (edwards.anchors("v2g"), ()):
            response = read(serve(make_service(pki), ask(pki), (own_contract(pki),)))
            with pytest.raises(CertificateError) as error:
                verify_service(response, roots, at=NOW)
            assert error.value.reason == "unknown_root"

    @pytest.mark.parametrize(
        ("fault", "reason"),
        [
            (TreeFault.EXPIRED, "expired"),
            (TreeFault.NOT_YET_VALID, "not_yet_valid"),
            (TreeFault.FOREIGN_ROOT, "unknown_root"),
        ],
    )
    def test_a_service_with_a_bad_chain(self, tmp_path: Any, fault: TreeFault, reason: str) -> None:
        tree = make_pki(tmp_path, now=NOW, options=PkiOptions(cps=fault, key_kind=KeyKind.ED448))
        response = read(serve(make_service(tree), ask(tree), (own_contract(tree),)))
        with pytest.raises(CertificateError) as error:
            opened(tree, response)
        assert error.value.reason == reason

    @pytest.mark.parametrize("leaf", ["secc", "provisioning", "contract"])
    def test_a_signer_that_is_no_provisioning_service(self, pki: PkiTree, leaf: str) -> None:
        false = msgspec.structs.replace(service(pki), chain=pki.chain(leaf), key=pki.key(leaf))
        at = ProvisioningService(false, oem_roots=pki.anchors("oem"), mo_roots=pki.anchors("mo"))
        response = read(serve(at, ask(pki), (own_contract(pki),)))
        with pytest.raises(CertificateError):
            verify_service(response, pki.anchors("v2g", "oem", "mo"), at=NOW)

    def test_data_that_the_service_did_not_sign(self, pki: PkiTree, response: CertificateInstallationRes) -> None:
        data = msgspec.structs.replace(response.signed_installation_data, dh_public_key=bytes(133))
        changed = msgspec.structs.replace(response, signed_installation_data=data)
        bare = msgspec.structs.replace(response, header=HEADER)
        other = make_response(
            HEADER,
            msgspec.structs.replace(service(pki), key=pki.key("vehicle")),
            response.signed_installation_data,
            remaining=0,
        )
        for each in (changed, bare, other):
            with pytest.raises(SignatureError):
                verify_service(each, pki.anchors("v2g"), at=NOW)

    @pytest.mark.long
    @given(data=st.data())
    def test_one_flipped_bit_of_a_response_installs_nothing_else(self, pki: PkiTree, data: st.DataObject) -> None:
        """Whatever is changed on the way, the vehicle has the very contract that was sent, or none."""
        contract = own_contract(pki)
        payload = bytearray(serve(make_service(pki), ask(pki), (contract,)).exi)
        bit = data.draw(st.integers(0, len(payload) * 8 - 1))
        payload[bit // 8] ^= 1 << bit % 8
        try:
            response = exi.decode(bytes(payload), COMMON_MESSAGES)
            if not isinstance(response, CertificateInstallationRes):
                return
            found = opened(pki, response)
        except (CodecError, CertificateError, SignatureError, EnvelopeError):
            return
        assert found.chain[0] == contract.chain[0]
        assert found.key.public_key() == contract.key.public_key()

    def test_a_key_sealed_for_a_tpm(self, pki: PkiTree, response: CertificateInstallationRes) -> None:
        data = msgspec.structs.replace(
            response.signed_installation_data, secp521_encrypted_private_key=None, tpm_encrypted_private_key=bytes(206)
        )
        with pytest.raises(EnvelopeError, match="TPM") as error:
            open_contract(data, pki.key("provisioning"), PCID, at=NOW)
        assert error.value.reason == "not_supported"

    def test_a_contract_under_a_root_that_the_vehicle_lacks(
        self, pki: PkiTree, edwards: PkiTree, response: CertificateInstallationRes
    ) -> None:
        data = response.signed_installation_data
        with pytest.raises(CertificateError) as error:
            open_contract(data, pki.key("provisioning"), PCID, roots=edwards.anchors("mo"), at=NOW)
        assert error.value.reason == "unknown_root"
        assert open_contract(data, pki.key("provisioning"), PCID, at=NOW).emaid == "DEV2GC00000001"

    def test_chains_over_cross_certificates_held_here(self, pki: PkiTree) -> None:
        """Who knows only the V2G root believes vehicles and contracts by those that it has certified."""
        v2g = pki.anchors("v2g")
        oem, mo = (load_chain(pki.path(f"cross/{family}-by-v2g.pem"))[0] for family in ("oem", "mo"))
        for crosses, code in (
            ((oem, mo), "OK"),
            ((oem,), "WARNING_eMSPUnknown"),
            ((), "WARNING_CertificateValidationError"),
        ):
            at = ProvisioningService(service(pki), oem_roots=v2g, mo_roots=v2g, crosses=crosses)
            assert serve(at, ask(pki), (own_contract(pki),)).code.name == code
        data = installation_data(own_contract(pki), pki.key("provisioning").public_key, PCID, drawn())
        assert open_contract(data, pki.key("provisioning"), PCID, roots=v2g, at=NOW, crosses=(mo,))
        with pytest.raises(CertificateError):
            open_contract(data, pki.key("provisioning"), PCID, roots=v2g, at=NOW, crosses=(oem,))

    @pytest.mark.parametrize(
        ("contract", "reason"),
        [
            (
                lambda tree: Contract(tree.chain("provisioning"), load_private_key(tree.path("provisioning/leaf.key"))),
                None,
            ),
            (lambda tree: new_contract(tree, "no EMAID"), "wrong_subject"),
            (lambda tree: new_contract(tree, "DEV2GC1"), "wrong_subject"),
            (lambda tree: new_contract(tree, "DEV2GC00000001", not_after=NOW - timedelta(hours=1)), "expired"),
        ],
        ids=["provisioning certificate", "no EMAID", "short EMAID", "expired"],
    )
    def test_what_is_no_contract(
        self, pki: PkiTree, contract: Callable[[PkiTree], Contract], reason: str | None
    ) -> None:
        provisioning = load_certificate(pki.chain("provisioning")[0])
        data = installation_data(contract(pki), provisioning.public_key(), pcid_of(provisioning), drawn())  # type: ignore[arg-type]
        for roots in (pki.anchors("mo"), ()):
            with pytest.raises(CertificateError) as error:
                open_contract(data, pki.key("provisioning"), PCID, roots=roots, at=NOW)
            assert reason in (None, error.value.reason)
