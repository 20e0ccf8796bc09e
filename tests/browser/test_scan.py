"""An authenticated scan of the console by Wapiti, which follows its links and sends its forms as an administrator."""

import asyncio
import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any, Final

import aiohttp
import pytest

from csms.accounts import store as users
from csms.accounts.rules import Role
from csms.accounts.work import hash_password
from tests.csms.backend import Backend

VERSION: Final = "3.2.3"
CACHE: Final = Path(__file__).resolve().parents[2] / ".cache" / f"wapiti-{VERSION}"
PASSWORD: Final = "seven wild geese fly"
MODULES: Final = (
    "cookieflags,crlf,csp,csrf,exec,file,http_headers,information_disclosure,permanentxss,redirect,sql,ssrf,xss"
)
EXPECTED: Final = frozenset({"HTTP Strict Transport Security (HSTS): /console Strict-Transport-Security is not set"})
"""It would hold for all ports of the host, where a charger's status page may be without TLS."""


def wapiti() -> Path:
    """Install the scanner once, in an environment of its own; skip where pip cannot."""
    program = CACHE / "bin" / "wapiti"
    if not program.exists():
        subprocess.run([sys.executable, "-m", "venv", str(CACHE)], check=True)
        pip = [str(CACHE / "bin" / "pip"), "install", "-q", f"wapiti3=={VERSION}"]
        done = subprocess.run(pip, capture_output=True, text=True, check=False)
        if done.returncode:
            pytest.skip(f"pip cannot install wapiti3: {done.stderr[-200:]}")
    return program


@pytest.mark.long
@pytest.mark.e2e
async def test_a_scanner_with_a_session_finds_nothing(csms: Backend, url: str, tmp_path: Path) -> None:
    program = await asyncio.to_thread(wapiti)
    run, now_ms = csms.services.store.run, csms.clock.utc_ms()
    await run(users.add, "scan", Role.ADMIN, hash_password(PASSWORD), now_ms, "test")
    await run(users.set_password, "scan", hash_password(PASSWORD), initial=False)
    await csms.booted()
    cookies, report = tmp_path / "cookies.json", tmp_path / "report.json"
    cookies.write_text(json.dumps({"127.0.0.1": {"/": await session(url)}}))
    command = [
        str(program),
        "-u",
        f"{url}/console",
        "--cookie",
        str(cookies),
        "--scope",
        "folder",
        "-m",
        MODULES,
        "-d3",
    ]
    command += (f"-x{url}/console/{each}" for each in ("logout", "events*", "positions"))
    command += ("-H", f"Origin: {url}", "--verify-ssl", "0", "--max-links-per-page", "60", "--max-scan-time", "240")
    command += ("-r", "sort", "-r", "col", "--max-attack-time", "60")  # each order of each list is no page of its own
    command += ("-f", "json", "-o", str(report), "--store-session", str(tmp_path / "session"), "--no-bugreport")
    scan = await asyncio.create_subprocess_exec(
        *command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, env={**os.environ, "HOME": str(tmp_path)}
    )
    output, _ = await scan.communicate()
    assert scan.returncode == 0, output.decode()[-2000:]
    found: Any = json.loads(report.read_text())
    assert found["infos"]["crawled_pages_nbr"] > 10, output.decode()[-2000:]
    flaws = {
        f"{name}: {each['path']} {each['info']}" for name, some in found["vulnerabilities"].items() for each in some
    }
    assert flaws <= EXPECTED, sorted(flaws - EXPECTED)
    internal = {name: some for name, some in found["anomalies"].items() if "Internal" in name}
    assert not any(internal.values()), internal


async def session(url: str) -> dict[str, Any]:
    """Log in; return the cookie as Wapiti stores it."""
    fields = {"name": "scan", "password": PASSWORD}
    async with (
        aiohttp.ClientSession() as client,
        client.post(
            f"{url}/console/login",
            data=fields,
            headers={"Sec-Fetch-Site": "same-origin"},
            ssl=False,
            allow_redirects=False,
        ) as answer,
    ):
        (cookie,) = answer.cookies.values()
    about = {"version": 0, "expires": None, "secure": True, "port": None}
    return {cookie.key: {"value": cookie.value, **about}}
