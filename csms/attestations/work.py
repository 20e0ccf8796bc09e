"""Periodic attestation of stations by DataTransfer, each time with a new random number (R148)."""

import secrets
from typing import Final

from csms.attestations import store as attestations
from csms.attestations.attester import Attester, report_attestation
from csms.attestations.rules import Attested, answered, asked, next_step, silent
from csms.requests.work import call, for_each
from csms.services import Services
from v2g.errors import OcppError, V2GError
from v2g.ocpp.messages.data_transfer import VENDOR, DataTransferRequest, DataTransferResponse

_NONCE_BYTES: Final = 32


async def advance(services: Services) -> None:
    """Ask the stations that are due, and note those that have not answered in time."""
    if (attester := services.find(Attester)) is None:
        return
    connected, now_ms = services.connections.connected(), services.clock.utc_ms()
    due = []
    for one in await services.store.read(attestations.every):
        match next_step(one, attester.rhythm, now_ms, connected=one.station_id in connected):
            case "silence":
                await _change(services, one, silent(one, attester.rhythm, now_ms))
            case "ask":
                due.append(one)
    by_name = {one.station_id: one for one in due}
    await for_each(by_name, lambda name: _ask(services, by_name[name]))


async def _ask(services: Services, one: Attested) -> None:
    """Ask one station, unless another node does. Its evidence comes later, by a request of its own."""
    pending = asked(one, secrets.token_hex(_NONCE_BYTES), services.clock.utc_ms())
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
        await _change(services, pending, answered(pending, (why,), services.clock.utc_ms()))


async def _change(services: Services, before: Attested, after: Attested) -> None:
    if await services.store.run(attestations.save, before, after):
        report_attestation(services, before, after)
