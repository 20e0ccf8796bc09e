"""A vehicle fetches contracts: what it asks, what it believes, stores and tries, and how it goes on without."""

from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from typing import Any

import msgspec
import pytest
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat

from evcc.session.contracts import Contract, Provisioning, emaid, ranked, usable
from evcc.session.ports import StopRequested, StoreContract
from evcc.session.settings import AuthorizationConfig, InstallationConfig, TimingConfig
from pki_tools.tree import PkiOptions, PkiTree, TreeFault, make_pki
from tests.evcc.session.bench import SHORT, T0, Bench, Identities
from tests.iso15118.d20.contracts import PCID, drawn, new_contract, service
from tests.pki.chains import issuer_of
from v2g import exi
from v2g.errors import KeyAccessError
from v2g.iso15118.d20.envelope_rules import EnvelopeRules
from v2g.iso15118.d20.installation import check_request_signature, refusal
from v2g.iso15118.d20.messages import common_messages as cm
from v2g.iso15118.d20.messages.common_types import Processing, ResponseCode
from v2g.iso15118.d20.provisioning import ProvisioningService
from v2g.iso15118.d20.schemas import COMMON_MESSAGES
from v2g.iso15118.engine.contracts import Answer
from v2g.iso15118.engine.contracts import Contract as Installable
from v2g.iso15118.engine.sequence import State
from v2g.pki.certificates import emaid_of, load_certificate
from v2g.pki.crl import Revoked, load_crl, make_crl
from v2g.pki.keys import SoftwareKey
from v2g.pki.profile import KeyKind

BEGIN = datetime.fromtimestamp(T0 / 1000, UTC)
DAY = timedelta(days=1)
replace = msgspec.structs.replace
Maker = Callable[..., Bench]


@pytest.fixture(scope="module")
def tree(tmp_path_factory: pytest.TempPathFactory) -> PkiTree:
    return make_pki(tmp_path_factory.mktemp("pki"), now=BEGIN)


@pytest.fixture(scope="module")
def edwards(tmp_path_factory: pytest.TempPathFactory) -> PkiTree:
    return make_pki(tmp_path_factory.mktemp("pki"), now=BEGIN, options=PkiOptions(key_kind=KeyKind.ED448))


def own(tree: PkiTree, **change: Any) -> Provisioning:
    fields: dict[str, Any] = {
        "chain": tree.chain("provisioning"),
        "key": tree.key("provisioning"),
        "pcid": PCID,
        "v2g_roots": tree.anchors("v2g"),
        "mo_roots": tree.anchors("mo"),
    }
    return Provisioning(**(fields | change))


def contract(tree: PkiTree, name: str, *, days: int = 400, since: int = -1, start: int = 1) -> Installable:
    ed448 = tree.key("provisioning").algorithm.value == "ed448"
    begin = BEGIN + since * DAY
    return new_contract(tree, name, ed448=ed448, start=start, not_before=begin, not_after=BEGIN + days * DAY)


def held(installable: Installable) -> Contract:
    return Contract(installable.chain, SoftwareKey(installable.key))


class Pool:
    """A charger's back end: answers requests from its contracts."""

    def __init__(self, tree: PkiTree, *contracts: Installable) -> None:
        self.service = ProvisioningService(
            service(tree), oem_roots=tree.anchors("oem"), mo_roots=tree.anchors("mo", "v2g")
        )
        self.contracts = contracts
        self.asked: list[cm.CertificateInstallationReq] = []
        self.ongoing = 0
        self.codes: list[ResponseCode] = []
        self.change: dict[str, Any] = {}

    def __call__(self, request: cm.CertificateInstallationReq) -> cm.CertificateInstallationRes:
        check_request_signature(request)
        self.asked.append(request)
        header = replace(request.header, signature=None)
        if self.ongoing:
            self.ongoing -= 1
            return refusal(header, ResponseCode.OK, processing=Processing.Ongoing)
        if self.codes:
            return refusal(header, self.codes.pop(0))
        asked = self.service.read(exi.encode(request), T0)
        answer = asked if isinstance(asked, Answer) else self.service.answer(asked, self.contracts, T0, drawn())
        response = exi.decode(answer.exi, COMMON_MESSAGES)
        assert isinstance(response, cm.CertificateInstallationRes)
        return replace(response, **self.change)


