"""DIN 70121:2012 message: the root of every stream."""

from typing import TYPE_CHECKING, Annotated, Final, TypeAlias, Union

from v2g.exi.declare import Element, Ref
from v2g.iso15118.din.messages import common
from v2g.iso15118.din.messages.base import BodyElement
from v2g.iso15118.din.messages.header import MessageHeader
from v2g.iso15118.din.schemas import DIN

SCHEMA: Final = DIN

if TYPE_CHECKING:
    AnyBody: TypeAlias = BodyElement
else:  # the union of all messages
    AnyBody = Union[(BodyElement, *common.ELEMENTS.values(), *common.ELEMENTS.values())]


class Body(Element, frozen=True, kw_only=True):
    """The message itself; an empty body is valid, but has no meaning."""

    body_element: Annotated[AnyBody | None, Ref(BodyElement)] = None


class V2G_Message(Element, frozen=True, kw_only=True):
    """Every message: a header and a body."""

    header: MessageHeader
    body: Body


ELEMENTS: Final = {"V2G_Message": V2G_Message}
