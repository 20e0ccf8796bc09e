"""`v2g demo`: programs on real protocols, and everything that can go wrong in them.

Each run judges itself by what happened; these tests look at the verdict, and again at the evidence.
"""

import base64
import contextlib
import itertools
import json
import os
import re
import signal
import sqlite3
import subprocess
import sys
import time
import zipfile
from dataclasses import dataclass
from datetime import datetime
from decimal import Decimal
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import msgspec
import pytest

from pki_tools.tree import PkiTree
from tests.emissions import fault
from v2g_cli.demo.broker import find_mosquitto
from v2g_cli.demo.conductor import Conductor
from v2g_cli.demo.folder import RunFolder
from v2g_cli.demo.processes import program
from v2g_cli.demo.scenario import SCENARIOS, Scenario, find
from v2g_cli.demo.summary import billed, summarise
from v2g_cli.demo.timeline import Timeline

SCALE = "900"  # simulated seconds per second: a quarter of an hour passes in one


@dataclass
class Run:
    """What `v2g demo --json` printed."""

    code: int
    events: list[dict[str, Any]]
    summary: dict[str, Any]
    output: str

    def named(self, process: str, stage: str, name: str) -> list[dict[str, Any]]:
        return [e["data"] for e in self.events if (e["process"], e["stage"], e["name"]) == (process, stage, name)]

    def messages(self, name: str) -> list[dict[str, Any]]:
        """What of this name crossed the link, by the vehicle's trace."""
        trace = Path(self.summary["folder"]) / "evcc.trace.jsonl"
        return [line["body"] for line in map(json.loads, trace.read_text().splitlines()) if line["name"] == name]


def command(scenario: str, folder: Path) -> list[str]:
    found = find(scenario)
    slow = found is not None and found.time_scale < 300  # bids and calls have their times
    slow |= scenario == "fault-over-voltage"  # 1 ms until the power is off would be 12 Wh beside the journal
    scale = [] if slow else ["--time-scale", SCALE]
    return [
        sys.executable, "-m", "v2g_cli", "demo", "--json", "--scenario", scenario, *scale, "--folder", str(folder)
    ]  # fmt: skip


def read(code: int, output: str) -> Run:
    records = [json.loads(line) for line in output.splitlines()]
    assert records, output
    assert records[-1]["record"] == "summary", output[-2000:]
    programs = {"evcc2": "evcc", "evcc3": "evcc", "provider": "csms"}
    faults = {fault(**{**each, "process": programs.get(each["process"], each["process"])}) for each in records[:-1]}
    faults -= {""}
    assert not faults, "declare it in v2g/events.py"
    return Run(code, records[:-1], records[-1], output)


def run(scenario: str, folder: Path) -> Run:
    done = subprocess.run(command(scenario, folder), capture_output=True, text=True, timeout=900)
    assert not done.stderr, done.stderr
    return read(done.returncode, done.stdout)


def booked_as(done: Run) -> set[str]:
    """Return how journals stand in the back end's ledger of facts."""
    with contextlib.closing(
        sqlite3.connect(f"file:{done.summary['folder']}/csms/csms.sqlite3?mode=ro", uri=True)
    ) as store:
        return {state for (state,) in store.execute("SELECT state FROM facts WHERE source = 'journal'")}


def failed(done: Run) -> list[str]:
    return [f"{check['name']}: {check['evidence']}" for check in done.summary["checks"] if not check["passed"]]


def no_traceback(folder: Path) -> bool:
    return not any("Traceback" in (folder / f"{name}.log").read_text() for name in ("csms", "secc", "evcc"))


