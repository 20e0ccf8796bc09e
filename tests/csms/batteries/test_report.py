"""The report on a battery as a back end signs it, by the command, and as somebody without the back end verifies it."""

import asyncio
import json
import subprocess
from pathlib import Path

import pytest

from csms.accounts.rules import Role
from tests.battery.used import BEGIN_MS, SETTINGS, used
from tests.cli.csms import Cli, run
from tests.csms.api_support import ask, read
from tests.csms.conftest import Start
from tests.csms.support import TOKENS
from tests.packages import need
from v2g.battery import data_quality, detectors
from v2g.telemetry.delivery import encode_delivery
from v2g.telemetry.mapping import normalised
from v2g.telemetry.signals import SCHEMA_5, Record, encode_record

pytestmark = pytest.mark.requirement("R213")

CONFIG = detectors.DetectorSettings(health=SETTINGS, data=data_quality.DataQualitySettings(silent_s=86_400))
DAYS = 12


def lived(ev: str) -> list[Record]:
    return [
        Record(
            ev, 1, seq, sample.at_ms, context, keyframe=True, signals=normalised(sample.values), schema=SCHEMA_5,
            trip="1-0", ambient_c=None, charging_w=None,
        )
        for seq, (sample, context) in enumerate(used(DAYS), 1)
    ]  # fmt: skip


async def test_a_report_is_verified_offline_and_claims_against_it_are_refused(start: Start, tmp_path: Path) -> None:
    need("openssl", program="openssl")
    async with start(battery=CONFIG) as csms, asyncio.timeout(60):
        body = encode_delivery(map(encode_record, lived("EV-1")))
        async with ask(csms, "POST", "/telemetry", token=TOKENS[Role.ADMIN], body=body) as answer:
            assert answer.ok, await answer.text()
        last = BEGIN_MS + (DAYS - 1) * 86_400_000
        while not (rows := await read(csms, "/vehicles/EV-1/battery?limit=1000")) or rows[-1]["at_ms"] < last:
            await asyncio.sleep(0.05)
        cli = Cli(csms, tmp_path)
        _, pem, _ = await cli("books", "key")
        (tmp_path / "key.pem").write_text(pem)
        report = tmp_path / "report.json"

        async def write(*words: str) -> tuple[int, str, str]:
            access = str(tmp_path / f"{Role.ADMIN.value}.toml")
            return await asyncio.to_thread(run, "battery", "report", *words, "--access", access)

        for claim in (("--soh", "120"), ("--cycles", "300")):
            code, _, errors = await write("EV-1", "--out", str(report), *claim)
            assert code != 0
            assert "contradicts the record" in errors
        code, _, errors = await write("EV-2", "--out", str(report))
        assert "measured 0 times" in errors
        code, shown, errors = await write("EV-1", "--out", str(report))
        assert (code, shown.startswith(f"{report}: signed by key ")) == (0, True), errors
        async with ask(csms, "GET", "/vehicles/EV-1/battery/report-page", token=TOKENS[Role.FLEET]) as answer:
            page = await answer.read()
    # without the back end
    files = ["-verify", str(tmp_path / "key.pem"), "-signature", f"{report}.sig", str(report)]
    assert subprocess.run(["openssl", "dgst", "-sha256", *files], capture_output=True).returncode == 0
    verify = ("battery", "verify", str(report), "--key", str(tmp_path / "key.pem"))
    code, shown, errors = run(*verify, "--ev", "EV-1", "--json")
    assert code == 0, errors
    found = json.loads(shown)
    assert found["evidence"]["samples"] == len(lived("EV-1"))
    assert f"{found['soh_percent']['value']:.1f} ±" in (tmp_path / "report.html").read_text()
    assert b"Battery report of EV-1" in page
    assert run(*verify, "--cycles", f"{found['cycles']['total']:.2f}")[0] == 0
    for claim in (("--ev", "EV-2"), ("--soh", "120"), ("--v2g-share", "0")):
        assert run(*verify, *claim)[0] == 5
    report.write_bytes(report.read_bytes().replace(b"EV-1", b"EV-2"))
    code, _, errors = run(*verify)
    assert code == 4, errors
