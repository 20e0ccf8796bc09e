"""A charger shows its CSMS a password: from a file, from the environment, in TLS that asks for no certificate."""

import logging
import ssl
from base64 import b64encode
from collections.abc import AsyncIterator
from pathlib import Path

import msgspec
import pytest

from pki_tools.tree import PkiTree
from secc.station_config import StationConfig, password_of
from tests.secc.backend import Backend, backend
from tests.secc.bench_program import made
from tests.together import together
from v2g.errors import ConfigError, KeyAccessError, TransportError
from v2g.io.runtime.program import start_log
from v2g.io.tls.files import TlsFiles
from v2g.io.websocket.client import connect
from v2g.text import redacted

PASSWORD = "correct-horse-battery"


@pytest.fixture
async def csms(pki: PkiTree) -> AsyncIterator[Backend]:
    """A CSMS of security profile 2: it shows a certificate and asks for none."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(pki.path("csms/server/chain.pem"), pki.path("csms/server/leaf.key"))
    async with backend(context) as found:
        yield found


def file(folder: Path, text: str, mode: int = 0o600) -> Path:
    path = folder / "password"
    path.touch(mode=mode)
    path.write_text(text)
    return path


async def test_a_charger_connects_by_password_in_tls_that_asks_for_no_certificate(
    csms: Backend, pki: PkiTree, tmp_path: Path
) -> None:
    file(tmp_path, PASSWORD + "\n")
    extra = f"""[link]
medium = "copper"
[station]
url = "wss://localhost:{csms.port}/ocpp"
identity = "CS-1"
store = "station.db"
password_file = "password"
[station.tls]
ca = "{pki.path("csms/root.pem")}"
"""
    async with made(tmp_path, pki, extra):
        await csms.wait("BootNotification")
    assert csms.authorizations[0] == "Basic " + b64encode(f"CS-1:{PASSWORD}".encode()).decode()
    assert csms.certificates == [None]


def config(**changes: object) -> StationConfig:
    given = {"url": "ws://127.0.0.1:9/ocpp", "identity": "CS-1", "store": Path("s"), **changes}
    return StationConfig(**given)  # type: ignore[arg-type]


def test_the_file_comes_before_the_environment(tmp_path: Path) -> None:
    said = {"V2G_STATION_PASSWORD": "sixteen-and-more"}
    assert password_of(config(), {}) == ""
    assert password_of(config(), said) == "sixteen-and-more"
    assert password_of(config(password_file=file(tmp_path, PASSWORD)), said) == PASSWORD


@pytest.mark.parametrize("text", ["short", "x" * 65, "a-password\nof-two-lines"])
def test_a_password_that_no_csms_takes_is_refused(tmp_path: Path, text: str) -> None:
    with pytest.raises(ConfigError, match="password") as caught:
        password_of(config(password_file=file(tmp_path, text)), {})
    assert "16 to 64" in caught.value.hint
    assert text not in str(caught.value)


def test_a_password_that_others_may_read_is_refused(tmp_path: Path) -> None:
    path = file(tmp_path, PASSWORD)
    path.chmod(0o644)
    with pytest.raises(KeyAccessError, match="mode 0644"):
        password_of(config(password_file=path), {})


@together(
    ("changes", "said"),
    [
        ({"url": "https://127.0.0.1/ocpp"}, "not an OCPP-J endpoint"),
        ({"url": "127.0.0.1:9000/ocpp"}, "not an OCPP-J endpoint"),
        ({"url": "wss://127.0.0.1/ocpp"}, "ca"),
        ({"url": "http://me:secret@127.0.0.1/ocpp"}, r"me:\*\*\*@"),
        ({"tls": {"ca": "root.pem", "chain": "chain.pem"}}, "give chain and key together"),
        ({"tls": {"ca": "root.pem"}}, "a ws: url has no TLS"),
        ({"url": "wss://me:secret@:9/ocpp", "tls": {"ca": "root.pem"}}, "has no valid host and port"),
    ],
)
def test_what_can_never_connect_is_refused(changes: dict[str, object], said: str) -> None:
    tree = {"url": "ws://127.0.0.1:9/ocpp", "identity": "CS-1", "store": "s.db", **changes}
    with pytest.raises(msgspec.ValidationError, match=said) as caught:
        msgspec.convert(tree, StationConfig, dec_hook=lambda kind, value: kind(value))
    assert "secret" not in str(caught.value)


def test_the_security_profile_follows_from_the_files() -> None:
    assert config().security_profile == 1
    assert config(url="wss://host/ocpp", tls=TlsFiles(Path("ca"))).security_profile == 2
    assert config(url="wss://host/ocpp", tls=TlsFiles(Path("ca"), Path("chain"), Path("key"))).security_profile == 3


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("ws://me:secret@host:9000/ocpp is away", "ws://me:***@host:9000/ocpp is away"),
        ("a wss://:secret@host, b ftp://u:p:q@h/x", "a wss://:***@host, b ftp://u:***@h/x"),
        ("ws://host:9000/a@b", "ws://host:9000/a@b"),
        ("ws://[::1]:9000/ocpp?to=a@b", "ws://[::1]:9000/ocpp?to=a@b"),
        ("ws://me@host/ocpp", "ws://me@host/ocpp"),
    ],
)
def test_passwords_of_urls_are_not_shown(text: str, shown: str) -> None:
    assert redacted(text) == shown


async def test_neither_errors_nor_log_show_the_password_of_a_url(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(TransportError) as caught:
        await connect("ws://me:secret@127.0.0.1:9/ocpp", "CS-1", context=None)
    assert "secret" not in str(caught.value)
    assert "127.0.0.1:9" in str(caught.value)
    start_log()
    try:
        logging.getLogger("test").info("connecting to %s", "ws://me:secret@127.0.0.1:9/ocpp")
    finally:
        logging.getLogger().handlers.clear()
    assert "me:***@127.0.0.1" in capsys.readouterr().err
