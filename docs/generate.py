"""Writes the generated parts of the reference pages; `python docs/generate.py` brings every page up to date.

A page is written by hand except between `<!-- generated: NAME ARGUMENTS -->` and `<!-- end of generated -->`: what
stands there is made from the code, and a test refuses a page that says something else.
"""

import re
import sys
from collections import defaultdict
from collections.abc import Callable, Iterable, Mapping
from pathlib import Path
from typing import Final

ROOT: Final = Path(__file__).resolve().parent.parent
if str(ROOT) not in sys.path:  # run as a script
    sys.path.insert(0, str(ROOT))

from docs import configuration, events, messages  # noqa: E402

_BLOCK: Final = re.compile(
    r"(?P<open><!-- generated: (?P<name>[\w-]+)(?P<arguments>[^>]*?) -->\n)"
    r"(?P<body>.*?)(?P<end><!-- end of generated -->)",
    re.DOTALL,
)


def table(header: Iterable[str], rows: Iterable[Iterable[str]]) -> str:
    """Return a Markdown table; bars inside cells are escaped."""
    lines = [tuple(header), *(tuple(row) for row in rows)]
    texts = ["| " + " | ".join(cell.replace("|", "\\|") for cell in line) + " |" for line in lines]
    return "\n".join([texts[0], "|" + "---|" * len(lines[0]), *texts[1:]]) + "\n"


def sequence_table() -> str:
    """Return every edge of the sequence chart."""
    from v2g.iso15118.sequence import Asks, Says, edges

    return table(
        ("The charger waits in", "Request", "when the request asks for", "and the exchange says", "then waits in"),
        (
            (
                f"`{state.value}`",
                request,
                "" if edge.asks is Asks.ANYTHING else edge.asks.value,
                "" if edge.says is Says.ANYTHING else edge.says.value,
                f"`{edge.to.value}`",
            )
            for state, request, edge in edges()
        ),
    )


def sequence_diagram() -> str:
    """Return the chart as a mermaid diagram; SessionStopReq, which almost every state takes, is left out."""
    from v2g.iso15118.sequence import Asks, Says, State, edges

    lines = ["```mermaid", "stateDiagram-v2", f"    [*] --> {State.SUPPORTED_APP_PROTOCOL.value}"]
    for state, request, edge in edges():
        if request == "SessionStopReq" and state is not State.SESSION_STOP:
            continue
        words = [request.removesuffix("Req")]
        words += [] if edge.asks is Asks.ANYTHING else [edge.asks.value.rpartition(" ")[2]]
        words += [] if edge.says is Says.ANYTHING else [edge.says.value.replace(" any ", " ")]
        lines.append(f"    {state.value} --> {edge.to.value}: {', '.join(words)}")
    return "\n".join([*lines, "    ended --> [*]", "```"]) + "\n"


def timing_table() -> str:
    """Return how long each request may wait for its answer."""
    from v2g.iso15118.timing import MESSAGES

    return table(
        ("Request", "The vehicle waits at most, s", "The charger answers within, s"),
        ((name, f"{timing.timeout:g}", f"{timing.performance:g}") for name, timing in MESSAGES.items()),
    )


def error_tree() -> str:
    """Return every error class with its exit code and what it stands for."""
    from v2g.errors import V2GError

    def rows(kind: type[V2GError], depth: int) -> Iterable[tuple[str, str, str]]:
        text = " ".join((kind.__doc__ or "").split())
        yield "&nbsp;" * 4 * depth + f"`{kind.__name__}`", str(kind.exit_code), text
        for each in kind.__subclasses__():
            if each.__module__ == V2GError.__module__:
                yield from rows(each, depth + 1)

    return table(("Error", "Exit code", "Meaning"), rows(V2GError, 0))


