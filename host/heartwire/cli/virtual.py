"""`heartwire virtual`: a board and servers without hardware, to try every command on and to break on purpose.

Thin over heartwire.virtual. Runs in the foreground until Ctrl-C or end of input; each line typed is a fault or its end.
"""

from __future__ import annotations

import sys
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING

import click

from heartwire.cli.output import emit, note
from heartwire.errors import UsageProblem

if TYPE_CHECKING:
    from heartwire.virtual.product import ProductRack
    from heartwire.virtual.rack import RackEvent

# What may be typed: (words, needs a node, sentence).
ACTIONS = (
    ("crash", True, "its programs die at once, the power stays on (kernel panic)"),
    ("freeze", True, "its programs stop where they are (SIGSTOP)"),
    ("thaw", True, "they go on (SIGCONT)"),
    ("reset", True, "press its reset button"),
    ("cut", True, "pull its serial cable"),
    ("mend", True, "plug the cable in again; ends noise as well"),
    ("deaf", True, "the cable carries nothing from the board to it"),
    ("noise", True, "one byte in fifty on its cable is spoiled"),
    ("weld", True, "its power relay's contact sticks: a fence cannot cut its power"),
    ("unweld", True, "the contact moves again"),
    ("mains-off", True, "its power fails"),
    ("mains-on", True, "its power comes back"),
    ("swap", False, "the cables of a and b are crossed"),
    ("hang", False, "the board's firmware hangs; its watchdog bites after watchdog_ms"),
    ("unplug", False, "pull the board out: power and USB"),
    ("plug", False, "plug it in again"),
    ("key", False, "turn the key switch on the board"),
    ("button", False, "press the approve button for half a second"),
)


@click.command()
@click.option("--nodes", metavar="LIST", help="Servers of the rack: a, b, spare. Default a,b, or those of --config.")
@click.option(
    "--directory",
    type=click.Path(path_type=Path, file_okay=False),
    help="Keep the rack's files there; a second start goes on with them.",
)
@click.option("--auto", "auto", is_flag=True, help="Arm the board: auto mode. Without it, it observes.")
@click.option("--on-board-loss", type=click.Choice(["hold", "stop"]), help="Default hold, or that of --config.")
@click.option(
    "--config",
    metavar="FILE",
    type=click.Path(path_type=Path, dir_okay=False),
    help="Rehearse your own rack: its settings, with its own timings and keys.",
)
@click.option(
    "--agent",
    "agents",
    metavar="NODE=FILE",
    multiple=True,
    help="With --config: run the agent with your own settings; its hooks really run, on this machine. May be repeated.",
)
@click.option(
    "--servers",
    type=click.Choice(["agents", "none"]),
    default="agents",
    show_default=True,
    help="With --config: none runs no agents and prints the serial ports, for agents that you start yourself.",
)
def virtual(
    nodes: str | None,
    directory: Path | None,
    auto: bool,
    on_board_loss: str | None,
    config: Path | None,
    agents: tuple[str, ...],
    servers: str,
) -> None:
    """Run a board and servers without hardware.

    Real firmware on the real MicroPython, real agents, one service per server. Prints the board's port, so that any
    other command can be tried on it in a second terminal; reads faults from the keyboard (`help` lists them). Without
    --config its timings are five times faster than the defaults.

    \b
    Example:
      heartwire virtual --auto
      heartwire -p PORT status --watch        (in a second terminal)
      crash a                                 (typed into the first)
      heartwire virtual --config rack.toml --agent a=agent-a.toml --agent b=agent-b.toml
    """
    if config is None and (agents or servers == "none"):
        raise UsageProblem("--agent and --servers belong to --config", "`heartwire config new --keys rack.toml`")
    if config is not None and (nodes or on_board_loss):
        raise UsageProblem("--nodes and --on-board-loss stand in the file that --config names")
    with tempfile.TemporaryDirectory(prefix="heartwire-virtual-") as temporary:
        place = (directory or Path(temporary)).absolute()
        with _rack(place, nodes, on_board_loss, config, agents, servers) as rack:
            rack.rack.on_event(_show)
            rack.start()
            if auto:
                rack.arm()
            _introduce(rack, place, servers == "none")
            for line in sys.stdin:
                words = line.split()
                if words[:1] == ["quit"]:
                    break
                if words:
                    _act(rack, words)


