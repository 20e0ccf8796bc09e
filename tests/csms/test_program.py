"""The program as an operator meets it: exit codes, hints, signals, and what survives kill -9."""

import asyncio
import json
import signal
import sys
from pathlib import Path
from typing import Any

import msgspec
import pytest

from csms.app import running
from csms.config import load_config
from csms.db.store import open_store
from pki_tools.tree import PkiTree
from tests.csms.api_support import batch, record
from tests.csms.program import Program, write_config
from tests.csms.settlement.journals import SESSION, booted, delivery, journal, transfer
from tests.csms.settlement.witness import witness
from tests.csms.support import STATION, grid_signal, make_config, provide
from v2g.errors import ConfigError, KeyAccessError, StoreError


def event_frame(seq_no: int) -> str:
    """Return a TransactionEvent."""
    kind, trigger = ("Started", "CablePluggedIn") if seq_no == 0 else ("Updated", "MeterValuePeriodic")
    payload = {
        "eventType": kind,
        "timestamp": "2030-01-01T00:00:00Z",
        "triggerReason": trigger,
        "seqNo": seq_no,
        "transactionInfo": {"transactionId": "tx-9"},
        "evse": {"id": 1},
    }
    return json.dumps([2, f"e{seq_no}", "TransactionEvent", payload])


async def test_everything_acknowledged_survives_kill_9(tmp_path: Path, pki: PkiTree, empty_database: Path) -> None:
    lines, given = journal(), make_config(tmp_path, pki)
    provide(empty_database, given)
    config = write_config(tmp_path / "csms.yaml", given)
    store = open_store(given.store_url, given.data_dir)
    store.do(witness, lines, STATION, SESSION)
    store.close()
    program = await Program.start(config, tmp_path / "events", pki)
    async with program.connect() as websocket:
        await booted(websocket)
        for seq_no in (0, 1):
            await websocket.send(event_frame(seq_no))
            await websocket.recv()
        assert (await transfer(websocket, delivery(lines[:4])))["status"] == "Accepted"
        assert (await program.request("POST", "/telemetry", batch(record(1), record(2))))[0] == 200
        assert (await program.request("PUT", "/grid/signal", grid_signal(3).to_json()))[0] == 200
        await program.kill()
    program = await Program.start(config, tmp_path / "events", pki)
    _, transaction = await program.request("GET", "/transactions/tx-9")
    assert [each["seq_no"] for each in transaction["events"]] == [0, 1]
    (mark,) = (await program.request("GET", "/telemetry/EV-1/hwm"))[1]
    assert (mark["boot"], mark["highest"], mark["contiguous"]) == (1, 2, 2)
    assert (await program.request("GET", "/grid/signal"))[1]["version"] == 3
    async with program.connect() as websocket:  # goes on without a boot, as after any lost connection
        await websocket.send(event_frame(1))  # nobody confirmed to the station that it arrived
        await websocket.send(event_frame(2))
        answered: list[str] = []
        while len(answered) < 2:  # the grid signal may come in between
            kind, identifier, *_ = json.loads(await websocket.recv())
            answered += [identifier] if kind == 3 else []
        assert answered == ["e1", "e2"]
        assert (await transfer(websocket, delivery(lines[2:])))["data"]["lines"] == len(lines)
    await program.event("settled")
    status, settlement = await program.request("GET", f"/settlements/{SESSION}")
    assert status == 200
    assert settlement["document"]["totals"][0]["import_mwh"] == 2_000_000
    _, transaction = await program.request("GET", "/transactions/tx-9")
    assert [each["seq_no"] for each in transaction["events"]] == [0, 1, 2]
    assert await program.stop() == 0


@pytest.mark.some(1)
@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
async def test_it_stops_in_good_order_with_a_station_connected(
    tmp_path: Path, pki: PkiTree, empty_database: Path, number: int
) -> None:
    provide(empty_database, given := make_config(tmp_path, pki))
    config = write_config(tmp_path / "csms.yaml", given)
    program = await Program.start(config, tmp_path / "events", pki)
    async with program.connect() as websocket:
        await booted(websocket)
        assert await program.stop(number) == 0
        await websocket.wait_closed()
        assert websocket.close_code == 1001


@pytest.mark.long
async def test_sighup_reads_the_signal_again_and_goes_on_in_a_new_file_of_events(tmp_path: Path, pki: PkiTree) -> None:
    path = tmp_path / "signal.json"
    grid = {"signal_file": path, "poll_interval_s": 3600.0}
    config = write_config(tmp_path / "csms.yaml", make_config(tmp_path, pki, grid=grid))
    program = await Program.start(config, tmp_path / "events", pki)
    path.write_bytes(grid_signal(4).to_json())
    program.process.send_signal(signal.SIGHUP)
    assert (await program.event("grid_signal_received"))["version"] == 4
    (tmp_path / "events").rename(tmp_path / "events.old")
    version, new = 4, tmp_path / "events"
    async with asyncio.timeout(60):
        while not new.exists() or not new.read_text():  # lines go into the old one until the new one is open
            version += 1
            path.write_bytes(grid_signal(version).to_json())
            program.process.send_signal(signal.SIGHUP)
            await asyncio.sleep(0.05)
    assert await program.stop() == 0
    assert "stopping" in (tmp_path / "events").read_text()


async def run(*arguments: str) -> tuple[int, str]:
    """Run the program to its end; return exit code and everything that it said."""
    process = await asyncio.create_subprocess_exec(
        sys.executable, "-m", "csms", *arguments, stdout=asyncio.subprocess.PIPE, stderr=asyncio.subprocess.STDOUT
    )
    output, _ = await process.communicate()
    assert process.returncode is not None
    return process.returncode, output.decode()


