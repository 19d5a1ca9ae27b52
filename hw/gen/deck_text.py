"""Writes one ngspice deck of the whole board from the netlist, with a fault in it where one is asked for.

Every part of netlist.json becomes an element on the nets it is on, so a simulation cannot drift from the schematic.
Models are simple (square-law transistors, behavioural chips): right about which way a current goes, not about its last
tenth. What stands around the board is rack.py; what is planted is faults.py; what came out is read by outcome.py.
"""

from collections.abc import Callable

import chips
import rack
from amounts import amount
from deck import Deck, Fault, contact, moved
from netlist import Netlist

SHORT_OHM = 0.05
FLOAT_OHM = 100e6  # 50 nA at 5 V: what dirt or a leaking junction gives an open gate

OPTIONS = ".options rshunt=1e11 cshunt=20p reltol=0.005 trtol=50 abstol=1n vntol=1m chgtol=1e-9 itl4=60 method=gear"
MODELS = """\
.model AO3400A NMOS(LEVEL=1 VTO=1.05 KP=30 RS=0.01 RD=0.015 W=1 L=1)
.model AO3401A PMOS(LEVEL=1 VTO=-0.9 KP=12 RS=0.02 RD=0.03 W=1 L=1)
.model 1N4148W D(IS=2.52n RS=0.568 N=1.752 CJO=4p)
.model 1N4007 D(IS=7n RS=0.05 N=1.8)
.model SS14 D(IS=1u RS=0.05 N=1.05)
.model SS34 D(IS=2u RS=0.04 N=1.05)
.model IRLED D(IS=1e-14 N=1.9 RS=1)
.model GREEN D(IS=1e-18 N=1.8 RS=2)
.model YELLOW D(IS=1e-18 N=1.8 RS=2)
.model RED D(IS=1e-18 N=1.8 RS=2)
.model SMAJ5V0A D(IS=1n RS=0.1 BV=6.7 IBV=10m)
.model SMAJ15CA D(IS=1n RS=0.2 BV=17 IBV=1m)
.model CLAMP D(IS=1n RS=1)
.model CONTACT SW(VT=0.57 VH=0.43 RON=0.05 ROFF=1e9)
.model LEVEL SW(VT=0.5 VH=0.1 RON=40 ROFF=1e9)
"""


def text(netlist: Netlist, fault: Fault) -> str:
    """Return the deck; KeyError for a part that no model fits."""
    deck = Deck(netlist, fault)
    writers: dict[str, Callable[[Deck, str], None]] = {
        "R": _resistor, "C": _capacitor, "F": _fuse, "D": _diode, "Q": _transistor, "U": _chip, "K": _relay,
    }  # fmt: skip
    for letter, write in writers.items():
        for ref in deck.parts(letter):
            write(deck, ref)
    rack.write(deck)
    for number, (one, other) in enumerate(fault.joins):
        deck.add(f"Rjoin{number} {deck.node(one)} {deck.node(other)} {SHORT_OHM}")
    if fault.bias:
        for ref, pin in fault.opens:
            deck.add(f"Rbias_{ref}_{pin} {deck.at(ref, pin)} {deck.node(fault.bias)} {FLOAT_OHM:g}")
            joint = deck.node(netlist.pins[ref, pin])
            deck.add(f"Rbiasnet_{ref}_{pin} {joint} {deck.node(fault.bias)} {FLOAT_OHM:g}")
    return "\n".join([
        f"* {fault.name}", MODELS + (chips.MODELS if netlist.revision == "B" else ""), *deck.lines, OPTIONS,
        f".save {' '.join(deck.saved)}", f".tran 1m {rack.END_S} 0 12m uic", ".end", "",
    ])  # fmt: skip


def _resistor(deck: Deck, ref: str) -> None:
    deck.add(f"{ref} {deck.at(ref, '1')} {deck.at(ref, '2')} {amount(deck.netlist.values[ref])}")


def _capacitor(deck: Deck, ref: str) -> None:
    deck.add(f"{ref} {deck.at(ref, '1')} {deck.at(ref, '2')} {amount(deck.netlist.values[ref].split()[0])}")


def _fuse(deck: Deck, ref: str) -> None:
    deck.add(f"R{ref} {deck.at(ref, '1')} {deck.at(ref, '2')} 0.2")


def _diode(deck: Deck, ref: str) -> None:
    value, cathode, anode = deck.netlist.values[ref], deck.at(ref, "1"), deck.at(ref, "2")
    if value.endswith(("CA", "BA")):  # for both directions
        deck.add(f"{ref}a {cathode} mid_{ref} {value}", f"{ref}b {anode} mid_{ref} {value}")
        return
    deck.add(f"{ref} {anode} {cathode} {value.replace('.', 'V')}")


def _transistor(deck: Deck, ref: str) -> None:
    gate, source, drain = (deck.at(ref, pin) for pin in ("1", "2", "3"))
    deck.add(f"M{ref} {drain} {gate} {source} {source} {deck.netlist.values[ref]}")


def _chip(deck: Deck, ref: str) -> None:
    writers: dict[str, Callable[[Deck, str], None]] = {
        "LTV-817": _opto, "MAX3232": _max3232, "TPS25947": chips.over_voltage_switch, "ISO7721": chips.isolator,
        "5 V to 5 V isolated, 1 W": chips.converter,
    }  # fmt: skip
    writers[deck.netlist.values[ref]](deck, ref)


