"""The till's side of ZVT, for a charger: one command after the other, each with its result. Pure.

A terminal that is disconnected while it settles or releases may have done so, and so may one that an earlier run of the
program has commanded; it is queried for open reservations before the command is repeated. Open reservations that are
unknown here are released.
"""

from collections import deque
from collections.abc import Iterator
from typing import Final

import msgspec

from v2g.errors import FrameError
from v2g.hardware.zvt import commands as zvt
from v2g.hardware.zvt.commands import ZvtCommand

ACK_S: Final = 5.0
"""Time-out for the acknowledgement of a command (T3)."""

COMPLETION_S: Final = 180.0
"""Time-out for messages until a command has ended (T4)."""

BUSY_S: Final = 2.0
"""Delay before a busy terminal is asked again."""

BUSY: Final = 0x9C
NOT_POSSIBLE: Final = 0x8483
"""The answer to an unknown command."""


class TillJob(msgspec.Struct, frozen=True):
    """Base of a terminal's jobs."""


class RegisterJob(TillJob, frozen=True):
    """Register this till."""


class ReadCard(TillJob, frozen=True):
    """Wait for a card."""


class ReserveJob(TillJob, frozen=True):
    """Reserve an amount, in the currency's smallest unit, on a presented card."""

    amount: int


class Settle(TillJob, frozen=True):
    """Charge `amount` of what was `reserved` under a receipt number, and release the rest."""

    receipt: str
    reserved: int
    amount: int


class ReleaseJob(TillJob, frozen=True):
    """Release the reservation."""

    receipt: str


class Enquire(TillJob, frozen=True):
    """Query open reservations."""


class JobEnded(msgspec.Struct, frozen=True, kw_only=True):
    """Result of a job. `code` is the terminal's reason (a result or rejection code), None without one."""

    job: TillJob
    done: bool
    fields: dict[int, bytes] = msgspec.field(default_factory=dict)
    code: int | None = None


class TillConfig(msgspec.Struct, frozen=True, kw_only=True):
    """Settings for a terminal: `password` has six digits, `currency` is ISO 4217's number, `config_byte`
    that of the registration. `reverses_booked`: the amount of a partial reversal (06 23) is the charged one, not the
    released one."""

    password: str = "000000"  # noqa: S105  # factory default of terminals
    currency: int = 978
    config_byte: int = 0x38
    read_s: int = 30
    reverses_booked: bool = False


