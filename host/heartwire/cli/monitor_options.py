"""What the commands of `heartwire monitor` share: the options that name settings and store, and opening them."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

import click

from heartwire import extras

if TYPE_CHECKING:
    from heartwire.monitor.settings import MonitorSettings
    from heartwire.monitor.store import Store

Command = TypeVar("Command", bound=Callable[..., Any])
# What the extra `monitor` brings.
NEEDED = ("sqlalchemy", "alembic", "apprise", "prometheus_client")


def require_store() -> None:
    """Raise UsageProblem unless what reads a monitor's store is installed."""
    extras.require("a monitor's store", "monitor", *NEEDED)


def config_option(command: Command) -> Command:
    """Give a command --config."""
    return click.option(
        "--config",
        "-c",
        metavar="FILE",
        type=click.Path(path_type=Path),
        help="Settings. [env: HEARTWIRE_MONITOR_CONFIG; else /etc/heartwire/monitor.toml]",
    )(command)


def store_options(command: Command) -> Command:
    """Give a command --store and --config, one of which names the store."""
    option = click.option("--store", metavar="FILE|URL", help="The store itself, instead of --config.")
    return config_option(option(command))


def load(config: Path | None) -> MonitorSettings:
    """Return the settings of --config or its default."""
    from heartwire.monitor import settings

    return settings.load(settings.config_path(config))


@contextlib.contextmanager
def opened(store: str | None, config: Path | None) -> Iterator[Store]:
    """Open the store that --store or --config names, for reading."""
    from heartwire.monitor import run as monitor_run
    from heartwire.monitor.store import Store

    with Store.named(store) if store else monitor_run.open_store(load(config), create=False) as found:
        yield found
