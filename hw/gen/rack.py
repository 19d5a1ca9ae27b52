"""What stands around the board in the fault simulation: Pico, adapters, contactors, servers, people.

And the one play every fault goes through: supplies ramp up, reset, rest, lines, presses, transfer, a fence of a,
one of b and the spare together, a hang in the middle of a fence, and a reset. Times are seconds from the start.
Only deck_text.py calls write().
"""

import pins as pin_list
from deck import Deck, contact, moved, series

NODES = ("A", "B", "SPARE")
FEEDS = {"A1": "A", "A2": "A", "B1": "B", "B2": "B", "SPARE": "SPARE"}
# Value of a relay -> (coil in ohm, pull-in current in A). Power relay: 75 % of 5 V, as its data sheet allows.
COILS = {"5 V relay, 1 changeover": (70, 0.0536), "5 V signal relay, 2 changeover": (178, 0.0211)}
CONTACTOR_OHM, CONTACTOR_PULL_IN_A = 150, 0.12  # 24 V, 75 %
ADAPTER_LIMIT_A = 1.5  # where a 1 A adapter folds back

BOOT_S, GUARD_S = 0.03, 0.04
HANG_S, RESET_S, END_S = 0.80, 3.85, 3.95
ARM_SPANS_S = ((0.38, 0.59), (0.62, 0.70), (0.73, HANG_S))
ARM_EDGE_S = 0.004  # the slowest rhythm the circuit asks of the firmware
ARM_SLOPE_S = 1e-3  # R301 makes it as slow anyway: fewer steps to simulate
# Output -> (second, level) after boot. ARM toggles in ARM_SPANS_S and stands high from HANG_S.
PLAY: dict[str, tuple[tuple[float, int], ...]] = {
    "LINE_A_TX": ((0.103, 0), (0.112, 1)), "LINE_B_TX": ((0.103, 0), (0.112, 1)),
    "LINE_SPARE_TX": ((0.103, 0), (0.112, 1)), "GUARDING": ((GUARD_S, 1),), "LED_STATUS": ((0.100, 1), (0.120, 0)),
    "FRONT_A": ((0.130, 1), (0.150, 0)), "FRONT_B": ((0.160, 1), (0.180, 0)), "FRONT_SPARE": ((0.190, 1), (0.210, 0)),
    "TRANSFER_SET_B": ((0.220, 1), (0.270, 0)), "TRANSFER_SET_A": ((0.300, 1), (0.350, 0)),
    "POWER_A": ((0.380, 1), (0.590, 0), (0.730, 1)), "POWER_B": ((0.620, 1), (0.700, 0)),
    "POWER_SPARE": ((0.620, 1), (0.700, 0)),
}  # fmt: skip
# Revision B: the front panel hangs on the armed rail, so it is pressed while ARM toggles for a fence.
PRESSES_B: dict[str, tuple[tuple[float, int], ...]] = {
    "FRONT_A": ((0.640, 1), (0.660, 0)), "FRONT_B": ((0.660, 1), (0.680, 0)), "FRONT_SPARE": ((0.680, 1), (0.700, 0)),
}  # fmt: skip
BUTTON_S, KEY_S, SERVER_SPEAKS_S = (0.115, 0.125), (0.118, 0.128), (0.103, 0.112)
# Windows in which a node is cut by command; what is left of the ring-out of ARM is granted until the hang is judged.
CUTS: dict[str, tuple[tuple[float, float], ...]] = {
    "A": ((0.38, 0.62), (0.73, END_S)), "B": ((0.62, 0.73),), "SPARE": ((0.62, 0.73),),
}  # fmt: skip


def play(revision: str) -> dict[str, tuple[tuple[float, int], ...]]:
    """Return what each output does on a board of this revision."""
    return PLAY | PRESSES_B if revision == "B" else PLAY


def write(deck: Deck) -> None:
    """Append everything around the board to the deck."""
    _pico(deck)
    _supplies(deck)
    _lines(deck)
    _power(deck)
    _sense(deck)
    _headers(deck)
    _panel(deck)


def _steps(deck: Deck, signal: str, first: int) -> list[tuple[float, float]]:
    played = play(deck.netlist.revision).get(signal, ())
    return [(0.0, 3.3 * first)] + [(at_s, 3.3 * level) for at_s, level in played]


def _arm_edges() -> list[tuple[float, float]]:
    """Return the pin that lets coils have current: it toggles while a relay is held, and stands high from the hang."""
    edges = []
    for start, end in ARM_SPANS_S:
        count = round((end - start) / ARM_EDGE_S)
        edges += [(start + number * ARM_EDGE_S, 3.3 * ((number + 1) % 2)) for number in range(count)]
    return [(0.0, 0.0), *edges, (HANG_S, 3.3)]


