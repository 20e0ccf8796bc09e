"""`v2g pki pools`: roles of an ecosystem from the command line, against its server (R217)."""

import asyncio
import contextlib
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest

from pki_tools.tree import PkiTree
from tests.cli.conftest import Run
from tests.pki_tools.conftest import tree
from tests.pki_tools.pool_lab import PCID, PoolLab

__all__ = ["tree"]  # a fixture


@pytest.fixture
def lab(tree: PkiTree, tmp_path: Path) -> Iterator[PoolLab]:
    """The server in a thread of its own: commands have their own event loop."""
    found, loop = PoolLab(tree, tmp_path), asyncio.new_event_loop()
    thread = threading.Thread(target=loop.run_forever)
    thread.start()
    asyncio.run_coroutine_threadsafe(found.start(), loop).result(30)
    yield found
    asyncio.run_coroutine_threadsafe(found.stop(), loop).result(30)
    loop.call_soon_threadsafe(loop.stop)
    thread.join()
    with contextlib.suppress(RuntimeError):
        loop.close()


@pytest.mark.parametrize("shape", ["opcp", "opnc"])
def test_maker_provider_and_operator_do_their_part(v2g: Run, lab: PoolLab, tmp_path: Path, shape: str) -> None:
    server = lab.server(shape)
    assert server.oauth is not None
    about = ("--shape", shape, "--root", str(server.root), "--client", "me")
    known = (*about, "--secret-file", str(server.oauth.client_secret_file))

    def pools(command: str, *more: str) -> str:
        done = v2g("pki", "pools", command, server.url, *more, *known)
        assert done.code == 0, done.errors
        return done.output

    assert pools("roots", "--out", str(tmp_path / "roots")).count("CN=") == 3
    assert len(list((tmp_path / "roots").glob("*.pem"))) == 3
    chain, key = str(lab.tree.path("contract/chain.pem")), str(lab.tree.path("contract/leaf.key"))
    own = ("--chain", chain, "--key", key)
    missing = v2g("pki", "pools", "sign", server.url, *own, "--pcid", PCID, *known)
    assert (missing.code, "no vehicle" in missing.errors) == (2, True)
    assert PCID in pools("register", "--chain", str(lab.tree.path("provisioning/chain.pem")))
    pools("contract", "--emaid", "DEV2GC00000077", "--pcid", PCID)
    pools("sign", *own, "--pcid", PCID)
    stored = {each.stem for each in lab.tree.path(f"pools/contracts/{PCID}").glob("*.exi")}
    assert stored == {"DEV2GC00000077", "DEV2GC00000001"}
    secret = tmp_path / "event.secret"
    pools("subscribe", "--to", "https://csms.example/trust/events", "--out", str(secret))
    assert (secret.stat().st_mode & 0o777, len(secret.read_text())) == (0o600, 48)
    stranger = v2g("pki", "pools", "roots", server.url, *about, "--secret-file", str(secret))
    assert (stranger.code, "gives no token" in stranger.errors) == (7, True)
    for wrong in (("http://a.example", *known), (server.url, *about)):
        assert v2g("pki", "pools", "roots", *wrong).code == 2
