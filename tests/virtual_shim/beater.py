"""A stand-in for the program on a server: beats on its serial port, echoes what it hears, leaves an escaped child."""

import subprocess
import sys
import time

import serial

port = serial.Serial(sys.argv[1], timeout=0.01)
child = subprocess.Popen([sys.executable, "-c", "import time; time.sleep(600)"], start_new_session=True)
print("child", child.pid, flush=True)
count = 0
while True:
    port.write(b"%d\n" % count)
    heard = port.read(64)
    if heard:
        print("heard", heard, flush=True)
    count += 1
    time.sleep(0.01)
