"""Clients that generators make from the interface document ask a real back end: nothing of it is left out."""

import asyncio
import json
import subprocess
from collections.abc import Sequence
from pathlib import Path

import pytest

from csms.accounts.rules import Role
from csms.app import running
from csms.http.routes import interface
from pki_tools.tree import PkiTree
from tests.csms.support import TOKENS, make_config
from tests.interop.environments import environment
from tests.packages import need

GENERATORS = ("openapi-python-client", "openapi-generator-cli", "urllib3", "python-dateutil", "pydantic")

SMALL = """
import ssl, sys
from csms_client import AuthenticatedClient
from csms_client.api.stations import list_stations
from csms_client.api.tokens import put_token, read_token
from csms_client.models import KnownToken, TokenContent, TokenContentStatus

url, ca, token = sys.argv[1:]
with AuthenticatedClient(url, token, verify_ssl=ssl.create_default_context(cafile=ca)) as client:
    put_token.sync("Central", "CARD-7", client=client, body=TokenContent(status=TokenContentStatus.BLOCKED))
    found = read_token.sync("Central", "CARD-7", client=client)
    assert isinstance(found, KnownToken), found
    stations = list_stations.sync(client=client)
print([each.id for each in stations], found.id_token, found.status)
"""
LARGE = """
import sys
import csms_client as c

url, ca, token = sys.argv[1:]
with c.ApiClient(c.Configuration(host=url, access_token=token, ssl_ca_cert=ca)) as client:
    tokens = c.TokensApi(client)
    tokens.put_token("Central", "CARD-7", c.TokenContent(status="Blocked"))
    found = tokens.read_token("Central", "CARD-7")
    stations = c.StationsApi(client).list_stations()
print([each.id for each in stations], found.id_token, found.status)
"""


@pytest.fixture(scope="module")
def python() -> Path:
    """The interpreter of an environment with generators of clients."""
    return environment("openapi", GENERATORS)


@pytest.fixture(scope="module")
def document(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("openapi") / "openapi.json"
    path.write_bytes(interface())
    return path


def run(*command: str | Path, cwd: Path) -> str:
    done = subprocess.run(command, cwd=cwd, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout + done.stderr


async def asked(python: Path, script: str, folder: Path, pki: PkiTree) -> Sequence[str]:
    """Return what a client prints that asks a back end; `folder` has its package."""
    (folder / "client.py").write_text(script)
    async with running(make_config(folder, pki)) as csms:
        url, ca = f"https://localhost:{csms.ports['api']}", str(pki.path("csms/root.pem"))
        words = (python, "client.py", url, ca, TOKENS[Role.ADMIN])
        return (await asyncio.to_thread(run, *words, cwd=folder)).splitlines()


@pytest.mark.long
async def test_openapi_python_client_takes_the_document(
    python: Path, document: Path, pki: PkiTree, tmp_path: Path
) -> None:
    """Its warnings are about content that is neither JSON nor text only."""
    options = ("--path", document, "--output-path", tmp_path / "csms_client", "--meta", "none")
    said = run(python.with_name("openapi-python-client"), "generate", *options, cwd=tmp_path)
    assert "Unable to" not in said
    assert "Endpoint will not be generated" not in said
    operations = {name for path in json.loads(document.read_bytes())["paths"].values() for name in path}
    assert operations <= {"get", "put", "post", "patch", "delete"}
    assert await asked(python, SMALL, tmp_path, pki) == ["[] CARD-7 Blocked"]


@pytest.mark.long
async def test_openapi_generator_takes_the_document(python: Path, document: Path, pki: PkiTree, tmp_path: Path) -> None:
    need("openjdk-17-jre-headless", program="java")
    options = ("-i", document, "-g", "python", "-o", tmp_path, "--package-name", "csms_client")
    run(python.with_name("openapi-generator-cli"), "generate", *options, cwd=tmp_path)
    assert await asked(python, LARGE, tmp_path, pki) == ["[] CARD-7 Blocked"]
