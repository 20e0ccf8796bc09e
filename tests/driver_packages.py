"""Distributions with drivers or installers, as pip would have installed them: metadata and modules."""

from pathlib import Path

import pytest

from v2g.io.hardware.driver import GROUP


def install(
    folder: Path,
    monkeypatch: pytest.MonkeyPatch,
    drivers: dict[str, str],
    modules: dict[str, str],
    *,
    name: str = "acme",
    group: str = GROUP,
) -> None:
    """Install version 1.2 of the distribution `name` in `folder`: entry points, and modules with their source."""
    metadata = folder / f"{name}-1.2.dist-info"
    metadata.mkdir(parents=True)
    (metadata / "METADATA").write_text(f"Metadata-Version: 2.1\nName: {name}\nVersion: 1.2\n")
    entries = "".join(f"{each} = {value}\n" for each, value in drivers.items())
    (metadata / "entry_points.txt").write_text(f"[{group}]\n{entries}")
    for module, source in modules.items():
        (folder / f"{module}.py").write_text(source)
    monkeypatch.syspath_prepend(str(folder))
