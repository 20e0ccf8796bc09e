"""Books complete journals: each is compared with the back end's own evidence, waits for it, or goes into quarantine.

What is decided is stored before it is reported; any node may decide, and the database lets one be first.
"""

import asyncio
from collections.abc import Awaitable, Callable, Sequence
from datetime import UTC, tzinfo
from typing import Final, NoReturn, Protocol

import msgspec
from msgspec import UNSET, UnsetType
from sqlalchemy import Connection

from csms.booking import held
from csms.booking import store as reviews
from csms.booking.rules import Certificates, Finding, Rules, is_signed, judge, wrong_prices
from csms.booking.store import Review
from csms.books import store as books
from csms.contracts.rules import assess, charger_fault
from csms.db.store import Store
from csms.services import Services
from csms.settlements import store as records
from csms.settlements.rules import DeliveredCertificates
from csms.settlements.work import Settled, settled_of, taxation_of
from csms.tariffs import store as price_deliveries
from csms.tokens.rules import CONTRACT, ChainVerdict, normalise
from csms.transactions.rules import Transaction, pays_directly
from csms.trust.rules import Anchors
from v2g.energy.settlement.journal import Entry, verify_lines
from v2g.energy.settlement.operator import SignedPrices, prices_in, tariff_digest
from v2g.energy.settlement.records import AuthorizationSigned, SessionStarted, TariffSet
from v2g.energy.settlement.settle import Settlement, settle
from v2g.energy.settlement.taxes import UNTAXED, Taxation
from v2g.errors import CertificateError, V2GError, VerificationError
from v2g.io.runtime.clock import Clock
from v2g.io.runtime.supervision import wait_at_most
from v2g.observe import Scalar
from v2g.pki.certificates import chain_to_pem, common_name, load_certificate

_FINDING_LENGTH: Final = 500

_LEASE: Final = "journals that wait"
_PAUSE_S: Final = 10.0
"""Interval of checks of all journals that wait."""


class Report(Protocol):
    """Reports an event of a station, to the log and to the feed."""

    def __call__(self, stage: str, name: str, station_id: str, data: dict[str, Scalar]) -> None:
        """See `Services.report`."""


