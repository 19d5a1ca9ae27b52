"""What a rack does when it is wired in a given way: which inputs move, which servers are heard, cut and pressed.

Works on nets of the board and on far points of hw/wiring/harness.toml, whatever wire joins them: a feed is cut if its
contactor's coil lies between 24 V and 0 V, a sense is on if current flows round its loop. Currents and levels are not
computed: that is the fault simulation. Called by swaps.py.
"""

from functools import cache

import netlist
import wiring

NODES = ("a", "b", "spare")
FEEDS = {"A1": "a", "A2": "a", "B1": "b", "B2": "b", "SPARE": "spare"}
ELSEWHERE = ("line-usb", "power-dual", "power-dc")  # other ways to wire the same terminals


@cache
def _nets() -> netlist.Netlist:
    return netlist.load()


@cache
def rack_wires() -> dict[str, list[str]]:
    """Return the far points at each board terminal ("J31.3") in a rack of two nodes and a spare."""
    nets, found = _nets(), dict[str, list[str]]()
    for first in wiring.cables():
        if first.name in ELSEWHERE:
            continue
        for cable in (first, *first.others):
            boards = {name for name, title in cable.titles.items() if title.startswith("Board")}
            owner = f" {nets.values[min(boards)].partition('_')[2]}" if first.others else ""
            for wire in cable.wires:
                start, end = sorted((wire.start, wire.end), key=lambda point: point[0] not in boards)
                if start[0] in boards:
                    found.setdefault(".".join(start), []).append(".".join(end) + owner)
    return found


class Wired:
    """A rack wired as `wires` says. What a person does is set in `off`, `unplugged`, `pushed`, `cut` and `pressed`.

    `leaky`: an adapter without mains lets current of another pass from - to +, as one with a rectifier diode does.
    """

    def __init__(self, wires: dict[str, list[str]], leaky: bool) -> None:
        nets = _nets()
        self.leaky = leaky
        self.net = {
            point: nets.pins[ref, pin] for (ref, pin), points in
            ((tuple(terminal.split(".")), points) for terminal, points in wires.items()) for point in points
        }  # fmt: skip
        self.off: set[str] = set()
        self.unplugged: set[str] = set()
        self.pushed: set[str] = set()
        self.cut: set[str] = set()

    def heard(self, node: str) -> bool:
        """Return whether a node's heartbeats are good: both directions of its own line, as each answers the other."""
        name = node.upper()
        wanted = {"2": f"RS232_{name}_OUT", "3": f"RS232_{name}_IN", "5": "GND"}
        return node not in self.unplugged and all(
            self.net.get(f"SERVER.{pin} {name}") == net for pin, net in wanted.items()
        )

    def coils(self) -> set[str]:
        """Return the nodes whose contactor has current: its coil joined to 24 V by wires and relays, and not to 0 V."""
        live = {self.net.get(f"FUSE.2 {node.upper()}", "") for node in NODES}
        joins = [{f"POWER_{node.upper()}_COM", f"POWER_{node.upper()}_{'NO' if node in self.cut else 'NC'}"}
                 for node in NODES]  # fmt: skip
        while added := set().union(*(join for join in joins if join & live)) - live:
            live |= added
        if "GND" in live:  # the fuse blows
            return set()
        return {node for node in NODES if self.net.get(f"COIL.A1 {node.upper()}") in live}

    def fed(self, feed: str) -> bool:
        """Return whether a feed has power."""
        return feed not in self.off and FEEDS[feed] not in self.coils()

    def senses(self) -> dict[str, int]:
        """Return every sense input: 1 while current flows through its optocoupler."""
        steps: dict[str, set[str]] = {}
        on = {feed for feed in FEEDS if self.fed(feed)}
        for feed in FEEDS:
            minus, plus = (self.net.get(f"ADAPTER.{pole} {feed}", f"{feed}{pole}") for pole in "-+")
            if feed in on or self.leaky:
                steps.setdefault(minus, set()).add(plus)
            steps.setdefault(f"SENSE_{feed}_P", set()).add(f"SENSE_{feed}_N")
        found = {}
        for feed in FEEDS:
            round_trip = self._reached(steps, f"SENSE_{feed}_N")
            sources = {self.net.get(f"ADAPTER.- {one}") for one in on}
            found[f"SENSE_{feed}"] = int(f"SENSE_{feed}_P" in round_trip and bool(sources & round_trip))
        return found

    def _reached(self, steps: dict[str, set[str]], start: str) -> set[str]:
        found = {start}
        while new := {end for net in found for end in steps.get(net, ())} - found:
            found |= new
        return found

    def pressed(self, node: str) -> set[str]:
        """Return the nodes whose header is closed when this node's output is: + on collector, - on emitter."""
        wanted = (f"FRONT_{node.upper()}_P", f"FRONT_{node.upper()}_N")
        return {
            other
            for other in NODES
            if (self.net.get(f"HEADER.1 {other.upper()}"), self.net.get(f"HEADER.2 {other.upper()}")) == wanted
        }

    def panel(self) -> dict[str, int]:
        """Return the inputs BUTTON and KEY: 1 while a pushed contact joins theirs to ground."""
        found = {}
        for name in ("BUTTON", "KEY"):
            ends = ({self.net.get(f"{switch}.{pin}") for pin in "12"}
                    for switch in ("BUTTON", "KEY") if switch in self.pushed)  # fmt: skip
            found[name] = int(any(pair == {f"{name}_SWITCH", "GND"} for pair in ends))
        return found

    def lamp(self) -> bool:
        """Return whether the LED in the button can light."""
        return (self.net.get("BUTTON.LED+"), self.net.get("BUTTON.LED-")) == ("LED_STATUS_P", "GND")

    def alarm(self) -> bool:
        """Return whether the monitoring system sees the alarm contact."""
        return {self.net.get(f"ALARM_IN.{pin}") for pin in "12"} == {"ALARM_NO", "ALARM_COM"}

    def untested(self) -> dict[str, bool]:
        """Return what no step of the self-test looks at: the shared device's wires, and each supply."""
        found = {}
        for far, name in (("DEVICE", "DEVICE"), ("PORT A", "TO_A"), ("PORT B", "TO_B")):
            wanted = {"2": f"{name}_RXD", "3": f"{name}_TXD", "5": "GND"}
            found[f"wires of {name}"] = all(self.net.get(f"{far}.{pin}") == net for pin, net in wanted.items())
        for number in "12":
            plus, minus = (self.net.get(f"SUPPLY_{number}.{pole}") for pole in "+-")
            found[f"supply {number}"] = plus in ("SUPPLY_1_P", "SUPPLY_2_P") and minus == "GND"
        return found
