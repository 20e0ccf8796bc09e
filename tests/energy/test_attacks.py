"""Forged, replayed, reordered and late commands, a million of them: not a watt-hour leaves the vehicle (R25, R26).

The attacker has all that was ever sent, and a certificate of the same PKI, but not the vehicle's key. Whatever was
genuine is over when the attacks begin; what the vehicle signed and was held back arrives too late or out of order.
"""

import random

import pytest

from pki_tools.tree import PkiTree
from tests.energy.conftest import NOW, Pair
from v2g.asn1.discharge import DischargeCommand, ResultStatus
from v2g.energy.discharge_gate import Accepted, Rejected
from v2g.energy.signed import Party, open_signed, sign_content

EVERY = 64
"""Attacks between two genuine signatures: signing takes longer than everything else."""

REASONS = {
    "forged": {ResultStatus.BAD_SIGNATURE, ResultStatus.UNKNOWN_SIGNER, ResultStatus.MALFORMED},
    "foreign": {ResultStatus.BAD_SIGNATURE, ResultStatus.UNKNOWN_SIGNER},
    "replayed": {ResultStatus.REPLAYED, ResultStatus.OUT_OF_ORDER},
    "reordered": {ResultStatus.OUT_OF_ORDER, ResultStatus.REPLAYED},
    "late": {ResultStatus.EXPIRED, ResultStatus.REPLAYED, ResultStatus.OUT_OF_ORDER},
}


class Attacker:
    """Sends commands of every kind to a gate whose last genuine command is over."""

    def __init__(self, pki: PkiTree, seed: int) -> None:
        self.random = random.Random(seed)
        self.pair = Pair(pki.credentials("secc"), pki.credentials("contract"))
        self.pair.agree()
        self.now = NOW
        self.seen: list[bytes] = []
        """Commands that were followed."""
        self.held: list[bytes] = []
        """Commands that never arrived: each is older than one that was followed."""
        self.late: list[bytes] = []
        """Commands that arrive for the first time when their time is over."""
        self.foreign: list[bytes] = []
        self.names: set[str] = set()

    def genuine(self) -> None:
        """Let the vehicle give back 1 W for a moment, hold some of its commands back, and wait until all are over."""
        vehicle, gate = self.pair.vehicle, self.pair.gate
        self.held.append(vehicle.command(9_000, self.now))
        followed = vehicle.command(1, self.now)
        assert isinstance(gate.on_message(followed, self.now), Accepted)
        self.seen.append(followed)
        self.late = [vehicle.command(9_000, self.now)]
        content = open_signed(followed, Party.of(self.pair.contract.leaf))
        assert isinstance(content, DischargeCommand)
        key, own = self.pair.charger.key, Party.of(self.pair.charger.leaf)
        names = (own.fingerprint, Party.of(self.pair.contract.leaf).fingerprint)
        self.foreign = [sign_content(content, key, name) for name in names]
        self.now += 10_000

    def attack(self) -> None:
        kind = self.random.choice(list(REASONS))
        payload = getattr(self, f"make_{kind}")()
        outcome = self.pair.gate.on_message(payload, self.now)
        assert isinstance(outcome, Rejected), kind
        assert outcome.reason in REASONS[kind], (kind, outcome)
        self.names.add(kind)
        assert self.pair.gate.allowed_w(self.now) == 0
        self.now += self.random.randrange(1, 50)

    def make_forged(self) -> bytes:
        payload = bytearray(self.random.choice(self.seen))
        for _ in range(self.random.randrange(1, 4)):
            payload[self.random.randrange(len(payload))] ^= 1 << self.random.randrange(8)
        return bytes(payload) if bytes(payload) not in self.seen else self.make_forged()

    def make_foreign(self) -> bytes:
        return self.random.choice(self.foreign)

    def make_replayed(self) -> bytes:
        return self.random.choice(self.seen)

    def make_reordered(self) -> bytes:
        return self.random.choice(self.held)

    def make_late(self) -> bytes:
        return self.random.choice(self.late)


def attacked(pki: PkiTree, seed: int, attacks: int) -> None:
    attacker = Attacker(pki, seed)
    for number in range(attacks):
        if number % EVERY == 0:
            if attacker.now > NOW + 3_000_000:  # soon the offer expires: a new session
                attacker = Attacker(pki, seed + number)
            attacker.genuine()
        attacker.attack()
    assert attacker.names == set(REASONS)


@pytest.mark.requirement("R25", "R26")
def test_whatever_is_not_genuine_and_new_gives_no_energy(pki: PkiTree) -> None:
    attacked(pki, 1, 1_000)


@pytest.mark.long
@pytest.mark.requirement("R25", "R26")
@pytest.mark.parametrize("seed", range(10_000_000, 170_000_000, 10_000_000))
def test_a_million_attacks_give_no_energy(pki: PkiTree, seed: int) -> None:
    attacked(pki, seed, 62_500)