@pytest.fixture
def make(identities: Identities, tree: PkiTree) -> Maker:
    """Return a maker of benches whose vehicle has no contract: `make(pool, config, **bench options)`."""

    def maker(pool: Any, install: InstallationConfig | None = None, **options: Any) -> Bench:
        config = options.pop("config", SHORT)
        config = replace(config, installation=install or InstallationConfig())
        options = {"contracts": (), "provisioning": own(tree)} | options
        bench = Bench(identities, config, scale=20, **options)
        bench.charger.install = pool
        return bench

    return maker


def stored(bench: Bench) -> list[StoreContract]:
    return [each for each in bench.commands if isinstance(each, StoreContract)]


def authorised_by(bench: Bench) -> list[str]:
    """Return the EMAIDs with which it tried, or EIM."""
    modes = [each.pnc_a_req_authorization_mode for each in bench.requests if isinstance(each, cm.AuthorizationReq)]
    leaves = [mode and mode.contract_certificate_chain.certificate for mode in modes]
    return [emaid_of(load_certificate(leaf)) if leaf else "EIM" for leaf in leaves]


def test_a_vehicle_without_a_contract_gets_one_and_charges(make: Maker, tree: PkiTree) -> None:
    pool = Pool(tree, contract(tree, "DEV2GC00000001"))
    bench = make(pool)
    bench.run()
    assert bench.closed == "finished"
    names = bench.names()
    assert names[2:5] == ["AuthorizationSetupReq", "CertificateInstallationReq", "AuthorizationReq"]
    (kept,) = stored(bench)
    assert kept.emaid == "DEV2GC00000001"
    assert kept.chain == pool.contracts[0].chain
    raw = (Encoding.DER, PrivateFormat.PKCS8, NoEncryption())
    assert kept.key.private_bytes(*raw) == pool.contracts[0].key.private_bytes(*raw)
    assert "PRIVATE" not in repr(kept)
    assert authorised_by(bench) == ["DEV2GC00000001"]


def test_ed448_all_the_way(make: Maker, edwards: PkiTree) -> None:
    pool = Pool(edwards, contract(edwards, "DEV2GC00000001"))
    bench = make(pool, provisioning=own(edwards))
    bench.run(lambda: "ServiceDiscoveryReq" in bench.names())
    assert authorised_by(bench) == ["DEV2GC00000001"]
    assert len(stored(bench)) == 1


def test_the_request_says_who_asks_what_it_knows_and_what_it_wants(make: Maker, tree: PkiTree) -> None:
    pool = Pool(tree, contract(tree, "DEV2GC00000001"))
    bench = make(pool, InstallationConfig(maximum_contracts=5, prioritized_emaids=("DEV2GC00000009",)))
    bench.run_to("AuthorizationReq")
    (request,) = pool.asked  # whose signature the pool has checked
    chain = request.oem_provisioning_certificate_chain
    assert (chain.certificate, *chain.sub_certificates.certificate) == tree.chain("provisioning")  # type: ignore[union-attr]
    roots = [each.x509_serial_number for each in request.list_of_root_certificate_ids.root_certificate_id]
    assert roots == [load_certificate(der).serial_number for der in tree.anchors("v2g", "mo")]
    assert request.maximum_contract_certificate_chains == 5
    assert request.prioritized_emaids is not None
    assert request.prioritized_emaids.emaid == ("DEV2GC00000009",)


