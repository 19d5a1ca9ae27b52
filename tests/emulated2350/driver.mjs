// Drives rp2350js for tests/emulated2350/chip.py: an RP2350 with Arm cores, until a virtual time or until something
// comes out. Knows nothing of heartbeats. What the emulator lacks is modelled here or in tests/second/parts.mjs: UARTs,
// flash, what a watchdog resets, the GPIO coprocessor (coprocessor.mjs). Register numbers: RP2350 datasheet.
import fs from 'node:fs';
import { register } from 'node:module';
import path from 'node:path';
import { pathToFileURL } from 'node:url';
import { Flash, LockStep, Peripheral, Quiet, Store, Uart, UsbHost } from '../second/parts.mjs';

const setup = JSON.parse(fs.readFileSync(process.argv[2], 'utf8'));
const inside = (file) => pathToFileURL(path.join(setup.package, 'dist/esm', file)).href;
const theirs = inside('cortex-m33/coprocessor.js');
const ours = new URL(`./coprocessor.mjs?${new URLSearchParams({ theirs })}`, import.meta.url).href;
register('./coprocessor.mjs', import.meta.url, { data: { theirs, ours } });
const { RP2350, USBCDC } = await import(inside('index.js'));
await (await import(ours)).ready;

const step = new LockStep();
const BIT_NS = 1e9 / 115200;
const HANG_AT = 0x20080000;

// The flash behind the QMI in direct mode (12.14.5): what is queued goes out once that is enabled, a byte or two each; the
// chip select is driven by hand, or by itself for as long as there is something to send, and without it nobody hears.
const ENABLED = 1 << 0;
const SELECTED = 1 << 2;
const SELECTS = 1 << 6;
const TX_EMPTY = 1 << 11;
const RX_EMPTY = 1 << 16;
const RX_FULL = 1 << 17;
const TWO_BYTES = 1 << 18;
const NO_ANSWER = 1 << 20;
class Qmi extends Store {
  control = 0x01800000;
  queue = [];
  answers = [];
  constructor(flash) {
    super();
    this.flash = flash;
  }
  readUint32(offset) {
    if (offset === 0x00) {
      // Nothing is under way, so a chip select of its own is high again.
      if (this.control & SELECTS && !(this.control & SELECTED)) this.flash.end();
      const received = this.answers.length ? (this.answers.length < 4 ? 0 : RX_FULL) : RX_EMPTY;
      return (this.control | TX_EMPTY | received) >>> 0;
    }
    if (offset === 0x08) return this.answers.length ? this.answers.shift() : 0;
    return super.readUint32(offset);
  }
  writeUint32(offset, value) {
    if (offset === 0x00) {
      const ended = this.control & SELECTED && !(value & SELECTED);
      this.control = value & 0xffc000cd;
      if (ended) this.flash.end();
    } else if (offset === 0x04) {
      this.queue.push(value);
    } else {
      super.writeUint32(offset, value);
    }
    if (this.control & ENABLED) this.queue.splice(0).forEach((word) => this.send(word));
  }
  send(word) {
    const heard = this.control & (SELECTED | SELECTS);
    const shift = (byte) => (heard ? this.flash.shift(byte & 0xff) : 0);
    let answer = shift(word);
    if (word & TWO_BYTES) answer |= shift(word >> 8) << 8;
    if (!(word & NO_ANSWER)) this.answers.push(answer);
  }
}

// 9.11.2. All ones would be a request to stop, for the boot ROM; MicroPython waits for the chip select to be high (bit 9
// of its STATUS).
class QspiPins extends Store {
  readUint32(offset) {
    return offset === 0x18 ? 0x200 : super.readUint32(offset);
  }
}

// 8N1 on two pins: what the third line sends, and what is read from it.
class PinLine {
  coming = [];
  bit = 0;
  sampled = -1;
  constructor(mcu, receive, send, onByte) {
    this.input = mcu.gpio[receive];
    this.output = mcu.gpio[send];
    this.input.setInputValue(true);
    this.bitAlarm = mcu.clock.createAlarm(() => this.nextBit());
    this.sampleAlarm = mcu.clock.createAlarm(() => this.sample(onByte));
    this.output.addListener((level) => {
      if (this.sampled >= 0 || level !== 0) return;
      this.sampled = this.byte = 0;
      this.sampleAlarm.schedule(1.5 * BIT_NS);
    });
  }
  send(bytes) {
    const idle = !this.coming.length;
    this.coming.push(...bytes);
    if (idle && bytes.length) this.nextBit();
  }
  nextBit() {
    if (this.bit === 10) {
      this.coming.shift();
      this.bit = 0;
      if (!this.coming.length) return;
    }
    this.input.setInputValue(!!((((this.coming[0] << 1) | 0x200) >> this.bit) & 1));
    this.bit++;
    this.bitAlarm.schedule(BIT_NS);
  }
  sample(onByte) {
    const level = this.output.value === 0 ? 0 : 1;
    if (this.sampled < 8) {
      this.byte |= level << this.sampled++;
      this.sampleAlarm.schedule(BIT_NS);
      return;
    }
    this.sampled = -1;
    if (level) onByte(this.byte);
  }
}

