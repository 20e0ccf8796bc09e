"""Readings that the vehicle signed by the plain standard, in a journal."""

import pytest
from cryptography.hazmat.primitives.asymmetric import ec

from tests.energy.settlement.conftest import SESSION_ID, Session
from v2g.energy.settlement.confirmation import check_confirmations
from v2g.energy.settlement.journal import verify_lines
from v2g.energy.settlement.records import MeteringConfirmed
from v2g.errors import CodecError, SignatureError, VerificationError
from v2g.pki.keys import PublicKey

KEY = ec.generate_private_key(ec.SECP521R1()).public_key()


def read(payload: bytes, _key: PublicKey) -> tuple[bytes, int, int]:
    """Stands for ISO 15118: `SESSION charged discharged` in text."""
    if payload == b"forged":
        raise SignatureError("signature does not match")
    if payload == b"garbage":
        raise CodecError("no such message")
    session, charged, discharged = payload.split()
    return bytes.fromhex(session.decode()), int(charged), int(discharged)


def confirmed(session: Session, *payloads: bytes) -> int:
    """Charge 11 kW for half an hour, confirming after every ten minutes, and check the journal."""
    session.start()
    for payload in payloads:
        session.flow(11_000, 10 * 60_000)
        session.record(MeteringConfirmed(payload=payload))
    session.end()
    return check_confirmations(verify_lines(session.journal), KEY, read)


def says(charged: int, discharged: int = 0, session: str = SESSION_ID.hex()) -> bytes:
    return f"{session} {charged} {discharged}".encode()


def test_readings_that_the_meter_had_reached_are_counted(session: Session) -> None:
    assert confirmed(session, says(1_800), says(3_600), says(5_000)) == 3


def test_a_session_without_confirmations_has_none(session: Session) -> None:
    assert confirmed(session) == 0


@pytest.mark.parametrize(
    ("payloads", "said"),
    [
        ((b"forged",), "does not match"),
        ((b"garbage",), "no such message"),
        ((says(1_000, session="ff" * 8),), "of session ffff"),
        ((says(99_000),), "differs from the meter reading"),
        ((says(1_000, discharged=5),), "differs from the meter reading"),
        ((says(1_800), says(1_700)), "differs from the meter reading"),
    ],
)
def test_what_cannot_be_true_is_found_at_its_line(session: Session, payloads: tuple[bytes, ...], said: str) -> None:
    with pytest.raises(VerificationError, match=said) as caught:
        confirmed(session, *payloads)
    assert caught.value.where.startswith("journal.jsonl:")


def test_without_a_contract_nobody_can_have_signed(session: Session) -> None:
    session.start()
    session.record(MeteringConfirmed(payload=says(0)))
    session.end()
    with pytest.raises(VerificationError, match="without a contract"):
        check_confirmations(verify_lines(session.journal), None, read)
