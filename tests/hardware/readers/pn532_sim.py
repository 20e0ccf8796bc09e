"""A simulated card reader with a PN532, for tests: `card` is on its antenna. Pure."""

from v2g.hardware.readers.pn532 import ACK, FrameReader, frame


class SimulatedPn532:
    """Answers commands. `silent`: does nothing."""

    def __init__(self) -> None:
        self.card = b""
        self.silent = False
        self._frames = FrameReader()
        self._set_up = 0

    def receive(self, data: bytes) -> bytes:
        """Process received octets; return the answers."""
        answers = b""
        for payload in self._frames.receive(data):
            if payload[0] != 0xD4 or self.silent:
                continue
            command = payload[1]
            answer = bytes((0xD5, command + 1))
            match command:
                case 0x14:
                    self._set_up = 1
                case 0x32 if self._set_up == 1:
                    self._set_up = 2
                case 0x4A if self._set_up == 2 and self.card:
                    answer += b"\x01\x01\x00\x04\x08" + bytes((len(self.card),)) + self.card
                case 0x4A if self._set_up == 2:
                    answer += b"\x00"
                case _:
                    answer = b"\x7f"  # syntax error (6.2.1.5)
            answers += ACK + frame(answer)
        return answers