class Till:
    """One till with one terminal. `output` is the data to send, `events` what happened since the last call."""

    def __init__(self, config: TillConfig) -> None:
        self._config = config
        self._buffer = bytearray()
        self._jobs: deque[TillJob] = deque()
        self._current: TillJob | None = None
        self._status: dict[int, bytes] = {}
        self._stopping = False
        self._unsure: set[Settle | ReleaseJob] = set()
        """Jobs that may have been done before the connection was lost, or before the program ended."""
        self._begun = False
        """Whether the terminal has been registered in this run: what is commanded before, an earlier run has left."""
        self._orphan = False
        """Whether the terminal may hold an unknown reservation."""
        self._known: set[str] = set()
        self._output: list[bytes] = []
        self._events: list[JobEnded] = []
        self.due: float | None = None
        """When `tick` must be called."""
        self.registered = self.refused = False
        """Whether the terminal has answered the registration."""

    # -- for the shell

    def opened(self, now: float) -> None:
        """The connection is open: register."""
        self._buffer.clear()
        self._output.clear()
        self._begin(RegisterJob(), now)

    def closed(self) -> None:
        """The connection is lost."""
        self.registered = self.refused = False
        job, self._current, self.due = self._current, None, None
        match job:
            case Settle() | ReleaseJob():
                self._jobs.appendleft(job)
                self._unsure.add(job)
            case ReserveJob():
                self._orphan = True
                self._notify(job, done=False)
            case RegisterJob() | ReadCard():
                self._notify(job, done=False)

    def receive(self, data: bytes, now: float) -> None:
        """Process bytes. Raises FrameError for invalid ZVT: close then."""
        self._buffer += data
        for command in zvt.cut(self._buffer):
            code = command.code
            if code >> 8 == zvt.ACK >> 8:
                self._wait(now)
            elif code >> 8 == zvt.NACK:
                self._refused(code & 0xFF, now)
            elif code in (zvt.STATUS, zvt.INTERMEDIATE, zvt.PRINT_LINE, zvt.PRINT_TEXT):
                self._acknowledge()
                self._wait(now)
                if code == zvt.STATUS:
                    self._status.update(zvt.fields(command.data))
            elif code == zvt.COMPLETION:
                self._acknowledge()
                self._status = {**zvt.fields(command.data), **self._status}
                result = self._status.get(zvt.RESULT, b"\0")[0]
                self._end(done=result == 0, code=result, now=now)
            elif code == zvt.ABORTED:
                self._acknowledge()
                self._status.update(zvt.fields(command.data[1:]))
                self._end(done=False, code=command.data[0] if command.data else None, now=now)
            else:
                self._output.append(ZvtCommand(NOT_POSSIBLE).encode())

    def do(self, job: TillJob, now: float) -> None:
        """Queue a job; an equal one is not repeated."""
        if job == self._current or job in self._jobs:
            return
        if isinstance(job, Settle | ReleaseJob):
            self._known.add(job.receipt)
            if not self._begun:
                self._unsure.add(job)
        self._jobs.append(job)
        self._go_on(now)

    def tick(self, now: float) -> None:
        """Let due timers expire. Raises FrameError for a terminal that does not answer: close then."""
        if self.due is None or now < self.due:
            return
        if self._current is not None:
            raise FrameError("the terminal does not answer")
        self.due = None
        self._go_on(now)

    @property
    def idle(self) -> bool:
        """Whether the terminal is idle."""
        return self.registered and self.due is None

    def output(self) -> bytes:
        """Return the data to send."""
        data = b"".join(self._output)
        self._output.clear()
        return data

    def events(self) -> Iterator[JobEnded]:
        while self._events:
            yield self._events.pop(0)

    # -- jobs

    def _go_on(self, now: float) -> None:
        if not self.registered or self.due is not None:
            if isinstance(self._current, ReadCard) and not self._stopping:
                self._stopping = True
                self._output.append(ZvtCommand(zvt.ABORT).encode())
            return
        if self._orphan or (self._jobs and self._jobs[0] in self._unsure):
            self._begin(Enquire(), now)
        elif self._jobs:
            self._begin(self._jobs.popleft(), now)

    def _begin(self, job: TillJob, now: float) -> None:
        self._current, self._status, self._stopping = job, {}, False
        self._output.append(self._command(job).encode())
        self.due = now + ACK_S

    def _command(self, job: TillJob) -> ZvtCommand:
        config, field = self._config, zvt.field
        currency = zvt.bcd(config.currency, 2)
        coin = field(zvt.CURRENCY, currency)
        match job:
            case RegisterJob():
                head = bytes.fromhex(config.password) + bytes([config.config_byte])
                return ZvtCommand(zvt.REGISTRATION, head + currency + bytes([0x03, 0, zvt.TLV, 0]))
            case ReadCard():
                return ZvtCommand(zvt.READ_CARD, bytes([config.read_s]))
            case ReserveJob(amount=amount):
                return ZvtCommand(zvt.RESERVATION, field(zvt.AMOUNT, zvt.bcd(amount, 6)) + coin)
            case Settle(receipt=receipt_no, amount=0) | ReleaseJob(receipt=receipt_no):
                receipt = field(zvt.RECEIPT, bytes.fromhex(receipt_no))
                return ZvtCommand(zvt.RESERVATION_REVERSAL, receipt + coin)
            case Settle():
                booked_amount = job.amount if config.reverses_booked else job.reserved - job.amount
                receipt = field(zvt.RECEIPT, bytes.fromhex(job.receipt))
                return ZvtCommand(zvt.PARTIAL_REVERSAL, receipt + field(zvt.AMOUNT, zvt.bcd(booked_amount, 6)) + coin)
        return ZvtCommand(zvt.PARTIAL_REVERSAL, field(zvt.RECEIPT, bytes.fromhex(zvt.NO_RECEIPT)))  # Enquire

    # -- messages of the terminal

    def _acknowledge(self) -> None:
        self._output.append(ZvtCommand(zvt.ACK).encode())

    def _wait(self, now: float) -> None:
        if self._current is not None:
            self.due = now + COMPLETION_S

    def _refused(self, reason: int, now: float) -> None:
        """A rejection ends a job, except one that is to be repeated."""
        job = self._current
        if self._stopping or job is None:
            return  # of the abort: the card is read to its end
        if reason == BUSY and not isinstance(job, RegisterJob | ReadCard):
            self._current = None
            if not isinstance(job, Enquire):  # which is repeated as long as there are reservations
                self._jobs.appendleft(job)
            self.due = now + BUSY_S
        else:
            self._end(done=False, code=reason, now=now)

    def _end(self, *, done: bool, code: int | None, now: float) -> None:
        job, amount = self._current, self._status.get(zvt.AMOUNT)
        less = isinstance(job, ReserveJob) and amount is not None and zvt.number(amount) < job.amount
        self._current, self.due = None, None
        if job is None:
            return
        if isinstance(job, RegisterJob):
            self.registered, self.refused = done, not done
            self._begun = self._begun or done
        if isinstance(job, Enquire):
            self._found(self._status.get(zvt.RECEIPT, b"").hex().upper())
        else:
            if isinstance(job, ReserveJob) and done:
                if zvt.RECEIPT not in self._status:
                    self._orphan = True  # it could not be settled or released
                elif less:  # as of a prepaid card: what is charged may come to more
                    self._jobs.appendleft(ReleaseJob(self._status[zvt.RECEIPT].hex().upper()))
                    done = False
                else:
                    self._known.add(self._status[zvt.RECEIPT].hex().upper())
            if isinstance(job, Settle | ReleaseJob) and code in zvt.UNREACHED:
                self._unsure.add(job)  # only the answer may have been lost
            self._notify(job, done=done, code=code)
        self._go_on(now)

    def _found(self, receipt: str) -> None:
        """The terminal has reported an open reservation: an unknown one is released, and one that is no longer open
        is completed."""
        if self._orphan:
            self._orphan = False
            if receipt not in ("", zvt.NO_RECEIPT) and receipt not in self._known:
                self._jobs.appendleft(ReleaseJob(receipt))
                return
        unsure, self._unsure = self._unsure, set()
        if receipt == zvt.NO_RECEIPT:
            for job in [each for each in self._jobs if each in unsure]:
                self._jobs.remove(job)
                self._notify(job, done=True)
        for job in unsure.intersection(self._jobs):
            if job.receipt == receipt:
                self._jobs.remove(job)
                self._jobs.appendleft(job)
                self._unsure = unsure - {job}

    def _notify(self, job: TillJob, *, done: bool, code: int | None = None) -> None:
        if isinstance(job, Settle | ReleaseJob) and done:
            self._known.discard(job.receipt)
        self._events.append(JobEnded(job=job, done=done, fields=self._status, code=code))
