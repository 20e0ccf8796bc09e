"""`--check-config` lists everything that is wrong with a configuration, each with its line and what to do."""

import re
from collections.abc import Iterator
from contextlib import nullcontext
from datetime import UTC, datetime, timedelta
from pathlib import Path

import msgspec
import pytest
import yaml
from msgspec import inspect

from csms.telemetry.config import TelemetryConfig
from pki_tools.authority import sign_staple
from pki_tools.tree import PkiTree
from tests.cli.csms import run
from tests.csms.support import make_config
from tests.io.keys.stores import WRONG, Files, Store, refer, softhsm, swtpm
from tests.io.keys.stores_support import certified
from tests.io.tls.support import pki_2
from tests.together import together
from v2g.config import contradictions, reworded
from v2g.io.keys.stores import open_key
from v2g.io.runtime.config_files import file_faults
from v2g.pki.certificates import chain_to_pem
from v2g.pki.keys import Algorithm
from v2g.pki.profile import Role
from v2g_cli.config import PROGRAMS, sections

__all__ = ["pki_2"]

CHARGER = """data_dir = "secc"
link.medium = "medium"
[tls]
chain = "{pki}/secc/chain.pem"
key = "{pki}/secc/leaf.key"
v2g_roots = ["{pki}/v2g/root.pem"]
[meter]
chain = "{pki}/meter/chain.pem"
key = "{pki}/meter/leaf.key"
"""


def written(folder: Path, text: str, name: str = "secc.toml") -> Path:
    path = folder / name
    path.touch(mode=0o600)
    path.write_text(text)
    return path


def reported(output: str) -> dict[int, str]:
    """Return what is said of each line, with its hint."""
    found: dict[int, str] = {}
    line = 0
    for each in output.splitlines():
        where = re.match(r"\S+\.toml:(\d+): ", each)
        line = int(where[1]) if where else line
        found[line] = f"{found.get(line, '')} {each}"
    return found


def test_all_mistakes_of_a_configuration_are_listed_at_once(tmp_path: Path) -> None:
    path = written(
        tmp_path,
        """data_dir = "secc"
colour = "red"
[site]
charge_w = "much"
contracts = 7
[charger]
poll_hold_s = 9
[log]
level = "loud"
[station]
url = "https://localhost/ocpp"
identity = "CS-1"
store = "s.db"
[hardware]
backend = "benhc"
""",
    )
    code, output, errors = run("secc", "--config", str(path), "--check-config")
    assert (code, errors) == (2, "")
    found = reported(output)
    assert "unknown key 'colour'" in found[2]
    assert "site.charge_w: must be a whole number, but is text" in found[4]
    assert "site.contracts: must be a list, but is a whole number" in found[5]
    assert "charger.poll_hold_s: must be at most 1.2" in found[7]
    assert "'loud' is not an allowed value" in found[9]
    assert "one of debug" in found[9]
    assert "not an OCPP-J endpoint: ws://" in found[10]
    assert "simulated, bench" in found[15]
    assert "the key tls is missing" in found[1]
    assert "the key meter is missing" in found[1]
    assert "$" not in output
    code, output, errors = run("secc", "--config", str(path))
    assert "unknown key 'colour'" not in output


@pytest.mark.parametrize(
    ("extra", "line", "said"),
    [
        ('[site]\ncontracts = ["not an emaid!"]\n', 11, "'not an emaid!' is not an EMAID"),
        ('[hardware]\nbackend = "bench"\npilot = "board"\n', 12, "hardware.pilot: is ignored by the bench"),
        ('[hardware]\n[hardware.board]\ndevice = "/dev/ttyUSB0"\n', 11, "is ignored while pilot is 'simulated'"),
        ('[station]\nurl = "wss://h/o"\nidentity = "C"\nstore = "s"\n', 10, "a wss: url needs [station.tls]"),
        (
            "[charger.rating]\nmin_charge_power_w = 9000\nmax_charge_power_w = 8000\n",
            11,
            "min_charge_power_w: is above max_charge_power_w",
        ),
    ],
)
def test_what_was_accepted_silently_is_reported(pki: PkiTree, tmp_path: Path, extra: str, line: int, said: str) -> None:
    path = written(tmp_path, (CHARGER + extra).replace("{pki}", str(pki.directory)))
    code, output, errors = run("secc", "--config", str(path), "--check-config")
    assert (code, errors) == (2, "")
    assert said in reported(output)[line]
    code, output, errors = run("secc", "--config", str(path))  # and it does not start
    assert code == 2


def test_a_tpm_that_is_not_there_is_reported(pki: PkiTree, tmp_path: Path) -> None:
    more = (
        '[attestation]\npublic_key = "{pki}/secc/chain.pem"\n[attestation.quote]\nkey = "handle:0x8101ffff?tcti=none"\n'
    )
    path = written(tmp_path, (CHARGER + more).replace("{pki}", str(pki.directory)))
    assert "handle:0x8101ffff" in reported(run("secc", "--config", str(path), "--check-config")[1])[13]


