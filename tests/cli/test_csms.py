"""`v2g csms`: the daily things over the API of a back end that runs, for people and for machines."""

import asyncio
import contextlib
import json
import socket
import sqlite3
import stat
import time
from datetime import UTC, datetime
from pathlib import Path
from typing import Any
from xml.etree import ElementTree

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from csms.accounts.rules import Role
from csms.alerts import store as alerts
from csms.alerts.rules import Evidence, Report
from csms.config import OutsideCa
from csms.db.store import open_store
from csms.fleets import store as fleets
from csms.fleets.store import FleetPoint
from csms.smart_charging import store as charging
from csms.smart_charging.rules import Needs
from csms.telemetry.config import TelemetryConfig
from csms.transactions import store as transactions
from pki_tools.authority import new_key
from pki_tools.issuing import make_request
from pki_tools.tree import PkiTree
from tests.cli.csms import Cli, boot, cli, run
from tests.csms.api_support import T0 as TODAY
from tests.csms.conftest import Start, start
from tests.csms.settlement.journals import SESSION, T0, delivery, journal, seen, started, transfer
from tests.csms.support import EMAID, STATION, TOKENS, grid_signal
from v2g.energy.grid_signal import SignalSlot
from v2g.energy.settlement.records import SessionStarted
from v2g.energy.settlement.session_journal import SessionJournal
from v2g.errors import ConfigError, RefusedError, TimeoutExpired
from v2g.pki.issue import Subject
from v2g.pki.profile import KeyKind
from v2g.pki.profile import Role as CertificateRole
from v2g.telemetry import signals
from v2g_cli.csms.client import LOST, Access, CsmsClient, find_access
from v2g_cli.passwords import parse_passwords, read_passwords

__all__ = ["cli", "start"]


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
        (reported,) = await watching
        assert (reported["kind"], reported["station_id"]) == ("station_connected", STATION)
        (listed,) = await cli.records("stations")
        assert (listed["station_id"], listed["connected"]) == (STATION, True)
        _code, table, _errors = await cli("stations")
        assert table.split("\t")[:4] == [STATION, "yes", "ocpp2.1", "Accepted"]
        filters = ((1, ("--text", STATION[3:], "--connected")), (0, ("--status", "Faulted")), (0, ("--offline",)))
        for number, words in filters:
            assert len(await cli.records("stations", *words)) == number, words
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


async def test_health_reports_how_many_contracts_were_accepted_unproven(start: Start, tmp_path: Path) -> None:
    async with start(trust={"crls": (), "revocation_unknown": "accept"}) as csms:
        pem = csms.pki.path("contract/chain.pem").read_text()
        for _ in range(2):
            async with csms.connect() as station:
                await boot(station)
                asked = {"idToken": {"idToken": EMAID, "type": "eMAID"}, "certificate": pem}
                await station.send(json.dumps([2, "a", "Authorize", asked]))
                answer = json.loads(await station.recv())
            assert answer[2]["certificateStatus"] == "Accepted"
        code, output, _ = await Cli(csms, tmp_path)("health")
    assert code == 0
    assert output.splitlines()[-3:] == ["revocation unknown: accept", "accepted unknown: 1", "crls until: "]


async def test_the_copy_of_a_journal_is_written_as_it_is_and_over_no_file(cli: Cli, tmp_path: Path) -> None:
    lines = journal()
    async with cli.csms.connect() as station:
        await boot(station)
        await transfer(station, delivery(lines))
    whole = b"".join(lines)
    assert await cli("journal", SESSION, role=Role.BILLING) == (0, whole.decode(), "")
    assert await cli("journal", SESSION, "--out", "-") == (0, whole.decode(), "")
    path = tmp_path / "journal.jsonl"
    assert await cli("journal", SESSION, "--station", STATION, "--out", str(path)) == (0, "", "")
    assert (path.read_bytes(), stat.S_IMODE(path.stat().st_mode)) == (whole, 0o600)
    for words, code, text in (
        ((SESSION, "--out", str(path)), 2, "exists"),
        ((SESSION, "--out", str(tmp_path / "no" / "where")), 2, "choose a folder"),
        (("0000", "--out", str(tmp_path / "none")), 5, "no such journal"),
        ((SESSION, "--station", "CS-404"), 5, "no such journal"),
    ):
        ended, output, errors = await cli("journal", *words)
        assert (ended, output, text in errors) == (code, "", True), errors
    assert path.read_bytes() == whole
    assert not (tmp_path / "none").exists()
    assert (await cli("journal", SESSION, role=Role.VIEWER))[0] == 4


async def test_a_terminal_is_shown_a_journal_as_text(cli: Cli) -> None:
    said = SessionStarted(**{**msgspec.structs.asdict(started()), "evse_id": "\u202eE"})
    async with cli.csms.connect() as station:
        await boot(station)
        await transfer(station, delivery(SessionJournal().record(said, T0)))
    _code, output, _errors = await cli("journal", SESSION, at_terminal=True)
    assert (r"\u202eE" in output, "\u202e" in output) == (True, False)


