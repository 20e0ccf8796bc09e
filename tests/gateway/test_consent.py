"""What a gateway may send: consent by group, from the next record on, and no VIN anywhere."""

import asyncio
import json
import sqlite3
from pathlib import Path
from typing import Any

import pytest

from pki_tools.tree import PkiTree
from tests.gateway.gateway import EV, NOBODY, data_of, gateway, send_frames, until_event
from tests.telemetry.brokers import access
from tests.telemetry.reference import ReferenceBackEnd
from v2g.errors import ConfigError, StoreError
from v2g.io.storage.outbox import Outbox
from v2g.io.storage.record_keys import RecordKeys
from v2g.telemetry.local_events import CONSENT, reported
from v2g_cli.demo.broker import Broker
from v2g_gateway.config import load_config

VIN = "WVWZZZ1KZAW123456"


def signals(path: Path) -> list[set[str]]:
    """The signals of each record in an outbox."""
    database = sqlite3.connect(path)
    found = [
        set(json.loads(body)["signals"]) for (body,) in database.execute("SELECT body FROM outbox ORDER BY boot, seq")
    ]
    database.close()
    return found


def write(path: Path, *groups: str) -> None:
    """Replace a consent file."""
    new = path.with_suffix(".new")
    new.write_text("".join(f"{each}\n" for each in groups))
    new.replace(path)


@pytest.mark.requirement("R144")
async def test_consent_counts_from_the_next_record_on_and_so_does_its_end(tmp_path: Path) -> None:
    """What is withheld is not even in the outbox: neither as a change, nor in a keyframe, nor as a tag."""
    file, box = tmp_path / "consent", tmp_path / "outbox.db"
    write(file, "battery")
    async with gateway(tmp_path, NOBODY, drain=0.0, consent_file=file, keyframe_s=0.01) as (can, port, events):

        async def next_signals(soc: int, *, more_than: int) -> set[str]:
            while not set().union(*(found := signals(box))[more_than:]):
                send_frames(can, port, soc)
                soc = soc + 1 if soc < 90 else 20
                await asyncio.sleep(0.05)
            return set().union(*found[more_than:])

        first = await next_signals(20, more_than=0)
        assert "battery.soc" in first
        assert all(name.startswith("battery.") and "cell" not in name for name in first)
        write(file, "battery", "driving", "charging")
        while len(data_of(events, "consent_changed")) < 2:
            await next_signals(30, more_than=len(signals(box)))
        second = await next_signals(40, more_than=len(signals(box)) + 2)
        assert {"motor.speed", "ambient.temperature", "charging.power"} <= second
        write(file, "charging")
        while len(data_of(events, "consent_changed")) < 3:
            await next_signals(50, more_than=len(signals(box)))
        third = await next_signals(60, more_than=len(signals(box)) + 2)
        assert third
        assert not any(name.startswith(("battery.", "motor.", "ambient.")) for name in third)
        write(file, "everything")
        assert "unknown signal group" in (await until_sent(can, port, events))["reason"]
        here = -1
        while len(signals(box)) != here:  # until what was on its way has come
            here = len(signals(box))
            await asyncio.sleep(0.3)
        send_frames(can, port, 70, 71, 72)
        await asyncio.sleep(0.3)
        assert not set().union(*signals(box)[here:])
        write(file, "battery")  # while no record is due
        assert "battery.soc" in await next_signals(30, more_than=here)
    assert [each["groups"] for each in data_of(events, "consent_changed")] == [
        "battery", "battery charging driving", "charging", "", "battery",
    ]  # fmt: skip


@pytest.mark.requirement("R214")
async def test_consent_to_scores_is_the_first_record_of_a_boot_and_its_end_is_reported(tmp_path: Path) -> None:
    file, box = tmp_path / "consent", tmp_path / "outbox.db"

    def said() -> list[tuple[int, str]]:
        """The consents that records in the outbox report, with their numbers."""
        database = sqlite3.connect(box)
        rows = database.execute("SELECT seq, body FROM outbox ORDER BY boot, seq").fetchall()
        database.close()
        events = [(seq, json.loads(body).get("event")) for seq, body in rows]
        return [(seq, each["data"]["groups"]) for seq, each in events if each and each["name"] == CONSENT]

    write(file, "battery", "scores")
    async with gateway(tmp_path, NOBODY, drain=0.0, consent_file=file, keyframe_s=0.01) as (can, port, _):
        while not said():
            send_frames(can, port, 20)
            await asyncio.sleep(0.05)
        write(file, "battery")
        soc = 30
        while len(said()) < 2:
            soc += 1
            send_frames(can, port, soc % 90)
            await asyncio.sleep(0.05)
    assert said()[0] == (1, "battery scores")
    assert [groups for _, groups in said()] == ["battery scores", "battery"]
    write(file, "battery", "charging")
    before = len(said())
    async with gateway(tmp_path, NOBODY, drain=0.0, consent_file=file, keyframe_s=0.01) as (can, port, _):
        for soc in range(20, 25):
            send_frames(can, port, soc)
            await asyncio.sleep(0.05)
    assert len(said()) == before, "other groups are the vehicle's own affair"


