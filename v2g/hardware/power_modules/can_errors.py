"""Faults of a CAN bus, from the error frames of Linux (linux/can/error.h): what happened, why, and what to do (R69)."""

from typing import Final, Literal

import msgspec

FaultName = Literal[
    "bus_off",
    "bit_rate_mismatch",
    "error_passive",
    "no_acknowledgement",
    "frames_lost",
    "transceiver",
    "restarted",
    "interface",
]

AGAIN_S: Final = 60.0
"""A fault that lasts is reported again after this time."""

MISMATCH_ERRORS: Final = 8
"""Errors in the format of frames, without a single valid frame in between, from which the bit rate counts as wrong."""

WIRING_HINT: Final = (
    "compare the bit rates of all nodes, then lines, plugs and both 120 ohm terminations (60 ohm together); "
    "ip link set {channel} down; ip link set {channel} up type can bitrate 500000 restart-ms 100"
)

SLOW_HINT: Final = "reduce the load of this computer, or filter identifiers in the controller"

# Classes of error frames, in their id, and details in their data.
_TX_TIMEOUT, _CONTROLLER, _PROTOCOL, _TRANSCEIVER = 0x001, 0x004, 0x008, 0x010
_NO_ACK, _BUS_OFF, _RESTARTED, _COUNTERS = 0x020, 0x040, 0x100, 0x200
_OVERFLOW, _PASSIVE = 0x01, 0x30  # data[1]
_FORMAT = 0x01 | 0x02 | 0x04 | 0x08 | 0x10  # data[2]: bit, form, stuff, dominant and recessive bit


class CanFault(msgspec.Struct, frozen=True):
    """A fault of a bus, its likely cause, and the remedy."""

    name: FaultName
    cause: str
    hint: str


_FAULTS: Final[dict[FaultName, tuple[str, str]]] = {
    "bus_off": (
        "more than 255 errors while sending: another bit rate, a short circuit, or a broken or unterminated line",
        WIRING_HINT,
    ),
    "bit_rate_mismatch": (
        "frames arrive, but none is valid: this node has another bit rate than the others, or the lines are swapped",
        WIRING_HINT,
    ),
    "error_passive": (
        "more than 127 errors: the line is disturbed, or a node has another bit rate",
        "check terminations, earth and plugs; `ip -details -statistics link show {channel}` counts the errors",
    ),
    "no_acknowledgement": (
        "no other node acknowledges what this one sends: it is alone, or the others have another bit rate",
        "is the other side powered and connected, with the same bit rate?",
    ),
    "frames_lost": ("the controller's buffer overflowed: frames arrived faster than they were read", SLOW_HINT),
    "transceiver": (
        "the transceiver reports a line without connection, or short-circuited",
        "check CAN_H and CAN_L for interruption and short circuit",
    ),
    "interface": ("bit rate or state of the interface is not as expected", "ip -details link show {channel}"),
    "restarted": ("the controller has restarted after bus-off", ""),
}


def fault(name: FaultName, channel: str = "can0") -> CanFault:
    """Return a fault with its cause and remedy for an interface."""
    cause, hint = _FAULTS[name]
    return CanFault(name, cause, hint.format(channel=channel))


class BusHealth:
    """Follows valid frames and error frames of one bus."""

    def __init__(self, channel: str = "can0") -> None:
        self._channel = channel
        self._bad = 0
        self._reported: dict[FaultName, float] = {}
        self.errors = 0
        """Error frames since the start."""
        self.counters: tuple[int, int] | None = None
        """Error counters of the controller for sending and receiving, as last reported."""

    def received(self) -> None:
        """A valid frame was received."""
        self._bad = 0

    def error(self, classes: int, data: bytes, now: float) -> list[CanFault]:
        """Take an error frame: its id without flags, its data, and the time (s); return faults that are due."""
        data = data.ljust(8, b"\0")
        self.errors += 1
        if classes & _COUNTERS:
            self.counters = data[6], data[7]
        if classes & _PROTOCOL and data[2] & _FORMAT:
            self._bad += 1
        found: list[FaultName] = []
        if classes & _RESTARTED:
            found.append("restarted")
            self._reported.clear()
        if self._bad >= MISMATCH_ERRORS:
            found.append("bit_rate_mismatch")
        if classes & _BUS_OFF:
            found.append("bus_off")
        if classes & _CONTROLLER:
            if data[1] & _OVERFLOW:
                found.append("frames_lost")
            if data[1] & _PASSIVE:
                found.append("error_passive")
        if classes & (_NO_ACK | _TX_TIMEOUT):
            found.append("no_acknowledgement")
        if classes & _TRANSCEIVER and data[4]:
            found.append("transceiver")
        return [fault(name, self._channel) for name in found if self._due(name, now)]

    def _due(self, name: FaultName, now: float) -> bool:
        due = now - self._reported.get(name, -AGAIN_S) >= AGAIN_S
        if due:
            self._reported[name] = now
        return due


def least_bits(size: int, *, extended: bool = False) -> int:
    """Return the bits of a classic data frame with `size` octets on the bus, without stuff bits (ISO 11898-1)."""
    return 47 + 8 * size + (20 if extended else 0)