class TestWhen:
    """Contracts are fetched when they are needed, offered and wanted."""

    def asked(self, bench: Bench) -> bool:
        bench.run(lambda: "AuthorizationReq" in bench.names())
        return "CertificateInstallationReq" in bench.names()

    def test_not_with_a_valid_contract(self, make: Maker, tree: PkiTree) -> None:
        assert not self.asked(make(Pool(tree), contracts=(held(contract(tree, "DEV2GC00000001")),)))

    @pytest.mark.parametrize(("since", "days"), [(-9, -1), (1, 9)], ids=["expired", "not yet valid"])
    def test_with_a_contract_out_of_its_time(self, make: Maker, tree: PkiTree, since: int, days: int) -> None:
        old = held(contract(tree, "DEV2GC00000001", since=since, days=days))
        assert self.asked(make(Pool(tree, contract(tree, "DEV2GC00000002")), contracts=(old,)))

    def test_always_if_so_configured(self, make: Maker, tree: PkiTree) -> None:
        valid = held(contract(tree, "DEV2GC00000001"))
        pool = Pool(tree, contract(tree, "DEV2GC00000002"))
        assert self.asked(make(pool, InstallationConfig(install="always"), contracts=(valid,)))
        assert pool.asked[0].maximum_contract_certificate_chains == 7  # one of eight is there

    def test_never_if_so_configured(self, make: Maker, tree: PkiTree) -> None:
        old = held(contract(tree, "DEV2GC00000001", since=-9, days=-1))
        assert not self.asked(make(Pool(tree), InstallationConfig(install="never"), contracts=(old,)))

    def test_not_where_it_is_not_offered(self, make: Maker, tree: PkiTree) -> None:
        old = held(contract(tree, "DEV2GC00000001", since=-9, days=-1))
        bench = make(None, contracts=(old,))
        assert not self.asked(bench)
        assert authorised_by(bench) == ["DEV2GC00000001"]  # the charger decides: our clock may be wrong

    def test_not_without_a_provisioning_certificate(self, make: Maker, tree: PkiTree) -> None:
        bench = make(Pool(tree), provisioning=None)
        bench.run()
        assert bench.closed == "no_authorization_possible"
        assert "CertificateInstallationReq" not in bench.names()

    def test_a_full_vehicle_still_asks_for_one(self, make: Maker, tree: PkiTree) -> None:
        valid = held(contract(tree, "DEV2GC00000001"))
        pool = Pool(tree, contract(tree, "DEV2GC00000002"))
        install = InstallationConfig(install="always", maximum_contracts=1)
        assert self.asked(make(pool, install, contracts=(valid,)))
        assert pool.asked[0].maximum_contract_certificate_chains == 1


