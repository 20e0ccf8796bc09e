"""Attestation over OCPP: a station proves to be whole, or it feeds nothing back (R148). `tests/e2e` has a real TPM."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import msgspec
import pytest
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import ec
from msgspec.structs import replace

from csms.attestations import store as attestations
from csms.attestations.config import AttestationConfig, AttestedRelease
from csms.attestations.rules import Attested, digest_of
from csms.attestations.work import advance
from csms.prequalifications.work import ExportPermits
from tests.csms.backend import Backend
from tests.csms.customers import Start
from tests.csms.scripted_station import Payload, Refused, ScriptedStation
from tests.pki.fake_tpm import VALUES, evidence
from v2g.pki.attestation import SIGNATURE, Manifest, sign_manifest
from v2g.pki.keys import SoftwareKey
from v2g.pki.quote import MeasuredReport

pytestmark = pytest.mark.requirement("R148")

TPM, OTHER_TPM = (ec.generate_private_key(ec.SECP256R1()) for _ in range(2))
STATION = "CS-V2G-0001"
FILES = {"/opt/a.so": "cd" * 32}
MANIFEST = Manifest(release="1", version=1, folders=("/opt",), system=("/usr/lib",), files=FILES)
ANSWER_S, EVERY_S = 60, 600


def public(key: ec.EllipticCurvePrivateKey) -> str:
    form = serialization.PublicFormat.SubjectPublicKeyInfo
    return key.public_key().public_bytes(serialization.Encoding.PEM, form).decode()


class Charger:
    """A station with a TPM, at a back end that knows its release."""

    def __init__(self, csms: Backend, station: ScriptedStation, manifest: str) -> None:
        self.csms, self.station = csms, station
        self.whole = MeasuredReport(manifest=manifest, differences=(), mapped=FILES | {"/usr/lib/c.so": "ef" * 32})
        station.answers["DataTransfer"] = {"status": "Accepted"}

    async def asked(self) -> bytes:
        """Let the back end work; return the nonce of its last question."""
        before = len(self.station.payloads("DataTransfer"))
        await advance(self.csms.services)
        sent = self.station.payloads("DataTransfer")
        assert len(sent) == before + 1
        assert (sent[-1]["vendorId"], sent[-1]["messageId"]) == ("org.v2g-engine", "AttestationRequest")
        return bytes.fromhex(sent[-1]["data"]["nonce"])

    async def send(self, data: object) -> tuple[str, str]:
        """Send evidence; return the status, and the reason's code."""
        payload = {"vendorId": "org.v2g-engine", "messageId": "AttestationEvidence", "data": data}
        answer = await self.station.call("DataTransfer", payload)
        return answer["status"], answer.get("statusInfo", {}).get("reasonCode", "")

    async def state(self) -> tuple[str, str]:
        """Return the state of the station, with its first reason."""
        one = await self.csms.services.store.read(attestations.find, STATION)
        assert one is not None
        return one.state, (*one.reasons, "")[0]

    async def exports(self) -> str:
        """Return why it may feed nothing back, or nothing."""
        await self.csms.services[ExportPermits].load()
        return self.csms.services[ExportPermits].of(STATION, 1).reason

    async def becomes_whole(self) -> dict[str, Any]:
        made = plain(evidence(TPM, self.whole, await self.asked()))
        assert await self.send(made) == ("Accepted", "")
        return made


def plain(made: object) -> dict[str, Any]:
    found: dict[str, Any] = msgspec.json.decode(msgspec.json.encode(made))
    return found


@pytest.fixture
def config(tmp_path: Path) -> AttestationConfig:
    private = ec.generate_private_key(ec.SECP256R1())
    data, signature = sign_manifest(MANIFEST, SoftwareKey(private))
    manifest, key = tmp_path / "manifest.json", tmp_path / "signer.pem"
    manifest.write_bytes(data)
    (tmp_path / f"manifest.json{SIGNATURE}").write_bytes(signature)
    key.write_text(public(private))
    report = MeasuredReport(manifest=digest_of(data), differences=(), mapped={})
    (tmp_path / "registers.json").write_bytes(msgspec.json.encode(evidence(TPM, report, bytes(16))))
    release = AttestedRelease(manifest=manifest, registers=tmp_path / "registers.json")
    return AttestationConfig(signer=key, releases=(release,), every_s=EVERY_S, answer_s=ANSWER_S)


