"""Actions on several rows of a list: a page that asks with what it will do, and says afterwards what has failed."""

from collections.abc import Mapping, Sequence
from typing import NamedTuple

import msgspec

from csms.console.visit import Visit
from csms.http.pipeline import Answer

PICK = "pick:"
"""Beginning of the name of a row's checkbox; the row's key follows."""

MOST_PICKS = 500
"""Rows that are chosen one by one."""


class Said(NamedTuple):
    """A text with the values of its fields."""

    text: str
    values: Mapping[str, str] = {}


class Field(msgspec.Struct, frozen=True):
    """What the page asks for: text, or one of `options` (value: label)."""

    name: str
    label: str
    options: Mapping[str, str] = {}
    required: bool = False


class Question(msgspec.Struct, frozen=True, kw_only=True):
    """What is asked before an action. `button` names the act; `tick`: it has to be confirmed, as it destroys."""

    text: str
    values: Mapping[str, str]
    effects: Sequence[Said]
    button: str
    fields: Sequence[Field] = ()
    tick: bool = False


def picked(visit: Visit) -> list[str]:
    """Return the keys of the chosen rows; the only one whose own button was pressed."""
    only = visit.form.get("only")
    return [only] if only else [name.removeprefix(PICK) for name in visit.form if name.startswith(PICK)][:MOST_PICKS]


def sure(visit: Visit, count: int) -> bool:
    """Return whether the page was seen that says what will happen, and as many rows are meant as then."""
    return visit.form.get("sure") == str(count)


def ask(
    visit: Visit,
    question: Question,
    back: str,
    count: int,
    keys: Sequence[str],
    failed: Sequence[Said] = (),
    kept: Mapping[str, str] | None = None,
) -> Answer:
    """Show what an action on `count` rows will do, or what has failed of it. `kept`: further fields of its form."""
    return visit.show(
        "change.html",
        200,
        question=question,
        back=back,
        count=count,
        keys=keys,
        failed=failed,
        kept=kept or {},
        changed="sure" in visit.form and not failed,
        do=visit.form.get("do", ""),
        form=visit.form,
    )
