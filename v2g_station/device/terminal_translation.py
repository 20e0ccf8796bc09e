"""Translates between the charging station's terminal facts and commands (C18 to C22) and a ZVT terminal. Pure.

The reference of a payment contains everything that the terminal needs to end it, so that nothing else is stored: the
terminal's number, the receipt's number, the reserved amount, and the time (ms), which makes it unique.
"""

import hashlib
import hmac
import re
from collections.abc import Iterator
from decimal import ROUND_HALF_UP, Decimal
from typing import Final, Literal

from v2g.errors import FrameError
from v2g.hardware.zvt import commands as zvt
from v2g.hardware.zvt.till import JobEnded, ReadCard, RegisterJob, ReleaseJob, ReserveJob, Settle, TillJob
from v2g.iso15118.engine.session import Fact
from v2g_station.blocks.payment import terminal
from v2g_station.kernel.kernel import StationCommand

DETAILS: Final = (
    "SessionRef", "PaymentBrand", "ReadingMethod", "CardBin", "CardLast4Digits", "CardExpiryDate",
)  # fmt: skip
"""The payment details that a terminal may report (appendix 6.2)."""

READING: Final = {0: "Magstripe", 1: "Contact", 2: "Contactless"}
"""Object 1F12 of a status -> how a card was read (ReadingMethod)."""

BRANDS: Final = {
    5: "Girocard", 6: "Mastercard", 8: "AMEX", 10: "Visa", 11: "Visa", 12: "Diners", 13: "VPay", 14: "JCB",
}  # fmt: skip
"""Card type in a status (field 8A) -> PaymentBrand; others use their names."""

_REFERENCE: Final = re.compile(r"(\d{8})-([0-9A-F]{4})-(\d{1,12})-(\d{1,15})")
_TECHNOLOGY: Final = 0x1F12