def test_files_are_looked_at(pki: PkiTree, tmp_path: Path) -> None:
    good = CHARGER.format(pki=pki.directory)
    assert run("secc", "--config", str(written(tmp_path, good)), "--check-config")[0] == 0
    path = written(tmp_path, good.replace("v2g/root.pem", "v2g/none.pem").replace("meter/chain.pem", "meter/none.pem"))
    code, output, _errors = run("secc", "--config", str(path), "--check-config")
    assert code == 2
    assert "none.pem: No such file" in reported(output)[6]
    assert "none.pem" in reported(output)[8]
    path = written(tmp_path, good.replace("v2g/root.pem", f"v2g/{'a' * 5000}.pem"))
    code, output, errors = run("secc", "--config", str(path), "--check-config")
    assert (code, errors) == (2, "")
    assert "aaa.pem: File name too long" in reported(output)[6]


@pytest.mark.parametrize("program", ["secc", "evcc", "csms"])
def test_a_folder_is_no_configuration(tmp_path: Path, program: str) -> None:
    code, _output, errors = run(program, "--config", str(tmp_path), "--check-config")
    assert code == 2
    assert "is a folder" in errors
    assert "chmod" not in errors


def test_other_programs_have_it_too(tmp_path: Path) -> None:
    for program, text in (
        ("evcc", "[timing]\nloop_pause_s = 0.4\n"),
        ("csms", '[ocpp]\nport = "x"\nsubprotocols = []\n'),
    ):
        path = written(tmp_path, text, f"{program}.toml")
        code, output, _errors = run(program, "--config", str(path), "--check-config")
        assert code == 2
        assert 2 in reported(output)


@together(
    ("why", "words"),
    [
        ("Expected `int | null`, got `str`", "must be a whole number or nothing, but is text"),
        ("Expected `str` of length >= 7", "must have at least 7 characters"),
        ("Expected `array` of length >= 1", "must not be empty"),
        ("Expected `array` of length <= 20", "may have at most 20 entries"),
        ("Object contains unknown field `z`", "the key z is unknown"),
        ("Invalid RFC3339 encoded date", "is not a date such as 2026-11-30"),
        ("Input data was truncated", "the JSON is empty or not complete"),
        (r"Expected `str` matching regex '^[a-z_-]{1,36}\\Z'", "does not have the form of 1 to 36 characters of a-z_-"),
        (r"Expected `str` matching regex '^[a-z]+\\.$'", r"does not have the form [a-z]+\."),
        ("something else", "something else"),
    ],
)
def test_what_the_validator_says_is_said_in_plain_words(why: str, words: str) -> None:
    assert reworded(why) == words


def plain(program: str, path: Path) -> list[str]:
    code, output, _errors = run(program, "--config", str(path), "--check-config")
    assert code == 0
    return re.findall("plain on the disk: (.*)", output)


def test_what_charger_and_vehicle_store_plain_is_named(pki: PkiTree, tmp_path: Path) -> None:
    """R145"""
    charger = CHARGER.format(pki=pki.directory)
    tls = f'chain = "{pki.path("vehicle/chain.pem")}"\nkey = "{pki.path("vehicle/leaf.key")}"\n'
    vehicle = f'[tls]\n{tls}anchors = ["{pki.path("v2g/root.pem")}"]\n'
    pausing = f'{vehicle}[pause]\nfile = "paused.json"\n'
    written(tmp_path, f"1 {'ab' * 32}\n", "journal.keys")
    sealed = 'journal_keys = "journal.keys"\n'
    found = plain("secc", written(tmp_path, charger))
    assert found == [f"journals and settlements in {tmp_path / 'secc'} (journal_keys)"]
    assert plain("secc", written(tmp_path, sealed + charger)) == []
    assert plain("evcc", written(tmp_path, vehicle)) == []
    assert plain("evcc", written(tmp_path, pausing)) == ["checkpoints and paused sessions (journal_keys)"]
    assert plain("evcc", written(tmp_path, sealed + pausing)) == []


def test_what_the_back_end_stores_plain_is_named(pki: PkiTree, tmp_path: Path) -> None:
    """R145"""
    for sealed, more in ((True, []), (False, ["telemetry with positions in the database (telemetry.sealed)"])):
        config = make_config(tmp_path, pki, telemetry=TelemetryConfig(sealed=sealed))
        text = yaml.safe_dump(msgspec.to_builtins(config, enc_hook=str))
        assert plain("csms", written(tmp_path, text, "csms.yaml")) == more


