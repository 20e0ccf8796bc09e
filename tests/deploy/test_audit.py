"""What ships has no known flaw that nobody judged, by the advisories that travel with the project."""

import io
import json
import subprocess
import sys
import threading
import zipfile
from collections.abc import Iterator
from datetime import date, timedelta
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import msgspec
import pytest

from deploy.audit import (
    ADVISORIES,
    Component,
    Waiver,
    Waivers,
    audit,
    check,
    of_image,
    of_lock,
    read_waivers,
    refuse,
    renewed,
    shipped,
    shown,
)
from deploy.debian import ROOT, SYSTEM
from v2g.errors import CodecError, ConfigError, RefusedError
from v2g.io.advisories import (
    Advisory,
    AdvisorySource,
    Affected,
    Database,
    Package,
    Range,
    VersionEvent,
    read_database,
    write_database,
)

DATABASE = read_database(ADVISORIES.read_bytes())
TODAY = max(source.as_of for source in DATABASE.sources)
MSGPACK = Component("PyPI", "msgpack", "1.2.0")


def advisory(name: str, *aliases: str, package: str = "x", fixed: str = "2.0", summary: str = "") -> Advisory:
    """Return an advisory about all versions of a package before `fixed`."""
    borders = Range("ECOSYSTEM", (VersionEvent(introduced="0"), VersionEvent(fixed=fixed)))
    return Advisory(
        name, "2026-01-02T03:04:05Z", summary, aliases, None, (Affected(Package("PyPI", package), (borders,)),)
    )


def database(*advisories: Advisory, packages: tuple[str, ...] = ("x",)) -> Database:
    """Return a database of these advisories."""
    return Database((AdvisorySource("PyPI", "https://example.org", "CC0-1.0", TODAY, packages),), advisories)


def sbom(path: Path, *components: dict[str, object]) -> Path:
    """Write a list of components."""
    path.write_text(json.dumps({"bomFormat": "CycloneDX", "specVersion": "1.6", "components": components}))
    return path


def run(*words: object) -> subprocess.CompletedProcess[str]:
    """Run the command."""
    command = [sys.executable, "-m", "deploy.audit", *map(str, words)]
    return subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)


@pytest.mark.requirement("R153")
def test_what_ships_has_no_known_flaw_that_nobody_judged() -> None:
    check(shipped(), TODAY)


def test_what_ships_is_covered_with_openssl_and_the_python_of_the_container() -> None:
    components = shipped()
    assert not audit(components, DATABASE, Waivers(), TODAY).unknown
    assert {each.name for each in components if each.ecosystem == "generic"} == {"openssl", "cpython", "uplot"}
    (python,) = (each.version for each in components if each.name == "cpython")
    assert python.startswith("3.11."), "the records of CPython are those of 3.11"


def test_each_waiver_is_about_a_flaw_of_what_ships() -> None:
    found = audit(shipped(), DATABASE, read_waivers(), TODAY).findings
    for waiver in read_waivers().waiver:
        assert any(waiver.id in each.ids and waiver.component == each.component.name for each in found), waiver.id


def test_a_known_flaw_stops_a_release_by_name() -> None:
    with pytest.raises(RefusedError, match=r"msgpack 1\.2\.0 has a known flaw: PYSEC-2026-3625") as caught:
        check([*shipped(), MSGPACK], TODAY)
    assert (caught.value.reason, caught.value.exit_code) == ("known_flaw", 5)


def test_what_no_source_covers_stops_a_release() -> None:
    with pytest.raises(RefusedError, match="left-pad"):
        check([Component("PyPI", "left-pad", "1.0")], TODAY)


def test_names_of_one_flaw_are_one_finding() -> None:
    listed = (advisory("PYSEC-1", "CVE-1"), advisory("GHSA-1", "CVE-2"), advisory("CVE-2", "CVE-1", fixed="3.0"))
    report = audit([Component("PyPI", "X", "1.0")], database(*listed, advisory("CVE-3")), Waivers(), TODAY)
    assert sorted(map(set, (each.ids for each in report.findings)), key=len) == [
        {"CVE-3"}, {"PYSEC-1", "GHSA-1", "CVE-1", "CVE-2"},
    ]  # fmt: skip
    assert {each.fixed for each in report.findings} == {("2.0",), ("2.0", "3.0")}


