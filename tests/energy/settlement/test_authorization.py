"""The vehicle's signature for this very session: what it proves, and every way to have one for another session."""

import base64
import hashlib
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any, get_args

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.asymmetric.utils import encode_dss_signature
from hypothesis import given
from hypothesis import strategies as st
from msgspec import UNSET
from msgspec.structs import replace

from pki_tools.tree import PkiTree
from tests.energy.settlement.conftest import SESSION_ID, Session, authorization_of
from v2g import exi
from v2g.energy.settlement.authorization import Authorization, SignedChallenge, challenge_of, check_authorization
from v2g.energy.settlement.bundle import CONTRACT_CHAIN, Demand, verify_bundle
from v2g.energy.settlement.journal import Entry, verify_lines
from v2g.energy.settlement.records import (
    AnyRecord,
    AuthorizationSigned,
    ContractAuthorized,
    IntervalClosed,
    MeterReading,
    ServiceChanged,
    SessionEnded,
    SessionStarted,
)
from v2g.energy.settlement.session_journal import SessionJournal
from v2g.errors import StoreError, VerificationError
from v2g.iso15118.d20.messages.common_messages import AuthorizationReq
from v2g.iso15118.d20.schemas import COMMON_MESSAGES
from v2g.iso15118.engine.schemas import XMLDSIG
from v2g.iso15118.signed_requests import read_authorization
from v2g.pki.credentials import Credentials

pytestmark = pytest.mark.requirement("R32")


_OF_CONTRACT = (ContractAuthorized, AuthorizationSigned)


class Signing(Session):
    """A session of version 3 that charges for a minute."""

    signs = True


def charged(session: Session, discharge: str = "none") -> Session:
    session.start(discharge)
    session.read(reason="begin")
    session.flow(11_000, 60_000, 20_000)
    session.end()
    return session


@pytest.fixture(scope="module")
def signed(pki: PkiTree, start_ms: int) -> Session:
    return charged(Signing(pki, start_ms))


def verdict(session: Session, *require: Demand) -> str | None:
    return verify_bundle(session.bundle(), authorizations=read_authorization, require=require).authorization


def changed(session: Session, change: Callable[[AnyRecord], AnyRecord | None]) -> Session:
    """Return a session that its charger and meter tell otherwise, and seal."""
    made, ledger = Signing(session.pki, session.start_ms), SessionJournal()
    made.lines = []
    for entry in verify_lines(session.journal):
        last = isinstance(entry.data, MeterReading) and entry.data.reason == "end"
        if not (isinstance(entry.data, IntervalClosed | SessionEnded) or last):
            record = change(entry.data)
            made.lines += [] if record is None else ledger.record(record, entry.utc_ms)
    registers = session.import_mwh, session.export_mwh
    made.lines += ledger.end("vehicle", session.now, import_mwh=registers[0], export_mwh=registers[1])
    made.now = session.now
    return made


def other(**changes: Any) -> Callable[[AnyRecord], AnyRecord]:
    return lambda record: replace(record, **changes) if isinstance(record, SessionStarted) else record


def payload(made: bytes) -> Callable[[AnyRecord], AnyRecord]:
    return lambda record: AuthorizationSigned(payload=made) if isinstance(record, AuthorizationSigned) else record


def first_hash(session: Session) -> bytes:
    return bytes.fromhex(verify_lines(session.journal)[0].hash)


def test_the_signature_is_of_the_contracts_key_over_the_hash_of_the_first_line(signed: Session) -> None:
    """Read with hashlib, json and cryptography; only EXI is our own codec, whose vectors are others'."""
    files = signed.bundle()
    first, *rest = map(json.loads, files["journal.jsonl"].splitlines())
    unhashed = {key: value for key, value in first.items() if key != "hash"}
    text = json.dumps(unhashed, sort_keys=True, separators=(",", ":"), ensure_ascii=False)
    (entry,) = [each["data"] for each in rest if each["data"]["kind"] == "authorization_signed"]
    request = exi.decode(base64.b64decode(entry["payload"]), COMMON_MESSAGES)
    assert isinstance(request, AuthorizationReq)
    mode, made = request.pnc_a_req_authorization_mode, request.header.signature
    assert mode is not None
    assert made is not None
    assert mode.gen_challenge == hashlib.sha256(text.encode()).digest()[:16]
    (reference,) = made.signed_info.reference
    assert reference.digest_value == hashlib.sha512(exi.encode_fragment(mode, COMMON_MESSAGES)).digest()
    leaf = x509.load_pem_x509_certificates(files[CONTRACT_CHAIN])[0]
    key, value = leaf.public_key(), made.signature_value.value
    assert isinstance(key, ec.EllipticCurvePublicKey)
    half = len(value) // 2
    der = encode_dss_signature(int.from_bytes(value[:half], "big"), int.from_bytes(value[half:], "big"))
    key.verify(der, exi.encode_fragment(made.signed_info, XMLDSIG), ec.ECDSA(hashes.SHA512()))
    started = verify_lines(signed.journal)[0]
    assert isinstance(started.data, SessionStarted)
    assert challenge_of(started.data, started.utc_ms) == mode.gen_challenge


