"""GPIO lines by libgpiod: what it says of chips that are not there. No kernel of ours has simulated chips."""

from pathlib import Path

import pytest

from v2g.errors import TransportError
from v2g.io.hardware.gpio import GpiodLines, GpioLine


def test_a_chip_that_is_not_there_is_named_with_its_lines(tmp_path: Path) -> None:
    pytest.importorskip("gpiod", reason="the extra gpio is not installed")
    (tmp_path / "file").touch()
    for name in ("none", "file"):
        line = GpioLine(chip=str(tmp_path / name), line="CONTACTOR", active_low=True, bias="pull_up")
        with pytest.raises(TransportError, match=f"{name}, contactor: "):
            GpiodLines({"contactor": line}, {})