async def test_stations_are_listed_with_connectors_and_power_and_times_in_the_local_zone(cli: Cli) -> None:
    async with cli.csms.connect() as station:
        await boot(station)
        status = {"timestamp": "2027-01-01T00:00:00Z", "connectorStatus": "Occupied", "evseId": 1, "connectorId": 1}
        await station.send(json.dumps([2, "s", "StatusNotification", status]))
        await station.recv()
        reading = {
            "timestamp": "2027-01-01T00:00:00Z",
            "sampledValue": [{"value": -7000, "measurand": "Power.Active.Import"}],
        }
        started = {
            "eventType": "Started", "timestamp": "2027-01-01T00:00:00Z", "triggerReason": "CablePluggedIn", "seqNo": 0,
            "transactionInfo": {"transactionId": "tx"}, "evse": {"id": 1}, "meterValue": [reading],
        }  # fmt: skip
        await station.send(json.dumps([2, "t", "TransactionEvent", started]))
        await station.recv()
        place = {"station_id": STATION, "evse_id": 1, "node": "main", "most_ma": 32_000}
        site = {"id": "depot", "nodes": [{"id": "main", "limits": [63_000] * 3}], "places": [place]}
        await cli.records("request", "PUT", "/sites/depot", json.dumps(site))
        always = (await cli("site-limits", "depot"))[1].strip("\n").split("\t")
        assert always[2:] == ["63 / 63 / 63 A", "-7000", "16823 W in a phase", "", "", "fuse"]
        report = Report("station", STATION, "station_faulted", "error", T0, raised=True, evidence=Evidence())
        store = open_store(cli.csms.config.store_url, cli.csms.config.data_dir)
        store.do(alerts.take, [report], T0)
        store.close()
        row = (await cli("stations"))[1].split("\t")
        assert row[4:8] == ["1/1 Occupied", "-7000", "station_faulted", "depot"]
        installer = (await cli("stations", role=Role.INSTALLER))[1].split("\t")
        assert installer[4:7] == ["1/1 Occupied", "", ""], "a role that may not read transactions and alerts"
        shown = (await cli("transactions"))[1]
        assert "2027-01-01 00:00:00" in (await cli("--utc", "transactions"))[1]
        assert f"{datetime.fromtimestamp(1_798_761_600, UTC).astimezone():%Y-%m-%d %H:%M:%S}" in shown


async def test_what_the_api_answers_is_printed_though_it_is_no_json(cli: Cli) -> None:
    code, output, errors = await cli("request", "GET", "/metrics")
    assert (code, errors) == (0, "")
    assert "# TYPE " in output


async def test_what_a_station_says_is_text_and_nothing_else(cli: Cli) -> None:
    """Neither markup, nor sequences that a terminal obeys, nor rows that are not there."""
    said = {"model": "\x1b]0;mine\x07\x9b2J", "vendorName": "[/nothing] [red]", "firmwareVersion": "1\u202e\nCS-2\tyes"}
    async with cli.csms.connect() as station:
        await station.send(json.dumps([2, "b", "BootNotification", {"reason": "PowerUp", "chargingStation": said}]))
        assert json.loads(await station.recv())[2]["status"] == "Accepted"
        for words in (("stations",), ("station", STATION), ("stations", "--json"), ("station", STATION, "--json")):
            code, output, errors = await cli(*words)
            assert (code, errors) in ((0, ""), (0, "Connectors: none\n"))
            assert all(line.replace("\t", "").isprintable() for line in output.splitlines()), output
            if "--json" in words:
                assert json.loads(output)["firmware"] == said["firmwareVersion"]
            else:
                assert "[/nothing] [red]" in output
                assert r"\u001b]0;mine\u0007\u009b2J" in output
                assert r"1\u202e\u000aCS-2\u0009yes" in output
        assert len((await cli("stations"))[1].splitlines()) == 1
        code, output, errors = await cli("stations", at_terminal=True)
        assert (code, errors) == (0, "")
        assert "[/no" in output  # in a narrow column
        assert "[red]" in output
        assert not {"\x07", "\x9b", "\u202e"} & set(output)
        assert "\x1b]" not in output


async def test_errors_are_lines(cli: Cli) -> None:
    _code, _output, errors = await cli("request", "GET", "/stations/\x1b]0;mine\x07")
    assert errors
    assert all(line.isprintable() for line in errors.splitlines())


