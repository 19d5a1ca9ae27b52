// Drives another emulator's chip for tests/second/chip.py: runs it until a virtual time or until something comes out.
//
// Speaks JSON, a line each way: {"do": [...], "run": ns} -> {"ns", "busy_ns", "flash", "events"}. Knows nothing of
// heartbeats. What the emulator lacks is modelled here: the PL011 with its FIFOs, the flash chip with its times, a host
// that sends on USB only when it has something to send. Register numbers: RP2040 datasheet.
import fs from 'node:fs';
import path from 'node:path';
import { pathToFileURL } from 'node:url';

const setup = JSON.parse(fs.readFileSync(process.argv[2], 'utf8'));
const { RP2040, USBCDC } = await import(pathToFileURL(path.join(setup.package, 'dist/esm/index.js')).href);

class Quiet {
  debug() {}
  info() {}
  warn() {}
  error() {}
}

const mcu = new RP2040();
const { clock } = mcu;
mcu.logger = new Quiet();
mcu.loadBootrom(new Uint32Array(setup.bootrom));
mcu.flash.set(fs.readFileSync(setup.flash));

let stop = false;
let cycles = 0;
let events = [];
const tell = (...event) => events.push(event);
const tellNow = (...event) => {
  tell(...event);
  stop = true;
};

// What the bus asks of a peripheral, with its atomic aliases (2.1.2): plain, XOR, set, clear.
class Peripheral {
  rawWriteValue = 0;
  writeUint32Atomic(offset, value, kind) {
    this.rawWriteValue = value;
    if (kind) {
      const before = this.readUint32(offset);
      value = [before, before ^ value, before | value, before & ~value][kind];
    }
    this.writeUint32(offset, value >>> 0);
  }
}

// 4.2: characters whole, at the divisors' rate. RIS bits: 4 received, 5 room to send, 6 receive timeout, 10 overrun.
class Uart extends Peripheral {
  static levels = [4, 8, 16, 24, 28];
  constructor(interrupt, onByte) {
    super();
    Object.assign(this, { interrupt, onByte, control: 0x300, line: 0, trigger: 0x12, mask: 0, raw: 0 });
    Object.assign(this, { whole: 0, fraction: 0, dma: 0, received: [], waiting: [], shifting: -1, coming: [], lost: 0 });
    this.sentAlarm = clock.createAlarm(() => this.sent());
    this.timeoutAlarm = clock.createAlarm(() => {
      if (this.received.length) this.raise(0x40);
    });
    this.comingAlarm = clock.createAlarm(() => {
      this.feed(this.coming.shift());
      if (this.coming.length) this.comingAlarm.schedule(this.charNs);
    });
  }
  clkPeriChanged() {}
  get charNs() {
    const divisor = this.whole + this.fraction / 64;
    const baud = divisor ? setup.peripheral_hz / (16 * divisor) : 115200;
    const bits = 1 + 5 + ((this.line >> 5) & 3) + (this.line & 2 ? 1 : 0) + (this.line & 8 ? 2 : 1);
    return (bits * 1e9) / baud;
  }
  get depth() {
    return this.line & 0x10 ? 32 : 1;
  }
  level(shift) {
    return this.line & 0x10 ? Uart.levels[Math.min((this.trigger >> shift) & 7, 4)] : shift ? 1 : 0;
  }
  raise(bits = 0) {
    this.raw |= bits;
    mcu.setInterrupt(this.interrupt, !!(this.raw & this.mask));
  }
  send(bytes) {
    const idle = !this.coming.length;
    this.coming.push(...bytes);
    if (idle && bytes.length) this.comingAlarm.schedule(this.charNs);
  }
  feed(byte) {
    if (!(this.control & 1 && this.control & 0x200)) {
      this.lost++;
      return;
    }
    let bits = 0;
    if (this.received.length >= this.depth) {
      this.lost++;
      bits = 0x400;
    } else {
      this.received.push(byte);
      if (this.received.length >= this.level(3)) bits = 0x10;
      this.timeoutAlarm.schedule((32 * this.charNs) / 10);
    }
    this.raise(bits);
  }
  sendNext() {
    if (this.shifting < 0 && this.waiting.length && this.control & 1 && this.control & 0x100) {
      this.shifting = this.waiting.shift();
      if (this.waiting.length === this.level(0)) this.raw |= 0x20;
      this.sentAlarm.schedule(this.charNs);
    }
  }
  sent() {
    const byte = this.shifting;
    this.shifting = -1;
    this.onByte(byte);
    this.sendNext();
    this.raise();
  }
  readUint32(offset) {
    switch (offset) {
      case 0x00:
        return this.take();
      case 0x18:
        return (
          (this.waiting.length ? 0 : 0x80) |
          (this.received.length >= this.depth ? 0x40 : 0) |
          (this.waiting.length >= this.depth ? 0x20 : 0) |
          (this.received.length ? 0 : 0x10) |
          (this.shifting >= 0 || this.waiting.length ? 8 : 0)
        );
      case 0x24:
        return this.whole;
      case 0x28:
        return this.fraction;
      case 0x2c:
        return this.line;
      case 0x30:
        return this.control;
      case 0x34:
        return this.trigger;
      case 0x38:
        return this.mask;
      case 0x3c:
        return this.raw;
      case 0x40:
        return this.raw & this.mask;
      case 0x48:
        return this.dma;
    }
    return 0;
  }
  take() {
    if (!this.received.length) return 0;
    const byte = this.received.shift();
    if (this.received.length < this.level(3)) this.raw &= ~0x10;
    if (!this.received.length) {
      this.raw &= ~0x40;
      this.timeoutAlarm.cancel();
    }
    this.raise();
    return byte;
  }
  writeUint32(offset, value) {
    switch (offset) {
      case 0x00:
        if (this.waiting.length < this.depth) this.waiting.push(value & 0xff);
        if (this.waiting.length > this.level(0)) this.raw &= ~0x20;
        this.sendNext();
        break;
      case 0x24:
        this.whole = value & 0xffff;
        break;
      case 0x28:
        this.fraction = value & 0x3f;
        break;
      case 0x2c:
        this.line = value & 0xff;
        break;
      case 0x30:
        this.control = value & 0xffff;
        this.sendNext();
        break;
      case 0x34:
        this.trigger = value & 0x3f;
        break;
      case 0x38:
        this.mask = value & 0x7ff;
        break;
      case 0x44:
        this.raw &= ~this.rawWriteValue;
        break;
      case 0x48:
        this.dma = value & 7;
        break;
    }
    this.raise();
  }
}

