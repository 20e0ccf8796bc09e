"""Attestation of charging stations: when each is asked for evidence, and what its evidence proves (R148).

A station is asked with a random number that is used once. What its TPM signs is compared with the release that it says
it runs. One that fails, or does not answer in time, is not whole until it proves the contrary.
"""

import hashlib
from collections.abc import Mapping
from typing import Final, Literal

import msgspec

from v2g.errors import V2GError
from v2g.pki.attestation import Manifest
from v2g.pki.keys import parse_public_key
from v2g.pki.quote import deviations, parse_evidence, verify_evidence
from v2g.text import printable

State = Literal["Pending", "Whole", "Failed", "Silent"]
Refusal = Literal["NotEnrolled", "NotAsked", "Late"]

_MOST_REASONS: Final = 20
_MOST_CHARACTERS: Final = 300


class Attested(msgspec.Struct, frozen=True, kw_only=True):
    """A station with the public key of its TPM (PEM). Times are UTC, ms.

    `nonce`: what it has been asked with (hexadecimal), empty if nothing is expected of it. `asked_ms`, `verified_ms`:
    the last question, and the last evidence of a whole station. `changed_ms`: since when it is in this state.
    """

    station_id: str
    tpm_key: str
    state: State = "Pending"
    reasons: tuple[str, ...] = ()
    nonce: str = ""
    asked_ms: int = 0
    verified_ms: int = 0
    changed_ms: int = 0


class Rhythm(msgspec.Struct, frozen=True):
    """How often a whole station is asked, and how long one has to answer, ms. Others are asked as soon as they have
    had that time."""

    every_ms: int
    answer_ms: int


class KnownRelease(msgspec.Struct, frozen=True):
    """A release that stations may run: its manifest, and the registers (SHA-256) of a station that is whole."""

    manifest: Manifest
    registers: Mapping[int, str]


def digest_of(manifest: bytes) -> str:
    """Return what reports call a manifest by."""
    return hashlib.sha256(manifest).hexdigest()


def next_step(one: Attested, rhythm: Rhythm, now_ms: int, *, connected: bool) -> Literal["ask", "silence", "wait"]:
    """Return what to do about a station now: `silence` is that it has not answered, or that its evidence is too old."""
    old = one.state == "Whole" and now_ms >= one.verified_ms + rhythm.every_ms + rhythm.answer_ms
    if old or is_late(one, rhythm, now_ms):
        return "silence"
    pause_ms = rhythm.every_ms if one.state == "Whole" else rhythm.answer_ms
    return "ask" if connected and not one.nonce and now_ms >= one.asked_ms + pause_ms else "wait"


def is_late(one: Attested, rhythm: Rhythm, now_ms: int) -> bool:
    """Return whether the time to answer is over."""
    return bool(one.nonce) and now_ms >= one.asked_ms + rhythm.answer_ms


def asked(one: Attested, nonce: str, now_ms: int) -> Attested:
    """Return a station that has been asked."""
    return msgspec.structs.replace(one, nonce=nonce, asked_ms=now_ms)


def silent(one: Attested, rhythm: Rhythm, now_ms: int) -> Attested:
    """Return a station that has not answered. What is known against it stays known."""
    if one.state == "Failed":
        return msgspec.structs.replace(one, nonce="")
    why = f"no evidence within {rhythm.answer_ms // 1000} s" if one.nonce else "its evidence is too old"
    return _turned(one, "Silent", (why,), now_ms)


def answered(one: Attested, reasons: tuple[str, ...], now_ms: int) -> Attested:
    """Return a station whose evidence was judged; its nonce is used up."""
    if reasons:
        return _turned(one, "Failed", reasons, now_ms)
    return msgspec.structs.replace(_turned(one, "Whole", (), now_ms), verified_ms=now_ms)


def refusal(one: Attested | None, rhythm: Rhythm, now_ms: int) -> Refusal | None:
    """Return why evidence is not examined at all."""
    if one is None:
        return "NotEnrolled"
    if not one.nonce:
        return "NotAsked"
    return "Late" if is_late(one, rhythm, now_ms) else None


def judge(data: object, one: Attested, releases: Mapping[str, KnownRelease]) -> tuple[str, ...]:
    """Return what evidence shows against a station, empty for a whole one. `releases`: by the digest of their
    manifests."""
    if isinstance(data, dict) and isinstance(data.get("error"), str):
        return _short([f"the station could not attest: {data['error']}"])
    try:
        given = parse_evidence(msgspec.json.encode(data))
        report = verify_evidence(
            given, bytes.fromhex(one.nonce), parse_public_key(one.tpm_key.encode(), one.station_id)
        )
    except (V2GError, ValueError) as error:
        return _short([str(error)])
    release = releases.get(report.manifest)
    if release is None:
        return _short([f"no known release has the manifest {report.manifest}"])
    return _short(deviations(report, given.registers, release.manifest, report.manifest, release.registers))


def _turned(one: Attested, state: State, reasons: tuple[str, ...], now_ms: int) -> Attested:
    since_ms = one.changed_ms if state == one.state else now_ms
    return msgspec.structs.replace(one, state=state, reasons=reasons, nonce="", changed_ms=since_ms)


def _short(reasons: list[str]) -> tuple[str, ...]:
    shown = [printable(each)[:_MOST_CHARACTERS] for each in reasons[:_MOST_REASONS]]
    return (*shown, f"{len(reasons) - _MOST_REASONS} more") if len(reasons) > _MOST_REASONS else tuple(shown)
