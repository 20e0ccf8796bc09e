"""Streams in which some bits are others."""


def bits(data: bytes) -> str:
    return "".join(f"{each:08b}" for each in data)


def text(value: str) -> str:
    """Return a string in EXI: its length and two, then its characters."""
    return bits(bytes((len(value) + 2, *value.encode())))


def exchanged(data: bytes, old: str, new: str) -> bytes:
    """Return a stream in which some bits are others."""
    stream = bits(data)
    assert stream.count(old) == 1
    stream = stream.replace(old, new)
    stream += "0" * (-len(stream) % 8)
    return bytes(int(stream[at : at + 8], 2) for at in range(0, len(stream), 8))
