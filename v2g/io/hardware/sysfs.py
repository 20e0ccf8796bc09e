"""PWM outputs and ADC inputs of Linux, by files in sysfs.

Sources: Documentation/driver-api/pwm.rst and Documentation/ABI/testing/sysfs-bus-iio of the Linux kernel.
"""

import contextlib
import errno
import os
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Final

from v2g.errors import TransportError

EXPORT_S: Final = 1.0
"""Time for an exported PWM to appear, and for udev to set its permissions."""


_HINTS: Final[Mapping[int, str]] = {
    errno.EACCES: "a udev rule has to give the service's user write access",
    errno.EROFS: "`systemctl edit v2g-secc`: ProtectKernelTunables=no",
}


class PwmOutput:
    """One output of a PWM chip, such as /sys/class/pwm/pwmchip0. It keeps running when the process ends."""

    def __init__(self, chip: Path, channel: int, *, period_ns: int, inverted: bool = False) -> None:
        """Take the output, low. Raises TransportError."""
        self._folder, self._period_ns = chip / f"pwm{channel}", period_ns
        if not self._folder.exists():
            _write(chip / "export", channel)
            end = time.monotonic() + EXPORT_S
            while not os.access(self._folder / "enable", os.W_OK) and time.monotonic() < end:
                time.sleep(0.005)
        with contextlib.suppress(TransportError):  # the kernel refuses 0 for what has no period yet
            _write(self._folder / "enable", 0)
        # a duty cycle may never exceed the period, and an output that runs cannot be inverted
        with contextlib.suppress(TransportError):
            _write(self._folder / "duty_cycle", 0)
        _write(self._folder / "period", period_ns)
        _write(self._folder / "duty_cycle", 0)
        if (self._folder / "polarity").exists():  # chips that cannot invert have none
            _write(self._folder / "polarity", "inversed" if inverted else "normal")
        elif inverted:
            raise TransportError(f"{self._folder} cannot be inverted", hint="invert the pilot's driver instead")
        _write(self._folder / "enable", 1)

    def set(self, percent: float) -> None:
        """Be high for `percent` (0..100) of each period. Raises TransportError."""
        _write(self._folder / "duty_cycle", round(self._period_ns * percent / 100))

    def read(self) -> float:
        """Return for how many percent of each period it is high, as the kernel has it. Raises TransportError."""
        path = self._folder / "duty_cycle"
        try:
            return 100 * int(path.read_text().split()[0]) / self._period_ns
        except (OSError, ValueError, IndexError) as error:
            raise TransportError(f"{path}: {error}") from None


class AdcInput:
    """One voltage of an IIO device, such as `voltage0` of /sys/bus/iio/devices/iio:device0, read one by one."""

    def __init__(self, device: Path, channel: str) -> None:
        """Open the input. Raises TransportError."""
        self._path = device / f"in_{channel}_raw"
        self._scale = _constant(device, channel, "scale", 1.0)
        self._offset = _constant(device, channel, "offset", 0.0)
        try:
            self._fd = os.open(self._path, os.O_RDONLY | os.O_CLOEXEC)
        except OSError as error:
            raise TransportError(f"{self._path}: {error.strerror}", hint="see `ls` of its folder") from None

    def read_mv(self) -> float:
        """Return the voltage at the ADC, mV. It may block. Raises TransportError."""
        try:
            return (int(os.pread(self._fd, 32, 0)) + self._offset) * self._scale
        except (OSError, ValueError) as error:
            raise TransportError(f"{self._path}: {error}") from None

    def close(self) -> None:
        """Close the input."""
        os.close(self._fd)


def _constant(device: Path, channel: str, name: str, otherwise: float) -> float:
    """Return a constant of a channel, or that of all channels of its kind."""
    kind = channel.rstrip("0123456789")
    for path in (device / f"in_{channel}_{name}", device / f"in_{kind}_{name}"):
        try:
            return float(path.read_text())
        except FileNotFoundError:
            continue
        except (OSError, ValueError) as error:
            raise TransportError(f"{path}: {error}") from None
    return otherwise


def _write(path: Path, value: int | str) -> None:
    try:
        descriptor = os.open(path, os.O_WRONLY | os.O_CLOEXEC)  # nothing may be created in sysfs
        try:
            os.write(descriptor, f"{value}\n".encode())
        finally:
            os.close(descriptor)
    except OSError as error:
        raise TransportError(f"{path}: {error.strerror}", hint=_HINTS.get(error.errno or 0, "")) from None
