"""A driver pays at the terminal of a charger, whose back end is notified (C18, C21)."""

import asyncio
from pathlib import Path

from tests.secc.backend import backend
from tests.secc.station.station import Fixture, sample
from v2g.hardware.zvt.terminal_sim import Card
from v2g.io.hardware.zvt_config import ZvtConfig
from v2g.io.hardware.zvt_terminal import ZvtSimulator
from v2g_station.blocks.transactions.managed import RemoteStartRequested
from v2g_station.device.terminal_config import TerminalConfig


async def test_a_card_at_the_terminal_pays_for_a_session(tmp_path: Path) -> None:
    simulator = ZvtSimulator()
    await simulator.open()
    terminal = TerminalConfig(zvt=ZvtConfig(host="127.0.0.1", port=simulator.port, retry_s=0.05), provider="PSP")
    async with backend() as csms:
        csms.answers["TransactionEvent"] = {"total_cost": 12.34}
        fixture = Fixture(tmp_path, csms.port, terminal=terminal)
        async with fixture.running() as station:
            await fixture.until(station.online.is_set)
            async with asyncio.timeout(60):
                while not fixture.charger.all(RemoteStartRequested):
                    simulator.present(Card(last4="4771"))  # first it is read, then it pays
                    await asyncio.sleep(0.001)
            token = fixture.charger.all(RemoteStartRequested)[0].id_token
            psp_ref = token.id_token
            assert (psp_ref[:9], token.type) == ("29001234-", "DirectPayment")
            fixture.charger.sample = sample(1)
            station.started("s", "", sample=sample(1))
            await csms.wait("TransactionEvent", where=lambda e: (e.get("id_token") or {}).get("id_token") == psp_ref)
            assert [each.state for each in simulator.terminal.payments.values()] == ["reserved"]
            station.ended("s", trigger="StopAuthorized", reason="Local", sample=sample(2))
            settled = await csms.wait("NotifySettlement")
    await simulator.close()
    assert (settled["psp_ref"], settled["status"], settled["settlement_amount"]) == (psp_ref, "Settled", 12.34)
    assert [each.taken for each in simulator.terminal.payments.values()] == [1_234]
    assert [event.name for event in fixture.events if event.stage == "hardware"] == ["terminal_ready"]
