"""`v2g grid-code`: the presets, and the code in force at a charger, changed with the installer's code (R209)."""

import sys
import time
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import msgspec
import typer

from v2g.errors import ConfigError
from v2g_cli.output import print_json, print_table, read_text, say, when

if TYPE_CHECKING:
    from v2g.energy.grid_code import GridCode, ProtectionStage

app = typer.Typer(no_args_is_help=True, rich_markup_mode="markdown")
Named = Annotated[str, typer.Argument(metavar="NAME", help="A preset, or a TOML file of your own.")]
InForce = Annotated[Path, typer.Argument(help="The charger's file, `grid_code.file` of its configuration.")]
JsonFlag = Annotated[bool, typer.Option("--json", help="JSON instead of a table.")]


@app.command("list")
def list_(json: JsonFlag = False) -> None:
    """List the presets. "unverified" counts values that are general knowledge: check these before use.

    Example: `v2g grid-code list`
    """
    from v2g.energy.grid_code import presets

    rows = [(name, code.name, code.edition, code.about, len(code.unverified)) for name, code in presets().items()]
    fields = ("preset", "name", "edition", "about", "unverified")
    if json:
        for row in rows:
            print_json(dict(zip(fields, row, strict=True)))
    else:
        print_table("grid codes", fields, [(*row[:-1], str(row[-1])) for row in rows])


@app.command()
def show(
    name: Named,
    json: JsonFlag = False,
    toml: Annotated[bool, typer.Option("--toml", help="As TOML, to edit and to set.")] = False,
) -> None:
    """Show a grid code with the source of each value.

    Example: `v2g grid-code show vde-ar-n-4105-2018 --toml > mine.toml`
    """
    from v2g.energy.grid_code import parse_code

    text = _text(name)
    code = parse_code(text)
    if toml:
        say(text.rstrip(), lines=True)
        return
    if json:
        print_json(code)
        return
    say(f"{code.title}, {code.nominal_hz:g} Hz, {code.nominal_v:g} V; values read on {code.read}")
    say(code.about)
    units = {"voltage": "Un", "mean_voltage": "Un, mean of 10 min", "frequency": "Hz", "rocof": "Hz/s"}
    print_table(
        "disconnects",
        ("stage", "if", "for", "source"),
        [
            (each.name, _limit(each, units, selected=each in code.narrow_stages), f"{each.seconds:g} s", each.source)
            for each in (*code.protection, *code.narrow_stages)
        ],
    )
    rules = [("at the start", code.connection), ("after a disconnection", code.reconnection)]
    print_table(
        "connects",
        ("when", "within", "for", "ramp", "source"),
        [
            (
                when_,
                f"{rule.low_v:g} to {rule.high_v:g} Un, {rule.low_hz:g} to {rule.high_hz:g} Hz",
                f"{rule.wait_s:g} s",
                f"{rule.ramp:g} %/min" if rule.ramp else "none",
                rule.source,
            )
            for when_, rule in rules
        ],
    )
    if (short := code.short_interruption) is not None:
        say(f"after at most {short.lasting_s:g} s without a grid it waits {short.wait_s:g} s only ({short.source})")
    functions = [("always", code.support), ("if demanded", code.reactive)]
    print_table(
        "functions",
        ("function", "acts", "with", "source"),
        [
            (each.replace("_", " "), acts, _values(getattr(support, each)), code.sources[each])
            for acts, support in functions
            for each in sorted(support.functions)
        ],
    )
    print_table("sources", ("source", "is"), sorted(code.references.items()))


def _limit(stage: "ProtectionStage", units: dict[str, str], *, selected: bool) -> str:
    sign, rms = ">" if stage.side == "over" else "<", ", rms" if stage.rms else ""
    return f"{sign} {stage.limit:g} {units[stage.of]}{rms}{', while selected' if selected else ''}"


@app.command("set")
def set_(
    file: InForce,
    name: Named,
    reason: Annotated[str, typer.Option(help="What was commissioned or changed; it is recorded.")],
    installer_code: Annotated[
        Path | None,
        typer.Option("--installer-code", help="File of mode 0600 with the installer's code; else it is asked for."),
    ] = None,
) -> None:
    """Put a grid code in force at a charger, when it starts again. The first call chooses the installer's code (at
    least 8 characters), later ones need it: another one is refused (exit code 5).

    Example: `v2g grid-code set /etc/v2g-engine/grid-code.json vde-ar-n-4105-2018 --reason "commissioned for DSO 12"`
    """
    from v2g.io.storage.grid_code_file import set_grid_code

    code = code_of(name)
    after = set_grid_code(file, code, _installer(installer_code), reason=reason, utc_ms=time.time_ns() // 1_000_000)
    say(f"{file}: {after.code.title} ({after.code.digest[:12]}) is in force when the charger starts again")
    if code.unverified:
        say(f"general knowledge only, check them: {', '.join(code.unverified)}")


@app.command()
def log(file: InForce, json: JsonFlag = False) -> None:
    """Show all changes of a charger's grid code, the oldest first.

    Example: `v2g grid-code log /etc/v2g-engine/grid-code.json`
    """
    from v2g.io.storage.grid_code_file import read_grid_code

    changes = read_grid_code(file).changes
    if json:
        for each in changes:
            print_json(each)
    else:
        rows = [(when(each.utc_ms), each.title, each.digest[:12], each.reason) for each in changes]
        print_table("changes", ("when", "grid code", "digest", "reason"), rows)


def _values(function: msgspec.Struct) -> str:
    shown = msgspec.structs.asdict(function)
    defaults = {each.name: each.default for each in msgspec.structs.fields(function)}
    return ", ".join(f"{name} {value}" for name, value in shown.items() if value != defaults[name] or name == "slope")


def code_of(name: str) -> "GridCode":
    """Return a preset, or the code of a TOML file. Raises ConfigError."""
    from v2g.energy.grid_code import parse_code

    return parse_code(_text(name))


def _text(name: str) -> str:
    from v2g.energy.grid_code import preset_texts

    texts = preset_texts()
    if name in texts:
        return texts[name]
    if not Path(name).is_file():
        raise ConfigError(f"{name!r} is neither a preset nor a file", hint=f"presets: {', '.join(texts)}")
    return read_text(Path(name))


def _installer(file: Path | None) -> str:
    from v2g.pki.keys import read_secret

    if file is not None:
        return read_secret(file).decode(errors="replace").strip()
    if not sys.stdin.isatty():
        raise ConfigError("the installer's code is missing", hint="--installer-code FILE, or run it at a terminal")
    return str(typer.prompt("Installer's code", hide_input=True))
