"""Somebody's own rack, rehearsed: their settings on a virtual board, their agents and hooks on its virtual servers.

Timings are the rack's own. An agent's settings file is taken as it is, but for what belongs to this machine and not to
the rehearsal: its line is the virtual one, it keeps its state in the rack's folder, and no real watchdog is opened. Its
hooks really run, here. Called by `heartwire virtual --config`.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from heartwire import config, keys
from heartwire.agent.settings import load
from heartwire.errors import BadConfig, HeartwireError
from heartwire.virtual.product import ProductRack
from heartwire.virtual.server import Server
from heartwire_protocol import codes

# What a server does while its owner runs the agent by hand.
IDLE = ("sleep", "infinity")


class OwnRack(ProductRack):
    """A rack with the settings of `config_file`; `agents` are settings files of agents, by node.

    A node without one gets an agent with a service of the rack's own; with `programs` false no server runs anything.
    Raises BadConfig for settings that cannot be used, and what agent.settings.load raises.
    """

    def __init__(
        self, directory: Path, config_file: Path, *, agents: Mapping[str, Path], programs: bool = True
    ) -> None:
        found = config.load(config_file)
        found.require_good()
        if found.missing_keys:
            path, missing = next(iter(found.missing_keys.items()))
            raise BadConfig(
                f"{path}: the key file {missing} is not at hand", "`heartwire config new --keys` makes keys"
            )
        self._found = found.settings
        self._agents = {node: file.absolute() for node, file in agents.items()}
        self._programs = programs
        for node, file in self._agents.items():
            if not self._settings_of(node).enabled:
                raise BadConfig(f"--agent {node}: {config_file} has no such node enabled", "name a node that is")
            said = str(load(file).get("node", node))
            if said != node:
                raise BadConfig(f"{file}: it is the agent of node {said}, not of {node}", f"--agent {said}={file}")
        nodes = [node for node in codes.NODES if self._settings_of(node).enabled]
        interval_ms = int(found.settings.board.interval_ms)
        super().__init__(directory, nodes=nodes, timings={"interval_ms": interval_ms})
        self.config_file = config_file

    def key_file(self, node: str) -> Path:
        """Return the file with the key of `node`, a copy of the rack's own."""
        return self.directory / "keys" / f"{node}.key"

    def runs_own_hooks(self) -> list[str]:
        """Return the nodes whose agent is the user's own."""
        return sorted(self._agents) if self._programs else []

    def _settings_of(self, node: str) -> Any:
        return self._found.nodes[codes.NODES.index(node)]

    def _prepare(self) -> None:
        self.host_keys = self.directory / "keys" / "host.keys"
        rights = {name: self._found.get(f"board.{name}_key") for name in keys.HOST_RIGHTS}
        _write_private(self.host_keys, "".join(f"{name}={key}\n" for name, key in rights.items() if key))
        for node in self.nodes:
            _write_private(self.key_file(node), f"{self._settings_of(node).key}\n")

    def _keys(self) -> keys.Keys:
        return super()._keys() if self.host_keys.read_text() else keys.Keys()

    def _body(self, node: str) -> dict[str, Any]:
        row = self._settings_of(node)
        front = "power" if row.front == "power" else "reset"
        return {"front": front, "feeds": max(1, int(row.senses))}

    def _command(self, server: Server) -> list[str]:
        if not self._programs:
            return list(IDLE)
        self.on_board_loss = str(self._settings_of(server.node).on_board_loss)
        if server.node not in self._agents:
            command = super()._command(server)
            if not self._settings_of(server.node).key:
                at = command.index("--key-file")
                del command[at : at + 2]
            return command
        file = self._agents[server.node]
        values = load(file)
        command = [sys.executable, "-m", "heartwire", "agent", "run", "--config", str(file), "--node", server.node]
        command += ["--port", str(server.port), "--state-directory", str(server.directory / "state")]
        command += ["--watchdog", "", "--events-socket", ""]
        if values.get("on_board_loss") == "stop":
            command.append("--fenced-from-outside")  # by the virtual relay
        if self._settings_of(server.node).key and not _readable(values.get("key_file")):
            command += ["--key-file", str(self.key_file(server.node))]
        return command


def _readable(name: object) -> bool:
    try:
        return isinstance(name, str) and bool(keys.read_file(Path(name)))
    except HeartwireError:
        return False


def _write_private(path: Path, text: str) -> None:
    path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
    with os.fdopen(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600), "w") as file:
        file.write(text)
