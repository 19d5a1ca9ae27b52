"""`heartwire agent`: the program on each watched server. Thin over heartwire.agent; errors carry their next step."""

from pathlib import Path
from typing import Any

import click

from heartwire.cli.context import NODE


@click.group(name="agent")
def agent() -> None:
    """Send heartbeats from this server, hold the lease, start and stop the services."""


@agent.command(name="run")
@click.option("--config", type=click.Path(path_type=Path), help="Settings file (TOML); flags are laid over it.")
@click.option("--node", type=NODE, help="Which node this server is.")
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
@click.option("--fenced-from-outside", is_flag=True, default=None, help="Allow --on-board-loss stop in a VM.")
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


def _ask(context: click.Context, request: dict[str, Any]) -> dict[str, Any]:
    """Send `request` to the agent that the options name; return its status."""
    from heartwire.agent.control import ask
    from heartwire.agent.settings import default_state_directory, load

    directory = context.params["state_directory"]
    if directory is None and context.params["config"] is not None:
        values = load(context.params["config"])
        node = values.get("node", "a")
        directory = Path(values.get("state_directory") or default_state_directory(node))
    if directory is None:
        directory = default_state_directory(context.params["node"])
    status: dict[str, Any] = ask(directory, request)["status"]
    return status


def _to_agent(command: Any) -> Any:
    """Give a command the options that say which agent on this server is meant."""
    for option in (
        click.option("--state-directory", type=click.Path(path_type=Path), help="The agent's state directory."),
        click.option("--config", type=click.Path(path_type=Path), help="The agent's settings file, to find it by."),
        click.option("--node", type=NODE, default="a", help="Node of the agent, if it runs with default directories."),
    ):
        command = option(command)
    return click.pass_context(command)


@agent.command(name="busy")
@click.option("--for", "span", required=True, help="How long at most, for instance 20m.")
@_to_agent
def busy(context: click.Context, span: str, **_: Any) -> None:
    """Say that this server is busy and may be slow, for an update or a backup.

    \b
    heartwire agent busy --for 20m
    """
    from heartwire.times import parse_span

    _ask(context, {"do": "busy", "seconds": int(parse_span(span).total_seconds())})


@agent.command(name="crash-dump")
@click.option("--for", "span", required=True, help="How long at most, for instance 5m.")
@_to_agent
def crash_dump(context: click.Context, span: str, **_: Any) -> None:
    """Say that this server writes a crash dump and must keep its power.

    \b
    heartwire agent crash-dump --for 5m
    """
    from heartwire.times import parse_span

    _ask(context, {"do": "crash_dump", "seconds": int(parse_span(span).total_seconds())})


@agent.command(name="planned-off")
@_to_agent
def planned_off(context: click.Context, **_: Any) -> None:
    """Say that this server is about to go down on purpose.

    \b
    heartwire agent planned-off
    """
    _ask(context, {"do": "planned_off"})


@agent.command(name="ready")
@_to_agent
def ready(context: click.Context, **_: Any) -> None:
    """Take back busy, crash-dump and planned-off.

    \b
    heartwire agent ready
    """
    _ask(context, {"do": "ready"})


@agent.command(name="status")
@click.option("--json", "as_json", is_flag=True, help="All that the agent knows, as JSON.")
@_to_agent
def status(context: click.Context, as_json: bool, **_: Any) -> None:
    """Show what the agent on this server knows.

    \b
    heartwire agent status
    """
    import json

    known = _ask(context, {"do": "status"})
    if as_json:
        click.echo(json.dumps(known, indent=2))
        return
    for name in ("node", "role", "epoch", "state", "degraded", "wish", "lease_left_ms", "running", "verified_stopped"):
        click.echo(f"{name:17}{known[name]}")
