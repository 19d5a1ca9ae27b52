"""The board's settings: two slots, a trial with a time limit, and the upload that precedes it.

New settings are checked whole, stored as a trial, and become permanent only when confirmed within TRIAL_MS; otherwise,
also over a reset, the confirmed ones before them come back: a second trial overwrites the first, never the confirmed
copy. A board whose confirmed settings are gone (damaged, or refused by this firmware) says so in `lost`: it starts with
defaults that hold no key, so nothing automatic happens and orders need the key switch. Called by supervisor,
which hands the result to the stages; uploads come through the operations of the host link.
"""

from heartwire_firmware.slots import TwoSlots
from heartwire_protocol import framing, reasons, settings, settings_rules

CONFIRMED = 1
TRIAL = 2
TRIAL_MS = 60000


def _is_confirmed(flag: int) -> bool:
    return flag == CONFIRMED


class Config:
    """The running settings and their store on `files`."""

    def __init__(self, files):
        self._slots = TwoSlots(files, "settings")
        self._upload = bytearray(0)
        self._upload_crc = 0
        self._received = 0
        self._before = ""
        self.current = settings.Settings()
        self.generation = 0
        self.crc = 0
        self.trial_ms = 0
        self.problem = reasons.NONE
        self.failed = False  # a write failed; whoever looks at it clears it
        self.lost = False  # there were confirmed settings, and they cannot be had

    def load(self) -> None:
        """Load the newest confirmed settings; `problem` says why others were passed over."""
        data = self._slots.load(_is_confirmed)
        self.generation = 0
        if data is None:
            self._take(settings.Settings())
            if self._slots.damaged:
                self.problem = reasons.CORRUPT
            elif self._slots.generation:
                self.problem = reasons.RESET_ON_TRIAL
            # One whole copy, on trial, is a new board's first one; anything more was confirmed once.
            self.lost = self._slots.damaged or self._slots.copies > 1
            return
        found, problems = settings.parse(bytes(data).decode())
        # Of a later firmware, before an update was taken back: what is known stays in force.
        problems = [row for row in problems if row[1] != settings.UNKNOWN]
        if problems or settings_rules.check(found, True):
            # Written by a firmware with other limits, or damaged in a way the CRC does not see.
            self.problem = reasons.CORRUPT
            self.lost = True
            self._take(settings.Settings())
            return
        self._take(found)
        self.generation = self._slots.loaded
        if self._slots.generation > self._slots.loaded:
            self.problem = reasons.RESET_ON_TRIAL  # the newest copy was on trial and is refused
        elif self._slots.damaged:
            self.problem = reasons.CORRUPT

    def _take(self, new: settings.Settings) -> None:
        self.current = new
        text = new.text().encode()
        self.crc = framing.crc16(text, len(text))

    def begin(self, length: int, crc: int) -> bool:
        """Start an upload of `length` bytes with CRC-16 `crc`; return False if it is too long."""
        if not 0 <= length <= settings.LENGTH_MAX:
            return False
        self._upload = bytearray(length)
        self._upload_crc = crc
        self._received = 0
        return True

    def put(self, offset: int, data: bytes) -> bool:
        """Take a piece of the upload; pieces come in order. Return False if it does not fit there."""
        if offset > self._received or offset + len(data) > len(self._upload):
            return False
        self._upload[offset : offset + len(data)] = data
        self._received = offset + len(data)
        return True

    def check_upload(self) -> "tuple[settings.Settings, list[tuple[str, str]]]":
        """Return (settings, problems) of the finished upload; keys given as fingerprints are kept from the current
        ones, also where a key takes the place of the one before it.
        """
        data = self._upload
        if self._received != len(data) or framing.crc16(data, len(data)) != self._upload_crc:
            return settings.Settings(), [("settings", "the upload is not whole; send it again")]
        try:
            text = bytes(data).decode()
        except UnicodeError:
            return settings.Settings(), [("settings", "must be text")]
        new, problems = settings.parse(self._with_keys(text))
        if not problems:
            problems = settings_rules.check(new)
        return new, problems

    def _with_keys(self, text: str) -> str:
        lines = text.split("\n")
        for index in range(len(lines)):
            at = lines[index].find("=key:")
            if at > 0:
                path = lines[index][:at]
                for source in (path, settings.twin_of(path)):
                    try:
                        kept = self.current.get(source)
                    except KeyError:
                        continue
                    if kept and settings.fingerprint(kept) == lines[index][at + 1 :]:
                        lines[index] = path + "=" + kept
                        break
        return "\n".join(lines)

    def apply(self, new: settings.Settings) -> bool:
        """Store `new` as a trial and run it; return False if flash could not be written."""
        before = self.current.text() if not self.trial_ms else self._before
        # The slot of a trial is taken by the next one: the other slot holds the only confirmed copy.
        if not self._slots.save(new.text().encode(), TRIAL, self.trial_ms > 0):
            self.failed = True
            return False
        self._before = before
        self.generation = self._slots.generation
        self._take(new)
        self.trial_ms = TRIAL_MS
        self._upload = bytearray(0)
        self._received = -1
        return True

    def confirm(self, generation: int) -> bool:
        """Make the settings on trial permanent; True as well if `generation` is permanent already."""
        if generation != self.generation:
            return False
        if self.trial_ms:
            if not self._slots.set_flag(self.current.text().encode(), CONFIRMED):
                self.failed = True
                return False
            self.trial_ms = 0
            self._before = ""
            self.lost = False
        return True

    def revert(self) -> bool:
        """End a trial: run the settings from before it again; return False if there is no trial."""
        if not self.trial_ms:
            return False
        self.trial_ms = 0
        self._take(settings.parse(self._before)[0])
        self._slots.load(_is_confirmed)
        self.generation = self._slots.loaded
        return True

    def step(self, elapsed_ms: int, hold: bool = False) -> bool:
        """Count the trial down; return True once when it has run out, and not on `hold`, and the settings were
        reverted.
        """
        if self.trial_ms:
            if self.trial_ms > elapsed_ms or hold:
                self.trial_ms = max(1, self.trial_ms - elapsed_ms)
            else:
                return self.revert()
        return False
