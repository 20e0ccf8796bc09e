"""A group of power modules and the simulated bank that it drives, in one time."""

from tests.hardware.power_modules.bank_sim import ModuleBank
from tests.hardware.power_modules.infypower_sim import InfypowerBank
from v2g.hardware.power_modules.bank import ModuleGroup


class ModuleBus:
    """Exchanges their frames. `faults` are those of the group, each with its time; `sent` its frames."""

    def __init__(self, group: ModuleGroup, bank: ModuleBank | InfypowerBank) -> None:
        self.now = 0.0
        self.group = group
        self.bank = bank
        self.faults: list[tuple[float, str, bool]] = []
        self.sent: list[tuple[int, bytes]] = []

    def run(self, seconds: float) -> None:
        """Let time pass."""
        end = self.now + seconds
        while self.now < end:
            self.now = round(self.now + 0.05, 6)
            self.group.tick(self.now)
            self.exchange()
            for frame_id, data in self.bank.tick(self.now):
                self.group.receive(frame_id, data, self.now)
            self.exchange()
            self.faults += [(self.now, word, active) for word, active in self.group.faults()]

    def exchange(self) -> None:
        """Carry the group's frames to the bank."""
        for frame_id, data in self.group.frames():
            self.sent.append((frame_id, data))
            self.bank.receive(frame_id, data, self.now)