// The flash behind the SSI (4.10): erase and program take their time, during which the status says busy. A command ends
// when the chip select is forced high, or where nobody forces it, when all that came back has been read.
class FlashSsi extends Peripheral {
  registers = new Map();
  command = [];
  answers = [];
  forced = false;
  enabled = false;
  busyUntil = 0;
  count = 0;
  readUint32(offset) {
    switch (offset) {
      case 0x20:
        return 0;
      case 0x24:
        return this.answers.length;
      case 0x28:
        return 0x6 | (this.answers.length ? 0x8 : 0);
      case 0x60:
        return this.answers.length ? this.answers.shift() : 0;
    }
    return this.registers.get(offset) ?? 0;
  }
  writeUint32(offset, value) {
    if (offset < 0x60 || offset >= 0xe0) {
      this.registers.set(offset, value);
      return;
    }
    if (!this.forced && !this.answers.length) this.end();
    this.answers.push(this.shift(value & 0xff));
  }
  shift(byte) {
    this.command.push(byte);
    const [code] = this.command;
    const at = this.command.length - 1;
    if (code === 0x05 && at) {
      const left = this.busyUntil - clock.nanos;
      if (left > 0) clock.tick(Math.min(20000, Math.max(1, left)));
      return left > 0 ? 1 : this.enabled ? 2 : 0;
    }
    if (code === 0x35 && at) return 2;
    if (code === 0x4b && at >= 5) return setup.unique_id[at - 5] ?? 0;
    return 0;
  }
  select(low) {
    if (!low && this.forced) this.end();
    this.forced = low;
    this.answers = low ? [] : this.answers;
  }
  end() {
    const [code, ...rest] = this.command;
    this.command = [];
    if (code === 0x06) this.enabled = true;
    if (!this.enabled || rest.length < 3) return;
    const address = (rest[0] << 16) | (rest[1] << 8) | rest[2];
    const size = { 0x20: 0x1000, 0xd8: 0x10000 }[code];
    if (size) {
      const start = address & -size;
      mcu.flash.fill(0xff, start, start + size);
      this.busy(code === 0x20 ? setup.sector_ns : setup.block_ns);
    } else if (code === 0x02) {
      rest.slice(3).forEach((byte, index) => {
        mcu.flash[(address & ~0xff) | ((address + index) & 0xff)] &= byte;
      });
      this.busy(setup.page_ns);
    }
  }
  busy(ns) {
    this.enabled = false;
    this.busyUntil = clock.nanos + ns;
    this.count++;
  }
}