@pytest.mark.long
async def test_help_shows_an_example_and_the_exit_codes() -> None:
    code, output = await run("--help")
    assert code == 0
    assert "--config" in output
    assert "example" in output
    assert "exit codes" in output


@pytest.mark.long
async def test_a_port_that_is_taken_is_a_transport_failure_with_a_hint(tmp_path: Path, pki: PkiTree) -> None:
    first = await Program.start(
        write_config(tmp_path / "a.yaml", make_config(tmp_path / "a", pki)), tmp_path / "e", pki
    )
    taken = make_config(tmp_path / "b", pki, api={"port": first.ports["api"]})
    code, output = await run("--config", str(write_config(tmp_path / "b.yaml", taken)))
    assert code == 7
    assert "is the port in use?" in output
    await first.stop()


@pytest.mark.long
async def test_a_file_that_is_no_database_is_a_storage_failure(tmp_path: Path, pki: PkiTree) -> None:
    (tmp_path / "data").mkdir()
    (tmp_path / "data" / "csms.sqlite3").write_text("this is no database, however long one looks at it")
    code, output = await run("--config", str(write_config(tmp_path / "c.yaml", make_config(tmp_path, pki))))
    assert code == 8, output
    assert "Traceback" not in output


@pytest.mark.parametrize("section", ["ocpp", "api"])
async def test_a_missing_key_is_named_with_a_hint_before_a_database_is_made(
    tmp_path: Path, pki: PkiTree, section: str
) -> None:
    config = make_config(tmp_path, pki, **{section: {"key": tmp_path / "no.key"}})
    with pytest.raises(KeyAccessError, match=r"no\.key") as caught:
        async with running(config):
            pass
    assert "v2g pki" in caught.value.hint
    assert not list(tmp_path.rglob("csms.sqlite3"))


@pytest.mark.requirement("R150")
def test_a_configuration_that_others_may_read_is_refused(tmp_path: Path, pki: PkiTree) -> None:
    path = write_config(tmp_path / "csms.yaml", make_config(tmp_path, pki))
    path.chmod(0o644)
    with pytest.raises(ConfigError, match="0644"):
        load_config(path)


def test_an_unknown_key_is_refused_with_its_line_and_the_nearest_name(tmp_path: Path, pki: PkiTree) -> None:
    path = write_config(tmp_path / "csms.yaml", make_config(tmp_path, pki))
    path.write_text(path.read_text().replace("heartbeat_interval_s:", "heartbeat_intervall_s:"))
    with pytest.raises(ConfigError, match=r"csms\.yaml:\d+: unknown key 'ocpp\.heartbeat_intervall_s'") as caught:
        load_config(path)
    assert caught.value.hint == "did you mean 'heartbeat_interval_s'?"


@pytest.mark.parametrize(
    ("old", "new"),
    [("port: 0", "port: 70000"), ("status: Accepted", "status: Maybe"), ("id: CS-V2G-0001", "id: ../x")],
)
def test_a_value_out_of_range_is_refused(tmp_path: Path, pki: PkiTree, old: str, new: str) -> None:
    path = write_config(tmp_path / "csms.yaml", make_config(tmp_path, pki))
    assert old in path.read_text()
    path.write_text(path.read_text().replace(old, new))
    with pytest.raises(ConfigError):
        load_config(path)


def test_a_redis_without_password_is_refused_unless_said_so(tmp_path: Path, pki: PkiTree) -> None:
    path = write_config(tmp_path / "csms.yaml", make_config(tmp_path, pki, bus_url="redis://127.0.0.1:6379/0"))
    with pytest.raises(ConfigError, match="no password") as caught:
        load_config(path)
    assert "requirepass" in (caught.value.hint or "")
    others = {"bus_url": "rediss://:word@host"}, {"bus_url": "unix:///redis.sock"}, {"bus_without_password": True}
    for changes in others:
        config = make_config(tmp_path, pki, **{"bus_url": "redis://127.0.0.1", **changes})
        load_config(write_config(path, config))


def test_relative_paths_start_from_the_files_folder(tmp_path: Path, pki: PkiTree) -> None:
    config = msgspec.structs.replace(make_config(tmp_path, pki), data_dir=Path("var"))
    assert load_config(write_config(tmp_path / "csms.yaml", config)).data_dir == tmp_path / "var"


@pytest.mark.parametrize("section", ["ocpp", "api"])
async def test_a_key_that_others_may_read_is_refused(tmp_path: Path, pki: PkiTree, section: str, start: Any) -> None:
    key = tmp_path / "leaf.key"
    key.write_bytes(pki.path("csms/server/leaf.key").read_bytes())
    key.chmod(0o640)
    with pytest.raises(KeyAccessError, match="0640"):
        async with start(**{section: {"key": key}}):
            pass


async def test_a_second_back_end_in_the_same_folder_is_refused(tmp_path: Path, pki: PkiTree) -> None:
    given = make_config(tmp_path, pki)
    async with running(given):
        with pytest.raises(StoreError, match="another back end uses"):
            async with running(given):
                pass
    async with running(given):
        pass


async def test_a_second_back_end_on_the_same_file_is_refused(tmp_path: Path, pki: PkiTree) -> None:
    """Also where its folder is another one, and it comes to the file by a link."""
    given = make_config(tmp_path / "1", pki)
    (link := tmp_path / "link").symlink_to(given.data_dir)
    other = make_config(tmp_path / "2", pki, store_url=f"sqlite:///{link}/csms.sqlite3")
    async with running(given):
        with pytest.raises(StoreError, match=f"another back end uses the database {given.data_dir}/csms.sqlite3"):
            async with running(other):
                pass
    async with running(other):
        pass
