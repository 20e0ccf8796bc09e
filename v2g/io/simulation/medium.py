"""The simulated medium between chargers and vehicles: data sent on a channel reaches all others on it.

Two kinds: separate processes are connected through a folder (v2g.io.simulation.medium_folder), stations of one process
through a Room. Not modelled: noise, collisions and propagation time (v2g.io.plc.opening adds
them); datagrams between live peers arrive complete and in order.
"""

import asyncio
from collections.abc import Callable
from enum import IntEnum
from typing import Annotated, Final

import msgspec
from msgspec import Meta

from v2g.errors import TransportError
from v2g.observe import Callbacks

MAX_PAYLOAD: Final = 16 * 1024
"""Bytes of one datagram; an Ethernet frame has 1518."""


class MediumChannel(IntEnum):
    """Channel of a datagram: its first byte."""

    PLC = 1
    CP = 2
    DC = 3
    AC = 4
    COIL = 5
    CONTACT = 6


OnDatagram = Callable[[str, bytes], None]
"""Called with the sender's name and the payload."""


Decibel = Annotated[int, Meta(ge=0, le=127)]


class Pair(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """Two stations, by their names on the medium, and the attenuation between them, dB."""

    stations: tuple[str, str]
    db: Decibel


class Neighbourhood(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """Powerline attenuation between the stations of a medium, `stations.toml` in the medium's folder.

    `other_db` applies to pairs that are not listed; 0 is a common cable. From `inaudible_db` on nothing is received.
    Chargers measure these dB in addition to their modem's `attenuation`.
    """

    pair: tuple[Pair, ...] = ()
    other_db: Decibel = 0
    inaudible_db: Decibel = 100

    def between(self, one: str, other: str) -> int:
        """Return the dB between two stations."""
        return next((pair.db for pair in self.pair if set(pair.stations) == {one, other}), self.other_db)


class Medium:
    """One attachment, called `name`."""

    def __init__(self, name: str, neighbourhood: Neighbourhood) -> None:
        self.name = name
        self._neighbourhood = neighbourhood
        self._subscribers: dict[MediumChannel, list[OnDatagram]] = {channel: [] for channel in MediumChannel}
        self.on_peer: Final = Callbacks[str, bool]()
        """Called when a peer joins or leaves. It is not called for those already in `peers`."""

    @property
    def peers(self) -> frozenset[str]:
        """Names of the others."""
        raise NotImplementedError

    def subscribe(self, channel: MediumChannel, callback: OnDatagram) -> None:
        """Call `callback` for each datagram of `channel` from others."""
        self._subscribers[channel].append(callback)

    def attenuation_db(self, peer: str) -> int | None:
        """Return the attenuation of powerline signals from `peer`, dB, or None when they are not received."""
        db = self._neighbourhood.between(self.name, peer)
        return db if db < self._neighbourhood.inaudible_db else None

    def send(self, channel: MediumChannel, payload: bytes, *, to: str | None = None) -> None:
        """Send `payload` (at most 16 KiB) to all others, or to the one named `to`.

        Data that a peer does not read in time is dropped, as on a congested line. Raises TransportError when closed or
        when the payload is too long.
        """
        raise NotImplementedError

    def close(self) -> None:
        """Leave and notify the others. Idempotent."""
        raise NotImplementedError

    def _deliver(self, peer: str, channel: MediumChannel, payload: bytes) -> None:
        for callback in self._subscribers[channel]:
            callback(peer, payload)

    def _notify(self, peer: str, *, present: bool) -> None:
        self.on_peer.tell(peer, present)


class Room:
    """Connects stations of one process; data arrives in the next iteration of the event loop."""

    def __init__(self, neighbourhood: Neighbourhood | None = None) -> None:
        self.neighbourhood = neighbourhood or Neighbourhood()
        self.stations: dict[str, RoomMedium] = {}

    def attach(self, name: str) -> Medium:
        """Join as `name`. Raises TransportError when the name is in use."""
        if name in self.stations:
            raise TransportError(f"another station is called {name!r}", hint="use another name")
        station = self.stations[name] = RoomMedium(self, name)
        for other in self.stations.values():
            if other is not station:
                other.notify(name, present=True)
        return station


class RoomMedium(Medium):
    """One attachment to a Room."""

    def __init__(self, room: Room, name: str) -> None:
        super().__init__(name, room.neighbourhood)
        self._room = room
        self._loop = asyncio.get_running_loop()

    @property
    def peers(self) -> frozenset[str]:
        return frozenset(self._room.stations) - {self.name}

    @property
    def _attached(self) -> bool:
        return self._room.stations.get(self.name) is self

    def send(self, channel: MediumChannel, payload: bytes, *, to: str | None = None) -> None:
        if not self._attached:
            raise TransportError(f"{self.name} has left the room")
        if len(payload) > MAX_PAYLOAD:
            raise TransportError(f"{len(payload)} bytes do not fit a datagram of {MAX_PAYLOAD}")
        for name, station in self._room.stations.items():
            if station is not self and to in (None, name):
                self._loop.call_soon(station.take, self.name, channel, payload)

    def close(self) -> None:
        if self._attached:
            del self._room.stations[self.name]
            for other in self._room.stations.values():
                other.notify(self.name, present=False)

    def take(self, peer: str, channel: MediumChannel, payload: bytes) -> None:
        """Deliver a datagram of `peer`; one after either end has left is dropped."""
        if self._attached and peer in self._room.stations:
            self._deliver(peer, channel, payload)

    def notify(self, peer: str, *, present: bool) -> None:
        """Report, in the loop's next iteration, that a peer joined or left; not after leaving."""
        self._loop.call_soon(lambda: self._notify(peer, present=present) if self._attached else None)
