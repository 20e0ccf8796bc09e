"""QR codes for payment on the web, and EVSEs held during such a payment (C25, 2.1)."""

from functools import partial
from typing import Final

from v2g.errors import RefusedError
from v2g.iso15118.engine.session import Fact
from v2g.ocpp.messages.authorization import IdToken
from v2g.ocpp.messages.base import Message, StatusInfo
from v2g.ocpp.messages.payment import DIRECT_PAYMENT, NotifyWebPaymentStartedRequest, NotifyWebPaymentStartedResponse
from v2g.ocpp.messages.transactions import TransactionLimit
from v2g.ocpp.web_payment import LIMITS, QrCode, address, check_template
from v2g_station.blocks.availability import Availability
from v2g_station.blocks.evse import Evse, Indicate
from v2g_station.blocks.reservation import Reservations
from v2g_station.blocks.transactions.sessions import NO_AUTHORIZATION, FunctionalBlock, Shared
from v2g_station.kernel.kernel import Handler, StationCommand, status_info
from v2g_station.kernel.layout import Variable

REQUEST_S: Final = 300.0
"""How long a driver's limits are stored without a payment."""

SECRET_BYTES: Final = 24
_PREFIX: Final = "WebPaymentsCtrlr."
_SOURCES: Final = frozenset({"WebPaymentsCtrlr", "SecurityCtrlr", "OCPPCommCtrlr"})
"""Components that QR codes depend on: address, secret, and the identity at the current CSMS."""


class ShowQrCode(StationCommand, frozen=True, kw_only=True):
    """Display this address as a QR code, at an EVSE or for the whole station (0); None removes it.

    `quality` is its error correction level: Low, Medium, Quartile or High.
    """

    evse_id: int
    url: str | None
    quality: str = "Medium"


class WebPaymentRequested(Fact, frozen=True, kw_only=True):
    """A driver chooses limits of energy, time or cost before scanning a code (C25.FR.03); without any there are none.

    EVSE 0 is the code of the whole station.
    """

    evse_id: int
    limit: TransactionLimit


