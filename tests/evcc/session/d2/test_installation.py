"""Contracts of ISO 15118-2 from a charger: requested, verified, decrypted, stored, and used in the same session."""

from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from cryptography.hazmat.primitives.asymmetric import ec
from msgspec.structs import replace

from evcc.session.contracts import RETRY_MS, Contract, Provisioning
from evcc.session.d2.installation import INSTALL, UPDATE
from evcc.session.ports import PostponeInstallation, StoreContract
from evcc.session.settings import AuthorizationConfig, InstallationConfig
from pki_tools.layout import PkiOptions
from pki_tools.tree import PkiTree, make_pki
from tests.evcc.session.d2.charger import DC, Bench2, Charger2
from tests.evcc.session.message_bench import counter
from tests.evcc.session.vehicle_bench import T0
from tests.exi.streams import exchanged, text
from v2g import exi
from v2g.errors import ExiEncodeError
from v2g.iso15118.d2 import signatures
from v2g.iso15118.d2.envelope import seal
from v2g.iso15118.d2.messages import common
from v2g.iso15118.d2.messages import data_types as types
from v2g.iso15118.engine.v2gtp import PayloadType, frame
from v2g.pki.certificates import load_certificate
from v2g.pki.keys import SoftwareKey
from v2g.pki.profile import Generation, KeyKind

NOW = datetime.fromtimestamp(T0 / 1000, UTC)
CONFIG = replace(DC, authorization=AuthorizationConfig())


@pytest.fixture(scope="module")
def tree(tmp_path_factory: pytest.TempPathFactory) -> PkiTree:
    options = PkiOptions(key_kind=KeyKind.SECP256R1, generation=Generation.ISO15118_2)
    return make_pki(tmp_path_factory.mktemp("pki"), now=NOW - timedelta(minutes=1), options=options)


def provisioning(tree: PkiTree) -> Provisioning:
    return Provisioning(
        chain=tree.chain("provisioning"),
        key=tree.key("provisioning"),
        pcid="WMIV1234567890ABCDEX",
        v2g_roots=tree.anchors("v2g"),
        mo_roots=tree.anchors("mo"),
    )


class Provisioner(Charger2):
    """A charger with the service for contracts. `recipient` is whose key the contract is sealed for."""

    def __init__(self, tree: PkiTree) -> None:
        super().__init__()
        self.tree = tree
        self.payment = (types.PaymentOption.Contract,)
        self.sets: tuple[int, ...] = (INSTALL, UPDATE)
        self.recipient = tree.key("provisioning").public_key
        self.signer = tree.key("cps")
        self.key = tree.key("contract").expose()
        self.signs = self._sign

    def _sign(self, body: Any) -> Any:
        fetched = isinstance(body, common.CertificateInstallationRes | common.CertificateUpdateRes)
        return signatures.sign(body, self.signer) if fetched else None

    def ServiceDiscoveryReq(self, request: Any) -> Any:
        service = types.Service(
            service_id=2, service_category=types.ServiceCategory.ContractCertificate, free_service=True
        )
        return replace(super().ServiceDiscoveryReq(request), service_list=types.ServiceList(service=(service,)))

    def ServiceDetailReq(self, request: Any) -> Any:
        sets = tuple(
            types.ParameterSet(
                parameter_set_id=each, parameter=(types.Parameter(name="Service", string_value="Installation"),)
            )
            for each in self.sets
        )
        offered = types.ServiceParameterList(parameter_set=sets) if sets else None
        return common.ServiceDetailRes(
            response_code=types.ResponseCode.OK, service_id=request.service_id, service_parameter_list=offered
        )

    def _contract(self) -> dict[str, Any]:
        def chain(name: str, element_id: str | None = None) -> types.CertificateChain:
            leaf, *subs = self.tree.chain(name)
            return types.CertificateChain(
                certificate=leaf, sub_certificates=types.SubCertificates(certificate=tuple(subs)), id=element_id
            )

        envelope = seal(self.key, self.recipient, entropy=counter())
        return {
            "response_code": types.ResponseCode.OK,
            "sa_provisioning_certificate_chain": chain("cps"),
            "contract_signature_cert_chain": chain("contract", "id1"),
            "contract_signature_encrypted_private_key": types.ContractSignatureEncryptedPrivateKey(
                value=envelope.encrypted, id="id2"
            ),
            "dh_public_key": types.DiffieHellmanPublickey(value=envelope.public_key, id="id3"),
            "emaid": types.EMAID(value="DEV2GC00000001", id="id4"),
        }

    def CertificateInstallationReq(self, request: Any) -> Any:
        return common.CertificateInstallationRes(**self._contract())

    def CertificateUpdateReq(self, request: Any) -> Any:
        return common.CertificateUpdateRes(**self._contract())


