"""What several tests of ac use."""

from typing import Any

from secc.session.config import SignedDischargeConfig
from secc.session.d20.stages import HANDLERS
from tests.secc.session.bench import Bench
from v2g.iso15118.d20.messages.common_types import RationalNumber
from v2g.iso15118.engine.sequence import State, accepts

UNSIGNED = SignedDischargeConfig(offered=False, required=False)


def watts(value: RationalNumber | None) -> float:
    assert value is not None
    return float(value.value * 10**value.exponent)


def target(mode: Any) -> float:
    """Return the target of all phases together."""
    return sum(watts(getattr(mode, "evse_target_active_power" + phase)) for phase in ("", "_l2", "_l3"))


def expect_order(bench: Bench, state: State, name: str) -> None:
    """Send a request, and expect an answer if it is in order in this state, else the end of the session."""
    request = bench.ask(name)
    # nobody here has selected the service ParkingStatus, without which there is nothing to check in or out
    served = name in HANDLERS and accepts(state, request, bench.session.chart) and not name.startswith("VehicleCheck")
    served = served and name != "CertificateInstallationReq"  # in order only where it was offered
    response = bench.send(request)
    assert type(response).__name__ == name[:-3] + "Res"
    if served:
        assert not bench.reason, bench.events("request_failed")
        assert response.response_code.name.startswith("OK")
    else:
        assert bench.reason == "FAILED_SequenceError"
        assert not bench.session.powered
