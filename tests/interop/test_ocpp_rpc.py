"""Back end and station against the npm package `ocpp-rpc`, whose strict mode checks every frame by its own schemas."""

import asyncio
import itertools
import json
from pathlib import Path
from typing import Any

import pytest

from csms.admission.work import StationAdmissions
from csms.device_model import store as device_model
from csms.device_model import work as model
from tests.csms.fixtures import Start, backend
from tests.csms.network import listening
from tests.interop.npm import installed
from v2g.ocpp.messages.base import Component, Variable
from v2g.ocpp.messages.provisioning import GetVariableData
from v2g.ocpp.routes import Version
from v2g_station.simulator.behaviour import Behaviour
from v2g_station.simulator.fleet import Simulator, StationFleet

__all__ = ["backend"]

pytestmark = pytest.mark.interop

PACKAGE = "ocpp-rpc@2.2.1"
CS = "CS-V2G-0001"
STATION = """
const { RPCClient } = require('ocpp-rpc');
const [endpoint, identity, password] = process.argv.slice(2);
const station = new RPCClient({
  endpoint, identity, password, protocols: ['ocpp2.0.1'], strictMode: true, reconnect: false,
});
const say = (what) => console.log(JSON.stringify(what));
station.on('strictValidationFailure', ({ error }) => say({ broken: error.message }));
station.handle('GetVariables', ({ params }) => ({
  getVariableResult: params.getVariableData.map((d) => ({ ...d, attributeStatus: 'Accepted', attributeValue: '7' })),
}));
station.handle('Reset', ({ params }) => { say({ reset: params }); return { status: 'Accepted' }; });
station.handle('GetBaseReport', () => ({ status: 'NotSupported' }));
station.handle(({ method }) => { say({ unexpected: method }); throw new Error(method); });
(async () => {
  await station.connect();
  const now = new Date().toISOString();
  const chargingStation = { model: 'M', vendorName: 'V' };
  say({ boot: (await station.call('BootNotification', { reason: 'PowerUp', chargingStation })).status });
  await station.call('StatusNotification', { timestamp: now, connectorStatus: 'Available', evseId: 1, connectorId: 1 });
  const token = { idToken: 'DEADBEEF', type: 'ISO14443' };
  say({ token: (await station.call('Authorize', { idToken: token })).idTokenInfo.status });
  const event = { eventType: 'Started', timestamp: now, triggerReason: 'Authorized', seqNo: 0, idToken: token };
  const answer = await station.call('TransactionEvent', { ...event, transactionInfo: { transactionId: 't-1' } });
  say({ transaction: answer.idTokenInfo.status });
})().catch((error) => { say({ failed: error.message }); process.exit(1); });
"""

