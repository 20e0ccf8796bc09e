"""ISO 15118-2:2013 message header."""

from typing import Annotated, Final

from v2g.exi.declare import Element, Ref
from v2g.iso15118.d2.messages.data_types import Notification
from v2g.iso15118.d2.schemas import ISO2_HEADER
from v2g.iso15118.engine.older_types import SessionID
from v2g.iso15118.engine.xmldsig import Signature

SCHEMA: Final = ISO2_HEADER


class MessageHeader(Element, frozen=True, kw_only=True):
    """Session, a fault of the previous message, and the signature of a signed element."""

    session_id: SessionID
    notification: Notification | None = None
    signature: Annotated[Signature | None, Ref(Signature)] = None


ELEMENTS: Final[dict[str, type[Element]]] = {}
