"""Every operation of the API is a command, by what the API's own description says of it."""

import asyncio
import contextlib
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import click
import pytest
import typer
from hypothesis import given
from hypothesis import strategies as st
from typer.main import get_command

from csms.accounts.rules import Role
from docs import generate
from tests.cli.csms import Cli, boot, cli, run
from tests.csms.conftest import start
from tests.csms.support import STATION
from tests.together import together
from v2g.errors import ConfigError, TransportError
from v2g.io.runtime.clock import Clock
from v2g_cli.csms.command import app
from v2g_cli.csms.commands import moment_of, operations, seconds
from v2g_cli.csms.openapi import operations_of

__all__ = ["cli", "start"]

_SITE = '[{"id": "main", "limits": [100000, 100000, 100000]}]'


def test_commands_know_the_operations_of_this_back_end() -> None:
    for path, content in generate.shipped_files():
        assert path.read_text() == content, "run `python docs/generate.py`"


def _commands(command: Any, path: tuple[str, ...] = ()) -> Iterator[tuple[tuple[str, ...], Any]]:
    if not hasattr(command, "list_commands"):
        yield path, command
        return
    context = click.Context(command)
    for name in command.list_commands(context):
        yield from _commands(command.get_command(context, name), (*path, name))


def test_no_two_commands_have_a_name() -> None:
    """The second would take the place of the first without a word."""
    groups = [app, *(each.typer_instance for each in app.registered_groups if each.typer_instance is not None)]
    for group in groups:
        names = [each.name or getattr(each.callback, "__name__", "") for each in group.registered_commands]
        assert len(names) == len(set(names)), names


def test_every_command_has_help_an_example_and_options_of_different_names() -> None:
    found = dict(_commands(get_command(app)))
    assert {name.replace("_", "-") for name in operations()} == {path[1] for path in found if path[0] == "api"}
    for path, command in found.items():
        assert f"`v2g csms {' '.join(path)}" in command.help or path == ("door",), path
        names = [name for each in command.params for name in (*each.opts, *each.secondary_opts)]
        assert len(set(names)) == len(names), path


