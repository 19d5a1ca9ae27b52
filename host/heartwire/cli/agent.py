"""`heartwire agent`: the program on each watched server. Thin over heartwire.agent; errors carry their next step."""

from pathlib import Path
from typing import Any

import click

from heartwire.cli.acting import acts
from heartwire.cli.context import NODE, ask, yes_option
from heartwire.cli.installing import install_files, install_options, own_program

DEFAULT_CONFIG = Path("/etc/heartwire/agent.toml")


@click.group(name="agent")
def agent() -> None:
    """Send heartbeats from this server, hold the lease, start and stop the services."""


@agent.command(name="run")
@click.option(
    "--config",
    type=click.Path(path_type=Path),
    help=f"Settings file (TOML); flags are laid over it. Default {DEFAULT_CONFIG}, unless --node is given.",
)
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
@click.option("--hook-recover", help="Command that is run when the board does not get good heartbeats (on_recover).")
@click.option("--events-socket", help="Socket through which a monitor reads the board's journal; empty for none.")
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

    for flag, name in (
        ("hook_active", "on_active"),
        ("hook_standby", "on_standby"),
        ("hook_drain", "on_drain"),
        ("hook_recover", "on_recover"),
    ):
        flags[name] = flags.pop(flag)
    if config is None and flags["node"] is None and DEFAULT_CONFIG.exists():
        config = DEFAULT_CONFIG
    raise click.exceptions.Exit(agent_run.run(settings_from(with_flags(load(config) if config else {}, flags))))


def _ask(context: click.Context, request: dict[str, Any]) -> dict[str, Any]:
    """Send `request` to the agent that the options name; return its status."""
    from heartwire.agent.control import ask as ask_agent

    status: dict[str, Any] = ask_agent(_directory(context), request)["status"]
    return status


def _directory(context: click.Context) -> Path:
    """Return the state directory of the agent that the options name."""
    from heartwire.agent.settings import default_state_directory, load

    directory: Path | None = context.params["state_directory"]
    config: Path | None = context.params["config"]
    if config is None and context.params["node"] is None and DEFAULT_CONFIG.exists():
        config = DEFAULT_CONFIG
    if directory is None and config is not None:
        values = load(config)
        node = values.get("node", "a")
        directory = Path(values.get("state_directory") or default_state_directory(node))
    if directory is None:
        directory = default_state_directory(context.params["node"] or "a")
    return directory


def _to_agent(command: Any) -> Any:
    """Give a command the options that say which agent on this server is meant."""
    for option in (
        click.option("--state-directory", type=click.Path(path_type=Path), help="The agent's state directory."),
        click.option(
            "--config", type=click.Path(path_type=Path), help=f"The agent's settings file ({DEFAULT_CONFIG})."
        ),
        click.option("--node", type=NODE, help="Node of the agent, if it runs with default directories (a)."),
    ):
        command = option(command)
    return click.pass_context(command)


@agent.command(name="busy")
@click.option("--for", "span", required=True, help="How long at most, for instance 20m.")
@_to_agent
@acts
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
@acts
def crash_dump(context: click.Context, span: str, **_: Any) -> None:
    """Say that this server writes a crash dump and must keep its power.

    \b
    heartwire agent crash-dump --for 5m
    """
    from heartwire.times import parse_span

    _ask(context, {"do": "crash_dump", "seconds": int(parse_span(span).total_seconds())})


@agent.command(name="planned-off")
@click.option("--timeout", "span", default="100s", show_default=True, help="How long to wait until all is stopped.")
@click.option("--no-wait", is_flag=True, help="Only say so.")
@_to_agent
@acts
def planned_off(context: click.Context, span: str, no_wait: bool, **_: Any) -> None:
    """Stop the services in good order, because this server goes down on purpose, and wait until that is done.

    Nothing is started here any more until `heartwire agent ready`, and the board lets another server take over. A
    shutdown and `systemctl stop heartwire-agent` do the same by themselves. Where the board only watches nothing is
    stopped.

    \b
    heartwire agent planned-off && poweroff
    heartwire agent planned-off --timeout 5m
    """
    from heartwire.cli.agent_wait import wait_at_rest
    from heartwire.times import parse_span

    timeout_s = parse_span(span).total_seconds()
    _ask(context, {"do": "planned_off"})
    if not no_wait:
        wait_at_rest(lambda: _ask(context, {"do": "status"}), timeout_s)


