"""What several tests of ac use."""

from typing import Any

from secc.session.config import SignedDischargeConfig
from v2g.iso15118.d20.messages.common_types import RationalNumber

UNSIGNED = SignedDischargeConfig(offered=False, required=False)


def watts(value: RationalNumber | None) -> float:
    assert value is not None
    return float(value.value * 10**value.exponent)


def target(mode: Any) -> float:
    """Return the target of all phases together."""
    return sum(watts(getattr(mode, "evse_target_active_power" + phase)) for phase in ("", "_l2", "_l3"))