SERVER = """
const { RPCServer, createValidator } = require('ocpp-rpc');
// ocpp-rpc 2.2.1 looks its 2.1 schemas up by the names that those of 2.0.1 have: they are given under these too
const named = (schema) => ({
  ...schema, $id: schema.$id.replace(/Request$/, '.req').replace(/Response$/, '.conf'),
});
const newer = createValidator('ocpp2.1', require('ocpp-rpc/lib/schemas/ocpp2_1.json').map(named));
const [protocol] = process.argv.slice(2);
const say = (what) => console.log(JSON.stringify(what));
const server = new RPCServer({ protocols: [protocol], strictMode: true, strictModeValidators: [newer] });
server.auth((accept) => accept());
const now = () => new Date().toISOString();
const schedule = { id: 1, chargingRateUnit: 'W', chargingSchedulePeriod: [{ startPeriod: 0, limit: 50000 }] };
const profile = { id: 7, stackLevel: 0, chargingProfilePurpose: 'TxDefaultProfile', chargingProfileKind: 'Relative' };
const clock = { component: { name: 'ClockCtrlr' }, variable: { name: 'DateTime' } };
const wishes = [
  ['GetVariables', { getVariableData: [clock] }],
  ['SetVariables', { setVariableData: [{ ...clock, attributeValue: 'x' }] }],
  ['GetBaseReport', { requestId: 1, reportBase: 'FullInventory' }],
  ['GetReport', { requestId: 2, componentCriteria: ['Available'] }],
  ['SetChargingProfile', { evseId: 1, chargingProfile: { ...profile, chargingSchedule: [schedule] } }],
  ['GetChargingProfiles', { requestId: 3, chargingProfile: {} }],
  ['GetCompositeSchedule', { duration: 3600, evseId: 1 }],
  ['ClearChargingProfile', { chargingProfileId: 7 }],
  ['ChangeAvailability', { operationalStatus: 'Inoperative', evse: { id: 2 } }],
  ['ChangeAvailability', { operationalStatus: 'Operative', evse: { id: 2 } }],
  ['SendLocalList', { versionNumber: 1, updateType: 'Full' }],
  ['GetLocalListVersion', {}],
  ['ClearCache', {}],
  ['GetTransactionStatus', {}],
  ['ReserveNow', { id: 1, expiryDateTime: '2099-01-01T00:00:00Z', idToken: { idToken: 'A', type: 'ISO14443' } }],
  ['CancelReservation', { reservationId: 1 }],
  ['UnlockConnector', { evseId: 1, connectorId: 1 }],
  ['TriggerMessage', { requestedMessage: 'Heartbeat' }],
  ['TriggerMessage', { requestedMessage: 'StatusNotification' }],
  ['TriggerMessage', { requestedMessage: 'MeterValues' }],
  ['GetLog', { logType: 'SecurityLog', requestId: 4, log: { remoteLocation: 'http://127.0.0.1:9/' } }],
  ['SetMonitoringBase', { monitoringBase: 'All' }],
  ['GetMonitoringReport', { requestId: 5 }],
  ['CustomerInformation', { requestId: 6, report: true, clear: false, customerIdentifier: 'nobody' }],
  ['GetInstalledCertificateIds', {}],
  ['GetDisplayMessages', { requestId: 7 }],
  ['DataTransfer', { vendorId: 'nobody' }],
];
const tax = { taxRates: [{ type: 'vat', tax: 19 }] };
const tariff = (tariffId, priceKwh) => ({
  tariffId, currency: 'EUR', minCost: { exclTax: 0.1 },
  energy: { prices: [{ priceKwh, conditions: { maxPower: 60000 } }, { priceKwh: 2 * priceKwh }], ...tax },
  idleTime: { prices: [{ priceMinute: 0.1, conditions: { minIdleTime: 60, dayOfWeek: ['Monday', 'Sunday'] } }] },
  fixedFee: { prices: [{ priceFixed: 0.5 }], ...tax },
});
if (protocol === 'ocpp2.1') {
  wishes.unshift(['SetDefaultTariff', { evseId: 0, tariff: tariff('all', 0.4) }]);
  wishes.push(
    ['GetTariffs', { evseId: 0 }],
    ['ChangeTransactionTariff', { transactionId: 'nobody', tariff: tariff('other', 0.5) }],
    ['ClearTariffs', { tariffIds: ['none'] }],
  );
}
server.on('client', (station) => {
  station.on('strictValidationFailure', ({ error, method, messageId }) => {
    say({ broken: error.message, method, messageId, details: error.details });
  });
  station.on('badMessage', ({ error }) => say({ broken: error.message }));
  const answers = {
    BootNotification: () => ({ status: 'Accepted', interval: 300, currentTime: now() }),
    Heartbeat: () => ({ currentTime: now() }),
    Authorize: ({ params }) => ({
      idTokenInfo: { status: 'Accepted' },
      ...(protocol === 'ocpp2.1' && params.idToken.idToken.endsWith('1') ? { tariff: tariff('mine', 0.3) } : {}),
    }),
    TransactionEvent: ({ params }) => {
      const { costDetails: cost, transactionInfo: info, seqNo, eventType: type } = params;
      say({ event: info.transactionId, seqNo, type: type === 'Ended' && cost ? 'Priced' : type });
      return params.idToken ? { idTokenInfo: { status: 'Accepted' } } : {};
    },
  };
  for (const [method, answer] of Object.entries(answers)) station.handle(method, answer);
  station.handle(({ method }) => { say({ told: method }); return {}; });
  const ask = async () => {
    while (wishes.length) {
      const [method, params] = wishes[0];
      try {
        say({ asked: method, status: (await station.call(method, params)).status ?? '' });
      } catch (error) {
        if (station.state !== 1) return; // the link fails now and then: go on over the next one
        say({ failed: method, error: error.message });
      }
      wishes.shift();
    }
    say({ done: true });
  };
  setTimeout(ask, 200);
});
server.listen(0, '127.0.0.1').then((http) => say({ port: http.address().port }));
"""


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with the package in it."""
    path = installed(tmp_path_factory.mktemp("ocpp-rpc"), PACKAGE)
    (path / "station.js").write_text(STATION)
    (path / "server.js").write_text(SERVER)
    return path


async def test_a_strict_station_of_another_make_finds_nothing_wrong(backend: Start, folder: Path) -> None:
    async with backend(ocpp={"security_profile": 1, "port": 0}) as csms, listening(csms) as (port,):
        password = await csms.services[StationAdmissions].set_password(CS)
        station = await asyncio.create_subprocess_exec(
            "node", "station.js", f"ws://127.0.0.1:{port}/ocpp", CS, password,
            cwd=folder, stdout=asyncio.subprocess.PIPE, stderr=asyncio.subprocess.PIPE,
        )  # fmt: skip
        assert station.stdout is not None
        try:
            async with asyncio.timeout(60):
                said = [json.loads(await station.stdout.readline()) for _ in range(3)]
                wanted = GetVariableData(component=Component(name="ClockCtrlr"), variable=Variable(name="DateTime"))
                (value,) = await model.get_variables(csms.services, CS, [wanted])
                assert (await model.reset(csms.services, CS, "OnIdle")).status == "Accepted"
                said.append(json.loads(await station.stdout.readline()))
        finally:
            station.kill()
            await station.wait()
        assert said == [
            {"boot": "Accepted"},
            {"token": "Unknown"},
            {"transaction": "Unknown"},
            {"reset": {"type": "OnIdle"}},
        ]
        assert value.attribute_value == "7"
        rows = await csms.services.store.read(device_model.list_variables, CS, "ClockCtrlr")
        assert [row["value"] for row in rows] == ["7"]


@pytest.mark.some(1)
@pytest.mark.parametrize("version", ["2.0.1", "2.1"])
@pytest.mark.long
async def test_a_strict_csms_of_another_make_finds_nothing_wrong(folder: Path, version: Version) -> None:
    csms = await asyncio.create_subprocess_exec(
        "node", "server.js", f"ocpp{version}", cwd=folder, stdout=asyncio.subprocess.PIPE
    )
    assert csms.stdout is not None
    said: list[dict[str, Any]] = []
    behaviour = Behaviour(
        arrivals_per_hour=60, energy_kwh=(0.2, 1.0), linger_minutes=(0.0, 1.0), offline_per_day=100,
        offline_minutes=(0.5, 1.0), faults_per_day=20, fault_minutes=(0.5, 1.0),
    )  # fmt: skip
    try:
        async with asyncio.timeout(60):
            port = json.loads(await csms.stdout.readline())["port"]
            fleet = StationFleet(
                url=f"ws://127.0.0.1:{port}/ocpp", versions=(version,), speed=600.0, seed=1, behaviour=behaviour
            )
            simulator = Simulator(fleet)
            run = asyncio.create_task(simulator.run(None))
            missing = {"done", "NotifyReport", "SecurityEventNotification", "MeterValues"}
            missing.add("Priced" if version == "2.1" else "Ended")
            while missing and not run.done():
                said.append(json.loads(await csms.stdout.readline()))
                missing -= {"done" if "done" in said[-1] else said[-1].get("told"), said[-1].get("type")}
            run.cancel()
            await asyncio.gather(run, return_exceptions=True)
    finally:
        csms.kill()
        await csms.wait()
    assert not missing, "everything was asked, and answered by reports"
    assert [each for each in said if "broken" in each or "failed" in each] == []
    assert simulator.report()["call_errors"] == 0
    events: dict[str, list[dict[str, Any]]] = {}
    for each in said:
        if "event" in each:
            events.setdefault(each["event"], []).append(each)
    for mine in events.values():
        numbers = [number for number, _ in itertools.groupby(each["seqNo"] for each in mine)]
        assert numbers == list(range(len(numbers))), "in order, without a gap"
