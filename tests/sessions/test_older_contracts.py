"""Vehicle and charger of ISO 15118-2 joined in memory: contracts, receipts, contracts from a back end, and pauses."""

import pytest
from cryptography.hazmat.primitives.asymmetric import ec
from msgspec.structs import replace

from evcc.session import ports as ev
from evcc.session.contracts import Contract
from pki_tools.tree import PkiTree
from secc.session import ports as se
from secc.session.config import EnergyService
from tests.io.tls.support import other_2, pki_2
from tests.iso15118.d2.contracts import contract_2
from tests.sessions.joined_messages import PAYING, ContractJoined
from v2g.iso15118.engine.session import Send
from v2g.pki.keys import SoftwareKey

pytestmark = pytest.mark.requirement("R1", "R15")

__all__ = ["other_2", "pki_2"]

KINDS = pytest.mark.parametrize("kind", ["2-dc", "2-ac"])


@KINDS
def test_a_contract_pays_and_gives_receipts(pki_2: PkiTree, kind: str) -> None:
    joined = ContractJoined(kind, pki_2)
    for mwh in (20_000, 50_000, 80_000):
        joined.run(joined.charged(mwh))
        joined.close_interval()
    joined.complete()
    joined.assert_safe()
    (authorize,) = [each for each in joined.secc_actions if isinstance(each, se.AuthorizeContract)]
    assert authorize.chain == pki_2.chain("contract")
    assert joined.authorisation() == "signed"
    found = joined.confirmed()
    assert (found.count, found.discharged_wh) == (3, 0)
    assert 80 <= found.charged_wh <= joined.imported_mwh() // 1000
    assert len(joined.vehicle_saw("metering", "confirmed")) == 3
    assert [each["service"] for each in joined.vehicle_saw("authorization", "granted")] == ["PnC"]
    assert [each["method"] for each in joined.charger_saw("authorization", "authorized")] == ["PnC"]
    assert [each["quirk"] for each in joined.charger_saw("session", "quirk_tolerated")] == []


@KINDS
def test_a_charger_that_stops_gets_a_receipt_for_the_last_reading(pki_2: PkiTree, kind: str) -> None:
    joined = ContractJoined(kind, pki_2)
    joined.run(joined.charged(30_000))
    joined.secc.fact(se.StopRequested("operator"), joined.now, joined.utc_ms)
    joined.complete()
    joined.assert_safe()
    found = joined.confirmed()
    assert found.count == 1
    assert 30 <= found.charged_wh <= joined.imported_mwh() // 1000 < 100
    assert len(joined.vehicle_saw("stop", "stopping")) == 1


@KINDS
def test_a_vehicle_that_signs_with_another_key_is_stopped(pki_2: PkiTree, other_2: PkiTree, kind: str) -> None:
    """It presents a contract whose key it does not have."""
    stolen = Contract(pki_2.chain("contract"), other_2.key("contract"))
    joined = ContractJoined(kind, pki_2, contract=stolen)
    joined.run()
    assert joined.evcc_reason == "FAILED_SignatureError"
    assert not [each for each in joined.secc_actions if isinstance(each, se.AuthorizeContract)]
    assert joined.imported_mwh() == 0
    joined.assert_safe()


@KINDS
def test_a_vehicle_without_a_contract_charges_with_the_one_it_fetched(pki_2: PkiTree, kind: str) -> None:
    joined = ContractJoined(kind, pki_2, keeps=False)
    joined.complete()
    (stored,) = [each for each in joined.evcc_actions if isinstance(each, ev.StoreContract)]
    assert stored.chain == pki_2.chain("contract")
    sent = [each.data[8:] for each in joined.secc_actions if isinstance(each, Send)]
    assert joined.installed[0] in sent, "no byte is changed"
    assert joined.imported_mwh() >= 100_000