STATION_SECTION = """[station]
url = "wss://localhost:9443/ocpp"
identity = "CS-V2G-0001"
store = "station.sqlite3"
[station.tls]
ca = "{pki}/csms/root.pem"
chain = "{pki}/csms/station/chain.pem"
key = "{pki}/csms/station/leaf.key"
"""
ONE_WAY = '[charger]\nservices = [2]\n[hardware]\nstage = "infypower"\n[hardware.drivers.infypower]\n'
OWN_SDP = """[[evses]]
evse_id = "DE*ABC*E1"
sdp = {{ port = 15118 }}
{0}
[[evses]]
evse_id = "DE*ABC*E2"
sdp = {{ port = 15119 }}
meter = {{ chain = "{{pki}}/cps/chain.pem", key = "{{pki}}/cps/leaf.key" }}
{1}
"""
RELEASES = '[station.update]\nslots = "slots"\n[station.update.releases]\nurl = "https://h/"\n'
NO_ROOT = '{"signed": {"_type": "targets", "version": 1}, "signatures": []}'
BACK_END = """data_dir = "csms"
[ocpp]
certificate = "{pki}/csms/server/chain.pem"
key = "{pki}/csms/server/leaf.key"
client_roots = ["{pki}/csms/root.pem"]
[api]
certificate = "{pki}/csms/server/chain.pem"
key = "{pki}/csms/server/leaf.key"
[trust]
roots = ["{pki}/mo/root.pem"]
crls = ["{pki}/mo/sub2.crl"]
[[stations]]
id = "CS-1"
[[tokens]]
id_token = "DEV2GC00000001"
"""


