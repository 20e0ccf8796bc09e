"""Frames of a truck's J1939."""

from v2g.telemetry.j1939 import PACKET


def packets(group: int, content: bytes, source: int = 3) -> list[tuple[int, bytes]]:
    """Return the frames of a message of several packets."""
    number = -(-len(content) // PACKET)
    announced = bytes([32, *len(content).to_bytes(2, "little"), number, 0xFF, *group.to_bytes(3, "little")])
    padded = content.ljust(number * PACKET, b"\xff")
    parts = [bytes([each + 1]) + padded[PACKET * each : PACKET * (each + 1)] for each in range(number)]
    return [(0x1CECFF00 | source, announced), *((0x1CEBFF00 | source, part) for part in parts)]
