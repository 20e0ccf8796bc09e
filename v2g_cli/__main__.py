"""The `v2g` command as a program. What it loads never becomes garbage, so it is not looked through for any."""

import gc


def main() -> None:
    """Entry point of the `v2g` command."""
    gc.disable()
    from v2g_cli.main import main as run

    gc.freeze()
    gc.set_threshold(10_000, 20, 20)
    gc.enable()
    run()


if __name__ == "__main__":
    main()