def test_a_session_for_which_the_vehicle_signed_says_so(signed: Session) -> None:
    report = verify_bundle(signed.bundle(), authorizations=read_authorization, require=["authorization"])
    assert (report.authorization, report.version) == ("signed", 3)
    assert any(line.startswith("Authorisation signed: ") for line in report.lines())
    unread = verify_bundle(signed.bundle())
    assert unread.authorization is None
    assert not any("Authorisation" in line for line in unread.lines())
    with pytest.raises(VerificationError, match="no vehicle signed for this session: it was not checked"):
        verify_bundle(signed.bundle(), require=["authorization"])


def test_energy_may_be_fed_back_by_signed_commands_as_before(pki: PkiTree, start_ms: int) -> None:
    session = Signing(pki, start_ms)
    session.start("signed")
    session.offer()
    session.flow(-9_000, 60_000)
    session.end()
    report = verify_bundle(session.bundle(), authorizations=read_authorization, require=["signed", "authorization"])
    assert report.discharge.covered
    assert report.discharge.export_mwh


def test_an_older_journal_and_one_without_a_contract_are_named(pki: PkiTree, start_ms: int, signed: Session) -> None:
    older = charged(Session(pki, start_ms))
    assert verdict(older) == "unsigned"
    lines = verify_bundle(older.bundle(), authorizations=read_authorization).lines()
    assert any(line.startswith("Authorisation unsigned: a contract pays, in a journal of an earlier") for line in lines)
    with pytest.raises(VerificationError, match="no vehicle signed for this session: a contract pays"):
        verdict(older, "authorization")
    for session in (older, signed):
        entries = [each for each in verify_lines(session.journal) if not isinstance(each.data, _OF_CONTRACT)]
        assert check_authorization(entries, None, read_authorization) == "external"


@pytest.mark.parametrize(
    "lie",
    [
        {"session_id": "0011223344556688"},
        {"evse_id": "DE*V2G*E0002"},
        {"station_id": "CS-V2G-0002"},
        {"import_mwh": 1},
        {"entropy": "00" * 16},
        {"entropy": UNSET},
        {"bundle": 2},
    ],
    ids=lambda lie: next(iter(lie)),
)
def test_a_signature_counts_for_no_other_session_place_or_meter(signed: Session, lie: dict[str, Any]) -> None:
    """Charger and meter seal what they like, with what the vehicle once signed."""
    what = "session 0011223344556677 was authorised" if "session_id" in lie else "the vehicle signed another challenge"
    entries = verify_lines(changed(signed, other(**lie)).journal)
    with pytest.raises(VerificationError, match=what) as error:
        check_authorization(entries, signed.contract.leaf, read_authorization)
    assert error.value.where == "journal.jsonl:3"


def test_the_same_session_at_another_time_is_another_one(signed: Session, pki: PkiTree) -> None:
    later = charged(Signing(pki, signed.start_ms + 1))
    stolen = next(each.data for each in verify_lines(signed.journal) if isinstance(each.data, AuthorizationSigned))
    assert verdict(later) == "signed"
    with pytest.raises(VerificationError, match=r"journal\.jsonl:3: the vehicle signed another challenge"):
        verdict(changed(later, payload(stolen.payload)))


def test_from_version_3_on_a_contract_needs_the_signature(signed: Session) -> None:
    unsigned = changed(signed, lambda record: None if isinstance(record, AuthorizationSigned) else record)
    with pytest.raises(VerificationError, match=r"journal\.jsonl: the vehicle's signed AuthorizationReq is missing"):
        verdict(unsigned)
    entries = verify_lines(unsigned.journal)
    assert check_authorization(_with_bundle(entries, 2), signed.contract.leaf, read_authorization) == "unsigned"
    assert check_authorization(_with_bundle(entries, UNSET), signed.contract.leaf, read_authorization) == "unsigned"


