"""What several tests of sml use."""

from pathlib import Path

from v2g.sml import ESCAPE, START, crc16

VECTORS = Path(__file__).parents[2] / "vectors" / "meters"


def sent(name: str) -> bytes:
    return bytes.fromhex((VECTORS / f"{name}.hex").read_text())


def octets(value: bytes) -> bytes:
    size = len(value) + 1
    head = bytes((size,)) if size < 16 else bytes((0x80 | (size + 1) >> 4, (size + 1) & 15))
    return head + value


def number(value: int, size: int, *, signed: bool) -> bytes:
    return bytes(((0x50 if signed else 0x60) | size + 1,)) + value.to_bytes(size, "big", signed=signed)


def listed(*items: bytes) -> bytes:
    head = bytes((0x70 | len(items),)) if len(items) < 16 else bytes((0xF0 | len(items) >> 4, len(items) & 15))
    return head + b"".join(items)


def value(code: str, unit: int, scaler: int, coded: bytes) -> bytes:
    name = bytes((1, 0, *map(int, code.split(".")), 255))
    return listed(
        octets(name), b"\x01", b"\x01", number(unit, 1, signed=False), number(scaler, 1, signed=True), coded, b"\x01"
    )


def message(kind: int, body: bytes) -> bytes:
    head = octets(b"id") + number(0, 1, signed=False) + number(0, 1, signed=False)
    text = b"\x76" + head + listed(number(kind, 2, signed=False), body)
    return text + number(int.from_bytes(crc16(text).to_bytes(2, "little"), "big"), 2, signed=False) + b"\x00"


def file(*messages: bytes) -> bytes:
    payload = b"".join(messages)
    fill = -len(payload) % 4
    escaped = (payload + bytes(fill)).replace(ESCAPE, ESCAPE + ESCAPE)
    whole = START + escaped + ESCAPE + bytes((0x1A, fill))
    return whole + crc16(whole).to_bytes(2, "little")


def list_of(*values: bytes) -> bytes:
    return message(0x0701, listed(b"\x01", octets(b"server"), b"\x01", b"\x01", listed(*values), b"\x01", b"\x01"))