@pytest.mark.some(2)
@pytest.mark.parametrize(
    ("program", "old", "new", "where", "why"),
    [
        ("secc", "", 'ocsp = "{pki}/contract/ocsp.der"', "tls.ocsp", "is not signed by the issuer"),
        ("secc", "", 'ocsp = "{pki}/oem/root.pem"', "tls.ocsp", "OCSP"),
        ("secc", "/secc/", "/vehicle/", "tls.chain", "is not a certificate of a TLS server"),
        ("secc", "/v2g/root.pem", "/mo/root.pem", "tls.chain", "which is not in tls.v2g_roots"),
        ("secc", "/csms/station/", "/secc/", "station.identity", "'CS-V2G-0001' is not the name in"),
        ("secc", "/v2g/root.pem", "/contract/chain.pem", "tls.v2g_roots", "DEV2GC00000001, which is not an authority"),
        ("secc", '"CS-V2G-0001"', '"CS-2"', "station.identity", "back ends compare them"),
        ("secc", "wss:", "ws:", "station", "has no TLS: make it wss:"),
        ("secc", "wss://localhost:9443", "wss://", "station", "no valid host and port"),
        ("secc", ":9443", ":99999", "station", "no valid host and port"),
        ("secc", "", '[log]\nfile = "x"\nevents = "x"', "log.file", "is log.events, too"),
        ("secc", "", '[log]\nfile = "x"\ntrace = "./x"', "log.trace", "is log.file, too"),
        ("csms", '"CS-1"', '"CS-1"\n[[stations]]\nid = "CS-1"', "stations.id", "'CS-1' is listed twice"),
        ("csms", "", '[[tokens]]\nid_token = "DEV2GC00000001"', "tokens.id_token", "is listed twice"),
        ("csms", "[api]", "[api]\nport = 9443", "api.port", "is that of ocpp"),
        ("csms", "mo/sub2.crl", "mo/root.pem", "trust.crls", "not a CRL"),
        ("csms", "mo/root.pem", "contract/chain.pem", "trust.roots", "which is not an authority"),
        ("secc", "", '[charger]\nevse_id = "no evse id"', "charger.evse_id", "'no evse id' is not an EVSEID"),
        ("secc", "", '[charger]\nservices = [5, 1]\nder = "sae"\n[charger.grid_support.zero_current]\nover_v = 270',
         "charger.grid_support", "has zero_current, which messages by SAE cannot say"),
        ("secc", "", '[log]\nevents = "none/events"', "log.events", "none is no folder"),
        ("secc", "", '[log]\nfile = "."', "log.file", " is a folder"),
        ("secc", "", f'[log]\ntrace = "{"y" * 300}"', "log.trace", "y: File name too long"),
        ("secc", "", '[hardware]\nmeter = "modbus"\n[hardware.modbus]\nhost = "m"\nmap = "sdm63"',
         "hardware.modbus.map", "unknown register map 'sdm63'"),
        ("secc", "", '[hardware]\nmeter = "modbus"\n[hardware.modbus]\nhost = "m"\nmap_file = "short"',
         "hardware.modbus.map_file", "short"),
        ("secc", "", '[hardware]\nstage = "can"\n[hardware.can]\ncommand = "PSU_Set"', "hardware.can",
         "no message 'PSU_Set'"),
        ("secc", "", '[hardware]\nstage = "can"\n[hardware.can]\nmodules = [1, 2, 1]', "hardware.can", "is twice"),
        ("secc", "", '[hardware]\nstage = "can"\n[hardware.can]\ninterface = "socket"', "hardware.can",
         "unknown CAN interface 'socket'"),
        ("secc", "", ONE_WAY + 'isolation = "IMD"',
         "hardware.drivers.infypower", "no message 'IMD'"),
        ("secc", "", ONE_WAY + 'isolation = ""',
         "hardware.drivers.infypower", "the key isolation is missing"),
        ("secc", "", '[hardware]\nbackend = "bench"\n[link.slac]', "hardware", "link.slac needs a control pilot"),
        ("secc", 'link.medium = "medium"\n', "", "hardware", "link.medium is missing: the control pilot is simulated"),
        ("secc", 'medium = "medium"', 'plc.backend = "serial"', "link.plc", "serial needs a device"),
        ("secc", 'medium = "medium"', 'plc.mac = "x"', "link.plc", "'x' is not a unicast address"),
        ("secc", "", '[charger]\neditions = ["20", "2"]', "tls.chain", 'and no chain has a key for iso15118-2'),
        ("secc", "", "[charger.basic]", "hardware", "charger.basic is for alternating current"),
        ("secc", "", '[charger]\nservices = [3]\n[hardware]\nbackend = "bench"\nkind = "wpt"', "hardware",
         "a bench has no device of kind wpt"),
        ("secc", "", '[[evses]]\nevse_id = "DE*ABC*E1"\n[[evses]]\nevse_id = "DE*ABC*E2"', "evses", "share a meter"),
        ("secc", "", OWN_SDP.format(*["tls_port = 50001"] * 2), "evses", "share TCP port 50001"),
        ("secc", "", OWN_SDP.format(*['link = { medium = "medium" }'] * 2), "evses", "share link.medium and link.name"),
        ("secc", "", 'ocsp = "{pki}/secc/ocsp.der"\nstapler = {}', "tls.stapler", "and ocsp exclude each other"),
        ("secc", "", '[site]\nsignal_file = "none.json"', "site.signal_file", "none.json: No such file"),
        ("secc", "", '[site]\nsignal_file = "secc.toml"', "site.signal_file", "malformed"),
        ("secc", "", '[status_page]\ntoken_file = "short"', "status_page.token_file", "fewer than 20 characters"),
        ("secc", "", '[tls.stapler]\nresponder = "ocsp.example"', "tls.stapler.responder", "is no address of a server"),
        ("secc", "", 'key_log = "none/keys"', "tls.key_log", "none is no folder"),
        ("secc", 'store = "station', 'firmware_file = "empty"\nstore = "station', "station.firmware_file",
         "no version"),
        ("secc", 'store = "station', 'password_file = "empty"\nstore = "station', "station.password_file", "is empty"),
        ("secc", 'store = "station', 'password_file = "short"\nstore = "station', "station.password_file", "of 5 char"),
        ("secc", 'chain = "{pki}/csms/station/chain.pem"\nkey = "{pki}/csms/station/leaf.key"', "", "station.url",
         "has neither a password nor a certificate for wss://localhost:9443/ocpp"),
        ("secc", "", "[station.frequency]", "station.frequency.source", "needs a meter with a frequency"),
        ("secc", "", "[[station.card_readers]]\nevse = 2", "station.card_readers.evse", "the last EVSE is 1"),
        ("secc", "", "[station.terminal]\nevse = 2\nzvt.host = 't'", "station.terminal.evse", "the last EVSE is 1"),
        ("secc", "", RELEASES + 'root = "short"\nhardware = "x"', "station.update.releases.root",
         "short is not the root metadata of a repository"),
        ("secc", "", RELEASES + 'root = "old.json"\nhardware = "x"', "station.update.releases.root",
         "old.json is not the root metadata of a repository: Invalid value 'targets'"),
        ("secc", "", '[station.update]\nslots = "slots"\nmanufacturer_roots = ["{pki}/contract/chain.pem"]',
         "station.update.manufacturer_roots", "which is not an authority"),
        ("csms", '"DEV2GC00000001"', '"04AABBCC"', "tokens.id_token", "'04AABBCC' is not an EMAID"),
        ("csms", "", '[grid]\nsignal_file = "none.json"', "grid.signal_file", "none.json: No such file"),
        ("csms", "[trust]", '[trust]\nocsp_responder = "http://h:0/"', "trust.ocsp_responder", "is no address"),
        ("csms", "[trust]", '[trust]\nstatus_urls = ["http://h:99999/"]', "trust.status_urls", "is no address"),
        ("csms", "[trust]", '[trust]\nissuers = ["{pki}/contract/chain.pem"]', "trust.issuers", "not an authority"),
        ("csms", "data_dir", 'store_key = "none.key"\ndata_dir', "store_key", "none.key: No such file"),
        ("csms", "data_dir", 'books_key = "none.key"\ndata_dir', "books_key", "none.key: No such file"),
        ("csms", "data_dir", 'books_earlier_keys = ["short"]\ndata_dir', "books_earlier_keys", "short"),
        ("evcc", "v2g/root.pem", "contract/chain.pem", "tls.anchors", "which is not an authority"),
        ("evcc", "", '[sdp]\nevse_id = "here"', "sdp.evse_id", "'here' is not an EVSEID"),
        ("evcc", "[tls]", 'price_signers = ["short"]\n[tls]', "price_signers", "short"),
    ],
)  # fmt: skip
def test_what_a_configuration_names_has_to_fit(
    pki: PkiTree, tmp_path: Path, program: str, old: str, new: str, where: str, why: str
) -> None:
    text = {"secc": CHARGER + STATION_SECTION, "csms": BACK_END, "evcc": VEHICLE}[program]
    for name, content in (("empty", ""), ("short", "12345\n"), ("old.json", NO_ROOT)):
        written(tmp_path, content, name)
    assert run(program, "--check-config", "--config", str(checked(tmp_path, text, pki, program)))[0] == 0
    if old:
        changed = text.replace(old, new)
    elif new.startswith("["):
        changed = text + new
    else:
        changed = text.replace("[tls]\n", f"[tls]\n{new}\n")
    code, output, _ = run(program, "--check-config", "--config", str(checked(tmp_path, changed, pki, program)))
    assert code == 2
    assert re.search(rf"{program}\.toml:\d+: {re.escape(where)}: .*{re.escape(why)}", output.replace("\n     ", " ")), (
        output
    )


