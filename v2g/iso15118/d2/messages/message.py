"""ISO 15118-2:2013 message: the root of every stream."""

from typing import Final

from v2g.exi.declare import Element
from v2g.iso15118.d2.messages.body import Body
from v2g.iso15118.d2.messages.header import MessageHeader
from v2g.iso15118.d2.schemas import ISO2

SCHEMA: Final = ISO2


class V2G_Message(Element, frozen=True, kw_only=True):
    """Every message: a header and a body."""

    header: MessageHeader
    body: Body


ELEMENTS: Final = {"V2G_Message": V2G_Message}