@KINDS
def test_a_vehicle_without_a_contract_also_selects_internet_access(pki_2: PkiTree, kind: str) -> None:
    services = (EnergyService.DC,) if kind == "2-dc" else (EnergyService.AC,)
    charger = replace(PAYING, services=services, internet=("http-80", "https-443"))
    joined = ContractJoined(kind, pki_2, keeps=False, charger=charger, internet=True)
    joined.complete()
    assert [each for each in joined.evcc_actions if isinstance(each, ev.StoreContract)]
    assert [(each["service_id"], each["parameter_set"]) for each in joined.charger_saw("service", "added")] == [(3, 3)]


def ending_soon(tree: PkiTree) -> Contract:
    own = contract_2(tree, days=1 / 12)
    return Contract(own.chain, SoftwareKey(own.key))


def test_a_contract_that_ends_soon_is_updated(pki_2: PkiTree) -> None:
    joined = ContractJoined("2-dc", pki_2, contract=ending_soon(pki_2))
    joined.complete()
    (command,) = [each for each in joined.secc_actions if isinstance(each, se.RequestContract)]
    assert command.request.update
    (stored,) = [each for each in joined.evcc_actions if isinstance(each, ev.StoreContract)]
    (authorize,) = [each for each in joined.secc_actions if isinstance(each, se.AuthorizeContract)]
    assert authorize.chain == stored.chain == pki_2.chain("contract")
    assert joined.imported_mwh() >= 100_000


def test_an_update_without_a_successor_ends_the_session(pki_2: PkiTree) -> None:
    joined = ContractJoined("2-dc", pki_2, contract=ending_soon(pki_2))
    joined.contracts = ()
    joined.run()
    assert joined.evcc_reason == "FAILED_NoCertificateAvailable"
    assert not [each for each in joined.evcc_actions if isinstance(each, ev.StoreContract)]
    joined.assert_safe()


def test_a_service_that_does_not_answer_leaves_the_vehicle_in_good_order(pki_2: PkiTree) -> None:
    joined = ContractJoined("2-dc", pki_2, keeps=False)
    joined.answers = False
    joined.run()
    assert joined.evcc_reason == "FAILED_NoCertificateAvailable"
    assert joined.imported_mwh() == 0
    joined.assert_safe()


def test_a_service_with_another_key_installs_nothing(pki_2: PkiTree) -> None:
    joined = ContractJoined("2-dc", pki_2, keeps=False)
    joined.signer = SoftwareKey(ec.generate_private_key(ec.SECP256R1()))
    joined.run()
    assert joined.evcc_reason == "no_contract"
    assert not [each for each in joined.evcc_actions if isinstance(each, ev.StoreContract)]
    joined.assert_safe()


def paused(pki: PkiTree, kind: str) -> ContractJoined:
    first = ContractJoined(kind, pki)
    first.run(first.charged(30_000))
    first.close_interval()
    first.run(first.charged(40_000))
    first.evcc.fact(ev.StopRequested("driver", pause=True), first.now, first.utc_ms)
    first.run()
    assert (first.evcc_reason, first.secc_reason) == ("paused", "paused")
    assert first.plant.flow()[1] == 0
    return first


@KINDS
def test_a_paused_session_is_joined_and_its_journal_continues(pki_2: PkiTree, kind: str) -> None:
    first = paused(pki_2, kind)
    second = ContractJoined(kind, pki_2, before=first)
    second.run(second.charged(60_000))
    second.close_interval()
    second.complete()
    assert second.charger_saw("session", "session_joined")
    assert not [each for each in second.secc_actions if isinstance(each, se.TransactionStarted)]
    assert 100_000 <= second.imported_mwh() < 135_000, "the program went on, it did not begin again"
    found = second.confirmed()
    assert found.count == 2
    assert 60 <= found.charged_wh <= second.imported_mwh() // 1000
    second.assert_safe()


def test_another_contract_does_not_join(pki_2: PkiTree, other_2: PkiTree) -> None:
    first = paused(pki_2, "2-dc")
    stored = first.kept()
    assert stored.contract is not None
    other = replace(stored, contract=replace(stored.contract, chain=other_2.chain("contract")))
    second = ContractJoined("2-dc", pki_2, before=first, paused=other)
    second.run()
    assert second.evcc_reason == "FAILED_CertificateNotAllowedAtThisEVSE"
    second.assert_safe()
