"""Options in groups are on the command line what single parameters are."""

from pathlib import Path
from typing import Annotated

import msgspec
import pytest
import typer
from typer.testing import CliRunner

from v2g_cli.options import with_option_groups


class Place(msgspec.Struct, frozen=True):
    """Where."""

    folder: Annotated[Path | None, typer.Option("--to", metavar="FOLDER", help="Where to.")] = None
    deep: Annotated[bool, typer.Option("--deep")] = False
    times: Annotated[int, typer.Option(min=1, max=3)] = 1


seen: list[tuple[str, Place, list[str] | None]] = []
app = typer.Typer()


@app.command()
@with_option_groups
def copy(
    what: Annotated[str, typer.Argument(help="What to copy.")],
    place: Place,
    only: Annotated[list[str] | None, typer.Option("--only")] = None,
) -> None:
    """Copy it."""
    seen.append((what, place, only))


@pytest.mark.parametrize(
    ("words", "place", "only"),
    [
        ((), Place(), None),
        (("--to", "x", "--deep", "--times", "3"), Place(Path("x"), deep=True, times=3), None),
        (("--only", "a", "--only", "b"), Place(), ["a", "b"]),
    ],
)
def test_a_group_gets_its_options(words: tuple[str, ...], place: Place, only: list[str] | None) -> None:
    seen.clear()
    assert CliRunner().invoke(app, ["it", *words]).exit_code == 0
    assert seen == [("it", place, only)]


def test_bounds_names_and_texts_are_those_of_the_fields() -> None:
    assert CliRunner().invoke(app, ["it", "--times", "4"]).exit_code == 2
    shown = CliRunner().invoke(app, ["--help"], env={"COLUMNS": "100"}).output
    assert all(word in shown for word in ("Copy it.", "What to copy.", "--to", "FOLDER", "Where to.", "--deep"))
    assert "--folder" not in shown
