"""Run the toy firmware."""

from toy import loop

print("toy starts")
loop.run()
