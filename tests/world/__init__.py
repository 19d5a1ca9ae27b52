"""Heartwire among other people's programs and networks, in real time."""
