"""Certificates of stations from outside CAs: a request waits in the database until its CA has decided (R217).

A CA is asked by EST, or by a person, who hands its answer over.

It survives restarts and the loss of a node; a station that repeats its request buys no second certificate; a
certificate whose station is away is kept until it can be delivered.
"""

import asyncio
import contextlib
from collections.abc import Awaitable, Callable, Sequence
from fnmatch import fnmatchcase
from typing import Final

import msgspec
import sqlalchemy as sa
from cryptography import x509

from csms.cluster.feed import Feed
from csms.config import OutsideCa
from csms.db.base import AnyRow
from csms.db.store import Store
from csms.station_security.store import enrolments
from v2g.errors import CertificateError, RefusedError, StoreError, V2GError
from v2g.io.http.est import EnrolmentPending, EstClient
from v2g.io.runtime.clock import Clock
from v2g.io.runtime.supervision import spawn, wait_at_most
from v2g.observe import Observe, Scalar
from v2g.ocpp.messages.security import CertificateSignedRequest, CertificateSignedResponse
from v2g.pki.certificates import chain_from_pem, chain_to_pem, key_kind, load_certificate
from v2g.pki.credentials import load_chain
from v2g.pki.csr import load_csr
from v2g.pki.est import MOST_PAUSE_S, issued_chain
from v2g.pki.lint import REFUSED_IN_FIELD, lint
from v2g.pki.profile import Generation, KeyKind, Role

_LEASE_MS: Final = 120_000
_LOOK_S: Final = 5.0
_AGAIN_S: Final = 60.0
"""Pause after an error that may pass, and before another attempt to deliver."""
_MOST_CHAIN: Final = 10_000
"""Longest certificateChain of CertificateSigned (OCPP 2.0.1)."""
_AT_ONCE: Final = 20


class WaitingEnrolment(msgspec.Struct, frozen=True):
    """A request that has no end yet."""

    station_id: str
    kind: str
    csr: str
    request_id: int | None
    since_ms: int
    chain: str

    @property
    def key(self) -> tuple[str, str]:
        """Which request of a station it is."""
        return self.station_id, self.kind


Deliver = Callable[[str, CertificateSignedRequest], Awaitable[CertificateSignedResponse]]


