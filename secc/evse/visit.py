"""A vehicle at the plug: the cores that may serve it, its journal, and the execution of commands."""

import asyncio
import os
from collections.abc import Sequence
from typing import TYPE_CHECKING

from secc.evse.books import Books
from secc.session import ports
from secc.session.basic_charging import BasicSession, Way
from secc.session.edition import Edition, EditionSession, NegotiatedSession
from secc.session.facts import SessionFacts
from secc.session.identity import Connection, Identity, Trust
from secc.session.limits import SessionLimits
from secc.session.paused import Paused
from v2g.energy.settlement.records import MeterStatus, SessionStarted
from v2g.errors import V2GError
from v2g.io.runtime.runner import Outcome
from v2g.io.runtime.supervision import child
from v2g.iso15118.engine.session import Command, Fact
from v2g.observe import Observe
from v2g.pki.credentials import Credentials
from v2g_station.store import Signers

if TYPE_CHECKING:
    from secc.evse.controller import EvseController


class Visit:
    """One vehicle at the plug: its journal, its cores, and the execution of their commands."""

    def __init__(self, controller: "EvseController", own: Credentials) -> None:
        """`own` is the chain that this vehicle was shown: its key signs this session's records."""
        self._controller = controller
        self._own = own
        self._contract: tuple[bytes, ...] = ()
        self.session_id = ""
        """Of the present or last journal."""
        self.reference = ""
        """Of the running transaction."""
        self._settling: asyncio.Task[None] | None = None
        self.paused: Paused | None = None
        """Why this session is stored."""
        self.books = Books(
            lambda session_id: controller.archive.open_journal(session_id, self._contract),
            meter=controller.meter,
            clock=controller.clock,
            disk=controller.disk,
            on_line=self._line,
            on_status=self._reading_status,
            flowed_mwh=lambda: controller.hardware.flowed_mwh,
        )

    def conversation(self, vehicle_certificate: bytes, version: str) -> NegotiatedSession:
        """Return the core of a conversation with a vehicle of this leaf (DER, empty without), over this version of TLS.

        "none" is TCP alone. The connection must carry one of the charger's editions.
        """
        controller = self._controller
        controller.grid.plugged(controller.cable_w)
        online = controller.station is not None and controller.station.online.is_set()
        connection = Connection(
            self._trust,
            self._identity,
            os.urandom,
            vehicle_certificate=vehicle_certificate,
            tls=version != "none",
            can_plan=online,
        )
        return NegotiatedSession(
            tuple(controller.carried(version).values()),
            controller.config.charger,
            lambda edition: self._session(edition, connection, online=online),
        )

    def _session(self, edition: Edition, connection: Connection, *, online: bool) -> EditionSession:
        """Return a session of this edition that knows what is known now."""
        controller, config, grid = self._controller, self._controller.config, self._controller.grid
        charger = config.charger
        wires = controller.wires if config.link.slac is not None else None
        return edition.session(
            charger,
            connection,
            SessionLimits(charger.power_rating(charger.services[0].family), grid.limits, grid.setpoint, grid.foreseen),
            SessionFacts(
                tariff=grid.tariff,
                meter=self._reading(),
                pilot=wires.pilot.state if wires is not None else None,
                response=grid.response,
                can_install=online,
                csms_prices=grid.csms_prices,
            ).from_here(),
            paused=controller.paused_visit.paused if controller.paused_visit is not None else None,
            time_scale=controller.clock.scale,
            on_message=controller.safety.converse(edition.reader(charger, interop=connection.trust.interop)),
        )

    @property
    def _trust(self) -> Trust:
        controller, own = self._controller, self._own
        trusted, endpoint = controller.transport.trust, controller.transport.endpoint
        return Trust(
            v2g_roots=trusted.of("V2GRootCertificate"),
            mo_roots=trusted.of("MORootCertificate"),
            key=own.key,
            chain=own.chain,
            interop=controller.config.security_profile == "interop",
            oem_roots=trusted.of("OEMRootCertificate"),
            crosses=endpoint.crosses,
            crls=tuple(endpoint.crls()),
            price_key=controller.owner.prices,
        )

    def basic(self, way: Way) -> BasicSession:
        """Return the core that charges by nominal duty; `way` is the reason."""
        controller = self._controller
        assert controller.wires is not None
        pilot = controller.wires.pilot
        controller.grid.plugged(controller.cable_w)
        charger = controller.config.charger
        assert charger.basic is not None
        interval_s = charger.basic.timing.duty_interval_s
        controller.safety.signal(pilot.state, most_w=charger.ac_rating.max_charge_power_w, interval_s=interval_s)
        return BasicSession(
            charger,
            identity=self._identity,
            chain=self._own.chain,
            entropy=os.urandom,
            pilot=pilot.state,
            way=way,
            limits=controller.grid.limits,
            tariff=controller.grid.tariff,
            meter=self._reading(),
            cable_a=pilot.proximity.max_current_a,
            ventilation=controller.config.hardware.watch.ventilation,
            response=controller.grid.response,
            time_scale=controller.clock.scale,
        )

    @property
    def _identity(self) -> Identity:
        config, controller = self._controller.config, self._controller
        return Identity(
            station_id=config.station.identity if config.station else config.charger.evse_id,
            meter_serial=controller.meter.serial,
            meter_certificate=controller.owner.meter.leaf,
            voltmeter_offset_mv=config.hardware.voltmeter_offset_mv,
        )

    def _reading(self) -> ports.MeterRead:
        meter = self._controller.meter
        reading = meter.read(self._controller.clock.utc_ms())
        return ports.MeterRead(reading.utc_ms, reading.import_mwh, reading.export_mwh, meter.serial)

    def execute(self, command: Command) -> Outcome | None:
        """Execute a command. Journal entries return a future: nothing may follow without it."""
        self._controller.safety.command(command)
        match command:
            case ports.AuthorizeContract(chain=chain):
                self._contract = chain
            case ports.TransactionStarted(session_id=session_id):
                self.reference = session_id
            case ports.SaveSession(paused=paused):
                self._controller.hardware.execute(command)  # no longer authorised from here on
                return self._controller.pauses.keep(self, paused)
            case ports.Journal(record=SessionStarted(session_id=session_id)):
                self.session_id = session_id
                self._line(Signers(self._own.chain, self._contract).line().encode())
            case ports.JoinSession():
                earlier, gone = self._controller.pauses.rejoin()
                resumed = self._rejoin(earlier)
                self._controller.hardware.execute(command)  # permits power again; requests for it wait
                return child(_both(gone, resumed))
            case ports.ForgetSession(reason=reason, stopped_reason=stopped):
                return self._controller.pauses.forget(reason, stopped)
            case ports.SetPilot() | ports.LowerPilot():
                self._set_pilot(command)
        saving = self.books.execute(command)
        if isinstance(command, ports.CloseBooks) and self.session_id:
            self._settling = self._controller.later(self._settle_beside(saving))
        if saving is not None:
            return saving
        outcome = self._controller.hardware.execute(command)
        if isinstance(command, ports.TransactionEnded) and self._settling is not None:
            self._controller.later(self._end_transaction(command, self._settling))
            return outcome
        return outcome or self._controller.backend.execute(command)

    async def _end_transaction(self, command: ports.TransactionEnded, settling: "asyncio.Task[None]") -> None:
        """Report to the back end with the meter's signatures, which are in the bundle."""
        await settling
        await self._controller.report(command)

    def _rejoin(self, earlier: "Visit") -> "asyncio.Future[Fact | None]":
        """Resume this vehicle's open session, and read the meter: nothing has flowed since."""
        self.session_id = self.reference = earlier.session_id
        self._contract = earlier._contract
        self.books.take_over(earlier.books)
        return self.books.record_meter("resume", power_w=0)

    def reopen(self, session_id: str) -> bool:
        """Continue the journal of a session that was paused when the program ended; False without one.

        Raises StoreError and VerificationError for an unusable one.
        """
        file = self._controller.archive.reopen_journal(session_id)
        if file is None:
            return False
        self.session_id = self.reference = session_id
        self.books.reopen(file, file.recovered)
        return True

    async def end(self, reason: str) -> None:
        """Close the journal of a stored session, and settle it. Raises StoreError."""
        closed = self.books.close(reason)
        if closed is not None:
            await closed
        await self._settle_beside(None)

    def _set_pilot(self, command: ports.SetPilot | ports.LowerPilot) -> None:
        assert self._controller.wires is not None
        pilot = self._controller.wires.pilot
        if isinstance(command, ports.LowerPilot):
            shown = pilot.duty_percent
            if shown is not None and command.duty_percent < shown:
                pilot.set_duty(command.duty_percent)
        elif command.forced is not None:
            pilot.set_error(command.forced)
        else:
            pilot.set_duty(command.duty_percent)

    def _reading_status(self, status: Sequence[MeterStatus], reason: str) -> None:
        """A reading was missing, or its registers or time do not continue the one before."""
        self._controller.observe(
            Observe(
                "metering",
                "reading_status",
                {"session_id": self.session_id, "status": "+".join(status), "reason": reason},
            )
        )

    def interval_closed(self, reading: ports.MeterRead) -> None:
        """A quarter hour is over: request a signed meter reading from the vehicle."""
        self._controller.observe(
            Observe(
                "metering",
                "interval_closed",
                {"import_mwh": reading.import_mwh, "export_mwh": reading.export_mwh, "utc_ms": reading.utc_ms},
            )
        )
        self._controller.tell(reading, ports.MeteringConfirmationRequested())

    async def _settle_beside(self, closed: "asyncio.Future[Fact | None] | None") -> None:
        """Make the bundle while other vehicles are served: it takes signatures, and a dozen files.

        `closed` is done when the journal is complete. If it failed, the journal stays for the next start.
        """
        archive = self._controller.archive
        try:
            if closed is not None:
                await closed
        except V2GError as error:
            self._controller.observe(Observe("settlement", "bundle_failed", {"error": str(error)}))
            return
        if not archive.may_leave_loop(self._own):
            self._settle()
            return
        try:
            made: list[int] = []
            await self._controller.bundles.do(
                lambda: made.append(archive.make_bundle(self.session_id, self._own)), list
            )
        except V2GError as error:
            self._controller.observe(Observe("settlement", "bundle_failed", {"error": str(error)}))
        else:
            archive.tell_finished(self.session_id, *made)

    def _settle(self) -> None:
        """Make the bundle; errors are reported, and the journal stays for the next start."""
        try:
            self._controller.archive.finish(self.session_id, self._own)
        except V2GError as error:
            self._controller.observe(Observe("settlement", "bundle_failed", {"error": str(error)}))

    def _line(self, line: bytes) -> None:
        if self._controller.station is not None:
            self._controller.station.journal(self.session_id, line.decode())


async def _both(first: "asyncio.Future[None]", then: "asyncio.Future[Fact | None]") -> Fact | None:
    """Return the result of the second, once both are done. Raises what either has raised."""
    _, outcome = await asyncio.gather(first, then)
    return outcome