WRONG = (
    (("station", "CS-404"), 5, "no such station\n     list them: v2g csms stations"),
    (("send", "CS-404", "Reset", "{"), 2, "the payload is not JSON"),
    (("send", "CS-404", "Rest"), 5, "'Rest' is not an OCPP action that a CSMS can send\n     did you mean 'Reset'?"),
    (("send", "CS-404", "Re set"), 5, "did you mean 'Reset'?"),
    (("admit", "CS-404", "--refuse", "--pending"), 2, "--refuse, --pending"),
    (("request", "GET", "no where"), 5, "/openapi.json lists all routes"),
    (("set", "CS-404", "HeartbeatInterval", "1"), 2, "COMPONENT.VARIABLE"),
    (("transaction", "none"), 5, "no such transaction"),
    (("stop", "none"), 5, "no active transaction"),
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
    ({"V2G_CSMS_URL": "https://localhost:99999"}, 2, "is not an https:// URL"),
    ({"V2G_CSMS_URL": "https://local host"}, 2, "is not an https:// URL"),
    ({"V2G_CSMS_URL": "https://localhost:1", "V2G_CSMS_TOKEN": "two\nlines"}, 2, "invalid characters"),
    ({"V2G_CSMS_URL": "https://localhost:1", "V2G_CSMS_TOKEN": "gr\u00fcn"}, 2, "invalid characters"),
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
    assert run("csms", "stations", "list") == (ended, output, errors)
    assert run("csms", "stations", "lost") != (ended, output, errors)


async def test_a_token_that_is_wrong_is_distinguished_from_none(cli: Cli, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("V2G_CSMS_TOKEN", "wrong")
    code, _output, errors = await cli("stations")
    assert (code, "unknown token" in errors) == (4, True)


async def test_transactions_are_listed_with_the_energy_that_flowed_in_them(cli: Cli) -> None:
    async with cli.csms.connect() as station:
        await boot(station)
        for number, (kind, trigger, register) in enumerate(
            (("Started", "CablePluggedIn", 1000.5), ("Ended", "EVDeparted", 3500.75))
        ):
            readings = [
                {"value": register, "measurand": "Energy.Active.Import.Register"},
                {"value": 7.5, "measurand": "Power.Active.Import", "unitOfMeasure": {"unit": "kW"}},
                {"value": 80 + number, "measurand": "SoC", "unitOfMeasure": {"unit": "Percent"}},
            ]
            at = f"2026-01-01T00:0{number}:00Z"
            event = {
                "eventType": kind, "timestamp": at, "triggerReason": trigger, "seqNo": number,
                "transactionInfo": {"transactionId": T_1, "chargingState": "Charging"},
                "evse": {"id": 1, "connectorId": 1},
                "meterValue": [{"timestamp": at, "sampledValue": readings}],
            }  # fmt: skip
            await station.send(json.dumps([2, f"e-{number}", "TransactionEvent", event]))
            while json.loads(await station.recv())[1] != f"e-{number}":
                pass
            _code, table, errors = await cli("transactions")
            cells = table.rstrip("\n").split("\t")
            power = ("Charging", "7500") if kind == "Started" else ("Ended (Local)", "")
            assert (cells[1], cells[4], cells[7], cells[8]) == (T_1, *power, str(80 + number)), errors
    assert cells[9:] == ["2500.25", "", ""]
    _code, table, _errors = await cli("transactions", at_terminal=True)
    assert T_1 in table  # in one piece, to be copied


T_1 = "0c2a9d5e-0f3f-4d4e-8a51-2f0f7f1d9f11"


@pytest.mark.long
async def test_a_list_says_when_it_is_cut_and_when_it_is_empty(cli: Cli) -> None:
    code, output, errors = await cli("transactions")
    assert (code, output, errors) == (0, "", "Transactions: none\n")
    assert (await cli("transactions", "--json"))[1:] == ("", "")
    for number in range(3):
        await cli("allow", f"04A1B2C{number}", "--type", "ISO14443", "--group", "three")
    for limit, more in ((2, True), (3, False), (4, False)):
        for words in ((), ("--json",)):
            _code, output, errors = await cli("tokens", "--group", "three", "--limit", str(limit), *words)
            assert len(output.splitlines()) == min(limit, 3)
            assert errors == (f"Tokens: only the first {limit}; --limit {10 * limit} shows more\n" if more else "")


async def test_what_a_station_refuses_is_an_exit_code(cli: Cli) -> None:
    async with cli.csms.connect() as station:
        await boot(station)
        for action, answered, code in (
            ("Reset", {"status": "Rejected"}, 3),
            ("ChangeAvailability", {"status": "Scheduled"}, 0),
            ("ClearVariableMonitoring", {"clearMonitoringResult": [{"status": "NotFound", "id": 1}]}, 0),
            ("ClearVariableMonitoring", {"clearMonitoringResult": [{"status": "Rejected", "id": 1}]}, 3),
        ):
            payload = {"Reset": {"type": "OnIdle"}, "ChangeAvailability": {"operationalStatus": "Operative"}}
            body = json.dumps(payload.get(action, {"id": [1]}))
            _asked, sent = await asyncio.gather(answer(station, answered), cli("send", STATION, action, body))
            assert (sent[0], json.loads(sent[1])) == (code, answered)
            assert (sent[2] == f"v2g: {STATION} answered {action} with Rejected\n") == (code == 3)


PASSWORD = "a-password,of the station"


@pytest.mark.long
async def test_a_change_that_outlives_its_answer_is_asked_how_it_ended(
    cli: Cli, capsys: pytest.CaptureFixture[str]
) -> None:
    """Both ways: it succeeded, with an answer that is not kept as it may have secrets; it was refused."""
    url, root = f"https://localhost:{cli.csms.csms.ports['api']}", cli.csms.pki.path("csms/root.pem")
    slow = [{"station_id": f"CS-{number}", "password": PASSWORD} for number in range(30)]
    client = CsmsClient(Access(url=url, token=TOKENS[Role.ADMIN], ca=root), timeout_s=0.3, again_s=0.2)
    for reason in (LOST, "has_password"):
        with pytest.raises(RefusedError) as ended:
            await asyncio.to_thread(client.ask_until_done, "POST", "/admissions/passwords", {"passwords": slow})
        assert ended.value.reason == reason
    client.close()
    assert capsys.readouterr().err.count("asking how it ended") >= 2


def test_an_answer_that_does_not_come_is_reported_with_its_time_limit() -> None:
    with socket.create_server(("127.0.0.1", 0)) as silent:
        client = CsmsClient(Access(url=f"http://127.0.0.1:{silent.getsockname()[1]}"), timeout_s=0.05)
        with pytest.raises(TimeoutExpired, match=r"after 0\.05 s"):
            client.ask("GET", "/stations")
        client.close()


async def test_passwords_come_from_a_file_and_go_into_one(cli: Cli, tmp_path: Path) -> None:
    made = tmp_path / "made.csv"
    code, output, _ = await cli("password", "--generate", str(made), "--count", "10", "CS-1", "--admit")
    assert (code, output) == (0, f"11 passwords set, and written to {made}\n")
    assert stat.S_IMODE(made.stat().st_mode) == 0o600
    passwords = read_passwords(made)
    assert [*passwords] == ["CS-1", *(f"SIM{number:02d}" for number in range(1, 11))]
    assert all(each not in output for each in passwords.values())
    before = made.read_bytes()
    assert (await cli("password", "--generate", str(made), "CS-2"))[0] == 2
    assert made.read_bytes() == before, "passwords are never overwritten"
    other = tmp_path / "other.csv"
    code, _, errors = await cli("password", "--generate", str(other), "CS-1", "CS-2")
    assert (code, other.exists(), "1 of them have a password already: CS-1" in errors) == (5, False, True)
    chosen = tmp_path / "given.csv"
    chosen.write_text(f'identity,password\r\nCS-2,"{PASSWORD}"\r\n', newline="")
    assert (await cli("password", "--import", str(chosen)))[0] == 4, "others may read it"
    chosen.chmod(0o600)
    assert await cli("password", "--import", str(chosen)) == (0, "1 passwords set\n", "")
    decided = {each["station_id"]: each["boot"] for each in await cli.records("admissions")}
    assert (decided["CS-1"], decided["CS-2"]) == ("Accepted", "")


async def test_every_faulty_line_of_a_file_is_named_and_nothing_is_done(cli: Cli, tmp_path: Path) -> None:
    file = tmp_path / "bad.csv"
    file.touch(mode=0o600)
    file.write_text(f'CS-1,"{PASSWORD}"\nCS-2,short-secret\n\nCS/3,x\nCS-4\nCS-5,"open\nCS-1,"{PASSWORD}"\n')
    code, output, errors = await cli("password", "--import", str(file))
    assert (code, output) == (2, "")
    numbers = [int(line.split(":")[1]) for line in errors.splitlines() if line.startswith(str(file))]
    assert numbers == [2, 4, 5, 6, 7]
    assert "short-secret" not in errors
    assert await cli.records("admissions") == []
    for text in (b"", b"CS-1,\xff", b"x" * 300_000, b"identity,password\n"):
        file.write_bytes(text)
        assert (await cli("password", "--import", str(file)))[0] == 2
    assert (await cli("password"))[0] == 2
    assert (await cli("password", "--generate", str(tmp_path / "none.csv")))[0] == 2


@pytest.mark.long
@given(st.text(max_size=200) | st.lists(st.sampled_from(["CS-1", ",", PASSWORD, '"', "\n", "\r", "\0"])).map("".join))
def test_any_text_is_passwords_or_faulty_lines(text: str) -> None:
    found, faults = parse_passwords(text)
    assert all(15 < len(each) < 41 for each in found.values())
    assert [number for number, _ in faults] == sorted({number for number, _ in faults})


async def test_who_may_not_is_refused(cli: Cli) -> None:
    code, _output, errors = await cli("admit", STATION, role=Role.VIEWER)
    assert code == 4
    assert "viewer may not do that" in errors
    assert (await cli.records("admit", STATION, "--pending"))[0]["decision"] == "Pending"
    assert (await cli.records("admissions"))[0]["decided_by"] == "admin"


async def test_who_may_charge_is_shown_and_changed(cli: Cli) -> None:
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
    with pytest.raises(ConfigError, match="not an https:// URL"):
        CsmsClient(Access(url="http://127.0.0.1:1", token="secret"))


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
    with pytest.raises(ConfigError, match="no back-end URL given"):
        find_access({}, {"HOME": str(tmp_path)}, None)


def test_without_a_command_a_configuration_is_wanted_and_run_wants_one_too() -> None:
    code, _output, errors = run("csms", "--events", "x")
    assert (code, "--config" in errors) == (2, True)
    assert run("csms", "run", "--config", "/does/not/exist")[0] == 2
    assert run("csms", "--config", "/does/not/exist")[0] == 2


@pytest.mark.long
async def test_telemetry_is_counted_and_what_is_not_understood_is_listed_and_released(cli: Cli) -> None:
    """An operator sees what became of records, and brings those in quarantine in once they are understood."""
    good = {"ev": "EV-1", "boot": 1, "seq": 1, "utc_ms": TODAY, "context": "parked", "keyframe": True, "signals": {}}
    later = good | {"schema": "v2g-telemetry/9", "seq": 2}
    lost = {"ev": "EV-1", "boot": 1, "missing": [[3, 7]]}
    sent = json.dumps([good, later, good | {"context": "flying", "seq": 8}, lost])
    (receipt,) = await cli.records("request", "POST", "/telemetry", sent)
    assert [each["seq"] for each in receipt["quarantined"]] == [2, 8]
    (vehicle,) = await cli.records("telemetry")
    assert {name: vehicle[name] for name in ("ev", "stored", "quarantined", "missing", "conflicts")} == {
        "ev": "EV-1", "stored": 1, "quarantined": 2, "missing": 5, "conflicts": 0
    }  # fmt: skip
    found = {each["seq"]: each for each in await cli.records("quarantine")}
    assert found[2]["reason"] == "0x2B9 UNSUPPORTED_SCHEMA_VERSION 'v2g-telemetry/9'"
    assert json.loads(found[2]["document"]) == later
    _, output, _ = await cli("quarantine", "--limit", "1")
    assert output.split("\t")[:4] in (["EV-1", "1", str(seq), found[seq]["schema_version"]] for seq in found)
    assert await cli.records("quarantine", "--release") == [{"released": 0}]
    signals.SCHEMAS["v2g-telemetry/9"] = signals.Version((), (), signals.SIGNALS)
    try:
        assert await cli.records("quarantine", "--release") == [{"released": 1}]
    finally:
        del signals.SCHEMAS["v2g-telemetry/9"]
    assert [each["seq"] for each in await cli.records("quarantine")] == [8]
    assert (await cli("quarantine", role=Role.VIEWER))[0] == 4


@pytest.mark.requirement("R145", "R188")
async def test_a_new_key_of_telemetry_seals_from_now_on_and_what_was_sealed_is_read_on(cli: Cli) -> None:
    async def deliver(seq: int) -> bytes:
        """Deliver a record; return how it is stored."""
        sent = {"ev": "EV-1", "boot": 1, "seq": seq, "utc_ms": TODAY + seq, "context": "city", "keyframe": True}
        await cli.records("request", "POST", "/telemetry", json.dumps([sent | {"signals": {"battery.soc": seq}}]))
        with contextlib.closing(sqlite3.connect(cli.csms.config.data_dir / "csms.sqlite3")) as database:
            (document,) = database.execute("SELECT document FROM telemetry WHERE seq = ?", (seq,)).fetchone()
        return bytes(document)

    assert (await deliver(1)).startswith(b"\x01\0\0\0\x01")
    (new,) = await cli.records("telemetry-keys", "--new")
    assert new["number"] == 2
    assert (await deliver(2)).startswith(b"\x01\0\0\0\x02")
    assert [each["number"] for each in await cli.records("telemetry-keys")] == [1, 2]
    (found,) = await cli.records("request", "GET", "/vehicles/EV-1/values")
    assert [each["values"] for each in found] == [{"battery.soc": 1}, {"battery.soc": 2}]
    assert (await cli("telemetry-keys", "--new", role=Role.OPERATOR))[0] == 4
    (entry,) = [each for each in await cli.records("audit") if each["path"] == "/telemetry-keys"]
    assert entry["status"] == 200


async def test_without_sealing_there_is_no_key_to_begin(start: Start, tmp_path: Path) -> None:
    async with start(telemetry=TelemetryConfig(sealed=False)) as csms:
        code, _, errors = await Cli(csms, tmp_path)("telemetry-keys", "--new")
    assert (code, "telemetry is not sealed" in errors) == (5, True)


async def test_fleets_and_their_plans_are_shown(cli: Cli, tmp_path: Path) -> None:
    assert (await cli("fleets"))[1] == "", "none yet"
    fleet = json.dumps({"id": "depot", "import_limit_w": 40_000, "stations": [STATION]})
    await cli.records("request", "PUT", "/fleets/depot", fleet)
    ((shown,), (_, output, _)) = await cli.records("fleets"), await cli("fleets")
    assert (shown["id"], shown["import_limit_w"], shown["active"]) == ("depot", 40_000, True)
    assert output.split("\t")[:2] == ["depot", "40000"]
    code, _, errors = await cli("plan", "depot")
    assert (code, "no prices" in errors) == (5, True)
    signal = grid_signal()
    begin = signal.issued_at_ms // 900_000 * 900_000
    slots = tuple(
        SignalSlot(start_ms=begin + n * 3_600_000, duration_s=3600, import_price=n * 100_000, export_compensation=0)
        for n in range(4)
    )
    signal = msgspec.structs.replace(signal, slots=slots, valid_until_ms=begin + 4 * 3_600_000)
    await cli.records("request", "PUT", "/grid/signal", signal.to_json().decode())
    chart = tmp_path / "plan.svg"
    code, output, errors = await cli("plan", "depot", "--chart", str(chart))
    assert code == 0, errors
    assert output.splitlines()[0].split("\t")[1:] == ["+0.0", "+0.0"]
    assert "No vehicle is to charge." in output
    assert ElementTree.fromstring(chart.read_text()).get("aria-label") == "charging plan"
    assert chart.stat().st_mode & 0o077 == 0
    code, _, errors = await cli("plan", "depot", "--chart", str(chart))
    assert (code, "exists" in errors) == (2, True), "no file is overwritten"
    (plan,) = await cli.records("plan", "depot")
    assert plan["chart"].startswith("<svg")
    assert plan["call"] is None
    assert (await cli("plan", "none"))[0] != 0
    assert (await cli("plan", "depot", "--past", "24"))[2] == "Past plans of depot: none\n"
    point = {"planned_w": 9_000, "asked_w": 8_000, "accepted_w": 7_000, "delivered_w": 6_500, "vehicles": 1}
    store = open_store(cli.csms.config.store_url, cli.csms.config.data_dir)
    for hours in (1, 3):
        at_ms = int(time.time() * 1000) - hours * 3_600_000
        store.do(fleets.note_course, "depot", FleetPoint(at_ms=at_ms, **point))
    store.close()
    assert (await cli("plan", "depot", "--past", "2"))[1].splitlines()[0].split("\t")[1:] == [
        "9000",
        "8000",
        "7000",
        "6500",
        "1",
    ]
    points = await cli.records("plan", "depot", "--past", "4")  # the back end itself adds one each full minute
    assert [each["delivered_w"] for each in points if each["planned_w"]] == [6_500, 6_500]


async def test_what_bound_a_transactions_power_is_shown(cli: Cli) -> None:
    async with cli.csms.connect() as station:
        await boot(station)
        started = {
            "eventType": "Started", "timestamp": "2027-01-01T00:00:00Z", "triggerReason": "CablePluggedIn", "seqNo": 0,
            "transactionInfo": {"transactionId": "tx"}, "evse": {"id": 1},
        }  # fmt: skip
        schedule = {"id": 1, "chargingRateUnit": "W", "chargingSchedulePeriod": [{"startPeriod": 0, "limit": 9000}]}
        limit = {"chargingLimit": {"chargingLimitSource": "EMS"}, "chargingSchedule": [schedule], "evseId": 1}
        for action, request in (("TransactionEvent", started), ("NotifyChargingLimit", limit)):
            await station.send(json.dumps([2, action, action, request]))
            await station.recv()
    assert (await cli("limits", "tx"))[2] == "Limits: none\n"
    store = open_store(cli.csms.config.store_url, cli.csms.config.data_dir)
    store.do(transactions.save_needs, STATION, "tx", Needs(evse_id=1, requested="DC", most_w=11_000))
    store.do(charging.note_limits, [STATION], {}, T0)
    store.close()
    code, output, errors = await cli("limits", "tx", "--station", STATION, role=Role.BILLING)
    assert (code, errors) == (0, "")
    assert output.split("\t")[1:] == ["external EMS", "9000", "vehicle 11000", "\n"]
    (point,) = await cli.records("limits", "tx")
    assert [each["name"] for each in point["bounds"]] == ["external", "vehicle"]
    assert (await cli("limits", "none"))[0] == 5


@pytest.mark.requirement("R39")
async def test_a_session_in_quarantine_is_listed_released_and_rejected(cli: Cli) -> None:
    async with cli.csms.connect() as station:
        await boot(station)
        seen(cli.csms, journal())
        for session, price in ((SESSION, 999_999), ("aa", 888_888)):
            await transfer(station, delivery(journal(session, price=price), session))
    listed = await cli.records("unbooked")
    assert [(each["session_id"], each["state"], each["reason"]) for each in listed] == [
        (SESSION, "quarantined", "prices"),
        ("aa", "quarantined", "prices"),
    ]
    assert (await cli("release", SESSION, "--note", "seen", role=Role.BILLING))[0] == 0
    assert (await cli("reject", "aa", "--station", STATION, "--note", "not seen"))[0] == 0
    assert await cli.records("unbooked") == []
    assert [each["note"] for each in await cli.records("unbooked", "--state", "rejected")] == ["not seen"]
    assert [each["session_id"] for each in await cli.records("costs")] == [SESSION]
    seen(cli.csms, journal(), "ab")
    (row,) = (await cli("unbooked"))[1].splitlines()
    assert row.split("\t")[2:6] == ["tx-ab", "quarantined", "repeated", f"tx-{SESSION}"]


@pytest.mark.long
@pytest.mark.requirement("R33", "R44")
async def test_costs_receipt_correction_and_the_closing_of_a_month(cli: Cli, tmp_path: Path) -> None:
    async with cli.csms.connect() as station:
        await boot(station)
        seen(cli.csms, journal())
        await transfer(station, delivery(journal()))
    code, output, _ = await cli("costs", role=Role.BILLING)
    assert (code, output.split("\t")[1], output.split("\t")[-1]) == (0, SESSION, "0.40 EUR\n")
    assert (await cli.records("costs", "--by", "vehicle"))[0]["owed"] == [{"amount": "0.40", "currency": "EUR"}]
    assert (await cli("costs", "--period", "2026-01"))[:2] == (0, "")
    page = tmp_path / "receipt.html"
    assert (await cli("receipt", SESSION, "--out", str(page), "--language", "de", "--zone", "Europe/Berlin"))[0] == 0
    assert '<html lang="de"' in page.read_text()
    assert (await cli("receipt", SESSION))[1].startswith("<!DOCTYPE html>")
    words = ("correct", SESSION, "--reason", "wrong tariff")
    (charged,) = await cli.records(*words, "--line", f"{T0}/import", "--price", "-0.10")
    assert charged["owed"] == [{"amount": "-0.40", "currency": "EUR"}]
    tariff = tmp_path / "tariff.toml"
    slot = f"start_ms = {T0}\nduration_ms = 7200000\nimport_price = '0.30'\nexport_compensation = '0.20'"
    tariff.write_text(f'currency = "EUR"\nversion = 9\n[[slots]]\n{slot}\n')
    assert (await cli.records(*words, "--tariff", str(tariff)))[0]["owed"][0]["amount"] == "0.40"
    for wrong, code, text in (
        (("costs", "--by", "colour"), 2, "session, vehicle or period"),
        (("costs", "--period", "2026-13"), 2, "period"),
        (("receipt", "FF"), 5, "no such journal"),
        (("receipt", SESSION, "--out", str(page)), 2, "exists"),
        (("receipt", SESSION, "--zone", "Nowhere"), 2, "Nowhere"),
        (words, 2, "give --line and --price, or --tariff"),
        ((*words, "--line", "1"), 2, "give --line and --price"),
        ((*words, "--tariff", str(tmp_path)), 2, "directory"),
        ((*words, "--line", "1", "--price", "2"), 5, "no line 1 is in force"),
        (("correct", "FF", "--reason", "x", "--tariff", str(tariff)), 5, "no such session"),
    ):
        ended, output, errors = await cli(*wrong)
        assert (ended, output, text in errors) == (code, "", True), errors
    access = ("--access", str(tmp_path / "admin.toml"))
    month = f"{datetime.fromtimestamp(T0 / 1000, UTC):%Y-%m}"
    for period, text in ((month, "is not over"), ("2026-13", "period")):
        ended, _, errors = await asyncio.to_thread(run, "settle", "close-period", period, *access)
        assert (ended, text in errors) == (5 if period == month else 2, True)
    ended, output, _ = await asyncio.to_thread(run, "settle", "close-period", "2025-01", *access)
    assert (ended, "0 sessions, 0 held and in no sum, 0 postings" in output, "digest " in output) == (0, True, True)
    ended, output, _ = await asyncio.to_thread(run, "settle", "close-period", "2025-01", *access, "--json")
    assert (ended, json.loads(output)["intact"]) == (0, True)
    assert (await asyncio.to_thread(run, "settle", "close-period", "2025-01", "--token-file", str(tmp_path)))[0] == 2


@pytest.mark.requirement("R96", "R107")
async def test_vehicles_are_listed_exported_and_erased(cli: Cli, tmp_path: Path) -> None:
    record = {"ev": "EV-1", "boot": 1, "seq": 1, "utc_ms": TODAY, "context": "city", "keyframe": True}
    sent = json.dumps([record | {"signals": {"battery.soc": 80.0}}])
    await cli.records("request", "POST", "/telemetry", sent)
    (vehicle,) = await cli.records("vehicles", role=Role.FLEET)
    assert vehicle["values"] == {"battery.soc": 80.0}
    file = tmp_path / "day.csv"
    assert (await cli("export", "EV-1", str(file), "--signals", "battery.soc", role=Role.DRIVER))[0] == 0
    at = datetime.fromtimestamp(TODAY / 1000, UTC).isoformat(timespec="milliseconds")
    assert file.read_text().splitlines()[1] == f"{at},{TODAY},1,1,city,80.0"
    assert (await cli("export", "EV-1", str(tmp_path / "day.txt")))[0] != 0
    assert (await cli("erase", "EV-1", "--yes", role=Role.DRIVER))[0] == 0
    assert await cli.records("vehicles") == []


@pytest.mark.requirement("R125")
async def test_alerts_are_listed_shown_and_acknowledged(cli: Cli) -> None:
    finding = {"kind": "over_temperature", "severity": "error", "raised": True, "value": 61.0, "limit": 55.0}
    event = {"program": "gateway", "name": "telemetry.battery_finding", "utc_ms": TODAY, "data": finding}
    record = {"ev": "EV-1", "boot": 1, "seq": 1, "utc_ms": TODAY, "context": "city", "keyframe": True}
    record |= {"schema": "v2g-telemetry/3", "trip": "1-0", "ambient_c": None, "charging_w": None, "event": event}
    sent = json.dumps([record | {"signals": {"battery.temperature.max": 61.0}}])
    await cli.records("request", "POST", "/telemetry", sent)
    (alert,) = await cli.records("alerts", "list", role=Role.DRIVER)
    _, table, _ = await cli("alerts", "list", "--subject", "EV-1")
    assert "over_temperature" in table
    number = str(alert["alert_id"])
    (seen,) = await cli.records("alerts", "acknowledge", number, "--note", "towed", role=Role.FLEET)
    assert (seen["note"], seen["acknowledged_by"]) == ("towed", "fleet")
    assert await cli.records("alerts", "show", number) == [seen]
    assert await cli.records("alerts", "list", role=Role.VIEWER) == []
    assert (await cli("alerts", "assign", number, "--to", "bob", role=Role.FLEET))[1] == "1 alerts are assigned.\n"
    _, table, _ = await cli("alerts", "groups", role=Role.FLEET)
    for said in ("EV-1 has 61", "acknowledged", "bob", number):
        assert said in table, said
    (group,) = await cli.records("alerts", "groups", role=Role.FLEET)
    assert (group["assigned"], group["alert_ids"]) == ("bob", [alert["alert_id"]])
    assert "Alerts: none" in (await cli("alerts", "groups", role=Role.VIEWER))[2]
    code, _, errors = await cli("alerts", "show", "99")
    assert code != 0
    assert "alert" in errors


@pytest.mark.requirement("R125")
async def test_rules_are_listed_and_alerts_silenced(cli: Cli) -> None:
    _, table, _ = await cli("alerts", "rules")
    assert "station_offline" in table
    words = ("alerts", "silence", "station", "--subject", STATION, "--for", "8h", "--note", "replaced")
    (made,) = await cli.records(*words, role=Role.OPERATOR)
    assert made["until_ms"] - made["created_ms"] == pytest.approx(8 * 3_600_000, abs=60_000)
    assert await cli.records("alerts", "silences", role=Role.VIEWER) == [made]
    assert (await cli("alerts", "end-silence", str(made["silence_id"])))[0] == 0
    assert await cli.records("alerts", "silences") == []
    code, _, errors = await cli("alerts", "silence", "station", "--for", "soon")
    assert (code, "30m, 8h or 2d" in errors) == (2, True)
    code, _, errors = await cli("alerts", "silence", "nothing", "--for", "1h")
    assert code != 0
    assert "subject_kind" in errors


async def test_a_person_reads_a_stations_request_for_a_certificate_and_answers_it(
    start: Start, tmp_path: Path, pki: PkiTree
) -> None:
    """R217; that what is handed over is checked and delivered, tests/csms/ocpp/test_enrolment.py proves."""
    key = new_key(KeyKind.SECP521R1, CertificateRole.SECC)
    csr = make_request(key, CertificateRole.SECC, Subject(common_name="SECC-1", organization="Lab")).decode()
    asked = {"csr": csr, "certificateType": "V2GCertificate"}
    async with start(outside_cas=(OutsideCa(roots=(pki.path("v2g/root.pem"),)),)) as csms:
        cli = Cli(csms, tmp_path)
        async with csms.connect() as station:
            await boot(station)
            await station.send(json.dumps([2, "a", "SignCertificate", asked]))
            assert json.loads(await station.recv())[2]["status"] == "Accepted"
        (listed,) = await cli.records("trust", "requests")
        assert (listed["kind"], listed["manual"], listed["issued"]) == ("V2GCertificate", True, False)
        which = (STATION, "V2GCertificate")
        assert await cli("trust", "request", *which) == (0, csr, "")
        code, _output, errors = await cli("trust", "issue", *which, str(pki.path("csms/server/chain.pem")))
        assert (code, "requested key" in errors) == (5, True)
        refused = await cli("trust", "refuse", *which, "no contract")
        assert refused[:2] == (0, f"The request of {STATION} is refused.\n")
        assert await cli.records("trust", "requests") == []


def test_help_has_every_command_below_a_heading_and_is_plain_in_a_pipe() -> None:
    code, output, _errors = run("csms", "--help")
    assert code == 0
    assert "\nMoney:\n  tariffs " in output
    assert "│" not in output
    code, output, _errors = run("csms", "--help", at_terminal=True)
    assert (code, " Commands " in output, " Money " in output, "door " in output) == (0, False, True, False)


def test_examples_in_a_pipe_have_a_line_each() -> None:
    assert "\n  - `v2g station --url ws://127.0.0.1:9000/ocpp --control 9100`\n" in run("station", "--help")[1]
