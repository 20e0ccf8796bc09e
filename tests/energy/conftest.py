"""Both halves of signed discharge on real keys, joined by hand."""

import random

import msgspec
import pytest

from pki_tools.tree import PkiTree
from v2g.asn1.discharge import DecisionReason, DischargeCommand, DischargeContent, DischargeLimits, PriceSlot
from v2g.energy.discharge_gate import Accepted, Decided, DischargeConfig, DischargeGate
from v2g.energy.grid_signal import Tariff
from v2g.energy.limits import discharge_limits
from v2g.energy.signed import Party, open_signed, sign_content
from v2g.energy.vehicle import Answered, VehicleDischarge, Verdict
from v2g.pki.credentials import Credentials

NOW = 1_800_000_000_000
SESSION_ID = b"\x00\x11\x22\x33\x44\x55\x66\x77"
TARIFF = Tariff(currency="EUR", slots=(PriceSlot(NOW, 7_200_000, 300_000, 200_000),), version=1)
LIMITS = discharge_limits(ev_w=11_000, evse_w=22_000, site_w=30_000, operator_w=15_000)


class Pair:
    """A charger's gate and a vehicle that says yes to everything, with the keys to forge in either's name."""

    def __init__(
        self,
        charger: Credentials,
        contract: Credentials,
        *,
        limits: DischargeLimits = LIMITS,
        checkpoints: bool = False,
        countersigned: int = 0,
    ) -> None:
        self.charger, self.contract = charger, contract
        numbers = random.Random(3)
        self.verdict = Verdict(
            accepted=True, reason=DecisionReason.ACCEPTED, minimum_soc=30, max_discharge_w=10_000_000
        )
        self.gate = DischargeGate(
            session_id=SESSION_ID,
            evse_id="DE*V2G*E0001",
            key=charger.key,
            certificate=charger.leaf,
            signer_certificate=contract.leaf,
            entropy=numbers.randbytes,
            config=DischargeConfig(max_command_validity_ms=10_000),
            checkpoints=checkpoints,
            countersigned=countersigned,
        )
        self.gate.set_limits(limits)
        self.vehicle = VehicleDischarge(
            session_id=SESSION_ID,
            key=contract.key,
            certificate=contract.leaf,
            charger_certificate=charger.leaf,
            policy=lambda offer, utc_ms: self.verdict,
            entropy=numbers.randbytes,
            energy=(lambda: (0, 0)) if checkpoints else None,
        )

    def agree(self, now: int = NOW) -> None:
        """Offer and accept."""
        answered = self.vehicle.on_message(self.gate.offer(TARIFF, now), now)
        assert isinstance(answered, Answered)
        decided = self.gate.on_message(answered.reply, now)
        assert isinstance(decided, Decided)
        self.acceptance = answered.reply

    def run(self, power_w: int, now: int) -> Accepted:
        """Command and follow."""
        outcome = self.gate.on_message(self.vehicle.command(power_w, now), now)
        assert isinstance(outcome, Accepted)
        self.vehicle.on_message(outcome.reply, now)
        return outcome

    def signed(self, content: DischargeContent) -> bytes:
        """Sign anything in the vehicle's name."""
        return sign_content(content, self.contract.key, Party.of(self.contract.leaf).fingerprint)

    def command(self, watts: int, now: int, **changed: object) -> bytes:
        """A genuine command but for what is changed."""
        content = open_signed(self.vehicle.command(watts, now), Party.of(self.contract.leaf))
        assert isinstance(content, DischargeCommand)
        return self.signed(msgspec.structs.replace(content, **changed))


@pytest.fixture
def pair(pki: PkiTree) -> Pair:
    """A pair that has not spoken yet."""
    return Pair(pki.credentials("secc"), pki.credentials("contract"))


@pytest.fixture
def agreed(pair: Pair) -> Pair:
    """A pair that agreed on terms at NOW."""
    pair.agree()
    return pair
