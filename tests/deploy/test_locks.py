"""The locks name all that packages and containers install, with hashes, and keep to pyproject.toml."""

import re
import tomllib

import pytest
from packaging.markers import default_environment
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name
from packaging.version import Version

from deploy.debian import EXTRAS, LOCKS, ROOT

PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
EXTRAS_OF = {**EXTRAS, "release": "release"}


def locked(name: str) -> dict[str, Version]:
    """Return the versions that a lock has for this machine; each has a hash."""
    found: dict[str, Version] = {}
    for entry in re.split(r"\n(?=\S)", (LOCKS / f"{name}.txt").read_text().strip()):
        assert "--hash=sha256:" in entry, entry.splitlines()[0]
        requirement = Requirement(entry.split("\\")[0])
        if requirement.marker is None or requirement.marker.evaluate():
            (pinned,) = requirement.specifier
            assert pinned.operator == "=="
            found[canonicalize_name(requirement.name)] = Version(pinned.version)
    return found


def wanted(extras: str) -> list[Requirement]:
    """Return what pyproject.toml requires with these extras, on this machine."""
    texts, todo = list(PROJECT["dependencies"]), extras.split(",")
    while todo:
        for text in PROJECT["optional-dependencies"][todo.pop()]:
            requirement = Requirement(text)
            if requirement.name == PROJECT["name"]:
                todo += requirement.extras
            else:
                texts.append(text)
    each = map(Requirement, texts)
    return [one for one in each if one.marker is None or one.marker.evaluate({**default_environment(), "extra": ""})]


@pytest.mark.parametrize("name", EXTRAS_OF)
def test_a_lock_has_what_is_required_in_a_version_that_is_permitted(name: str) -> None:
    found = locked(name)
    for requirement in wanted(EXTRAS_OF[name]):
        version = found.get(canonicalize_name(requirement.name))
        assert version is not None, f"{requirement.name} is missing in deploy/locks/{name}.txt: make lock"
        assert version in requirement.specifier, f"{requirement} is not {version}: make lock"
