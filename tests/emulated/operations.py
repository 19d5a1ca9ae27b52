"""Operations at random for MicroPython anywhere: the same seed prints the same, or a difference is found.

`blocks` prints a CRC for each block of SIZE operations, `words` what each operation of one block gave. Runs on the
emulated chip, on the VM and on CPython (differential.py). What may be different by the width of a machine's words or of
a float is in NATURES, and not here: floats have few bits, sets and dictionaries are sorted.
"""

import binascii
import hashlib
import json
import struct
import sys

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

SIZE = 100
NOTHING = "nothing"
EDGES = (0, 1, 2, 7, 255, 256, 65535, 1 << 29, (1 << 30) - 1, 1 << 30, (1 << 31) - 1, 1 << 31, (1 << 32) - 1, 1 << 32)
WIDE = ((1 << 62) - 1, 1 << 62, (1 << 63) - 1, 1 << 63, (1 << 64) - 1, 1 << 64, 10**30, (1 << 127) - 1)
# What is known to differ between machines (differential.py).
NATURES = ("int(2.0**24 + 1)", "1e39", "sys.maxsize", "time.ticks_add(0, -1)")


class Dice:
    """A generator of numbers that is the same everywhere (Park and Miller's)."""

    def __init__(self, seed: int) -> None:
        self.state = seed % 2147483646 + 1

    def below(self, limit: int) -> int:
        self.state = self.state * 48271 % 2147483647
        return (self.state >> 4) % limit

    def one(self, options: "Any") -> "Any":
        return options[self.below(len(options))]

    def integer(self) -> int:
        kind, value = self.below(4), 0
        if kind == 0:
            value += self.one(EDGES) + self.below(3) - 1
        elif kind == 1:
            value = self.below(1 << 20)
        elif kind == 2:
            value += self.one(WIDE) + self.below(3) - 1
        else:
            for _ in range(1 + self.below(8)):
                value = value << 24 | self.below(1 << 24)
        return -value if self.below(2) else value

    def octets(self, limit: int = 24) -> bytes:
        return bytes([self.below(256) for _ in range(self.below(limit))])

    def text(self, limit: int = 16) -> str:
        return "".join([self.one("ab c,xyz0123é€") for _ in range(self.below(limit))])


def integers(dice: Dice) -> object:
    a, b = dice.integer(), dice.integer()
    kind = dice.below(17)
    if kind == 0:
        return a + b
    if kind == 1:
        return a - b
    if kind == 2:
        return a * b
    if kind == 3:
        return a // b
    if kind == 4:
        return a % b
    if kind == 5:
        return divmod(a, b)
    if kind == 6:
        return a & b
    if kind == 7:
        return a | b
    if kind == 8:
        return a ^ b
    if kind == 9:
        return a << dice.below(100)
    if kind == 10:
        return a >> dice.below(100)
    if kind == 11:
        return pow(a % 1000003, dice.below(6))
    if kind == 12:
        return pow(abs(a), dice.below(1 << 20), abs(b) + 1)
    if kind == 13:
        return (a < b, a <= b, a == b, a != b, a > b, a >= b, bool(a), min(a, b), max(a, b))
    if kind == 14:
        return (-a, ~a, abs(a), hex(a), oct(b), bin(a))
    if kind == 15:
        return int(str(a)) == a and int("%x" % abs(b), 16)
    return (abs(a) % (1 << 64)).to_bytes(8, "little"), int.from_bytes(dice.octets(12), "big")


def structures(dice: Dice) -> object:
    order, letters = dice.one("<>"), "".join([dice.one("bBhHiIqQ") for _ in range(1 + dice.below(4))])
    size = struct.calcsize(order + letters)
    values = struct.unpack(order + letters, bytes([dice.below(256) for _ in range(size)]))
    packed = struct.pack(order + letters, *values)
    room = bytearray(size + 3)
    struct.pack_into(order + letters, room, 2, *values)
    return order + letters, values, packed, room, struct.unpack_from(order + letters, room, 2) == values


