"""`v2g csms`: the daily things over the API of a back end that runs, for people and for machines."""

import asyncio
import contextlib
import io
import json
import sys
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import msgspec
import pytest
import pytest_asyncio

from cli.csms_client import Access, find_access
from cli.main import main
from csms.core.access import Role
from tests.csms.conftest import Start, start
from tests.csms.support import STATION, TOKENS, Running
from v2g.errors import ConfigError
from v2g.telemetry import signals

__all__ = ["start"]


class Cli:
    """The command, in a thread, against a back end in this process."""

    def __init__(self, csms: Running, folder: Path) -> None:
        self.csms = csms
        self._folder = folder

    async def __call__(self, *words: str, role: Role = Role.ADMIN) -> tuple[int, str, str]:
        """Run `v2g csms`; return exit code, output and errors."""
        file = self._folder / f"{role.value}.toml"
        file.touch(mode=0o600)
        url = f"https://localhost:{self.csms.csms.ports['api']}"
        file.write_text(f'url = "{url}"\ntoken = "{TOKENS[role]}"\nca = "{self.csms.pki.path("csms/root.pem")}"\n')
        return await asyncio.to_thread(run, "csms", "--access", str(file), *words)

    async def records(self, *words: str, role: Role = Role.ADMIN) -> list[Any]:
        """Run it for machines; return what it printed."""
        code, output, errors = await self(*words, "--json", role=role)
        assert code == 0, errors
        return [json.loads(line) for line in output.splitlines()]


def run(*words: str) -> tuple[int, str, str]:
    """Run `v2g` in this thread."""
    output, errors, code = io.StringIO(), io.StringIO(), 0
    with pytest.MonkeyPatch.context() as patch, contextlib.suppress(KeyboardInterrupt):
        patch.setattr(sys, "argv", ["v2g", *words])
        patch.setattr(sys, "stdout", output)
        patch.setattr(sys, "stderr", errors)
        try:
            main()
        except SystemExit as end:
            code = end.code if isinstance(end.code, int) else 0
    return code, output.getvalue(), errors.getvalue()


@pytest_asyncio.fixture
async def cli(start: Start, tmp_path: Path) -> AsyncIterator[Cli]:
    """The command, and a back end."""
    async with start() as csms:
        yield Cli(csms, tmp_path)


async def boot(station: Any) -> None:
    """Boot, as a station does."""
    payload = {"reason": "PowerUp", "chargingStation": {"model": "M", "vendorName": "V"}}
    await station.send(json.dumps([2, "b", "BootNotification", payload]))
    assert json.loads(await station.recv())[2]["status"] == "Accepted"


async def answer(station: Any, payload: dict[str, Any] | None, code: str = "") -> list[Any]:
    """Answer the next request of the back end; return it."""
    frame: list[Any] = json.loads(await station.recv())
    reply = [3, frame[1], payload] if payload is not None else [4, frame[1], code, "", {}]
    await station.send(json.dumps(reply))
    return frame


async def test_a_day_with_a_station(cli: Cli) -> None:
    assert await cli.records("stations") == []
    watching = asyncio.create_task(cli.records("events", "station_connected", "--count", "1"))
    await asyncio.sleep(0.3)
    async with cli.csms.connect() as station:
        await boot(station)
        (told,) = await watching
        assert (told["kind"], told["station_id"]) == ("station_connected", STATION)
        (listed,) = await cli.records("stations")
        assert (listed["station_id"], listed["connected"]) == (STATION, True)
        _code, table, _errors = await cli("stations")
        assert table.split("\t")[:4] == [STATION, "yes", "ocpp2.1", "Accepted"]
        _code, shown, _errors = await cli("station", STATION)
        assert "vendor: V\n" in shown
        asked, sent = await asyncio.gather(
            answer(station, {"status": "Accepted"}), cli("send", STATION, "Reset", '{"type": "OnIdle"}')
        )
        assert asked[2:] == ["Reset", {"type": "OnIdle"}]
        assert (sent[0], json.loads(sent[1])) == (0, {"status": "Accepted"})
        which = {"component": {"name": "EVSE", "evse": {"id": 1}}, "variable": {"name": "Power", "instance": "Max"}}
        for status, code in (("Accepted", 0), ("Rejected", 3)):
            asked, written = await asyncio.gather(
                answer(station, {"setVariableResult": [{"attributeStatus": status, **which}]}),
                cli("set", STATION, "EVSE#1.Power[Max]", "7"),
            )
            assert asked[3] == {"setVariableData": [{"attributeValue": "7", **which}]}
            assert (written[0], json.loads(written[1])["attributeStatus"]) == (code, status)
        (kept,) = await cli.records("variables", STATION, "EVSE")
        assert (kept["variable"], kept["variable_instance"], kept["value"]) == ("Power", "Max", "7")
        started = await asyncio.gather(
            answer(station, {"status": "Rejected"}), cli.records("start", STATION, "04A1", "--type", "ISO14443")
        )
        assert started[1][0]["response"] == {"status": "Rejected"}
    (entry, *_others) = await cli.records("audit")
    assert (entry["caller"], entry["operation"]) == ("admin", "start_transaction")