def test_withdrawn_advisories_do_not_count() -> None:
    gone = msgspec.structs.replace(advisory("CVE-1"), withdrawn="2026-01-03T00:00:00Z")
    assert not audit([Component("PyPI", "x", "1.0")], database(gone), Waivers(), TODAY).findings


@pytest.mark.parametrize(("days", "state"), [(0, "waived"), (1, "expired")])
def test_a_waiver_holds_until_its_day(days: int, state: str) -> None:
    waived = Waiver("CVE-2026-57585", "msgpack", "no Unpacker is used again after an error", TODAY)
    report = audit([MSGPACK], DATABASE, Waivers((waived,)), TODAY + timedelta(days))
    assert [each.state for each in report.findings] == [state]
    if state == "expired":
        with pytest.raises(RefusedError, match="msgpack"):
            refuse(report)
    else:
        refuse(report)


def test_a_waiver_of_another_component_does_not_count() -> None:
    waived = Waiver("CVE-2026-57585", "aiohttp", "it is a flaw of another package", TODAY)
    assert [each.state for each in audit([MSGPACK], DATABASE, Waivers((waived,)), TODAY).findings] == ["open"]


@pytest.mark.parametrize("reason", ["", "no"])
def test_a_waiver_needs_a_reason(tmp_path: Path, reason: str) -> None:
    path = tmp_path / "waivers.toml"
    path.write_text(f'[[waiver]]\nid = "CVE-1"\ncomponent = "x"\nreason = "{reason}"\nuntil = 2027-01-01\n')
    with pytest.raises(ConfigError, match="reason"):
        read_waivers(path)


@pytest.mark.long
def test_a_list_of_components_is_audited_and_the_systems_python_does_not_stop(tmp_path: Path) -> None:
    system = {"properties": [{"name": SYSTEM, "value": "true"}]}
    own = {"name": "v2g-engine"}
    flawed = {"name": "openssl", "purl": "pkg:generic/openssl@4.0.2"}
    python = {"name": "cpython", "purl": "pkg:generic/cpython@3.11.16", **system}
    path = sbom(tmp_path / "a.cdx.json", own, python, {"name": "msgpack", "purl": "pkg:pypi/msgpack@1.2.4"})
    done = run(path, "--today", TODAY)
    assert (done.returncode, done.stderr) == (0, "")
    assert "CVE-2026-19445" in done.stdout
    assert "advisories as of 2026-" in done.stdout
    done = run(sbom(path, own, python, flawed), "--today", TODAY, "--json")
    report = json.loads(done.stdout)
    assert done.returncode == 1
    assert {each["state"] for each in report["findings"]} == {"open", "system", "waived"}
    opened = [each for each in report["findings"] if each["state"] == "open"]
    assert {each["component"]["name"] for each in opened} == {"openssl"}
    assert ["4.0.3"] in [each["fixed"] for each in opened]


@pytest.mark.long
def test_old_advisories_are_announced() -> None:
    later = TODAY + timedelta(91)
    done = run("--today", later)
    assert all(f"advisories of {kind} are of " in done.stderr for kind in ("PyPI", "generic"))
    assert run("--today", min(source.as_of for source in DATABASE.sources) + timedelta(90)).stderr == ""


@pytest.mark.some(1)
@pytest.mark.parametrize(
    ("text", "code"),
    [
        ("", 3), ("{}", 3), ("\x1b[31m", 3), ('{"bomFormat":"SPDX","components":[]}', 3),
        ('{"bomFormat":"CycloneDX","components":[{"name":"\\u001b[31m"}]}', 3),
    ],
)  # fmt: skip
def test_a_broken_list_is_one_line(tmp_path: Path, text: str, code: int) -> None:
    (path := tmp_path / "a.json").write_text(text)
    done = run(path)
    assert (done.returncode, done.stdout, done.stderr.count("\n")) == (code, "", 1)
    assert "Traceback" not in done.stderr
    assert "\x1b" not in done.stderr
    assert run(tmp_path / "missing").returncode == 8


def test_a_terminal_gets_no_escape_sequences() -> None:
    listed = advisory("CVE-1\x1b[31m", summary="a\x1b]0;title\x07\nb")
    lines = "\n".join(shown(audit([Component("PyPI", "x", "1.0")], database(listed), Waivers(), TODAY)))
    assert "\x1b" not in lines
    assert "title" in lines


