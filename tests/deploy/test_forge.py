"""What a forge and an editor read: workflows, templates and hooks do what they say, by what is here."""

import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
import yaml

ROOT = Path(__file__).resolve().parents[2]
BIN = Path(sys.executable).parent
WORKFLOWS = sorted((ROOT / ".github" / "workflows").glob("*.yml"))
FORM = ROOT / ".github" / "ISSUE_TEMPLATE" / "bug.yml"


def _run(*command: str | Path, folder: Path = ROOT) -> subprocess.CompletedProcess[str]:
    return subprocess.run(command, cwd=folder, capture_output=True, text=True, check=False)


def test_workflows_follow_the_forge_s_schema() -> None:
    checked = _run(BIN / "check-jsonschema", "--builtin-schema", "vendor.github-workflows", *WORKFLOWS)
    assert (checked.returncode, len(WORKFLOWS) > 0) == (0, True), checked.stdout + checked.stderr


@pytest.mark.parametrize("file", WORKFLOWS, ids=lambda file: file.stem)
def test_a_workflow_calls_targets_that_exist_with_few_rights(file: Path) -> None:
    """A step is one of make's targets, and an action stays the commit that was read."""
    text = file.read_text()
    targets = set(re.findall(r"^([a-z-]+):", (ROOT / "Makefile").read_text(), re.MULTILINE))
    called = [set(re.findall(r"\w+", line)) & targets for line in re.findall(r"run: make (.*)", text)]
    assert called
    assert all(called)
    assert yaml.safe_load(text)["permissions"] == {"contents": "read"}
    assert all(re.match(r"[\w/-]+@[0-9a-f]{40} # v\d", used) for used in re.findall(r"uses: (.*)", text))


def test_workflows_run_every_python_and_both_processors() -> None:
    """Those that the project's classifiers or `requires-python` promise; a release of a system brings one Python."""
    matrix = yaml.safe_load((ROOT / ".github" / "workflows" / "test.yml").read_text())["jobs"]["make"]["strategy"]
    brought = {"debian:bookworm": 11, "ubuntu:noble": 12, "debian:trixie": 13, "ubuntu:resolute": 14}
    assert {brought[system] for system in matrix["matrix"]["system"]} == {11, 12, 13, 14}
    assert matrix["matrix"]["machine"] == ["ubuntu-24.04", "ubuntu-24.04-arm"]


@pytest.mark.long
def test_the_bug_report_asks_for_commands_that_exist() -> None:
    form = yaml.safe_load(FORM.read_text())
    fields = [part for part in form["body"] if part["type"] != "markdown"]
    assert len({part["id"] for part in fields}) == len(fields) > 2
    commands = re.findall(r"`v2g ([^`]*)`", FORM.read_text())
    assert "diag prereq" in commands
    for command in commands:
        asked = _run(BIN / "v2g", *command.split(), *([] if command.startswith("-") else ["--help"]))
        assert asked.returncode == 0, asked.stderr


def test_a_commit_with_a_flaw_is_refused(tmp_path: Path) -> None:
    """By the hooks of `pre-commit`, in a repository with a module that ruff formats and one that it finds wrong."""
    (tmp_path / ".venv").symlink_to(BIN.parent)
    for name in ("pyproject.toml", ".pre-commit-config.yaml"):
        shutil.copy(ROOT / name, tmp_path)
    (tmp_path / "good.py").write_text('"""Nothing."""\n')
    (tmp_path / "bad.py").write_text("import os\nx = { }\n")
    for command in ("init -q", "add good.py bad.py"):
        assert _run("git", *command.split(), folder=tmp_path).returncode == 0

    def hooks(file: str) -> tuple[int, set[str]]:
        """Return the exit code, and the hooks that refuse the file; imports take the whole tree."""
        command = (BIN / "pre-commit", "run", "--files", file)
        run = subprocess.run(
            command, cwd=tmp_path, capture_output=True, text=True, env=os.environ | {"SKIP": "imports"}
        )
        return run.returncode, set(re.findall(r"^(.*?)\.+Failed$", run.stdout, re.MULTILINE))

    assert hooks("good.py") == (0, set())
    assert hooks("bad.py") == (1, {"ruff format", "ruff check"})
