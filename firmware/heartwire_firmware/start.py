"""Start: makes the board's hardware, hands it to the stages, runs the loop. It decides nothing. Called by main.py."""

from heartwire_firmware import hw_rp2, starts, supervisor


def guard() -> None:
    """Guard until a restart or the prompt is asked for, then restart the chip; it notes which for main.py."""
    hardware = hw_rp2.Hardware()
    board = supervisor.Supervisor(hardware)
    board.start()
    if board.run() == starts.REPL:
        hardware.chip.give_prompt()
    hardware.chip.restart()
