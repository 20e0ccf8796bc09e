"""Texts of pages and e-mails in other languages: a catalogue for each, in `csms/console/texts`; keys are the English
texts, and what a catalogue lacks stays English."""

import importlib.resources
import tomllib
from collections.abc import Mapping
from functools import cache


@cache
def catalogues() -> Mapping[str, Mapping[str, str]]:
    """Return the texts of each language but English."""
    folder = importlib.resources.files("csms.console") / "texts"
    files = [each for each in folder.iterdir() if each.name.endswith(".toml")]
    return {each.name.removesuffix(".toml"): tomllib.loads(each.read_text("utf-8")) for each in files}
