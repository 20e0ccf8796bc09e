"""Programs say the release that is installed."""

import tomllib
from importlib.metadata import version
from pathlib import Path

from v2g.version import VERSION


def test_the_version_is_that_of_pyproject_and_of_the_installation() -> None:
    project = tomllib.loads((Path(__file__).parents[1] / "pyproject.toml").read_text())["project"]
    assert project["version"] == version("v2g-engine") == VERSION
