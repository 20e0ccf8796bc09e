"""A client's certificate that is renewed is shown from the next connection on."""

import asyncio
import contextlib
import shutil
from datetime import UTC, datetime
from pathlib import Path

from cryptography import x509

from pki_tools.renewal import Renewal, renew_certificate
from pki_tools.tree import PkiTree
from v2g.io.tls.files import RenewedContext, TlsFiles, server_context
from v2g.observe import Observe


async def test_a_station_comes_back_with_its_renewed_certificate(pki: PkiTree, tmp_path: Path) -> None:
    tree = PkiTree(Path(shutil.copytree(pki.directory, tmp_path / "pki")))
    seen: list[int] = []

    async def greet(_reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        der = writer.get_extra_info("ssl_object").getpeercert(binary_form=True)
        seen.append(x509.load_der_x509_certificate(der).serial_number)
        writer.write(b"x")
        writer.close()

    def files(leaf: str) -> TlsFiles:
        chain, key = tree.path(f"{leaf}/chain.pem"), tree.path(f"{leaf}/leaf.key")
        return TlsFiles(ca=tree.path("csms/root.pem"), chain=chain, key=key)

    own = files("csms/server")
    server_tls = server_context(own.chain, own.key, (own.ca,))
    server = await asyncio.start_server(greet, "127.0.0.1", 0, ssl=server_tls)
    port = server.sockets[0].getsockname()[1]
    context, events = files("csms/station").context(), list[Observe]()
    renewed = RenewedContext(context, files("csms/station").chain, files("csms/station").key, events.append)

    async def connect() -> None:
        reader, writer = await asyncio.open_connection("127.0.0.1", port, ssl=context)
        assert await reader.read(1) == b"x"
        writer.close()
        with contextlib.suppress(OSError):
            await writer.wait_closed()

    await connect()
    renewed.poll()
    assert events == []
    renew_certificate(tree.directory, "csms/station", Renewal(), at=datetime.now(UTC))
    renewed.poll()
    assert [event.name for event in events] == ["credentials_renewed"]
    await connect()
    assert seen[0] != seen[1] == int(tree.index().find("csms/station").serial, 16)
    server.close()
    await server.wait_closed()
