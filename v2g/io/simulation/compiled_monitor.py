"""The charger's safety monitor of `board/monitor.c`, compiled to a shared library (`make board`), with the methods of
`v2g.safety.ChargerMonitor`. A simulated control board runs it as a real one would.
"""

import ctypes
import math
from ctypes import Structure, byref, c_bool, c_char_p, c_int, c_int32, c_int64, c_size_t, c_uint8, c_uint32
from pathlib import Path
from typing import Final, cast

from v2g.errors import ConfigError
from v2g.safety import NOTHING, UNBOUNDED, ChargerRating, Lower, Open, Output, Phase, Request, Verdict
from v2g.safety.charger import Discharge

_FOREVER: Final = 2**63 - 1
_PHASES: Final = (Phase.IDLE, Phase.VOLTAGE, Phase.POWER, Phase.REST)
_DISCHARGES: Final[tuple[Discharge, ...]] = ("none", "signed", "standard")
_SOURCES: Final = 16
_FAULTS: Final = 64
_TIMES: Final = ("follow", "excess", "open", "close", "grace", "stop", "voltage")


_MOST: Final = ("charge_w", "discharge_w", "charge_ma", "discharge_ma")


class _Output(Structure):
    _fields_ = [(each, c_int32) for each in Output.__struct_fields__]


class _Rating(Structure):
    _fields_ = [*((each, c_int32) for each in _MOST), *((each, c_int64) for each in _TIMES)]


class _Request(Structure):
    _fields_ = [
        ("has", c_uint32),
        ("phase", c_int),
        ("power", c_int64),
        ("closed", c_int64),
        ("bears", _Output),
        ("ready", c_bool),
        ("target_mv", c_int32),
        ("notice", c_int64),
    ]


class _Verdict(Structure):
    _fields_ = [("open", c_bool), ("reason", c_int), ("fault", c_uint8), ("output", _Output)]


class CompiledMonitor:
    """See ChargerMonitor. Times are rounded to 1 us; values beyond 32 bits are bounded."""

    def __init__(self, library: Path, rating: ChargerRating) -> None:
        """Load a library. Raises ConfigError."""
        try:
            self._library = ctypes.CDLL(str(library.resolve()))
            self._library.v2g_monitor_size.restype = c_size_t
            self._memory = ctypes.create_string_buffer(self._library.v2g_monitor_size())
        except (OSError, AttributeError) as error:
            raise ConfigError(f"{library} is no library of board/monitor.c: {error}", hint="make board") from None
        self._library.v2g_reason_word.restype = c_char_p
        for each in ("close", "next", "live"):
            getattr(self._library, f"v2g_monitor_{each}").restype = c_bool
        self._faults: list[str] = []
        self._sources: list[str] = []
        times = (getattr(rating, f"{each}_s") for each in _TIMES)
        most = (_int32(getattr(rating, each)) for each in _MOST)
        self._call("init", byref(_Rating(*most, *map(_us, times))))

    def begin(self, now: float) -> None:
        self._call("begin", _time(now))

    def forget_paused(self) -> None:
        self._call("forget_paused")

    def authorise(self, now: float, *, allowed: bool, paused: bool = False) -> None:
        self._call("authorise", c_bool(allowed), c_bool(paused), _time(now))

    def stop(self, now: float) -> None:
        self._call("stop", _time(now))

    def fault(self, word: str, now: float, *, active: bool) -> None:
        self._call("fault", c_uint8(_number(self._faults, word, _FAULTS)), c_bool(active), _time(now))

    def request(self, request: Request, now: float) -> None:
        optional = (request.phase, request.bears, request.ready, request.target_mv, request.notice_s)
        packed = _Request(
            sum(1 << bit for bit, each in enumerate(optional) if each is not None),
            _PHASES.index(request.phase or Phase.IDLE),
            _us(request.power_s),
            _us(request.closed_s),
            _output(request.bears or NOTHING),
            bool(request.ready),
            _int32(request.target_mv or 0),
            _us(request.notice_s or 0.0),
        )
        self._call("request", byref(packed), _time(now))

    def limit(
        self,
        source: str,
        now: float,
        *,
        charge_w: int = UNBOUNDED,
        discharge_w: int = UNBOUNDED,
        charge_ma: int = UNBOUNDED,
        discharge_ma: int = UNBOUNDED,
        from_s: float = 0.0,
        until_s: float = float("inf"),
    ) -> None:
        number = c_uint8(_number(self._sources, source, _SOURCES))
        most = _output(Output(charge_w, discharge_w, charge_ma, discharge_ma))
        self._call("limit", number, byref(most), _time(from_s), _time(until_s), _time(now))

    def discharge(self, rule: Discharge, now: float) -> None:
        self._call("discharge", c_int(_DISCHARGES.index(rule)), _time(now))

    def signed(self, power_w: int, until_s: float, now: float) -> None:
        self._call("signed", c_int32(_int32(power_w)), _time(until_s), _time(now))

    def signed_less(self, power_w: int, until_s: float, now: float) -> None:
        self._call("signed_less", c_int32(_int32(power_w)), _time(until_s), _time(now))

    def drive(self, output: Output, now: float) -> Output:
        passed = _output(output)
        self._call("drive", byref(passed), _time(now))
        return _said(passed)

    def close(self, now: float) -> bool:
        return bool(self._call("close", _time(now)))

    def open(self, now: float) -> None:
        self._call("open", _time(now))

    def feedback(self, now: float, *, closed: bool) -> None:
        self._call("feedback", c_bool(closed), _time(now))

    def measured(self, voltage_mv: int, current_ma: int, now: float) -> None:
        self._call("measured", c_int32(_int32(voltage_mv)), c_int32(_int32(current_ma)), _time(now))

    def drawn(self, power_w: int, now: float, line_ma: tuple[int, int, int] | None = None) -> None:
        lines = None if line_ma is None else (c_int32 * 3)(*map(_int32, line_ma))
        self._call("drawn", c_int32(_int32(power_w)), lines, _time(now))

    def tick(self, now: float) -> None:
        self._call("tick", _time(now))

    @property
    def live(self) -> bool:
        return bool(self._call("live"))

    def verdicts(self) -> list[Verdict]:
        verdicts: list[Verdict] = []
        each = _Verdict()
        while self._call("next", byref(each)):
            word = cast(bytes, self._library.v2g_reason_word(each.reason)).decode("ascii")
            reason = self._faults[each.fault] if word == "fault" else word
            verdicts.append(Open(reason) if each.open else Lower(reason, _said(each.output)))
        return verdicts

    def _call(self, name: str, *arguments: object) -> object:
        return getattr(self._library, f"v2g_monitor_{name}")(self._memory, *arguments)


def _us(seconds: float) -> int:
    return _FOREVER if math.isinf(seconds) else min(_FOREVER, round(seconds * 1_000_000))


def _time(seconds: float) -> c_int64:
    return c_int64(_us(seconds))


def _int32(value: int) -> int:
    return max(-(2**31) + 1, min(2**31 - 1, value))


def _output(output: Output) -> _Output:
    return _Output(*(_int32(getattr(output, each)) for each in Output.__struct_fields__))


def _said(output: _Output) -> Output:
    return Output(*(getattr(output, each) for each in Output.__struct_fields__))


def _number(known: list[str], word: str, most: int) -> int:
    """Return the number of a word. One too many has a number that the monitor refuses, which opens."""
    if word not in known:
        if len(known) == most:
            return most
        known.append(word)
    return known.index(word)