def _with_bundle(entries: tuple[Entry, ...], bundle: Any) -> list[Entry]:
    return [replace(entries[0], data=replace(entries[0].data, bundle=bundle)), *entries[1:]]


def test_another_key_another_contract_and_no_contract(signed: Session, pki: PkiTree) -> None:
    """The charger has seen the chain, and signs with its own key; another contract's vehicle signs for this session."""
    challenge = first_hash(signed)[:16]
    own = Credentials(signed.contract.chain, signed.charger.key)
    with pytest.raises(VerificationError, match=r"journal\.jsonl:3: the vehicle's AuthorizationReq: "):
        verdict(changed(signed, payload(authorization_of(own, SESSION_ID, challenge))))
    elsewhere = Credentials(signed.charger.chain, signed.contract.key)
    with pytest.raises(VerificationError, match=r"journal\.jsonl:3: another contract was presented"):
        verdict(changed(signed, payload(authorization_of(elsewhere, SESSION_ID, challenge))))
    entries = verify_lines(signed.journal)
    with pytest.raises(VerificationError, match=r"journal\.jsonl:3: an authorisation was signed without a contract"):
        check_authorization(entries, None, read_authorization)
    free = [each for each in entries if not isinstance(each.data, ContractAuthorized)]
    with pytest.raises(VerificationError, match=r"journal\.jsonl:2: an authorisation was signed without a contract"):
        check_authorization(free, signed.contract.leaf, read_authorization)
    with pytest.raises(VerificationError, match=r"J:3: the vehicle's AuthorizationReq: not a certificate"):
        check_authorization(entries, b"no certificate", read_authorization, name="J")


def test_it_is_signed_once(signed: Session) -> None:
    entries = verify_lines(signed.journal)
    with pytest.raises(VerificationError, match=r"journal\.jsonl:4: an authorisation is signed once"):
        check_authorization([*entries[:3], entries[2], *entries[3:]], signed.contract.leaf, read_authorization)


def test_a_message_without_certificate_is_of_the_contracts_key(signed: Session) -> None:
    """That is how ISO 15118-2 has it: the chain came before, in PaymentDetailsReq."""
    entries = verify_lines(signed.journal)

    def read(_payload: bytes, _key: object) -> SignedChallenge:
        return SignedChallenge(SESSION_ID, first_hash(signed)[:16], None)

    assert check_authorization(entries, signed.contract.leaf, read) == "signed"


@given(place=st.integers(0, 10**6), bit=st.integers(0, 7))
def test_no_altered_message_is_believed(signed: Session, place: int, bit: int) -> None:
    entries = list(verify_lines(signed.journal))
    record = entries[2].data
    assert isinstance(record, AuthorizationSigned)
    altered = bytearray(record.payload)
    altered[place % len(altered)] ^= 1 << bit
    entries[2] = replace(entries[2], data=AuthorizationSigned(payload=bytes(altered)))
    with pytest.raises(VerificationError):
        check_authorization(entries, signed.contract.leaf, read_authorization)


def test_services_are_first_selected_before_the_meter_is_read(signed: Session) -> None:
    """Else a charger could make the condition for discharging looser for energy that flowed before."""
    session = Signing(signed.pki, signed.start_ms)
    session.start("none")
    session.read(reason="begin")
    with pytest.raises(StoreError, match="services are first selected before the first meter reading"):
        session.record(ServiceChanged(service="DC_BPT", discharge="standard", reason="selected"))
    session.record(ServiceChanged(service="DC_BPT", discharge="standard", reason="renegotiated"))


def test_a_quarter_of_an_hour_may_end_while_the_driver_is_authorised(signed: Session) -> None:
    """No energy has flowed by then; with energy, it would be another session's."""
    session = Signing(signed.pki, signed.start_ms)
    session.start("none")
    session.read(reason="interval")
    session.record(ServiceChanged(service="DC_BPT", discharge="standard", reason="selected"))
    other = Signing(signed.pki, signed.start_ms)
    other.start("none")
    other.import_mwh += 1
    other.read(reason="interval")
    with pytest.raises(StoreError, match="services are first selected"):
        other.record(ServiceChanged(service="DC_BPT", discharge="standard", reason="selected"))


def test_the_page_names_each_verdict() -> None:
    page = (Path(__file__).parents[3] / "docs/reference/settlement-bundle.md").read_text()
    assert all(f"| `{each}` |" in page for each in get_args(Authorization))