def bench_with(tree: PkiTree, config: Any = CONFIG, **options: Any) -> Bench2:
    bench = Bench2(config, **{"scale": 20, "provisioning": provisioning(tree), **options})
    bench.charger = Provisioner(tree)
    return bench


def of(bench: Bench2, kind: type) -> list[Any]:
    return [each for each in bench.requests if type(each) is kind]


def stored(bench: Bench2) -> list[Any]:
    return [each for each in bench.commands if isinstance(each, StoreContract)]


def test_a_vehicle_without_a_contract_gets_one_and_pays_with_it(tree: PkiTree) -> None:
    bench = bench_with(tree)
    bench.run()
    assert bench.closed == "finished"
    assert bench.names()[3:8] == [
        "ServiceDetailReq",
        "PaymentServiceSelectionReq",
        "CertificateInstallationReq",
        "PaymentDetailsReq",
        "AuthorizationReq",
    ]
    (request,) = of(bench, common.CertificateInstallationReq)
    header = bench.headers[bench.requests.index(request)]
    assert not signatures.verify(header.signature, request, tree.key("provisioning").public_key)
    (contract,) = stored(bench)
    assert contract.chain == tree.chain("contract")
    (details,) = of(bench, common.PaymentDetailsReq)
    assert details.contract_signature_cert_chain.certificate == tree.chain("contract")[0]
    first = of(bench, common.AuthorizationReq)[0]
    signed = bench.headers[bench.requests.index(first)].signature
    assert not signatures.verify(signed, first, tree.key("contract").public_key)
    assert bench.seen("installation", "installed")[0]["emaid"] == contract.emaid


def updating(tree: PkiTree) -> tuple[Bench2, Contract]:
    """Return a bench shortly before the vehicle's contract ends, and that contract."""
    old = Contract(tree.chain("contract"), tree.key("contract"))
    end = load_certificate(old.chain[0]).not_valid_after_utc
    bench = bench_with(tree, contracts=(old,))
    shift = int((end - NOW - timedelta(hours=2)).total_seconds())
    bench.now += shift / bench.scale
    assert isinstance(bench.charger, Provisioner)
    bench.charger.recipient = old.key.public_key
    return bench, old


def test_a_contract_that_is_about_to_end_is_updated_by_its_own_key(tree: PkiTree) -> None:
    bench, old = updating(tree)
    bench.run_to("PaymentDetailsReq")
    (request,) = of(bench, common.CertificateUpdateReq)
    header = bench.headers[bench.requests.index(request)]
    assert not signatures.verify(header.signature, request, old.key.public_key)
    selected = of(bench, common.PaymentServiceSelectionReq)[0].selected_service_list.selected_service
    assert [(each.service_id, each.parameter_set_id) for each in selected] == [(1, None), (2, UPDATE)]


@pytest.mark.requirement("R15")
@pytest.mark.parametrize(
    ("since_ms", "updates"),
    [(0, False), (RETRY_MS - 60_000, False), (RETRY_MS + 60_000, True), (-60_000, True)],
    ids=["at_once", "within_the_hour", "later", "by_a_clock_that_was_ahead"],
)
def test_a_refused_update_does_not_keep_a_contract_from_paying(tree: PkiTree, since_ms: int, updates: bool) -> None:
    """In ISO 15118-2 the refusal ends the session: each one of the contract's last day failed."""
    bench, old = updating(tree)
    bench.run_to("CertificateUpdateReq")
    (postponed,) = [each for each in bench.commands if isinstance(each, PostponeInstallation)]
    assert postponed.until_ms - bench.utc_ms <= RETRY_MS
    bench.altered(response_code=types.ResponseCode.FAILED_NoCertificateAvailable)
    assert bench.closed == "FAILED_NoCertificateAvailable"
    until_ms = postponed.until_ms - since_ms
    again = bench_with(tree, contracts=(old,), provisioning=replace(provisioning(tree), postponed_until_ms=until_ms))
    again.now = bench.now
    again.run_to("PaymentDetailsReq" if not updates else "CertificateUpdateReq")
    assert bool(of(again, common.CertificateUpdateReq)) is updates