def _pico(deck: Deck) -> None:
    """Write the module: its regulator, outputs that follow PLAY outside reset, inputs with their pull-ups."""
    vsys, rail = deck.at("A1", "39"), deck.at("A1", "36")
    on = f"(0.5*(1+tanh((v({vsys})-2.0)/0.05)))"
    if deck.flag("A1") == "dead":
        on = "0"
    give = f"({on}*0.8*max(0,tanh((3.3-v({rail}))/0.03)))"
    deck.add(
        f"Breg 0 {rail} I={give}", f"Bdraw {vsys} 0 I={give}*3.3/max(1.8,v({vsys}))/0.9", f"Rchip {rail} 0 110",
        f"Vrun run 0 PWL({series([(0.0, 0.0), (BOOT_S, 1.0), (RESET_S, 0.0)])})",
        f"Balive alive 0 V=v(run)*0.5*(1+tanh((v({rail})-2.6)/0.05))",
    )  # fmt: skip
    for pin in pin_list.load():
        if pin.module_pin is None:
            continue
        node, name = deck.at("A1", str(pin.module_pin)), pin.signal
        deck.add(f"Dup_{name} {node} {rail} CLAMP")
        if not pin.is_output:
            deck.add(f"Rpull_{name} {rail} {node} 60k")
            deck.saved.append(f"v({node})")
            continue
        drive = f"drv_{name}"
        steps = _arm_edges() if name == "ARM" else _steps(deck, name, pin.boot_level or 0)
        points = series(steps, ARM_SLOPE_S if name == "ARM" else 1e-5)
        deck.add(f"V{drive} {drive} 0 PWL({points})")
        deck.add(f"Sdrv_{name} {drive} {node} alive 0 LEVEL", f"Rpull_{name} {node} 0 60k")
    deck.saved += [f"v({rail})", f"v({vsys})"]


def _supplies(deck: Deck) -> None:
    for number in ("1", "2"):
        volts = 0.0 if deck.flag(f"J{number}") == "lost" else 5.0 + 0.02 * int(number)
        plus, minus = deck.at(f"J{number}", "1"), deck.at(f"J{number}", "2")
        deck.add(
            f"Vset{number} set{number} 0 PWL(0 0 {4 + int(number)}m {volts})",
            f"Badp{number} {minus} {plus} I={ADAPTER_LIMIT_A}*max(0,tanh((v(set{number})-v({plus},{minus}))/0.02))",
            f"Cadp{number} {plus} {minus} 470u", f"Radp{number} {plus} {minus} 1k",
        )  # fmt: skip
    rails = [net for net in ("+5V", "+5V_ARMED") if deck.netlist.on(net)]
    deck.saved += [f"v({deck.node(net)})" for net in rails]


def _lines(deck: Deck) -> None:
    """Write the servers' serial ports: silent at mark, one spoken space, one heard one."""
    spoken = series([(0.0, -5.5), (SERVER_SPEAKS_S[0], 5.5), (SERVER_SPEAKS_S[1], -5.5)])
    for number, name in enumerate(NODES, 1):
        ref = f"J2{number}"
        heard, said, chassis = deck.at(ref, "2"), deck.at(ref, "3"), deck.at(ref, "5")
        deck.add(f"Rhear_{name} {heard} {chassis} 5k")
        if deck.flag(ref) != "unplugged":
            deck.add(f"Vsay_{name} say_{name} {chassis} PWL({spoken})", f"Rsay_{name} say_{name} {said} 300")
        deck.add(f"Bheard_{name} heard_{name} 0 V=v({heard},{chassis})")
        deck.saved.append(f"v(heard_{name})".lower())


