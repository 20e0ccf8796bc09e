"""Carries payments for one session from step to step, over crashes, lost answers and stations that are away.

What is about to happen is stored first; then the provider or the station is asked; then the outcome is stored. After a
crash between any two of these the same request with the same key follows at the provider, which has no second effect;
a station is asked to start once, and its transaction is known by the payment's token.
"""

import asyncio
import ssl
from collections.abc import Callable
from contextlib import suppress
from typing import Final, NoReturn
from urllib.parse import quote

import msgspec

from csms.direct_payments import store as rows
from csms.direct_payments.rules import DirectPayment, PaymentState
from csms.mandates.rules import DebitAnswer, MandateAnswer
from csms.payments.config import DirectPaymentConfig
from csms.payments.provider import ProviderClient, answer_of, decimal_of
from csms.remote_control import work as remote_control
from csms.services import Services
from v2g.errors import CodecError, OcppError, RefusedError, TransportError, V2GError
from v2g.observe import Observe, Scalar
from v2g.ocpp.messages.authorization import IdToken
from v2g.ocpp.messages.payment import DIRECT_PAYMENT
from v2g.ocpp.messages.transactions import TransactionLimit
from v2g.pki.keys import read_secret
from v2g.units import decimals_of, micro_of

_LEASE: Final = "direct payments"


class DirectClient:
    """Holds and takes money at the provider. Raises as PaymentProvider of mandates does."""

    def __init__(self, config: DirectPaymentConfig) -> None:
        """Raises KeyAccessError."""
        tls = ssl.create_default_context(cafile=None if config.root is None else str(config.root))
        self._provider = ProviderClient(config.url, read_secret(config.secret_file).decode().strip(), tls)

    async def authorize(self, payment: DirectPayment) -> MandateAnswer:
        """Hold the amount; `active` once it is held, `ended` if that is declined."""
        body = _money(payment, payment.amount_micro)
        body |= {"return_url": payment.return_url} if payment.return_url else {}
        answer = await self._provider.request("POST", "/authorizations", payment.key("authorization"), body)
        return answer_of(answer, MandateAnswer)

    async def find(self, reference: str) -> MandateAnswer:
        """Return the state of an authorization."""
        path = f"/authorizations/{quote(reference, safe='')}"
        return answer_of(await self._provider.request("GET", path), MandateAnswer)

    async def capture(self, payment: DirectPayment) -> DebitAnswer:
        """Take what the session cost."""
        return await self._end(payment, "captures", _money(payment, payment.captured_micro))

    async def release(self, payment: DirectPayment) -> DebitAnswer:
        """Free what is held and not taken."""
        return await self._end(payment, "releases", {})

    async def _end(self, payment: DirectPayment, act: str, body: dict[str, str]) -> DebitAnswer:
        path = f"/authorizations/{quote(payment.reference, safe='')}/{act}"
        return answer_of(await self._provider.request("POST", path, payment.key(act), body), DebitAnswer)


def _money(payment: DirectPayment, micro: int) -> dict[str, str]:
    return {"amount": decimal_of(micro, payment.currency), "currency": payment.currency}


async def begin(
    services: Services, station_id: str, evse_id: int, returns: Callable[[int], str] = lambda _: ""
) -> DirectPayment:
    """Store a payment at an EVSE, and ask the provider, who is asked again if that fails now.

    Raises RefusedError (`under_way`) while another one is under way there, StoreError.
    """
    config = services.config.payments.direct
    assert config is not None
    about = station_id, evse_id, micro_of(config.amount), config.currency, services.clock.utc_ms(), returns
    payment = await services.store.run(rows.open_payment, *about)
    if payment is None:
        raise RefusedError("somebody pays at this plug already", reason="under_way", hint="try again in some minutes")
    try:
        return await DirectPayments(services, config).advance(payment)
    except (TransportError, CodecError):
        return payment


