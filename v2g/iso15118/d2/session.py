"""Shared by both roles of an ISO 15118-2 session, beside the engine: schema, chart and header.

The two roles subclass `Session2`.
"""

from typing import ClassVar

from v2g.exi.declare import Element, Schema
from v2g.iso15118.d2.charts import CHARTS, Family
from v2g.iso15118.d2.messages.body import Body
from v2g.iso15118.d2.messages.common import BodyElement
from v2g.iso15118.d2.messages.header import MessageHeader
from v2g.iso15118.d2.messages.message import V2G_Message
from v2g.iso15118.d2.schemas import ISO2
from v2g.iso15118.engine.sequence import Chart
from v2g.iso15118.engine.v2g_message import MessageSession
from v2g.iso15118.engine.xmldsig import Signature


class Session2(MessageSession):
    """`family` is by the selected energy transfer mode (DC before; the charts begin alike)."""

    schema: ClassVar[Schema] = ISO2
    family = Family.DC

    @property
    def chart(self) -> Chart:
        """The sequence chart of the selected family."""
        return CHARTS[self.family]

    def _wrapped(self, body: Element, signature: Signature | None) -> V2G_Message:
        assert isinstance(body, BodyElement), f"{type(body).__name__} is no body"
        header = MessageHeader(session_id=self.session_id, signature=signature)
        return V2G_Message(header=header, body=Body(body_element=body))
