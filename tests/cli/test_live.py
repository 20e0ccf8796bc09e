"""The live view of a run is made of its events alone, at the terminal and in a pipe."""

import io
import sys
from pathlib import Path
from typing import Any

import msgspec
import pytest
from rich.console import Console

from v2g.errors import CodecError, ConfigError
from v2g.io.runtime.clock import Clock
from v2g.io.runtime.events import EventLog
from v2g.observe import Observe
from v2g_cli.demo.processes import Event
from v2g_cli.live import Run, View, fold, panel, run_live, watch

SESSION: list[tuple[str, str, dict[str, Any]]] = [
    ("link", "plugged_in", {}),
    ("link", "matched", {"attenuation_db": 11.5, "nid": "81c8"}),
    ("sdp", "found", {"host": "::1", "port": 54327}),
    ("tls", "connected", {"peer": "DEV2GS1X", "version": "TLSv1.3", "group": "secp521r1", "cipher": "x"}),
    ("session", "established", {"session_id": "8d94a991e6b96e43", "evse_id": "DEV2GE00001", "evcc_id": "WMI"}),
    ("authorization", "granted", {"service": "PnC", "code": "OK"}),
    ("service", "selected", {"service": "DC_BPT", "control_mode": "Dynamic", "signed_discharge": True}),
    ("parameters", "exchanged", {
        "evse_charge_w": 150_000, "evse_discharge_w": 50_000, "ev_charge_w": 50_000, "soc": 55,
    }),
    ("schedule", "agreed", {"control_mode": "Dynamic", "tuple_id": None, "departure_s": 21_000}),
    ("offer", "received", {"currency": "EUR", "best_compensation": 420_000}),
    ("power", "started", {"soc": 55, "battery_mv": 365_500}),
    ("loop", "flow", {
        "voltage_mv": 380_000, "current_ma": -26_000, "power_w": -9_880, "soc": 61.5, "evse_charge_w": 40_000,
        "evse_discharge_w": 10_000, "charged_wh": 3_701, "discharged_wh": 522,
    }),
    ("loop", "warning", {"code": "WARNING_EVPowerProfileViolation"}),
]  # fmt: skip


def events(*more: tuple[str, str, dict[str, Any]], process: str = "evcc") -> list[Event]:
    reported = (*SESSION, *more)
    return [Event(100.0 + at, 0, process, stage, name, data) for at, (stage, name, data) in enumerate(reported)]


def folded(*more: tuple[str, str, dict[str, Any]]) -> Run:
    run = Run()
    for each in events(*more):
        run = fold(run, each)
    return run


def shown(*runs: Run) -> str:
    console = Console(file=io.StringIO(), width=120, force_terminal=True, color_system=None)
    console.print(panel(list(runs)))
    return console.file.getvalue()  # type: ignore[attr-defined, no-any-return]


def test_the_panel_shows_stages_battery_power_limits_meter_price_and_schedule() -> None:
    text = shown(folded())
    for words in (
        "vehicle DEV2GE00001", "8d94a991e6b96e43", "✓tls", "▶loop", "·stop", "61.5 %", "-9.88 kW", "380.0 V",
        "40.0 kW in, 10.0 kW out", "3.701 kWh in, 0.522 kWh out", "buys at 0.42 EUR/kWh", "DC_BPT Dynamic",
        "departure in 21000 s", "warning WARNING_EVPowerProfileViolation", "DEV2GS1X, TLSv1.3 secp521r1",
    ):  # fmt: skip
        assert words in text, words


@pytest.mark.parametrize(
    "event",
    [
        ("stop", "power_stopped", {"seconds": 0.2}),
        ("power", "stopped", {"soc": 61}),
        ("power", "emergency_off", {"reason": "emergency_stop"}),
        ("power", "hardware_fault", {"reason": "overcurrent"}),
        ("session", "failed", {"reason": "timeout"}),
    ],
)
def test_no_power_is_shown_once_the_contactor_opens(event: tuple[str, str, dict[str, Any]]) -> None:
    run = folded(event)
    assert (run.figures["power_w"], run.figures["current_ma"], run.figures["charged_wh"]) == (0, 0, 3_701)
    text = shown(run)
    assert "0.00 kW" in text
    assert "-9.88 kW" not in text


def test_older_editions_name_the_mode_of_energy_transfer() -> None:
    assert folded(("service", "selected", {"service_id": 1, "mode": "DC_extended"})).service == "DC_extended"