async def enrolled(csms: Backend, config: AttestationConfig) -> Charger:
    station = await csms.booted()
    one = Attested(station_id=STATION, tpm_key=public(TPM), changed_ms=csms.clock.utc_ms())
    await csms.services.store.run(attestations.enrol, one)
    return Charger(csms, station, digest_of(config.releases[0].manifest.read_bytes()))


async def test_a_whole_station_may_feed_back_until_its_evidence_is_too_old(
    backend: Start, config: AttestationConfig
) -> None:
    async with backend(attestation=config) as csms:
        charger = await enrolled(csms, config)
        assert await charger.exports() == "attestation: nothing yet"
        await charger.becomes_whole()
        assert (await charger.state(), await charger.exports()) == (("Whole", ""), "")
        assert [dict(each.data) for each in csms.events.named("attested")] == [{"station": STATION}]
        csms.clock.advance(EVERY_S - 1)
        await advance(csms.services)
        assert len(charger.station.payloads("DataTransfer")) == 1
        csms.clock.advance(1)
        await charger.becomes_whole()
        nonces = {each["data"]["nonce"] for each in charger.station.payloads("DataTransfer")}
        assert len(nonces) == 2
        await csms.leave(charger.station)
        csms.clock.advance(EVERY_S + ANSWER_S)
        await advance(csms.services)
        assert await charger.state() == ("Silent", "its evidence is too old")
        assert await charger.exports() == "attestation: its evidence is too old"


async def test_one_that_is_not_enrolled_is_neither_asked_nor_bound(backend: Start, config: AttestationConfig) -> None:
    async with backend(attestation=config) as csms:
        station = await csms.booted("CS-V2G-0002")
        await advance(csms.services)
        assert station.payloads("DataTransfer") == []
        assert csms.services[ExportPermits].of("CS-V2G-0002", 1).reason == ""
        assert await Charger(csms, station, "").send({}) == ("Rejected", "NotEnrolled")


async def test_without_the_section_nobody_is_asked(backend: Start) -> None:
    async with backend() as csms:
        station = await csms.booted()
        await advance(csms.services)
        assert station.payloads("DataTransfer") == []
        assert await Charger(csms, station, "").send({}) == ("UnknownMessageId", "")


async def test_evidence_counts_once(backend: Start, config: AttestationConfig) -> None:
    """Sent again without a question it is not examined; as the answer to the next question it is a failure."""
    async with backend(attestation=config) as csms:
        charger = await enrolled(csms, config)
        made = await charger.becomes_whole()
        assert await charger.send(made) == ("Rejected", "NotAsked")
        assert await charger.state() == ("Whole", "")
        csms.clock.advance(EVERY_S)
        await charger.asked()
        assert await charger.send(made) == ("Rejected", "NotWhole")
        state, reason = await charger.state()
        assert (state, "another nonce" in reason) == ("Failed", True)
        assert "another nonce" in await charger.exports()
        csms.clock.advance(ANSWER_S)
        await charger.becomes_whole()  # one that proves the contrary is believed again
        assert await charger.exports() == ""


WRONG: dict[str, tuple[Callable[[Charger, bytes], Any], str]] = {
    "another TPM": (lambda it, nonce: evidence(OTHER_TPM, it.whole, nonce), "not signed by the TPM's key"),
    "a register that differs": (
        lambda it, nonce: evidence(TPM, it.whole, nonce, {**VALUES, 7: "12" * 32}),
        f"register 7: {'12' * 32}",
    ),
    "a register that is not quoted": (
        lambda it, nonce: evidence(TPM, it.whole, nonce, {0: VALUES[0], 10: VALUES[10]}),
        "register 7: not quoted",
    ),
    "registers other than signed": (
        lambda it, nonce: replace(evidence(TPM, it.whole, nonce), registers={**VALUES, 7: "12" * 32}),
        "registers: other values",
    ),
    "a report other than signed": (
        lambda it, nonce: replace(evidence(TPM, it.whole, nonce), report=msgspec.json.encode(it.whole).decode() + " "),
        "another report than the TPM has signed",
    ),
    "a changed file": (
        lambda it, nonce: evidence(TPM, replace(it.whole, differences=(("changed", "/opt/b.py"),)), nonce),
        "changed: /opt/b.py",
    ),
    "code changed in memory": (
        lambda it, nonce: evidence(TPM, replace(it.whole, mapped={"/opt/a.so": "ce" * 32}), nonce),
        "changed in memory: /opt/a.so",
    ),
    "code that is not in the release": (
        lambda it, nonce: evidence(TPM, replace(it.whole, mapped={"/tmp/x.so": "ce" * 32}), nonce),
        "extra in memory: /tmp/x.so",
    ),
    "a release that nobody knows": (
        lambda it, nonce: evidence(TPM, replace(it.whole, manifest="ab" * 32), nonce),
        "no known release",
    ),
    "an error": (lambda _it, _nonce: {"error": "no TPM\x1b[2J"}, "the station could not attest: no TPM\\u001b[2J"),
    "nonsense": (lambda _it, _nonce: {"report": 3}, "evidence: malformed"),
    "nothing": (lambda _it, _nonce: None, "evidence: malformed"),
}