def _power(deck: Deck) -> None:
    """Write 24 V, a contactor for each node with its diode, and one NC pole for each feed."""
    volts = 0 if deck.flag("V24") == "lost" else 24
    on_board = deck.netlist.revision == "B"  # 24 V, fuses and diodes are on the board, and float
    if on_board:
        deck.add(f"V24 v24s {deck.at('J30', '2')} {volts}", f"Rset24 v24s {deck.at('J30', '1')} 0.1",
                 f"Rfloat {deck.at('J30', '2')} 0 10meg", f"Rlug {deck.at('J80', '1')} 0 1meg")  # fmt: skip
    else:
        deck.add(f"V24 v24s 0 {volts}", "R24 v24s v24 0.1")
    for number, name in enumerate(NODES, 1):
        ref = f"J3{number}"
        low = deck.at(ref, "4") if on_board else "0"
        deck.add(
            f"Rcom_{name} {deck.at(ref, '5') if on_board else 'v24'} {deck.at(ref, '3')} 0.05",
            f"Rnc_{name} {deck.at(ref, '1')} 0 10meg",
            f"Rctr_{name} {deck.at(ref, '2')} ctr_{name} {CONTACTOR_OHM}", f"Lctr_{name} ctr_{name} {low} 1",
        )  # fmt: skip
        if not on_board:
            deck.add(f"Dctr_{name} 0 {deck.at(ref, '2')} 1N4007")
        armature = moved(deck, f"CTR_{name}", f"abs(i(Lctr_{name}))/{CONTACTOR_PULL_IN_A}")
        for feed in (feed for feed, node in FEEDS.items() if node == name):
            control = armature
            if deck.flag(f"POLE_{feed}") == "welded":
                deck.add(f"Vweld_{feed} weld_{feed} 0 0")
                control = f"weld_{feed}"
            deck.add(f"Vmains_{feed} mains_{feed} 0 1", f"Rfed_{feed} fed_{feed} 0 1k")
            contact(deck, f"pole_{feed}", (f"mains_{feed}", f"fed_{feed}"), control, rest_closed=True)
            deck.saved.append(f"v(fed_{feed})".lower())


def _sense(deck: Deck) -> None:
    """Write an adapter behind each pole: 5 V, 22 uF, floating as a real one."""
    for number, feed in enumerate(FEEDS, 1):
        plus, minus = deck.at(f"J5{number}", "1"), deck.at(f"J5{number}", "2")
        volts = 0 if deck.flag(f"ADAPTER_{feed}") == "dead" else 5
        deck.add(
            f"Badapter_{feed} {minus} {plus} I=0.5*max(0,tanh(({volts}*v(fed_{feed})-v({plus},{minus}))/0.02))",
            f"Cadapter_{feed} {plus} {minus} 22u", f"Rbleed_{feed} {plus} {minus} 2k", f"Riso_{feed} {minus} 0 10meg",
        )  # fmt: skip


def _headers(deck: Deck) -> None:
    """Write each server's front-panel header: 4.7k to 3.3 V above the chassis that its serial port is on."""
    for number, name in enumerate(NODES, 1):
        plus, minus = deck.at(f"J4{number}", "1"), deck.at(f"J4{number}", "2")
        chassis = deck.at(f"J2{number}", "5")
        deck.add(
            f"Vheader_{name} board_{name} {chassis} 3.3", f"Rheader_{name} board_{name} {plus} 4.7k",
            f"Rground_{name} {minus} {chassis} 0.1", f"Cheader_{name} {plus} {minus} 100n",
            f"Rearth_{name} {chassis} 0 10meg", f"Bheader_{name} header_{name} 0 V=v({plus},{minus})",
        )  # fmt: skip
        deck.saved.append(f"v(header_{name})".lower())


def _panel(deck: Deck) -> None:
    """Write button and key with a person at each, the lamp, the shared device's wires and the monitor's input."""
    for ref, (start, end) in (("J71", BUTTON_S), ("J72", KEY_S)):
        pushed = series([(0.0, 0.0), (start, 1.0), (end, 0.0)])
        deck.add(f"Vpush_{ref} push_{ref} 0 PWL({pushed})",
                 f"Spush_{ref} {deck.at(ref, '1')} {deck.at(ref, '2')} push_{ref} 0 LEVEL")  # fmt: skip
    deck.add(f"Dlamp {deck.at('J73', '1')} {deck.at('J73', '2')} YELLOW",
             f"Blamp lamp 0 V=v({deck.at('J73', '1')},{deck.at('J73', '2')})")  # fmt: skip
    deck.saved.append("v(lamp)")
    for ref in ("J63", "J64", "J65"):
        deck.add(*(f"Rdevice_{ref}_{pin} {deck.at(ref, pin)} 0 1meg" for pin in ("1", "2")))
    closes, common = deck.at("J74", "2"), deck.at("J74", "3")
    deck.add("Vmonitor monitor 0 12", f"Rmonitor monitor {closes} 10k", f"Rcommon {common} 0 1",
             f"Ralarm {deck.at('J74', '1')} 0 1meg", f"Balarm alarm 0 V=v({closes})")  # fmt: skip
    deck.saved.append("v(alarm)")
