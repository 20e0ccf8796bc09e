"""Manual pages and completion of the package are what `--help` shows, in a form that groff and shells take."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

from deploy.manual import COMPLETIONS, pages, write
from tests.cli.csms import run
from tests.packages import need


@pytest.fixture(scope="module")
def made() -> dict[str, str]:
    """The text of each page by its name."""
    return dict(pages("1.2.3"))


@pytest.mark.parametrize(
    ("page", "words"),
    [
        ("v2g", ["hardware"]),
        ("v2g-hardware", ["hardware", "test"]),
        ("v2g-secc", ["secc", "init"]),
        ("v2g-trace", ["trace"]),
        ("v2g-pki", ["pki", "ceremony", "split"]),
        ("v2g-csms", ["csms", "stations"]),
    ],
)
def test_a_page_has_all_options_and_sub_commands_that_help_shows(
    made: dict[str, str], page: str, words: list[str]
) -> None:
    code, output, _ = run(*words, "--help")
    assert code == 0
    text = made[page].replace("\\-", "-")
    names = {word.strip(",`") for word in output.split() if word.startswith("--")}
    if page == "v2g":
        assert all(f"fB{each.removeprefix('v2g-')}\\fR" in text for each in made if each != "v2g")
        return
    assert names
    for name in names:
        assert name in text, name
    assert "1.2.3" in text


@pytest.mark.some(1)
@pytest.mark.parametrize("others", [False, True], ids=["the_first", "others"])
def test_groff_has_nothing_to_say_about_a_page(made: dict[str, str], others: bool) -> None:
    need("groff")
    command = ["groff", "-man", "-ww", "-Tutf8", "-Kutf8", "-z"]
    for name in [*made][1:] if others else [*made][:1]:
        done = subprocess.run(command, input=made[name].encode(), capture_output=True, check=False)
        assert (name, done.returncode, done.stderr) == (name, 0, b"")


@pytest.mark.long
def test_the_same_program_makes_the_same_files(made: dict[str, str], tmp_path: Path) -> None:
    for each in ("a", "b"):
        write(tmp_path / each, "1.2.3")
    written, again = (
        {
            path.relative_to(tmp_path / each): path.read_bytes()
            for path in (tmp_path / each).rglob("*")
            if path.is_file()
        }
        for each in ("a", "b")
    )
    assert written == again
    assert len(written) == len(made) + len(COMPLETIONS)


SHELLS = {
    "bash": ("source {script}; COMP_WORDS=({words}); COMP_CWORD={last}; _v2g_completion v2g; echo ${{COMPREPLY[@]}}"),
    "zsh": "autoload -U compinit; compinit -u -D; source {script}; whence -w _v2g_completion",
    "fish": "source {script}; complete --do-complete '{words}'",
}


@pytest.mark.some(1)
@pytest.mark.parametrize("shell", SHELLS)
@pytest.mark.parametrize(("words", "found"), [("v2g hardw", "hardware"), ("v2g hardware exer", "exercise")])
def test_a_shell_completes_commands(tmp_path: Path, shell: str, words: str, found: str) -> None:
    if shell != "bash":
        need(shell)
    write(tmp_path, "1.2.3")
    code = SHELLS[shell].format(script=tmp_path / COMPLETIONS[shell], words=words, last=len(words.split()) - 1)
    environment = os.environ | {"PATH": f"{Path(sys.executable).parent}:{os.environ['PATH']}"}
    command = [shell, "--norc", "-c", code] if shell == "bash" else [shell, "-c", code]
    done = subprocess.run(command, capture_output=True, text=True, env=environment, check=False)
    assert done.returncode == 0, done.stderr
    assert (found if shell != "zsh" else "_v2g_completion: function") in done.stdout, done.stderr
