"""Debits what sessions cost by payment mandates: each posting once, also over crashes and lost answers."""

import asyncio
import ssl
from collections.abc import Awaitable, Callable
from typing import Final, NoReturn, TypeVar
from urllib.parse import quote

import msgspec

from csms.mandates import store as rows
from csms.mandates.rules import Debit, DebitAnswer, Mandate, MandateAnswer, PaymentProvider
from csms.payments.config import Mandates
from csms.payments.provider import ProviderClient, answer_of, decimal_of
from csms.services import Services
from v2g.errors import CodecError, RefusedError, TransportError
from v2g.observe import Observe, Scalar
from v2g.pki.keys import read_secret
from v2g.units import decimals_of

T = TypeVar("T")

_LEASE: Final = "payment mandates"
_MOST_PROBLEMS: Final = 5
"""After so many requests without an answer the others wait for the next step, too."""


class DebitCollector:
    """Follows the postings. Should two nodes do so, the provider knows each request by its key.

    What is due is stored first; then the provider is asked; then its decision is stored. After a crash between any two
    of these the same request with the same key follows, which has no second effect.
    """

    def __init__(self, services: Services, provider: PaymentProvider, notice_s: int = 0) -> None:
        """`notice_s`: how long before a debit its payer gets notice of it; 0: there is none."""
        self._services, self._provider, self._notice_s = services, provider, notice_s
        self._problems: list[str] = []  # of this step
        self._lost = False

    async def step(self) -> None:
        """Do all that is due now; what the provider leaves open stays due. Raises StoreError."""
        store, now_ms, self._problems = self._services.store, self._services.clock.utc_ms(), []
        await store.run(rows.end_expired, now_ms)
        if self._notice_s:
            await store.run(rows.drop_corrected, now_ms - 1000 * self._notice_s, now_ms)
        after = 0
        while waiting := await store.read(rows.undecided, after):
            for mandate in waiting:
                await self._advance(mandate)
            after = waiting[-1].id
        for debit in await store.run(rows.plan, now_ms):
            self._report(debit, debit.state, debit.reason)
        after = 0
        while due := await store.read(rows.due, after):
            for debit, reference in due:
                if debit.amount_micro < 0 or await self._noticed(debit, reference):
                    await self._debit(debit, reference)
            after = due[-1][0].posting
        if self._problems and not self._lost:
            self._services.observe(Observe("payments", "provider_lost", {"reason": self._problems[0][:200]}))
        elif self._lost and not self._problems:
            self._services.observe(Observe("payments", "provider_back", {}))
        self._lost = bool(self._problems)

    async def _ask(self, request: Callable[[], Awaitable[T]]) -> T | None:
        """Return a provider's answer, or None: it is to be asked again later. One problem must not stop all others."""
        if len(self._problems) >= _MOST_PROBLEMS:
            return None
        try:
            return await request()
        except (TransportError, CodecError) as error:
            self._problems.append(str(error))
            return None

    async def _advance(self, mandate: Mandate) -> None:
        try:
            if mandate.state == "requested":
                answer = await self._ask(lambda: self._provider.create(mandate))
            else:
                answer = await self._ask(lambda: self._provider.find(mandate.reference))
        except RefusedError as error:
            answer = MandateAnswer(reference=mandate.reference, state="ended", reason=str(error))
        if answer is not None and await self._services.store.run(rows.save_answer, mandate.id, answer):
            self._services.announce(
                "payments", "mandate_changed", mandate=mandate.id, state=answer.state, reason=answer.reason
            )

    async def _noticed(self, debit: Debit, reference: str) -> bool:
        """Return whether a debit's payer has had notice of it for long enough (R189); give it first."""
        if not self._notice_s:
            return True
        now_ms = self._services.clock.utc_ms()
        if debit.noticed_ms is not None:
            return now_ms >= debit.noticed_ms + 1000 * self._notice_s
        about = f"{debit.key}/notice", reference, debit.amount_micro, debit.currency, self._notice_s
        try:
            answer = await self._ask(lambda: self._provider.notify(*about))
        except RefusedError as error:
            answer = DebitAnswer(reference="", state="failed", reason=str(error))
        if answer is None or answer.state == "pending":
            return False
        store = self._services.store
        if answer.state == "failed":  # without notice nothing may be debited
            refused = msgspec.structs.replace(answer, reason=f"no notice: {answer.reason}"[:2000])
            if await store.run(rows.save_debit, debit.posting, refused, now_ms):
                self._report(debit, "failed", refused.reason)
        elif await store.run(rows.save_notice, debit.posting, answer.reference, now_ms):
            self._report(debit, "noticed", "")
        return False

    async def _debit(self, debit: Debit, reference: str) -> None:
        try:
            if debit.amount_micro < 0:
                answer = await self._ask(lambda: self._provider.reverse(debit.key, reference))
            else:
                answer = await self._ask(
                    lambda: self._provider.debit(debit.key, reference, debit.amount_micro, debit.currency, debit.notice)
                )
        except RefusedError as error:
            answer = DebitAnswer(reference="", state="failed", reason=str(error))
        if answer is None or answer.state == "pending":
            return
        now_ms = self._services.clock.utc_ms()
        if await self._services.store.run(rows.save_debit, debit.posting, answer, now_ms):
            self._report(debit, answer.state, answer.reason)

    def _report(self, debit: Debit, state: str, reason: str) -> None:
        data: dict[str, Scalar] = {
            "session_id": debit.session_id,
            "mandate": debit.mandate,
            "amount": decimals_of(debit.amount_micro, debit.currency),
            "currency": debit.currency,
            "reason": reason,
        }
        if state == "done":
            self._services.report("payments", "debit_done", debit.station_id, data)
        elif state == "noticed":
            self._services.report("payments", "debit_noticed", debit.station_id, data)
        else:
            self._services.report("payments", "debit_failed", debit.station_id, data)