@pytest.mark.parametrize("which", WRONG)
async def test_one_that_does_not_prove_it_loses_its_discharge(
    backend: Start, config: AttestationConfig, which: str
) -> None:
    make, reason = WRONG[which]
    async with backend(attestation=config) as csms:
        charger = await enrolled(csms, config)
        await charger.becomes_whole()
        csms.clock.advance(EVERY_S)
        made = make(charger, await charger.asked())
        assert await charger.send(plain(made)) == ("Rejected", "NotWhole")
        state, found = await charger.state()
        assert (state, reason in found) == ("Failed", True), found
        assert reason in await charger.exports()
        (event,) = csms.events.named("attestation_failed")
        assert (event.data["state"], reason in str(event.data["reason"])) == ("Failed", True)


async def test_many_reasons_are_counted(backend: Start, config: AttestationConfig) -> None:
    async with backend(attestation=config) as csms:
        charger = await enrolled(csms, config)
        many = tuple(("changed", f"/opt/{number}") for number in range(25))
        made = evidence(TPM, replace(charger.whole, differences=many), await charger.asked())
        assert (await charger.send(plain(made)))[0] == "Rejected"
        one = await csms.services.store.read(attestations.find, STATION)
        assert one is not None
        assert one.reasons == (*(f"changed: /opt/{number}" for number in range(20)), "5 more")


async def test_one_that_is_late_or_silent_loses_its_discharge(backend: Start, config: AttestationConfig) -> None:
    async with backend(attestation=config) as csms:
        charger = await enrolled(csms, config)
        await charger.becomes_whole()
        csms.clock.advance(EVERY_S)
        late = plain(evidence(TPM, charger.whole, await charger.asked()))
        csms.clock.advance(ANSWER_S)
        assert await charger.send(late) == ("Rejected", "Late")
        await advance(csms.services)
        assert await charger.state() == ("Silent", f"no evidence within {ANSWER_S} s")
        assert await charger.exports() == f"attestation: no evidence within {ANSWER_S} s"
        await charger.asked()
        csms.clock.advance(ANSWER_S)
        await advance(csms.services)
        assert len(csms.events.named("attestation_failed")) == 1  # it is still silent
        await charger.becomes_whole()
        assert await charger.exports() == ""


REFUSALS: dict[str, tuple[Payload | Refused, str]] = {
    "unknown": ({"status": "UnknownMessageId"}, "UnknownMessageId"),
    "rejected": ({"status": "Rejected"}, "Rejected"),
    "an error": (Refused("NotImplemented"), "NotImplemented"),
}


@pytest.mark.parametrize("which", REFUSALS)
async def test_one_that_refuses_the_question_loses_its_discharge(
    backend: Start, config: AttestationConfig, which: str
) -> None:
    answer, word = REFUSALS[which]
    async with backend(attestation=config) as csms:
        charger = await enrolled(csms, config)
        charger.station.answers["DataTransfer"] = answer
        await charger.asked()
        assert await charger.state() == ("Failed", f"the station does not attest: {word}")


async def test_by_policy_it_is_only_reported(backend: Start, config: AttestationConfig) -> None:
    async with backend(attestation=replace(config, discharge="permitted")) as csms:
        charger = await enrolled(csms, config)
        await charger.asked()
        assert (await charger.send({}))[0] == "Rejected"
        assert (await charger.state())[0] == "Failed"
        assert await charger.exports() == ""


async def test_two_nodes_ask_once(backend: Start, config: AttestationConfig) -> None:
    async with backend(attestation=config) as csms:
        charger = await enrolled(csms, config)
        run, before = csms.services.store.run, await csms.services.store.read(attestations.find, STATION)
        assert before is not None
        taken = replace(before, nonce="ab" * 32, asked_ms=csms.clock.utc_ms())
        assert await run(attestations.save, before, taken)
        assert not await run(attestations.save, before, replace(taken, nonce="cd" * 32))
        await advance(csms.services)
        assert charger.station.payloads("DataTransfer") == []