def _opto(deck: Deck, ref: str) -> None:
    anode, cathode, emitter, collector = (deck.at(ref, pin) for pin in ("1", "2", "3", "4"))
    deck.add(
        f"V{ref} {anode} led_{ref} 0",
        f"D{ref} led_{ref} {cathode} IRLED",
        f"B{ref} {collector} {emitter} I=i(V{ref})*tanh(v({collector},{emitter})/0.1)",
    )


def _max3232(deck: Deck, ref: str) -> None:
    """Write two drivers and two receivers; V+ and V- exist only where the charge pump has its capacitors."""
    nets = {pin: deck.netlist.pins[ref, str(pin)] for pin in range(1, 17)}

    def held(one: int, other: str) -> bool:
        found = deck.netlist.between("C", nets[one], other)
        return any((part, pin) not in deck.fault.opens for part in found for pin in ("1",))

    pumped = held(1, nets[3]) and held(4, nets[5]) and held(2, nets[15]) and held(6, nets[15])
    supply, ground = deck.at(ref, "16"), deck.at(ref, "15")
    deck.add(f"Bon_{ref} on_{ref} 0 V={int(pumped)}*0.5*(1+tanh((v({supply},{ground})-2.7)/0.05))")
    # Flying capacitors sit between these, so that a short of one of them loads the pump as it does in the chip.
    for pin, volts in (("2", 5.5), ("6", -5.5), ("1", 3.0), ("4", 5.0), ("3", 0.0), ("5", -3.0)):
        deck.add(f"Ep{pin}_{ref} pump{pin}_{ref} {ground} on_{ref} 0 {volts}",
                 f"Rp{pin}_{ref} pump{pin}_{ref} {deck.at(ref, pin)} 100")  # fmt: skip
    high, low = deck.at(ref, "2"), deck.at(ref, "6")
    flies = f"v({deck.at(ref, '1')},{deck.at(ref, '3')})*v({deck.at(ref, '4')},{deck.at(ref, '5')})"
    deck.add(f"Bfly_{ref} fly_{ref} 0 V=tanh(abs({flies}))")
    for given, out in (("11", "14"), ("10", "7")):
        step = f"tanh((v({deck.at(ref, given)},{ground})-1.4)/0.1)"
        levels = f"(v({low},{ground})*(1+{step})+v({high},{ground})*(1-{step}))"
        deck.add(f"Bt{out}_{ref} t{out}_{ref} {ground} V=0.5*v(fly_{ref})*{levels}",
                 f"Rt{out}_{ref} t{out}_{ref} {deck.at(ref, out)} 300")  # fmt: skip
    for given, out in (("13", "12"), ("8", "9")):
        deck.add(
            f"Rr{given}_{ref} {deck.at(ref, given)} {ground} 5k",
            f"Br{out}_{ref} r{out}_{ref} {ground} "
            f"V=0.5*v({supply},{ground})*(1-tanh((v({deck.at(ref, given)},{ground})-1.4)/0.1))",
            f"Rr{out}_{ref} r{out}_{ref} {deck.at(ref, out)} 300",
        )


def _relay(deck: Deck, ref: str) -> None:
    if "2 coils" in deck.netlist.values[ref]:
        _latching(deck, ref)
        return
    ohm, pull_in_a = rack.COILS[deck.netlist.values[ref]]
    deck.add(f"Rcoil_{ref} {deck.at(ref, 'A1')} coil_{ref} {ohm}", f"Lcoil_{ref} coil_{ref} {deck.at(ref, 'A2')} 0.12")
    armature = moved(deck, ref, f"abs(i(Lcoil_{ref}))/{pull_in_a:g}")
    contact(deck, f"nc_{ref}", (deck.at(ref, "11"), deck.at(ref, "12")), armature, rest_closed=True)
    contact(deck, f"no_{ref}", (deck.at(ref, "11"), deck.at(ref, "14")), armature, rest_closed=False)
    if (ref, "21") in deck.netlist.pins:
        contact(deck, f"nc2_{ref}", (deck.at(ref, "21"), deck.at(ref, "22")), armature, rest_closed=True)
    deck.saved.append(f"v({armature})")


def _latching(deck: Deck, ref: str) -> None:
    """Write a relay with two coils of 125 ohm that stays where the last pulse put it; it starts at a."""
    for side in ("A", "B"):
        plus, minus = deck.at(ref, f"{side}+"), deck.at(ref, f"{side}-")
        deck.add(f"Rcoil{side}_{ref} {plus} coil{side}_{ref} 125", f"Lcoil{side}_{ref} coil{side}_{ref} {minus} 0.05")
    pulls = {side: f"(0.5*(1+tanh((abs(i(Lcoil{side}_{ref}))-0.028)/0.002)))" for side in ("A", "B")}
    deck.add(
        f"Bstate_{ref} 0 state_{ref} I={pulls['B']}*(1.2-v(state_{ref}))-{pulls['A']}*v(state_{ref})",
        f"Cstate_{ref} state_{ref} 0 5m IC=0",
    )
    armature = moved(deck, ref, f"v(state_{ref})")
    for number in ("1", "2"):
        common = deck.at(ref, f"{number}1")
        contact(deck, f"a{number}_{ref}", (common, deck.at(ref, f"{number}2")), armature, rest_closed=True)
        contact(deck, f"b{number}_{ref}", (common, deck.at(ref, f"{number}4")), armature, rest_closed=False)
    deck.saved.append(f"v({armature})")