class TestSeveral:
    """One exchange, one contract: 2, 1, 0."""

    def test_all_are_fetched_stored_and_the_preferred_one_pays(self, make: Maker, tree: PkiTree) -> None:
        names = ("DEV2GC0000000A", "DEV2GC0000000B", "DEV2GC0000000C")
        pool = Pool(tree, *(contract(tree, name, start=n) for n, name in enumerate(names, 1)))
        bench = make(pool, InstallationConfig(prioritized_emaids=("DE-V2G-C0000000C",)))
        bench.run_to("ServiceDiscoveryReq")
        assert [each.emaid for each in stored(bench)] == ["DEV2GC0000000C", "DEV2GC0000000A", "DEV2GC0000000B"]
        assert [each["remaining"] for each in bench.seen("installation", "installed")] == [2, 1, 0]
        assert [each.maximum_contract_certificate_chains for each in pool.asked] == [8, 7, 6]
        assert authorised_by(bench) == ["DEV2GC0000000C"]

    def test_each_is_stored_before_the_next_is_asked_for(self, make: Maker, tree: PkiTree) -> None:
        names = ("DEV2GC0000000A", "DEV2GC0000000B")
        pool = Pool(tree, *(contract(tree, name, start=n) for n, name in enumerate(names, 1)))
        bench = make(pool)
        bench.run(lambda: [type(each) for each in bench.requests].count(cm.CertificateInstallationReq) == 2)
        assert [each.emaid for each in stored(bench)] == ["DEV2GC0000000A"]

    def test_one_bad_one_does_not_cost_the_others(self, make: Maker, tree: PkiTree) -> None:
        names = ("DEV2GC0000000A", "DEV2GC0000000B")
        good = Pool(tree, *(contract(tree, name, start=n) for n, name in enumerate(names, 1)))

        def spoiled(request: cm.CertificateInstallationReq) -> cm.CertificateInstallationRes:
            response = good(request)
            if len(good.asked) == 1:
                return replace(response, header=replace(response.header, signature=None))
            return response

        bench = make(spoiled)
        bench.run_to("ServiceDiscoveryReq")
        assert [each.emaid for each in stored(bench)] == ["DEV2GC0000000B"]
        assert [each["reason"] for each in bench.seen("installation", "rejected")] == ["bad_signature"]

    def test_a_charger_that_never_ends_is_left(self, make: Maker, tree: PkiTree) -> None:
        pool = Pool(tree, contract(tree, "DEV2GC00000001"))
        pool.change = {"remaining_contract_certificate_chains": 3}
        bench = make(pool, InstallationConfig(maximum_contracts=3))
        bench.run()
        assert bench.closed == "installation_endless"
        assert bench.names()[-1] == "SessionStopReq"
        assert len(pool.asked) == 3

    def test_a_count_that_stays_is_borne_while_there_is_room(self, make: Maker, tree: PkiTree) -> None:
        """A contract that is added meanwhile keeps the count up."""
        names = ("DEV2GC0000000A", "DEV2GC0000000B", "DEV2GC0000000C")
        pool = Pool(tree, *(contract(tree, name, start=n) for n, name in enumerate(names, 1)))
        left = [1, 1, 0]

        def counted(request: cm.CertificateInstallationReq) -> cm.CertificateInstallationRes:
            return replace(pool(request), remaining_contract_certificate_chains=left.pop(0))

        bench = make(counted)
        bench.run_to("ServiceDiscoveryReq")
        assert [each.emaid for each in stored(bench)] == list(names)

    def test_more_than_there_is_room_for_are_fetched_and_not_kept(self, make: Maker, tree: PkiTree) -> None:
        """V2G20-1973: while contracts remain, the charger expects no other request."""
        valid = held(contract(tree, "DEV2GC00000001"))
        pool, left = Pool(tree, contract(tree, "DEV2GC0000000A")), [2, 1, 0]

        def more(request: cm.CertificateInstallationReq) -> cm.CertificateInstallationRes:
            return replace(pool(request), remaining_contract_certificate_chains=left.pop(0))

        bench = make(more, InstallationConfig(install="always", maximum_contracts=2), contracts=(valid,))
        bench.run_to("ServiceDiscoveryReq")
        assert [each.maximum_contract_certificate_chains for each in pool.asked] == [1, 1, 1]
        assert [each.emaid for each in stored(bench)] == ["DEV2GC0000000A"]
        assert [each["reason"] for each in bench.seen("installation", "rejected")] == ["more_than_asked_for"] * 2


