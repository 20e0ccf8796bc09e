"""`v2g conform ocpi`: its cases are listed, wrong options are named (R204)."""

from pathlib import Path

import msgspec
import pytest

from tests.cli.conftest import Run

VERSIONS = "https://csms.example/ocpi/versions"


def test_the_lab_lists_its_cases_and_names_wrong_options(v2g: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("V2G_OCPI_TOKEN", raising=False)
    lines = v2g("conform", "ocpi", VERSIONS, "--list", "--json").output.splitlines()
    listed = [msgspec.json.decode(line) for line in lines]
    assert len({each["id"] for each in listed}) == len(listed) > 100
    quick = v2g("conform", "ocpi", VERSIONS, "--list", "--quick").output.splitlines()
    assert 40 < len(quick) < len(listed)
    assert "V2G_OCPI_TOKEN" in v2g("conform", "ocpi", VERSIONS).errors
    for options in (
        ("--only", "nothing"), ("--version", "2.1.1"), ("--cert", "chain.pem"), ("--listen", "8443"),
        ("--ca", "no-such-file"),
    ):  # fmt: skip
        assert v2g("conform", "ocpi", VERSIONS, "--token", "a", *options).code == 2


def test_a_platform_that_is_not_there_is_inconclusive(v2g: Run, tmp_path: Path) -> None:
    run = v2g(
        "conform", "ocpi", "http://127.0.0.1:9/ocpi/versions", "--token", "a", "--seconds", "0.5", "--only",
        "CPO-TOKEN", "--html", str(tmp_path),
    )  # fmt: skip
    assert "inconclusive" in run.output
    assert run.code == 3
