// What the drivers of other emulators share: what those lack, and the lock step with Python.
//
// Modelled here: the PL011 with its FIFOs, the flash chip with its times, a host that sends on USB only when it has
// something to send. Register numbers: RP2040 datasheet; the RP2350 has the same UARTs.
import fs from 'node:fs';

export class Quiet {
  debug() {}
  info() {}
  warn() {}
  error() {}
}

// What the bus asks of a peripheral, with its atomic aliases (2.1.2): plain, XOR, set, clear.
export class Peripheral {
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

// Registers that keep what is written to them.
export class Store extends Peripheral {
  registers = new Map();
  readUint32(offset) {
    return this.registers.get(offset) ?? 0;
  }
  writeUint32(offset, value) {
    this.registers.set(offset, value);
  }
}

// 4.2: characters whole, at the divisors' rate. RIS bits: 4 received, 5 room to send, 6 receive timeout, 10 overrun.
export class Uart extends Peripheral {
  static levels = [4, 8, 16, 24, 28];
  constructor(mcu, interrupt, peripheralHz, onByte) {
    super();
    Object.assign(this, { mcu, interrupt, peripheralHz, onByte });
    Object.assign(this, { control: 0x300, line: 0, trigger: 0x12, mask: 0, raw: 0 });
    Object.assign(this, { whole: 0, fraction: 0, dma: 0, received: [], waiting: [], shifting: -1, coming: [], lost: 0 });
    this.sentAlarm = mcu.clock.createAlarm(() => this.sent());
    this.timeoutAlarm = mcu.clock.createAlarm(() => {
      if (this.received.length) this.raise(0x40);
    });
    this.comingAlarm = mcu.clock.createAlarm(() => {
      this.feed(this.coming.shift());
      if (this.coming.length) this.comingAlarm.schedule(this.charNs);
    });
  }
  clkPeriChanged() {}
  get charNs() {
    const divisor = this.whole + this.fraction / 64;
    const baud = divisor ? this.peripheralHz / (16 * divisor) : 115200;
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
    this.mcu.setInterrupt(this.interrupt, !!(this.raw & this.mask));
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

// The commands of a flash chip: erase and program take their time, during which the status says busy. `memory` is what
// it holds.
export class Flash {
  command = [];
  enabled = false;
  busyUntil = 0;
  count = 0;
  constructor(mcu, memory, setup) {
    Object.assign(this, { clock: mcu.clock, memory, setup });
  }
  shift(byte) {
    this.command.push(byte);
    const [code] = this.command;
    const at = this.command.length - 1;
    if (code === 0x05 && at) {
      const left = this.busyUntil - this.clock.nanos;
      if (left > 0) this.clock.tick(Math.min(20000, Math.max(1, left)));
      return left > 0 ? 1 : this.enabled ? 2 : 0;
    }
    if (code === 0x35 && at) return 2;
    if (code === 0x4b && at >= 5) return this.setup.unique_id[at - 5] ?? 0;
    return 0;
  }
  // The chip select has gone high.
  end() {
    const [code, ...rest] = this.command;
    this.command = [];
    if (code === 0x06) this.enabled = true;
    if (!this.enabled || rest.length < 3) return;
    const address = (rest[0] << 16) | (rest[1] << 8) | rest[2];
    const size = { 0x20: 0x1000, 0xd8: 0x10000 }[code];
    if (size) {
      const start = address & -size;
      this.memory.fill(0xff, start, start + size);
      this.busy(code === 0x20 ? this.setup.sector_ns : this.setup.block_ns);
    } else if (code === 0x02) {
      rest.slice(3).forEach((byte, index) => {
        this.memory[(address & ~0xff) | ((address + index) & 0xff)] &= byte;
      });
      this.busy(this.setup.page_ns);
    }
  }
  busy(ns) {
    this.enabled = false;
    this.busyUntil = this.clock.nanos + ns;
    this.count++;
  }
}

// A host on the board's USB port that reads whatever comes, and sends once the board listens.
export class UsbHost {
  asked = -1;
  waiting = [];
  constructor(mcu, cdc, onData, onConnected) {
    Object.assign(this, { mcu, cdc });
    this.alarm = mcu.clock.createAlarm(() => this.pump());
    mcu.usbCtrl.onEndpointRead = (endpoint, size) => {
      if (endpoint === 0 || endpoint !== cdc.outEndpoint) return;
      this.asked = size;
      this.pump();
    };
    cdc.onSerialData = onData;
    cdc.onDeviceConnected = onConnected;
  }
  pump() {
    if (this.asked < 0 || !this.waiting.length) return;
    const bytes = this.waiting.splice(0, this.asked);
    this.asked = -1;
    this.mcu.usbCtrl.endpointReadDone(this.cdc.outEndpoint, new Uint8Array(bytes));
  }
  send(bytes) {
    this.waiting.push(...bytes);
    this.alarm.schedule(1000);
  }
}

// The lock step: {"do": [...], "run": ns} -> {"ns", "busy_ns", "flash", "events"}, JSON, a line each way.
export class LockStep {
  stop = false;
  events = [];
  tell(...event) {
    this.events.push(event);
  }
  // Of what Python may have to answer at once.
  tellNow(...event) {
    this.tell(...event);
    this.stop = true;
  }
  // `chip` has ns, busyNs, flashCount, run(until) and actions, by name.
  serve(chip) {
    for (const line of lines()) {
      const { do: todo, run: until } = JSON.parse(line);
      this.events = [];
      for (const [name, ...values] of todo) chip.actions[name](...values);
      this.stop = false;
      if (until !== undefined && until > chip.ns) chip.run(until);
      const answer = { ns: chip.ns, busy_ns: chip.busyNs, flash: chip.flashCount, events: this.events };
      fs.writeSync(1, `${JSON.stringify(answer)}\n`);
    }
    process.exit(0);
  }
}

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
