"""Vehicles and chargers that misbehave on purpose, for scenarios and tests.

A fault sits between an unchanged program and its TLS connection and alters what the program sends: production
code is not involved. `python -m v2g_cli.demo.faults ROLE FAULT --config FILE --events FILE` runs a program that way.
"""

import argparse
import enum
import sys
from collections.abc import Iterable
from pathlib import Path

import msgspec
from cryptography.hazmat.primitives.asymmetric import ec

from v2g import exi
from v2g.asn1 import discharge
from v2g.errors import Asn1Error
from v2g.io.runtime.runner import ByteStream
from v2g.iso15118.d20.messages.common_messages import AuthorizationReq, ServiceSelectionReq
from v2g.iso15118.d20.messages.dc import DC_CableCheckReq, DC_ChargeLoopReq, DC_ChargeLoopRes
from v2g.iso15118.d20.schemas import COMMON_MESSAGES, DC
from v2g.iso15118.engine.schemas import APP_PROTOCOL
from v2g.iso15118.engine.v2gtp import Frame, Framer, PayloadType, frame
from v2g.pki.keys import SigningKey, SoftwareKey

_NAMESPACES = {PayloadType.SAP: APP_PROTOCOL, PayloadType.COMMON: COMMON_MESSAGES, PayloadType.DC: DC}
LOOPS_BEFORE_SILENCE = 5


class Fault(enum.Enum):
    """The fault."""

    TAMPERED_SIGNATURE = "tampered-signature"  # one bit of the PnC signature
    FORGED_COMMAND = "forged-command"  # discharge commands signed with another key than the contract's
    REPLAYED_COMMAND = "replayed-command"  # the first discharge command, repeatedly
    EXPIRED_COMMAND = "expired-command"  # discharge commands that have expired on arrival
    OUT_OF_SEQUENCE = "out-of-sequence"  # DC_CableCheckReq where ServiceSelectionReq belongs
    SILENT = "silent"  # no messages after some charge loops
    CUT = "cut"  # the connection lost after some charge loops, without TLS or TCP close


class FaultyStream:
    """A ByteStream whose outgoing frames pass through a fault."""

    def __init__(self, stream: ByteStream, fault: Fault, contract_key: SigningKey | None = None) -> None:
        self._stream = stream
        self._framer = Framer()
        self._alter = {
            Fault.TAMPERED_SIGNATURE: self._tamper,
            Fault.FORGED_COMMAND: self._forge,
            Fault.REPLAYED_COMMAND: self._replay,
            Fault.EXPIRED_COMMAND: self._expire,
            Fault.OUT_OF_SEQUENCE: self._disorder,
            Fault.SILENT: self._silence,
            Fault.CUT: self._cut,
        }[fault]
        self._contract_key = contract_key
        self._foreign_key = SoftwareKey(ec.generate_private_key(ec.SECP521R1()))
        self._first: bytes | None = None
        self._loops = 0

    async def read(self, n: int) -> bytes:
        """Pass through."""
        return await self._stream.read(n)

    async def write(self, data: bytes) -> None:
        """Pass each complete frame through the fault."""
        out = bytearray()
        for received in self._framer.feed(data):
            altered = self._alter(received)
            out += frame(received.payload_type, received.payload) if altered is None else altered
        if out:
            await self._stream.write(bytes(out))

    async def close(self) -> None:
        """Pass through."""
        await self._stream.close()

    # Each returns what to send instead of a frame, or None to leave it unchanged.

    def _message(self, received: Frame) -> msgspec.Struct | None:
        namespace = _NAMESPACES.get(PayloadType(received.payload_type))
        return exi.decode(received.payload, namespace) if namespace else None

    def _tamper(self, received: Frame) -> bytes | None:
        message = self._message(received)
        if not isinstance(message, AuthorizationReq) or message.header.signature is None:
            return None
        signature = message.header.signature
        value = bytearray(signature.signature_value.value)
        value[-1] ^= 1
        forged = msgspec.structs.replace(
            signature, signature_value=msgspec.structs.replace(signature.signature_value, value=bytes(value))
        )
        header = msgspec.structs.replace(message.header, signature=forged)
        return frame(received.payload_type, exi.encode(msgspec.structs.replace(message, header=header)))

    def _command(self, received: Frame) -> tuple[discharge.SignedMessage, discharge.DischargeCommand] | None:
        if received.payload_type != PayloadType.SIGNED_DISCHARGE:
            return None
        try:
            signed = discharge.decode_signed(received.payload)
            content = discharge.decode_content(signed.content)
        except Asn1Error:
            return None
        return (signed, content) if isinstance(content, discharge.DischargeCommand) else None

    def _sign(self, signed: discharge.SignedMessage, content: discharge.DischargeCommand, key: SigningKey) -> bytes:
        data = discharge.encode_content(content)
        message = msgspec.structs.replace(
            signed, content=data, algorithm=discharge.SignatureAlgorithm(key.algorithm.value), signature=key.sign(data)
        )
        return frame(PayloadType.SIGNED_DISCHARGE, discharge.encode_signed(message))

    def _forge(self, received: Frame) -> bytes | None:
        command = self._command(received)
        return self._sign(*command, self._foreign_key) if command else None

    def _replay(self, received: Frame) -> bytes | None:
        if self._command(received) is None:
            return None
        if self._first is None:
            self._first = frame(received.payload_type, received.payload)
        return self._first

    def _expire(self, received: Frame) -> bytes | None:
        command = self._command(received)
        if command is None or self._contract_key is None:
            return None
        signed, content = command
        length = content.valid_until_ms - content.issued_at_ms
        late = msgspec.structs.replace(
            content, issued_at_ms=content.issued_at_ms - 2 * length, valid_until_ms=content.valid_until_ms - 2 * length
        )
        return self._sign(signed, late, self._contract_key)

    def _disorder(self, received: Frame) -> bytes | None:
        message = self._message(received)
        if not isinstance(message, ServiceSelectionReq):
            return None
        return frame(PayloadType.DC, exi.encode(DC_CableCheckReq(header=message.header)))

    def _silence(self, received: Frame) -> bytes | None:
        if self._loops >= LOOPS_BEFORE_SILENCE:
            return b""
        if isinstance(self._message(received), DC_ChargeLoopReq | DC_ChargeLoopRes):
            self._loops += 1
        return None

    def _cut(self, received: Frame) -> bytes | None:
        silenced = self._silence(received)
        if silenced is not None:
            self._stream._writer.transport.abort()  # type: ignore[attr-defined] # nobody else has a use for that
        return silenced


def main(arguments: Iterable[str] | None = None) -> int:
    """Run `evcc` or `secc` behind a fault."""
    parser = argparse.ArgumentParser(prog="python -m v2g_cli.demo.faults", description=__doc__)
    parser.add_argument("role", choices=("evcc", "secc"))
    parser.add_argument("fault", choices=[fault.value for fault in Fault])
    parser.add_argument("--config", type=Path, required=True)
    parser.add_argument("--events", type=Path)
    options = parser.parse_args(None if arguments is None else list(arguments))
    fault = Fault(options.fault)
    if options.role == "evcc":
        from evcc import app as evcc_app

        return evcc_app.main(options.config, options.events, wrap=lambda stream, key: FaultyStream(stream, fault, key))
    from secc import app as secc_app

    return secc_app.main(options.config, options.events, wrap=lambda stream: FaultyStream(stream, fault))


if __name__ == "__main__":
    sys.exit(main())
