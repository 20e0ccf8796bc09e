"""A laboratory's pools in this process, over HTTPS, and clients of them."""

from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

from pki_tools.est import tls_context
from pki_tools.pools import PoolService
from pki_tools.tree import PkiTree
from v2g.io.http.known_client import OauthClient
from v2g.io.http.pools import PoolClient, PoolServer
from v2g.io.runtime.clock import Clock
from v2g.iso15118.foreign_contracts import NAMESPACES
from v2g.observe import Observe
from v2g.pki.keys import save_secret
from v2g.pki.pools import ContractOrder
from v2g.pki.profile import Generation

PCID = "WMIV2GENGINE00001X"


class PoolLab:
    """The server, on a port of its own; one client is known."""

    def __init__(self, tree: PkiTree, folder: Path) -> None:
        self.tree, self.folder, self.port = tree, folder, 0
        self.events: list[Observe] = []
        self.service: PoolService | None = None
        self.late_s = 0.0
        """How much later it is for the server."""

    def now(self) -> datetime:
        return datetime.now(UTC) + timedelta(seconds=self.late_s)

    async def start(self) -> None:
        await self.stop()
        tls = tls_context(self.tree.path("csms/server/chain.pem"), self.tree.path("csms/server/leaf.key"), ())
        self.service = PoolService(self.tree.directory, {"me": "a secret"}, observe=self.events.append, now=self.now)
        self.port = await self.service.start("127.0.0.1", self.port, tls)

    async def stop(self) -> None:
        if self.service is not None:
            await self.service.close()

    def server(self, shape: str = "opcp", secret: str = "a secret", **more: Any) -> PoolServer:
        save_secret(self.folder / "client.secret", secret.encode())
        base = f"https://localhost:{self.port}"
        oauth = OauthClient(
            url=f"{base}/oauth/token", client_id="me", client_secret_file=self.folder / "client.secret", audience=base
        )
        url = base + ("/opnc/v1" if shape == "opnc" else "")
        return PoolServer(url=url, shape=shape, root=self.tree.path("csms/root.pem"), oauth=oauth, **more)  # type: ignore[arg-type]

    def client(self, shape: str = "opcp", secret: str = "a secret") -> PoolClient:
        return PoolClient(self.server(shape, secret), Clock())

    def order(self, emaid: str, generation: Generation, pcid: str = PCID, days: int = 300) -> ContractOrder:
        now = datetime.now(UTC)
        return ContractOrder(
            emaid=emaid,
            pcid=pcid,
            contract_begins=now.isoformat(),
            contract_ends=(now + timedelta(days=days)).isoformat(),
            namespace=NAMESPACES[generation],
        )

    async def fill(self, *emaids: str, generation: Generation = Generation.ISO15118_20) -> None:
        """Register the tree's vehicle, and have contracts made for it."""
        client = self.client()
        await client.add_provisioning(self.tree.chain("provisioning"), NAMESPACES[generation])
        for emaid in emaids:
            await client.generate(self.order(emaid, generation))