// One life, from power-on or from a reset by the watchdog to the next. `before` is the life before.
class Life {
  cycles = 0;
  constructor(before) {
    const mcu = new RP2350({ coreArch: 'arm' });
    this.mcu = mcu;
    this.beganNs = before ? before.ns : 0;
    this.busyBeforeNs = before ? before.busyNs : 0;
    mcu.logger = new Quiet();
    mcu.clkSys = 1e9 / setup.cycle_ns;
    mcu.flash.set(before ? before.mcu.flash : fs.readFileSync(setup.flash));
    this.flash = new Flash(mcu, mcu.flash, setup);
    this.flash.count = before ? before.flash.count : 0;
    this.lines = setup.uarts.map(([key, interrupt], node) => {
      const uart = new Uart(mcu, interrupt, setup.peripheral_hz, this.heard(node));
      mcu.peripherals[key] = mcu.uart[node] = uart;
      return uart;
    });
    this.lines.push(new PinLine(mcu, ...setup.third, this.heard(2)));
    before?.lines.forEach((line, node) => this.lines[node].send(line.coming));
    mcu.peripherals[0x40030] = new QspiPins();
    mcu.peripherals[0x400d0] = new Qmi(this.flash);
    // 6.4: the timer says that it runs off the crystal, for which the SDK waits.
    const powman = mcu.peripherals[0x40100];
    const readPowman = powman.readUint32.bind(powman);
    powman.readUint32 = (offset) => readPowman(offset) | (offset === 0x88 ? 0x10000 : 0);
    this.watch(before);
    for (const gpio of setup.outputs) {
      mcu.gpio[gpio].addListener((level) => {
        if (this === life) step.tellNow('edge', this.ns, gpio, level <= 1 ? level : null);
      });
    }
    this.inputs = before ? before.inputs : new Map();
    this.inputs.forEach((level, gpio) => mcu.gpio[gpio].setInputValue(level));
    this.host = new UsbHost(
      mcu,
      new USBCDC(mcu.usbCtrl),
      (bytes) => step.tellNow('usb', this.ns, Buffer.from(bytes).toString('hex')),
      () => step.tellNow('connected', this.ns)
    );
  }
  heard(node) {
    return (byte) => step.tellNow('line', this.ns, node, byte);
  }
  // 12.9: counts microseconds (no erratum E1 of the RP2040), resets all but its scratch registers and its reason.
  watch(before) {
    const { watchdog } = this.mcu;
    watchdog.timer.frequency = 1e6;
    if (before) {
      watchdog.scratchData.set(before.mcu.watchdog.scratchData);
      watchdog.reason = before.mcu.watchdog.reason;
    }
    watchdog.onWatchdogTrigger = () => {
      this.over = true;
      step.tellNow('reset', this.ns, watchdog.reason);
    };
    const write = watchdog.writeUint32.bind(watchdog);
    watchdog.writeUint32 = (offset, value) => {
      if (offset === 0x04) step.tell('feed', this.ns, this.busyNs);
      if (!this.over) write(offset, value);
    };
  }
  get ns() {
    return this.beganNs + this.mcu.clock.nanos;
  }
  get busyNs() {
    return this.busyBeforeNs + this.cycles * setup.cycle_ns;
  }
  // The PIO's machines go on by so many cycles; those that wait for their divider only count.
  stepPio(cycles) {
    for (const pio of this.mcu.pio) {
      let moved = false;
      for (const machine of pio.machines) {
        if (!machine.enabled) continue;
        const phase = machine.curClockPhase + 256 * cycles;
        if (phase < machine.clockDiv) {
          machine.curClockPhase = phase;
          continue;
        }
        for (let cycle = 0; cycle < cycles; cycle++) machine.step();
        moved = true;
      }
      if (moved) pio.checkChangedPins();
    }
  }
  // How many cycles nothing can happen: until an alarm, or until a machine of the PIO moves.
  quietCycles() {
    let cycles = Math.max(1, Math.ceil(this.mcu.clock.nanosToNextAlarm / setup.cycle_ns));
    for (const pio of this.mcu.pio) {
      for (const machine of pio.machines) {
        if (!machine.enabled) continue;
        cycles = Math.min(cycles, Math.max(1, Math.ceil((machine.clockDiv - machine.curClockPhase) / 256)));
      }
    }
    return cycles;
  }
  // To a virtual time, or until Python has to answer; whether it is over.
  run(until) {
    const { mcu } = this;
    const [first, second] = mcu.core;
    const alarm = mcu.clock.createAlarm(() => {
      step.stop = true;
    });
    alarm.schedule(Math.max(0, until - this.ns));
    while (!step.stop && !this.over) {
      let taken;
      if (first.waiting) {
        taken = this.quietCycles();
      } else {
        mcu.currentCore = 0;
        taken = first.executeInstruction();
        this.cycles += taken;
      }
      if (second.waiting) {
        second.cycles = first.cycles;
      } else {
        mcu.currentCore = 1;
        while (second.cycles < first.cycles && !second.waiting) second.executeInstruction();
        mcu.currentCore = 0;
      }
      this.stepPio(taken);
      mcu.clock.tick(taken * setup.cycle_ns);
    }
    alarm.cancel();
  }
}

let life = new Life();
step.serve({
  get ns() {
    return life.ns;
  },
  get busyNs() {
    return life.busyNs;
  },
  get flashCount() {
    return life.flash.count;
  },
  run(until) {
    life.run(until);
    if (life.over) life = new Life(life);
  },
  actions: {
    line: (node, hex) => life.lines[node].send(Buffer.from(hex, 'hex')),
    input: (gpio, level) => {
      life.inputs.set(gpio, !!level);
      life.mcu.gpio[gpio].setInputValue(!!level);
    },
    usb: (hex) => life.host.send(Buffer.from(hex, 'hex')),
    hang: () => {
      const [core] = life.mcu.core;
      life.mcu.writeUint16(HANG_AT, 0xe7fe);
      core.regs.primask = 1;
      core.regs.pc = HANG_AT;
      core.regs.itState = 0;
    },
    save: (file) => fs.writeFileSync(file, life.mcu.flash.subarray(0, setup.flash_bytes)),
  },
});