def octets(dice: Dice) -> object:
    a, b = dice.octets(), dice.octets(3)
    start, stop = dice.below(30) - 15, dice.below(30) - 15
    kind = dice.below(9)
    if kind == 0:
        return a[start:stop], a[:stop], a[start:]
    if kind == 1:
        return a.find(b), a.rfind(b), a.count(b), b in a, a.startswith(b), a.endswith(b)
    if kind == 2:
        return a.split(b), a.replace(b, b"--")
    if kind == 3:
        return a + b, b * 3, a.strip(), a == b, a < b
    if kind == 4:
        return a[start]
    if kind == 5:
        room = bytearray(a)
        room.extend(b)
        room[start:stop] = b
        return room
    if kind == 6:
        view = memoryview(bytearray(a))
        view[0] = 7
        return bytes(view[start:stop]), len(view)
    if kind == 7:
        return binascii.hexlify(a), binascii.unhexlify(binascii.hexlify(a)) == a, binascii.crc32(a, 7)
    return binascii.hexlify(hashlib.sha256(a + b).digest())


def texts(dice: Dice) -> object:
    a, b, number = dice.text(), dice.text(3), dice.integer()
    kind = dice.below(8)
    if kind == 0:
        return a.split(b), a.replace(b, "-"), a.find(b)
    if kind == 1:
        return a.upper(), a.strip(), a.encode(), a[1:], len(a)
    if kind == 2:
        return "%d %s %5d|%-5d|%05d" % (number, a, number % 1000, number % 1000, number % 1000)
    if kind == 3:
        return "{} {:>12} {:<12}| {:^9} {:x} {:,}".format(a, a, a, b, abs(number), number)
    if kind == 4:
        return b.join([a, b, a]), a * 2, a < b, a == b, b in a
    if kind == 5:
        return int(a)
    if kind == 6:
        return a.encode()[dice.below(3) :].decode()
    return json.loads(json.dumps({"a": [number % (1 << 30), a, None, True], "b": {"c": b}}))["a"]


def containers(dice: Dice) -> object:
    numbers = [dice.integer() % 1000 for _ in range(dice.below(20))]
    start, stop, step = dice.below(20) - 10, dice.below(20) - 10, dice.one((-2, -1, 1, 2, 3))
    kind = dice.below(8)
    if kind == 0:
        return sorted(numbers), sorted(numbers, key=lambda n: (n % 7, n), reverse=True)
    if kind == 1:
        return numbers[start:stop:step]
    if kind == 2:
        del numbers[start:stop]
        numbers.insert(start, -1)
        return numbers, numbers.pop(stop)
    if kind == 3:
        table = {n % 10: n for n in numbers}
        table.update({start: stop})
        return sorted(table.items()), table.pop(stop, None), table[start + 1]
    if kind == 4:
        a, b = set(numbers), set(range(start, start + 200))
        return sorted(a & b), sorted(a - b), sorted(a ^ b), len(a | b)
    if kind == 5:
        return [n * m for n in numbers[:3] for m in numbers[3:6] if n != m], sum(numbers), any(numbers)
    if kind == 6:
        return list(zip(numbers, reversed(numbers))), list(map(abs, numbers)), list(enumerate(numbers))[-1]
    return tuple(numbers) + (start,), numbers.index(stop), numbers.count(1)


class Odd(Exception):
    pass


def raises(dice: Dice, depth: int, trace: "list[Any]") -> "Any":
    kind = dice.below(8)
    trace.append(kind)
    try:
        if kind == 0:
            raise Odd(depth, kind)
        if kind == 1:
            raise ValueError("v", depth)
        if kind == 2:
            return [][depth]
        if kind == 3:
            return dict([(-1, 0)])[depth]
        if kind == 4:
            return depth // (depth - depth)
        if kind == 5:
            return getattr(None, NOTHING)
        if depth > 4:
            return depth
        for _ in range(3):
            if raises(dice, depth + 1, trace):
                continue
            break
        else:
            trace.append("else")
        return kind
    except (ValueError, LookupError) as error:
        trace.append(type(error).__name__)
        if dice.below(2):
            raise Odd("again") from None
    finally:
        trace.append("f%d" % depth)
    return 0


def exceptions(dice: Dice) -> object:
    trace: "list[Any]" = []
    try:
        trace.append(raises(dice, 0, trace))
    except Odd as error:
        trace.append(error.args)
    except ArithmeticError as error:
        trace.append(type(error).__name__)
    return trace


