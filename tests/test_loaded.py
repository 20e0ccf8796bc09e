"""Chargers and vehicles that start pay for what they need, not for what only some configurations or moments need."""

import subprocess
import sys
from pathlib import Path

from tests.loading import loaded

LATER = (
    "websockets",  # with [station]
    "OpenSSL",  # with the first connection
    "http.client",  # with the first request
    "http.server",  # for firmware that is published
    "tarfile",  # for logs that are uploaded
    "zoneinfo",  # with a time zone
    "difflib",  # for errors
    "aiohttp",
    "pycparser",  # OpenSSL's interface is compiled
    "secc.energy_manager.managers",  # with [[station.energy_managers]]
    "v2g_station.device.payment_terminal",  # with [station.terminal]
    "v2g_station.device.terminal_translation",
    "v2g.hardware.zvt.commands",
    "can",  # with [telemetry]
    "cantools",
    "paho",  # with [telemetry.mqtt]
    "v2g.iso15118.d20.messages.ac_der_iec",  # with the first session of AC DER
    "v2g.iso15118.d20.messages.ac_der_sae",
    "v2g.iso15118.d2.messages",
    "v2g.iso15118.din.messages",
    "asn1tools",
)

OF_A_COMMAND = (
    "asyncio", "cryptography", "rich", "pydantic", "pki_tools", "v2g_station", "v2g_testkit", "secc", "csms",
)  # fmt: skip


def test_charger_and_vehicle_load_what_they_do_not_need_at_their_start_later_or_never() -> None:
    assert loaded("secc.app, evcc.app", LATER) == []


def test_no_program_looks_for_garbage_while_it_loads() -> None:
    code = """
import gc, importlib
for program in ("secc", "evcc", "csms", "v2g_gateway"):
    gc.enable()
    importlib.import_module(f"{program}.__main__")
    assert not gc.isenabled(), program
"""
    subprocess.run([sys.executable, "-c", code], check=True)


def test_the_command_line_loads_what_a_command_needs_when_it_is_called() -> None:
    assert loaded("v2g_cli.main", OF_A_COMMAND) == []
    assert loaded("v2g_cli.main, v2g_cli.csms.command", ("cryptography", "rich", "sqlalchemy")) == []


def test_a_program_goes_on_without_the_command_line_and_never_from_the_current_folder(tmp_path: Path) -> None:
    """Only secc.app logs, before it says that there is no such file; typer's errors begin with `v2g:`."""
    (tmp_path / "secc").mkdir()
    (tmp_path / "secc" / "__main__.py").write_text("print('not ours')")
    command = [sys.executable, "-P", "-c", "from v2g_cli.main import main; main()"]
    done = subprocess.run([*command, "secc", "--config", "none.toml"], cwd=tmp_path, capture_output=True, text=True)
    assert (done.returncode, done.stdout) == (2, "")
    assert "ERROR v2g: none.toml: No such file" in done.stderr
    assert "Traceback" not in done.stderr