WRONG = (
    (("station", "CS-404"), 5, "there is no such station\n     v2g csms stations"),
    (("send", "CS-404", "Reset", "{"), 2, "the payload is no JSON"),
    (("send", "CS-404", "Rest"), 5, "'Rest' is no action that a back end may send\n     did you mean 'Reset'?"),
    (("send", "CS-404", "Re set"), 5, "did you mean 'Reset'?"),
    (("admit", "CS-404", "--refuse", "--pending"), 2, "one of --refuse, --pending"),
    (("request", "GET", "no where"), 5, "/openapi.json says what there is"),
    (("set", "CS-404", "HeartbeatInterval", "1"), 2, "COMPONENT.VARIABLE"),
    (("transaction", "none"), 5, "there is no such transaction"),
    (("stop", "none"), 5, "0 stations"),
    (("request", "GET", "/stations?limit=0"), 2, "limit"),
)


async def test_what_does_not_work_is_one_line_with_the_exit_code_of_its_kind(cli: Cli) -> None:
    for words, code, text in WRONG:
        ended, output, errors = await cli(*words)
        assert (ended, output) == (code, ""), words
        assert errors.startswith("v2g: ")
        assert text in errors
        assert "Traceback" not in errors


NOWHERE = (
    ({"V2G_CSMS_URL": "https://localhost:99999"}, 2, "no URL of a back end"),
    ({"V2G_CSMS_URL": "https://local host"}, 2, "no URL of a back end"),
    ({"V2G_CSMS_URL": "https://localhost:1", "V2G_CSMS_TOKEN": "two\nlines"}, 2, "characters that no token has"),
    ({"V2G_CSMS_URL": "https://localhost:1", "V2G_CSMS_TOKEN": "gr\u00fcn"}, 2, "characters that no token has"),
    ({"V2G_CSMS_URL": "https://localhost:1"}, 7, "is it running"),
)