VEHICLE = """[tls]
chain = "{pki}/vehicle/chain.pem"
key = "{pki}/vehicle/leaf.key"
anchors = ["{pki}/v2g/root.pem"]
[contract]
chain = "{pki}/contract/chain.pem"
key = "{pki}/contract/leaf.key"
[provisioning]
chain = "{pki}/provisioning/chain.pem"
key = "{pki}/provisioning/leaf.key"
store = "contracts"
mo_roots = ["{pki}/mo/root.pem"]
"""


@pytest.mark.requirement("R72")
@pytest.mark.parametrize(
    ("cells", "temperatures", "named"),
    [(12, 4, ""), (24, 8, ""), (11, 4, "cells"), (25, 4, "cells"), (12, 3, "temperatures"), (12, 9, "temperatures")],
)
def test_a_module_of_a_vehicles_pack_has_12_to_24_cells_and_4_to_8_temperatures(
    pki: PkiTree, tmp_path: Path, cells: int, temperatures: int, named: str
) -> None:
    pack = f"{VEHICLE}[hardware.pack]\ncells = {cells}\ntemperatures = {temperatures}\n"
    code, output, _ = run("evcc", "--check-config", "--config", str(checked(tmp_path, pack, pki, "evcc")))
    assert code == (2 if named else 0), output
    assert (f"hardware.pack.{named}" in output) is bool(named), output


def test_a_contract_leads_to_a_root_of_contracts(pki: PkiTree, tmp_path: Path) -> None:
    code, output, _ = run("evcc", "--check-config", "--config", str(checked(tmp_path, VEHICLE, pki, "evcc")))
    assert code == 0, output
    other = VEHICLE.replace("/mo/root.pem", "/oem/root.pem")
    code, output, _ = run("evcc", "--check-config", "--config", str(checked(tmp_path, other, pki, "evcc")))
    assert code == 2
    assert re.search(r"evcc\.toml:6: contract\.chain: .*which is not in provisioning\.mo_roots", output), output


def test_a_contract_is_one_that_an_edition_of_the_vehicle_uses(pki: PkiTree, pki_2: PkiTree, tmp_path: Path) -> None:
    later = VEHICLE.replace("{pki}/contract/", f"{pki_2.directory}/contract/")
    later = later.replace("{pki}/mo/", f"{pki_2.directory}/mo/")
    for text, edition, why in (
        (VEHICLE, "20", ""),
        (VEHICLE, "2", "an elliptic key on secp521r1, which no edition in editions signs with"),
        (later, "20", "an elliptic key on secp256r1, which no edition in editions signs with"),
        (later, "2", ""),
        (
            VEHICLE.replace("contract/chain.pem", "contract/leaf.pem").replace("mo_roots", "#"),
            "20",
            "0 sub-CAs, a contract has 1 to 3",
        ),
    ):
        file = checked(tmp_path, f'editions = ["{edition}"]\n{text}', pki, "evcc")
        code, output, _ = run("evcc", "--check-config", "--config", str(file))
        assert (code, why in output, "contract.chain: " in output) == (2 if why else 0, True, bool(why)), output


def test_a_provisioning_certificate_is_named_by_a_pcid(pki: PkiTree, tmp_path: Path) -> None:
    other = VEHICLE.replace("/provisioning/", "/vehicle/")
    code, output, _ = run("evcc", "--check-config", "--config", str(checked(tmp_path, other, pki, "evcc")))
    assert code == 2
    assert re.search(r"evcc\.toml:\d+: provisioning\.chain: 'WMIV2GENGINE0000001X' is not a PCID", output), output


def test_a_charging_station_authority_is_one_whose_stations_are_accepted(pki: PkiTree, tmp_path: Path) -> None:
    authority = '[station_ca]\nchain = "{pki}/csms/root.pem"\nkey = "{pki}/csms/root.key"\n'
    text = BACK_END.replace("[api]", authority + "[api]")
    assert run("csms", "--check-config", "--config", str(checked(tmp_path, text, pki, "csms")))[0] == 0
    other = text.replace('client_roots = ["{pki}/csms', 'client_roots = ["{pki}/oem')
    code, output, _ = run("csms", "--check-config", "--config", str(checked(tmp_path, other, pki, "csms")))
    assert code == 2
    assert re.search(r"csms\.toml:\d+: station_ca\.chain: .*which is not in ocpp\.client_roots", output), output


