"""Admission of stations: authentication, decisions, and help with first connections (A00, A01, A05)."""

import asyncio
import hmac
import math
import os
import ssl
from collections.abc import Awaitable, Callable, Mapping, Sequence
from typing import Final, TypeVar
from weakref import WeakValueDictionary

import msgspec

from csms.admission import rules
from csms.admission import rules as faults
from csms.admission import store as rows
from csms.admission.store import ConnectionAttempt, FaultCount
from csms.cluster.connections import ConnectionRegistry
from csms.cluster.feed import Feed
from csms.config import CsmsConfig
from csms.db.store import Store
from csms.station_security import store as security
from v2g.errors import CertificateError, OcppError, RefusedError, V2GError
from v2g.io.runtime.clock import Clock
from v2g.io.runtime.supervision import spawn
from v2g.io.tls.peer_chain import PeerJudge
from v2g.io.websocket.server import Handshake, Refusal, Welcome, peer_name
from v2g.observe import Observe, Scalar
from v2g.ocpp.messages.base import Component, Message, Variable
from v2g.ocpp.messages.provisioning import SetVariableData, SetVariablesRequest, SetVariablesResponse
from v2g.pki.password_hash import hash_password, password_fits
from v2g.rates import Buckets, caller_at

M = TypeVar("M", bound=Message)

_REPEAT_MS: Final = 10_000  # minimum interval of storing the same fault; it is counted meanwhile
_MAX_COUNTED: Final = 5000
_SHOWN: Final = 5
_HASHING: Final = 2  # slow hashes at a time: attackers must not occupy every thread


_SAME_EVENT_MS: Final = 3_600_000
_WRONG_PER_S: Final = 1.0
_WRONG_AT_ONCE: Final = 50.0
"""Wrong passwords from one caller (`v2g.rates.caller_at`); a tenth for each identity there."""


class _Repeated(msgspec.Struct):
    """A repeated security event: its row, its start, and its count since it was last stored."""

    number: int
    first_ms: int
    last_ms: int
    stored_ms: int
    times: int = 0


