"""Makes PhysicalValue of DIN 70121 from integers of mV, mA, W, Wh and s; reads by `engine.physical_values`."""

from typing import Final

from v2g.iso15118.din.messages.data_types import PhysicalValue, UnitSymbol
from v2g.iso15118.engine.physical_values import Writer


def _make(multiplier: int, unit: str, value: int) -> PhysicalValue:
    return PhysicalValue(multiplier=multiplier, unit=UnitSymbol(unit), value=value)


VALUES: Final = Writer(_make)
"""The units are always sent."""
