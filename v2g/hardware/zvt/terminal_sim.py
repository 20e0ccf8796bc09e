"""A simulated payment terminal with ZVT, and its provider: for tests, and for chargers without one. Pure.

`present` presents a card; `payments` shows what was reserved, charged and released.
"""

from collections import deque
from typing import Final, Literal

import msgspec

from v2g.hardware.zvt import commands as zvt
from v2g.hardware.zvt.commands import ZvtCommand

TERMINAL_ID: Final = 29_001_234
NO_CARD: Final = 0x6C
"""Result code: aborted by time-out or key."""
DECLINED: Final = 0x05
"""Result code of the provider: do not honour."""
OFFLINE: Final = 0x9B
"""Result code: communication fault."""
UNKNOWN: Final = 0xB8
"""Result code: no such reservation."""


EXPIRY: Final = bytes.fromhex("3012")
"""Year and month until which cards are valid, BCD."""


class Card(msgspec.Struct, frozen=True):
    """A payment card; terminals show the end of its number."""

    last4: str = "1111"
    name: str = "VISA"
    good: bool = True


class SimulatedPayment(msgspec.Struct, kw_only=True):
    """A payment at the provider, in the currency's smallest unit."""

    reserved: int
    state: Literal["reserved", "taken", "released"] = "reserved"
    taken: int = 0


