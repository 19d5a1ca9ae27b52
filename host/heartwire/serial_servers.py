"""What serial servers (ser2net and its like) say in place of the board's bytes: Telnet, or a refusal in words.

Pure: the first bytes of a connection in, words out. Read by the agent's line, its doctor and the host link's transport.
"""

import re

# Enough for a Telnet server's offers and for a sentence.
FIRST_BYTES = 256
# RFC 854: "interpret as command", then a subnegotiation or one of four verbs. A frame of the board begins with 0.
IAC = 0xFF
TELNET_COMMANDS = range(250, 255)
TELNET = "the server speaks Telnet"
TELNET_NEXT = "set raw TCP there (ser2net: `accepter: tcp,PORT`)"
BUSY = "in use"
BUSY_NEXT = "end the other connection, or set `kickolduser: true` in ser2net"
CLOSED = "closed by the other side"


def speaks_telnet(first: bytes) -> bool:
    """Tell whether a connection that begins with `first` is one of Telnet."""
    return len(first) >= 2 and first[0] == IAC and first[1] in TELNET_COMMANDS


def said(first: bytes) -> str:
    """Return the text of which `first` consists but for Telnet's commands, in one line; "" if it is none."""
    text = re.sub(rb"\xff[\xfb-\xfe].", b"", first, flags=re.S).decode("ascii", "replace").strip()
    return " ".join(text.split()) if text and all(char.isprintable() or char in "\r\n\t" for char in text) else ""


class Greeting:
    """The first bytes of one connection."""

    def __init__(self) -> None:
        self._first = b""

    def take(self, data: bytes) -> None:
        """Take what has come."""
        if len(self._first) < FIRST_BYTES:
            self._first += data[: FIRST_BYTES - len(self._first)]

    @property
    def is_telnet(self) -> bool:
        """Tell whether the server speaks Telnet."""
        return speaks_telnet(self._first)

    @property
    def words(self) -> str:
        """Return what the server said, if it is text and all that came."""
        return said(self._first)

    @property
    def end(self) -> str:
        """Return why the other side closed the connection, in words."""
        return f'the server closed the connection and said "{self.words}"' if self.words else CLOSED
