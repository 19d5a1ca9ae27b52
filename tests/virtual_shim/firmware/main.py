"""Run the toy firmware."""

from toy import loop

loop.run()