@pytest.mark.requirement("R15")
def test_a_vehicle_without_a_valid_contract_does_not_wait_to_request_one(tree: PkiTree) -> None:
    later = replace(provisioning(tree), postponed_until_ms=T0 + RETRY_MS)
    bench = bench_with(tree, provisioning=later)
    bench.run()
    assert stored(bench)


def _wrong_signer(charger: Provisioner) -> None:
    charger.signer = SoftwareKey(ec.generate_private_key(ec.SECP256R1()))


def _wrong_recipient(charger: Provisioner) -> None:
    charger.recipient = ec.generate_private_key(ec.SECP256R1()).public_key()


def _wrong_key(charger: Provisioner) -> None:
    charger.key = ec.generate_private_key(ec.SECP256R1())


def _unsigned(charger: Provisioner) -> None:
    charger.signs = lambda body: None


@pytest.mark.parametrize(
    ("fault", "reason"),
    [
        (_wrong_signer, "bad_signature"),
        (_unsigned, "bad_signature"),
        (_wrong_recipient, ("out_of_range", "wrong_key")),
        (_wrong_key, "wrong_key"),
    ],
)
@pytest.mark.parametrize("has_contract", [True, False])
def test_a_contract_that_cannot_be_trusted_is_not_stored(
    tree: PkiTree, fault: Any, reason: Any, has_contract: bool
) -> None:
    own = (Contract(tree.chain("contract"), tree.key("contract")),) if has_contract else ()
    config = replace(CONFIG, installation=InstallationConfig(install="always"))
    bench = bench_with(tree, config, contracts=own)
    fault(bench.charger)
    bench.run()
    assert stored(bench) == []
    assert bench.seen("installation", "rejected")[0]["reason"] in reason
    assert bench.closed == ("finished" if has_contract else "no_contract")


@pytest.mark.parametrize(("known", "reason"), [((), ""), (("mo",), ""), (("oem",), "unknown_root")])
def test_a_vehicle_that_knows_roots_of_contracts_takes_no_contract_of_another(
    tree: PkiTree, known: tuple[str, ...], reason: str
) -> None:
    own = replace(provisioning(tree), mo_roots=tree.anchors(*known) if known else ())
    bench = bench_with(tree, provisioning=own)
    bench.run()
    assert [each["reason"] for each in bench.seen("installation", "rejected")] == ([reason] if reason else [])
    assert bool(stored(bench)) is not bool(reason)


@pytest.mark.parametrize("case", ["never", "no_tls", "no_set", "no_provisioning"])
def test_no_contract_is_requested_where_it_is_not_wanted_or_possible(tree: PkiTree, case: str) -> None:
    config = replace(CONFIG, installation=InstallationConfig(install="never")) if case == "never" else CONFIG
    bench = bench_with(tree, config, tls=case != "no_tls")
    if case == "no_provisioning":
        charger = bench.charger
        bench = Bench2(CONFIG, scale=20)
        bench.charger = charger
    if case == "no_set":
        bench.charger.sets = ()  # type: ignore[attr-defined]
    bench.run()
    assert bench.closed == "no_payment_option"
    assert of(bench, common.CertificateInstallationReq) == []


# -- every answer in every state ------------------------------------------------------------------------------------


UPDATES = "CertificateUpdateReq"
FETCHING = ("ServiceDetailReq", "CertificateInstallationReq", UPDATES, "PaymentDetailsReq")


def reach(tree: PkiTree, stage: str) -> Bench2:
    """Return a bench whose session has sent that request and awaits the answer."""
    bench = updating(tree)[0] if stage == UPDATES else bench_with(tree)
    bench.run_to(stage)
    return bench


def exchanges(tree: PkiTree) -> dict[str, tuple[Any, Any]]:
    """Return a request and its response of each kind."""
    found: dict[str, tuple[Any, Any]] = {}
    for stage in (*FETCHING, "SessionSetupReq", "AuthorizationReq", "CurrentDemandReq", "SessionStopReq"):
        bench = reach(tree, stage)
        found[stage] = (bench.unanswered[0], bench.answered())
    return found


