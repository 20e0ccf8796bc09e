"""`v2g telemetry --check-config` opens what a configuration names; what it accepts, the gateway starts with."""

import re
from pathlib import Path

import pytest

from pki_tools.tree import PkiTree
from tests.cli.conftest import Run, v2g
from v2g_gateway.config import check_config

__all__ = ["v2g"]

UPLINK = '[mqtt]\nhost = "localhost"\nca = "{pki}/root.pem"\nchain = "{own}/chain.pem"\nkey = "{own}/leaf.key"\n'
HTTPS = UPLINK.replace('[mqtt]\nhost = "localhost"', '[http]\nurl = "https://localhost:1/telemetry"')


EV = "WMIV2GENGINE0000001X"
"""The common name of the gateway's certificate in this tree."""


def config(folder: Path, pki: PkiTree, *, top: str = "", uplink: str = UPLINK, more: str = "") -> Path:
    """Write a configuration, with the tree's certificates unless `uplink` names others."""
    path = folder / "gateway.toml"
    places = uplink.format(pki=pki.path("csms"), own=pki.path("csms/gateway"))
    outbox = "" if "outbox =" in top else 'outbox = "o.db"\n'
    path.write_text(f'ev = "{EV}"\n{outbox}{top}\n{places}{more}')
    path.chmod(0o600)
    return path


def files(folder: Path) -> None:
    """Write files that hold something else than they should."""
    (folder / "text").write_text("this is something else")
    (folder / "open.key").write_text("a" * 30)
    (folder / "open.key").chmod(0o644)
    (folder / "octets").write_bytes(b"\xff\xfe\xfd")
    (folder / "octets").chmod(0o600)
    (folder / "folder").mkdir()
    (folder / "drive.xyz").touch()


WRONG = [
    # top, uplink, which key names what is wrong, with the file
    ("", "", r"mqtt: is missing: records need an uplink"),
    ("", UPLINK + "[fallback]\n", r"fallback.mqtt: is missing"),
    *(
        ("", one, wanted)
        for uplink, name in ((UPLINK, "mqtt"), (HTTPS, "http"))
        for one, wanted in (
            (uplink.replace("root.pem", "gone.pem"), rf"{name}.ca: .*/gone.pem: No such file"),
            (uplink.replace("{pki}/root.pem", "text"), rf"{name}.ca: .*/text: "),
            (uplink.replace("{pki}/root.pem", "octets"), rf"{name}.ca: .*/octets: "),
            (uplink.replace("{pki}/root.pem", "folder"), rf"{name}.ca: .*/folder: Is a directory"),
            (uplink.replace("{own}/chain.pem", "text"), rf"{name}.chain: .*/text: "),
            (uplink.replace("leaf.key", "gone.key"), rf"{name}.key: .*/gone.key: No such file"),
            (uplink.replace("{own}/leaf.key", "{own}/../server/leaf.key"), rf"{name}.key: .*/leaf.key is no key of"),
            (uplink.replace("{own}/leaf.key", "open.key"), rf"{name}.key: .*/open.key has mode 0644"),
            (re.sub("key = .*\n", "", uplink), rf"{name}.key: .*/chain.pem"),
        )
    ),
    ("", UPLINK + 'username = "a"\npassword_file = "gone"\n', r"mqtt.password_file: .*/gone: No such file"),
    (
        "",
        UPLINK + f"[fallback]\n{HTTPS}".replace("[http]", "[fallback.http]").replace("root", "gone"),
        r"fallback.http.ca: .*/gone.pem: ",
    ),
    ('dbc = "gone.dbc"', UPLINK, r"dbc: .*/gone.dbc: No such file"),
    ('dbc = "folder"', UPLINK, r"dbc: .*/folder: Is a directory"),
    ('dbc = "text"', UPLINK, r"dbc: .*/text: CAN database: "),
    ('dbc = "octets"', UPLINK, r"dbc: .*/octets: "),
    ("", UPLINK + '[signals]\n"A.B" = "battery.soc"\n', r"signals: the CAN database has no signal 'A.B'"),
    ('outbox = "gone/o.db"', UPLINK, r"outbox: .*/gone is no folder"),
    ('outbox = "text/o.db"', UPLINK, r"outbox: .*/text/o.db cannot be made: .*/text is no folder"),
    ('outbox_keys = "octets"', UPLINK, r"outbox_keys: .*/octets is no file of record keys"),
    ('consent_file = "gone"', UPLINK, r"consent_file: .*/gone: No such file"),
    ('consent_file = "octets"', UPLINK, r"consent_file: "),
    ('consent_file = "text"', UPLINK, r"consent_file: unknown signal group 'this is something else'"),
    ('schemas = "gone"', UPLINK, r"schemas: .*/gone: no such folder"),
    ('error_log = "gone/e.log"', UPLINK, r"error_log: .*/gone is no folder"),
    ("", UPLINK + '[can]\nreplay = "gone.blf"\n', r"can.replay: .*/gone.blf: No such file"),
    ("", UPLINK + '[can]\nreplay = "drive.xyz"\n', r"can.replay: .*/drive.xyz: not a known format"),
]