class Enrolments:
    """Requests of stations at outside CAs; works while `run` does, on every node."""

    def __init__(
        self,
        config: tuple[OutsideCa, ...],
        store: Store,
        clock: Clock,
        deliver: Deliver,
        observe: Callable[[Observe], None],
        feed: Feed,
    ) -> None:
        """Read files. Raises ConfigError, KeyAccessError."""
        self._cas = [(each, None if each.est is None else EstClient(each.est, clock)) for each in config]
        self._roots = [tuple(der for path in each.roots for der in load_chain(path)) for each in config]
        self._store, self._clock, self._deliver = store, clock, deliver
        self._observe, self._feed = observe, feed
        self._wake = asyncio.Event()

    def roots(self, station_id: str, kind: str | None) -> tuple[bytes, ...]:
        """Return the roots (DER) of the CA for a kind of certificate of a station; none: a built-in one is asked."""
        place = self._place(station_id, kind or "")
        return () if place is None else self._roots[place]

    async def ask(self, station_id: str, kind: str | None, csr: str, request_id: int | None) -> None:
        """Note a request; a repeated one stays the one that it is. Raises StoreError."""
        await self._store.run(_put, station_id, kind or "", csr, request_id, self._clock.utc_ms())
        self._wake.set()

    def is_manual(self, station_id: str, kind: str) -> bool:
        """Return whether a person has to ask the CA."""
        place = self._place(station_id, kind)
        return place is not None and self._cas[place][1] is None

    def checked(self, waiting: WaitingEnrolment, pem: str) -> str:
        """Return the chain (PEM) that a person has got for a request. Raises CertificateError, RefusedError."""
        roots, csr = self.roots(*waiting.key), load_csr(waiting.csr.encode())
        found = issued_chain(
            [load_certificate(der) for der in chain_from_pem(pem.encode())],
            csr,
            roots,
            role=role_of(waiting.kind),
            generation=generation_of(csr),
            at=self._clock.now(),
        )
        return self._deliverable(waiting, found.der, roots)

    def decided(self, waiting: WaitingEnrolment, refusal: str = "") -> None:
        """Deliver soon what a person has handed over, or report why it was refused."""
        if refusal:
            self._report(
                "certificate_refused", waiting.station_id, kind=waiting.kind, reason="Refused", detail=refusal[:200]
            )
        self._wake.set()

    async def run(self) -> None:
        """Ask the CAs and deliver, for ever."""
        if not self._cas:
            return
        while True:
            self._wake.clear()
            with contextlib.suppress(StoreError):
                await self.look()
            await wait_at_most(_LOOK_S, self._wake.wait())

    async def look(self) -> None:
        """Carry on with what is due. Raises StoreError."""
        due = await self._store.run(_claim, self._clock.utc_ms())
        await asyncio.gather(*(spawn(self._carry_on(each)) for each in due))

    async def _carry_on(self, waiting: WaitingEnrolment) -> None:
        pause_s = 0.0
        try:
            place = self._place(*waiting.key)
            if place is None:
                raise RefusedError("its CA is no longer configured", reason="NotConfigured")
            patience_h = self._cas[place][0].patience_h
            if self._clock.utc_ms() - waiting.since_ms > patience_h * 3_600_000:
                raise RefusedError(f"not issued and delivered within {patience_h:g} h", reason="TimedOut")
            chain = waiting.chain or await self._issued(waiting, place)
            if isinstance(chain, EnrolmentPending):
                pause_s = chain.pause_s
                self._report("certificate_pending", waiting.station_id, kind=waiting.kind, detail="")
            else:
                pause_s = await self._hand_over(waiting, chain)
        except (CertificateError, RefusedError) as error:
            detail = str(error)[:200]
            self._report(
                "certificate_refused", waiting.station_id, kind=waiting.kind, reason=error.reason, detail=detail
            )
        except V2GError as error:
            pause_s = _AGAIN_S
            self._report("certificate_pending", waiting.station_id, kind=waiting.kind, detail=str(error)[:200])
        with contextlib.suppress(StoreError):  # else the lease ends
            await self._store.run(_go_on, waiting, self._clock.utc_ms(), round(pause_s * 1000))

    async def _issued(self, waiting: WaitingEnrolment, place: int) -> str | EnrolmentPending:
        """Return the chain (PEM) that a CA issues, stored. Raises as `EstClient`, and RefusedError for a chain that is
        too long."""
        (_, client), roots = self._cas[place], self._roots[place]
        csr = load_csr(waiting.csr.encode())
        if client is None:
            return EnrolmentPending(MOST_PAUSE_S)
        found = await client.chain(csr, roots, role=role_of(waiting.kind), generation=generation_of(csr))
        if isinstance(found, EnrolmentPending):
            return found
        chain = self._deliverable(waiting, found.der, roots)
        await self._store.run(note, waiting, chain=chain)
        return chain

    def _deliverable(self, waiting: WaitingEnrolment, ders: Sequence[bytes], roots: Sequence[bytes]) -> str:
        """Return a verified chain as OCPP carries it, and report what vehicles may refuse of it."""
        chain = chain_to_pem(ders)
        for each in lint(ders, roots, role=role_of(waiting.kind), at=self._clock.now()).findings:
            if not each.edition and not each.place and each.rule in REFUSED_IN_FIELD:
                data: dict[str, Scalar] = {"kind": waiting.kind, "rule": each.rule, "detail": each.text}
                self._report("certificate_doubtful", waiting.station_id, **data)
        if len(chain) > _MOST_CHAIN:
            raise RefusedError(f"a chain of {len(chain)} characters does not fit OCPP", reason="TooLong")
        return chain

    async def _hand_over(self, waiting: WaitingEnrolment, chain: str) -> float:
        """Deliver a chain; return how long to wait for another attempt, s, 0 for none."""
        signed = CertificateSignedRequest(
            certificate_chain=chain,
            certificate_type=waiting.kind or None,  # type: ignore[arg-type]
            request_id=waiting.request_id,
        )
        try:
            await self._deliver(waiting.station_id, signed)
        except RefusedError as error:
            if error.reason == "certificate":
                raise
            return _AGAIN_S  # it is not connected
        return 0.0

    def _report(self, name: str, station_id: str, **data: Scalar) -> None:
        self._observe(Observe("ocpp", name, {"station": station_id, **data}))
        self._feed.publish(name, station_id, data)

    def _place(self, station_id: str, kind: str) -> int | None:
        for place, (config, _) in enumerate(self._cas):
            of_station = not config.stations or any(fnmatchcase(station_id, each) for each in config.stations)
            if of_station and (kind or "Combined") in config.kinds:
                return place
        return None


