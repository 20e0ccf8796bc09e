"""What messages of ISO 15118-20 mean to the safety monitor."""

import pytest

from secc.session.config import SeccConfig
from secc.session.d20.safety import Iso20Requests
from tests.secc.session.bench import Bench, number
from v2g.iso15118.engine.v2gtp import PayloadType

pytestmark = pytest.mark.requirement("R15")


@pytest.mark.parametrize(("volts", "borne_mv"), [(512, 450_000), (450, 450_000), (420, 420_000)])
def test_no_voltage_above_that_with_which_the_insulation_was_tested(bench: Bench, volts: int, borne_mv: int) -> None:
    reader = Iso20Requests(SeccConfig())
    reader.read(bench.ask("DC_ChargeParameterDiscoveryReq"), PayloadType.DC)
    for voltage, expected_mv in ((volts, borne_mv), (440, 440_000), (450, 450_000)):
        mode = bench.loop_mode(ev_maximum_voltage=number(voltage))
        found = reader.read(bench.ask("DC_ChargeLoopReq", cl_req_control_mode=mode), PayloadType.DC).bears
        assert found is not None
        assert found.voltage_mv == expected_mv
