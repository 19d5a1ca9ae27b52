// Drives another emulator's RP2040 for tests/second/chip.py: runs it until a virtual time or until something comes out.
// Knows nothing of heartbeats. Register numbers: RP2040 datasheet.
import fs from 'node:fs';
import path from 'node:path';
import { pathToFileURL } from 'node:url';
import { Flash, LockStep, Peripheral, Quiet, Store, Uart, UsbHost } from './parts.mjs';

const setup = JSON.parse(fs.readFileSync(process.argv[2], 'utf8'));
const { RP2040, USBCDC } = await import(pathToFileURL(path.join(setup.package, 'dist/esm/index.js')).href);

const mcu = new RP2040();
const { clock } = mcu;
mcu.logger = new Quiet();
mcu.loadBootrom(new Uint32Array(setup.bootrom));
mcu.flash.set(fs.readFileSync(setup.flash));

const step = new LockStep();
let cycles = 0;

// The flash behind the SSI (4.10). A command ends when the chip select is forced high, or where nobody forces it, when
// all that came back has been read.
class FlashSsi extends Peripheral {
  registers = new Map();
  answers = [];
  forced = false;
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
    if (!this.forced && !this.answers.length) flash.end();
    this.answers.push(flash.shift(value & 0xff));
  }
  select(low) {
    if (!low && this.forced) flash.end();
    this.forced = low;
    this.answers = low ? [] : this.answers;
  }
}

// 2.19.6.2: of the flash's pins only the override of the chip select matters, bits 9:8 of its CTRL: 2 low, 3 high.
class QspiPins extends Store {
  writeUint32(offset, value) {
    super.writeUint32(offset, value);
    if (offset === 0x0c) ssi.select(((value >> 8) & 3) === 2);
  }
}

const flash = new Flash(mcu, mcu.flash, setup);
const ssi = new FlashSsi();
const uarts = setup.uarts.map(([key, interrupt], node) => {
  const onByte = (byte) => step.tellNow('line', clock.nanos, node, byte);
  const uart = new Uart(mcu, interrupt, setup.peripheral_hz, onByte);
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
watchdog.onWatchdogTrigger = () => step.tellNow('reset', clock.nanos, watchdog.reason);
const writeWatchdog = watchdog.writeUint32.bind(watchdog);
watchdog.writeUint32 = (offset, value) => {
  if (offset === 0x04) step.tell('feed', clock.nanos, cycles * setup.cycle_ns);
  writeWatchdog(offset, value);
};
for (const gpio of setup.outputs) {
  // A pad that is driven reads as driven (2.19.1); the emulator reads what is outside.
  mcu.gpio[gpio].addListener((level) => mcu.gpio[gpio].setInputValue(level === 1));
  mcu.gpio[gpio].addListener((level) => step.tellNow('edge', clock.nanos, gpio, level <= 1 ? level : null));
}
const host = new UsbHost(
  mcu,
  new USBCDC(mcu.usbCtrl),
  (bytes) => step.tellNow('usb', clock.nanos, Buffer.from(bytes).toString('hex')),
  () => step.tellNow('connected', clock.nanos)
);

const chip = {
  get ns() {
    return clock.nanos;
  },
  get busyNs() {
    return cycles * setup.cycle_ns;
  },
  get flashCount() {
    return flash.count;
  },
  run(until) {
    const alarm = clock.createAlarm(() => {
      step.stop = true;
    });
    alarm.schedule(Math.max(0, until - clock.nanos));
    const { core } = mcu;
    while (!step.stop) {
      if (core.waiting) {
        clock.tick(clock.nanosToNextAlarm);
      } else {
        const taken = core.executeInstruction();
        cycles += taken;
        clock.tick(taken * setup.cycle_ns);
      }
    }
    alarm.cancel();
  },
  actions: {
    line: (node, hex) => uarts[node].send(Buffer.from(hex, 'hex')),
    input: (gpio, level) => mcu.gpio[gpio].setInputValue(!!level),
    usb: (hex) => host.send(Buffer.from(hex, 'hex')),
    save: (file) => fs.writeFileSync(file, mcu.flash.subarray(0, setup.flash_bytes)),
  },
};
mcu.core.PC = 0x10000000;
step.serve(chip);
