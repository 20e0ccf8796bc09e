"""What several tests of card readers use."""

import asyncio
import os
from pathlib import Path

from tests.hardware.readers.pn532_sim import SimulatedPn532
from tests.io.conftest import PtyPair


class Cable:
    """A reader at the far end of a cable; `link` is the name of its port while it is plugged in."""

    def __init__(self, link: Path) -> None:
        self.link, self.core = link, SimulatedPn532()
        self._cable: PtyPair | None = None
        self.plug()

    def plug(self) -> None:
        self._cable = PtyPair()
        self._port = os.open(self._cable.devices[1], os.O_RDWR | os.O_NOCTTY | os.O_NONBLOCK)
        asyncio.get_running_loop().add_reader(self._port, self._answer)
        self.link.symlink_to(self._cable.devices[0])

    def unplug(self) -> None:
        assert self._cable is not None
        self.link.unlink()
        asyncio.get_running_loop().remove_reader(self._port)
        os.close(self._port)
        self._cable.close()
        self.core = SimulatedPn532()

    def _answer(self) -> None:
        os.write(self._port, self.core.receive(os.read(self._port, 512)))
