"""Evidence of a charger: what a TPM has signed, and nothing else. `tests/cli/test_attest.py` has real quotes."""

from collections.abc import Callable

import msgspec
import pytest
from cryptography.hazmat.primitives.asymmetric import ec, rsa
from hypothesis import given
from hypothesis import strategies as st
from msgspec.structs import replace

from tests.pki import fake_tpm
from tests.pki.fake_tpm import VALUES, attest
from tests.together import together
from v2g.errors import SignatureError, VerificationError
from v2g.pki.attestation import Manifest
from v2g.pki.quote import (
    MOST_BYTES,
    MeasuredReport,
    QuoteEvidence,
    binding,
    deviations,
    parse_evidence,
    parse_quote,
    verify_evidence,
)

pytestmark = pytest.mark.requirement("R148")

KEY = ec.generate_private_key(ec.SECP256R1())
NONCE = bytes(range(16))
DIGEST = "ab" * 32
REPORT = MeasuredReport(
    manifest=DIGEST, differences=(), mapped={"/opt/a.so": "cd" * 32, "/usr/lib/libc.so.6": "ef" * 32}
)


def evidence(quote: bytes | None = None, report: MeasuredReport = REPORT) -> QuoteEvidence:
    return fake_tpm.evidence(KEY, report, NONCE) if quote is None else fake_tpm.signed(KEY, report, quote)


def test_evidence_of_this_tpm_for_this_nonce_is_believed() -> None:
    sent = evidence()
    assert verify_evidence(parse_evidence(msgspec.json.encode(sent)), NONCE, KEY.public_key()) == REPORT
    quote = parse_quote(sent.quote)
    assert quote.registers == (0, 7, 10)


NO_QUOTE = "quote: not a quote of registers of SHA-256"


@together(
    ("change", "reason"),
    [
        (lambda sent: replace(sent, report=sent.report.replace("libc", "evil")), "quote: another nonce"),
        (lambda sent: replace(sent, registers={**VALUES, 7: "12" * 32}), "registers: other values"),
        (lambda sent: replace(sent, registers={each: VALUES[each] for each in (0, 7)}), "registers: other registers"),
        (lambda sent: replace(sent, registers={**VALUES, 11: "11" * 32}), "registers: other registers"),
        (lambda _: evidence(attest(binding(bytes(16), msgspec.json.encode(REPORT)))), "quote: another nonce"),
        *(
            (lambda _, wrong=wrong: evidence(attest(binding(NONCE, msgspec.json.encode(REPORT)), **wrong)), NO_QUOTE)
            for wrong in ({"magic": 0xFF544348}, {"kind": 0x8017}, {"bank": 0x0004}, {"more": b"x"})
        ),
    ],
)
def test_anything_else_is_not(change: Callable[[QuoteEvidence], QuoteEvidence], reason: str) -> None:
    with pytest.raises(VerificationError, match=f"^{reason}"):
        verify_evidence(change(evidence()), NONCE, KEY.public_key())


def test_a_quote_that_is_cut_off_is_none() -> None:
    whole = attest(b"x")
    assert parse_quote(whole).binding == b"x"
    for length in range(len(whole)):
        with pytest.raises(VerificationError, match=r"^quote: (cut off|not a quote)"):
            parse_quote(whole[:length])


def test_evidence_is_bounded() -> None:
    data = msgspec.json.encode(evidence())
    assert MOST_BYTES == 16 * 1024 * 1024
    with pytest.raises(VerificationError, match=r"^evidence: malformed"):
        parse_evidence(data.replace(b'"10":', b'"24":'))
    assert parse_evidence(data.replace(b'"10":', b'"23":'))
    assert parse_evidence(data.ljust(MOST_BYTES)) == evidence_of(data)
    with pytest.raises(VerificationError, match=r"^evidence: larger"):
        parse_evidence(data.ljust(MOST_BYTES + 1))
    with pytest.raises(VerificationError, match=r"^evidence: malformed"):
        parse_evidence(data[:-1])


def evidence_of(data: bytes) -> QuoteEvidence:
    return msgspec.json.decode(data, type=QuoteEvidence)


def test_neither_is_what_another_key_has_signed_or_for_another_nonce() -> None:
    with pytest.raises(SignatureError):
        verify_evidence(evidence(), NONCE, ec.generate_private_key(ec.SECP256R1()).public_key())
    with pytest.raises(VerificationError, match=r"^quote: another nonce"):
        verify_evidence(evidence(), bytes(16), KEY.public_key())
    with pytest.raises(VerificationError, match=r"^nonce: .* 16 octets"):
        verify_evidence(evidence(), NONCE[:15], KEY.public_key())
    with pytest.raises(VerificationError, match=r"^key: .* EC key"):
        verify_evidence(evidence(), NONCE, rsa.generate_private_key(65537, 2048).public_key())


def test_a_signed_report_that_is_none_is_named() -> None:
    text = b'{"manifest": 3}'
    data = attest(binding(NONCE, text))
    sent = replace(evidence(data), report=text.decode())
    with pytest.raises(VerificationError, match=r"^report: malformed"):
        verify_evidence(sent, NONCE, KEY.public_key())


@given(st.binary(max_size=200))
def test_any_octets_are_a_quote_or_the_one_error(data: bytes) -> None:
    for each in (data, attest(b"x")[: len(data)], attest(b"x")[:-1] + data):
        try:
            parse_quote(each)
        except VerificationError:
            continue
    with pytest.raises(VerificationError):
        parse_evidence(data)


def test_a_charger_differs_by_files_memory_registers_and_manifest() -> None:
    files = {"/opt/a.so": "cd" * 32}
    release = Manifest(release="1", version=1, folders=("/opt",), system=("/lib", "/usr/lib"), files=files)
    assert deviations(REPORT, VALUES, release, DIGEST, {}) == []
    assert deviations(REPORT, VALUES, release, DIGEST, VALUES) == []
    bad = MeasuredReport(
        manifest=DIGEST,
        differences=(("changed", "/opt/b.py"),),
        mapped={"/opt/a.so": "ce" * 32, "/tmp/x.so": "", "/usr/library.so": "00" * 32},
    )
    assert deviations(bad, VALUES, release, "00" * 32, {7: "11" * 32, 10: "23" * 32, 12: "00" * 32}) == [
        "changed: /opt/b.py",
        "another manifest",
        "changed in memory: /opt/a.so",
        "extra in memory: /tmp/x.so",
        "extra in memory: /usr/library.so",
        f"register 10: {'22' * 32}",
        "register 12: not quoted",
    ]
