"""Logs of the charger: what stands in an archive, and how it gets to the CSMS (N01)."""

import io
import json
import ssl
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.station.bench import Bench
from tests.station.device.file_server import FileServer, file_server
from tests.station.device.logs import unpacked
from v2g.iso15118.engine.session import Fact
from v2g_station.blocks.diagnostics.diagnostics import LogProgress, UploadLog
from v2g_station.device.logs import LogsConfig, LogSources, LogUploads, collect

DAY = 86_400_000


@pytest.fixture
def server() -> Iterator[FileServer]:
    with file_server() as found:
        yield found


def command(url: str = "", **changes: Any) -> UploadLog:
    """What the core wants."""
    return UploadLog(
        **{
            "request_id": 1,
            "log_type": "DiagnosticsLog",
            "url": url,
            "filename": "CS-1-DiagnosticsLog-1.tar.gz",
            "oldest": None,
            "latest": None,
            "retries": 2,
            "retry_interval_s": 7,
            "lines": ("2026-05-28T20:30:00.000Z StartupOfTheDevice",),
            **changes,
        }
    )


def sources(folder: Path, lines: int = 10) -> LogSources:
    """A charger's files: an event a day, a trace, two journals."""
    events = folder / "events.jsonl"
    events.write_text("".join(f'{{"t":1.0,"utc_ms":{n * DAY},"name":"event_{n}"}}\n' for n in range(lines)))
    (folder / "trace.jsonl").write_text('{"time":"1970-01-03T00:00:00.000Z","name":"SessionSetupReq"}\n')
    (folder / "trace.jsonl.1").write_text('{"time":"1970-01-01T00:00:00.000Z","name":"SessionStopReq"}\n')
    journals = folder / "journals"
    journals.mkdir()
    (journals / "0123.jsonl").write_text('{"seq":0}\n{"seq":1}\n')
    return LogSources(events=events, trace=folder / "trace.jsonl", journals=(journals,))


def packed(wanted: UploadLog, found: LogSources, **config: Any) -> dict[str, str]:
    """What an archive holds, as whoever gets it reads it."""
    into = io.BytesIO()
    collect(wanted, found, LogsConfig(**config), into)
    return unpacked(into.getvalue())


def test_diagnostics_hold_the_chargers_own_events_trace_journals_and_variables(tmp_path: Path) -> None:
    found = Bench()
    found.ask("GetLog", log={"remoteLocation": "https://x/"}, logType="DiagnosticsLog", requestId=1)
    (wanted,) = [each for each in found.commands if isinstance(each, UploadLog)]
    members = packed(wanted, sources(tmp_path))
    assert [json.loads(line)["name"] for line in members["events.jsonl"].splitlines()] == [
        f"event_{n}" for n in range(10)
    ]
    assert "SessionSetupReq" in members["trace.jsonl"]
    assert "SessionStopReq" in members["trace.jsonl.1"]
    assert members["journals/0123.jsonl"] == '{"seq":0}\n{"seq":1}\n'
    assert "StartupOfTheDevice" in members["security.log"]
    names = {each["variable"]["name"] for each in json.loads(members["variables.json"])}
    assert "SecurityProfile" in names
    assert "BasicAuthPassword" not in found.saved.get("variables", {})


def test_no_password_leaves_in_a_log(tmp_path: Path) -> None:
    found = Bench(variables={"SecurityCtrlr.BasicAuthPassword": "a-secret-password"})
    found.ask("GetLog", log={"remoteLocation": "https://x/"}, logType="DiagnosticsLog", requestId=1)
    (wanted,) = [each for each in found.commands if isinstance(each, UploadLog)]
    assert "a-secret-password" not in json.dumps(packed(wanted, sources(tmp_path)))


def test_only_what_happened_in_the_window_is_taken(tmp_path: Path) -> None:
    window = {"oldest": "1970-01-03T00:00:00Z", "latest": "1970-01-05T00:00:00Z"}
    members = packed(command(**window), sources(tmp_path))
    assert [json.loads(line)["name"] for line in members["events.jsonl"].splitlines()] == [
        "event_2",
        "event_3",
        "event_4",
    ]
    assert "trace.jsonl" in members
    assert "trace.jsonl.1" not in members


def test_older_parts_of_the_events_are_taken_as_far_as_they_are_wanted_and_fit(tmp_path: Path) -> None:
    found = sources(tmp_path)
    (tmp_path / "events.jsonl").rename(tmp_path / "events.jsonl.1")
    (tmp_path / "events.jsonl").write_text(f'{{"t":1.0,"utc_ms":{10 * DAY},"name":"event_10"}}\n')
    (tmp_path / "events.jsonl.2").write_text(f'{{"t":1.0,"utc_ms":{DAY},"name":"before"}}\n')
    (tmp_path / "events.jsonl.old").write_text("another's\n")
    members = packed(command(), found)
    assert "event_10" in members["events.jsonl"]
    assert len(members["events.jsonl.1"].splitlines()) == 10
    assert [name for name in members if name.startswith(("events", "trace"))] == [
        "events.jsonl", "trace.jsonl", "events.jsonl.1", "trace.jsonl.1", "events.jsonl.2",
    ]  # fmt: skip
    members = packed(command(oldest="1970-01-08T00:00:00Z"), found)
    assert [json.loads(line)["name"] for line in members["events.jsonl.1"].splitlines()] == [
        "event_7", "event_8", "event_9",
    ]  # fmt: skip
    assert "events.jsonl.2" not in members


