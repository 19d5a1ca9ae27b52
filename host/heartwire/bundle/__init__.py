"""The firmware as one module: what the board loads. `whole.make` builds it from the two packages."""
