"""DATEX II sent to a national access point: the table when it changes, then the status, within seconds.

Both are snapshots of what is open. What was sent last is stored, so that a restart sends nothing again; after six hours
both are sent anew. A status is not sent before the table to which it refers.
"""

import asyncio
import ssl
from typing import Any, Final

from csms.config import DatexPush
from csms.roaming import store as rows
from csms.roaming.open_data import publications
from csms.roaming.partners import Partners
from csms.roaming.store import Kept
from csms.services import Services
from v2g.errors import StoreError, TransferError
from v2g.io.http.client import request
from v2g.observe import Observe, Scalar
from v2g.ocpi import wire

_ANEW_MS: Final = 6 * 3_600_000
_AGAIN_S: Final = 60.0
_TIMEOUT_S: Final = 30.0
_MOST_ANSWER: Final = 65_536
_SENT: Final = "datex"


async def keep_pushing(services: Services) -> None:
    """Send what has changed, on one node; what was refused again after a minute."""
    partners = services.find(Partners)
    assert partners is not None, "this work runs with [roaming] only"
    push = partners.config.datex_push
    while True:
        pause_s = _AGAIN_S
        if push is not None and await services.leads("datex push", push.every_s):
            pause_s = push.every_s if await push_changes(services, partners, push) else _AGAIN_S
        await asyncio.sleep(pause_s)


async def push_changes(services: Services, partners: Partners, push: DatexPush) -> bool:
    """Send table and status if they have changed, or are old; return whether none was refused."""
    read, run, now_ms = services.store.read, services.store.run, services.clock.utc_ms()
    stand = await read(rows.stand_of, "locations", "tariffs")
    sent = {each.object_id: each for each in await read(rows.objects_in, "", _SENT)}
    if len(sent) == 2 and all(_fresh(each, now_ms) and each.detail == stand for each in sent.values()):
        return True  # nothing has changed, and large lists are not read again
    found, urls = await publications(services, partners), {"table": push.table_url, "status": push.status_url}
    for name, (version, document) in found.items():
        url = urls[name]
        last, sent_ms = sent.get(name), now_ms
        try:
            if last is None or last.alias != version or not _fresh(last, now_ms):
                await _send(push, url, document)
            else:
                sent_ms = last.updated_ms
            kept = Kept(
                owner="", module=_SENT, object_id=name, updated_ms=sent_ms, document="{}", alias=version, detail=stand
            )
            await run(rows.put_object, kept)
        except (TransferError, StoreError, OSError) as error:
            data: dict[str, Scalar] = {"publication": name, "reason": str(error)[:300]}
            services.observe(Observe("roaming", "datex_push_failed", data))
            return False
    return True


def _fresh(kept: Kept, now_ms: int) -> bool:
    return now_ms - kept.updated_ms < _ANEW_MS


async def _send(push: DatexPush, url: str, document: Any) -> None:
    """Send a publication, as the client of the certificate that is there now. Raises TransferError, OSError."""
    context = ssl.create_default_context()
    for root in push.roots:
        context.load_verify_locations(root)
    context.load_cert_chain(push.certificate, push.key)
    answer = await request(
        "POST", url, most=_MOST_ANSWER, timeout_s=_TIMEOUT_S, body=wire.encode(document),
        headers={"Content-Type": "application/json"}, context=context,
    )  # fmt: skip
    if not answer.ok:
        said = answer.body[:200].decode("utf-8", "replace")
        raise TransferError(f"HTTP {answer.status}: {said}", "refused", status=answer.status)
