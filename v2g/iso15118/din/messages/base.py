"""DIN 70121:2012: base of the messages."""

from typing import ClassVar, Final

from v2g.exi.declare import Element
from v2g.iso15118.din.schemas import DIN

SCHEMA: Final = DIN


class BodyElement(Element, frozen=True, kw_only=True, tag=True):
    """Head of all body elements (type BodyBaseType)."""

    abstract: ClassVar[bool] = True


ELEMENTS: Final = {"BodyElement": BodyElement}
