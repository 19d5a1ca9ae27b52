// The RP2350's GPIO coprocessor (datasheet 3.6.1), which rp2350js decodes otherwise, in the place of its own module:
// the same file is the hook that puts it there and, with a query, the module itself.
let places;

export function initialize(data) {
  places = data;
}

export async function resolve(specifier, context, next) {
  const found = await next(specifier, context);
  const replaced = found.url === places.theirs && context.parentURL !== places.ours;
  return replaced ? { ...found, url: places.ours, format: 'module', shortCircuit: true } : found;
}

const original = new URL(import.meta.url).searchParams.get('theirs');
// Their modules import each other in a circle, so this one waits for none; who runs the chip waits for `ready`.
let theirs;
export const ready =
  original &&
  import(original).then((module) => {
    theirs = module;
  });

// Offsets in SIO (3.1.11); from a value's on: set, clear and toggle it, the upper pins each 4 behind.
const REGISTERS = { 0: 0x10, 4: 0x30 };
const INPUTS = 0x04;
const UPPER = 4;
const KINDS = [0x00, 0x18, 0x08, 0x10]; // put, toggle, set, clear
const BY_PIN = 1;
const BY_INDEX = 2;

function read(core, hw0, hw1, pair) {
  const { sio } = core.chip;
  const what = hw1 & 0xe;
  const base = what === 8 ? INPUTS : REGISTERS[what];
  const lower = sio.readUint32(base, core.coreIndex) >>> 0;
  const upper = sio.readUint32(base + UPPER, core.coreIndex) >>> 0;
  core.regs.r[hw1 >>> 12] = !pair && hw1 & 1 ? upper : lower;
  if (pair) core.regs.r[hw0 & 15] = upper;
}

function write(core, hw0, hw1, pair) {
  const operation = pair ? (hw1 >>> 4) & 15 : (hw0 >>> 5) & 7;
  const base = REGISTERS[hw1 & 0xe];
  if (base === undefined) return;
  const put = (value, upper, kind) => {
    const offset = base + KINDS[kind] + (upper ? UPPER : 0);
    core.chip.sio.writeUint32(offset, value >>> 0, core.coreIndex);
  };
  const kind = operation & 3;
  const one = core.regs.r[hw1 >>> 12] >>> 0;
  const two = pair ? core.regs.r[hw0 & 15] >>> 0 : 1;
  if (operation >> 2 === BY_PIN) {
    const mask = 1 << (one & 31);
    if (kind === 0) put(mask, one > 31, two & 1 ? 2 : 3);
    else if (two & 1) put(mask, one > 31, kind);
  } else if (operation >> 2 === BY_INDEX) {
    put(one, two & 1, kind);
  } else if (pair) {
    put(one, false, kind);
    put(two, true, kind);
  } else {
    put(one, hw1 & 1, kind);
  }
}

export function coprocessorExecute(core, hw0, hw1) {
  const here = ((hw1 >>> 8) & 15) === 0 && (core.ppb().cpacr & 3) !== 0;
  const pair = (hw0 & 0x0fe0) === 0x0c40;
  const single = (hw0 & 0x0f00) === 0x0e00 && hw1 & 0x10;
  if (!here || !(pair || single)) return theirs.coprocessorExecute(core, hw0, hw1);
  (hw0 & 0x10 ? read : write)(core, hw0, hw1, pair);
  return 1;
}
