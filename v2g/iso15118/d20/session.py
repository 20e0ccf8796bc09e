"""Shared by both roles of an ISO 15118-20 session, beside the engine: schemas, chart and header.

The two roles subclass `Session20`.
"""

import hashlib
from collections.abc import Mapping
from typing import Final

from v2g.errors import CodecError, FrameError
from v2g.exi.bits import Deviation
from v2g.exi.declare import Element, Schema
from v2g.iso15118.d20.charts import AC_DER, CHARTS, Family
from v2g.iso15118.d20.messages.common_types import MessageHeader
from v2g.iso15118.d20.schemas import AC, AC_DER_IEC, AC_DER_SAE, ACDP, COMMON_MESSAGES, DC, WPT
from v2g.iso15118.engine.schemas import APP_PROTOCOL
from v2g.iso15118.engine.sequence import Chart
from v2g.iso15118.engine.session import Session, decode_padded
from v2g.iso15118.engine.v2gtp import PayloadType
from v2g.iso15118.engine.xmldsig import Signature

SCHEMAS: Final[Mapping[int, Schema]] = {
    PayloadType.SAP: APP_PROTOCOL,
    PayloadType.COMMON: COMMON_MESSAGES,
    PayloadType.AC: AC,
    PayloadType.AC_DER_IEC: AC_DER_IEC,
    PayloadType.AC_DER_SAE: AC_DER_SAE,
    PayloadType.DC: DC,
    PayloadType.WPT: WPT,
    PayloadType.ACDP: ACDP,
    PayloadType.METERING_CONFIRMATION: COMMON_MESSAGES,
    PayloadType.ACDP_SYSTEM_STATUS: ACDP,
    PayloadType.PARKING_STATUS: COMMON_MESSAGES,
}
"""V2GTP payload type -> schema of its EXI. 0x8101 has two: see `decode_payload`."""

_PARAMETERS: Final[Mapping[Family, Schema]] = {Family.AC: AC, Family.DC: DC, Family.ACDP: DC, Family.WPT: WPT}
"""Set of messages -> schema of its charge parameters."""


def decode_payload(
    payload_type: int,
    payload: bytes,
    family: Family,
    deviations: list[Deviation] | None = None,
    *,
    der: Schema | None = None,
) -> tuple[Element, int]:
    """Return the message of a V2GTP payload, and how many zero octets follow the end of its EXI stream (0 to 4).

    `family` is the negotiated set of messages: frames of the side stream 0x8101 do not show their schema; `der` is the
    schema of an AC DER session, whose messages have more control modes. What is beyond the schema is added to
    `deviations`. Raises ExiDecodeError; FrameError for a payload type without EXI.
    """
    if payload_type == PayloadType.SCHEDULE_RENEGOTIATION:
        # ScheduleExchange and PowerDelivery are of CommonMessages, charge parameters of the selected family
        found: list[Deviation] = []
        parameters = der or _PARAMETERS[family]
        try:
            message, padding = decode_padded(payload, COMMON_MESSAGES, found)
        except CodecError:
            return decode_padded(payload, parameters, deviations)
        if not type(message).__name__.startswith(("ScheduleExchange", "PowerDelivery")):
            return decode_padded(payload, parameters, deviations)
        if deviations is not None:
            deviations += found
        return message, padding
    schema = SCHEMAS.get(payload_type)
    if schema is None:
        raise FrameError(f"V2GTP payload type {payload_type:#06x} carries no message")
    return decode_padded(payload, schema, deviations)


class Session20(Session):
    """`family` is the negotiated set of messages (DC before; the charts begin alike), `der` the schema of AC DER if
    that is selected: its messages have their own payload type, whichever namespace of AC was negotiated."""

    family = Family.DC
    der: Schema | None = None

    @property
    def chart(self) -> Chart:
        """The sequence chart of the negotiated family."""
        return CHARTS[self.family] if self.der is None else AC_DER

    def decode(self, payload_type: int, payload: bytes) -> tuple[Element, int]:
        """Return the message of a V2GTP payload: see `decode_payload`."""
        return decode_payload(payload_type, payload, self.family, self._noted(), der=self.der)

    def _header(self, signature: Signature | None = None) -> MessageHeader:
        """Return a header with this session's id and the time in whole seconds."""
        return MessageHeader(session_id=self.session_id, time_stamp=self._time.utc_ms // 1000, signature=signature)


def binding(session_id: bytes, leaf: bytes) -> bytes:
    """Return SHA-512(SessionID || SHA-512(leaf)), `leaf` being the other side's TLS certificate (DER).

    The charger stores the vehicle's (V2G20-2545, -2550, -2630), the vehicle the charger's (V2G20-2539).
    """
    return hashlib.sha512(session_id + hashlib.sha512(leaf).digest()).digest()
