"""Who signed that nothing is missing at the end of a journal: the vehicle, or the operator whose back end has it."""

from typing import Any

import msgspec
import pytest
from cryptography.hazmat.primitives.asymmetric import ec, ed448
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat

from tests.energy.settlement.conftest import SESSION_ID, Session
from tests.pki.forge_chains import rsa_key
from v2g.energy.settlement.bundle import RECEIPT, verify_bundle
from v2g.energy.settlement.canonical import canonical
from v2g.energy.settlement.journal import verify_lines
from v2g.energy.settlement.operator import (
    MAX_RECEIPT_BYTES,
    JournalReceipt,
    JournalReceived,
    OperatorSeal,
    PeriodClosed,
    check_seal,
    seal,
)
from v2g.errors import VerificationError
from v2g.pki.keys import SoftwareKey

pytestmark = pytest.mark.requirement("R32", "R33")

OPERATOR = SoftwareKey(ec.generate_private_key(ec.SECP256R1()))
STRANGER = SoftwareKey(ed448.Ed448PrivateKey.generate())


def received(session: Session, **changed: Any) -> JournalReceived:
    entries = verify_lines(session.journal)
    known: dict[str, Any] = {
        "station_id": "CS-V2G-0001",
        "session_id": SESSION_ID.hex(),
        "entries": len(entries),
        "head": entries[-1].hash,
        "utc_ms": session.now,
    }
    return JournalReceived(**known | changed)


def receipted(session: Session, key: SoftwareKey = OPERATOR, **changed: Any) -> dict[str, bytes]:
    statement = received(session, **changed)
    receipt = JournalReceipt(received=statement, seal=seal(statement, key))
    return {**session.bundle(), "receipt.json": canonical(receipt)}


@pytest.mark.long
def test_without_the_vehicles_signature_of_the_end_only_the_readers_operator_makes_a_bundle_complete(
    finished: Session,
) -> None:
    keys = [OPERATOR.public_key]
    alone = verify_bundle(finished.bundle(), operators=keys)
    assert (alone.complete, alone.received) == (False, None)
    assert alone.lines()[0].startswith("INCOMPLETE: the vehicle has not signed the end")
    assert alone.lines()[0].endswith("there is no receipt of the journal: entries may be missing at its end")
    files = receipted(finished)
    stranger = verify_bundle(files)
    assert not stranger.complete
    assert stranger.received is not None
    assert f"a key that was not given (--operator): {stranger.received.key}" in stranger.lines()[0]
    assert not verify_bundle(files, operators=[STRANGER.public_key]).complete
    known = verify_bundle(files, operators=[STRANGER.public_key, *keys])
    assert known.complete
    assert known.lines()[0].startswith("Complete: the operator signed that its back end has this whole journal")
    assert "ended by vehicle is the charger's statement" in known.lines()[0]
    assert verify_bundle(receipted(finished, STRANGER), operators=[STRANGER.public_key]).complete


@pytest.mark.some(1)
@pytest.mark.parametrize(
    ("changed", "why"),
    [
        ({"station_id": "CS-2"}, "of another session"),
        ({"session_id": "00" * 8}, "of another session"),
        ({"entries": 3}, "has a journal of 3 entries that ends otherwise"),
        ({"head": "00" * 32}, "ends otherwise"),
    ],
)
def test_a_receipt_of_another_journal_is_refused(finished: Session, changed: dict[str, Any], why: str) -> None:
    with pytest.raises(VerificationError, match=why) as error:
        verify_bundle(receipted(finished, **changed))
    assert error.value.where == RECEIPT


def test_a_forged_receipt_is_refused(finished: Session) -> None:
    other = seal(received(finished, utc_ms=1), OPERATOR)
    data = canonical(JournalReceipt(received=received(finished), seal=other))
    with pytest.raises(VerificationError, match="the operator's signature") as error:
        verify_bundle({**finished.bundle(), RECEIPT: data})
    assert error.value.where == RECEIPT


@pytest.mark.long
def test_a_receipt_with_a_broken_seal_is_refused(finished: Session) -> None:
    genuine = msgspec.json.decode(receipted(finished)[RECEIPT], type=JournalReceipt)
    other = seal(received(finished, utc_ms=1), OPERATOR)
    der = OPERATOR.public_key.public_bytes(Encoding.DER, PublicFormat.SubjectPublicKeyInfo)
    rsa_der = rsa_key(2048).public_key().public_bytes(Encoding.DER, PublicFormat.SubjectPublicKeyInfo)
    small = ec.generate_private_key(ec.SECP256K1()).public_key()
    for broken in (
        OperatorSeal(public_key=der, signature=b""),
        OperatorSeal(public_key=b"key", signature=other.signature),
        OperatorSeal(public_key=rsa_der, signature=other.signature),
        OperatorSeal(
            public_key=small.public_bytes(Encoding.DER, PublicFormat.SubjectPublicKeyInfo), signature=other.signature
        ),
    ):
        data = canonical(JournalReceipt(received=genuine.received, seal=broken))
        with pytest.raises(VerificationError, match="the operator's signature"):
            verify_bundle({**finished.bundle(), RECEIPT: data})
    for data, why in ((b"", "truncated"), (b"{}", "missing"), (canonical(genuine) + b" ", "canonical")):
        with pytest.raises(VerificationError, match=why):
            verify_bundle({**finished.bundle(), RECEIPT: data})


def test_a_receipt_that_is_too_long_is_refused(finished: Session) -> None:
    genuine = msgspec.json.decode(receipted(finished)[RECEIPT], type=JournalReceipt)
    for data, why in (
        (canonical(genuine).ljust(MAX_RECEIPT_BYTES), "canonical"),
        (canonical(genuine).ljust(MAX_RECEIPT_BYTES + 1), "a receipt of 65537 bytes"),
    ):
        with pytest.raises(VerificationError, match=why) as error:
            verify_bundle({**finished.bundle(), RECEIPT: data})
        assert error.value.where == RECEIPT


def test_a_receipt_with_a_key_that_is_none_says_so(finished: Session) -> None:
    made = OperatorSeal(public_key=b"key", signature=b"")
    with pytest.raises(VerificationError, match="books:1: the operator's signature: no public key"):
        check_seal(received(finished), made, where="books:1")


def test_a_signature_of_one_statement_is_none_of_another_kind(finished: Session) -> None:
    statement = received(finished)
    closed = PeriodClosed(period="2026-11", closed_ms=1, postings=2, digest="00", previous="")
    with pytest.raises(VerificationError, match="books:1: the operator's signature"):
        check_seal(closed, seal(statement, OPERATOR), where="books:1")


def test_a_journal_without_an_end_is_never_complete(session: Session) -> None:
    session.start()
    session.read()
    report = verify_bundle(receipted(session), operators=[OPERATOR.public_key])
    assert (report.complete, report.lines()[0]) == (False, "INCOMPLETE: the journal has no end")
