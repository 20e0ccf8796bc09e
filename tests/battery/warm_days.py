"""Days of a simulated pack, labelled: sound, with a module that no coolant reaches, or with a weak pump."""

import math
import random

DAY_MS = 86_400_000
MODULES = 8
REFERENCE, LAST = 25, 3


def days(
    seed: int, *, reference: int = REFERENCE, warm_module_k: float = 0.0, cooling: float = 1.0
) -> dict[int, dict[str, float]]:
    """Simulate quarter hours of a pack by heat balances of its modules; what is wrong begins with the last days."""
    chance = random.Random(seed)
    intervals: dict[int, dict[str, float]] = {}
    warmth = [chance.uniform(0.9, 1.1) for _ in range(MODULES)]
    above = [0.0] * MODULES
    season, trip = chance.uniform(-5, 25), chance.uniform(6, 8)
    for day in range(reference + LAST):
        weather = season + chance.gauss(0, 4)
        charge_a, charge_at = chance.uniform(80, 140), chance.uniform(18, 21)
        wrong = day >= reference
        for quarter in range(96):
            hour = quarter / 4
            drives = trip <= hour < trip + 1 or 16.5 <= hour < 17.5
            current = -60 + chance.gauss(0, 10) if drives else charge_a if charge_at <= hour < charge_at + 1.5 else 0.0
            coolant = weather + 4 * math.sin((hour - 9) / 24 * 2 * math.pi) + 5
            for module in range(MODULES):
                heat = (current / 100) ** 2 * 8 * warmth[module]
                heat += warm_module_k * (current / 100) ** 2 if wrong and module == 2 else 0.0
                settled = heat / (cooling if wrong else 1.0)
                above[module] += (settled - above[module]) * 0.4
            temperatures = [coolant + each + chance.gauss(0, 0.1) for each in above]
            intervals[day * DAY_MS + quarter * 900_000] = {
                "battery.temperature.max": max(temperatures),
                "battery.temperature.min": min(temperatures),
                "battery.temperature.coolant": coolant,
                "battery.current": current,
                **{f"battery.temperature.module.{number}": each for number, each in enumerate(temperatures, 1)},
            }
    return intervals
