"""Judges the timeouts of a device over a whole run, by the times of its frames. Pure.

What a timeout is, it has been told on the wire: by the answer to its boot, or by a variable that was read or written.
"""

from collections.abc import Iterator, Mapping
from typing import Any, Final

import msgspec

_SPARE_S: Final = 10.0
"""How late a device may be beside a tenth of the timeout, s: the network, and its own work."""

_CABLE: Final = frozenset({"EVConnected", "Charging", "SuspendedEV", "SuspendedEVSE"})
"""Charging states of a transaction whose cable is plugged in."""

CONNECTION: Final = "evconnectiontimeout"
HEARTBEAT: Final = "heartbeatinterval"


class _Wait(msgspec.Struct, frozen=True):
    """A driver who has not plugged in yet: since when, and until when he may take (s of the trace)."""

    connection: int
    began_s: float
    until_s: float


class Timeouts:
    """What a device waits for. Each method yields what is wrong, the time is that of the frame, in s."""

    def __init__(self) -> None:
        self._settings: dict[str, str] = {}
        self._heard: dict[int, float] = {}
        """When the device has sent its latest frame, by connection."""
        self._silenced: dict[int, tuple[float, float]] = {}
        """When its boot was not accepted, and for how long it must not boot again, by connection."""
        self._accepted: set[int] = set()
        self._cables: dict[tuple[str, int], bool] = {}
        """Whether a cable is plugged in, by station and EVSE."""
        self._waits: dict[str, _Wait] = {}
        """By transaction."""

    @property
    def applied(self) -> bool:
        """Whether there has been anything to wait for."""
        return bool(self._heard)

    def learn(self, variable: str, value: object) -> None:
        """Take a value of a variable that the station has or has accepted; names are those of either version."""
        name = {"connectiontimeout": CONNECTION}.get(variable.lower(), variable.lower())
        if name in (CONNECTION, HEARTBEAT):
            self._settings[name] = str(value)

    def _seconds(self, name: str) -> float:
        """Return a timeout in s, 0 for one that is unknown or off."""
        value = self._settings.get(name, "")
        return float(value) if value.isascii() and value.isdecimal() and len(value) < 8 else 0.0

    def pass_time(self, connection: int, at_s: float, *, received: bool) -> Iterator[str]:
        """A frame has been sent, or received."""
        before, interval = self._heard.get(connection), self._seconds(HEARTBEAT)
        if before is not None and connection in self._accepted and 0 < _late(interval) < at_s - before:
            yield f"sends nothing for {at_s - before:.0f} s, though its heartbeats are due every {interval:.0f} s"
            self._heard[connection] = at_s  # once
        if received:
            self._heard[connection] = at_s
        for transaction, wait in list(self._waits.items()):
            if wait.connection != connection:
                del self._waits[transaction]  # what it did while it was away may still come
            elif at_s > wait.until_s:
                del self._waits[transaction]
                yield (
                    f"transaction {transaction} waits for a cable for {at_s - wait.began_s:.0f} s, though its "
                    f"EVConnectionTimeOut is {self._settings[CONNECTION]} s"
                )

    def lose(self, connection: int) -> None:
        """The connection has ended."""
        for each in (self._heard, self._silenced):
            each.pop(connection, None)
        self._accepted.discard(connection)

    def boot(self, connection: int, at_s: float) -> Iterator[str]:
        """The station sends BootNotification."""
        began_s, interval = self._silenced.pop(connection, (at_s, 0.0))
        if at_s - began_s < interval - 1:
            yield f"boots again after {at_s - began_s:.0f} s, though it was told to wait for {interval:.0f} s"

    def booted(self, connection: int, at_s: float, answer: Mapping[str, Any]) -> None:
        """BootNotification is answered."""
        interval = answer.get("interval")
        if not isinstance(interval, int):
            return
        if answer.get("status") == "Accepted":
            self._accepted.add(connection)
            self.learn(HEARTBEAT, interval)
        else:
            self._silenced[connection] = at_s, float(interval)

    def triggered(self, connection: int) -> None:
        """The station is asked for a message, perhaps its boot."""
        self._silenced.pop(connection, None)

    def cable(self, station: str, evse: int, status: str) -> None:
        """A connector has this status."""
        self._cables[station, evse] = status not in ("Available", "Reserved", "Unavailable", "Faulted")

    def event(self, station: str, transaction: str, event: Mapping[str, Any], connection: int, at_s: float) -> None:
        """The station sends TransactionEvent."""
        info, evse = event.get("transactionInfo"), event.get("evse")
        state = info.get("chargingState") if isinstance(info, dict) else None
        place = station, evse["id"] if isinstance(evse, dict) and isinstance(evse.get("id"), int) else 0
        trigger, timeout = event.get("triggerReason"), self._seconds(CONNECTION)
        if event.get("eventType") == "Started" and trigger in ("Authorized", "RemoteStart") and state not in _CABLE:
            if timeout and self._cables.get(place) is False:
                self._waits[transaction] = _Wait(connection, at_s, at_s + _late(timeout))
        elif state in _CABLE or trigger in ("CablePluggedIn", "EVConnectTimeout") or event.get("eventType") == "Ended":
            self._waits.pop(transaction, None)


def _late(timeout_s: float) -> float:
    """Return when a timeout has been missed for certain, s; 0 for none."""
    return timeout_s * 1.1 + _SPARE_S if timeout_s else 0.0