def test_an_ocsp_response_has_to_be_fresh(pki: PkiTree, tmp_path: Path) -> None:
    stale = sign_staple(pki.directory, pki.index(), pki.index().find("secc"), at=datetime.now(UTC) - timedelta(days=30))
    (tmp_path / "ocsp.der").write_bytes(stale)
    text = CHARGER.replace("[tls]\n", '[tls]\nocsp = "ocsp.der"\n')
    code, output, _ = run("secc", "--check-config", "--config", str(checked(tmp_path, text, pki, "secc")))
    assert code == 2
    assert re.search(r"secc\.toml:\d+: tls\.ocsp: .*ocsp\.der: ", output)
    (tmp_path / "ocsp.der").write_bytes(pki.path("secc/ocsp.der").read_bytes())
    assert run("secc", "--check-config", "--config", str(checked(tmp_path, text, pki, "secc")))[0] == 0


def test_a_chain_has_to_be_in_order(pki: PkiTree, tmp_path: Path) -> None:
    leaf, *subs = re.findall(r"-----BEGIN.*?-----END[^\n]*\n", pki.path("secc/chain.pem").read_text(), re.DOTALL)
    (tmp_path / "chain.pem").write_text("".join((leaf, *reversed(subs))))
    text = CHARGER.replace("{pki}/secc/chain.pem", "chain.pem")
    code, output, _ = run("secc", "--check-config", "--config", str(checked(tmp_path, text, pki, "secc")))
    assert (code, "has not signed it" in output) == (2, True), output


def checked(folder: Path, text: str, pki: PkiTree, program: str) -> Path:
    return written(folder, text.replace("{pki}", str(pki.directory)), f"{program}.toml")


FEES = """[grid.fees]
time_zone = "Europe/Berlin"
high = "0.14"
standard = "0.08"
low = "0.02"
[[grid.fees.days]]
quarters = [1, 4]
"""
MEANINGLESS = (
    ("csms", "", '[[tokens]]\nid_token = "1"\ntype = "RFID"', "tokens.type: 'RFID' is not an allowed value"),
    ("csms", "", '[[tokens]]\nid_token = "CARD"\ntype = "ISO14443"', "tokens.id_token: 'CARD' is not of ISO14443"),
    ("csms", "", '[grid]\nleast_price = "5"\nmost_price = "1.5"', "grid.least_price: is above most_price"),
    ("csms", "", f'{FEES}high = ["17:00-20:00"]\nstandard = ["20:00-16:45"]', "high, standard or low covers 16:45"),
    ("csms", "", f'{FEES}high = ["17:00-20:00"]\nlow = ["19:00-17:00"]', "low: 19:00-17:00 overlaps a window of high"),
    ("csms", "", f'{FEES}low = ["00:00-24:10"]', "low: does not have the form"),
    ("csms", "", f'{FEES}low = ["00:00-24:00"]\n{FEES[FEES.index("[[") :]}low = ["08:00-08:00"]', "is named twice"),
    ("csms", "", f'{FEES}low = ["00:00-24:00"]'.replace("Berlin", "Bern"), "unknown time zone"),
    ("csms", "", f'{FEES}low = ["00:00-24:00"]', "grid.fees: needs a source of prices"),
    ("csms", "", f'{FEES}low = ["00:00-24:00"]'.replace("0.08", "80"), "grid.fees: has a fee above grid.most_price"),
    ("csms", "[api]", '[api]\ncors_origins = ["example.org"]', "api.cors_origins: does not have the form"),
    ("csms", "", "[clock]\nscale = 0.0", "clock.scale: must be at least 1.0"),
    ("csms", "", '[webhooks]\nallow = ["*"]', "webhooks.allow: '*' is no host, address or network"),
    ("csms", "", '[webhooks]\nallow = ["::/0"]', "webhooks.allow: '::/0' is no host"),
    ("csms", 'roots = ["{pki}/mo/root.pem', 'roots = ["{pki}/mo/sub1.pem', "is not a root, but a CA below"),
    ("csms", '"csms"', '"/dev/null"', "data_dir: /dev/null is there, but is not a folder"),
    ("csms", '"csms"', '"/proc/v2g/csms"', "data_dir: /proc: "),  # root neither
    ("csms", '"csms"', '"/proc"', "data_dir: /proc: "),
    (
        "csms",
        'data_dir = "csms"',
        'data_dir = "csms"\nstore_url = "sqlite:////proc/csms"',
        "store_url: /proc: ",
    ),
    ("csms", 'data_dir = "csms"', 'data_dir = "csms"\nstore_url = "sqlite:////dev/gone/x"', "/dev/gone is no folder"),
    ("csms", "[api]", '[api]\nhost = "0.0.0.0"\nport = 9443', "api.port: is that of ocpp, too"),
    ("csms", "[api]", "[[ocpp.listeners]]\nport = 8443\nsecurity_profile = 2\n[api]", "is that of ocpp.listeners, too"),
    ("csms", "", "[battery.health]\nplausible = [2.0, 1.0]", "plausible is upside down"),
    ("secc", '"secc"', '"secc.toml/data"', "secc.toml is no folder"),
    (
        "secc",
        "[meter]",
        '[[tls.other_chains]]\nchain = "{pki}/secc/chain.pem"\nkey = "{pki}/secc/leaf.key"\n[meter]',
        "secc/chain.pem' is listed twice",
    ),
    (
        "secc",
        "",
        "[charger.rating]\nmax_charge_power_w = 5_000_000",
        "max_voltage_v times max_charge_current_a, 276,000 W",
    ),
    ("secc", "", "[charger.timing]\nongoing = nan", "charger.timing.ongoing: must be at least 0.0"),
    ("evcc", "", '[discharge]\npolicy = "policy.py"', "has no function decide"),
)