class TestWaiting:
    """The charger's back end takes its time."""

    def test_the_same_request_is_sent_until_there_is_an_answer(self, make: Maker, tree: PkiTree) -> None:
        pool = Pool(tree, contract(tree, "DEV2GC00000001"))
        pool.ongoing = 5
        bench = make(pool)
        bench.run_to("AuthorizationReq")
        assert len(pool.asked) == 6
        bodies = {exi.encode(replace(each, header=replace(each.header, time_stamp=0))) for each in pool.asked}
        assert len(bodies) == 1
        assert len(stored(bench)) == 1

    def test_after_60_s_the_vehicle_gives_up(self, make: Maker, tree: PkiTree) -> None:
        pool = Pool(tree)
        pool.ongoing = 1_000
        bench = make(pool, config=replace(SHORT, timing=TimingConfig(poll_pause_s=1.0)))
        bench.run_to("CertificateInstallationReq")
        began = bench.now
        bench.run()
        assert bench.closed == "installation_timeout"
        assert 60 <= bench.now - began < 61
        bench.assert_safe("installation_timeout")

    def test_each_contract_has_its_60_s(self, make: Maker, tree: PkiTree) -> None:
        names = ("DEV2GC0000000A", "DEV2GC0000000B")
        pool = Pool(tree, *(contract(tree, name, start=n) for n, name in enumerate(names, 1)))
        bench = make(pool)
        bench.run_to("CertificateInstallationReq")
        for _ in names:
            pool.ongoing = 1
            bench.step()
            bench.now += 40.0  # the charger held its answer; below the message timeout in the vehicle's eyes
            bench.session.tick(bench.now, bench.utc_ms)
            bench.pump()
            bench.step()
        assert not bench.closed

    def test_no_answer_at_all_is_a_message_timeout(self, make: Maker, tree: PkiTree) -> None:
        bench = make(Pool(tree))
        bench.run_to("CertificateInstallationReq")
        bench.pass_time(4.9)
        assert not bench.closed
        bench.pass_time(0.2)
        bench.assert_safe("message_timeout")

    def test_a_driver_who_stops_meanwhile_ends_it_and_the_contract_is_kept(self, make: Maker, tree: PkiTree) -> None:
        pool = Pool(tree, contract(tree, "DEV2GC00000001"))
        bench = make(pool)
        bench.run_to("CertificateInstallationReq")
        bench.fact(StopRequested("driver"))
        bench.run()
        assert bench.closed == "finished"
        assert bench.names()[-1] == "SessionStopReq"
        assert len(stored(bench)) == 1


FAILED = [each for each in ResponseCode if each.name.startswith("FAILED")]
WARNINGS = [each for each in ResponseCode if each.name.startswith("WARNING")]


class TestRefused:
    """Every code is acted on."""

    @pytest.mark.parametrize("code", FAILED)
    def test_a_failure_ends_the_session(self, make: Maker, tree: PkiTree, code: ResponseCode) -> None:
        pool = Pool(tree)
        pool.codes = [code]
        bench = make(pool, contracts=(held(contract(tree, "DEV2GC00000001", days=-1, since=-9)),))
        bench.run()
        bench.assert_safe(code.name)
        assert bench.names()[-1] == "CertificateInstallationReq"

    @pytest.mark.parametrize("code", WARNINGS)
    def test_a_warning_leaves_the_contracts_that_are_there(
        self, make: Maker, tree: PkiTree, code: ResponseCode
    ) -> None:
        pool = Pool(tree)
        pool.codes = [code] * 2
        old = held(contract(tree, "DEV2GC00000001", days=-1, since=-9))
        bench = make(pool, contracts=(old,))
        bench.run_to("ServiceDiscoveryReq")
        assert bench.seen("installation", "refused") == [{"code": code.name}]
        assert authorised_by(bench) == ["DEV2GC00000001"]
        assert not stored(bench)

    def test_without_any_contract_it_identifies_externally_if_allowed(self, make: Maker, tree: PkiTree) -> None:
        pool = Pool(tree)
        config = replace(SHORT, authorization=AuthorizationConfig(allow_eim=True))
        bench = make(pool, config=config)
        bench.run_to("ServiceDiscoveryReq")
        assert bench.seen("installation", "refused") == [{"code": "WARNING_NoContractMatchingPCIDFound"}]
        assert authorised_by(bench) == ["EIM"]

    def test_without_any_means_it_stops_in_order(self, make: Maker, tree: PkiTree) -> None:
        bench = make(Pool(tree))
        bench.run()
        assert bench.closed == "no_authorization_possible"
        assert bench.names()[-2:] == ["CertificateInstallationReq", "SessionStopReq"]

    def test_an_unknown_provider_is_answered_by_asking_for_any_contract_once(self, make: Maker, tree: PkiTree) -> None:
        """V2G20-2224."""
        pool = Pool(tree, contract(tree, "DEV2GC00000001"))
        pool.codes = [ResponseCode.WARNING_eMSPUnknown]
        bench = make(pool, InstallationConfig(prioritized_emaids=("FRXXXC00000001",)))
        bench.run_to("ServiceDiscoveryReq")
        assert [each.prioritized_emaids is not None for each in pool.asked] == [True, False]
        assert authorised_by(bench) == ["DEV2GC00000001"]


