"""`v2g csms roaming`: what partners claim, as people see it."""

import pytest

from csms.roaming.store import Kept, put_object
from tests.cli.csms import Cli, cli
from tests.csms.conftest import start

__all__ = ["cli", "start"]


@pytest.mark.requirement("R202")
async def test_a_cdr_is_listed_with_its_currency(cli: Cli) -> None:
    """Partners bill in several: 5 was 5 of anything."""
    cdr = Kept(
        owner="north", module="cdrs", object_id="dk*abc*1", updated_ms=0, state="disputed", detail="twice",
        document='{"start_date_time":"2026-01-01T00:00:00Z","total_cost":{"before_taxes":5},"currency":"DKK"}',
    )  # fmt: skip
    await cli.csms.csms.services.store.run(put_object, cdr)
    code, table, _ = await cli("roaming", "cdrs")
    assert (code, table) == (0, "north\tdk*abc*1\tdisputed\t2026-01-01T00:00:00Z\t5\tDKK\ttwice\n")