def test_a_lock_is_read_with_all_its_versions() -> None:
    text = (
        "# a\nx==1.0 ; python_version < '3.12' \\\n    --hash=sha256:ab\nx==2.0\n\nY-z==3.0 \\\n    --hash=sha256:c\n"
    )
    assert [(each.name, each.version) for each in of_lock(text, "a")] == [("x", "1.0"), ("x", "2.0"), ("Y-z", "3.0")]
    for broken in ("x>=1.0,<2", "x", "-r other.txt"):
        with pytest.raises(ConfigError, match="a:1"):
            list(of_lock(broken, "a"))


def test_packages_of_an_image_are_those_of_their_source() -> None:
    assert list(of_image("openssl 3.0.17-1~deb12u3\n", "a", "12")) == [
        Component("Debian:12", "openssl", "3.0.17-1~deb12u3")
    ]
    with pytest.raises(ConfigError, match="a:1"):
        list(of_image("openssl", "a", "12"))


def archive(*files: tuple[str, bytes]) -> io.BytesIO:
    """Return a ZIP archive."""
    with zipfile.ZipFile(made := io.BytesIO(), "w", zipfile.ZIP_DEFLATED) as into:
        for name, content in files:
            into.writestr(name, content)
    made.seek(0)
    return made


def test_a_renewal_replaces_an_ecosystem_and_keeps_the_others() -> None:
    old = Database(DATABASE.sources, (*DATABASE.advisories, advisory("OLD-1", package="msgpack")))
    files = [
        (f"{each.id}.json", msgspec.json.encode(each))
        for each in (advisory("NEW-1", package="msgpack"), advisory("NEW-2", package="nothing-of-ours"))
    ]
    new = renewed(old, archive(*files), "PyPI", ["msgpack"], "https://example.org/all.zip")
    assert {each.id for each in new.advisories if "PYSEC" in each.id or each.id in ("NEW-1", "NEW-2", "OLD-1")} == {
        "NEW-1"
    }
    assert any(each.id == "CVE-2026-84782" for each in new.advisories)
    (source,) = (each for each in new.sources if each.ecosystem == "PyPI")
    assert (source.as_of, source.packages) == (date(2026, 1, 2), ("msgpack",))


@pytest.mark.parametrize(
    "made",
    [
        io.BytesIO(b"no archive"), archive(), archive(("a.json", b"{}")), archive(("a.json", bytes(5 << 20))),
    ],
)  # fmt: skip
def test_a_broken_archive_is_one_error(made: io.BytesIO) -> None:
    with pytest.raises(CodecError):
        renewed(DATABASE, made, "PyPI", ["x"], "u")


@pytest.fixture
def server() -> Iterator[str]:
    """The URL of a server with an archive of PyPI."""
    content = archive(("NEW-1.json", msgspec.json.encode(advisory("NEW-1", package="msgpack", fixed="9")))).getvalue()

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            known = self.path == "/PyPI/all.zip"
            self.send_response(200 if known else 404)
            self.send_header("Content-Length", str(len(content) if known else 0))
            self.end_headers()
            if known:
                self.wfile.write(content)

        def log_message(self, *args: object) -> None:
            pass

    with ThreadingHTTPServer(("127.0.0.1", 0), Handler) as running:
        thread = threading.Thread(target=running.serve_forever)
        thread.start()
        yield f"http://127.0.0.1:{running.server_port}"
        running.shutdown()
        thread.join()


@pytest.mark.long
def test_advisories_are_renewed_from_a_server(tmp_path: Path, server: str) -> None:
    (path := tmp_path / "a.jsonl").write_bytes(write_database(DATABASE))
    done = run("--renew", "--server", server, "--advisories", path, "--today", TODAY)
    assert done.returncode == 1, done.stderr
    assert "NEW-1" in done.stdout
    before = path.read_bytes()
    done = run("--renew", "--server", f"{server}/nowhere", "--advisories", path)
    assert (done.returncode, done.stdout, "Traceback" in done.stderr) == (7, "", False)
    assert path.read_bytes() == before


def test_libraries_of_browsers_are_audited_in_the_version_that_the_wheel_has() -> None:
    found = {(each.name, each.version) for each in shipped() if each.name == "uplot"}
    static = ROOT / "csms" / "console" / "static"
    assert found == {tuple(path.stem.rsplit("-", 1)) for path in static.glob("*-[0-9]*.js")}
    for name, version in found:
        assert f"(v{version})" in (static / f"{name}-{version}.js").read_text()[:200]
        assert "MIT" in (static / f"{name}-LICENSE.txt").read_text()
