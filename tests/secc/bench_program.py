"""What several tests of bench program use."""

import contextlib
from collections.abc import AsyncIterator
from pathlib import Path

from pki_tools.tree import PkiTree
from secc.app import assemble
from secc.charger import Charger
from secc.config import load_config
from tests.secc_toml import identity
from v2g.io.runtime.clock import Clock
from v2g.io.runtime.events import EventLog
from v2g.io.runtime.trace import open_trace

SIGNAL = """{"version": 7, "issued_at_ms": 0, "source": "dso", "currency": "EUR", "site_import_limit_w": 40000,
 "export_limit_w": 8000, "valid_until_ms": 9007199254740991, "slots": [
 {"start_ms": 0, "duration_s": 3600, "import_price": 300000, "export_compensation": 250000}]}"""


def written(pki: PkiTree, extra: str, keys: Path | None = None) -> str:
    """Return a configuration with `extra` tables, and perhaps `keys` for its files."""
    return f"""data_dir = "data"
{"" if keys is None else f'journal_keys = "{keys}"'}

{identity(pki, "v2g", "mo")}

{extra}"""


@contextlib.asynccontextmanager
async def made(
    folder: Path,
    pki: PkiTree,
    extra: str,
    *,
    clock: Clock | None = None,
    keys: Path | None = None,
    reports: bool = True,
) -> AsyncIterator[Charger]:
    """Return a charger with `extra` tables in its configuration, and perhaps `keys` for its files. If it
    `reports`, its station does so before it serves."""
    clock = clock or Clock()
    config = load_config(written(pki, extra, keys), name=str(folder / "secc.toml"))
    trace = open_trace(config.log, "secc", clock)
    observe = EventLog("secc", clock, config.log.events, trace=trace, files=config.log)
    async with assemble(config, clock, observe) as charger:
        if reports:
            charger.run_station()
        yield charger
    observe.close()


BENCH = '[hardware]\nbackend = "bench"\n'