class WebPayments(FunctionalBlock):
    """The web payments of one station."""

    def __init__(self, shared: Shared, availability: Availability, reservations: Reservations) -> None:
        super().__init__(shared)
        self._reservations = reservations
        self._requests: dict[int, TransactionLimit] = {}
        self._shown: dict[int, str] = {}
        self.answers: dict[str, Handler] = {"NotifyWebPaymentStarted": self._payment_started}
        self._k.model.checks["webpaymentsctrlr.urltemplate"] = _check_template
        if self._k.model.has(_PREFIX + "SharedSecret") and not self._k.model.text(_PREFIX + "SharedSecret"):
            secret = self._k.entropy(SECRET_BYTES).hex()  # made at first boot, so that codes cannot be guessed
            self._k.model.put(_PREFIX + "SharedSecret", secret, durable=True)
        self._can_show = self._k.model.has(_PREFIX + "URLTemplate")
        self._sessions.on_change(lambda _: self.refresh())
        availability.on_change(lambda _: self.refresh())
        self._k.on_clock_set.append(lambda _: self.refresh())
        self._k.watch(self._variable_changed)

    # -- the driver

    def requested(self, fact: WebPaymentRequested) -> None:
        """Put a driver's limits into the code, and store them for the transaction (C25.FR.04 to .06)."""
        if fact.evse_id not in (0, *self._evses) or self.is_paying(fact.evse_id):
            return
        known = self._k.model.members(_PREFIX + "URLParameters") if self._k.model.has(_PREFIX + "URLParameters") else ()
        limit = TransactionLimit(**{field: getattr(fact.limit, field) for n, field in LIMITS.items() if n in known})
        if limit == TransactionLimit():
            self._forget(fact.evse_id)
            return
        self._requests[fact.evse_id] = limit
        self.refresh()
        self._k.after(f"payment.limits.{fact.evse_id}", REQUEST_S, partial(self._forget, fact.evse_id))

    def limit_of(self, evse_id: int, id_token: IdToken) -> TransactionLimit | None:
        """Return and remove the limits chosen before a web payment that is started now."""
        limit = self._requests.pop(evse_id, None) or self._requests.pop(0, None)
        self.refresh()
        return limit if id_token.type == DIRECT_PAYMENT else None

    def _forget(self, evse_id: int) -> None:
        self._requests.pop(evse_id, None)
        self.refresh()

    # -- the CSMS

    def is_paying(self, evse_id: int) -> bool:
        """Return whether a web payment for an EVSE is in progress."""
        return self._k.planned(f"payment.web.{evse_id}")

    def may_begin(self, evse: Evse) -> bool:
        """Return whether a driver identified only by a payment could charge at an EVSE."""
        free = self._sessions.is_free(evse) and not self.is_paying(evse.number)
        return free and self._reservations.usable(evse, NO_AUTHORIZATION, None)[0]

    def _payment_started(self, request: NotifyWebPaymentStartedRequest) -> Message:
        """Hold an EVSE for a web payment, or all of them if none is named (C25.FR.21, .22, .27)."""
        for number in self._evses if request.evse_id == 0 else [request.evse_id]:
            if number in self._evses and self._sessions.is_free(self._evses[number]):
                self._k.after(f"payment.web.{number}", request.timeout, partial(self._over, number))
                self._k.cancel(f"payment.limits.{number}")
                self._k.do(Indicate(evse_id=number, word="web_payment"))
        self.refresh()
        return NotifyWebPaymentStartedResponse()

    def start_requested(self, evse_id: int | None) -> None:
        """Handle a start by the CSMS: the web payment has succeeded, or another driver goes first (C25.FR.22)."""
        for number in self._evses if evse_id is None else [evse_id]:
            self._k.cancel(f"payment.web.{number}")
            if number in self._requests:  # in case the start is rejected
                self._k.after(f"payment.limits.{number}", REQUEST_S, partial(self._forget, number))
        self.refresh()

    def _over(self, evse_id: int) -> None:
        self._forget(evse_id)
        self._k.do(Indicate(evse_id=evse_id, word="timeout"))

    # -- display

    def refresh(self) -> None:
        """Update the displayed codes after the current step."""
        if self._can_show:
            self._k.after("payment.codes", 0, self._show)

    def _variable_changed(self, variable: Variable, _old: str, _new: str) -> None:
        if variable.component in _SOURCES:
            self.refresh()

    def _show(self) -> None:
        """Display the current codes, and schedule the change of their passwords (C25.FR.01)."""
        for number in [n for n in self._requests if n and not self._sessions.is_free(self._evses[n])]:
            self._forget(number)  # another driver was faster
        wanted = self._codes()
        quality = self._k.model.text(_PREFIX + "QRCodeQuality") if wanted else "Medium"
        for number in sorted(self._shown.keys() | wanted.keys()):
            url = wanted.get(number)
            if url != self._shown.get(number):
                self._k.do(ShowQrCode(evse_id=number, url=url, quality=quality))
        self._shown = wanted

    def _codes(self) -> dict[int, str]:
        model = self._k.model
        template, secret = model.text(_PREFIX + "URLTemplate"), model.text(_PREFIX + "SharedSecret")
        self._k.cancel("payment.codes")
        if not (model.flag(_PREFIX + "Enabled") and template and secret and self._k.version == "2.1"):
            return {}
        code = QrCode(
            template=template,
            shared_secret=secret,
            validity_s=int(model.number(_PREFIX + "ValidityTime")),
            length=int(model.number(_PREFIX + "Length")),
        )
        interval_ms = code.validity_s * 1000
        self._k.at_utc("payment.codes", (self._k.utc_ms // interval_ms + 1) * interval_ms, self._show)
        free = [evse for evse in self._evses.values() if self.may_begin(evse)]
        each = "{evse}" in template or "{roamingevseid}" in template or len(self._evses) == 1
        numbers = {evse.number if each else 0: evse for evse in free}
        return {
            number: address(code, self._places(evse), self._k.utc_ms, self._requests.get(number))
            for number, evse in numbers.items()
        }

    def _places(self, evse: Evse) -> dict[str, str]:
        model = self._k.model
        return {
            "chargingstationid": model.text("SecurityCtrlr.Identity"),  # C25.FR.51
            "evse": str(evse.number),
            "roamingevseid": model.text(f"WebPaymentsCtrlr#{evse.number}.RoamingEvseId"),
        }


def _check_template(value: str) -> StatusInfo | None:
    """Reject a template that yields no valid code (C25.FR.50)."""
    try:
        check_template(value)
    except RefusedError as error:
        return status_info("InvalidValue", str(error)[:200])
    return None
