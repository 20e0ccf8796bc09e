"""What several tests of basic charging use."""

from typing import Any

from secc.session import ports
from secc.session.basic_charging import BasicSession, Phase, Way
from secc.session.config import AcRating, BasicChargingConfig, NoEnergy, SeccConfig
from secc.session.identity import Identity
from v2g.iec61851.pilot import PilotState
from v2g.observe import Observe
from v2g_station.blocks.authorization.contracts import AuthorizationStatus

A, B, C, D, E, F = PilotState
ACCEPTED = ports.AuthorizationDecided(1, AuthorizationStatus.ACCEPTED)
STANDARD_WAIT = NoEnergy()


class Desk:
    """A session, its time, and everything that it asked for."""

    def __init__(self, way: Way = "at_once", *, no_energy: NoEnergy = STANDARD_WAIT, **changes: Any) -> None:
        self.now = 0.0
        self.commands: list[Any] = []
        config = SeccConfig(
            basic=BasicChargingConfig(max_current_a=32),
            ac_rating=AcRating(phases=3, nominal_voltage_v=230),
            no_energy=no_energy,
        )
        self.session = BasicSession(
            config,
            identity=Identity("CS-1", "M", b"meter"),
            chain=(b"charger",),
            entropy=bytes,
            pilot=B,
            way=way,
            meter=ports.MeterRead(0, 1_000, 0),
            **changes,
        )
        self.session.start(0.0, 0)
        self.take()
        self.run(0)

    def take(self) -> list[Any]:
        fresh = self.session.actions()
        self.commands += fresh
        return fresh

    def fact(self, fact: Any) -> list[Any]:
        self.session.fact(fact, self.now, int(self.now * 1000))
        return self.take()

    def pilot(self, state: PilotState) -> list[Any]:
        return self.fact(ports.PilotChanged(state))

    def run(self, seconds: float) -> list[Any]:
        end, fresh = self.now + seconds, []
        while (at := self.session.deadline()) is not None and at <= end:
            self.now = max(self.now, at)
            self.session.tick(self.now, int(self.now * 1000))
            fresh += self.take()
        self.now = end
        return fresh

    def of(self, kind: type) -> list[Any]:
        return [each for each in self.commands if isinstance(each, kind)]

    def seen(self, name: str) -> list[Observe]:
        return [each for each in self.commands if isinstance(each, Observe) and each.name == name]

    def shown(self) -> list[tuple[float | None, PilotState | None]]:
        return [(each.duty_percent, each.forced) for each in self.of(ports.SetPilot)]

    def charging(self) -> None:
        self.fact(ACCEPTED)
        self.run(10)
        self.pilot(C)
        self.fact(ports.ContactorState(closed=True))
        assert self.session.phase is Phase.CHARGING