@agent.command(name="ready")
@_to_agent
@acts
def ready(context: click.Context, **_: Any) -> None:
    """Take back busy, crash-dump and planned-off.

    \b
    heartwire agent ready
    """
    _ask(context, {"do": "ready"})


@agent.command(name="epoch")
@click.option("--set", "number", type=click.IntRange(min=0), help="Store this one; never lower than what is known.")
@_to_agent
def epoch(context: click.Context, number: int | None, **_: Any) -> None:
    """Show the highest epoch that this server has seen, or store it anew where its file is damaged.

    \b
    heartwire agent epoch
    heartwire agent epoch --set 12 --config /etc/heartwire/agent.toml
    """
    from heartwire.agent import state

    directory = _directory(context)
    if number is not None:
        state.repair_epoch(directory, number)
    click.echo(max(state.read_epoch(directory), state.durable_before(directory)))


@agent.command(name="fence")
@click.argument("target", metavar="NODE", type=NODE)
@click.option("--timeout", "span", default="30s", show_default=True, help="How long the proof may take.")
@yes_option
@_to_agent
@acts
def fence(context: click.Context, target: str, span: str, yes: bool, **_: Any) -> None:
    """Have another node fenced, over this server's own heartbeat line, and wait until it is proven off.

    The board must allow it: node.*.may_fence in its settings. --node is this server's node, as everywhere here.

    \b
    heartwire agent fence b --config /etc/heartwire/agent.toml
    heartwire agent fence b --yes --timeout 10s
    """
    from heartwire.cli.output import emit, note
    from heartwire.fence.actions import Actions
    from heartwire.fence.agent_line import AgentLine
    from heartwire.fence.options import Options
    from heartwire.fence.reach import Clock
    from heartwire.times import parse_span
    from heartwire_protocol import codes

    line = AgentLine.open(f"agent:{_directory(context)}", codes.TOOL_COMMAND)
    ask(f"Cut the power of {target} now, as node {line.own}?", yes)
    wanted = Options(action="off", plug=target, power_timeout_s=parse_span(span).total_seconds())
    Actions(line, wanted, Clock(), note).run(note)
    emit(f"{target} is proven off")


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


@agent.command(name="install")
@click.option("--port", metavar="PORT", help="The serial adapter, where it is now: what it is known by is looked up.")
@click.option("--usb-serial", default="", help="USB serial number of the serial adapter, for a stable name.")
@click.option("--usb-path", default="", help="Of one without a serial number: ID_PATH, where it is plugged in.")
@click.option("--usb-interface", default="", help="Of one with several ports: ID_USB_INTERFACE_NUM, 00 and up.")
@install_options
def install(
    port: str | None,
    usb_serial: str,
    usb_path: str,
    usb_interface: str,
    program: str | None,
    root: Path,
    force: bool,
    dry_run: bool,
) -> None:
    """Write systemd units, udev rules, hook examples and settings.

    \b
    heartwire agent install --port /dev/ttyUSB0
    heartwire agent install --usb-serial A50285BI
    """
    from heartwire.agent.install import Adapter, adapter_of, demand_roots, next_steps, plan, udev_properties

    found = program or own_program()
    demand_roots(found, root)
    known = Adapter(usb_serial, usb_path, usb_interface)
    adapter = adapter_of(port, udev_properties) if port else known
    install_files(plan(found, adapter=adapter), next_steps(root), root, force=force, dry_run=dry_run)


@agent.command(name="doctor")
@click.option("--config", type=click.Path(path_type=Path), default=DEFAULT_CONFIG, show_default=True)
@click.option("--json", "as_json", is_flag=True, help="Findings as JSON.")
def doctor(config: Path, as_json: bool) -> None:
    """Find what is wrong with this server's agent. Exit code 15 if something is bad.

    \b
    heartwire agent doctor --config /etc/heartwire/agent.toml
    """
    import dataclasses
    import json

    from heartwire.agent.doctor import System, examine
    from heartwire.agent.doctor_findings import BAD
    from heartwire.agent.settings import load, settings_from
    from heartwire.errors import NotAsAsked

    findings = examine(settings_from(load(config)), System(program=own_program()))
    if as_json:
        click.echo(json.dumps([dataclasses.asdict(finding) for finding in findings], indent=2))
    else:
        for finding in findings:
            click.echo(f"{finding.level:9}{finding.subject:10}{finding.words}")
            if finding.next_step:
                click.echo(f"{'':9}{'':10}-> {finding.next_step}")
    if any(finding.level == BAD for finding in findings):
        raise click.exceptions.Exit(NotAsAsked.exit_code)