async def collect_debits(services: Services, config: Mandates) -> NoReturn:
    """Debit by the configured provider, one node at a time, until cancelled. Raises KeyAccessError, StoreError."""
    tls = ssl.create_default_context(cafile=None if config.root is None else str(config.root))
    client = MandateClient(config.url, read_secret(config.secret_file).decode().strip(), tls)
    collector = DebitCollector(services, client, config.notice_s)
    while True:
        if await services.leads(_LEASE, config.poll_interval_s):
            await collector.step()
        await asyncio.sleep(config.poll_interval_s)


class MandateClient:
    """See PaymentProvider. `token` is a bearer token, `tls` has the roots. Redirects are not followed."""

    def __init__(self, url: str, token: str, tls: ssl.SSLContext | None) -> None:
        self._provider = ProviderClient(url, token, tls)

    async def create(self, mandate: Mandate) -> MandateAnswer:
        body = {
            "payer": mandate.payer,
            "currency": mandate.currency,
            "most": decimal_of(mandate.most_micro, mandate.currency),
            "expires_ms": mandate.expires_ms,
        }
        return answer_of(await self._provider.request("POST", "/mandates", mandate.key, body), MandateAnswer)

    async def find(self, reference: str) -> MandateAnswer:
        return answer_of(await self._provider.request("GET", f"/mandates/{quote(reference, safe='')}"), MandateAnswer)

    async def notify(self, key: str, mandate: str, amount_micro: int, currency: str, notice_s: int) -> DebitAnswer:
        body = {"amount": decimal_of(amount_micro, currency), "currency": currency, "notice_s": notice_s}
        path = f"/mandates/{quote(mandate, safe='')}/notices"
        return answer_of(await self._provider.request("POST", path, key, body), DebitAnswer)

    async def debit(self, key: str, mandate: str, amount_micro: int, currency: str, notice: str) -> DebitAnswer:
        body = {"amount": decimal_of(amount_micro, currency), "currency": currency} | (
            {"notice": notice} if notice else {}
        )
        path = f"/mandates/{quote(mandate, safe='')}/debits"
        return answer_of(await self._provider.request("POST", path, key, body), DebitAnswer)

    async def reverse(self, key: str, debit: str) -> DebitAnswer:
        return answer_of(
            await self._provider.request("POST", f"/debits/{quote(debit, safe='')}/reversals", key, {}), DebitAnswer
        )
