"""Translations of templates: a catalogue of texts for each language, in `texts`; what it lacks stays English.

A text of a catalogue is what stands between two tags, or the label that a macro gets; what Python says goes through the
filters `said`, `filled`, `facts` and `drawn`. So templates stay readable, and a translator needs no more than a file.
"""

import re
from collections.abc import Callable, Mapping
from functools import partial
from typing import Final

from jinja2 import BaseLoader, Environment, PackageLoader, pass_context
from jinja2.runtime import Context
from markupsafe import escape

from csms.catalogues import catalogues
from v2g.tables import table
from v2g.typed_json import Fields

ENGLISH: Final = "en"

_MARKUP: Final = re.compile(r"<(?:[^<>{]|\{\{.*?\}\}|\{%.*?%\}|\{)*>|\{\{.*?\}\}|\{%.*?%\}|\{#.*?#\}", re.DOTALL)
"""Tags of HTML, with expressions in them, and of templates: what texts stand between."""

_LABELS: Final = (
    re.compile(r'((?:figure|scroll)\(|link\(visit, "\w+", )"([^"{}<>]+)"()'),
    re.compile(r'((?:aria-label|placeholder)=)"([^"{}<>]+)"()'),
)

WORDS: Final = table("csms.console", "ocpp_words.toml", dict[str, str])
"""English for OCPP's words; other languages translate OCPP's own."""


def language_of(accepted: str) -> str:
    """Return the first language that a browser accepts (Accept-Language) and that there is."""
    for each in accepted[:200].split(","):
        tag = each.partition(";")[0].strip().partition("-")[0].lower()
        if tag == ENGLISH or tag in catalogues():
            return tag
    return ENGLISH


def point_of(language: str) -> str:
    """Return the decimal sign of a language."""
    return catalogues().get(language, {}).get("0.0", "0.0")[1]


def texts_of(source: str) -> set[str]:
    """Return the texts of a template that can be translated."""
    between = {" ".join(each.split()) for each in _MARKUP.split(source)} - {""}
    return between | {" ".join(found[2].split()) for label in _LABELS for found in label.finditer(source)}


class Translated(BaseLoader):
    """Templates of the console by language and name, such as `de/login.html`; without a language in English."""

    def __init__(self) -> None:
        self._templates = PackageLoader("csms.console")

    def get_source(self, environment: Environment, template: str) -> tuple[str, str | None, Callable[[], bool] | None]:
        language, _, name = template.rpartition("/")
        source, file, fresh = self._templates.get_source(environment, name)
        texts = catalogues().get(language)
        if texts is not None:
            source = source.replace('<html lang="en">', f'<html lang="{language}">')
            for label in _LABELS:
                source = label.sub(partial(_labelled, texts), source)
            marks = [each[0] for each in _MARKUP.finditer(source)]
            between = [_between(texts, each) for each in _MARKUP.split(source)]
            source = "".join(each for pair in zip(between, [*marks, ""], strict=True) for each in pair)
        return source, file, fresh


def _labelled(texts: Mapping[str, str], found: re.Match[str]) -> str:
    return f'{found[1]}"{escape(texts.get(found[2], found[2]))}"{found[3]}'


def _between(texts: Mapping[str, str], text: str) -> str:
    """Return a translated text with the blanks around it."""
    said = texts.get(" ".join(text.split()))
    if said is None:
        return text
    before, after = text[: len(text) - len(text.lstrip())], text[len(text.rstrip()) :]
    return f"{before}{escape(said)}{after}"


@pass_context
def said(context: Context, text: str) -> str:
    """Return a text in the language of the template."""
    texts = catalogues().get((context.name or "").rpartition("/")[0], WORDS)
    return texts.get(text, text)


@pass_context
def filled(context: Context, text: str, values: Mapping[str, str]) -> str:
    """Return a text in the language of the template, with values for its fields in braces."""
    return said(context, text).format_map(values) if values else said(context, text)


@pass_context
def drawn(context: Context, chart: Fields) -> Fields:
    """Return a chart with title and labels in the language of the template."""
    lines = [{**each, "label": f"{said(context, each['label'])} {each['of']}".rstrip()} for each in chart["lines"]]
    return {**chart, "title": said(context, chart["title"]), "lines": lines}


class Templates(Environment):
    """An environment whose templates extend and import those of their own language."""

    def join_path(self, template: str, parent: str) -> str:
        language, slash, _ = parent.rpartition("/")
        return f"{language}{slash}{template}"