// 2.19.6.2: of the flash's pins only the override of the chip select matters, bits 9:8 of its CTRL: 2 low, 3 high.
class QspiPins extends Peripheral {
  registers = new Map();
  readUint32(offset) {
    return this.registers.get(offset) ?? 0;
  }
  writeUint32(offset, value) {
    this.registers.set(offset, value);
    if (offset === 0x0c) ssi.select(((value >> 8) & 3) === 2);
  }
}

const ssi = new FlashSsi();
const uarts = setup.uarts.map(([key, interrupt], node) => {
  const uart = new Uart(interrupt, (byte) => tellNow('line', clock.nanos, node, byte));
  mcu.peripherals[key] = mcu.uart[node] = uart;
  return uart;
});
mcu.peripherals[0x18000] = ssi;
mcu.peripherals[0x40018] = new QspiPins();

// A chip without erratum E5 on GPIO 15, and a ring oscillator with the bits that it is given.
const sysinfo = mcu.peripherals[0x40000];
const chipId = sysinfo.readUint32.bind(sysinfo);
sysinfo.readUint32 = (offset) => (offset === 0 ? setup.chip_id : chipId(offset));
let drawn = 0;
mcu.peripherals[0x40060].readUint32 = (offset) =>
  offset === 0x1c ? setup.random_bits.charCodeAt(drawn++ % setup.random_bits.length) & 1 : 0xffffffff;

const watchdog = mcu.peripherals[setup.watchdog_key];
watchdog.onWatchdogTrigger = () => tellNow('reset', clock.nanos, watchdog.reason);
const writeWatchdog = watchdog.writeUint32.bind(watchdog);
watchdog.writeUint32 = (offset, value) => {
  if (offset === 0x04) tell('feed', clock.nanos, cycles * setup.cycle_ns);
  writeWatchdog(offset, value);
};
for (const gpio of setup.outputs) {
  mcu.gpio[gpio].addListener((level) => tellNow('edge', clock.nanos, gpio, level <= 1 ? level : null));
}

const cdc = new USBCDC(mcu.usbCtrl);
let asked = -1;
let toBoard = [];
const pump = () => {
  if (asked < 0 || !toBoard.length) return;
  const bytes = toBoard.splice(0, asked);
  asked = -1;
  mcu.usbCtrl.endpointReadDone(cdc.outEndpoint, new Uint8Array(bytes));
};
const pumpAlarm = clock.createAlarm(pump);
mcu.usbCtrl.onEndpointRead = (endpoint, size) => {
  if (endpoint === 0 || endpoint !== cdc.outEndpoint) return;
  asked = size;
  pump();
};
cdc.onSerialData = (bytes) => tellNow('usb', clock.nanos, Buffer.from(bytes).toString('hex'));
cdc.onDeviceConnected = () => tellNow('connected', clock.nanos);

function run(until) {
  stop = false;
  const alarm = clock.createAlarm(() => {
    stop = true;
  });
  alarm.schedule(Math.max(0, until - clock.nanos));
  const { core } = mcu;
  while (!stop) {
    if (core.waiting) {
      clock.tick(clock.nanosToNextAlarm);
    } else {
      const taken = core.executeInstruction();
      cycles += taken;
      clock.tick(taken * setup.cycle_ns);
    }
  }
  alarm.cancel();
}

const actions = {
  line: (node, hex) => uarts[node].send(Buffer.from(hex, 'hex')),
  input: (gpio, level) => mcu.gpio[gpio].setInputValue(!!level),
  usb: (hex) => {
    toBoard.push(...Buffer.from(hex, 'hex'));
    pumpAlarm.schedule(1000);
  },
  save: (file) => fs.writeFileSync(file, mcu.flash.subarray(0, setup.flash_bytes)),
};

function* lines() {
  let text = '';
  const piece = Buffer.alloc(65536);
  for (;;) {
    let at;
    while ((at = text.indexOf('\n')) >= 0) {
      yield text.slice(0, at);
      text = text.slice(at + 1);
    }
    const count = fs.readSync(0, piece, 0, piece.length, null);
    if (!count) return;
    text += piece.toString('utf8', 0, count);
  }
}

mcu.core.PC = 0x10000000;
for (const line of lines()) {
  const { do: todo, run: until } = JSON.parse(line);
  events = [];
  for (const [name, ...values] of todo) actions[name](...values);
  if (until !== undefined && until > clock.nanos) run(until);
  const answer = { ns: clock.nanos, busy_ns: cycles * setup.cycle_ns, flash: ssi.count, events };
  fs.writeSync(1, `${JSON.stringify(answer)}\n`);
}
process.exit(0);