def test_what_would_do_nothing_or_something_else_is_refused(
    pki: PkiTree, tmp_path: Path, subtests: pytest.Subtests
) -> None:
    written(tmp_path, "choose = 1", "policy.py")
    for program, old, new, said in MEANINGLESS:
        text = {"secc": CHARGER, "csms": BACK_END, "evcc": VEHICLE}[program]
        text = text.replace(old, new, 1) if old else f"{text}{new}\n"
        with subtests.test(new):
            code, output, _ = run(program, "--check-config", "--config", str(checked(tmp_path, text, pki, program)))
            assert (code, said in output.replace("\n     ", " ")) == (2, True), output


def test_what_may_be_meant_but_hardly_is_noted(pki: PkiTree, tmp_path: Path) -> None:
    text = f'link.interface = "eth1"\n{CHARGER}[site]\ncharge_w = 5_000_000\n'
    code, output, _ = run("secc", "--check-config", "--config", str(checked(tmp_path, text, pki, "secc")))
    assert (code, "5,000,000 W, where all EVSEs together draw 150,000 W" in output) == (0, True)
    assert "but discovery at eth1" in output
    text = f'{CHARGER}[sdp]\nwithout_tls = true\n[charger]\neditions = ["20", "din"]\n'
    for authorization, noted in (("", True), ('authorization = ["PnC", "EIM"]\n', False)):
        path = checked(tmp_path, text + authorization, pki, "secc")
        code, output, _ = run("secc", "--check-config", "--config", str(path))
        assert (code, "serves no vehicle of DIN 70121" in output) == (0, noted), output


def test_a_limit_below_what_a_vehicle_needs_is_noted_and_a_mark_of_windows_is_none(
    pki: PkiTree, tmp_path: Path
) -> None:
    """6 A is the least that a control pilot offers: 3,680 W on three phases are 5.3 A."""
    for section, said in (
        ("[site]\ncharge_w = 1_379\n", "1,379 W: no vehicle charges below 6 A (1,380 W)"),
        ("[charger.ac_rating]\nmax_charge_power_w = 3_680\n", "no vehicle charges below 6 A"),
        ("[site]\ncharge_w = 1_380\n[charger.ac_rating]\nmax_charge_current_a = 6\n", ""),
    ):
        text = f'\ufeff{CHARGER}[hardware]\nkind = "ac"\n[charger]\nservices = [1]\n{section}'
        code, output, _ = run("secc", "--check-config", "--config", str(checked(tmp_path, text, pki, "secc")))
        assert (code, "below 6 A" in output, said in output) == (0, bool(said), True), output


KEYS = {
    tuple(filter(None, (*path.split("."), field.encode_name))): (struct, inspect.type_info(field.type))
    for program in PROGRAMS
    for path, struct in sections(program)
    for field in msgspec.structs.fields(struct)
}
"""Every key of every program by its path, with its section and type."""


def types_in(kind: inspect.Type) -> Iterator[inspect.Type]:
    """Yield what one value, or one entry of a list, may be."""
    if isinstance(kind, inspect.Metadata):
        yield from types_in(kind.type)
    elif isinstance(kind, inspect.UnionType):
        for each in kind.types:
            yield from types_in(each)
    elif isinstance(kind, inspect.VarTupleType | inspect.ListType):
        yield from types_in(kind.item_type)
    else:
        yield kind


def test_every_number_of_every_program_has_a_range() -> None:
    """So none is negative, endless or no number at all by mistake."""
    for path, (_, kind) in KEYS.items():
        for each in types_in(kind):
            if isinstance(each, inspect.IntType | inspect.FloatType):
                assert (each.ge, each.gt) != (None, None), path
                assert (each.le, each.lt) != (None, None), path


OPPOSITES = (
    *(("min", "max"), ("minimum", "maximum"), ("least", "most"), ("lowest", "highest"), ("lower", "upper")),
    *(("from", "until"), ("from", "to"), ("begin", "end"), ("start", "end"), ("first", "last"), ("cool", "hot")),
)


