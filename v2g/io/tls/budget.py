"""How many TLS handshakes a server begins for peers that do not finish them. Pure.

A ClientHello costs its sender nothing, since it can be repeated, and the server a key and a signature. So beginning one
takes from a budget of the peer's address and, unless the address has shown a trusted certificate before, from one of
all strangers; a finished handshake gives back what it took.
"""

from collections import OrderedDict
from typing import Final

from v2g.rates import Buckets

ADDRESS_PER_S: Final = 8.0
ADDRESS_BURST: Final = 16.0
STRANGERS_PER_S: Final = 16.0
STRANGERS_BURST: Final = 32.0
"""Unfinished handshakes per second, after so many at once: of one address, and of all strangers."""

KNOWN: Final = 256
"""Limit of stored addresses that have shown a trusted certificate; the one not seen for longest is dropped."""


class HandshakeBudget:
    """What is left for whom. Addresses are without port, `now` is monotonic time in s."""

    def __init__(self) -> None:
        self._of_one = Buckets(per_s=ADDRESS_PER_S, burst=ADDRESS_BURST)
        self._of_strangers = Buckets(per_s=STRANGERS_PER_S, burst=STRANGERS_BURST)
        self._known: OrderedDict[str, None] = OrderedDict()

    def knows(self, address: str) -> bool:
        """Return whether an address has shown a trusted certificate."""
        return address in self._known

    def take(self, address: str, now: float) -> float:
        """Begin a handshake of an address; return 0, or the time to wait (s) if it may not begin yet."""
        wait_s = self._of_one.wait_s(address, now)
        if not wait_s and not self.knows(address):
            wait_s = self._of_strangers.take("", now)
        return wait_s or self._of_one.take(address, now)

    def finish(self, address: str, *, trusted: bool) -> None:
        """Give back what a finished handshake took; `trusted`: the peer has shown a certificate that we trust."""
        self._of_one.give(address)
        if not self.knows(address):
            self._of_strangers.give("")
        if trusted:
            self._known[address] = None
            self._known.move_to_end(address)
            if len(self._known) > KNOWN:
                self._known.popitem(last=False)