def tls_reasons() -> str:
    """Return the names under which a TLS handshake fails."""
    from v2g.net import tls_channel as channel

    said: dict[str, list[str]] = defaultdict(list)
    for number, (reason, sentence) in channel._RECEIVED.items():
        said[reason].append(f"{sentence} (its alert {number})")
    for _, reason, sentence in channel._FOUND:
        if sentence not in said[reason]:
            said[reason].append(sentence)
    for word in channel._VERIFY_CODES:
        reason = "unknown_ca" if word == "unknown_root" else f"peer_certificate_{word}"
        said[reason].append(f"we find the peer's certificate {word.replace('_', ' ')}")
    return table(("Reason", "What happened"), ((f"`{reason}`", "; ".join(said[reason])) for reason in sorted(said)))


def journal_kinds() -> str:
    """Return the kinds of journal entries with their fields."""
    import msgspec

    from v2g.settlement.records import Record

    rows = []
    for kind in Record.__subclasses__():
        tag = kind.__struct_config__.tag
        fields = ", ".join(f"`{field.encode_name}`" for field in msgspec.structs.fields(kind))
        rows.append((f"`{tag}`", " ".join((kind.__doc__ or "").split()), fields))
    return table(("Kind", "Meaning", "Fields"), rows)


def telemetry_signals() -> str:
    """Return the registry of signals and where the default mapping takes them from."""
    from evcc.gateway import BATTERY_SIGNALS
    from v2g.telemetry.signals import SIGNALS

    sources = {target: source for source, target in BATTERY_SIGNALS.items()}
    return table(
        ("Signal", "Unit", "From", "To", "Step", "CAN message and signal"),
        (
            (
                f"`{name}`",
                signal.unit or "-",
                f"{signal.minimum:g}",
                f"{signal.maximum:.10g}",
                f"{signal.resolution:g}",
                f"`{sources[name]}`" if name in sources else "",
            )
            for name, signal in SIGNALS.items()
        ),
    )


def scenarios() -> str:
    """Return what `v2g demo` can show."""
    from cli.demo.scenarios import SCENARIOS

    return table(("Scenario", "What it shows"), ((f"`{each.name}`", each.about) for each in SCENARIOS))


def access_roles() -> str:
    """Return which role may do what over HTTP."""
    from csms.core.access import ALLOWED

    return table(
        ("Role", "May"),
        ((f"`{role.value}`", ", ".join(sorted(f"`{o.value}`" for o in may))) for role, may in ALLOWED.items()),
    )


GENERATORS: Final[Mapping[str, Callable[..., str]]] = {
    "access-roles": access_roles,
    "configuration": configuration.program,
    "error-tree": error_tree,
    "events": events.page,
    "journal-kinds": journal_kinds,
    "message-pages": messages.message_pages,
    "messages": messages.messages,
    "scenarios": scenarios,
    "sequence-diagram": sequence_diagram,
    "sequence-table": sequence_table,
    "shared-configuration": configuration.shared,
    "telemetry-signals": telemetry_signals,
    "timing-table": timing_table,
    "tls-reasons": tls_reasons,
}
"""Name of a generated part -> what makes it."""


def render(text: str) -> str:
    """Return a page with its generated parts as the code has them now. KeyError for a part that nobody makes."""

    def make(match: re.Match[str]) -> str:
        body = GENERATORS[match["name"]](*match["arguments"].split())
        return f"{match['open']}\n{body}\n{match['end']}"

    return _BLOCK.sub(make, text)


def pages() -> list[Path]:
    """Return every page of the documentation, the README of the project among them."""
    return [ROOT / "README.md", *sorted((ROOT / "docs").rglob("*.md"))]


def main() -> int:
    """Rewrite pages that have changed; return how many (0: everything was up to date)."""
    changed = 0
    for page in pages():
        text = page.read_text()
        new = render(text)
        if new != text:
            page.write_text(new)
            sys.stdout.write(f"{page.relative_to(ROOT)}\n")
            changed += 1
    return changed


if __name__ == "__main__":
    main()
