"""The `v2g` command as a program. What it loads never becomes garbage, so it is not looked through for any."""

import gc

from v2g.io.runtime.starting import end_at_once, interrupt


def main() -> None:
    """Entry point of the `v2g` command."""
    end_at_once(130)
    gc.disable()
    from v2g_cli.main import main as run

    gc.freeze()
    gc.set_threshold(10_000, 20, 20)
    gc.enable()
    interrupt()
    run()


if __name__ == "__main__":
    main()