@pytest.mark.requirement("R15")
@pytest.mark.parametrize("stage", FETCHING)
def test_every_message_but_the_awaited_one_ends_the_session(tree: PkiTree, stage: str) -> None:
    for name, (request, response) in exchanges(tree).items():
        for message in (request, *([response] if name != stage else [])):
            bench = reach(tree, stage)
            before = len(bench.requests)
            bench.reply(message)
            bench.assert_safe("unexpected_message")
            assert len(bench.requests) == before
            assert not stored(bench) or stage == "PaymentDetailsReq"


@pytest.mark.requirement("R15")
@pytest.mark.parametrize("stage", FETCHING)
def test_every_failure_ends_the_session_without_a_contract(tree: PkiTree, stage: str) -> None:
    for code in types.ResponseCode:
        if not code.name.startswith("FAILED"):
            continue
        bench = reach(tree, stage)
        before = stored(bench)
        bench.altered(response_code=code)
        bench.assert_safe(code.name)
        assert stored(bench) == before


@pytest.mark.requirement("R15")
@pytest.mark.parametrize("stage", FETCHING)
def test_a_silent_charger_ends_the_session(tree: PkiTree, stage: str) -> None:
    bench = reach(tree, stage)
    bench.pass_time(5.5)
    bench.assert_safe("message_timeout")


@pytest.mark.requirement("R197")
@pytest.mark.parametrize("stage", ["CertificateInstallationReq", UPDATES])
@pytest.mark.parametrize("name", ["", "DE-V2G-C00000001-9", "DEV2GC0000000191AB"])
def test_a_refusal_names_its_code_whatever_eMAID_it_has(tree: PkiTree, stage: str, name: str) -> None:
    """A charger that refuses has no contract to name; its text of 0 or 18 characters is not the cause."""
    bench = reach(tree, stage)
    code = types.ResponseCode.FAILED_NoCertificateAvailable
    whole = bench.charger.message(replace(bench.answered(), response_code=code))
    known = whole.body.body_element.emaid.value
    bench.receive(frame(PayloadType.SAP, exchanged(exi.encode(whole), text(known), text(name))))
    assert bench.closed == "FAILED_NoCertificateAvailable"
    (beyond,) = bench.seen("session", "beyond_schema")
    assert (beyond["kind"], beyond["value"]) == ("length", len(name))


@pytest.mark.requirement("R197")
def test_a_contract_whose_signed_eMAID_is_too_long_is_rejected_by_name(tree: PkiTree) -> None:
    bench = reach(tree, "CertificateInstallationReq")
    whole = bench.charger.message(bench.answered())
    known = whole.body.body_element.emaid.value
    hyphens = "DE-V2G-C00000001-9"
    body = replace(whole.body.body_element, emaid=replace(whole.body.body_element.emaid, value=hyphens))
    with pytest.raises(ExiEncodeError):
        exi.encode(replace(whole, body=replace(whole.body, body_element=body)))
    bench.receive(frame(PayloadType.SAP, exchanged(exi.encode(whole), text(known), text(hyphens))))
    assert bench.seen("session", "beyond_schema")
    assert "cannot be encoded" in bench.seen("installation", "rejected")[0]["error"]
    bench.run()
    assert bench.closed == "no_contract"


@pytest.mark.requirement("R15")
def test_a_refused_contract_is_replaced_by_another_one(tree: PkiTree) -> None:
    """`installation.install` promises it; the refusal has ended the session before."""
    bench, old = updating(tree)
    bench.now -= 86_400 / bench.scale  # it does not end soon
    bench.run_to("PaymentDetailsReq")
    until_ms = bench.utc_ms + RETRY_MS
    for refused, requests in ({}, False), ({old.chain[0]: until_ms}, True):
        again = bench_with(tree, contracts=(old,), refused=refused)
        again.now = bench.now
        again.run_to("CertificateInstallationReq" if requests else "PaymentDetailsReq")
        assert bool(of(again, common.CertificateInstallationReq)) is requests
    later = bench_with(
        tree, contracts=(old,), refused={old.chain[0]: until_ms},
        provisioning=replace(provisioning(tree), postponed_until_ms=until_ms),
    )  # fmt: skip
    later.now = bench.now
    later.run_to("PaymentDetailsReq")
    assert not of(later, common.CertificateInstallationReq), "there is none: what is left is presented"
