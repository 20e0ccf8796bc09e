"""A card reader with NXP's PN532 on a serial line (HSU): frames, and the search for cards of ISO 14443 type A. Pure.

Source: NXP UM0701-02, PN532 User Manual, 6.2.1 (frames), 7.2.10 (SAMConfiguration), 7.3.1 (RFConfiguration), 7.3.5
(InListPassiveTarget).
"""

from collections.abc import Iterator
from typing import Final

ACK: Final = b"\x00\x00\xff\x00\xff\x00"
_START: Final = b"\x00\xff"

_TO_READER, _FROM_READER = 0xD4, 0xD5

WAKE: Final = b"\x55\x55" + bytes(14)
"""Before the first command: a dominant level wakes the reader, and zeros give it time."""
SETUP: Final = (
    b"\xd4\x14\x01\x14\x01",  # SAMConfiguration: normal mode, no security module
    b"\xd4\x32\x05\x00\x00\x02",  # RFConfiguration: search for a card three times, and then answer that there is none
)
SEARCH: Final = b"\xd4\x4a\x01\x00"
"""InListPassiveTarget: one card, 106 kbit/s, ISO 14443 type A."""

UID_SIZES: Final = (4, 7, 10)
"""Octets of a card's identifier (ISO/IEC 14443-3)."""

POLL_S: Final = 0.2
"""Interval of searches."""
REPLY_S: Final = 1.0
"""Time for an answer; then the reader is set up again."""


def frame(payload: bytes) -> bytes:
    """Return a normal frame; `payload` has 1 to 255 octets, the first one says who sends it."""
    size = len(payload)
    return b"\x00" + _START + bytes((size, -size & 0xFF)) + payload + bytes((-sum(payload) & 0xFF, 0))


class FrameReader:
    """Finds whole frames in a stream of octets; drops acknowledgements, extended frames and everything else."""

    def __init__(self) -> None:
        self._data = b""

    def receive(self, data: bytes) -> Iterator[bytes]:
        """Process received octets; yield the payload of each frame with right checksums."""
        self._data += data
        while (begin := self._data.find(_START)) >= 0 and len(self._data) >= begin + 4:
            size, check = self._data[begin + 2], self._data[begin + 3]
            end = begin + 5 + size
            if size == 0 or (size + check) & 0xFF:
                self._data = self._data[begin + 1 :]
                continue
            if len(self._data) < end:
                return
            payload, total = self._data[begin + 4 : end - 1], sum(self._data[begin + 4 : end])
            fits = total & 0xFF == 0
            self._data = self._data[end if fits else begin + 1 :]
            if fits:
                yield payload
        if begin < 0:
            self._data = self._data[-1:]


class Pn532:
    """Searches for cards. Call `tick` at `deadline()`, and send `output()`.

    A card is reported once; again when it was away for `away_s`.
    """

    def __init__(self, now: float, *, away_s: float = 1.0) -> None:
        self._away_s = away_s
        self._frames = FrameReader()
        self._present: dict[str, float] = {}
        self._step, self._due = 0, now
        self._asked = self._out = b""
        self._restart(now)

    @property
    def ready(self) -> bool:
        """Whether the reader has answered its setup."""
        return self._step >= len(SETUP)

    def deadline(self) -> float:
        """Return when `tick` has to be called."""
        return self._due

    def output(self) -> bytes:
        """Return the octets to send, and clear them."""
        data, self._out = self._out, b""
        return data

    def tick(self, now: float) -> None:
        """Search for the next card, or set up a reader that does not answer."""
        if now < self._due:
            return
        if self._asked:
            self._restart(now)
        else:
            self._ask(now)

    def receive(self, data: bytes, now: float) -> list[str]:
        """Process received octets; return the UIDs of new cards, in hexadecimal digits."""
        found = []
        for payload in self._frames.receive(data):
            if self._asked and payload[:2] == bytes((_FROM_READER, self._asked[1] + 1)):
                if self.ready:
                    found += self._cards(payload[2:], now)
                else:
                    self._step += 1
                self._asked, self._due = b"", now + POLL_S if self.ready else now
        return found

    # -- inside

    def _restart(self, now: float) -> None:
        self._step, self._asked, self._due = 0, b"", now
        self._out = WAKE
        self._ask(now)

    def _ask(self, now: float) -> None:
        self._asked = SEARCH if self.ready else SETUP[self._step]
        self._out += frame(self._asked)
        self._due = now + REPLY_S

    def _cards(self, answer: bytes, now: float) -> list[str]:
        """Return the new card of an answer: number of cards, and of the first number, SENS_RES, SEL_RES and its UID."""
        self._present = {uid: seen for uid, seen in self._present.items() if now - seen < self._away_s}
        if len(answer) < 6 or answer[0] == 0:
            return []
        size = answer[5]
        if size not in UID_SIZES or len(answer) < 6 + size:
            return []
        uid = answer[6 : 6 + size].hex().upper()
        new = uid not in self._present
        self._present[uid] = now
        return [uid] if new else []
