"""`v2g csms books`: the operator's key, books that are recomputed, and months whose digests others keep."""

import asyncio
import contextlib
import subprocess
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path

import pytest
from sqlalchemy import update

from csms.books.tables import periods, postings
from csms.db.store import open_store
from tests.cli.csms import Cli, boot, cli
from tests.csms.conftest import start
from tests.csms.settlement.journals import SESSION, T0, delivery, journal, seen, transfer
from v2g.energy.settlement.bookkeeping import period_of
from v2g.energy.settlement.corrections import read_addendum, read_corrected
from v2g.pki.keys import load_public_key

__all__ = ["cli", "start"]
MONTH = period_of(T0)


def openssl(*words: str, given: bytes | None = None, at: Path) -> bytes:
    return subprocess.run(["openssl", *words], input=given, cwd=at, check=True, capture_output=True).stdout


@contextlib.contextmanager
def authority(folder: Path) -> Iterator[str]:
    """A time-stamp authority on this machine: OpenSSL's, behind a web server."""
    (folder / "tsa.cnf").write_text(
        "[tsa]\ndefault_tsa = tsa\nserial = serial\nsigner_cert = tsa.pem\nsigner_key = tsa.key\n"
        "signer_digest = sha256\ndefault_policy = 1.2.3.4.1\ndigests = sha512\ness_cert_id_alg = sha256\n"
    )
    (folder / "serial").write_text("01\n")
    openssl(
        "req", "-x509", "-newkey", "rsa:2048", "-nodes", "-keyout", "tsa.key", "-out", "tsa.pem", "-subj", "/CN=TSA",
        "-addext", "extendedKeyUsage=critical,timeStamping", "-addext", "keyUsage=critical,digitalSignature",
        at=folder,
    )  # fmt: skip

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            (folder / "query").write_bytes(self.rfile.read(int(self.headers["Content-Length"])))
            made = openssl("ts", "-reply", "-config", "tsa.cnf", "-queryfile", "query", at=folder)
            self.send_response(200 if self.path == "/" else 500)
            self.send_header("Content-Length", str(len(made)))
            self.end_headers()
            self.wfile.write(made)

        def log_message(self, *_: object) -> None:
            """Say nothing."""

    server = HTTPServer(("127.0.0.1", 0), Handler)
    thread = threading.Thread(target=server.serve_forever)
    thread.start()
    try:
        yield f"http://127.0.0.1:{server.server_port}/"
    finally:
        server.shutdown()
        server.server_close()
        thread.join()


async def kept(cli: Cli) -> None:
    """A station delivers a session that the back end has seen."""
    await asyncio.to_thread(seen, cli.csms, journal())
    async with cli.csms.connect() as station:
        await boot(station)
        await transfer(station, delivery(journal()))


@pytest.mark.requirement("R32", "R33")
async def test_books_are_recomputed_and_a_change_in_the_database_is_an_exit_code(cli: Cli) -> None:
    await kept(cli)
    code, output, errors = await cli("books", "verify")
    assert (code, output) == (0, "1 sessions follow from their journals, and all months hold\n"), errors
    store = open_store(cli.csms.config.store_url, cli.csms.config.data_dir)
    try:
        store.do(lambda connection: connection.execute(update(postings).values(import_mwh=7)))
    finally:
        store.close()
    code, output, errors = await cli("books", "verify")
    assert (code, f"session {SESSION} of" in output, "its sums differ from it" in output) == (9, True, True)
    assert "1 findings in 1 sessions and all months" in errors


@pytest.mark.long
@pytest.mark.requirement("R32", "R33")
async def test_the_operators_key_verifies_a_correction_and_an_authority_a_months_digest(
    cli: Cli, tmp_path: Path
) -> None:
    await kept(cli)
    pem, copy = tmp_path / "operator.pem", tmp_path / "copy.jsonl"
    line = ("--line", f"{T0}/import", "--price", "0.1", "--reason", "wrong tariff")
    assert (await cli("correct", SESSION, *line))[0] == 0
    assert (await cli("books", "sign", SESSION))[0] == 0
    assert (await cli("books", "key", "--out", str(pem)))[0] == 0
    assert (await cli("books", "key"))[1] == pem.read_text()
    assert (await cli("journal", SESSION, "--out", str(copy)))[0] == 0
    entries = read_corrected(copy.read_bytes(), b"".join(journal()), name="copy")
    (change,) = read_addendum(entries, operators=[load_public_key(pem)], name="copy").changes
    assert change.known
    out = tmp_path / "month.tsr"
    with authority(tmp_path) as url:
        open_month = await cli("books", "anchor", MONTH, "--timestamp", url, "--out", str(out))
        assert (open_month[0], out.exists()) == (5, False)
        digest = "ab" * 64
        store = open_store(cli.csms.config.store_url, cli.csms.config.data_dir)
        try:
            row = {"period": MONTH, "closed_ms": 1, "postings": 3, "digest": digest}
            store.do(lambda connection: connection.execute(periods.insert().values(**row)))
        finally:
            store.close()
        assert (await cli("books", "anchor", MONTH, "--timestamp", f"{url}no", "--out", str(out)))[0] == 7
        assert (await cli("books", "anchor", MONTH, "--timestamp", "http://127.0.0.1:1/", "--out", str(out)))[0] == 7
        code, output, errors = await cli("books", "anchor", MONTH, "--timestamp", url, "--out", str(out))
    assert (code, output) == (0, f"{out}: digest {digest}\n"), errors
    verify = ("ts", "-verify", "-in", str(out), "-CAfile", "tsa.pem")
    assert b"OK" in await asyncio.to_thread(openssl, *verify, "-digest", digest, at=tmp_path)
    with pytest.raises(subprocess.CalledProcessError):
        openssl(*verify, "-digest", "ac" * 64, at=tmp_path)