class DirectPayments:
    """Does what is due for each payment."""

    def __init__(self, services: Services, config: DirectPaymentConfig) -> None:
        self._services, self._provider = services, services[DirectClient]
        self._start_ms, self._began_ms = 1000 * config.start_s, services.clock.utc_ms()
        self._lost = False

    async def step(self) -> None:
        """Do all that is due now; what the provider leaves open stays due. Raises StoreError."""
        problem = ""
        for each in await self._services.store.read(rows.open_payments):
            try:
                await self.advance(each)
            except (TransportError, CodecError) as error:
                problem = str(error)
        if bool(problem) != self._lost:
            self._lost = bool(problem)
            data: dict[str, Scalar] = {"reason": problem[:200]} if problem else {}
            self._services.observe(Observe("payments", "provider_lost" if problem else "provider_back", data))

    async def advance(self, payment: DirectPayment) -> DirectPayment:
        """Do the next step of a payment; return it as it is then. Raises TransportError, CodecError, StoreError."""
        now_ms = self._services.clock.utc_ms()
        match payment.state:
            case "requested" | "pending":
                await self._authorize(payment, late=now_ms >= payment.created_ms + self._start_ms)
            case "authorized":
                await self._start(payment, now_ms)
            case "starting":
                await self._await_session(payment)
            case "running":
                await self._follow(payment, now_ms)
            case "capturing":
                await self._end(payment, capture=True)
            case "releasing":
                await self._end(payment, capture=False)
            case _:
                return payment
        found = await self._services.store.read(rows.payment, payment.id)
        assert found is not None
        return found

    async def _authorize(self, payment: DirectPayment, *, late: bool) -> None:
        try:
            if payment.state == "requested":
                answer = await self._provider.authorize(payment)
            else:
                answer = await self._provider.find(payment.reference)
        except RefusedError as error:
            await self._save(payment, "failed", reason=str(error)[:500])
            return
        known = {"reference": answer.reference, "approval_url": answer.approval_url, "reason": answer.reason[:500]}
        if answer.state == "ended":
            await self._save(payment, "failed", **known)
        elif late:
            await self._save(payment, "releasing", **{**known, "reason": "not approved in time"})
        elif answer.state == "active":
            await self._save(payment, "authorized", **known)
        elif payment.state == "requested":
            await self._save(payment, "pending", **known)

    async def _start(self, payment: DirectPayment, now_ms: int) -> None:
        away = payment.station_id not in self._services.connections.connected()
        waited_ms = now_ms - max(payment.changed_ms, self._began_ms)  # stations come back after a restart
        if now_ms >= payment.changed_ms + self._start_ms or (away and waited_ms >= remote_control.SETTLED_MS):
            why = "the station is not connected" if away else "it was not started in time"
            await self._save(payment, "releasing", reason=why)
            return
        if away:
            return
        if await self._services.store.read(rows.is_in_use, payment):
            await self._save(payment, "releasing", reason="somebody else charges here")
            return
        kind = DIRECT_PAYMENT if self._services.connections.version(payment.station_id) == "2.1" else "Central"
        token = IdToken(id_token=payment.token, type=kind)
        limit = TransactionLimit(max_cost=float(decimals_of(payment.amount_micro)))
        if not await self._save(payment, "starting"):  # another node starts it
            return
        starting = await self._services.store.read(rows.payment, payment.id)
        assert starting is not None
        try:
            started = await remote_control.start(
                self._services, payment.station_id, token, evse_id=payment.evse_id, limit=limit
            )
        except (RefusedError, OcppError) as error:
            await self._save(starting, "releasing", reason=str(error)[:500])
        except V2GError:  # whether it has begun is seen by its transaction
            return
        else:
            if started.response.status != "Accepted":
                await self._save(starting, "releasing", reason=f"the station answered {started.response.status}")

    async def _await_session(self, payment: DirectPayment) -> None:
        name = await self._services.store.read(rows.session_of, payment)
        if name:
            await self._save(payment, "running", transaction_id=name)
            return
        about = payment.station_id, payment.changed_ms, self._start_ms
        if await remote_control.has_not_begun(self._services, *about):
            await self._save(payment, "releasing", reason="no vehicle was plugged in")

    async def _follow(self, payment: DirectPayment, now_ms: int) -> None:
        cost = await self._services.store.read(rows.cost_of, payment, now_ms)
        if cost is None or cost.held:
            return  # held: until somebody has decided
        if cost.ended and cost.amount_micro and cost.currency != payment.currency:  # nobody knows at which rate
            price = decimals_of(cost.amount_micro, cost.currency)
            await self._save(payment, "held", reason=f"the session costs {price} {cost.currency}")
        elif cost.ended:
            amount = min(cost.amount_micro, payment.amount_micro)
            await self._save(payment, "capturing" if amount else "releasing", captured_micro=amount)
        elif cost.amount_micro >= (payment.amount_micro if cost.currency == payment.currency else 1):
            with suppress(V2GError):  # it is asked again
                await remote_control.stop(self._services, payment.transaction_id, payment.station_id)

    async def _end(self, payment: DirectPayment, *, capture: bool) -> None:
        ask = self._provider.capture if capture else self._provider.release
        try:
            answer = await ask(payment)
        except RefusedError as error:
            answer = DebitAnswer(reference=payment.reference, state="failed", reason=str(error)[:500])
        if capture and answer.state == "failed":  # what is held stays with the driver
            await self._save(payment, "releasing", captured_micro=0, reason=answer.reason)
        elif answer.state == "failed":  # what was taken is paid for nevertheless
            await self._save(payment, "settled" if payment.captured_micro else "failed", reason=answer.reason)
        elif answer.state == "done":
            await self._save(payment, "releasing" if capture else "settled" if payment.captured_micro else "released")

    async def _save(self, payment: DirectPayment, state: PaymentState, **changes: object) -> bool:
        now_ms = self._services.clock.utc_ms()
        if not await self._services.store.run(rows.save, payment, state, now_ms, **changes):
            return False
        report(self._services, msgspec.structs.replace(payment, state=state, **changes))
        return True


def report(services: Services, payment: DirectPayment) -> None:
    """Report the state of a payment."""
    data: dict[str, Scalar] = {
        "payment": payment.id,
        "state": payment.state,
        "transaction": payment.transaction_id,
        "amount": decimals_of(payment.captured_micro or payment.amount_micro, payment.currency),
        "currency": payment.currency,
        "reason": payment.reason[:200],
    }
    services.report("payments", "direct_payment", payment.station_id, data)


async def settle_direct_payments(services: Services, config: DirectPaymentConfig) -> NoReturn:
    """Do what is due, one node at a time, until cancelled. Raises StoreError."""
    work = DirectPayments(services, config)
    while True:
        if await services.leads(_LEASE, config.poll_interval_s):
            await work.step()
        await asyncio.sleep(config.poll_interval_s)
