"""GPIO lines by libgpiod: what is asked of chips, in place of a kernel, and what is said of those that are missing."""

from collections.abc import Iterable
from pathlib import Path
from typing import Any

import msgspec
import pytest

from v2g.errors import TransportError
from v2g.io.hardware.gpio import GpiodLines, GpioLine

gpiod = pytest.importorskip("gpiod", reason="the extra gpio is not installed")
line = pytest.importorskip("gpiod.line")


def test_a_chip_that_is_not_there_is_named_with_its_lines(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    for name in ("none", "file"):
        wired = GpioLine(chip=str(tmp_path / name), line="CONTACTOR", active_low=True, bias="pull_up")
        with pytest.raises(TransportError, match=f"{name}, contactor: ") as caught:
            GpiodLines({"contactor": wired}, {})
        assert "gpioinfo" in caught.value.hint


class Lines:
    """Lines of one chip that somebody has taken."""

    def __init__(self, chip: str, config: dict[int | str, Any], consumer: str) -> None:
        self.chip, self.config, self.consumer = chip, config, consumer
        self.active: set[int | str] = set()
        self.set: list[tuple[int | str, Any]] = []
        self.fails: OSError | None = None
        self.released = 0

    def get_values(self, lines: Iterable[int | str]) -> list[Any]:
        self._fail()
        return [line.Value.ACTIVE if each in self.active else line.Value.INACTIVE for each in lines]

    def set_value(self, number: int | str, value: Any) -> None:
        self._fail()
        self.set.append((number, value))

    def release(self) -> None:
        self.released += 1

    def _fail(self) -> None:
        if self.fails is not None:
            raise self.fails


class Kernel:
    """Two chips, of which one may be missing."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch, missing: str = "") -> None:
        self.taken: dict[tuple[str, bool], Lines] = {}
        self._missing = missing
        monkeypatch.setattr(gpiod, "request_lines", self._take)

    def _take(self, chip: str, *, config: dict[int | str, Any], consumer: str) -> Lines:
        if chip == self._missing:
            raise FileNotFoundError("no such chip")
        (output,) = {each.direction is line.Direction.OUTPUT for each in config.values()}
        self.taken[chip, output] = Lines(chip, config, consumer)
        return self.taken[chip, output]


OUTPUTS = {"contactor": GpioLine(chip="a", line=3, active_low=True), "fan": GpioLine(chip="b", line="FAN")}
INPUTS = {
    "feedback": GpioLine(chip="a", line=5, bias="pull_up"),
    "estop": GpioLine(chip="a", line=6, bias="disabled"),
    "door": GpioLine(chip="b", line=7, active_low=True, bias="pull_down"),
}


def test_lines_are_taken_as_they_are_wired_and_outputs_are_inactive(monkeypatch: pytest.MonkeyPatch) -> None:
    kernel = Kernel(monkeypatch)
    GpiodLines(OUTPUTS, INPUTS)
    found = {
        (chip, number): (each.direction, each.active_low, each.bias, each.output_value)
        for (chip, _), lines in kernel.taken.items()
        for number, each in lines.config.items()
    }
    off, bias = line.Value.INACTIVE, line.Bias
    assert found == {
        ("a", 3): (line.Direction.OUTPUT, True, bias.AS_IS, off),
        ("b", "FAN"): (line.Direction.OUTPUT, False, bias.AS_IS, off),
        ("a", 5): (line.Direction.INPUT, False, bias.PULL_UP, off),
        ("a", 6): (line.Direction.INPUT, False, bias.DISABLED, off),
        ("b", 7): (line.Direction.INPUT, True, bias.PULL_DOWN, off),
    }
    assert {each.consumer for each in kernel.taken.values()} == {"v2g-secc"}


def test_inputs_of_all_chips_are_read_by_name(monkeypatch: pytest.MonkeyPatch) -> None:
    kernel = Kernel(monkeypatch)
    lines = GpiodLines(OUTPUTS, INPUTS)
    assert lines.read() == {"feedback": False, "estop": False, "door": False}
    kernel.taken["a", False].active = {6}
    kernel.taken["b", False].active = {7}
    assert lines.read() == {"feedback": False, "estop": True, "door": True}
    kernel.taken["b", False].fails = OSError("gone")
    with pytest.raises(TransportError, match="b: gone"):
        lines.read()


def test_an_output_is_set_at_its_own_chip(monkeypatch: pytest.MonkeyPatch) -> None:
    kernel = Kernel(monkeypatch)
    lines = GpiodLines(OUTPUTS, INPUTS)
    lines.write("contactor", active=True)
    lines.write("contactor", active=False)
    lines.write("fan", active=True)
    assert kernel.taken["a", True].set == [(3, line.Value.ACTIVE), (3, line.Value.INACTIVE)]
    assert kernel.taken["b", True].set == [("FAN", line.Value.ACTIVE)]
    kernel.taken["b", True].fails = OSError("gone")
    with pytest.raises(TransportError, match="b, fan: gone"):
        lines.write("fan", active=False)


def test_all_lines_are_released_once(monkeypatch: pytest.MonkeyPatch) -> None:
    kernel = Kernel(monkeypatch)
    lines = GpiodLines(OUTPUTS, INPUTS)
    for _ in range(2):
        lines.close()
        assert [each.released for each in kernel.taken.values()] == [1, 1, 1, 1]


def test_where_one_chip_is_missing_the_lines_of_others_are_released(monkeypatch: pytest.MonkeyPatch) -> None:
    kernel = Kernel(monkeypatch, missing="c")
    with pytest.raises(TransportError, match="c, lock: no such chip"):
        GpiodLines(OUTPUTS, {"lock": GpioLine(chip="c", line=1)})
    assert [each.released for each in kernel.taken.values()] == [1, 1]


def test_a_line_is_a_number_or_a_name_of_a_chip() -> None:
    assert msgspec.convert({"line": 0}, GpioLine) == GpioLine(
        chip="/dev/gpiochip0", line=0, active_low=False, bias="as_is"
    )
    for known in ({"line": 1023}, {"line": "x"}, {"line": "x" * 64}, {"line": 0, "chip": "x"}):
        assert msgspec.to_builtins(msgspec.convert(known, GpioLine)).items() >= known.items()
    for unknown in ({"line": -1}, {"line": 1024}, {"line": ""}, {"line": "x" * 65}, {"line": 0, "chip": ""}, {}):
        with pytest.raises(msgspec.ValidationError):
            msgspec.convert(unknown, GpioLine)
    for bias in ("as_is", "disabled", "pull_up", "pull_down"):
        assert msgspec.convert({"line": 0, "bias": bias}, GpioLine).bias == bias
    for other in ({"bias": "up"}, {"pull": "up"}):
        with pytest.raises(msgspec.ValidationError):
            msgspec.convert({"line": 0} | other, GpioLine)
    with pytest.raises(TypeError):
        GpioLine("chip", 0)  # type: ignore[misc]
    with pytest.raises(AttributeError):
        GpioLine(line=0).line = 1  # type: ignore[misc]
