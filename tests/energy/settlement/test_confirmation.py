"""Readings that the vehicle signed by the plain standard, in a journal."""

import msgspec
import pytest
from cryptography.hazmat.primitives.asymmetric import ec

from tests.energy.settlement.conftest import SESSION_ID, Session
from v2g.energy.settlement.authorization import check_confirmations
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
    return check_confirmations(verify_lines(session.journal), KEY, read).count


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
    line = max(n for n, each in enumerate(session.lines, 1) if b"metering_confirmed" in each)
    assert caught.value.where == f"journal.jsonl:{line}"


def test_without_a_contract_nobody_can_have_signed(session: Session) -> None:
    session.start()
    session.record(MeteringConfirmed(payload=says(0)))
    session.end()
    with pytest.raises(VerificationError, match="without a contract"):
        check_confirmations(verify_lines(session.journal), None, read)


def test_the_bounds_are_the_last_confirmation_and_the_reading_of_that_moment(session: Session) -> None:
    def check(*payloads: bytes) -> int:
        said = iter(payloads)
        entries = [
            msgspec.structs.replace(each, data=MeteringConfirmed(payload=next(said)))
            if isinstance(each.data, MeteringConfirmed)
            else each
            for each in verify_lines(session.journal)
        ]
        return check_confirmations(entries, KEY, read).count

    good = [says(0)]
    session.start()
    session.record(MeteringConfirmed(payload=b""))  # nothing has flowed yet
    for _ in range(2):
        session.export_mwh += 3_000_999
        session.flow(11_000, 60 * 60_000)
        session.record(MeteringConfirmed(payload=b""))
        charged, discharged = (
            (now - then) // 1000
            for now, then in zip((session.import_mwh, session.export_mwh), session.begin, strict=True)
        )
        good.append(says(charged, discharged))
    session.now += 1
    session.record(MeteringConfirmed(payload=b""))  # after the last reading: the charger was cut off
    good.append(good[-1])
    assert check(*good) == 4
    for place in (2, 3):
        for bad in (says(charged + 1, discharged), says(charged, discharged + 1)):
            with pytest.raises(VerificationError, match="differs from the meter reading"):
                check(*good[:place], bad, *good[place + 1 :])
    early = says(int(good[1].split()[1]) + 1, 3_000)
    with pytest.raises(VerificationError, match="differs from the meter reading"):
        check(good[0], early, *good[2:])  # had flowed only later