class Bookkeeper:
    """Decides about journals by `rules`, and books them by months of `zone`, with the VAT of their receipt.

    `taxation` is that of journals whose receipt, of an earlier version, has none.

    What is missing is waited for, `wait_ms` (UTC ms) from the arrival of a journal's last line. `anchors` are those of
    contracts.
    """

    def __init__(
        self,
        store: Store,
        clock: Clock,
        report: Report,
        anchors: Callable[[], Anchors],
        rules: Rules,
        *,
        wait_ms: int,
        zone: tzinfo = UTC,
        taxation: Taxation = UNTAXED,
    ) -> None:
        self._store, self._clock, self._report = store, clock, report
        self._anchors, self._rules = anchors, rules
        self._wait_ms, self._zone, self._taxation = wait_ms, zone, taxation
        self._stations: set[str] = set()
        self._wake = asyncio.Event()

    @property
    def margin_ms(self) -> int:
        """By so much a session may begin before its transaction, and end after it."""
        return self._rules.margin_ms

    def look_again(self, station_id: str) -> None:
        """Look again at the journals of a station that wait: a transaction of it has ended."""
        self._stations.add(station_id)
        self._wake.set()

    async def run(self, leads: Callable[[str, float], Awaitable[bool]]) -> NoReturn:
        """Look again at journals that wait, until cancelled; `leads` lets one node look at all. Raises StoreError."""
        while True:
            await wait_at_most(_PAUSE_S, self._wake.wait())
            self._wake.clear()
            stations, self._stations = self._stations, set()
            for station_id in stations:
                await self.consider_waiting(station_id)
            if not stations and await leads(_LEASE, _PAUSE_S):
                await self.consider_waiting()

    async def take_certificates(self, station_id: str, delivered: DeliveredCertificates) -> None:
        """Store the certificates of a session's signers, and look at its journal again if that waits for them."""
        held = await asyncio.to_thread(self._judge_certificates, delivered)
        await self._store.run(reviews.save_certificates, station_id, delivered.session_id, held)
        known = await self._store.read(reviews.get, station_id, delivered.session_id)
        if known is not None and known.state == "waiting":
            await self.consider(station_id, delivered.session_id)

    def _judge_certificates(self, delivered: DeliveredCertificates) -> Certificates:
        emaid, anchors, now = "", self._anchors(), self._clock.now()
        if delivered.contract:
            try:
                named = normalise(CONTRACT, common_name(load_certificate(delivered.contract[0])))
                pem = chain_to_pem(delivered.contract)
            except CertificateError:
                pass
            else:
                found = assess(named, pem, (), anchors, now)
                emaid = named if found.chain is ChainVerdict.VALID else ""
        fault = charger_fault(delivered.charger, anchors, now)[:_FINDING_LENGTH]
        return Certificates(delivered.charger[0], delivered.contract[0] if delivered.contract else b"", emaid, fault)

    async def consider_waiting(self, station_id: str | None = None) -> None:
        """Look again at the journals that wait, of one station or of all. Raises StoreError."""
        for station, session_id in await self._store.read(reviews.waiting, station_id):
            await self.consider(station, session_id)

    async def consider(self, station_id: str, session_id: str) -> None:
        """Book a complete journal, unless something is missing or wrong. A decision that was taken stays."""
        known = await self._store.read(reviews.get, station_id, session_id)
        if known is not None and known.state in ("quarantined", "rejected"):
            return
        lines, taxation = await self._store.read(self._delivered, station_id, session_id)
        now_ms = self._clock.utc_ms()
        review = known or Review(
            station_id=station_id,
            session_id=session_id,
            state="waiting",
            transaction_id="",
            begin_ms=0,
            end_ms=0,
            reason="",
            detail="",
            since_ms=now_ms,
            due_ms=now_ms + self._wait_ms,
        )
        try:
            entries, settlement = await asyncio.to_thread(_settle, lines, session_id)
        except V2GError as error:
            await self._put(review, Finding("journal", str(error)))
            return
        settled = settled_of(entries, settlement, taxation)
        if review.state in ("booked", "released"):  # by an older version, perhaps without a posting
            posting = msgspec.structs.replace(settled.posting, station_id=station_id, session_id=session_id)
            await self._store.run(books.save_settled, posting, settled.document, self._clock.utc_ms(), self._zone)
            return
        begin_ms, end_ms = settlement.begin.utc_ms, settlement.end.utc_ms
        review = msgspec.structs.replace(review, begin_ms=begin_ms, end_ms=end_ms)
        evidence = await self._store.read(
            reviews.evidence,
            station_id,
            session_id,
            (settlement.begin.utc_ms, settlement.end.utc_ms),
            {tariff_digest(each.data.tariff) for each in entries if isinstance(each.data, TariffSet)},
            margin_ms=self._rules.margin_ms,
        )
        found = await asyncio.to_thread(judge, entries, settlement, evidence, self._rules)
        review = msgspec.structs.replace(review, transaction_id=found.transaction_id)
        if found.finding is None:
            proven = any(isinstance(each.data, AuthorizationSigned) for each in entries)  # and was checked
            await self._book(review, settled, signed=is_signed(entries), proven=proven)
        else:
            await self._put(review, found.finding)

    async def release(self, station_id: str, session_id: str) -> Settled:
        """Return what books a journal in quarantine on an operator's word: see `csms.booking.store.book`.

        Raises VerificationError for a journal that no settlement follows from.
        """
        lines, taxation = await self._store.read(self._delivered, station_id, session_id)
        entries, settlement = await asyncio.to_thread(_settle, lines, session_id)
        return settled_of(entries, settlement, taxation)

    def _delivered(self, connection: Connection, station_id: str, session_id: str) -> tuple[list[bytes], Taxation]:
        """Return a journal's lines, and its VAT."""
        receipt = records.journal_receipt(connection, station_id, session_id)
        return records.journal_lines(connection, station_id, session_id), taxation_of(receipt, self._taxation)

    async def own_prices(self, station_id: str, lines: Sequence[bytes]) -> SignedPrices | UnsetType:
        """Return the prices of a complete journal, for the operator to sign; UNSET if some are not its own.

        Also for a journal of a charger of 0.2.0, which would not accept a receipt with prices.
        """
        try:
            entries = await asyncio.to_thread(verify_lines, b"".join(lines))
            if isinstance(start := entries[0].data, SessionStarted) and start.bundle != 3:
                return UNSET
            prices = prices_in(entries)
            deliveries = await self._store.read(price_deliveries.deliveries, station_id, set(prices.tariffs))
            wrong = next(wrong_prices(entries, deliveries, self._rules, entries[-1].utc_ms), None)
        except VerificationError:  # an offer that cannot be read
            return UNSET
        return prices if wrong is None else UNSET

    async def _book(self, review: Review, settled: Settled, *, signed: bool, proven: bool) -> None:
        now_ms = self._clock.utc_ms()
        booked = msgspec.structs.replace(review, state="booked", reason="", detail="", due_ms=now_ms)
        posting = msgspec.structs.replace(settled.posting, station_id=review.station_id, session_id=review.session_id)
        outcome = await self._store.run(
            reviews.book,
            booked,
            posting,
            settled.document,
            settled.facts,
            now_ms,
            self._zone,
            signed=signed,
            proven=proven,
        )
        if isinstance(outcome, Finding):
            await self._put(review, outcome)
        elif outcome == "fresh":
            data: dict[str, Scalar] = {"session": review.session_id, "transaction": review.transaction_id}
            self._report("settlement", "settled", review.station_id, data | settled.summary)

    async def _put(self, review: Review, finding: Finding) -> None:
        """Let a journal wait for what is missing until it is due; else put it into quarantine."""
        waits = finding.missing and self._clock.utc_ms() < review.due_ms
        changed = msgspec.structs.replace(
            review,
            state="waiting" if waits else "quarantined",
            reason=finding.reason,
            detail=finding.detail[:_FINDING_LENGTH],
        )
        if await self._store.run(reviews.put, changed):
            name = "journal_waiting" if waits else "journal_quarantined"
            data: dict[str, Scalar] = {"session": review.session_id, "reason": finding.reason}
            self._report("settlement", name, review.station_id, data | {"detail": changed.detail})


def _settle(lines: Sequence[bytes], name: str) -> tuple[Sequence[Entry], Settlement]:
    entries = verify_lines(b"".join(lines), name=name)
    return entries, settle(entries, name=name)


async def announce_due(services: Services, station_id: str, transaction: Transaction) -> None:
    """Publish the end of a transaction paid for without a token, for the settlement with the provider; of one that is
    held once it is released (R194).

    C21.FR.05, C24.FR.10 and C25.FR.40; a webhook delivers it to the provider.
    """
    if not pays_directly(transaction):
        return
    if await services.store.read(held.is_open, station_id, transaction.transaction_id):
        return
    reference = transaction.id_token.value if transaction.id_token else ""
    data = {"transaction": transaction.transaction_id, "psp_ref": reference}
    services.report("ocpp", "payment_due", station_id, data)
