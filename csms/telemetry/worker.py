"""An ingest worker: a process that stores deliveries from its standard input (`csms.telemetry.workers`)."""

import asyncio
import sys
from functools import partial
from pathlib import Path

from csms.db.store import Store
from csms.db.store_key import load_store_key
from csms.telemetry import store as rows
from csms.telemetry.rules import Delivery, DeliveryOutcome
from csms.telemetry.seal import open_seal
from csms.telemetry.workers import Done, IngestJob, WorkerSettings, frame, keep, read_frame, receive
from v2g import typed_json
from v2g.errors import StoreError
from v2g.io.runtime.clock import Clock
from v2g.io.runtime.supervision import Supervisor, spawn

_job = typed_json.packed(IngestJob)
_settings = typed_json.packed(WorkerSettings)


async def _serve() -> None:
    loop = asyncio.get_running_loop()
    reader = asyncio.StreamReader(limit=2**20)
    await loop.connect_read_pipe(lambda: asyncio.StreamReaderProtocol(reader), sys.stdin)
    transport, protocol = await loop.connect_write_pipe(asyncio.streams.FlowControlMixin, sys.stdout)
    writer = asyncio.StreamWriter(transport, protocol, None, loop)
    settings = _settings(await read_frame(reader))
    store, clock = Store(settings.url), Clock()
    key = load_store_key(Path(settings.store_key) if settings.store_key else None, Path(settings.data_dir))
    seal = await open_seal(store, key, clock.utc_ms(), settings.key_days, sealing=settings.sealed)
    renewal = Supervisor(lambda _: None)
    renewal.keep("telemetry keys", partial(seal.keep_renewed, store, clock.utc_ms, settings.key_days))
    writer.write(frame(Done(0, None)))
    tasks: set[asyncio.Task[None]] = set()
    try:
        while True:
            task = spawn(_do(_job(await read_frame(reader)), store, writer))
            tasks.add(task)
            task.add_done_callback(tasks.discard)
    except EOFError:
        await asyncio.gather(*tasks, return_exceptions=True)
    finally:
        await renewal.close()
        store.close()


async def _do(job: IngestJob, store: Store, writer: asyncio.StreamWriter) -> None:
    async def keep_here(delivery: Delivery) -> DeliveryOutcome:
        return await keep(store, rows.Arrival(delivery, job.at_ms, job.sinks))

    try:
        done = Done(job.number, await receive(job.payload, job.ev, keep_here))
    except StoreError as error:
        done = Done(job.number, None, str(error))
    except Exception as error:  # noqa: BLE001 - without an answer its sender would wait for ever
        done = Done(job.number, None, f"{type(error).__name__}: {error}", failed=True)
    writer.write(frame(done))


def main() -> None:
    """Run until standard input ends. Standard output is for answers only."""
    asyncio.run(_serve())


if __name__ == "__main__":
    main()
