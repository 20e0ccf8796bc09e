"""Finds a model in a SunSpec device: a marker at one of three addresses, then a chain of models. Pure.

Source: SunSpec Device Information Model Specification, version 1.1, section 6.
"""

from collections.abc import Awaitable, Callable, Collection, Sequence
from typing import Final

from v2g.errors import FrameError, TransportError

MARKER: Final = (0x5375, 0x6E53)
"""`SunS` in the registers before the first model."""
STARTS: Final = (40_000, 50_000, 0)
"""Addresses of the marker, most usual first."""
END: Final = 0xFFFF
"""Model id after the last model."""
MOST_MODELS: Final = 100
"""Limit of models that are looked at."""

Read = Callable[[int, int], Awaitable[Sequence[int]]]
"""Returns a number of holding registers from an address on. Raises TransportError, also for those not there."""


async def find_model(read: Read, models: Collection[int]) -> int:
    """Return the address of the first of these models in a device: that of its id, which its length follows.

    Raises FrameError for a device without marker or model, TransportError if it answers nowhere.
    """
    refused: TransportError | None = None
    for start in STARTS:
        try:
            marker = tuple(await read(start, len(MARKER)))
        except TransportError as error:
            refused = error
            continue
        refused = None
        if marker == MARKER:
            address = start + len(MARKER)
            seen: list[int] = []
            while len(seen) < MOST_MODELS and address < 0xFFFE:
                model, length = await read(address, 2)
                if model in models:
                    return address
                if model == END:
                    break
                seen.append(model)
                address += 2 + length
            raise FrameError(f"the meter has the SunSpec models {seen or 'none'}, but none of {sorted(models)}")
    if refused is not None:
        raise refused
    raise FrameError("the meter is no SunSpec device: no marker `SunS`")