@pytest.mark.long
@pytest.mark.e2e
@pytest.mark.requirement("R29", "R167")
def test_a_gateway_that_hangs_and_dies_neither_delays_charging_nor_loses_a_checkpoint(tmp_path: Path) -> None:
    done = run("gateway-killed", tmp_path / "run")
    assert failed(done) == []
    with sqlite3.connect(next((tmp_path / "run" / "csms").glob("*.sqlite3"))) as database:
        ((stored,),) = database.execute("SELECT count(*) FROM vehicle_checkpoints")
    kept = (tmp_path / "run" / "evcc" / "checkpoints.jsonl").read_bytes().splitlines()
    assert 1 < len(kept) == stored
    for name in ("evcc", "secc"):
        assert not done.named(name, "session", "late_answer")
        assert not done.named(name, "session", "timeout")
    assert no_traceback(tmp_path / "run")


def _at(points: list[tuple[int, float]], at_ms: int) -> float:
    """Return the value at a time, on the line between two points."""
    (before, first), (after, last) = next(pair for pair in itertools.pairwise(points) if pair[1][0] >= at_ms)
    return first + (last - first) * (at_ms - before) / (after - before)


@pytest.mark.e2e
@pytest.mark.long
@pytest.mark.requirement("R181", "R186")
def test_a_bid_is_paid_for_what_meters_and_the_charger_s_own_power_say(tmp_path: Path) -> None:
    """Both sums are made here: of registers that stations have reported, and of the power in each charge loop."""
    done = run("bid", tmp_path / "run")
    assert failed(done) == []
    record = json.loads((tmp_path / "run" / "market.json").read_text())
    call, bid = record["call"], record["settled"]
    begin, end = call["from_ms"], call["until_ms"]
    assert "gate" in record["late"]
    assert bid["gate_closure_ms"] == bid["start_ms"] - 300_000
    assert bid["start_ms"] <= begin < end == bid["end_ms"]
    for each in record["forecast"]["quarters"]:
        for name in ("load_w", "up_w", "down_w"):
            assert each[name]["low"] <= each[name]["middle"] <= each[name]["high"]
    assert all(each["loss_w"] < each["naive_w"] for each in record["forecast"]["skill"].values())
    hours = (end - begin) / 3_600_000
    planned, asked = sum(call["planned_w"].values()) * hours, call["power_w"] * hours
    assert bid["asked_wh"] == round(asked)

    registers: dict[str, list[tuple[int, float]]] = {}
    signs = {"Energy.Active.Import.Register": 1, "Energy.Active.Export.Register": -1}
    with contextlib.closing(sqlite3.connect(tmp_path / "run" / "csms" / "csms.sqlite3")) as store:
        rows = store.execute("SELECT station_id || '/' || transaction_id, document FROM transaction_events ORDER BY id")
        for name, document in rows:
            for value in json.loads(document).get("meterValue", ()):
                at = datetime.fromisoformat(value["timestamp"]).timestamp() * 1000
                read = [
                    (signs[each["measurand"]], each) for each in value["sampledValue"] if each["measurand"] in signs
                ]
                net = sum(sign * each["value"] for sign, each in read)
                assert not any("unitOfMeasure" in each for _, each in read), "it would not be Wh"
                if len(read) == 2:
                    registers.setdefault(name, []).append((round(at), net))
    moved = sum(_at(registers[name], end) - _at(registers[name], begin) for name in call["planned_w"])
    assert bid["delivered_wh"] == pytest.approx(planned - moved, abs=2)

    powers: dict[str, list[tuple[int, int]]] = {}
    for each in done.events:
        if (each["process"], each["stage"], each["name"]) == ("secc", "loop", "response"):
            powers.setdefault(each["data"]["evse_id"], []).append((each["utc_ms"], each["data"]["power_w"]))
    flowed = sum(
        watts * max(0, min(after, end) - max(before, begin)) / 3_600_000
        for each in powers.values()
        for (before, watts), (after, _) in itertools.pairwise(each)
    )
    assert bid["delivered_wh"] == pytest.approx(planned - flowed, abs=0.05 * asked)
    paid = Decimal(min(bid["asked_wh"], bid["delivered_wh"])) * Decimal(bid["price_per_kwh"]["amount"]) / 1000
    assert abs(Decimal(bid["paid"]["amount"]) - paid) <= Decimal("0.0001")


