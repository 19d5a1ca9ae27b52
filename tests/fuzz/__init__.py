"""Whatever comes over a socket or the host link, nothing ends, nothing is lost and nobody is late."""
