"""The operator's signature of prices: what it covers, and that nobody without its key prices a session."""

from typing import Any

import pytest
from cryptography.hazmat.primitives.asymmetric import ec
from msgspec.structs import replace

from pki_tools.tree import PkiTree
from tests.energy.settlement.conftest import SESSION_ID, Session
from v2g.energy.settlement.bundle import RECEIPT, verify_bundle
from v2g.energy.settlement.canonical import canonical
from v2g.energy.settlement.journal import verify_lines
from v2g.energy.settlement.operator import (
    JournalReceipt,
    JournalReceived,
    SignedPrices,
    check_prices,
    other_terms,
    prices_in,
    seal,
    tariff_digest,
)
from v2g.energy.settlement.records import TariffSet, WearPriced
from v2g.errors import VerificationError
from v2g.pki.keys import SoftwareKey

pytestmark = pytest.mark.requirement("R32", "R33")

OPERATOR, STRANGER = (SoftwareKey(ec.generate_private_key(ec.SECP256R1())) for _ in range(2))


def dearer(session: Session) -> Session:
    """Let a session that has not begun cost 30 EUR a kWh."""
    slots = tuple(replace(each, import_price=30_000_000) for each in session.tariff.slots)
    session.tariff = replace(session.tariff, slots=slots)
    return session


def charged(session: Session) -> Session:
    """Charge and feed back, with terms that the vehicle accepts, and a price of wear."""
    session.start()
    session.record(WearPriced(price=40_000))
    session.flow(11_000, 60_000, 20_000)
    session.offer()
    session.flow(-9_000, 20_000)
    session.end()
    return session


def receipted(session: Session, key: SoftwareKey = OPERATOR, **changed: Any) -> dict[str, bytes]:
    entries = verify_lines(session.journal)
    told = JournalReceived(
        station_id="CS-V2G-0001",
        session_id=SESSION_ID.hex(),
        entries=len(entries),
        head=entries[-1].hash,
        utc_ms=session.now,
        **changed,
    )
    return {**session.bundle(), RECEIPT: canonical(JournalReceipt(received=told, seal=seal(told, key)))}


@pytest.fixture(scope="module")
def session(pki: PkiTree, start_ms: int) -> Session:
    return charged(Session(pki, start_ms))


def prices_of(session: Session) -> SignedPrices:
    return prices_in(verify_lines(session.journal))


def why_not(files: dict[str, bytes]) -> str:
    with pytest.raises(VerificationError) as error:
        verify_bundle(files, operators=[OPERATOR.public_key], require=["operator"])
    return str(error.value)


def test_prices_that_the_operator_signed_are_verified(session: Session) -> None:
    assert prices_of(session) == SignedPrices((tariff_digest(session.tariff),), (40_000,))
    files = receipted(session, prices=prices_of(session))
    report = verify_bundle(files, operators=[OPERATOR.public_key], require=["operator"])
    assert report.verdict == "verified"
    assert "The prices are the operator's, signed" in report.lines()
    unknown = verify_bundle(files)
    assert not any(line.startswith("The prices are") for line in unknown.lines())


def test_without_the_operators_prices_its_receipt_proves_the_end_only(session: Session) -> None:
    report = verify_bundle(receipted(session), operators=[OPERATOR.public_key])
    assert report.complete
    assert "The prices are the charger's statement" in report.lines()
    assert why_not(receipted(session)) == "receipt.json: the operator has not signed the prices"
    assert why_not(session.bundle()) == "receipt.json: the operator's receipt is missing"
    stranger = why_not(receipted(session, STRANGER, prices=prices_of(session)))
    assert stranger.startswith("receipt.json: signed by a key that was not given: ")


def test_charger_meter_and_contract_together_do_not_price_a_session(session: Session, pki: PkiTree) -> None:
    """All three sign 30 EUR a kWh: only the operator's own signature of its prices shows it."""
    dear = charged(dearer(Session(pki, session.start_ms)))
    assert verify_bundle(receipted(dear), operators=[OPERATOR.public_key], require=["signed"]).complete
    assert why_not(receipted(dear)) == "receipt.json: the operator has not signed the prices"
    copied = receipted(dear, prices=prices_of(session))  # even if the operator's key signed this
    assert why_not(copied) == "journal.jsonl: the operator signed other prices"
    stolen = {**dear.bundle(), RECEIPT: receipted(session, prices=prices_of(session))[RECEIPT]}
    assert "the back end has a journal of" in why_not(stolen)


@pytest.mark.parametrize(
    "other",
    [{"tariffs": ()}, {"wear": ()}, {"wear": (40_001,)}, {"tariffs": ("00" * 32,)}],
    ids=["no-tariff", "no-wear", "other-wear", "other-tariff"],
)
def test_each_price_counts(session: Session, other: dict[str, Any]) -> None:
    entries, signed = verify_lines(session.journal), prices_of(session)
    check_prices(entries, signed)
    with pytest.raises(VerificationError, match=r"^journal\.jsonl: the operator"):
        check_prices(entries, replace(signed, **other))
    with pytest.raises(VerificationError, match="J: the operator signed other prices"):
        check_prices(entries, replace(signed, **other), name="J")


def test_terms_have_the_prices_in_force(pki: PkiTree, start_ms: int) -> None:
    """Accepted terms price a session: their prices and currency are those of the tariff before them."""
    secret = Session(pki, start_ms)
    shown = secret.tariff
    secret.start()
    dearer(secret).offer()
    secret.end()
    entries = verify_lines(secret.journal)
    (number,) = [n for n, each in enumerate(entries, 1) if each.kind == "terms_offered"]
    assert list(other_terms(entries, name="J")) == [number]
    with pytest.raises(VerificationError, match=f"J:{number}: terms of other prices than those in force"):
        check_prices(entries, prices_in(entries), name="J")
    unpriced = [each for each in entries if not isinstance(each.data, TariffSet)]
    assert list(other_terms(unpriced, name="J")) == [number - 1]
    other = [replace(each, data=TariffSet(tariff=_in_kwd(secret))) if each.kind == "tariff_set" else each
             for each in entries]  # fmt: skip
    assert list(other_terms(other, name="J")) == [number]
    same = [replace(each, data=TariffSet(tariff=secret.tariff)) if each.kind == "tariff_set" else each
            for each in entries]  # fmt: skip
    assert list(other_terms(same, name="J")) == []
    assert shown != secret.tariff
    broken = [replace(each, data=replace(each.data, payload=b"")) if each.kind == "terms_offered" else each
              for each in entries]  # fmt: skip
    with pytest.raises(VerificationError, match=rf"^J:{number}: "):
        list(other_terms(broken, name="J"))


def _in_kwd(session: Session) -> Any:
    return replace(session.tariff, currency="KWD")