@pytest.mark.parametrize(("said", "code", "text"), NOWHERE)
def test_where_there_is_no_back_end_a_hint_says_so(
    said: dict[str, str], code: int, text: str, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setenv("HOME", str(tmp_path))
    for name, value in said.items():
        monkeypatch.setenv(name, value)
    ended, output, errors = run("csms", "stations")
    assert (ended, output) == (code, "")
    assert errors.startswith("v2g: ")
    assert text in errors


async def test_a_token_that_is_wrong_is_told_from_none(cli: Cli, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("V2G_CSMS_TOKEN", "wrong")
    code, _output, errors = await cli("stations")
    assert (code, "the token is not known here" in errors) == (4, True)


async def test_transactions_are_listed_with_the_energy_that_flowed_in_them(cli: Cli) -> None:
    async with cli.csms.connect() as station:
        await boot(station)
        for number, (kind, trigger, register) in enumerate(
            (("Started", "CablePluggedIn", 1000.5), ("Ended", "EVDeparted", 3500.75))
        ):
            reading = {"value": register, "measurand": "Energy.Active.Import.Register"}
            at = f"2026-01-01T00:0{number}:00Z"
            event = {
                "eventType": kind, "timestamp": at, "triggerReason": trigger, "seqNo": number,
                "transactionInfo": {"transactionId": "t-1"}, "evse": {"id": 1, "connectorId": 1},
                "meterValue": [{"timestamp": at, "sampledValue": [reading]}],
            }  # fmt: skip
            await station.send(json.dumps([2, f"e-{number}", "TransactionEvent", event]))
            while json.loads(await station.recv())[1] != f"e-{number}":
                pass
    _code, table, errors = await cli("transactions")
    assert table.rstrip("\n").split("\t")[-2:] == ["2500.25", ""], errors


async def test_who_may_not_is_told_so(cli: Cli) -> None:
    code, _output, errors = await cli("admit", STATION, role=Role.VIEWER)
    assert code == 4
    assert "viewer may not do that" in errors
    assert (await cli.records("admit", STATION, "--pending"))[0]["decision"] == "Pending"
    assert (await cli.records("door"))[0]["decided_by"] == "admin"


async def test_who_may_charge_is_told_and_changed(cli: Cli) -> None:
    assert [each["id_token"] for each in await cli.records("tokens")] == ["DEV2GC00000001"]
    (made,) = await cli.records("allow", "04a1b2c3", "--type", "ISO14443", "--group", "fleet-7")
    assert (made["id_token"], made["status"]) == ("04A1B2C3", "Accepted")
    (blocked,) = await cli.records("allow", "04A1B2C3", "--type", "ISO14443", "--block")
    assert blocked["status"] == "Blocked"
    _code, table, _errors = await cli("tokens", "--group", "fleet-7")
    assert table.split("\t")[:4] == ["ISO14443", "04A1B2C3", "Blocked", "fleet-7"]
    (again,) = await cli.records("allow", "04A1B2C3", "--type", "ISO14443", "--until", "2027-01-31")
    assert (again["status"], again["terms"]["group_id"]) == ("Accepted", "fleet-7"), "what is not named stays"
    assert again["terms"]["expires_ms"] == 1_801_440_000_000, "the day counts to its end"
    assert (await cli("allow", "x", "--until", "someday"))[0] == 2
    assert (await cli("allow", "nobody", "--block"))[0] == 5


async def test_a_token_that_was_made_lets_in(cli: Cli, tmp_path: Path) -> None:
    code, secret, _errors = await cli("token", "console", "--role", "viewer")
    assert code == 0
    (tmp_path / "token").write_text(secret)
    url, ca = f"https://localhost:{cli.csms.csms.ports['api']}", str(cli.csms.pki.path("csms/root.pem"))
    words = ("csms", "--url", url, "--ca", ca, "--token-file", str(tmp_path / "token"), "request", "GET", "/access/me")
    code, output, _errors = await asyncio.to_thread(run, *words)
    assert (code, json.loads(output)["name"]) == (0, "console")
    (tmp_path / "token").write_text("another")
    assert (await asyncio.to_thread(run, *words))[0] == 4


async def test_a_back_end_that_is_not_there_or_not_believed(cli: Cli) -> None:
    url = f"https://localhost:{cli.csms.csms.ports['api']}"
    code, _output, errors = await asyncio.to_thread(run, "csms", "--url", url, "stations")
    assert (code, "--ca" in errors) == (4, True)
    code, _output, _errors = await asyncio.to_thread(run, "csms", "--url", "http://127.0.0.1:1", "stations")
    assert code == 7


def test_options_come_before_the_environment_and_that_before_the_file(tmp_path: Path) -> None:
    file = tmp_path / "access.toml"
    file.touch(mode=0o600)
    file.write_text('url = "https://file"\ntoken = "of-the-file"\nca = "root.pem"\n')
    environment = {"V2G_CSMS_URL": "https://environment", "V2G_CSMS_TOKEN": "of-the-environment"}
    found = find_access({"url": "https://option", "token": None}, environment, file)
    assert found == Access(url="https://option", token="of-the-environment", ca=tmp_path / "root.pem")
    assert find_access({}, {}, file).url == "https://file"
    file.chmod(0o644)
    with pytest.raises(ConfigError, match="others may read"):
        find_access({}, {}, file)
    with pytest.raises(ConfigError, match="where is the back end"):
        find_access({}, {"HOME": str(tmp_path)}, None)


def test_without_a_command_a_configuration_is_wanted_and_run_wants_one_too() -> None:
    code, _output, errors = run("csms", "--events", "x")
    assert (code, "--config" in errors) == (2, True)
    assert run("csms", "run", "--config", "/does/not/exist")[0] == 2
    assert run("csms", "--config", "/does/not/exist")[0] == 2


async def test_telemetry_is_counted_and_what_is_not_understood_is_listed_and_released(cli: Cli) -> None:
    """An operator sees what became of records, and brings those in quarantine in once they are understood."""
    good = {"ev": "EV-1", "boot": 1, "seq": 1, "utc_ms": 1, "context": "parked", "keyframe": True, "signals": {}}
    later = good | {"schema": "v2g-telemetry/2", "seq": 2}
    lost = {"ev": "EV-1", "boot": 1, "missing": [[3, 7]]}
    sent = json.dumps([good, later, good | {"context": "flying", "seq": 8}, lost])
    (receipt,) = await cli.records("request", "POST", "/telemetry", sent)
    assert [each["seq"] for each in receipt["quarantined"]] == [2, 8]
    (vehicle,) = await cli.records("telemetry")
    assert {name: vehicle[name] for name in ("ev", "stored", "quarantined", "missing", "conflicts")} == {
        "ev": "EV-1", "stored": 1, "quarantined": 2, "missing": 5, "conflicts": 0
    }  # fmt: skip
    found = {each["seq"]: each for each in await cli.records("quarantine")}
    assert found[2]["reason"] == "0x2B9 UNSUPPORTED_SCHEMA_VERSION 'v2g-telemetry/2'"
    assert json.loads(found[2]["document"]) == later
    _, output, _ = await cli("quarantine", "--limit", "1")
    assert output.split("\t")[:4] in (["EV-1", "1", str(seq), found[seq]["schema_version"]] for seq in found)
    assert await cli.records("quarantine", "--release") == [{"released": 0}]
    signals.SCHEMAS["v2g-telemetry/2"] = lambda data: msgspec.json.decode(data, type=signals.Record)
    try:
        assert await cli.records("quarantine", "--release") == [{"released": 1}]
    finally:
        del signals.SCHEMAS["v2g-telemetry/2"]
    assert [each["seq"] for each in await cli.records("quarantine")] == [8]
    assert (await cli("quarantine", role=Role.VIEWER))[0] == 4
