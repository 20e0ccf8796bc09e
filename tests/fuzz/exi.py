"""Fuzzes one parser for as long as one likes: `python -m tests.fuzz.exi TARGET SECONDS`; `--list` names the targets.

With atheris installed (extra `fuzz`) coverage guides the input, generated code included, and the corpus stays in
.cache/fuzz. Without it, real messages are mutated at random. What breaks is written to .cache/fuzz, too.
"""

import importlib.util
import random
import sys
import time
import traceback
from collections.abc import Callable
from pathlib import Path
from typing import Any

from tests.fuzz.mutations import mutated
from tests.fuzz.targets import TARGETS
from v2g.exi import codec

FUZZED = (
    "v2g.eebus",
    "v2g.energy",
    "v2g.exi",
    "v2g.hardware",
    "v2g.iec60870",
    "v2g.ieee2030_5",
    "v2g.openadr",
    "v2g.pki",
    "v2g.slac",
    "v2g.iso15118",
    "secc.session",
    "evcc.session",
    "csms",
    "v2g_testkit.cases",
)
"""Packages whose branches are counted."""

CACHE = Path(__file__).resolve().parents[2] / ".cache" / "fuzz"


def guided(name: str, seconds: int) -> None:
    """Let libFuzzer choose the input. Does not return."""
    import atheris

    function, seeds = TARGETS[name]
    for module in [module for key, module in sys.modules.items() if key.startswith(FUZZED)]:
        instrument_module(module, atheris)
    instrument_generated(atheris)
    corpus, broken = CACHE / name, CACHE / "broken"
    corpus.mkdir(parents=True, exist_ok=True)
    broken.mkdir(exist_ok=True)
    for at, seed in enumerate(seeds()):
        (corpus / f"seed-{at}").write_bytes(seed)
    options = [f"-max_total_time={seconds}", "-max_len=6000", "-timeout=10", "-rss_limit_mb=1024"]
    atheris.Setup([sys.argv[0], *options, f"-artifact_prefix={broken}/{name}-", str(corpus)], function)
    atheris.Fuzz()


def instrument_module(module: Any, atheris: Any) -> None:
    """Count the branches of what is loaded already."""
    for value in list(vars(module).values()):
        if getattr(value, "__module__", "") != module.__name__:
            continue
        functions = vars(value).values() if isinstance(value, type) else (value,)
        for each in functions:
            if isinstance(each, type(instrument_module)):
                atheris.instrument_func(each)


def instrument_generated(atheris: Any) -> None:
    """Count the branches of functions that are generated while fuzzing, too."""
    for library in (codec.decoders(), codec.encoders()):

        def generate(declaration: Any, library: Any = library, plain: Any = library.generate) -> None:
            before = set(library.functions)
            plain(declaration)
            for each in library.functions.keys() - before:
                atheris.instrument_func(library.functions[each])

        library.generate = generate


def unguided(name: str, seconds: int, seed: int) -> int:
    """Mutate real messages at random; return the number of inputs. Raises what a target raises."""
    function, seeds = TARGETS[name]
    corpus, chance = seeds(), random.Random(seed)
    end, count = time.monotonic() + seconds, 0
    while time.monotonic() < end:
        data = mutated(corpus, chance)
        count += 1
        attempt(function, data, name)
    return count


def attempt(function: Callable[[bytes], None], data: bytes, name: str) -> None:
    """Call a target and keep the input that breaks it."""
    try:
        function(data)
    except Exception:
        (CACHE / "broken").mkdir(parents=True, exist_ok=True)
        path = CACHE / "broken" / f"{name}-{abs(hash(data)):x}"
        path.write_bytes(data)
        sys.stderr.write(f"input kept in {path}\n{traceback.format_exc()}")
        raise


def main() -> None:
    """Fuzz one target, or name them all."""
    if sys.argv[1:] == ["--list"]:
        sys.stdout.write("\n".join(TARGETS) + "\n")
        return
    name, seconds = sys.argv[1], int(sys.argv[2])
    if importlib.util.find_spec("atheris") is not None:
        guided(name, seconds)
    else:
        sys.stderr.write("atheris is not installed; mutating without guidance\n")
        seed = random.randrange(2**32)
        sys.stderr.write(f"seed {seed}: {unguided(name, seconds, seed)} inputs, none broke anything\n")


if __name__ == "__main__":
    main()