class TestDisbelieved:
    """Nothing is stored that does not prove itself; the word for it stands in the events."""

    def rejected(self, bench: Bench) -> str:
        bench.run()
        assert bench.closed == "no_authorization_possible"
        assert not stored(bench)
        (event,) = bench.seen("installation", "rejected")
        return str(event["reason"])

    def test_a_service_under_an_unknown_root(self, make: Maker, tree: PkiTree, edwards: PkiTree) -> None:
        pool = Pool(tree, contract(tree, "DEV2GC00000001"))
        assert self.rejected(make(pool, provisioning=own(tree, v2g_roots=edwards.anchors("v2g")))) == "unknown_root"

    def test_a_service_whose_certificate_has_expired(self, make: Maker, tmp_path: Any) -> None:
        tree = make_pki(tmp_path, now=BEGIN, options=PkiOptions(cps=TreeFault.EXPIRED, key_kind=KeyKind.ED448))
        pool = Pool(tree, contract(tree, "DEV2GC00000001"))
        assert self.rejected(make(pool, provisioning=own(tree))) == "expired"

    @pytest.mark.parametrize(("leaf", "issuer"), [("cps", "cps/sub2"), ("contract", "mo/sub2")])
    def test_what_a_revocation_list_names(self, make: Maker, tree: PkiTree, leaf: str, issuer: str) -> None:
        pool = Pool(tree, new := contract(tree, "DEV2GC00000001"))
        chain = new.chain if leaf == "contract" else tree.chain(leaf)
        serial, by = load_certificate(chain[0]).serial_number, issuer_of(tree, issuer)
        lists = [
            load_crl(make_crl(by, [Revoked(each, BEGIN)], number=1, at=BEGIN, validity=30 * DAY))
            for each in (serial, serial + 1)
        ]
        assert self.rejected(make(pool, provisioning=own(tree, crls=(lists[0],)))) == "revoked"
        other = make(pool, provisioning=own(tree, crls=(lists[1],)))
        other.run()
        assert stored(other)

    def test_data_that_nobody_signed(self, make: Maker, tree: PkiTree) -> None:
        pool = Pool(tree, contract(tree, "DEV2GC00000001"))

        def bare(request: cm.CertificateInstallationReq) -> cm.CertificateInstallationRes:
            response = pool(request)
            return replace(response, header=replace(response.header, signature=None))

        assert self.rejected(make(bare)) == "bad_signature"

    def test_a_contract_for_another_vehicle(self, make: Maker, tree: PkiTree) -> None:
        pool = Pool(tree, contract(tree, "DEV2GC00000001"))
        assert self.rejected(make(pool, provisioning=own(tree, pcid="WMIV2GENGINE00002X"))) == "not_authentic"

    def test_a_contract_of_a_provider_whose_root_it_lacks(self, make: Maker, tree: PkiTree, edwards: PkiTree) -> None:
        pool = Pool(tree, contract(tree, "DEV2GC00000001"))
        assert self.rejected(make(pool, provisioning=own(tree, mo_roots=edwards.anchors("mo")))) == "unknown_root"

    def test_other_rules_of_the_envelope(self, make: Maker, tree: PkiTree) -> None:
        pool = Pool(tree, contract(tree, "DEV2GC00000001"))
        rules = EnvelopeRules(other_info="")
        assert self.rejected(make(pool, provisioning=own(tree, rules=rules))) == "not_authentic"

    def test_a_key_that_signs_and_does_not_agree(self, make: Maker, tree: PkiTree) -> None:
        """As an Ed448 key in a token, which has no X448."""

        class Signer:
            algorithm, public_key = tree.key("provisioning").algorithm, tree.key("provisioning").public_key
            sign = staticmethod(tree.key("provisioning").sign)

            def agree(self, peer: object) -> bytes:
                raise KeyAccessError("the token cannot agree")

        pool = Pool(tree, contract(tree, "DEV2GC00000001"))
        assert self.rejected(make(pool, provisioning=own(tree, key=Signer()))) == "key_not_usable"

    def test_placeholders_with_an_ok(self, make: Maker) -> None:
        def empty(request: cm.CertificateInstallationReq) -> cm.CertificateInstallationRes:
            return refusal(replace(request.header, signature=None), ResponseCode.OK)

        assert self.rejected(make(empty)) == "malformed"

    def test_another_session(self, make: Maker, tree: PkiTree) -> None:
        pool = Pool(tree, contract(tree, "DEV2GC00000001"))

        def foreign(request: cm.CertificateInstallationReq) -> cm.CertificateInstallationRes:
            response = pool(request)
            return replace(response, header=replace(response.header, session_id=b"somebody"))

        bench = make(foreign)
        bench.run()
        bench.assert_safe("wrong_session_id")
        assert not stored(bench)