def test_every_range_of_every_program_is_refused_upside_down() -> None:
    found = 0
    for path, (struct, _) in KEYS.items():
        *_, name = path
        for least, most in OPPOSITES:
            other = re.sub(rf"(^|_){least}(_|\Z)", rf"\g<1>{most}\2", name)
            if other != name and other in {field.encode_name for field in msgspec.structs.fields(struct)}:
                section = msgspec.defstruct("Section", [name, other])
                assert [each[0] for each in contradictions(section(2, 1))] == [(name,)], path
                assert list(contradictions(section(1, 1))) == []
                found += 1
    assert found > 10


OPENED_BY_ONE_PROGRAM = {
    *(
        "consent_file",
        "dbc",
        "error_log",
        "firmware_file",
        "registers",
        "replay",
        "schemas",
        "signal_file",
        "store_key",
    ),
    *("grid_code.file", "signal_file", "store_key", "trace", "prices.file", "discharge.policy", "simulated.grid"),
}
MAY_BE_A_DEVICE = {
    *("adc", "event_sockets", "image", "metrics_file", "ocsp", "thermal", "local_events.socket", "display.file"),
    *("manifest", "log.events", "log.file", "log.trace", "record.file", "tls.key_log"),
}


def test_every_file_and_folder_of_every_program_is_looked_at(tmp_path: Path) -> None:
    """A device in their place is a fault, but where one may be."""
    for path, (_, kind) in KEYS.items():
        if not any(isinstance(each, inspect.CustomType) and each.cls is Path for each in types_in(kind)):
            continue
        if not {path[-1], ".".join(path[-2:])}.isdisjoint(OPENED_BY_ONE_PROGRAM | MAY_BE_A_DEVICE):
            continue
        if path[-1] in ("key", "rsa_key"):  # opened with the certificate beside it
            continue
        value: object = Path("/dev/null")
        for name in reversed(path):
            value = msgspec.defstruct("Section", [name])(value)
        assert isinstance(value, msgspec.Struct)
        assert file_faults("", value, name="c.toml"), path


@pytest.fixture(params=["file", "pkcs11", "tpm"])
def store(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Store]:
    make = {"file": lambda folder: nullcontext(Files(folder)), "pkcs11": softhsm, "tpm": swtpm}[request.param]
    with make(tmp_path) as made:
        yield made


@pytest.mark.some(1)
@pytest.mark.requirement("R146")
def test_keys_in_tokens_tpms_and_files_with_passphrases_are_opened(
    pki: PkiTree, tmp_path: Path, store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A key that opens and fits, another one, a wrong PIN, and a token that is not there."""
    algorithm = Algorithm.ECDSA_SHA256
    made = store.make(algorithm)
    key = open_key(refer(made, store))
    (tmp_path / "own.pem").write_text(chain_to_pem(certified(key, pki, Role.SECC, "CS-1", "cpo")))
    if hasattr(key, "close"):
        key.close()

    def found(pin: str = "file:pin", chain: Path = tmp_path / "own.pem") -> str:
        own = f'chain = "{chain}"\nkey = "{made}{"&" if "?" in made else "?"}pin-source={pin}"\n'
        text = re.sub(r"chain.*\nkey.*\n", own, CHARGER + '[charger]\neditions = ["2"]\n', count=1)
        return run("secc", "--check-config", "--config", str(checked(tmp_path, text, pki, "secc")))[1]

    assert "no errors" in found()
    assert re.search(r"secc\.toml:5: tls\.key: ", found(chain=pki.path("secc/chain.pem")))
    refer(made, store, pin=WRONG)
    assert re.search(r"secc\.toml:5: tls\.key: ", found("file:wrong-pin"))
    assert re.search(r"secc\.toml:5: tls\.key: .*no PIN or passphrase in env NO_PIN", found("env:NO_PIN"))
    monkeypatch.delenv("CREDENTIALS_DIRECTORY", raising=False)
    assert "no errors" in found("credential:only-of-systemd")
    store.withdraw()
    assert re.search(r"secc\.toml:5: tls\.key: ", found())


@pytest.mark.requirement("R192")
@pytest.mark.parametrize(
    ("phases", "meter", "said"), [(3, "generic", True), (3, "sdm630", False), (1, "generic", False)]
)
def test_what_is_assumed_of_the_lines_of_a_meter_without_them_is_named(
    phases: int, meter: str, said: bool, pki: PkiTree, tmp_path: Path
) -> None:
    charger = (
        CHARGER.format(pki=pki.directory)
        + f"""[charger]
services = [1]
ac_rating.phases = {phases}
ac_rating.max_charge_power_w = 7_360
[hardware]
kind = "ac"
meter = "modbus"
modbus.host = "192.0.2.7"
modbus.map = "{meter}"
"""
    )
    code, output, _errors = run("secc", "--config", str(written(tmp_path, charger)), "--check-config")
    assert code == 0, output
    assert ("its meter has no currents of L1 to L3" in output) is said
    derived_a = {1: "32", 3: "10.666"}[phases]
    assert f"{derived_a} A for each line conductor, by ac_rating.max_charge_power_w" in output
