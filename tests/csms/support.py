"""A CSMS inside the test's process: its configuration, what it reports, and ways to reach it that we did not write."""

import asyncio
import contextlib
import hashlib
import json
import ssl
from collections.abc import AsyncIterator, Callable
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any

import msgspec
import websockets
from websockets.typing import Subprotocol

from csms.accounts.config import ApiClient, ApiToken
from csms.accounts.rules import OF_VEHICLES, Role
from csms.app import Csms
from csms.background import STEPS
from csms.config import ApiListener, CsmsConfig, OcppListener, StationEntry, Trust
from csms.contracts.verifier import ContractVerifier
from csms.grid.config import Grid
from csms.services import Services
from csms.settlements.rules import SettlementRules
from csms.tokens.rules import TokenEntry
from csms.trust.certificate_status import CertificateStatus
from csms.webhooks.rules import Webhooks
from pki_tools.tree import PkiTree
from v2g.energy.grid_signal import GridSignal, SignalSlot
from v2g.errors import V2GError
from v2g.io.runtime.clock import Clock
from v2g.observe import Observe

if TYPE_CHECKING:
    from tests.csms.backend import TestClock

STATION = "CS-V2G-0001"
EMAID = "DEV2GC00000001"

TOKENS = {role: f"token-of-{role.value}" for role in Role}


def utc(at_ms: int) -> str:
    """Return how a time is told to people."""
    return f"{datetime.fromtimestamp(at_ms / 1000, UTC):%Y-%m-%d %H:%M:%S} UTC"


def make_config(directory: Path, pki: PkiTree, **changes: Any) -> CsmsConfig:
    """A configuration on free ports. Fields of the whole, or `ocpp`, `api`, `trust`, `grid` as dicts to change them."""
    server = {"certificate": pki.path("csms/server/chain.pem"), "key": pki.path("csms/server/leaf.key")}
    roots = (pki.path("csms/root.pem"),)
    tokens = tuple(
        ApiToken(
            name=role.value,
            role=role,
            sha256=hashlib.sha256(token.encode()).hexdigest(),
            evs=("EV-1", "none") if role in OF_VEHICLES else None,
        )
        for role, token in TOKENS.items()
    )
    parts: dict[str, Any] = {
        "ocpp": OcppListener(port=0, client_roots=roots, read_device_model=False, pause_after_boot_s=0, **server),
        "api": ApiListener(
            port=0,
            client_roots=roots,
            tokens=tokens,
            clients=(ApiClient(common_name="WMIV2GENGINE0000001X", evs=("EV-1",)),),
            origin="https://console.test",
            **server,
        ),
        "trust": Trust(
            roots=(pki.path("mo/root.pem"), pki.path("v2g/root.pem")),
            crls=(pki.path("mo/sub2.crl"), pki.path("oem/sub2.crl")),
        ),
        "grid": Grid(poll_interval_s=0.02, prequalified_only=False),
        "webhooks": Webhooks(allow=("127.0.0.1",)),
        "settlement": SettlementRules(unsigned_feed_in=True, unsigned_contracts=True),
    }
    for name in list(changes):
        if name in parts and isinstance(changes[name], dict):
            parts[name] = msgspec.structs.replace(parts[name], **changes.pop(name))
    parts |= {
        "data_dir": directory / "data",
        "stations": (StationEntry(id=STATION),),
        "tokens": (TokenEntry(id_token=EMAID, energy_transfer=("DC", "DC_BPT")),),
    }
    return CsmsConfig(**(parts | changes))


def provide(database: Path, config: CsmsConfig) -> None:
    """Begin with a copy of an empty `database` where there is none yet: to migrate one takes ten times as long."""
    path = config.data_dir / "csms.sqlite3"
    if not path.exists() and not config.store_url:
        config.data_dir.mkdir(mode=0o700, parents=True, exist_ok=True)
        path.touch(mode=0o600)
        path.write_bytes(database.read_bytes())


class Running:
    """A CSMS and what a test wants of it."""

    def __init__(
        self, csms: Csms, config: CsmsConfig, events: Path, pki: PkiTree, hand: "TestClock | None" = None
    ) -> None:
        self.csms = csms
        self.hand = hand
        self.config = config
        self.pki = pki
        self._events = events

    def events(self, name: str) -> list[dict[str, Any]]:
        """The data of every event of that name so far."""
        lines = self._events.read_text().splitlines()
        return [record["data"] for record in map(json.loads, lines) if record["name"] == name]

    def log_name(self, ev: str) -> str:
        """What stands for a vehicle in the log of events."""
        return self.csms.log_name(ev)

    async def event(self, name: str, count: int = 1) -> dict[str, Any]:
        """Wait for the `count`-th event of that name."""
        async with asyncio.timeout(60):
            while len(found := self.events(name)) < count:
                await asyncio.sleep(0.005)
        return found[count - 1]

    @contextlib.asynccontextmanager
    async def watching(self) -> AsyncIterator[None]:
        """Let it do what it does besides answering: watch the signal's file."""
        task = asyncio.create_task(self.csms.run())
        try:
            yield
        finally:
            task.cancel()
            with contextlib.suppress(asyncio.CancelledError):
                await task

    def context(self, leaf: str | None = "csms/station") -> ssl.SSLContext:
        """A client's TLS context, made by the standard library alone."""
        context = ssl.create_default_context(cafile=str(self.pki.path("csms/root.pem")))
        if leaf is not None:
            context.load_cert_chain(self.pki.path(f"{leaf}/chain.pem"), self.pki.path(f"{leaf}/leaf.key"))
        return context

    def connect(
        self,
        identity: str = STATION,
        versions: tuple[str, ...] = ("ocpp2.1", "ocpp2.0.1"),
        leaf: str | None = "csms/station",
    ) -> Any:
        """Open a websocket as a station would, with a client that we did not write."""
        return websockets.connect(
            f"wss://127.0.0.1:{self.csms.ports['ocpp']}/ocpp/{identity}",
            subprotocols=[Subprotocol(version) for version in versions],
            ssl=self.context(leaf),
            compression=None,
        )


def grid_signal(version: int = 1, *, now_ms: int | None = None, **changes: Any) -> GridSignal:
    """A signal that is valid at `now_ms`, or at the machine's time: two slots, 11 kW in, 5 kW out."""
    now = int(datetime.now(UTC).timestamp() * 1000) if now_ms is None else now_ms
    begin = now // 900_000 * 900_000
    signal = GridSignal(
        version=version,
        issued_at_ms=now,
        source="dso",
        currency="EUR",
        slots=(
            SignalSlot(start_ms=begin, duration_s=900, import_price=300_000, export_compensation=200_000),
            SignalSlot(start_ms=begin + 900_000, duration_s=7200, import_price=250_000, export_compensation=350_000),
        ),
        site_import_limit_w=11_000,
        export_limit_w=5_000,
        valid_until_ms=now + 3_600_000,
    )
    return msgspec.structs.replace(signal, **changes)


def contract_judge(
    config: Trust, clock: Clock | None = None, reported: Callable[[Observe], None] = lambda _: None
) -> ContractVerifier:
    """Return what judges contracts by a configuration."""
    clock = clock or Clock()
    return ContractVerifier(config, clock, CertificateStatus(config, clock, reported), reported)


async def run_periodic(services: Services) -> None:
    """Take each periodic step of the back end once; one that is refused does not prevent the others."""
    for step in STEPS:
        with contextlib.suppress(V2GError):
            await step(services)