def _rack(
    place: Path,
    nodes: str | None,
    on_board_loss: str | None,
    config: Path | None,
    agents: tuple[str, ...],
    servers: str,
) -> ProductRack:
    from heartwire.virtual.own import OwnRack
    from heartwire.virtual.product import ProductRack
    from heartwire_protocol import codes

    if config is not None:
        return OwnRack(place, config, agents=_agents(agents), programs=servers == "agents")
    names = [name.strip() for name in (nodes or "a,b").split(",") if name.strip()]
    if not names or any(name not in codes.NODES for name in names) or len(set(names)) != len(names):
        raise UsageProblem(f"--nodes {nodes}: must be some of {', '.join(codes.NODES)}, with commas")
    return ProductRack(place, nodes=names, on_board_loss=on_board_loss or "hold")


def _agents(agents: tuple[str, ...]) -> dict[str, Path]:
    from heartwire_protocol import codes

    found = {}
    for text in agents:
        node, separator, file = text.partition("=")
        if node not in codes.NODES or not separator or not file:
            raise UsageProblem(f"--agent {text}: must be NODE=FILE, for instance a=agent-a.toml")
        found[node] = Path(file)
    return found


def _introduce(rack: ProductRack, place: Path, by_hand: bool) -> None:
    from heartwire.virtual.own import OwnRack

    key_file = f" --key-file {rack.host_keys}" if rack.host_keys.read_text() else ""
    emit(f"port: {rack.board.usb_path}")
    if key_file:
        emit(f"keys: {rack.host_keys}")
    emit(f"files: {place}")
    if isinstance(rack, OwnRack) and rack.runs_own_hooks():
        emit(f"the hooks of {' and '.join(rack.runs_own_hooks())} really run, on this machine")
    for node in rack.nodes if by_hand else ():
        emit(f"{node}: heartwire agent run --config FILE --node {node} --port {rack.servers[node].port}")
    emit(f"try:  heartwire -p {rack.board.usb_path}{key_file} status --watch")
    emit("type help for the faults, quit or Ctrl-C to end")


def _show(event: RackEvent) -> None:
    note(f"{event.source}: {event.text}")


def _act(rack: ProductRack, words: list[str]) -> None:
    if words == ["help"]:
        for name, needs_node, sentence in ACTIONS:
            emit(f"  {name + (' NODE' if needs_node else ''):<16} {sentence}")
        return
    known = {name: needs_node for name, needs_node, _ in ACTIONS}
    if words[0] not in known or len(words) != (2 if known[words[0]] else 1):
        note(f"{' '.join(words)}: not understood; type help")
        return
    if known[words[0]] and words[1] not in rack.nodes:
        note(f"{words[1]}: no such server; there are {', '.join(rack.nodes)}")
        return
    _do(rack, words[0], words[1] if known[words[0]] else "")


def _do(rack: ProductRack, action: str, node: str) -> None:
    actions = _node_actions(rack, node) if node else _rack_actions(rack)
    actions[action]()


def _node_actions(rack: ProductRack, node: str) -> dict[str, Callable[[], object]]:
    from heartwire.virtual.cable import TO_BOARD

    server, cable, supply = rack.servers[node], rack.cables[node], rack.supplies[node]
    return {
        "crash": server.crash,
        "freeze": server.freeze,
        "thaw": server.thaw,
        "reset": server.reset,
        "cut": cable.cut,
        "mend": cable.mend,
        "deaf": lambda: cable.one_way(TO_BOARD),
        "noise": lambda: cable.noise(0.02),
        "weld": supply.weld,
        "unweld": lambda: supply.weld(False),
        "mains-off": lambda: supply.set_mains(False),
        "mains-on": lambda: supply.set_mains(True),
    }


def _rack_actions(rack: ProductRack) -> dict[str, Callable[[], object]]:
    return {
        "swap": lambda: rack.cables["a"].swap(rack.cables["b"]),
        "hang": rack.board.hang,
        "unplug": rack.board.unplug,
        "plug": rack.board.plug,
        "key": lambda: _toggle_key(rack),
        "button": lambda: _press_button(rack),
    }


def _toggle_key(rack: ProductRack) -> None:
    rack.key_on = not rack.key_on
    rack.board.set_input("KEY", rack.key_on)
    note(f"key switch {'on' if rack.key_on else 'off'}")


def _press_button(rack: ProductRack) -> None:
    import threading

    rack.board.set_input("BUTTON", True)
    threading.Timer(0.5, rack.board.set_input, ("BUTTON", False)).start()
