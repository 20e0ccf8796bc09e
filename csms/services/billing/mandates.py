"""Debits what sessions cost by payment mandates: each posting once, also over crashes and lost answers."""

import asyncio
import ssl
from collections.abc import Awaitable, Callable
from typing import Final, NoReturn, TypeVar

from csms.config import Mandates
from csms.db.queries import mandates as rows
from csms.domain.billing.mandates import Debit, DebitAnswer, Mandate, MandateAnswer, PaymentProvider
from csms.ocpp.base import Services
from csms.services.billing.mandate_client import MandateClient
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

    def __init__(self, services: Services, provider: PaymentProvider) -> None:
        self._services, self._provider = services, provider
        self._problems: list[str] = []  # of this step
        self._lost = False

    async def step(self) -> None:
        """Do all that is due now; what the provider leaves open stays due. Raises StoreError."""
        store, now_ms, self._problems = self._services.store, self._services.clock.utc_ms(), []
        await store.run(rows.end_expired, now_ms)
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

    async def _debit(self, debit: Debit, reference: str) -> None:
        try:
            if debit.amount_micro < 0:
                answer = await self._ask(lambda: self._provider.reverse(debit.key, reference))
            else:
                answer = await self._ask(
                    lambda: self._provider.debit(debit.key, reference, debit.amount_micro, debit.currency)
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
        else:
            self._services.report("payments", "debit_failed", debit.station_id, data)


async def collect_debits(services: Services, config: Mandates) -> NoReturn:
    """Debit by the configured provider, one node at a time, until cancelled. Raises KeyAccessError, StoreError."""
    tls = ssl.create_default_context(cafile=None if config.root is None else str(config.root))
    client = MandateClient(config.url, read_secret(config.secret_file).decode().strip(), tls)
    collector = DebitCollector(services, client)
    while True:
        if await services.leads(_LEASE, config.poll_interval_s):
            await collector.step()
        await asyncio.sleep(config.poll_interval_s)
