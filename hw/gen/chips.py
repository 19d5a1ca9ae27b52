"""Chips of revision B in the deck: over-voltage switch, digital isolator, isolated converter. Behaviour, not silicon.

Each writes what the data sheet says it does when all is well, and what a missing pin or supply does to that: enough to
tell which way a fault falls. Called by deck_text.py.
"""

from deck import Deck

MODELS = """\
.model SMAJ15A D(IS=1n RS=0.2 BV=17 IBV=1m)
.model PESD15VL1BA D(IS=1n RS=0.5 BV=17 IBV=1m)
"""
THRESHOLD_V = 1.2  # TPS25947: of EN/UVLO and of OVLO
LIMIT_A_OHM = 3334  # its current limit is this over the resistor at ILM
SWITCH_OHM = 0.028
DEFAULT_LEVEL_V = 2.0  # ISO7721: a side without this much supply gives the other the default, high


def over_voltage_switch(deck: Deck, ref: str) -> None:
    """Write a TPS25947: on between its two thresholds, current one way only, limited, slowed by its ramp capacitor."""
    enable, over, supply, out, ramp, limit = (deck.at(ref, pin) for pin in ("1", "2", "5", "6", "7", "9"))
    grounded = int((ref, "8") not in deck.fault.opens)
    window = f"0.25*(1+tanh((v({enable})-{THRESHOLD_V})/0.02))*(1-tanh((v({over})-{THRESHOLD_V})/0.02))"
    most = f"min(3,{LIMIT_A_OHM * 1e-4:g}/max(0.05,v({limit})))"
    deck.add(
        f"Bramp_{ref} ramp_{ref} 0 V=3*0.5*(1+tanh((v({supply})-2)/0.1))", f"Rramp_{ref} ramp_{ref} {ramp} 1meg",
        f"Bilm_{ref} 0 {limit} I=1e-4*0.5*(1-tanh((v({limit})-2)/0.1))",
        f"Bon_{ref} on_{ref} 0 V={grounded}*{window}*0.5*(1+tanh((v({ramp})-0.5)/0.1))",
        f"Bsw_{ref} {supply} {out} I=v(on_{ref})*{most}"
        f"*max(0,tanh((v({supply})-v({out}))/({SWITCH_OHM}*{most})))",
    )  # fmt: skip


def isolator(deck: Deck, ref: str) -> None:
    """Write an ISO7721: channel A from side 2 to 1, B from 1 to 2; without the sender's supply an output is high."""
    sides = {1: (deck.at(ref, "1"), deck.at(ref, "4")), 2: (deck.at(ref, "8"), deck.at(ref, "5"))}
    for given, sender, out, receiver in (("7", 2, "2", 1), ("3", 1, "6", 2)):
        (supply, ground), (far, far_ground) = sides[sender], sides[receiver]
        node, volts = deck.at(ref, given), f"v({supply},{ground})"
        alive = f"0.5*(1+tanh(({volts}-{DEFAULT_LEVEL_V})/0.05))"
        low = f"0.5*(1-tanh((v({node},{ground})-0.5*{volts})/0.1))"
        deck.add(f"Rin{given}_{ref} {node} {supply} 1meg",  # codespell:ignore rin
                 f"Bout{out}_{ref} iso{out}_{ref} {far_ground} V=v({far},{far_ground})*(1-{alive}*{low})",
                 f"Rout{out}_{ref} iso{out}_{ref} {deck.at(ref, out)} 50")  # fmt: skip


def converter(deck: Deck, ref: str) -> None:
    """Write an isolated 1 W converter: 5 % above its input without load, 3 ohm behind it, 0.3 A at most."""
    minus, plus, low, high = (deck.at(ref, pin) for pin in ("1", "2", "3", "4"))
    given = f"0.3*0.5*(1+tanh((v({plus},{minus})-3)/0.1))*max(0,tanh((1.05*v({plus},{minus})-v({high},{low}))/0.9))"
    deck.add(f"Bgive_{ref} {low} {high} I={given}",
             f"Btake_{ref} {plus} {minus} I={given}*max(0,v({high},{low}))/(0.7*max(2,v({plus},{minus})))")  # fmt: skip
