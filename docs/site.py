"""Builds the documentation as a site that needs no server: `python docs/site.py FOLDER`, for `make docs` and releases.

The pages of docs/ with all their generated parts, and the project's own pages, by Sphinx, with a search that works
from the disk.
"""

import argparse
import os
import re
import shutil
import sys
import tempfile
import tomllib
from collections.abc import Iterable, Iterator
from functools import cache
from pathlib import Path
from typing import Any, Final

ROOT: Final = Path(__file__).resolve().parent.parent
if str(ROOT) not in sys.path:  # run as a script
    sys.path.insert(0, str(ROOT))

from docs.generate import pages, render  # noqa: E402

DOCS: Final = ROOT / "docs"
PICTURES = (".svg", ".webp")
PROJECT: Final = ("README.md", "ARCHITECTURE.md", "CONTRIBUTING.md", "SECURITY.md", "CHANGELOG.md")

_LINK: Final = re.compile(r"(?P<text>!?\[[^\]]*\])\((?P<file>[^)#\s:]*)(?P<anchor>#[^)\s]*)?\)")
_PART: Final = re.compile(r"^\*\*(?P<caption>[^*]+)\*\*", re.MULTILINE)


def build(folder: Path) -> None:
    """Write the site into a folder, in place of an older one. Raises RuntimeError for what Sphinx warns of, and for a
    folder with anything else."""
    if folder.exists() and any(folder.iterdir()) and not (folder / "searchindex.js").exists():
        raise RuntimeError(f"{folder} has other things than an older site: remove it, or choose another folder")
    from sphinx.application import Sphinx

    with tempfile.TemporaryDirectory() as place:
        source = Path(place) / "source"
        for file, text in sources():
            (source / file).parent.mkdir(parents=True, exist_ok=True)
            (source / file).write_text(text)
        for picture in (each for each in DOCS.rglob("*") if each.suffix in PICTURES):
            (source / _place(picture)).parent.mkdir(parents=True, exist_ok=True)
            shutil.copy(picture, source / _place(picture))
        shutil.rmtree(folder, ignore_errors=True)
        made = Sphinx(
            source,
            confdir=None,
            outdir=folder,
            doctreedir=Path(place) / "doctrees",
            buildername="html",
            confoverrides=_settings(),
            status=None,
            warning=sys.stderr,
            warningiserror=True,
            parallel=os.cpu_count() or 1,
        )
        made.build()
    if made.statuscode:
        raise RuntimeError("the documentation has faults: see above")


def sources(*, whole: bool = True) -> Iterator[tuple[Path, str]]:
    """Yield every page of the site with its place in it, the index first; without `whole` as it stands in docs/."""
    index = (DOCS / "README.md").read_text()
    yield _place(DOCS / "README.md"), _relinked(index, DOCS / "README.md") + "".join(_contents(index))
    for page in [*(ROOT / name for name in PROJECT), *(each for each in pages() if each.parent not in (ROOT, DOCS))]:
        text = page.read_text()
        yield _place(page), _relinked(render(text, whole=True) if whole else text, page)


def _contents(index: str) -> Iterator[str]:
    """Yield the lists of pages for the side bar, by the parts of the index."""
    parts = list(_PART.finditer(index))
    for part, following in zip(parts, [*parts[1:], None], strict=True):
        text = index[part.end() : following.start() if following else len(index)]
        files = [match["file"] for match in _LINK.finditer(text) if match["file"].endswith(".md")]
        inside = dict.fromkeys(each for each in files if not each.startswith(".."))
        yield _tree(part["caption"], inside)
    yield _tree("Project", [str(_place(ROOT / name)) for name in PROJECT])


def _tree(caption: str, files: Iterable[str]) -> str:
    return "\n\n```{toctree}\n:hidden:\n:caption: " + caption + "\n\n" + "\n".join(files) + "\n```\n"


@cache
def _shown() -> frozenset[Path]:
    """Return the files that the site has."""
    inside = (each for each in DOCS.rglob("*") if each.suffix in (".md", *PICTURES))
    return frozenset((*(ROOT / name for name in PROJECT), *inside))


def _place(file: Path) -> Path:
    """Return where a file of the project stands in the site."""
    if file == DOCS / "README.md":
        return Path("index.md")
    return file.relative_to(DOCS) if file.is_relative_to(DOCS) else Path("project") / file.relative_to(ROOT)


def _relinked(text: str, page: Path) -> str:
    """Return a page whose links lead to their places in the site; of links to other files only the text stays, and of
    pictures in two looks the light one."""

    def lead(match: re.Match[str]) -> str:
        if not match["file"]:
            return match[0]
        file = (page.parent / match["file"]).resolve()
        if file not in _shown():
            return match["text"].strip("![]")
        to = os.path.relpath(_place(file), _place(page).parent)
        return f"{match['text']}({to}{match['anchor'] or ''})"

    return _LINK.sub(lead, re.sub("<source [^>]*>", "", text))


def _settings() -> dict[str, Any]:
    version = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]["version"]
    return {
        "extensions": ["myst_parser"],
        "project": "v2g-engine",
        "html_title": f"v2g-engine {version}",
        "html_theme": "furo",
        "html_copy_source": False,
        "html_show_sourcelink": False,
        "myst_heading_anchors": 6,
        "highlight_language": "none",
        "suppress_warnings": ["misc.highlighting_failure", "myst.header"],
    }


def main() -> None:
    """See the module."""
    parser = argparse.ArgumentParser(prog="python docs/site.py", description=__doc__)
    parser.add_argument("folder", type=Path)
    build(parser.parse_args().folder)


if __name__ == "__main__":
    main()