@pytest.mark.e2e
@pytest.mark.long
@pytest.mark.parametrize("scenario", [each.name for each in SCENARIOS])
def test_every_scenario_ends_as_it_promises(scenario: str, tmp_path: Path) -> None:
    done = run(scenario, tmp_path / "run")
    assert failed(done) == []
    assert done.code == 0
    assert no_traceback(tmp_path / "run")


@pytest.mark.e2e
@pytest.mark.long
def test_two_demos_side_by_side_do_not_clash(tmp_path: Path) -> None:
    running = [
        subprocess.Popen(command("discharge", tmp_path / name), stdout=subprocess.PIPE, text=True)
        for name in ("one", "two")
    ]
    for each in running:
        output, _ = each.communicate(timeout=900)
        assert failed(read(each.returncode, output)) == []


@pytest.fixture(scope="module")
def whole(tmp_path_factory: pytest.TempPathFactory) -> Run:
    return run("discharge", tmp_path_factory.mktemp("demo") / "run")


@pytest.mark.e2e
@pytest.mark.one_worker("whole-demo")
class TestWholeRun:
    """One default run, looked at from several sides."""

    @pytest.mark.requirement("R5", "R10")
    def test_it_ends_as_it_promises(self, whole: Run) -> None:
        assert failed(whole) == []
        assert whole.code == 0
        assert no_traceback(Path(whole.summary["folder"]))

    def test_a_report_of_it_has_its_events_and_neither_contract_nor_vehicle(self, whole: Run, tmp_path: Path) -> None:
        folder = Path(whole.summary["folder"])
        configs = [f"--config={folder / name}.toml" for name in ("secc", "evcc", "csms")]
        files = [str(each) for pattern in ("*.log", "*.jsonl") for each in folder.glob(pattern)]
        out = tmp_path / "report.zip"
        v2g = (sys.executable, "-m", "v2g_cli", "diag", "bundle")
        subprocess.run([*v2g, *files, *configs, f"--out={out}"], check=True, timeout=300, capture_output=True)
        with zipfile.ZipFile(out) as archive:
            members = {each: archive.read(each).decode() for each in archive.namelist()}
        kept = [json.loads(line)["name"] for line in members["secc.events.jsonl"].splitlines()]
        assert kept == [each["name"] for each in whole.events if each["process"] == "secc"]
        contracts = {each["emaid"] for each in whole.named("csms", "authorization", "authorize")}
        sessions = {each["session"] for each in whole.named("csms", "settlement", "settled")}
        assert contracts
        assert [each for each in contracts | sessions if each in "".join(members.values())] == []

    @pytest.mark.requirement("R1")
    def test_the_session_is_authorised_by_contract_alone(self, whole: Run) -> None:
        assert whole.named("secc", "authorization", "offered") == [
            {"certificate_installation": False, "services": "PnC"}
        ]
        asked = whole.messages("AuthorizationReq")
        assert {each["SelectedAuthorizationService"] for each in asked} == {"PnC"}
        assert all("PnC_AReqAuthorizationMode" in each and "EIM_AReqAuthorizationMode" not in each for each in asked)
        assert [each["type"] for each in whole.named("csms", "authorization", "authorize")] == ["eMAID"]

    def test_the_back_end_gets_the_meters_signed_readings_as_ocmf(self, whole: Run) -> None:
        with contextlib.closing(sqlite3.connect(Path(whole.summary["folder"]) / "csms" / "csms.sqlite3")) as store:
            found = [json.loads(row[0]) for row in store.execute("SELECT samples FROM transaction_events")]
        signed = [json.loads(each["signed"]) for samples in found for each in samples if each.get("signed")]
        assert len(signed) == 2
        assert {base64.b64decode(each["signedMeterData"])[:6] for each in signed} == {b"OCMF|{"}

    @pytest.mark.requirement("R38")
    def test_the_back_end_gets_how_the_chargers_parts_worked(self, whole: Run) -> None:
        (figures,) = whole.named("csms", "ocpp", "session_metrics")
        assert figures["session_id"] == whole.named("evcc", "session", "established")[0]["session_id"]
        assert figures["cable_check_s"] > 0
        assert abs(figures["pre_charge_gap_v"]) <= 20
        assert figures["efficiency"] == pytest.approx(1, abs=0.02)

    @pytest.mark.requirement("R3")
    def test_the_session_has_an_identifier_of_eight_bytes(self, whole: Run) -> None:
        (setup,) = whole.messages("SessionSetupRes")
        session_id = bytes.fromhex(setup["Header"]["SessionID"])
        assert len(session_id) == 8
        assert whole.named("evcc", "session", "established")[0]["session_id"] == session_id.hex()

    @pytest.mark.requirement("R4")
    def test_the_vehicle_receives_the_prices_of_the_signal(self, whole: Run) -> None:
        signal = msgspec.json.decode((Path(whole.summary["folder"]) / "grid.json").read_bytes())
        schedules = [
            each["Dynamic_SEResControlMode"]["AbsolutePriceSchedule"] for each in whole.messages("ScheduleExchangeRes")
        ]
        assert schedules
        for schedule in schedules:
            assert schedule["Currency"] == signal["currency"]
            at = schedule["TimeAnchor"]
            for stack in schedule["PriceRuleStacks"]["PriceRuleStack"]:
                fee = stack["PriceRule"][0]["EnergyFee"]
                slot = next(each for each in reversed(signal["slots"]) if each["start_ms"] <= at * 1000)
                assert Decimal(fee["Value"]).scaleb(fee["Exponent"]) == Decimal(slot["import_price"]).scaleb(-6)
                at += stack["Duration"]

    @pytest.mark.requirement("R12")
    def test_association_grid_signal_command_metering_and_settlement_come_in_exactly_this_order(
        self, whole: Run
    ) -> None:
        """In the events of all programs, which share a clock, and in the charger's hash-chained journal."""
        wanted = [
            ("evcc", "link", "matched"), ("evcc", "tls", "connected"), ("evcc", "session", "established"),
            ("evcc", "schedule", "prices"), ("evcc", "offer", "received"), ("evcc", "offer", "decided"),
            ("evcc", "power", "command_signed"), ("secc", "offer", "command_accepted"),
            ("secc", "stop", "power_stopped"), ("secc", "settlement", "bundle_written"),
        ]  # fmt: skip
        events = sorted(whole.events, key=lambda event: event["t"])
        names = [(each["process"], each["stage"], each["name"]) for each in events]
        first = [names.index(each) for each in wanted]
        assert all(earlier < later for earlier, later in itertools.pairwise(first)), first
        journal = (Path(whole.summary["figures"]["bundle"]) / "journal.jsonl").read_text().splitlines()
        records = [json.loads(line)["data"] for line in journal]
        kinds = [each["kind"] for each in records]
        order = ["session_started", "contract_authorized", "terms_offered", "terms_decided", "command_accepted"]
        found = [kinds.index(each) for each in order]
        assert all(earlier < later for earlier, later in itertools.pairwise(found))
        assert (kinds[0], kinds[-1]) == (order[0], "session_ended")
        assert "meter_reading" in kinds[found[-1] :] or "interval_closed" in kinds[found[-1] :]
        exported = [each["export_mwh"] for each in records[: found[-1]] if "export_mwh" in each]
        assert len(set(exported)) <= 1, "no energy is fed back before the first command"

    @pytest.mark.requirement("R8", "R12")
    def test_stages_come_in_the_order_of_the_handshake(self, whole: Run) -> None:
        """Grid signal, link, certificates, prices and limits, decision, signed command, metering, settlement."""
        wanted = [
            ("csms", "ocpp", "grid_signal_pushed"), ("evcc", "link", "matched"),
            ("evcc", "sdp", "found"), ("evcc", "tls", "connected"), ("secc", "session", "session_started"),
            ("csms", "authorization", "authorize"), ("evcc", "service", "selected"), ("secc", "offer", "offered"),
            ("evcc", "offer", "decided"), ("secc", "power", "started"), ("secc", "offer", "command_accepted"),
            ("evcc", "metering", "reading"), ("secc", "stop", "power_stopped"), ("csms", "settlement", "settled"),
        ]  # fmt: skip
        events = sorted(whole.events, key=lambda event: event["t"])
        first = [next(e["t"] for e in events if (e["process"], e["stage"], e["name"]) == each) for each in wanted]
        assert first == sorted(first)
        # the charger seals its own bundle meanwhile, in a thread: before or after the back end has settled
        assert whole.named("secc", "settlement", "bundle_written")

    @pytest.mark.requirement("R2")
    def test_both_sides_showed_certificates_on_tls_1_3(self, whole: Run) -> None:
        (vehicle,) = whole.named("evcc", "tls", "connected")
        assert (vehicle["version"], vehicle["group"], vehicle["ocsp"]) == ("TLSv1.3", "secp521r1", "good")
        assert vehicle["cipher"] in ("TLS_AES_256_GCM_SHA384", "TLS_CHACHA20_POLY1305_SHA256")
        (charger,) = whole.named("secc", "tls", "accepted")
        assert charger["peer"] == "WMIV2GENGINE0000001X"

    def test_the_back_end_checked_that_the_vehicle_signed_for_the_session(self, whole: Run) -> None:
        assert booked_as(whole) == {"proven"}

    def test_the_back_end_saw_the_connector_taken_and_given_back(self, whole: Run) -> None:
        """G01."""
        states = [each["status"] for each in whole.named("csms", "ocpp", "connector_status")]
        assert states == ["Available", "Occupied", "Available"]

    @pytest.mark.requirement("R9")
    def test_the_offer_is_the_smallest_of_the_four_limits(self, whole: Run) -> None:
        for offer in whole.named("secc", "offer", "offered"):
            assert offer["max_discharge_w"] == min(offer[each] for each in ("ev_w", "evse_w", "site_w", "operator_w"))

    def test_no_charge_loop_feeds_back_more_than_signed_or_allowed(self, whole: Run) -> None:
        allowed = 0
        for event in sorted(whole.events, key=lambda event: event["t"]):
            if (event["process"], event["stage"], event["name"]) == ("secc", "offer", "command_accepted"):
                allowed = event["data"]["effective_w"]
            if (event["process"], event["stage"], event["name"]) == ("secc", "loop", "response"):
                assert -event["data"]["power_w"] <= allowed + 60

    def test_telemetry_went_through_the_broker_where_there_is_one(self, whole: Run) -> None:
        (started,) = whole.named("gateway", "telemetry", "started")
        assert started["transport"] == ("mqtt" if find_mosquitto() else "http")

    @pytest.mark.requirement("R25", "R32")
    def test_the_bundle_proves_itself_offline_and_one_flipped_bit_is_found(self, whole: Run, tmp_path: Path) -> None:
        bundle = Path(whole.summary["figures"]["bundle"])
        pki = Path(whole.summary["folder"]) / "pki"
        verify = [
            sys.executable, "-m", "v2g_cli", "settle", "verify", "--independent", "--max-reaction", "600",
            "--require", "authorization",
            "--root", str(pki / "v2g/root.pem"), "--root", str(pki / "mo/root.pem"),
        ]  # fmt: skip
        done = subprocess.run([*verify, str(bundle)], capture_output=True, text=True)
        assert done.returncode == 0, done.stderr
        assert "verified" in done.stdout
        assert "Authorisation signed" in done.stdout
        assert re.search(r"^[1-9]\d* signed messages read alike by asn1tools", done.stdout, re.MULTILINE)
        copy = tmp_path / "copy"
        copy.mkdir()
        for path in bundle.iterdir():
            (copy / path.name).write_bytes(path.read_bytes())
        journal = bytearray((copy / "journal.jsonl").read_bytes())
        journal[len(journal) // 2] ^= 1
        (copy / "journal.jsonl").write_bytes(journal)
        done = subprocess.run([*verify, str(copy)], capture_output=True, text=True)
        assert done.returncode == 9
        assert "journal.jsonl" in done.stderr
        assert "Traceback" not in done.stderr

    def test_private_keys_belong_to_their_owner_only_and_no_secret_is_logged(self, whole: Run) -> None:
        folder = Path(whole.summary["folder"])
        keys = list((folder / "pki").rglob("*.key"))
        assert len(keys) > 10
        assert all(path.stat().st_mode & 0o077 == 0 for path in keys)
        token = (folder / "csms.toml").read_text()
        assert "sha256" in token  # the token itself is nowhere on disk
        for log in folder.glob("*.log"):
            assert "PRIVATE KEY" not in log.read_text()


@pytest.fixture(scope="module")
def older(tmp_path_factory: pytest.TempPathFactory) -> Run:
    """A session of ISO 15118-2 by contract, at a charger that offers external payment too."""
    return run("fallback", tmp_path_factory.mktemp("demo") / "run")


@pytest.mark.e2e
@pytest.mark.requirement("R1", "R6")
@pytest.mark.one_worker("older-demo")
class TestPlugAndChargeOf2:
    """Every record of a session that a contract paid says so, on both sides and in the back end."""

    emaid = "DEV2GC00000001"

    def test_traces_and_events_of_both_roles(self, older: Run) -> None:
        assert failed(older) == []
        (offered,) = older.messages("ServiceDiscoveryRes")
        assert offered["Body"]["ServiceDiscoveryRes"]["PaymentOptionList"] == {
            "PaymentOption": ["Contract", "ExternalPayment"]
        }
        (selected,) = older.messages("PaymentServiceSelectionReq")
        assert selected["Body"]["PaymentServiceSelectionReq"]["SelectedPaymentOption"] == "Contract"
        assert [each["payment"] for each in older.named("evcc", "service", "selected")] == ["Contract"]
        assert older.named("evcc", "authorization", "granted") == [{"code": "OK", "service": "PnC"}]
        assert older.named("secc", "authorization", "asked") == [{"method": "PnC", "emaid": self.emaid}]
        (authorized,) = older.named("secc", "authorization", "authorized")
        assert (authorized["method"], authorized["emaid"]) == ("PnC", self.emaid)
        assert "EIM" not in {each["data"].get(key) for each in older.events for key in ("service", "method", "payment")}

    def test_the_journal_the_bundle_and_the_meters_signed_values(self, older: Run) -> None:
        bundle = Path(older.summary["figures"]["bundle"])
        entries = [json.loads(line)["data"] for line in (bundle / "journal.jsonl").read_text().splitlines()]
        (authorized,) = [each for each in entries if each["kind"] == "contract_authorized"]
        assert (authorized["emaid"], authorized["authorized_by"]) == (self.emaid, "csms")
        assert len(authorized["contract_certificate"]) == 64
        assert json.loads((bundle / "settlement.json").read_text())["emaid"] == self.emaid
        for direction in ("import", "export"):
            signed = json.loads((bundle / f"ocmf_{direction}.txt").read_text().partition("\n")[0].split("|")[1])
            assert (signed["IS"], signed["IT"], signed["ID"]) == (True, "EMAID", self.emaid)
            assert "ISO15118_PNC" in signed["IF"]
        assert (bundle / "contract_chain.pem").stat().st_size
        verify = [sys.executable, "-m", "v2g_cli", "settle", "verify", "--max-reaction", "600", str(bundle)]
        done = subprocess.run([*verify, "--require", "authorization"], capture_output=True, text=True)
        assert "Authorisation signed" in done.stdout, done.stderr

    def test_the_transaction_and_the_books_of_the_back_end(self, older: Run) -> None:
        assert [each["type"] for each in older.named("csms", "authorization", "authorize")] == ["eMAID"]
        assert [each["emaid"] for each in older.named("csms", "settlement", "settled")] == [self.emaid]
        store = sqlite3.connect(f"file:{older.summary['folder']}/csms/csms.sqlite3?mode=ro", uri=True)
        try:
            ((transaction,),) = store.execute("SELECT document FROM transactions").fetchall()
            ((state,),) = store.execute("SELECT state FROM journal_reviews").fetchall()
            ((vehicle,),) = store.execute("SELECT vehicle FROM postings").fetchall()
            ((settlement,),) = store.execute("SELECT document FROM settlements").fetchall()
        finally:
            store.close()
        assert booked_as(older) == {"proven"}
        said = json.loads(transaction)
        assert (said["token_type"]["value"], said["id_token"]["value"]) == ("eMAID", self.emaid)
        assert (state, vehicle, json.loads(settlement)["emaid"]) == ("booked", self.emaid, self.emaid)


@pytest.mark.e2e
def test_an_unknown_scenario_is_named_with_exit_code_2() -> None:
    done = subprocess.run(
        [sys.executable, "-m", "v2g_cli", "demo", "--scenario", "nonsense"], capture_output=True, text=True
    )
    assert done.returncode == 2
    assert "no scenario 'nonsense'" in done.stderr
    assert "Traceback" not in done.stderr


@pytest.mark.some(1)
@pytest.mark.requirement("R150")
@pytest.mark.e2e
@pytest.mark.parametrize("program", ["evcc", "secc", "csms"])
def test_every_program_explains_itself_and_refuses_a_bad_configuration(program: str, tmp_path: Path) -> None:
    done = subprocess.run([sys.executable, "-m", program, "--help"], capture_output=True, text=True)
    assert done.returncode == 0
    assert "--config" in done.stdout
    assert "exit codes" in done.stdout
    config = tmp_path / "bad.toml"
    config.touch(mode=0o600)
    config.write_text("no_such_key = 1\n")
    done = subprocess.run([sys.executable, "-m", program, "--config", str(config)], capture_output=True, text=True)
    assert done.returncode == 2
    assert "bad.toml:1" in done.stderr
    assert "Traceback" not in done.stderr
    config.chmod(0o644)
    done = subprocess.run([sys.executable, "-m", program, "--config", str(config)], capture_output=True, text=True)
    assert done.returncode == 2
    assert "chmod 600" in done.stderr


def without_a_charger(folder: Path, pki: PkiTree, *, wait_s: float) -> Path:
    """Write the configuration of a vehicle that waits so long for a charger on an empty line."""
    config = folder / "evcc.toml"
    config.touch(mode=0o600)
    config.write_text(
        f"""[link]
medium = "medium"
wait_s = {wait_s}
[link.slac]
[tls]
chain = "{pki.path("vehicle/chain.pem")}"
key = "{pki.path("vehicle/leaf.key")}"
anchors = ["{pki.path("v2g/root.pem")}"]
"""
    )
    return config


@pytest.mark.e2e
def test_a_vehicle_without_a_charger_says_so_and_ends(tmp_path: Path, pki: PkiTree) -> None:
    config = without_a_charger(tmp_path, pki, wait_s=0.2)
    done = subprocess.run([sys.executable, "-m", "evcc", "--config", str(config)], capture_output=True, text=True)
    assert done.returncode == 6
    assert "is the charger running" in done.stderr
    assert "Traceback" not in done.stderr


@pytest.mark.e2e
def test_a_vehicle_whose_key_is_missing_says_so_before_it_is_plugged_in(tmp_path: Path, pki: PkiTree) -> None:
    config = without_a_charger(tmp_path, pki, wait_s=0.2)
    config.write_text(config.read_text().replace("leaf.key", "no.key"))
    done = subprocess.run([sys.executable, "-m", "evcc", "--config", str(config)], capture_output=True, text=True)
    assert done.returncode == 4
    assert "no.key" in done.stderr
    assert "Traceback" not in done.stderr


@pytest.mark.e2e
@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_a_vehicle_that_is_asked_to_end_does_not_say_that_its_session_went_well(
    number: signal.Signals, tmp_path: Path, pki: PkiTree
) -> None:
    config, events = without_a_charger(tmp_path, pki, wait_s=30), tmp_path / "events.jsonl"
    program = subprocess.Popen(
        [sys.executable, "-m", "evcc", "--config", str(config), "--events", str(events)],
        stderr=subprocess.PIPE,
        text=True,
    )
    while not (events.exists() and "plugged_in" in events.read_text()):
        assert program.poll() is None
        time.sleep(0.02)
    program.send_signal(number)
    _, said = program.communicate(timeout=300)
    assert program.returncode == 130
    assert "Traceback" not in said


@pytest.mark.long
def test_the_demo_says_in_three_blocks_what_happens_what_is_judged_and_what_is_paid(tmp_path: Path) -> None:
    command = [sys.executable, "-m", "v2g_cli", "demo", "--folder", str(tmp_path / "run")]
    said = subprocess.run(command, capture_output=True, text=True, check=True).stdout.splitlines()
    assert len(said) <= 40, said
    heads = [said.index(each) for each in ("What happens", "Verdicts", "Energy and money")]
    assert heads == sorted(heads)
    assert heads[0] == 0
    assert all(line.startswith("ok   ") for line in said[heads[1] + 1 : heads[2]])
    assert any(line.startswith("settlement: ") and "to pay" in line for line in said[heads[2] :])


@pytest.mark.long
def test_the_terminal_gets_plain_lines_when_piped(tmp_path: Path) -> None:
    done = subprocess.run(
        [sys.executable, "-m", "v2g_cli", "demo", "--scenario", "secc-revoked", "--folder", str(tmp_path / "run")],
        capture_output=True,
        text=True,
        env={**os.environ, "TERM": "xterm"},
    )
    assert done.returncode == 0
    assert "\x1b" not in done.stdout
    assert "ok   no power flowed" in done.stdout
    assert no_traceback(tmp_path / "run")


def test_a_cdr_of_a_session_without_energy_has_no_price_to_compare() -> None:
    """As on a machine so slow that the vehicle left before it charged: a run without a verdict was a defect."""
    conductor = SimpleNamespace(cdrs=[{"state": "booked", "detail": "", "document": {}}])
    report = SimpleNamespace(settlement=SimpleNamespace(totals=()))
    run: Any = SimpleNamespace(conductor=conductor, report=report)
    assert [each.passed for each in billed(run)] == [True]


@pytest.mark.parametrize("scenario", SCENARIOS, ids=lambda each: each.name)
def test_a_run_in_which_nothing_happens_has_a_verdict(scenario: Scenario, tmp_path: Path) -> None:
    """As on a machine so slow that no vehicle begins: without a verdict it was a defect of the program."""
    conductor = Conductor(RunFolder(tmp_path, scenario, 1.0), Timeline(0.0, "json"))
    for name in ("csms", "secc", "evcc", "evcc2", "evcc3", "gateway", "provider"):
        config = tmp_path / f"{name}.toml"
        config.write_text("[needs]\ntarget_soc = 80\n")
        conductor.programs[name] = program(name, tmp_path, config)
    found = summarise(conductor)
    assert not found.passed
