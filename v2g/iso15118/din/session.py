"""Shared by both roles of a DIN 70121 session, beside the engine: schema, chart and header.

The two roles subclass `SessionDin`.
"""

from typing import ClassVar

from v2g.exi.declare import Element, Schema
from v2g.iso15118.din.charts import CHART
from v2g.iso15118.din.messages.base import BodyElement
from v2g.iso15118.din.messages.header import MessageHeader
from v2g.iso15118.din.messages.message import Body, V2G_Message
from v2g.iso15118.din.schemas import DIN
from v2g.iso15118.engine.sequence import Chart
from v2g.iso15118.engine.v2g_message import MessageSession
from v2g.iso15118.engine.xmldsig import Signature


class SessionDin(MessageSession):
    """Direct current with external payment over plain TCP; headers carry the SessionID only."""

    schema: ClassVar[Schema] = DIN

    @property
    def chart(self) -> Chart:
        """The sequence chart."""
        return CHART

    def _wrapped(self, body: Element, signature: Signature | None) -> V2G_Message:
        assert isinstance(body, BodyElement), f"{type(body).__name__} is no body"
        assert signature is None, "DIN 70121 signs nothing"
        return V2G_Message(header=MessageHeader(session_id=self.session_id), body=Body(body_element=body))