def role_of(kind: str) -> Role:
    """Return the role of a kind of certificate."""
    return Role.STATION if kind == "ChargingStationCertificate" else Role.SECC


def generation_of(csr: x509.CertificateSigningRequest) -> Generation:
    """Return whose profile a request asks for: a key on secp256r1 is one of ISO 15118-2."""
    old = key_kind(csr.public_key()) is KeyKind.SECP256R1
    return Generation.ISO15118_2 if old else Generation.ISO15118_20


def _put(connection: sa.Connection, station_id: str, kind: str, csr: str, request_id: int | None, now_ms: int) -> None:
    here = (enrolments.c.station_id == station_id) & (enrolments.c.kind == kind)
    row = connection.execute(sa.select(enrolments.c.csr).where(here).with_for_update()).first()
    if row is not None and load_csr(row.csr.encode()).public_key() == load_csr(csr.encode()).public_key():
        connection.execute(sa.update(enrolments).where(here).values(request_id=request_id, due_ms=now_ms))
        return
    connection.execute(sa.delete(enrolments).where(here))
    connection.execute(
        sa.insert(enrolments).values(
            station_id=station_id, kind=kind, csr=csr, request_id=request_id, since_ms=now_ms, due_ms=now_ms, chain=""
        )
    )


def waiting_of(connection: sa.Connection, station_id: str, kind: str) -> WaitingEnrolment | None:
    """Return the request of a station that waits, of a kind."""
    here = (enrolments.c.station_id == station_id) & (enrolments.c.kind == kind)
    row = connection.execute(sa.select(enrolments).where(here)).first()
    return None if row is None else _waiting(row)


def all_waiting(connection: sa.Connection) -> list[WaitingEnrolment]:
    """Return all requests that wait."""
    return [_waiting(row) for row in connection.execute(sa.select(enrolments))]


def note(connection: sa.Connection, /, waiting: WaitingEnrolment, **values: object) -> None:
    """Store `chain` or `due_ms` of a request, unless the station has made another one."""
    connection.execute(sa.update(enrolments).where(_is(waiting)).values(**values))


def end(connection: sa.Connection, waiting: WaitingEnrolment) -> None:
    """Remove a request, unless the station has made another one."""
    connection.execute(sa.delete(enrolments).where(_is(waiting)))


def _waiting(row: AnyRow) -> WaitingEnrolment:
    return WaitingEnrolment(row.station_id, row.kind, row.csr, row.request_id, row.since_ms, row.chain)


def _claim(connection: sa.Connection, now_ms: int) -> list[WaitingEnrolment]:
    rows = connection.execute(
        sa.select(enrolments)
        .where(enrolments.c.due_ms <= now_ms)
        .order_by(enrolments.c.due_ms)
        .limit(_AT_ONCE)
        .with_for_update(skip_locked=True)
    ).all()
    found = [_waiting(row) for row in rows]
    for each in found:
        note(connection, each, due_ms=now_ms + _LEASE_MS)
    return found


def _go_on(connection: sa.Connection, waiting: WaitingEnrolment, now_ms: int, pause_ms: int) -> None:
    """Note the next attempt, or the end; what a station or a person has brought meanwhile stays, and stays due."""
    if pause_ms:
        later = enrolments.c.due_ms > now_ms
        connection.execute(sa.update(enrolments).where(_is(waiting) & later).values(due_ms=now_ms + pause_ms))
    else:
        end(connection, waiting)


def _is(waiting: WaitingEnrolment) -> sa.ColumnElement[bool]:
    there = enrolments.c
    return (there.station_id == waiting.station_id) & (there.kind == waiting.kind) & (there.csr == waiting.csr)