@pytest.mark.requirement("R150")
def test_each_file_that_cannot_be_used_is_named_with_its_key_and_line(pki: PkiTree, tmp_path: Path) -> None:
    files(tmp_path)
    for top, uplink, wanted in WRONG:
        path = config(tmp_path, pki, top=top, uplink=uplink)
        found = [str(each) for each in check_config(path.read_text(), name=str(path))]
        assert len(found) == 1, (wanted, found)
        assert re.match(rf"{path}:\d+: {wanted}", found[0]), found


def test_the_program_lists_all_of_them_without_a_traceback(v2g: Run, pki: PkiTree, tmp_path: Path) -> None:
    files(tmp_path)
    top, more = 'dbc = "folder"\noutbox = "gone/o.db"', '[can]\nreplay = "gone.log"\n'
    wrong = config(tmp_path, pki, top=top, uplink=HTTPS.replace("root.pem", "gone.pem"), more=more)
    done = v2g("telemetry", "--config", str(wrong), "--check-config")
    assert done.code == 2
    assert re.findall(r"gateway.toml:(\d+): ([\w.]+):", done.output) == [
        ("6", "http.ca"), ("3", "outbox"), ("2", "dbc"), ("10", "can.replay")
    ]  # fmt: skip
    right = config(tmp_path, pki)
    assert v2g("telemetry", "--config", str(right), "--check-config").code == 0
    (tmp_path / "octets").replace(right)
    done = v2g("telemetry", "--config", str(right), "--check-config")
    assert (done.code, "not UTF-8 text" in done.errors) == (2, True)


@pytest.mark.requirement("R150")
def test_a_certificate_of_another_name_than_the_vehicle_s_is_named(v2g: Run, pki: PkiTree, tmp_path: Path) -> None:
    """A broker compares them, so that no record would arrive; over HTTPS the back end decides by `api.clients`."""
    path = config(tmp_path, pki)
    text = path.read_text().replace(f'ev = "{EV}"', 'ev = "ev-0002"')
    (found,) = check_config(text, name=str(path))
    assert re.search(
        rf"toml:\d+: mqtt.chain: .*chain.pem is the certificate of '{EV}', but `ev` is 'ev-0002'", str(found)
    )
    path = config(tmp_path, pki, uplink=HTTPS)
    path.write_text(path.read_text().replace(f'ev = "{EV}"', 'ev = "ev-0002"'))
    done = v2g("telemetry", "--config", str(path), "--check-config")
    assert (done.code, "evs = ['ev-0002']" in done.output) == (0, True)


@pytest.mark.requirement("R210")
def test_flaws_of_a_dbc_are_notes_unless_a_mapped_message_has_them(v2g: Run, pki: PkiTree, tmp_path: Path) -> None:
    (tmp_path / "make.dbc").write_text(
        'BO_ 1 M: 8 A\n SG_ V : 0|16@1+ (0.1,0) [0|1000] "V" B\nBO_ 2 N: 8 A\n SG_ W : 0|9@1+ (1,0) [0|1] "" B\n'
        ' SG_ X : 8|8@1+ (1,0) [0|1] "" B\n'
    )
    for mapped, code, said in (
        ("M.V", 0, "make.dbc: line 5: W (line 4) and X share bits in N"),
        ("N.W", 2, "line 5: W"),
    ):
        path = config(tmp_path, pki, top='dbc = "make.dbc"', more=f'[signals]\n"{mapped}" = "battery.voltage"\n')
        done = v2g("telemetry", "--config", str(path), "--check-config")
        assert (done.code, said in done.output) == (code, True), done.output