class TestAuthorization:
    """With several contracts the next one is tried; then new ones are fetched; then a card (V2G20-2226, -1978)."""

    def test_the_next_contract_is_tried_after_a_refusal(self, make: Maker, tree: PkiTree) -> None:
        two = tuple(held(contract(tree, f"DEV2GC0000000{n}", start=n, days=300 + n)) for n in (1, 2))
        bench = make(None, contracts=two)
        bench.charger.authorized = [ResponseCode.WARNING_eMSPUnknown]
        bench.run_to("ServiceDiscoveryReq")
        assert authorised_by(bench) == ["DEV2GC00000002", "DEV2GC00000001"]

    def test_each_is_tried_once_then_the_vehicle_stops(self, make: Maker, tree: PkiTree) -> None:
        two = tuple(held(contract(tree, f"DEV2GC0000000{n}", start=n)) for n in (1, 2))
        bench = make(None, contracts=two)
        bench.charger.codes["AuthorizationReq"] = ResponseCode.WARNING_GeneralPnCAuthorizationError
        bench.run()
        assert len(authorised_by(bench)) == 2
        assert bench.closed == "WARNING_GeneralPnCAuthorizationError"

    def test_a_refused_contract_is_replaced_if_the_charger_offers_it(self, make: Maker, tree: PkiTree) -> None:
        revoked = held(contract(tree, "DEV2GC00000001"))
        pool = Pool(tree, contract(tree, "DEV2GC00000002", start=2, days=500))
        bench = make(pool, contracts=(revoked,))
        bench.charger.authorized = [ResponseCode.WARNING_CertificateRevoked]
        bench.run_to("ServiceDiscoveryReq")
        assert authorised_by(bench) == ["DEV2GC00000001", "DEV2GC00000002"]
        assert len(stored(bench)) == 1

    def test_contracts_are_fetched_once_in_a_session(self, make: Maker, tree: PkiTree) -> None:
        pool = Pool(tree, contract(tree, "DEV2GC00000001"))
        bench = make(pool)
        bench.charger.codes["AuthorizationReq"] = ResponseCode.WARNING_CertificateRevoked
        bench.run()
        assert len(pool.asked) == 1
        assert bench.closed == "WARNING_CertificateRevoked"

    def test_a_card_comes_last(self, make: Maker, tree: PkiTree) -> None:
        config = replace(SHORT, authorization=AuthorizationConfig(allow_eim=True))
        bench = make(None, contracts=(held(contract(tree, "DEV2GC00000001")),), config=config)
        bench.charger.authorized = [ResponseCode.WARNING_eMSPUnknown]
        bench.run_to("ServiceDiscoveryReq")
        assert authorised_by(bench) == ["DEV2GC00000001", "EIM"]

    def test_one_that_expires_soon_is_renewed_while_the_old_one_pays(self, make: Maker, tree: PkiTree) -> None:
        """V2G20-2218, -2221, -2702."""
        old = held(contract(tree, "DEV2GC00000001", days=7))
        pool = Pool(tree, contract(tree, "DEV2GC00000001", start=2))
        bench = make(pool, contracts=(old,))
        bench.charger.authorized = [ResponseCode.OK_CertificateExpiresSoon]
        bench.run_to("ServiceDiscoveryReq")
        assert bench.names()[-3:] == ["AuthorizationReq", "CertificateInstallationReq", "ServiceDiscoveryReq"]
        assert len(stored(bench)) == 1
        assert bench.session._contract is old
        bench.run()
        assert bench.closed == "finished"

    def test_a_renewal_that_fails_does_not_keep_it_from_charging(self, make: Maker, tree: PkiTree) -> None:
        bench = make(Pool(tree), contracts=(held(contract(tree, "DEV2GC00000001", days=7)),))
        bench.charger.authorized = [ResponseCode.OK_CertificateExpiresSoon]
        bench.run_to("ServiceDiscoveryReq")
        assert bench.session.state is State.CERTIFICATE_EXPIRES_SOON


