"""A station's memory that can die at any write, by kill -9 or by a power cut."""

from collections.abc import Callable, Iterable
from pathlib import Path

import msgspec

from v2g.ocpp.messages.transactions import TransactionEventRequest
from v2g_station.blocks.connection.outbox import QueuedMessage
from v2g_station.kernel.kernel import Keep
from v2g_station.store import StationStore


class Death(msgspec.Struct, frozen=True):
    """How a program ends: after so many writes (0: now), before or after the last of them, by a power cut or kill -9;
    and for how long it is away."""

    writes: int = 0
    written: bool = True
    power_cut: bool = False
    away_ms: int = 5000


class MortalMemory:
    """The charger's own file, and what of it is not yet on the disk.

    Once dead it takes nothing until the next program reads it; `died` is called then. `noted` is called for every
    transaction event that has come onto the disk.
    """

    def __init__(
        self, path: Path, *, died: Callable[[], None], noted: Callable[[TransactionEventRequest], None]
    ) -> None:
        self._path = path
        self._store = StationStore(path)
        self._died = died
        self._noted = noted
        self._floating: list[Keep] = []
        self._death: Death | None = None
        self.dead = False

    def keep(self, kept: Iterable[Keep]) -> None:
        """Carry out changes; those that need not be durable wait for one that has to be, as in a disk's cache."""
        if self.dead:
            return
        kept = list(kept)
        death = self._death
        if death is not None and death.writes <= 1:
            if death.written:
                self._write(kept)
            self.die(death)
            return
        if death is not None:
            self._death = msgspec.structs.replace(death, writes=death.writes - 1)
        self._write(kept)

    def _write(self, kept: list[Keep]) -> None:
        if not any(each.durable for each in kept):
            self._floating += kept
            return
        self._store.keep([*self._floating, *kept])
        self._floating.clear()
        for each in kept:
            if each.collection == "outbox" and each.body is not None:
                entry = msgspec.json.decode(each.body, type=QueuedMessage)
                if entry.action == "TransactionEvent" and entry.attempts == 0:
                    self._noted(msgspec.json.decode(entry.body, type=TransactionEventRequest))

    def die_at(self, death: Death) -> None:
        """Die at a write that is to come, or now."""
        if death.writes:
            self._death = death
        else:
            self.die(death)

    def die(self, death: Death) -> None:
        """Take nothing more; a power cut takes what was not on the disk."""
        if not death.power_cut and self._floating:
            self._store.keep(self._floating)
        self._floating.clear()
        self._death = None
        self.dead = True
        self._died()

    def flush(self) -> None:
        """Bring onto the disk what need not be there yet."""
        self._store.keep(self._floating)
        self._floating.clear()

    def saved(self) -> dict[str, dict[str, bytes]]:
        """Return what a program finds that starts now."""
        self._store.close()
        self._store = StationStore(self._path)
        self.dead = False
        return self._store.saved()

    def close(self) -> None:
        """Close the file."""
        self._store.close()
