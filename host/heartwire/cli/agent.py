"""`heartwire agent`: the program on each watched server. Thin over heartwire.agent; errors carry their next step."""

from pathlib import Path
from typing import Any

import click


@click.group(name="agent")
def agent() -> None:
    """Send heartbeats from this server, hold the lease, start and stop the services."""


@agent.command(name="run")
@click.option("--config", type=click.Path(path_type=Path), help="Settings file (TOML); flags are laid over it.")
@click.option("--node", type=click.Choice(["a", "b", "spare"]), help="Which node this server is.")
@click.option("--port", help="Serial device, or socket://host:port.")
@click.option("--baud", type=int, help="Baud rate of the line (115200).")
@click.option("--key-file", type=click.Path(path_type=Path), help="File with the node's key, mode 0600.")
@click.option("--interval-ms", type=int, help="Time between heartbeats in ms (1000).")
@click.option(
    "--on-board-loss", type=click.Choice(["hold", "stop"]), help="What running services do if the board is silent."
)
@click.option(
    "--on-exit", type=click.Choice(["leave", "stop"]), help="What happens to the services when the agent ends."
)
@click.option(
    "--stop-timeout-s", type=float, help="Services must be stopped within this, else the watchdog resets (20)."
)
@click.option("--state-directory", type=click.Path(path_type=Path), help="Where epoch and status are kept.")
@click.option("--watchdog", help="Kernel watchdog device, for instance /dev/watchdog; empty for none.")
@click.option("--hook-active", help="Command that starts the services.")
@click.option("--hook-standby", help="Command that stops the services.")
@click.option("--hook-drain", help="Command that stops the services in good order, for a planned switchover.")
@click.option("--check", help="Command that exits with 0 while the services run.")
@click.option("--check-interval-s", type=float, help="Time between checks in s (2).")
@click.option("--retry-s", type=float, help="Pause before a failed hook is tried again, in s (10).")
def run(config: Path | None, **flags: Any) -> None:
    """Run the agent until SIGTERM.

    \b
    heartwire agent run --config /etc/heartwire/agent.toml
    heartwire agent run --node a --port /dev/ttyS0 --key-file /etc/heartwire/a.key --hook-active 'systemctl start x'
    """
    from heartwire.agent import run as agent_run
    from heartwire.agent.settings import load, settings_from, with_flags

    for flag, name in (("hook_active", "on_active"), ("hook_standby", "on_standby"), ("hook_drain", "on_drain")):
        flags[name] = flags.pop(flag)
    raise click.exceptions.Exit(agent_run.run(settings_from(with_flags(load(config) if config else {}, flags))))