def test_help_needs_no_back_end(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("V2G_CSMS_URL", "https://localhost:1")
    code, output, _errors = run("csms", "api", "put-site", "--help")
    assert (code, "--nodes" in output, "--waiting-ma" in output) == (0, True, True)
    for command, name in (("add", "grid_operator"), ("role", "billing"), ("add", "._@+-")):
        code, output, _errors = run("csms", "users", command, "--help")
        assert (code, name in output) == (0, True), output
    code, _output, errors = run("csms", "api", "put-sites")
    assert (code, "back end: " in errors, "No such command" in errors) == (2, True, True), errors


async def test_what_only_the_back_end_knows_is_asked_by_its_description(cli: Cli) -> None:
    """Commands to stations are not among the operations that the program ships: as those of a newer back end."""
    assert "command_ClearCache" not in operations()
    code, output, _errors = await cli("api", "command-SetMonitoringLevel", "--help")
    assert (code, "--severity" in output, "STATION" in output) == (0, True, True), output
    code, _output, errors = await cli("api", "command-ClearCache", "CS-V2G-0002")
    assert (code, "no such station" in errors) == (5, True), errors
    code, _output, errors = await cli("api", "command-SetMonitoringLevel", STATION)
    assert (code, "--severity is missing" in errors) == (2, True), errors


def _wrong_documents() -> st.SearchStrategy[object]:
    """Return values in the place of others of a document, anywhere."""
    names = st.sampled_from(
        ["paths", "parameters", "in", "name", "schema", "$ref", "anyOf", "type", "properties", "get"]
    )
    plain = (
        st.none() | st.booleans() | st.integers() | st.sampled_from(["/a/{b}", "path", "query", "", "\x1b[2J", "A.b"])
    )
    return st.recursive(
        plain, lambda one: st.lists(one, max_size=3) | st.dictionaries(names | st.text(max_size=3), one)
    )


@given(
    _wrong_documents(), st.sampled_from(["parameters", "requestBody", "responses", "operationId", "/a", "components"])
)
def test_no_description_of_a_back_end_ends_in_a_defect(wrong: object, place: str) -> None:
    schemas = {"A": {"$ref": "#/components/schemas/A"}}
    operation = {"operationId": "a", "parameters": [{"name": "b", "in": "path", "schema": {"$ref": "#/A"}}]}
    document = {
        "components": {"schemas": schemas},
        "paths": {"/a/{b}": {"get": {**operation, place: wrong}}},
        place: wrong,
    }
    for each in ({"paths": wrong}, wrong, document):
        with contextlib.suppress(TransportError):
            assert all(one.path.format_map(dict.fromkeys("b", "1")) for one in operations_of(each))


async def test_any_operation_is_asked_by_its_name_and_lists_show_what_is_plain(cli: Cli, tmp_path: Path) -> None:
    (stored,) = await cli.records("api", "put-site", "depot", "--id", "depot", "--nodes", _SITE)
    assert stored["id"] == "depot"
    code, table, errors = await cli("api", "list-sites")
    assert (code, table.split("\t")[0], errors) == (0, "depot", "")
    file = tmp_path / "site.yaml"
    file.write_text(f"id: depot\nnodes: {_SITE}\nlatitude: 52.5\n")
    changed = await cli.records("api", "put-site", "depot", "--body", str(file), "--longitude", "13.4")
    assert [(each["latitude"], each["longitude"]) for each in changed] == [(52.5, 13.4)]
    for words, text in (
        (("--id", "depot"), "--nodes is missing"),
        (("--id", "depot", "--nodes", "{"), "nodes is not JSON"),
        (("--id", "depot", "--nodes", "[" * 9_000), "nodes is not JSON"),
        (("--body", str(tmp_path / "none.json")), "No such file"),
    ):
        code, output, errors = await cli("api", "put-site", "depot", *words)
        assert (code, output, text in errors) == (2, "", True), errors
    assert await cli("api", "delete-site", "depot") == (0, "", ""), "nobody is asked where there is no terminal"
    assert await cli("api", "list-sites") == (0, "", "Sites: none\n")
    code, _output, errors = await cli("api", "read-site", "depot")
    assert (code, "site" in errors) == (5, True)
    code, _output, errors = await cli("api", "read-vehicle-paths", "nobody", "--path", "Vehicle.Speed")
    assert (code, "vehicle" in errors) == (5, True), "a parameter may be called as our own"
    assert (await cli("api", "delete-site", "depot", role=Role.VIEWER))[0] == 4


async def test_an_argument_may_be_left_out_and_comes_after_those_of_the_path(cli: Cli) -> None:
    assert await cli("variables", STATION) == (0, "", "Variables: none\n")
    assert await cli("variables", STATION, "EVSE") == (0, "", "Variables: none\n")
    assert (await cli("variables"))[0] == 2


async def test_what_is_no_json_is_written_as_it_is(cli: Cli, tmp_path: Path) -> None:
    code, output, _errors = await cli("api", "read-metrics")
    assert (code, "# TYPE " in output) == (0, True)
    file = tmp_path / "metrics"
    assert await cli("api", "read-metrics", "--out", str(file)) == (0, "", "")
    assert "# TYPE " in file.read_text()


async def test_at_a_terminal_who_deletes_is_asked(cli: Cli, monkeypatch: pytest.MonkeyPatch) -> None:
    await cli.records("api", "put-site", "depot", "--id", "depot", "--nodes", _SITE)
    asked: list[str] = []

    def confirm(text: str, *, abort: bool) -> None:
        asked.append(text)
        raise typer.Abort

    monkeypatch.setattr("typer.confirm", confirm)
    monkeypatch.setattr("sys.stdin.isatty", lambda: True)
    assert (await cli("api", "delete-site", "depot"))[0] == 1
    assert (await cli("erase", "EV-1"))[0] == 1
    assert ["depot" in asked[0], "EV-1" in asked[1]] == [True, True]
    assert len(await cli.records("api", "list-sites")) == 1
    assert (await cli("api", "delete-site", "depot", "--yes"))[0] == 0


async def test_events_are_streamed_until_there_were_enough(cli: Cli) -> None:
    watching = asyncio.create_task(cli.records("api", "stream-events", "--kinds", "station_connected", "--count", "1"))
    await asyncio.sleep(0.3)
    async with cli.csms.connect() as station:
        await boot(station)
        (event,) = await watching
    assert (event["kind"], event["station_id"]) == ("station_connected", STATION)


@together(("text", "s"), [("90", 90), ("1.5", 1.5), ("30m", 1800), ("8h", 28_800), ("2d", 172_800), ("10s", 10)])
def test_durations(text: str, s: float) -> None:
    assert seconds(text) == s
    assert moment_of(text if text[-1] in "smhd" else f"{text}s") == pytest.approx(Clock().utc_ms() + 1000 * s, abs=5000)
    ago = moment_of(text if text[-1] in "smhd" else f"{text}s", past=True)
    assert ago == pytest.approx(Clock().utc_ms() - 1000 * s, abs=5000)


def test_times() -> None:
    assert moment_of("1893456000000") == moment_of("2030-01-01") == moment_of("2030-01-01T01:00+01:00") == 1893456000000
    assert moment_of("2030-01-01", ends=True) == 1893456000000 + 86_400_000
    for text in ("soon", "1.2.3s", "2030-13-01", "", "0000-01-01"):
        with pytest.raises(ConfigError):
            moment_of(text)
    with pytest.raises(ConfigError):
        moment_of("9999-12-31", ends=True)
    for text in ("8 h", "h", "-1s", "1e3"):
        with pytest.raises(ConfigError):
            seconds(text)


@given(st.text())
def test_any_text_is_a_time_and_a_duration_or_an_error(text: str) -> None:
    for read in (moment_of, seconds):
        with contextlib.suppress(ConfigError):
            assert isinstance(read(text), int | float)