class SimulatedZvtTerminal:
    """One terminal. `output` is the data to send; it waits for an acknowledgement after each message."""

    def __init__(self, *, password: str = "000000", reverses_booked: bool = False) -> None:  # noqa: S107
        self._password, self._reverses_booked = password, reverses_booked
        self._buffer = bytearray()
        self._outgoing: deque[ZvtCommand] = deque()
        self._sent = False
        """Whether an acknowledgement is awaited."""
        self.asked: ZvtCommand | None = None
        """A request that waits for a card, or for a person at the terminal."""
        self.offline = False
        """Whether its provider cannot be reached."""
        self._output: list[bytes] = []
        self.registered = False
        self.payments: dict[str, SimulatedPayment] = {}
        """By receipt number."""
        self.waits_for_card = False

    def receive(self, data: bytes) -> None:
        """Process bytes. Raises FrameError for invalid ZVT."""
        self._buffer += data
        for command in zvt.cut(self._buffer):
            self._received(command)

    def output(self) -> bytes:
        """Return the data to send."""
        data = b"".join(self._output)
        self._output.clear()
        return data

    def closed(self) -> None:
        """The till disconnected: operations continue."""
        self._buffer.clear()
        self._outgoing.clear()
        self._output.clear()
        self._sent = self.registered = self.waits_for_card = False
        self.asked = None

    def present(self, card: Card) -> None:
        """Present a card; nothing happens while none is expected."""
        asked, self.asked, self.waits_for_card = self.asked, None, False
        if asked is None:
            return
        pan = bytes.fromhex(f"EEEEEEEEEEEE{card.last4}")
        shown = (
            zvt.field(zvt.PAN, pan)
            + zvt.field(zvt.EXPIRY, EXPIRY)
            + zvt.field(zvt.CARD_NAME, card.name.encode("cp437", "replace") + b"\0")
            + bytes([zvt.TLV, 4, 0x1F, 0x12, 1, 2])
        )
        if asked.code == zvt.READ_CARD:
            self._say(ZvtCommand(zvt.STATUS, zvt.field(zvt.RESULT, b"\0") + shown), ZvtCommand(zvt.COMPLETION))
        elif self.offline or not card.good:
            self._fail(OFFLINE if self.offline else DECLINED)
        else:
            amount = zvt.number(zvt.fields(asked.data)[zvt.AMOUNT])
            receipt = f"{len(self.payments) + 1:04d}"
            self.payments[receipt] = SimulatedPayment(reserved=amount)
            self._succeed(receipt, amount, shown)

    # -- inside

    def _received(self, command: ZvtCommand) -> None:
        if command.code >> 8 in (0x80, zvt.NACK):
            self._sent = False
            self._send()
            return
        if command.code == zvt.REGISTRATION:
            fine = command.data[:3].hex() == self._password
            self._answer()
            self.registered = fine
            tid = zvt.field(zvt.TERMINAL_ID, zvt.bcd(TERMINAL_ID, 4))
            self._say(ZvtCommand(zvt.COMPLETION, zvt.field(zvt.STATUS_BYTE, b"\0") + tid) if fine else _aborted(0x83))
        elif command.code == zvt.ABORT:
            self._answer()
            if self.asked is not None:
                self.asked, self.waits_for_card = None, False
                self._say(_aborted(NO_CARD))
        elif not self.registered:
            self._output.append(ZvtCommand(zvt.NACK << 8 | 0x6B).encode())
        elif self.asked is not None or self._outgoing:
            self._output.append(ZvtCommand(zvt.NACK << 8 | 0x9C).encode())
        else:
            match command.code:
                case zvt.READ_CARD | zvt.RESERVATION:
                    self._answer()
                    self.asked, self.waits_for_card = command, True
                    self._say(ZvtCommand(zvt.INTERMEDIATE, b"\x0a"))
                case zvt.PARTIAL_REVERSAL | zvt.RESERVATION_REVERSAL:
                    self._answer()
                    self._close(command)
                case _:
                    self._output.append(ZvtCommand(zvt.NACK << 8 | 0x83).encode())

    def _close(self, command: ZvtCommand) -> None:
        """Charge a reservation, or release it."""
        known = zvt.fields(command.data)
        receipt = known.get(zvt.RECEIPT, b"").hex().upper()
        payment = self.payments.get(receipt)
        if receipt == zvt.NO_RECEIPT:
            reserved = [number for number, each in self.payments.items() if each.state == "reserved"]
            self._say(_aborted(UNKNOWN, next(iter(reserved), zvt.NO_RECEIPT)))
        elif payment is None or payment.state != "reserved":
            self._say(_aborted(UNKNOWN, zvt.NO_RECEIPT))
        elif self.offline:
            self._fail(OFFLINE)
        elif command.code == zvt.RESERVATION_REVERSAL:
            payment.state = "released"
            self._succeed(receipt, 0, b"")
        else:
            booked_amount = zvt.number(known[zvt.AMOUNT])
            taken = booked_amount if self._reverses_booked else payment.reserved - booked_amount
            if not 0 <= taken <= payment.reserved:
                self._fail(0x66)
                return
            payment.state, payment.taken = "taken", taken
            self._succeed(receipt, taken, b"")

    def _succeed(self, receipt: str, amount: int, more: bytes) -> None:
        fields = zvt.field(zvt.RESULT, b"\0") + zvt.field(zvt.AMOUNT, zvt.bcd(amount, 6))
        fields += zvt.field(zvt.RECEIPT, bytes.fromhex(receipt)) + zvt.field(zvt.TRACE, bytes.fromhex(f"00{receipt}"))
        fields += zvt.field(zvt.TERMINAL_ID, zvt.bcd(TERMINAL_ID, 4)) + more
        line = ZvtCommand(zvt.PRINT_LINE, b"\0" + f"Receipt {receipt}".encode())
        self._say(ZvtCommand(zvt.STATUS, fields), line, ZvtCommand(zvt.COMPLETION))

    def _fail(self, code: int) -> None:
        self._say(ZvtCommand(zvt.STATUS, zvt.field(zvt.RESULT, bytes([code]))), _aborted(code))

    def _answer(self) -> None:
        self._output.append(ZvtCommand(zvt.ACK).encode())

    def _say(self, *commands: ZvtCommand) -> None:
        self._outgoing.extend(commands)
        self._send()

    def _send(self) -> None:
        if self._outgoing and not self._sent:
            self._sent = True
            self._output.append(self._outgoing.popleft().encode())


def _aborted(code: int, receipt: str = "") -> ZvtCommand:
    return ZvtCommand(zvt.ABORTED, bytes([code]) + (zvt.field(zvt.RECEIPT, bytes.fromhex(receipt)) if receipt else b""))