def test_the_end_is_reported_with_its_reason_and_the_next_arrival_begins_anew() -> None:
    over = folded(("session", "failed", {"reason": "secc_vanished"}))
    assert over.outcome == "secc_vanished"
    assert "ended: secc_vanished" in shown(over)
    again = fold(over, Event(200.0, 0, "evcc", "link", "plugged_in", {}))
    assert (again.outcome, again.figures, again.session) == ("", {}, "")


def test_an_idle_charger_shows_its_parts_and_goes_on_with_a_session() -> None:
    parts = {
        "board": "/dev/ttyACM0: acme", "pilot": "A: no vehicle", "modem": "raw eth1: ready",
        "meter": "modbus M1: 7 kWh",
        "csms": "not connected: certificate verify failed", "faults": "none", "power": "0 V",
    }  # fmt: skip
    run = fold(Run(), Event(1.0, 0, "secc", "hardware", "status", parts))
    text = shown(run)
    for words in ("charger", *(text for name, text in parts.items() if name != "power")):
        assert words in text, words
    over = fold(run, Event(2.0, 0, "secc", "session", "session_ended", {"reason": "vehicle"}))
    assert fold(over, Event(3.0, 0, "secc", "tls", "accepted", {})).parts == parts


def test_several_evses_have_a_panel_each() -> None:
    view = View(live=False)
    view.take(Event(0.5, 0, "secc", "session", "ready", {"sdp_port": 1, "tls_port": 2}))
    for evse in ("DEV2GE00001", "DEV2GE00002"):
        for stage, name, data in SESSION[:3]:
            view.take(Event(1.0, 0, "secc", stage, name, {"evse_id": evse, **data}))
    assert list(view.runs) == ["", "DEV2GE00001", "DEV2GE00002"]
    assert shown(*view.shown).count("charger") == 2


def test_a_charger_with_one_evse_has_one_panel(tmp_path: Path) -> None:
    view = View(live=False)
    view.take(Event(0.5, 0, "secc", "sdp", "listens", {"evse_id": "DEV2GE00001", "interface": "lo"}))
    view.take(Event(0.6, 0, "secc", "hardware", "status", {"pilot": "A: no vehicle"}))
    assert "A: no vehicle" in shown(*view.shown)
    view.take(Event(1.0, 0, "secc", "tls", "accepted", {"peer": "WMI"}))
    view.take(Event(2.0, 0, "secc", "session", "session_started", {"session_id": "ab", "evse_id": "DEV2GE00001"}))
    assert [each.evse for each in view.runs.values()] == ["DEV2GE00001"]


def test_in_a_pipe_a_file_of_events_is_printed_line_by_line(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path = tmp_path / "evcc.events.jsonl"
    path.write_bytes(b"".join(msgspec.json.encode(each) + b"\n" for each in events()) + b'{"t": 1')
    watch(path)
    lines = capsys.readouterr().out.splitlines()
    assert len(lines) == len(SESSION)
    assert "vehicle plugged in" in lines[0]
    for place in (tmp_path / "none.jsonl", tmp_path):
        with pytest.raises(ConfigError):
            watch(place)
    (tmp_path / "other.txt").write_text("hello\n")
    with pytest.raises(CodecError):
        watch(tmp_path / "other.txt")


@pytest.mark.parametrize("kept", [True, False])
def test_a_program_is_shown_while_it_runs_and_ends_with_its_code(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], *, kept: bool
) -> None:
    """What an earlier run has left in the file is not shown again."""
    path = tmp_path / "events.jsonl" if kept else None
    if path is not None:
        path.write_bytes(msgspec.json.encode(events()[0]) + b"\n")

    def main(config: Path, file: Path | None) -> int:
        log = EventLog("evcc", Clock(), file)
        log(Observe("link", "matched", {"attenuation_db": 12, "nid": "ab"}))
        log.close()
        return 3

    assert run_live(main, tmp_path / "evcc.toml", path) == 3
    (line,) = capsys.readouterr().out.splitlines()
    assert "powerline matched by SLAC, 12 dB" in line


def test_arbitrary_events_never_break_the_view() -> None:
    run = Run()
    for stage, name, data in [
        ("loop", "flow", {}), ("loop", "flow", {"power_w": "much", "soc": None}), ("offer", "offered", {"currency": 1}),
        ("schedule", "agreed", {}), ("session", "failed", {}), ("nowhere", "nothing", {"x": [1]}),
    ]:  # fmt: skip
        run = fold(run, Event(1.0, 0, "evcc", stage, name, data))
        shown(run)
    assert sys.stdout
