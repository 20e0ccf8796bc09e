"""ISO 15118-2:2013 body: the list of messages."""

from typing import TYPE_CHECKING, Annotated, Final, TypeAlias, Union

from v2g.exi.declare import Element, Ref
from v2g.iso15118.d2.messages import common
from v2g.iso15118.d2.messages.common import BodyElement
from v2g.iso15118.d2.schemas import ISO2_BODY

SCHEMA: Final = ISO2_BODY

if TYPE_CHECKING:
    AnyBody: TypeAlias = BodyElement
else:  # the union of all messages
    AnyBody = Union[(BodyElement, *common.ELEMENTS.values(), *common.ELEMENTS.values())]


class Body(Element, frozen=True, kw_only=True):
    """The message itself; an empty body is valid, but has no meaning."""

    body_element: Annotated[AnyBody | None, Ref(BodyElement)] = None


ELEMENTS: Final[dict[str, type[Element]]] = {}
