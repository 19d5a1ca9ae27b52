"""One loop of 1 ms: echo on three lines, commands on USB, watchdog, ARM toggling."""

import gc
import os
import select
import sys
import time

import machine
import rp2
from machine import Pin

from toy.pio_line import PioLine

_SCRATCH0 = 0x4005800C
_UARTS = (0x40034000, 0x40038000)
_BUFFER = bytearray(256)
_VIEW = memoryview(_BUFFER)


class Toy:
    """The loop and its commands; every command answers one line."""

    def __init__(self):
        self.lines = [machine.UART(n, baudrate=115200, tx=Pin(4 * n), rx=Pin(4 * n + 1), rxbuf=256) for n in (0, 1)]
        self.lines.append(PioLine(115200))
        self.inputs = [Pin(gpio, Pin.IN, Pin.PULL_UP) for gpio in (16, 17, 18, 20, 26, 27)]
        self.outputs = {gpio: Pin(gpio, Pin.OUT) for gpio in (6, 7, 8, 10, 11, 12, 13, 14, 28)}
        self.arm = Pin(9, Pin.OUT, value=0)
        self.arming = True
        self.dog = None
        self.echo = True
        self.input = b""
        self.poll = select.poll()
        self.poll.register(sys.stdin, select.POLLIN)
        self.out_poll = select.poll()
        self.out_poll.register(sys.stdout, select.POLLOUT)

    def idle(self):
        """Do one turn in which nothing happens; return whether a command waits."""
        for line in self.lines:
            if line.any() and self.echo:
                line.write(_VIEW[: line.readinto(_BUFFER)])
        for pin in self.inputs:
            pin.value()
        if self.dog is not None:
            self.dog.feed()
        if self.arming:
            self.arm.toggle()
        for _ in self.poll.ipoll(0):
            return True
        return False

    def writable(self):
        """Return whether the host would take output."""
        for _, events in self.out_poll.ipoll(0):
            return bool(events & select.POLLOUT)
        return False

    def command(self, words):
        """Run a command; return the answer."""
        name = words[0]
        if name == "pin":
            self.outputs[int(words[1])].value(int(words[2]))
        elif name == "pulse":
            self.outputs[int(words[1])].value(1)
            time.sleep_ms(int(words[2]))
            self.outputs[int(words[1])].value(0)
        elif name == "again":
            Pin(int(words[1]), Pin.OUT)
        elif name == "overruns":
            flags = [machine.mem32[base + 0x3C] >> 10 & 1 for base in _UARTS]
            for base in _UARTS:
                machine.mem32[base + 0x44] = 0x400
            return str(flags)
        elif name == "arm":
            self.arming = words[1] == "on"
        elif name == "echo":
            self.echo = words[1] == "on"
        elif name == "waiting":
            return str([line.any() for line in self.lines])
        elif name == "inputs":
            return "".join(str(pin.value()) for pin in self.inputs)
        elif name == "dog":
            self.dog = machine.WDT(timeout=int(words[1]))
        elif name == "hang":
            while True:
                pass
        elif name == "reset":
            machine.reset()
        elif name == "bootloader":
            machine.bootloader()
        elif name == "raise":
            raise ValueError("told to")
        elif name == "scratch":
            machine.mem32[_SCRATCH0 + 4 * int(words[1])] = int(words[2])
        elif name == "scratches":
            return str([machine.mem32[_SCRATCH0 + 4 * index] for index in range(8)])
        elif name == "who":
            return "%s %d" % (machine.unique_id().hex(), machine.reset_cause())  # noqa: UP031
        elif name == "append":
            with open(words[1], "a") as file:  # noqa: PTH123
                file.write(words[2] + "\n")
        elif name == "say":
            time.sleep_ms(100)
            print("does anybody hear?")
        elif name == "erase":
            self.outputs[13].value(1)
            rp2.Flash().ioctl(6, 351)
            self.outputs[14].value(1)
        elif name == "fill":
            for number in range(int(words[2])):
                with open(words[1], "a") as file:  # noqa: PTH123
                    file.write("record %04d %s\n" % (number, "x" * 40))  # noqa: UP031
                self.idle()
        elif name == "read":
            with open(words[1]) as file:  # noqa: PTH123
                return file.read().replace("\n", ",")
        elif name == "ls":
            return " ".join(sorted(os.listdir("/"))) + " " + str(sys.path)  # noqa: PTH208
        elif name == "flood":
            return "x" * int(words[1])
        elif name == "leak":
            return self.leak(int(words[1]))
        return "ok"

    def leak(self, turns):
        """Return how many bytes of heap that many idle turns took."""
        gc.collect()
        before = gc.mem_free()
        for _ in range(turns):
            self.idle()
            time.sleep_us(100)
        return str(before - gc.mem_free())

    def answer(self, text):
        """Send a line, in pieces the host has room for."""
        data = (text + "\n").encode()
        sent = 0
        while sent < len(data):
            if self.writable():
                sys.stdout.buffer.write(data[sent : sent + 64])
                sent += 64
            else:
                self.idle()
                time.sleep_ms(1)

    def run(self):
        """Run for ever."""
        while True:
            while self.idle():
                byte = sys.stdin.buffer.read(1)
                if byte == b"\n":
                    words, self.input = self.input.decode().split(), b""
                    time.sleep_ms(2)  # lines and inputs are looked at once a millisecond, USB at once
                    self.answer(self.command(words))
                else:
                    self.input += byte
            time.sleep_ms(1)


def run():
    """Run the toy."""
    Toy().run()