def inner(trace: "list[Any]") -> "Any":
    got = 0
    try:
        while True:
            try:
                got = yield got + 1
            except ValueError:
                trace.append("thrown")
                got = 100
            if got and got > 200:
                return got
    finally:
        trace.append("closed")


def outer(trace: "list[Any]") -> "Any":
    trace.append((yield from inner(trace)))
    yield "after"


def generators(dice: Dice) -> object:
    trace: "list[Any]" = []
    made = outer(trace)
    trace.append(next(made))
    for _ in range(dice.below(6)):
        kind = dice.below(5)
        if kind == 0:
            trace.append(made.throw(ValueError))
        elif kind == 1:
            made.close()
        elif kind == 2:
            trace.append(made.throw(Odd))
        else:
            trace.append(made.send(dice.below(220)))
    return trace, list(n * n for n in range(dice.below(9)) if n % 2)


def called(a: int, b: int = 2, *more: int, c: object = 3, **named: int) -> object:
    return a, b, more, c, sorted(named.items())


def functions(dice: Dice) -> object:
    total = [0]

    def counted(n: int) -> int:
        total[0] += 1
        return n if n < 2 else counted(n - 1) + counted(n - 2)

    adders = [(lambda m, n=n: n + m) for n in range(3)]
    many = [dice.below(9) for _ in range(dice.below(4))]
    return counted(dice.below(9)), total, [one(dice.below(9)) for one in adders], called(*many, c=many, d=dice.below(5))


def expression(dice: Dice, depth: int) -> str:
    if depth == 0 or dice.below(5) == 0:
        return str(dice.integer() % dice.one((10, 1000, 1 << 40)))
    operator = dice.one(("+", "-", "*", "//", "%", "&", "|", "^", "and", "or", "<", "==", "if"))
    a, b = expression(dice, depth - 1), expression(dice, depth - 1)
    if operator == "if":
        return "(%s if %s else %s)" % (a, expression(dice, depth - 1), b)
    return "(%s %s %s)" % (a, operator, b)


def compiled(dice: Dice) -> object:
    source = expression(dice, 3)
    space: "dict[str, Any]" = {}
    exec("def f(x, y=2):\n    for i in range(3):\n        x += i * y\n    return x, %s\n" % source, space)
    return eval(source), space["f"](dice.below(100))


def floats(dice: Dice) -> object:
    """Eighths below 256, whose sums and products have at most 22 bits: the same in any width."""
    a, b = (dice.below(4096) - 2048) / 8, (dice.below(4096) - 2048) / 8
    found = (a + b, a - b, a * b, a / dice.one((2, 4, -8)), -a, abs(b))
    order = (a < b, a == b, int(a), round(b), a // 8, b % 8, divmod(a, 16))
    return [int(one * 512) for one in found], order, float(str(int(a))) == int(a), struct.pack("<f", a * b)


KINDS = (integers, structures, octets, texts, containers, exceptions, generators, functions, compiled, floats)


def escaped(line: str) -> str:
    """Return a line with what is not ASCII as escapes."""
    return "".join([one if one < "\x7f" else ("\\x%02x" if one < "\u0100" else "\\u%04x") % ord(one) for one in line])


def block(seed: int, number: int) -> "Any":
    """Yield what each operation of a block gave, as text."""
    dice = Dice(seed * 1000003 + number * 7919)
    for _ in range(SIZE):
        kind = dice.one(KINDS)
        try:
            found = kind(dice)
        except Exception as error:
            found = "raised " + type(error).__name__
        # From 1.29 on a text's representation has letters as they are, before that as escapes.
        yield escaped("%s %r" % (kind.__name__, found))


def blocks(seed: int, first: int, count: int) -> None:
    """Print a line for each block: its number and the CRC of all its text."""
    for number in range(first, first + count):
        crc = 0
        for line in block(seed, number):
            crc = binascii.crc32(line.encode(), crc)
        print(number, crc)
    print("end")


def words(seed: int, number: int) -> None:
    """Print what each operation of a block gave."""
    for line in block(seed, number):
        print(line)
    print("end")


def natures() -> None:
    """Print what is known to differ."""
    import time

    for source in NATURES:
        try:
            print(source, "=", repr(eval(source, {"sys": sys, "time": time})))
        except Exception as error:
            print(source, "=", type(error).__name__)
    print("end")
