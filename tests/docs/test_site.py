"""The site of the documentation: `make docs`."""

import subprocess
import sys
from pathlib import Path

import pytest

from docs import site
from tests.docs.documents import ROOT


def test_the_site_has_every_page_in_its_side_bar_and_no_link_leaves_it() -> None:
    index = (ROOT / "docs" / "README.md").read_text()
    found = {str(file): text for file, text in site.sources(whole=False)}
    listed = [line for line in found["index.md"].splitlines() if line.endswith(".md") and " " not in line]
    assert sorted(listed) == sorted(set(found) - {"index.md"})
    assert "[Configuration](reference/configuration.md)" in index
    assert "[ARCHITECTURE.md](project/ARCHITECTURE.md)" in found["index.md"]
    assert not [name for name, text in found.items() if "](../../../" in text]


def test_a_folder_with_other_things_is_left_as_it_is(tmp_path: Path) -> None:
    (tmp_path / "mine").touch()
    with pytest.raises(RuntimeError, match="other things"):
        site.build(tmp_path)
    assert (tmp_path / "mine").exists()


@pytest.mark.long
def test_sphinx_builds_the_site_without_a_warning(tmp_path: Path) -> None:
    pytest.importorskip("furo", reason="the extra [docs] is not installed: make docs installs it")
    done = subprocess.run([sys.executable, "docs/site.py", tmp_path / "site"], cwd=ROOT, capture_output=True, text=True)
    assert (done.returncode, done.stderr) == (0, "")
    configuration = (tmp_path / "site" / "reference" / "configuration.html").read_text()
    assert all(each in configuration for each in (">[station.tls]<", ">accept_without_tls<")), "the whole reference"
