"""Files that change together do so in one step, whatever happens on the way."""

import os
import stat
import threading
from pathlib import Path
from typing import Any

import pytest

from pki_tools.files import locked, stage, write_whole
from v2g.errors import StoreError


def write_pair(folder: Path, word: bytes) -> None:
    (folder / "leaf.pem").write_bytes(word)
    (folder / "leaf.key").write_bytes(word)
    (folder / "leaf.key").chmod(0o600)


def pair(folder: Path) -> set[bytes]:
    return {(folder / "leaf.pem").read_bytes(), (folder / "leaf.key").read_bytes()}


def swap(folder: Path, word: bytes) -> Path:
    staged = stage(folder, "leaf", {"leaf.pem": word, "leaf.key": word})
    staged.commit()
    return staged.old


def test_files_are_replaced_together_and_the_old_ones_kept(tmp_path: Path) -> None:
    write_pair(tmp_path, b"1")
    staged = stage(tmp_path, "leaf", {"leaf.pem": b"2", "leaf.key": b"2"})
    assert pair(tmp_path) == {b"1"}
    staged.commit()
    assert pair(tmp_path) == {b"2"}
    assert pair(staged.old) == {b"1"}
    assert pair(swap(tmp_path, b"3")) == {b"2"}
    for key in tmp_path.rglob("*.key"):
        assert stat.S_IMODE(key.stat().st_mode) == 0o600


class PowerCut(Exception):
    pass


@pytest.mark.parametrize("first", [True, False])
def test_a_power_cut_at_any_step_leaves_a_pair_and_the_next_renewal_works(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, *, first: bool
) -> None:
    """Every change of the disk is refused in turn, from the first to the last."""
    steps = {"replace": Path.replace, "symlink_to": Path.symlink_to, "mkdir": Path.mkdir}
    finished, cut_at = False, 0
    while not finished:
        folder = tmp_path / str(cut_at)
        folder.mkdir()
        write_pair(folder, b"1")
        if not first:
            swap(folder, b"2")
        before, done = pair(folder), 0

        def counted(name: str, cut_at: int = cut_at) -> Any:
            def step(self: Path, *arguments: Any, **options: Any) -> Any:
                nonlocal done
                if done == cut_at:
                    raise PowerCut
                done += 1
                return steps[name](self, *arguments, **options)

            return step

        with monkeypatch.context() as patch:
            for name in steps:
                patch.setattr(Path, name, counted(name))
            try:
                swap(folder, b"3")
                finished = True
            except PowerCut:
                pass
        assert pair(folder) in ([before, {b"3"}] if not finished else [{b"3"}])
        swap(folder, b"4")
        assert pair(folder) == {b"4"}
        cut_at += 1
    assert cut_at > 3


def test_a_reader_that_reads_through_one_link_never_sees_a_mixture(tmp_path: Path) -> None:
    write_pair(tmp_path, b"0")
    swap(tmp_path, b"1")
    mixtures, stop = [], threading.Event()

    def read() -> None:
        while not stop.is_set():
            version = (tmp_path / "leaf.pem").resolve().parent
            if len(pair(version)) != 1:
                mixtures.append(version)

    reader = threading.Thread(target=read)
    reader.start()
    for number in range(60):
        swap(tmp_path, str(number).encode())
    stop.set()
    reader.join()
    assert not mixtures


def test_a_file_is_written_whole_or_not_at_all(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "index.json"
    write_whole(path, b"old")

    def full(_number: int) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "fsync", full)
    with pytest.raises(StoreError, match="No space left"):
        write_whole(path, b"new")
    assert path.read_bytes() == b"old"
    assert [each.name for each in tmp_path.iterdir()] == ["index.json"]


def test_a_folder_that_cannot_be_written_is_named(tmp_path: Path) -> None:
    with pytest.raises(StoreError, match="nowhere"), locked(tmp_path / "nowhere"):
        pass
    (tmp_path / "file").touch()
    with pytest.raises(StoreError, match="file"):
        stage(tmp_path / "file", "leaf", {"leaf.pem": b""})
