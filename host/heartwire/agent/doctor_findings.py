"""What the doctor's checks return."""

from dataclasses import dataclass

OK, WARNING, BAD = "ok", "warning", "bad"


@dataclass(frozen=True)
class Finding:
    """One result: level is ok, warning or bad."""

    level: str
    subject: str
    words: str
    next_step: str = ""
