"""What must hold for any octets between a till and its payment terminal."""

from v2g.errors import FrameError
from v2g.hardware.zvt import commands as zvt
from v2g.hardware.zvt.commands import ZvtCommand
from v2g.hardware.zvt.terminal_sim import SimulatedZvtTerminal
from v2g.hardware.zvt.till import ReadCard, RegisterJob, ReserveJob, Settle, Till, TillConfig


def zvt_stream(data: bytes) -> None:
    """Till and terminal take anything, and answer in whole commands or end the connection; the first octet says how it
    is cut. Nothing is reserved that was not asked for."""
    if not data:
        return
    till, terminal, size = Till(TillConfig()), SimulatedZvtTerminal(), data[0] + 1
    till.opened(0.0)
    for job in (ReserveJob(100), Settle("0001", 100, 50), ReadCard()):
        till.do(job, 0.0)
    for at in range(1, len(data), size):
        part = data[at : at + size]
        try:
            till.receive(part, 1.0)
            terminal.receive(part)
        except FrameError:
            break
        for end in (till, terminal):
            said = bytearray(end.output())
            list(zvt.cut(said))
            assert not said
    assert not terminal.payments
    for event in till.events():
        assert event.job == RegisterJob() or till.registered


def zvt_seeds() -> list[bytes]:
    """Return real answers: a registration and a reservation, a refusal, a receipt."""
    done = ZvtCommand(
        zvt.COMPLETION, zvt.field(zvt.STATUS_BYTE, b"\0") + zvt.field(zvt.TERMINAL_ID, zvt.bcd(29_001_234, 4))
    )
    fields = zvt.field(zvt.RESULT, b"\0") + zvt.field(zvt.AMOUNT, zvt.bcd(100, 6)) + zvt.field(zvt.RECEIPT, b"\0\1")
    fields += zvt.field(zvt.PAN, b"\xee" * 8) + bytes([zvt.TLV, 4, 0x1F, 0x12, 1, 2])
    ack = ZvtCommand(zvt.ACK)
    register = ZvtCommand(zvt.REGISTRATION, bytes.fromhex("0000003809780300"))
    reported = [
        [ack, done, ack, ZvtCommand(zvt.STATUS, fields), ZvtCommand(zvt.COMPLETION)],
        [ack, ZvtCommand(zvt.ABORTED, b"\x6c")],
        [register, ZvtCommand(zvt.RESERVATION, zvt.field(zvt.AMOUNT, zvt.bcd(5, 6)))],
        [ack, ZvtCommand(zvt.PRINT_TEXT, bytes(300)), ZvtCommand(0x849C)],
    ]
    return [bytes([at * 5]) + b"".join(each.encode() for each in commands) for at, commands in enumerate(reported)]


TARGETS = {"zvt": (zvt_stream, zvt_seeds)}