class StationAdmissions:
    """Checks opening handshakes, and stores operators' decisions."""

    def __init__(
        self,
        config: CsmsConfig,
        store: Store,
        clock: Clock,
        connections: ConnectionRegistry,
        observe: Callable[[Observe], None],
        feed: Feed,
        marks: rules.PasswordMarks,
    ) -> None:
        self._config = config
        self._store = store
        self._clock = clock
        self._connections = connections
        self._observe = observe
        self._feed = feed
        self._configured = {entry.id: entry.boot for entry in config.stations}
        self._without_password = frozenset(entry.id for entry in config.stations if entry.without_password)
        self._first_passwords = {entry.id: entry.password for entry in config.stations if entry.password}
        self._marks = marks
        self._hashing = asyncio.Semaphore(_HASHING)
        self._first: WeakValueDictionary[str, asyncio.Lock] = WeakValueDictionary()
        self._wrong = Buckets(per_s=_WRONG_PER_S, burst=_WRONG_AT_ONCE)
        self._wrong_of_one = Buckets(per_s=_WRONG_PER_S / 10, burst=_WRONG_AT_ONCE / 10)
        self._repeated: dict[tuple[str, str, str], _Repeated] = {}
        self._counted: dict[tuple[str, str, str], FaultCount] = {}
        self._noting: set[asyncio.Task[None]] = set()
        self._let_in: dict[int, tuple[int, rules.Admission]] = {}
        """What was read at the handshakes of connections (`id` of the transport), and after how many decisions."""
        self._decisions = 0

    # -- handshakes

    async def admission(self, identity: str) -> rules.Admission | None:
        """Return how to treat a station, None for one that is rejected."""
        return self._admit(identity, await self._store.look_up(rows.find_all, identity))

    async def let_in(self, identity: str, profile: rules.SecurityProfile, transport: object) -> rules.Admission | None:
        """As `standing`, of a station just admitted by its handshake: uses what was read then."""
        seen, held = self._let_in.pop(id(transport), (-1, rules.Admission("Accepted")))
        found: rules.Admission | None = held
        while seen != self._decisions:
            seen, found = self._decisions, await self.standing(identity, profile, held)
        return found

    async def standing(
        self, identity: str, profile: rules.SecurityProfile, held: rules.Admission, *, credentials: bool = True
    ) -> rules.Admission | None:
        """As `admission`, of a station connected by a security profile that was admitted before (`held`): None also
        where profile, expired certificate or, with `credentials`, its password are not enough any more."""
        known = await self._store.look_up(rows.find_all, identity) or rules.Known()
        if profile < known.least_profile or (held.expired and known.expired_until_ms <= self._clock.utc_ms()):
            return None
        if credentials and held.password and held.password not in (known.password, known.next_password):
            return None
        return _held(self._admit(identity, known), held.password, expired=held.expired)

    def decided(self) -> None:
        """Have what was read of connecting stations before a decision, here or on another node, read again."""
        self._decisions += 1

    def handshake_check(self, profile: rules.SecurityProfile, judge: PeerJudge | None) -> Welcome:
        """Return the handshake check for a listener of this profile; `judge` is for profile 3."""

        async def welcome(shown: Handshake) -> Refusal | None:
            fault = await self._judge(shown, profile, judge)
            if fault is None and shown.version is None:
                await self._note(shown, faults.no_version(shown.offered, self._config.ocpp.subprotocols))
                return None
            if fault is None:
                # delete the faults of a station that has connected, from where it had failed before, on any node
                place = shown.identity or "", shown.address
                for key in [key for key in self._counted if key[:2] == place]:
                    del self._counted[key]
                if await self._store.look_up(rows.any_faults, place):
                    await self._store.run(rows.forget_faults, *place)
                return None
            await self._note(shown, fault)
            if profile != 3 and fault.kind in faults.SECRET:
                # answer all faults alike: the reason is for the operator only
                wait_s = self._throttled(shown)
                if shown.credentials is not None:
                    now, caller = self._clock.monotonic(), caller_at(shown.address)
                    self._wrong.take(caller, now)
                    self._wrong_of_one.take(f"{shown.identity} {caller}", now)
                if wait_s:
                    return Refusal(429, "too many wrong passwords", math.ceil(wait_s))
                return Refusal(401, "not admitted: the operator of the back end can see why")
            return Refusal(fault.status, f"{fault.detail}: {fault.hint}")

        return welcome

    def _throttled(self, shown: Handshake) -> float:
        """Return how long (s) no password is checked from this address, or from there for this identity."""
        now, caller = self._clock.monotonic(), caller_at(shown.address)
        one = f"{shown.identity} {caller}"
        return max(self._wrong.wait_s(caller, now), self._wrong_of_one.wait_s(one, now))

    def tls_failed(self, error: ssl.SSLError) -> None:
        """Record a failed TLS handshake; the station is unknown."""
        verify = error.verify_message if isinstance(error, ssl.SSLCertVerificationError) else ""
        fault = faults.failed_tls(error.reason or "", verify)
        self._keep_soon("", fault)

    async def note_boot(self, identity: str, serial_number: str) -> None:
        """Record a station that was disconnected because of the serial number in its boot."""
        await self._keep(identity, "", faults.other_serial_number(serial_number))

    def tls_without_need(self, address: str) -> None:
        """Record a station that uses TLS on a listener without."""
        self._keep_soon(address, faults.tls_without_need())

    def _keep_soon(self, address: str, fault: rules.Fault) -> None:
        task = spawn(self._keep("", address, fault))
        self._noting.add(task)
        task.add_done_callback(self._noting.discard)

    async def _judge(
        self, shown: Handshake, profile: rules.SecurityProfile, judge: PeerJudge | None
    ) -> rules.Fault | None:
        identity = shown.identity
        if identity is None:
            return faults.wrong_path(shown.path, self._config.ocpp.path, profile)
        seen = self._decisions
        known = await self._store.look_up(rows.find_all, identity)
        expired = False
        if profile == 3:
            fault = self._judge_certificate(shown, identity, judge)
            expired = fault is not None and self._may_be_expired(shown, fault, known, judge)
            if fault is not None:
                await self._event(identity, "InvalidChargingStationCertificate", fault.detail)  # A00.FR.408
            if fault is not None and not expired:
                return fault
        elif not self._needs_none(shown, profile) and (fault := self._judge_user(shown, identity)):
            return fault
        admission = _held(self._admit(identity, known), "", expired=expired)
        if admission is None:
            if known is not None and known.decision == "Refused":
                return faults.refused_station(identity)
            await self._visit(shown, identity, profile)
            return faults.unknown_station(identity)
        known = known or rules.Known()
        if profile != 3 and not self._needs_none(shown, profile):
            password = await self._judge_password(shown, identity, known)
            if isinstance(password, rules.Fault):
                return password
            admission = msgspec.structs.replace(admission, password=password)
        if profile < known.least_profile:
            return faults.lower_profile(profile, known.least_profile)
        if not known.decision and identity not in self._configured:
            await self._visit(shown, identity, profile)
        if profile > known.least_profile and shown.version is not None:
            await self._store.run(rows.set_least_profile, identity, profile)  # A05.FR.07
        if len(self._let_in) >= _MAX_COUNTED:  # of stations that never completed
            del self._let_in[next(iter(self._let_in))]
        self._let_in[id(shown.transport)] = seen, admission
        return None

    def _needs_none(self, shown: Handshake, profile: rules.SecurityProfile) -> bool:
        """Return whether a station of 1.6 is one that shows no password: security profile 0."""
        of_16 = profile == 1 and shown.version == "1.6" and shown.credentials is None
        return of_16 and shown.identity in self._without_password

    def _admit(self, identity: str, known: rules.Known | None) -> rules.Admission | None:
        decision: rules.Decision = known.decision if known is not None else ""
        return rules.admit(identity, self._configured, decision, self._config.unknown_stations)

    def _judge_certificate(self, shown: Handshake, identity: str, judge: PeerJudge | None) -> rules.Fault | None:
        name = peer_name(shown.transport)
        if name is None or judge is None:
            return faults.no_certificate()
        if name != identity:
            return faults.other_name(name, identity)
        try:
            judge.judge(shown.transport)
        except CertificateError as error:
            self._report("station_refused", identity, reason=error.reason, detail=str(error))
            if error.reason == "expired":
                return faults.expired_certificate(str(error))
            return faults.bad_certificate(error.reason, str(error), error.hint or "")
        return self._judge_organization(shown)

    def _judge_organization(self, shown: Handshake) -> rules.Fault | None:
        certificate = shown.transport.get_extra_info("peercert") or {}
        names = [value for group in certificate.get("subject", ()) for key, value in group if key == "organizationName"]
        wanted, organization = self._config.ocpp.organization, (names[0] if len(names) == 1 else "")
        if wanted and organization != wanted:
            return faults.other_organization(organization, wanted)
        return None

    def _may_be_expired(
        self, shown: Handshake, fault: rules.Fault, known: rules.Known | None, judge: PeerJudge | None
    ) -> bool:
        """Return whether the only fault is an expired certificate that an operator has allowed (A00.FR.429)."""
        allowed = known is not None and known.expired_until_ms > self._clock.utc_ms()
        if not allowed or fault.kind != "expired" or judge is None:
            return False
        try:
            judge.judge_expired(shown.transport)
        except CertificateError:
            return False
        return self._judge_organization(shown) is None

    @staticmethod
    def _judge_user(shown: Handshake, identity: str) -> rules.Fault | None:
        if shown.credentials is None:
            return faults.no_password()
        if shown.credentials.username != identity:
            return faults.wrong_user(shown.credentials.username)
        return None

    async def _judge_password(self, shown: Handshake, identity: str, known: rules.Known) -> rules.Fault | str:
        """Return the hash that the password fits, or the fault."""
        assert shown.credentials is not None
        password = shown.credentials.password
        fits = self._marks.judge(known.verified, identity, password, known.password) if known.password else False
        new = identity not in self._configured and not known.decision and self._config.unknown_stations == "accept"
        if fits or not (known.password or known.next_password or identity in self._first_passwords or new):
            return known.password if fits else faults.password_missing_here()
        wait_s = self._throttled(shown)
        if fits is None or known.next_password or not known.password:  # a slow hash: one at a time for each identity
            async with self._first.setdefault(identity, asyncio.Lock()):
                wait_s = wait_s or self._throttled(shown)
                if not wait_s and (hashed := await self._fits(identity, password, known)):
                    return hashed
        await self._event(identity, "FailedToAuthenticateAtCsms", "wrong password")
        return faults.too_many_guesses(wait_s) if wait_s else faults.wrong_password()

    async def _fits(self, identity: str, password: str, known: rules.Known) -> str:
        """Return the hash of the station that a password fits, "" if none, by slow hashes; the result is stored."""
        if not known.password and not known.next_password:
            wanted = self._first_passwords.get(identity) or self._config.onboarding_password
            key = rules.stored_form(wanted or password)
            if not any(hmac.compare_digest(form.encode(), key.encode()) for form in rules.forms(password)):
                return ""
            try:
                rules.check_password(key)  # trust on first use: check its form
            except RefusedError:
                return ""
            hashed = await self._hashed(key)
            if not await self._store.run(rows.set_first_password, identity, hashed, self._clock.utc_ms()):
                there = await self._store.look_up(rows.find_all, identity)  # another connection, or node, was first
                return "" if there is None else await self._fits(identity, password, there)
            await self._verified(identity, key, hashed)
            return hashed
        if fitting := await self._fitting(password, known.password):
            await self._verified(identity, fitting, known.password)
            return known.password
        if fitting := await self._fitting(password, known.next_password):
            await self._settle(identity, known.next_password, taken=True)  # the station uses it, so it had accepted it
            await self._verified(identity, fitting, known.next_password)
            return known.next_password
        return ""

    async def _verified(self, identity: str, password: str, hashed_password: str) -> None:
        await self._store.run(rows.note_verified, identity, self._marks.mark(identity, password, hashed_password))

    async def _hashed(self, password: str, *, random: bool = False) -> str:
        async with self._hashing:
            return await asyncio.to_thread(hash_password, password, os.urandom(rules.SALT_BYTES), random=random)

    async def _fitting(self, password: str, hashed_password: str) -> str:
        """Return the form of a password that fits a hash, "" if none does."""
        for form in rules.forms(password) if hashed_password else ():
            async with self._hashing:
                if await asyncio.to_thread(password_fits, form, hashed_password):
                    return form
        return ""

    # -- faults

    async def _visit(self, shown: Handshake, identity: str, profile: rules.SecurityProfile) -> None:
        visit = ConnectionAttempt(
            station_id=identity, address=shown.address, offered=", ".join(shown.offered), security_profile=profile
        )
        if await self._store.run(rows.note_attempt, visit, self._clock.utc_ms()):
            self._report("unknown_station", identity, address=shown.address, profile=profile)

    async def _note(self, shown: Handshake, fault: rules.Fault) -> None:
        await self._keep(shown.identity or "", shown.address, fault)

    async def _keep(self, identity: str, address: str, fault: rules.Fault) -> None:
        """Count a fault, and store it unless the same one was stored just now."""
        now_ms = self._clock.utc_ms()
        key = identity, address, fault.kind
        before = self._counted.get(key)
        if before is not None and now_ms - before.first_ms < _REPEAT_MS:
            self._counted[key] = _count(identity, address, fault, before.times + 1, before.first_ms, now_ms)
            return
        self._report(
            "connection_fault", identity, address=address, kind=fault.kind, detail=fault.detail, hint=fault.hint
        )
        await self._flush(key)
        if len(self._counted) >= _MAX_COUNTED:
            await self.flush()
            self._counted.clear()
        await self._store.run(rows.save_faults, [_count(identity, address, fault, 1, now_ms, now_ms)])
        self._counted[key] = _count(identity, address, fault, 0, now_ms, now_ms)

    async def _flush(self, *keys: tuple[str, str, str]) -> None:
        waiting = [self._counted[key] for key in keys if key in self._counted and self._counted[key].times]
        for each in waiting:
            key = each.station_id, each.address, each.fault.kind
            self._counted[key] = _count(*key[:2], each.fault, 0, each.first_ms, each.last_ms)
        if waiting:
            await self._store.run(rows.save_faults, waiting)

    async def flush(self) -> None:
        """Store the counts."""
        await self._flush(*self._counted)
        for each in tuple(self._repeated.values()):
            await self._count_event(each)

    async def _count_event(self, event: "_Repeated") -> None:
        times, event.times = event.times, 0
        if times:
            event.stored_ms = event.last_ms
            await self._store.run(security.count_event, event.number, times, event.last_ms)

    async def _event(self, identity: str, kind: str, info: str) -> None:
        """Store a security event; repetitions within an hour are counted."""
        now_ms = self._clock.utc_ms()
        key = identity, kind, info
        before = self._repeated.get(key)
        if before is not None and now_ms - before.first_ms < _SAME_EVENT_MS:
            before.times, before.last_ms = before.times + 1, now_ms
            if now_ms - before.stored_ms >= _REPEAT_MS:
                await self._count_event(before)
            return
        if before is not None or len(self._repeated) >= _MAX_COUNTED:
            await self.flush()
            self._repeated.clear()
        number = await self._store.run(security.add_event, identity, "csms", kind, now_ms, now_ms, info)
        self._repeated[key] = _Repeated(number, now_ms, now_ms, now_ms)
        self._report("security_event", identity, type=kind, tech_info=info[:255], source="csms")

    # -- operators

    async def decide(self, station_id: str, decision: rules.Decision, by: str) -> None:
        """Admit a station (`Accepted`, `Pending`, `Rejected`: its boot status), or reject it (`Refused`).

        A connected station has to boot again, or is disconnected. Raises RefusedError for an invalid identity.
        """
        if station_id.startswith("."):
            raise RefusedError(f"{station_id} is not a valid identity", reason="identity")
        await self._store.run(rows.decide, station_id, decision, by, self._clock.utc_ms())
        self._report("station_decided", station_id, decision=decision, by=by)
        await self._connections.decided(station_id)

    async def forget(self, station_id: str) -> bool:
        """Delete a decision, passwords and faults; False when there was nothing.

        A connected station is disconnected unless it may still connect.
        """
        if not await self._store.run(rows.forget, station_id):
            return False
        self._report("station_decided", station_id, decision="")
        await self._connections.decided(station_id)
        return True

    async def least_profile(self, station_id: str) -> int:
        """Return the lowest security profile that a station may use; 0: any."""
        known = await self._store.look_up(rows.find_all, station_id)
        return known.least_profile if known is not None else 0

    async def allow_profile(self, station_id: str, least: int) -> None:
        """Set the lowest security profile of a station, once also lower than it has used; below, it is disconnected."""
        await self._store.run(rows.set_least_profile, station_id, least)
        await self._connections.decided(station_id)

    async def allow_expired(self, station_id: str, days: int) -> int | None:
        """Admit a station for some days with its expired certificate, so that it renews it (A00.FR.429).

        It is Pending and asked to renew. Return until when (UTC ms); 0 days: no longer, None.
        """
        until_ms = self._clock.utc_ms() + days * 86_400_000 if days else None
        await self._store.run(rows.allow_expired, station_id, until_ms)
        await self._connections.decided(station_id)
        return until_ms

    async def set_password(self, station_id: str, password: str | None = None) -> str:
        """Set the password that was configured at a station; return it, a random one if none is given.

        A connection by another one ends. Raises RefusedError (`password`).
        """
        password, hashed = await self._chosen(password)
        await self._store.run(rows.set_password, station_id, hashed, self._clock.utc_ms())
        self._report("password_set", station_id)
        await self._connections.decided(station_id, credentials=True)
        return password

    async def set_passwords(
        self, wanted: Mapping[str, str | None], *, replace: bool = False, admit_by: str | None = None
    ) -> dict[str, str]:
        """Set the passwords of several stations, all or none; return generated ones (for None), by station.

        `replace`: also of stations that have one. `admit_by`: who admits them all. Raises RefusedError:
        `password` for an invalid one, `has_password` for stations that have one.
        """
        if not replace and (configured := sorted(wanted.keys() & self._first_passwords.keys())):
            raise _taken(configured)
        for password in wanted.values():
            if password is not None:
                rules.check_password(password)
        chosen = {station_id: await self._chosen(password) for station_id, password in wanted.items()}
        hashed = {station_id: hashed_password for station_id, (_, hashed_password) in chosen.items()}
        now_ms = self._clock.utc_ms()
        taken = await self._store.run(rows.set_passwords, hashed, now_ms, replace=replace, admit_by=admit_by)
        if taken:
            raise _taken(taken)
        for station_id in chosen:
            self._report("password_set", station_id)
            if admit_by is not None:
                self._report("station_decided", station_id, decision="Accepted", by=admit_by)
        await self._connections.decided(*chosen, credentials=True)
        return {station_id: password for station_id, (password, _) in chosen.items() if wanted[station_id] is None}

    async def rotate_password(self, station_id: str, password: str | None = None) -> str:
        """Send a connected station a new password (A01); return its answer (SetVariableStatusEnumType).

        Until it has answered, both are accepted; if its answer is lost, until it has reconnected with one. Raises
        RefusedError, and as `ConnectionRegistry.call`.
        """
        chosen = rules.new_password(os.urandom) if password is None else password
        data = SetVariableData(
            attribute_value=chosen,
            component=Component(name="SecurityCtrlr"),
            variable=Variable(name="BasicAuthPassword"),
        )

        async def send() -> SetVariablesResponse:
            request = SetVariablesRequest(set_variable_data=(data,))
            return await self._connections.expect(station_id, request, SetVariablesResponse)

        return (await self.change_password(station_id, chosen, send)).set_variable_result[0].attribute_status

    async def change_password(
        self, station_id: str, password: str, send: Callable[[], Awaitable[M]], *, at_once: bool = True
    ) -> M:
        """Have a request sent that sets a station's password, and adopt the password if the station accepts it (A01).

        Until it has answered, both are accepted; if its answer is lost, until it has reconnected with one. Unless
        `at_once`, the password is for a later connection (a network profile): both are accepted until that one. Raises
        RefusedError (`password`), and as `send`.
        """
        _, hashed = await self._chosen(password)
        await self._store.run(rows.offer_password, station_id, hashed)
        try:
            answer = await send()
        except (OcppError, RefusedError):
            await self._settle(station_id, hashed, taken=False)
            raise
        except V2GError:
            self._report("password_unsettled", station_id)
            raise
        taken = getattr(answer, "status", "") == "Accepted"
        if isinstance(answer, SetVariablesResponse):
            results = answer.set_variable_result
            taken = any(  # A01.FR.03, A01.FR.04
                (len(results) == 1 or each.variable.name.casefold() == "basicauthpassword")
                and each.attribute_status in ("Accepted", "RebootRequired")
                for each in results
            )
        if at_once or not taken:
            await self._settle(station_id, hashed, taken=taken)
        return answer

    async def _settle(self, station_id: str, hashed: str, *, taken: bool) -> None:
        now_ms = self._clock.utc_ms()
        if await self._store.run(rows.settle_password, station_id, hashed, taken=taken, now_ms=now_ms):
            self._report("password_rotated" if taken else "password_kept", station_id)

    def _report(self, name: str, station_id: str, **data: Scalar) -> None:
        self._observe(Observe("ocpp", name, {"station": station_id, **data}))
        self._feed.publish(name, station_id, data)

    async def _chosen(self, password: str | None) -> tuple[str, str]:
        """Return a password, a random one if none is given, and its hash."""
        if password is None:
            made = rules.new_password(os.urandom)
            return made, await self._hashed(made, random=True)
        rules.check_password(password)
        return password, await self._hashed(rules.stored_form(password))


def _held(found: rules.Admission | None, password: str, *, expired: bool) -> rules.Admission | None:
    """Return an admission of a station that identified itself by this; by an `expired` certificate it is Pending."""
    if found is None:
        return None
    return rules.Admission("Pending" if expired and found.boot != "Rejected" else found.boot, expired, password)


def _taken(station_ids: Sequence[str]) -> RefusedError:
    shown = ", ".join(station_ids[:_SHOWN]) + (", ..." if len(station_ids) > _SHOWN else "")
    return RefusedError(
        f"{len(station_ids)} of them have a password already: {shown}",
        reason="has_password",
        hint="leave them out, or replace their passwords: only the new ones are accepted then",
    )


def _count(identity: str, address: str, fault: rules.Fault, times: int, first_ms: int, last_ms: int) -> FaultCount:
    return FaultCount(
        station_id=identity, address=address, fault=fault, times=times, first_ms=first_ms, last_ms=last_ms
    )
