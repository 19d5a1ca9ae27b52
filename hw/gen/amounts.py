"""Reads the value of a part as a number."""

import re

UNITS = {"": 1.0, "R": 1.0, "k": 1e3, "meg": 1e6, "M": 1e6, "m": 1e-3, "u": 1e-6, "n": 1e-9, "p": 1e-12}


def amount(text: str) -> float:
    """Return a part's value as a number: 10k, 2k2, 100R, 1u, 220u. Raise ValueError for anything else."""
    found = re.fullmatch(r"(\d+(?:\.\d+)?)(meg|[RkMmunp]?)(\d*)", text)
    if not found or (found[3] and "." in found[1]):
        raise ValueError(f"no value: {text!r}")
    digits = f"{found[1]}.{found[3]}" if found[3] else found[1]
    return float(digits) * UNITS[found[2]]
