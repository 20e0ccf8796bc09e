"""Checkpoints that vehicles delivered by telemetry, compared with the journals that stations delivered by OCPP."""

import asyncio
from collections.abc import Callable, Iterator, Sequence

from csms.db.store import Store
from csms.settlements import store as records
from csms.telemetry import store as telemetry
from v2g.energy.settlement.checkpoints import Copy, issued_in
from v2g.energy.settlement.journal import verify_lines
from v2g.io.runtime.events import EventLog
from v2g.observe import Observe


async def check_checkpoints(store: Store, observe: EventLog, log_name: Callable[[str], str], session_id: str) -> None:
    """Report each checkpoint of a session's vehicle that the complete copy of its journal lacks or contradicts.

    `log_name(ev)`: what stands for a vehicle in the log of events.

    Signatures are not verified: the station's certificate is in its bundle, where `v2g settle verify --checkpoints`
    proves what an event here only indicates.
    """
    kept = await store.read(telemetry.find_checkpoints, session_id)
    if not kept:
        return
    for journal in await store.read(records.find_journals, session_id):
        if not journal["ended"]:
            continue
        found = await asyncio.to_thread(lambda lines: list(_contradictions(lines, kept)), journal["lines"])
        for ev, number, reason in found:
            data = {"station": journal["station_id"], "session": session_id, "ev": log_name(ev), "number": number}
            observe(Observe("settlement", "checkpoint_contradicted", {**data, "reason": reason}))


def _contradictions(lines: Sequence[bytes], kept: Sequence[tuple[str, Copy]]) -> Iterator[tuple[str, int, str]]:
    issued = issued_in(verify_lines(b"".join(lines)))  # was verified when it arrived
    for ev, copy in kept:
        if issued.get(copy.number) != copy.checkpoint:
            yield ev, copy.number, "differs" if copy.number in issued else "lacking"