class TerminalTranslator:
    """Translates between a station and its terminal. `secret` hides card identities, `digits` are those of the
    currency's smallest unit; without `evse_id` the terminal serves all EVSEs."""

    def __init__(self, *, evse_id: int | None, digits: int, secret: bytes) -> None:
        self._evse_id, self._digits, self._secret = evse_id, digits, secret
        self._asking: tuple[int | None, str] | None = None
        """EVSE and card of the pending reservation."""
        self._ending: dict[TillJob, str] = {}
        """References of payments being settled or released."""
        self._unreached = False
        """Whether the terminal has not reached its provider."""

    def job(self, command: StationCommand) -> TillJob | Fact | None:
        """Return the terminal's job, or the immediate result; None for other commands."""
        match command:
            case terminal.AuthorizeCard():
                self._asking = command.evse_id, command.card
                return ReserveJob(self._units(command.amount))
            case terminal.IncreaseAuthorization(psp_ref=psp_ref):
                return terminal.AuthorizationIncreased(psp_ref=psp_ref, approved=False)  # not possible in ZVT
            case terminal.SettlePayment(psp_ref=psp_ref, amount=amount):
                if (found := _REFERENCE.fullmatch(psp_ref)) is None:
                    return terminal.PaymentSettled(psp_ref=psp_ref, status="Failed", info="unknown payment")
                reserved = int(found[3])
                return self._end(Settle(found[2], reserved, min(reserved, self._units(amount))), psp_ref)
            case terminal.CancelPayment(psp_ref=psp_ref):
                if (found := _REFERENCE.fullmatch(psp_ref)) is None:
                    return terminal.PaymentReleased(psp_ref=psp_ref, done=False)
                return self._end(ReleaseJob(found[2]), psp_ref)
        return None

    def _end(self, job: TillJob, psp_ref: str) -> TillJob:
        self._ending[job] = psp_ref
        return job

    def facts(self, ended: JobEnded, utc_ms: int) -> Iterator[Fact]:
        """Yield the facts that follow from a finished job."""
        job, unreached = ended.job, ended.code in zvt.UNREACHED
        if unreached or (ended.done and self._unreached and not isinstance(job, ReadCard)):
            self._unreached = unreached
            yield terminal.TerminalState(connected=not unreached)
        match job:
            case RegisterJob():
                yield terminal.TerminalState(connected=ended.done, problem=not ended.done)
            case ReadCard() if ended.done:
                yield terminal.CardPresented(evse_id=self._evse_id, card=self._card(ended.fields))
            case ReserveJob():
                yield self._reserved(job, ended, utc_ms)
            case Settle() if job in self._ending:
                psp_ref = self._ending.pop(job)
                if not unreached:  # else it is commanded again
                    yield self._settled(psp_ref, job, ended)
            case ReleaseJob() if job in self._ending:
                yield terminal.PaymentReleased(psp_ref=self._ending.pop(job), done=ended.done)

    def _reserved(self, job: ReserveJob, ended: JobEnded, utc_ms: int) -> Fact:
        evse_id, card = self._asking or (self._evse_id, "")
        self._asking = None
        receipt = ended.fields.get(zvt.RECEIPT, b"")
        if not ended.done or not receipt:
            return terminal.CardRefused(evse_id=evse_id, reason=_reason(ended))
        tid = ended.fields.get(zvt.TERMINAL_ID, bytes(4)).hex()
        tid = tid if tid.isdecimal() else "0" * 8
        return terminal.CardAuthorized(
            evse_id=evse_id,
            psp_ref=f"{tid}-{receipt.hex().upper()}-{job.amount}-{utc_ms}",
            card=card,
            details=tuple(_details(ended.fields)),
        )

    def _settled(self, psp_ref: str, job: Settle, ended: JobEnded) -> Fact:
        settled, amount = terminal.PaymentSettled, Decimal(job.amount).scaleb(-self._digits)
        if not ended.done:
            status: Literal["Failed", "Rejected"] = "Failed" if ended.code is None else "Rejected"
            return settled(psp_ref=psp_ref, status=status, amount=amount, info=_reason(ended))
        info = "the full reserved amount" if job.amount == job.reserved else ""
        return settled(psp_ref=psp_ref, status="Settled", amount=amount, info=info, receipt_id=job.receipt)

    def _card(self, fields: dict[int, bytes]) -> str:
        """Return a hash that identifies a card while this program runs; empty if nothing identifies it."""
        seen = b"".join(fields.get(each, b"") for each in (zvt.PAN, zvt.EXPIRY, zvt.SEQUENCE, zvt.CARD_NAME, zvt.TLV))
        if zvt.PAN not in fields and zvt.TLV not in fields:
            return ""
        return hmac.new(self._secret, seen, hashlib.sha256).hexdigest()[:32]

    def _units(self, amount: Decimal) -> int:
        return int((amount * 10**self._digits).to_integral_value(ROUND_HALF_UP))


def _reason(ended: JobEnded) -> str:
    return "no answer" if ended.code is None else f"result code {ended.code:02X}"


def _details(fields: dict[int, bytes]) -> Iterator[tuple[str, str]]:
    """Yield the details that OCPP has a type for."""
    if trace := fields.get(zvt.TRACE):
        yield "SessionRef", trace.hex()
    kind, name = fields.get(zvt.CARD_TYPE, b"\0")[0], fields.get(zvt.CARD_NAME, b"").rstrip(b"\0").decode("cp437")
    if brand := BRANDS.get(kind, name):
        yield "PaymentBrand", brand
    try:
        technology = zvt.objects(fields.get(zvt.TLV, b"")).get(_TECHNOLOGY, b"")
    except FrameError:
        technology = b""
    if technology and technology[0] in READING:
        yield "ReadingMethod", READING[technology[0]]
    digits = fields.get(zvt.PAN, b"").hex().rstrip("f")
    if digits[:6].isdecimal() and len(digits) >= 12:
        yield "CardBin", digits[:6]
    if len(digits) >= 12 and digits[-4:].isdecimal():
        yield "CardLast4Digits", digits[-4:]
    expiry = fields.get(zvt.EXPIRY, b"").hex()
    if expiry.isdecimal() and "01" <= expiry[2:] <= "12":
        yield "CardExpiryDate", f"20{expiry[:2]}/{expiry[2:]}"
