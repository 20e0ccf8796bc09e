"""Periodic attestation of stations by DataTransfer, each time with a new random number (R148), and the releases with
which it is compared."""

import asyncio
import secrets
from typing import Final

from csms.attestations import rules
from csms.attestations import store as attestations
from csms.attestations.config import AttestationConfig
from csms.db.store import Store
from csms.requests.work import call, for_each
from csms.services import Services
from v2g.errors import ConfigError, OcppError, V2GError
from v2g.ocpp.messages.data_transfer import VENDOR, DataTransferRequest, DataTransferResponse
from v2g.pki.attestation import SIGNATURE, parse_manifest
from v2g.pki.keys import load_public_key
from v2g.pki.quote import parse_evidence


class Attester:
    """The releases that stations may run, and the judgement of what they send."""

    def __init__(self, config: AttestationConfig, scale: float = 1.0) -> None:
        """`scale`: how fast simulated time passes. Raises ConfigError for a release that cannot be read, KeyAccessError
        for the signer's key."""
        self.rhythm: Final = rules.Rhythm(round(config.every_s * 1000 * scale), round(config.answer_s * 1000 * scale))
        self._releases: Final = known_releases(config)

    async def take(
        self, store: Store, station_id: str, data: object, now_ms: int
    ) -> tuple[rules.Attested, rules.Attested] | rules.Refusal:
        """Judge what a station has sent, and store the result. Return the station before and after, or why it was not
        examined."""
        one = await store.read(attestations.find, station_id)
        if (why := rules.refusal(one, self.rhythm, now_ms)) is not None:
            return why
        assert one is not None
        after = rules.answered(one, await asyncio.to_thread(rules.judge, data, one, self._releases), now_ms)
        return (one, after) if await store.run(attestations.save, one, after) else "NotAsked"


def report_attestation(services: Services, before: rules.Attested, after: rules.Attested) -> None:
    """Report what a station has proved, if that has changed: what it may export depends on it."""
    if (after.state, after.reasons) != (before.state, before.reasons):
        if after.state == "Whole":
            services.report("ocpp", "attested", after.station_id, {})
        else:
            data = {"state": after.state, "reason": "; ".join(after.reasons)[:500]}
            services.report("ocpp", "attestation_failed", after.station_id, data)


def known_releases(config: AttestationConfig) -> dict[str, rules.KnownRelease]:
    """Return releases by the digest of their manifests. Raises as `Attester`."""
    signer, found = load_public_key(config.signer), {}
    for each in config.releases:
        try:
            data = each.manifest.read_bytes()
            signature = each.manifest.with_name(each.manifest.name + SIGNATURE).read_bytes()
            registers = {} if each.registers is None else parse_evidence(each.registers.read_bytes()).registers
            found[rules.digest_of(data)] = rules.KnownRelease(parse_manifest(data, signature, signer), registers)
        except OSError as error:
            raise ConfigError(f"{error.filename}: {error.strerror}", hint="attestation.releases") from None
        except V2GError as error:
            raise ConfigError(
                f"{each.manifest}: {error}", hint="attestation.releases: v2g attest make, quote"
            ) from None
    return found


_NONCE_BYTES: Final = 32


async def advance(services: Services) -> None:
    """Ask the stations that are due, and note those that have not answered in time."""
    if (attester := services.find(Attester)) is None:
        return
    connected, now_ms = services.connections.connected(), services.clock.utc_ms()
    due = []
    for one in await services.store.read(attestations.every):
        match rules.next_step(one, attester.rhythm, now_ms, connected=one.station_id in connected):
            case "silence":
                await _change(services, one, rules.silent(one, attester.rhythm, now_ms))
            case "ask":
                due.append(one)
    by_name = {one.station_id: one for one in due}
    await for_each(by_name, lambda name: _ask(services, by_name[name]))


async def _ask(services: Services, one: rules.Attested) -> None:
    """Ask one station, unless another node does. Its evidence comes later, by a request of its own."""
    pending = rules.asked(one, secrets.token_hex(_NONCE_BYTES), services.clock.utc_ms())
    if not await services.store.run(attestations.save, one, pending):
        return
    request = DataTransferRequest(vendor_id=VENDOR, message_id="AttestationRequest", data={"nonce": pending.nonce})
    try:
        response = await call(services, one.station_id, request, DataTransferResponse)
        word: str = response.status
    except OcppError as error:
        word = error.answer
    except V2GError:
        return  # whether it has got the question shows when its time is over
    if word != "Accepted":
        why = f"the station does not attest: {word}"
        await _change(services, pending, rules.answered(pending, (why,), services.clock.utc_ms()))


async def _change(services: Services, before: rules.Attested, after: rules.Attested) -> None:
    if await services.store.run(attestations.save, before, after):
        report_attestation(services, before, after)
