"""`v2g csms backup` and `v2g csms restore`: the back end's database as one file."""

from pathlib import Path
from typing import Annotated

import typer

from cli.output import print_json, say

BackendConfig = Annotated[Path, typer.Option("--config", help="Configuration of the back end, which says where it is.")]
JsonFlag = Annotated[bool, typer.Option("--json", help="A JSON record.")]


def backup(
    config: BackendConfig,
    file: Annotated[Path, typer.Argument(metavar="FILE", help="File to write, mode 0600.")],
    json: JsonFlag = False,
) -> None:
    """Write everything that the database holds to a file, while the back end may be running.

    Journal copies and keys in `data_dir` are files of their own. Example:
    `v2g csms backup --config csms.toml csms.backup`
    """
    from csms import backup as work
    from csms.config import load_config
    from csms.store import address

    loaded = load_config(config)
    _tell("written", work.backup(address(loaded.store_url, loaded.data_dir), file), file, json=json)


def restore(
    config: BackendConfig,
    file: Annotated[Path, typer.Argument(metavar="FILE", help="A file of `v2g csms backup`.")],
    json: JsonFlag = False,
) -> None:
    """Bring a backup into the database of a configuration, which has to be empty; SQLite or PostgreSQL, either way.

    Example: `v2g csms restore --config csms.toml csms.backup`
    """
    from csms import backup as work
    from csms.config import load_config
    from csms.store import address

    loaded = load_config(config)
    _tell("restored", work.restore(address(loaded.store_url, loaded.data_dir), file), file, json=json)


def register(app: typer.Typer) -> None:
    """Add the commands to those of `v2g csms`."""
    app.command()(backup)
    app.command()(restore)


def _tell(what: str, rows: int, file: Path, *, json: bool) -> None:
    if json:
        print_json({"done": what, "rows": rows, "file": str(file)})
    else:
        say(f"{rows} rows {what}")