class TestRanking:
    """The order in which contracts are tried."""

    def order(self, contracts: tuple[Contract, ...], **options: Any) -> list[str]:
        return [emaid(each) for each in ranked(contracts, T0, **options)]

    def test_valid_then_supported_then_preferred_then_lasting(self, tree: PkiTree) -> None:
        made = {
            "DEAAAC00000001": (-1, 100),
            "DEAAAC00000002": (-1, 300),
            "FRBBBC00000003": (-1, 200),
            "DEAAAC00000004": (-9, -1),
            "DEAAAC00000005": (1, 900),
        }
        contracts = tuple(
            held(contract(tree, name, since=since, days=days, start=n))
            for n, (name, (since, days)) in enumerate(made.items(), 1)
        )
        assert self.order(contracts)[:3] == ["DEAAAC00000002", "FRBBBC00000003", "DEAAAC00000001"]
        assert self.order(contracts, preferred=("de-aaa-c00000001-7",))[0] == "DEAAAC00000001"
        assert self.order(contracts, providers=("FR-BBB",))[0] == "FRBBBC00000003"
        assert self.order(contracts, providers=("FRBBB",), preferred=("DEAAAC00000001",))[:2] == [
            "FRBBBC00000003", "DEAAAC00000001",
        ]  # fmt: skip
        assert self.order(contracts, preferred=("DEAAAC00000004",))[3] == "DEAAAC00000004"
        assert len(usable(contracts, T0)) == 3

    def test_the_charger_names_providers(self, make: Maker, tree: PkiTree) -> None:
        two = tuple(
            held(contract(tree, name, start=n)) for n, name in enumerate(("DEAAAC00000001", "FRBBBC00000002"), 1)
        )
        for provider, name in (("DEAAA", "DEAAAC00000001"), ("FR*BBB", "DEAAAC00000001"), ("FRBBB", "FRBBBC00000002")):
            bench = make(None, contracts=two)
            bench.charger.providers = (provider,)
            bench.run_to("ServiceDiscoveryReq")
            assert authorised_by(bench) == [name]
