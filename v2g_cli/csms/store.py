"""`v2g csms migrate`, `backup` and `restore`: schema and database of the back end."""

from pathlib import Path
from typing import Annotated

import typer

from v2g_cli.output import print_json, say

BackendConfig = Annotated[Path, typer.Option("--config", help="Configuration of the back end.")]
User = Annotated[
    str, typer.Option("--user", metavar="ROLE", help="PostgreSQL role to use instead of the one in `store_url`.")
]
JsonFlag = Annotated[bool, typer.Option("--json", help="Print a JSON record.")]


def migrate(config: BackendConfig, user: User = "", json: JsonFlag = False) -> None:
    """Create or migrate the back end's tables; it also does so at its start, if its role may.

    Example: `v2g csms migrate --config csms.toml --user csms_owner`
    """
    from csms.db.store import HEAD, Store

    Store(_address(config, user)).close()
    if json:
        print_json({"done": "migrated", "revision": HEAD})
    else:
        say(f"{HEAD}: the tables are up to date")


def backup(
    config: BackendConfig,
    file: Annotated[Path, typer.Argument(metavar="FILE", help="File to write, mode 0600.")],
    json: JsonFlag = False,
) -> None:
    """Back up the database to a file, also while the back end runs.

    Journal copies and keys in `data_dir` are separate files. Example:
    `v2g csms backup --config csms.toml csms.db.backup`
    """
    from csms.db import backup as work

    _report("written", work.backup(_address(config), file), file, json=json)


def restore(
    config: BackendConfig,
    file: Annotated[Path, typer.Argument(metavar="FILE", help="File written by `v2g csms backup`.")],
    user: User = "",
    json: JsonFlag = False,
) -> None:
    """Restore a backup into an empty database; between SQLite and PostgreSQL in either direction.

    Example: `v2g csms restore --config csms.toml csms.db.backup`
    """
    from csms.db import backup as work

    _report("restored", work.restore(_address(config, user), file), file, json=json)


def register(app: typer.Typer) -> None:
    """Add the commands to those of `v2g csms`."""
    app.command()(migrate)
    app.command()(backup)
    app.command()(restore)


def _address(config: Path, user: str = "") -> str:
    """Return the URL of the database, with its role. Raises ConfigError and StoreError."""
    from csms.config import load_config
    from csms.db.store import address, as_user

    loaded = load_config(config)
    return as_user(address(loaded.store_url, loaded.data_dir), user)


def _report(what: str, rows: int, file: Path, *, json: bool) -> None:
    if json:
        print_json({"done": what, "rows": rows, "file": str(file)})
    else:
        say(f"{rows} rows {what}")
