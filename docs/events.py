"""The event reference, from the declarations of events."""

from collections import defaultdict

from docs.markdown import table as markdown
from v2g.events import REPORTS, STAGES, Event, Field


def stages() -> str:
    """Return the table of stages."""
    return markdown(("Stage", "About"), ((f"`{name}`", about) for name, about in STAGES.items()))


def page() -> str:
    """Return a table of events for each stage."""
    by_stage: dict[str, list[tuple[str, Event]]] = defaultdict(list)
    for programs, events in REPORTS.items():
        for each in events:
            by_stage[each.key[0]].append((programs, each))
    parts = []
    for stage in STAGES:
        rows = (
            (f"`{each.key[1]}`", ", ".join(map(_shown, each.fields)), each.severity, ", ".join(programs.split()))
            for programs, each in sorted(by_stage[stage], key=lambda found: found[1].name)
        )
        parts.append(f"### {stage}\n\n{markdown(('Name', 'Fields', 'Severity', 'Programs'), rows)}")
    return "\n".join(parts)


def _shown(field: Field) -> str:
    kind = field.unit or ("" if field.type == "text" else field.type)
    return f"`{field.name}` ({kind})" if kind else f"`{field.name}`"
