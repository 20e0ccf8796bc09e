"""A laboratory's EST server in this process, over HTTPS, and clients of it."""

from pathlib import Path

from cryptography import x509

from pki_tools.authority import new_key
from pki_tools.est import EstService, EstSettings, tls_context
from pki_tools.issuing import make_request
from pki_tools.tree import PkiTree
from v2g.io.http.est import EnrolmentPending, EstClient
from v2g.io.http.known_client import EstServer
from v2g.io.runtime.clock import Clock
from v2g.observe import Observe
from v2g.pki.est import read_csr
from v2g.pki.issue import Subject
from v2g.pki.keys import save_secret
from v2g.pki.profile import Generation, KeyKind, Role

SECC_ID = "DEV2GS00000000000000000000000000000001X"
NEW = Generation.ISO15118_20


class Lab:
    """The server, on a port of its own."""

    def __init__(self, tree: PkiTree, folder: Path) -> None:
        self.tree, self.folder, self.port = tree, folder, 0
        self.events: list[Observe] = []
        self.service: EstService | None = None

    async def start(self, settings: EstSettings) -> None:
        await self.stop()
        roots = (self.tree.path("csms/root.pem"),)
        tls = tls_context(self.tree.path("csms/server/chain.pem"), self.tree.path("csms/server/leaf.key"), roots)
        self.service = EstService(self.tree.directory, settings, observe=self.events.append)
        self.port = await self.service.start("127.0.0.1", self.port, tls)

    async def stop(self) -> None:
        if self.service is not None:
            await self.service.close()

    def server(self, label: str = "/cpo", password: str = "a secret", **more: object) -> EstServer:
        """How a client reaches it."""
        options: dict[str, object] = {"user": "lab", "password_file": self.folder / "password"} if password else {}
        if password:
            save_secret(self.folder / "password", password.encode())
        root = self.tree.path("csms/root.pem")
        url = f"https://localhost:{self.port}/.well-known/est{label}"
        return EstServer(url=url, root=root, **(options | more))  # type: ignore[arg-type]

    def client(self, label: str = "/cpo", password: str = "a secret", **more: object) -> EstClient:
        return EstClient(self.server(label, password, **more), Clock())

    def holder(self, folder: str, label: str = "/station") -> EstClient:
        """A client that shows a certificate in place of a password."""
        files = {"certificate": self.tree.path(f"{folder}/chain.pem"), "key": self.tree.path(f"{folder}/leaf.key")}
        return self.client(label, "", **files)

    async def asks(self, client: EstClient, csr: x509.CertificateSigningRequest, role: Role = Role.SECC) -> int:
        """Return the length of the chain; 0 while it waits."""
        family = "csms" if role is Role.STATION else "v2g"
        found = await client.chain(csr, self.tree.anchors(family), role=role, generation=NEW)
        return 0 if isinstance(found, EnrolmentPending) else len(found.certificates)


def csr_of(cn: str = SECC_ID, role: Role = Role.SECC) -> x509.CertificateSigningRequest:
    key, country = new_key(KeyKind.SECP521R1, role), "DE" if role is Role.STATION else None
    return read_csr(
        make_request(key, role, Subject(common_name=cn, organization="V2G Engine Operator", country=country))
    )
