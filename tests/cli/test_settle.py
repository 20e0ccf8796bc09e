"""`v2g settle`: what it writes for people and programs from a bundle."""

import json
from pathlib import Path

import pytest

from pki_tools.tree import PkiTree
from tests.cli.conftest import Run
from tests.energy.settlement.conftest import Session, run_whole_session, start_ms  # noqa: F401 - a fixture


@pytest.fixture(scope="module")
def bundle(pki: PkiTree, start_ms: int, tmp_path_factory: pytest.TempPathFactory) -> Path:  # noqa: F811
    """The folder of a session's bundle."""
    folder = tmp_path_factory.mktemp("bundle")
    for name, data in run_whole_session(Session(pki, start_ms)).bundle().items():
        (folder / name).write_bytes(data)
    return folder


def test_a_receipt_is_written_once_in_the_language_and_zone_asked_for(v2g: Run, bundle: Path, tmp_path: Path) -> None:
    out = tmp_path / "receipt.html"
    options = ("--language", "de", "--zone", "Europe/Berlin")
    assert v2g("settle", "receipt", str(bundle), "--out", str(out), *options).code == 0
    page = out.read_text()
    assert '<html lang="de">' in page
    assert "Zeitzone Europe/Berlin" in page
    again = v2g("settle", "receipt", str(bundle), "--out", str(out))
    assert (again.code, "name another file" in again.errors) == (2, True)
    assert v2g("settle", "receipt", str(bundle)).output.startswith("<!doctype html>")


def test_no_receipt_is_written_of_a_bundle_that_is_not_verified(v2g: Run, bundle: Path, tmp_path: Path) -> None:
    out = tmp_path / "receipt.html"
    edited = tmp_path / "edited"
    edited.mkdir()
    for each in bundle.iterdir():
        (edited / each.name).write_bytes(each.read_bytes().replace(b"DE*V2G*E0001", b"DE*V2G*E0002"))
    assert v2g("settle", "receipt", str(edited), "--out", str(out)).code == 9
    assert not out.exists()
    assert v2g("settle", "receipt", str(bundle), "--max-reaction", "1", "--out", str(out)).code == 9
    assert not out.exists()
    wrong = v2g("settle", "receipt", str(bundle), "--zone", "Nowhere/Land")
    assert (wrong.code, "unknown time zone 'Nowhere/Land'" in wrong.errors) == (2, True)


SITE = """auth_method = "WHITELIST"

[location]
id = "DEPOT-1"
address = "Ladestraße 1"
city = "Berlin"
country = "DEU"
coordinates = { latitude = "52.520008", longitude = "13.404954" }
connector_id = "1"
connector_standard = "IEC_62196_T2_COMBO"
connector_format = "CABLE"
connector_power_type = "DC"
"""


def test_a_bundle_is_exported_for_programs(v2g: Run, bundle: Path, tmp_path: Path) -> None:
    facts = tmp_path / "site.toml"
    facts.write_text(SITE)
    assert v2g("settle", "export", str(bundle), "--format", "csv").output.startswith("station_id,evse_id,")
    assert json.loads(v2g("settle", "export", str(bundle), "--format", "json").output)[0]["direction"] == "import"
    assert v2g("settle", "export", str(bundle), "--format", "ocmf").output.count("<signedData") == 2
    out = tmp_path / "cdr.json"
    done = v2g("settle", "export", str(bundle), "--format", "ocpi", "--facts", str(facts), "--out", str(out))
    assert (done.code, json.loads(out.read_text())["cdr_location"]["city"]) == (0, "Berlin")


@pytest.mark.parametrize(
    ("facts", "why"),
    [
        (None, "belong together"),
        ("auth_method = 'GUESSED'", "auth_method"),
        ("auth_method = 'COMMAND'\nlocation = 7", "location"),
        (SITE.replace("connector_id", "conector_id"), "conector_id"),
        ("\0", "site.toml"),
    ],
)
def test_facts_that_are_missing_or_wrong_are_named(
    v2g: Run, bundle: Path, tmp_path: Path, facts: str | None, why: str
) -> None:
    options: tuple[str, ...] = ()
    if facts is not None:
        (tmp_path / "site.toml").write_text(facts)
        options = ("--facts", str(tmp_path / "site.toml"))
    done = v2g("settle", "export", str(bundle), "--format", "ocpi", *options)
    assert (done.code, done.output) == (2, "")
    assert why in done.errors
    assert v2g("settle", "export", str(bundle), "--format", "csv", "--facts", "none").code == 2
    assert v2g("settle", "export", str(bundle), "--format", "ocpi", "--facts", str(tmp_path)).code == 2


def test_figures_of_back_end_and_vehicle_are_compared_and_an_alarm_fails(
    v2g: Run, bundle: Path, tmp_path: Path
) -> None:
    settlement = json.loads((bundle / "settlement.json").read_text())
    charged, discharged = (settlement["end"][each] - settlement["begin"][each] for each in ("import_mwh", "export_mwh"))
    log = tmp_path / "evcc.events.jsonl"

    def run(csms: object, factor: float, *options: str) -> tuple[int, str, str]:
        data = {
            "session_id": settlement["session_id"],
            "charged_mwh": round(charged * factor),
            "discharged_mwh": round(discharged * factor),
        }
        log.write_text(json.dumps({"stage": "session", "name": "ended", "data": data}))
        (tmp_path / "copy.json").write_text(json.dumps(csms))
        done = v2g(
            "settle", "reconcile", str(bundle), "--csms", str(tmp_path / "copy.json"), "--vehicle", str(log), *options
        )
        return done.code, done.output, done.errors

    code, output, _ = run({"document": settlement}, 1.004)
    assert (code, output.count("equal"), output.count("within aim")) == (0, 2, 2)
    assert [row["verdict"] for row in map(json.loads, run(settlement, 1.04, "--json")[1].splitlines())] == [
        "equal",
        "equal",
        "beyond_aim",
        "beyond_aim",
    ]
    assert run(settlement, 1.06)[0] == 1
    assert run(settlement, 1.06, "--alarm", "10")[0] == 0
    code, _, errors = run(settlement | {"journal_entries": 1}, 1.0)
    assert (code, "compare their journals" in errors) == (1, True)
    assert run([], 1.0)[0] == 9
    assert v2g("settle", "reconcile", str(bundle)).code == 2
    assert run(settlement, 1.0, "--aim", "6")[0] == 2
