"""A client of a TCP port that sends what it likes, and hears all that comes."""

from __future__ import annotations

import errno
import socket


def exchange(port: int, data: bytes, patience_s: float) -> bytes:
    """Send `data` to a port of this host, close that way, and return all that comes.

    A request that is ended before all of it was sent is answered by what came until then. Raises OSError otherwise.
    """
    with socket.create_connection(("127.0.0.1", port), patience_s) as client:
        answer = b""
        try:
            client.sendall(data)
            client.shutdown(socket.SHUT_WR)
            while piece := client.recv(65536):
                answer += piece
        except OSError as error:
            if not isinstance(error, ConnectionError) and error.errno != errno.ENOTCONN:
                raise
        return answer