async def until_sent(can: Any, port: Any, events: Any) -> dict[str, Any]:
    """Send frames until the gateway has looked at its consent file."""
    soc = 10
    while not (found := data_of(events, "consent_unreadable")):
        soc += 1
        send_frames(can, port, soc % 90)
        await asyncio.sleep(0.05)
    return found[0]


@pytest.mark.requirement("R143")
async def test_no_vin_is_in_any_record_topic_log_or_file(pki: PkiTree, broker: Broker, tmp_path: Path) -> None:
    """A program beside the gateway writes it into the text of an event; the broker logs every topic."""
    event = reported(
        "evcc", "session", "failed", 1, {"reason": f"contract of {VIN} rejected, {VIN}", "session_id": "00"}
    )
    assert event is not None
    assert VIN not in str(event.data)
    assert "[VIN]" in str(event.data["reason"])
    config = broker.folder / "mosquitto.conf"
    config.write_text(config.read_text() + "log_type all\n")
    broker.stop()
    running = await asyncio.to_thread(broker.again)
    back_end = ReferenceBackEnd()
    await back_end.connect(running, pki)
    async with gateway(tmp_path, access(running, pki, EV)) as (can, port, events):
        send_frames(can, port, 50, 60)
        await back_end.has(1)
    await back_end.close()
    running.stop()
    written = [path.read_bytes() for path in (*tmp_path.glob("*"), *broker.folder.glob("*")) if path.is_file()]
    written += [json.dumps(each).encode() for each in back_end.records.values()]
    written += [repr(each).encode() for each in events]
    assert len(written) > 5
    assert not [each for each in written if VIN.encode() in each]
    for ev in (VIN, VIN.lower(), f"truck-{VIN}"):
        with pytest.raises(ConfigError, match="is a VIN, not a pseudonym"):
            load_config(f'ev = "{ev}"\noutbox = "o.db"\n', name="gateway.toml")


@pytest.mark.requirement("R145")
async def test_a_gateway_seals_its_outbox(tmp_path: Path) -> None:
    keys = tmp_path / "keys"
    RecordKeys.rotate(keys)
    async with gateway(tmp_path, NOBODY, drain=0.0, outbox_keys=keys) as (can, port, events):
        await until_event(events, "started")
        send_frames(can, port, 50)
        await asyncio.sleep(0.3)
    (stopped,) = data_of(events, "stopped")
    assert stopped["waiting"] > 0
    assert not [path for path in tmp_path.glob("outbox.db*") if b"battery" in path.read_bytes()]


@pytest.mark.requirement("R145", "R188")
async def test_by_default_a_gateway_makes_the_key_of_its_outbox_and_what_was_plain_stays_readable(
    tmp_path: Path,
) -> None:
    boots = list[int]()
    for sealed in (False, True):
        async with gateway(tmp_path, NOBODY, drain=0.0, outbox_sealed=sealed) as (can, port, events):
            boots.append(boot := (await until_event(events, "started"))["boot"])
            send_frames(can, port, 50)
            while (
                not (database := sqlite3.connect(tmp_path / "outbox.db"))
                .execute("SELECT 1 FROM outbox WHERE boot = ?", (boot,))
                .fetchone()
            ):
                database.close()
                await asyncio.sleep(0.02)
            database.close()
    assert load_config(f'ev = "{EV}"\noutbox = "o.db"\n[mqtt]\nhost = "h"\n', name="gateway.toml").outbox_sealed
    assert (tmp_path / "outbox.keys").stat().st_mode & 0o777 == 0o600
    with pytest.raises(StoreError, match="is sealed"):
        await Outbox.open(tmp_path / "outbox.db", EV, 1)
    box = await Outbox.open(tmp_path / "outbox.db", EV, 1, keys=RecordKeys(tmp_path / "outbox.keys"))
    assert [b"battery" in (await box.pending((boot - 1, 0)))[0].body for boot in boots] == [True, True]
    await box.close()
    database = sqlite3.connect(tmp_path / "outbox.db")
    bodies = [(key, b"battery" in body) for key, body in database.execute("SELECT key, body FROM outbox")]
    database.close()
    assert {shown for key, shown in bodies if not key} == {True}
    assert {shown for key, shown in bodies if key} == {False}