def test_of_too_much_the_newest_lines_are_taken(tmp_path: Path) -> None:
    found = sources(tmp_path, lines=40_000)
    assert (tmp_path / "events.jsonl").stat().st_size > 1024 * 1024
    members = packed(command(), found, most_mib=1)
    lines = members["events.jsonl"].splitlines()
    assert json.loads(lines[-1])["name"] == "event_39999"
    assert 900_000 < sum(len(text) for text in members.values()) <= 1024 * 1024


def test_a_charger_without_an_event_file_gives_its_last_events() -> None:
    members = packed(command(), LogSources(recent=lambda: [b'{"utc_ms":1}', b'{"utc_ms":2}']))
    assert members["events.jsonl"] == '{"utc_ms":1}\n{"utc_ms":2}\n'


class Uploads:
    """Uploads of one charger, its waits and what it reported."""

    def __init__(self, folder: Path) -> None:
        self.reported: list[str] = []
        self.waits: list[float] = []
        self.folder = folder / "logs"
        self.folder.mkdir()
        self.uploads = LogUploads(
            LogsConfig(),
            lambda: self.folder,
            LogSources(),
            notify=self.notify,
            context=ssl.create_default_context,
            pause=self.pause,
        )

    def notify(self, fact: Fact) -> None:
        assert isinstance(fact, LogProgress)
        self.reported.append(fact.status)

    async def pause(self, seconds: float) -> None:
        self.waits.append(seconds)

    async def do(self, wanted: UploadLog) -> list[str]:
        self.uploads.start(wanted)
        await self.uploads.finished()
        return self.reported


async def test_a_log_is_put_under_its_name(server: FileServer, tmp_path: Path) -> None:
    found = Uploads(tmp_path)
    assert await found.do(command(server.url.replace("//", "//me:pa%20ss@") + "/logs/")) == ["Uploading", "Uploaded"]
    ((method, path, headers, body),) = server.taken
    assert (method, path) == ("PUT", "/logs/CS-1-DiagnosticsLog-1.tar.gz")
    assert headers["Authorization"] == "Basic bWU6cGEgc3M="  # N01.FR.25
    assert "security.log" in unpacked(body)
    assert list(found.folder.iterdir()) == []


async def test_a_url_without_a_slash_is_used_as_it_is_and_a_server_without_put_gets_a_post(
    server: FileServer, tmp_path: Path
) -> None:
    server.judge = lambda method, _: 405 if method == "PUT" else None
    found = Uploads(tmp_path)
    assert await found.do(command(server.url + "/up?token=1")) == ["Uploading", "Uploaded"]
    ((method, path, headers, _),) = server.taken
    assert (method, path) == ("POST", "/up?token=1")
    assert 'filename="CS-1-DiagnosticsLog-1.tar.gz"' in headers["Content-Disposition"]  # N01.FR.19


async def test_a_server_that_fails_is_asked_again_as_often_as_was_wanted(server: FileServer, tmp_path: Path) -> None:
    server.judge = lambda *_: 503
    found = Uploads(tmp_path)
    assert await found.do(command(server.url + "/")) == ["Uploading", "UploadFailure"]
    assert server.asked == 3
    assert found.waits == [7, 7]


@pytest.mark.parametrize(
    ("status", "reported"),
    [
        (403, "PermissionDenied"),
        (400, "BadMessage"),
        (501, "NotSupportedOperation"),
        (302, "UploadFailure"),
        (413, "UploadFailure"),
    ],
)
async def test_what_will_not_change_is_not_tried_again(
    server: FileServer, tmp_path: Path, status: int, reported: str
) -> None:
    server.judge = lambda *_: status
    found = Uploads(tmp_path)
    assert await found.do(command(server.url + "/")) == ["Uploading", reported]
    assert found.waits == []
    assert not server.taken


def test_an_upload_that_a_restart_has_cut_off_is_reported_as_failed() -> None:
    found = Bench()
    found.ask("GetLog", log={"remoteLocation": "https://x/"}, logType="DiagnosticsLog", requestId=9)
    found.clear()
    found.power_loss()
    found.expect("LogStatusNotification", status="UploadFailure", requestId=9)
    found.power_loss()
    found.nothing("LogStatusNotification")
