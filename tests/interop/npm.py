"""Packages of npm: peers that nobody here wrote."""

import shutil
import subprocess
from pathlib import Path

import pytest


def installed(folder: Path, package: str) -> Path:
    """Install a package in a folder, and return that; skip the test where it cannot be had."""
    if shutil.which("node") is None or shutil.which("npm") is None:
        pytest.skip("node and npm are not installed (Debian packages nodejs, npm)")
    install = ["npm", "install", "--no-audit", "--no-fund", "--ignore-scripts", package]
    done = subprocess.run(install, cwd=folder, capture_output=True, text=True, timeout=120)
    if done.returncode != 0:
        pytest.skip(f"npm cannot install {package}: {done.stderr[-200:]}")
    return folder
