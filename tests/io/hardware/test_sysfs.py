"""PWM outputs and ADC inputs by files as those of the kernel."""

import contextlib
import errno
import os
import re
from pathlib import Path
from types import SimpleNamespace

import pytest

from tests.io.hardware.linux_machine import Machine
from v2g.errors import TransportError
from v2g.io.hardware.linux_board import AdcInput, PwmOutput


def test_an_output_is_exported_and_driven(tmp_path: Path) -> None:
    machine = Machine(tmp_path)
    output = PwmOutput(tmp_path / "pwmchip0", 0, period_ns=1_000_000)
    assert machine.percent == 0
    output.set(5)
    files = {each.name: each.read_text().split()[0] for each in (tmp_path / "pwmchip0" / "pwm0").iterdir()}
    machine.stop()
    assert files == {"period": "1000000", "duty_cycle": "50000", "enable": "1", "polarity": "normal"}


class Written:
    """What the kernel refuses depends on the order."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder / "pwm0"
        self.folder.mkdir()
        for name in ("period", "duty_cycle", "enable", "polarity"):
            (self.folder / name).write_text("")


def test_an_inverted_output_is_asked_of_the_chip(tmp_path: Path) -> None:
    files = Written(tmp_path)
    PwmOutput(tmp_path, 0, period_ns=1_000, inverted=True)
    assert (files.folder / "polarity").read_text().startswith("inversed")
    (files.folder / "polarity").unlink()
    with pytest.raises(TransportError, match="cannot be inverted"):
        PwmOutput(tmp_path, 0, period_ns=1_000, inverted=True)


def test_an_output_that_runs_is_stopped_and_low_before_it_gets_its_period(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A duty cycle may never exceed the period, and the kernel inverts no output that runs."""
    Written(tmp_path)
    written: list[tuple[str, str]] = []
    open_, write, opened = os.open, os.write, dict[int, str]()

    def remember(path: Path, flags: int) -> int:
        descriptor = open_(path, flags)
        opened[descriptor] = path.name
        return descriptor

    def record(descriptor: int, data: bytes) -> int:
        written.append((opened[descriptor], data.decode()))
        return write(descriptor, data)

    monkeypatch.setattr(os, "open", remember)
    monkeypatch.setattr(os, "write", record)
    PwmOutput(tmp_path, 0, period_ns=1_000, inverted=True)
    low = ("duty_cycle", "0\n")
    assert written == [
        ("enable", "0\n"), low, ("period", "1000\n"), low, ("polarity", "inversed\n"), ("enable", "1\n")
    ]  # fmt: skip
    for descriptor in opened:
        with pytest.raises(OSError, match="Bad file descriptor"):
            os.fstat(descriptor)


@pytest.mark.parametrize(("appears_s", "waited_s"), [(0.5, 0.5), (9.0, 1.0)])
def test_an_exported_output_is_waited_for(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, appears_s: float, waited_s: float
) -> None:
    times = iter(range(1_000))
    now = 0.0

    def monotonic() -> float:
        assert next(times) < 900
        return now

    def sleep(seconds: float) -> None:
        nonlocal now
        now += seconds
        if now >= appears_s and not (tmp_path / "pwm0").exists():
            Written(tmp_path)

    (tmp_path / "export").write_text("")
    monkeypatch.setattr("v2g.io.hardware.linux_board.time", SimpleNamespace(monotonic=monotonic, sleep=sleep))
    with contextlib.nullcontext() if appears_s < 1 else pytest.raises(TransportError, match="period"):
        PwmOutput(tmp_path, 0, period_ns=1_000)
    assert now == pytest.approx(waited_s, abs=0.011)


def test_the_duty_cycle_is_read_back(tmp_path: Path) -> None:
    files = Written(tmp_path)
    output = PwmOutput(tmp_path, 0, period_ns=1_000)
    (files.folder / "duty_cycle").write_text("250\n")
    assert output.read() == 25.0
    for text in ("", "many\n"):
        (files.folder / "duty_cycle").write_text(text)
        with pytest.raises(TransportError, match="duty_cycle"):
            output.read()


def test_an_input_that_is_not_there_is_named_and_one_that_is_closed_reads_nothing(tmp_path: Path) -> None:
    with pytest.raises(TransportError, match="in_voltage0_raw: No such file") as missing:
        AdcInput(tmp_path, "voltage0")
    assert missing.value.hint
    (tmp_path / "in_voltage0_raw").write_text("1")
    adc = AdcInput(tmp_path, "voltage0")
    adc.close()
    with pytest.raises(TransportError, match="Bad file descriptor"):
        adc.read_mv()


def test_nothing_is_created_where_no_output_is(tmp_path: Path) -> None:
    with pytest.raises(TransportError, match="export: No such file"):
        PwmOutput(tmp_path, 0, period_ns=1_000)
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(
    ("number", "hint"), [(errno.EACCES, "udev rule"), (errno.EROFS, "ProtectKernelTunables=no"), (errno.EBUSY, "^$")]
)
def test_what_keeps_a_service_from_writing_has_a_hint(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, number: int, hint: str
) -> None:
    def refuse(*_: object) -> int:
        raise OSError(number, os.strerror(number))

    monkeypatch.setattr(os, "open", refuse)
    with pytest.raises(TransportError, match=f"export: {os.strerror(number)}") as refused:
        PwmOutput(tmp_path, 0, period_ns=1_000)
    assert re.search(hint, refused.value.hint)


@pytest.mark.parametrize(
    ("files", "mv"),
    [
        ({"in_voltage3_raw": "100\n"}, 100.0),
        ({"in_voltage3_raw": "100\n", "in_voltage_scale": "0.5\n"}, 50.0),
        ({"in_voltage3_raw": "-100\n", "in_voltage_scale": "9\n", "in_voltage3_scale": "0.5\n"}, -50.0),
        ({"in_voltage3_raw": "100\n", "in_voltage_offset": "-20\n", "in_voltage3_scale": "2\n"}, 160.0),
    ],
)
def test_the_voltage_is_raw_and_offset_times_scale(tmp_path: Path, files: dict[str, str], mv: float) -> None:
    for name, text in files.items():
        (tmp_path / name).write_text(text)
    adc = AdcInput(tmp_path, "voltage3")
    assert adc.read_mv() == mv
    (tmp_path / "in_voltage3_raw").write_text("7\n")
    assert adc.read_mv() != mv
    for text in ("", "many", "1x"):
        (tmp_path / "in_voltage3_raw").write_text(text)
        with pytest.raises(TransportError, match="in_voltage3_raw"):
            adc.read_mv()
    adc.close()


def test_constants_that_are_no_numbers_are_named(tmp_path: Path) -> None:
    (tmp_path / "in_voltage0_raw").write_text("1")
    (tmp_path / "in_voltage_scale").write_text("large")
    with pytest.raises(TransportError, match="in_voltage_scale"):
        AdcInput(tmp_path, "voltage0")
