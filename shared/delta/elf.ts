/** Where the parts of a program lie in its file and in memory: what its program headers say (System V ABI, "Program Header"). */
export interface Layout {
  readonly machine: 'x86-64' | 'arm64';
  readonly segments: readonly Segment[];
  /** The binary search table of the unwinder, whose entries are relative to its start: `offset`, `size`, `address`. */
  readonly unwindTable: Segment | undefined;
}

export interface Segment {
  readonly offset: number;
  /** Bytes in the file. */
  readonly size: number;
  readonly address: number;
  /** Bytes in memory. */
  readonly memory: number;
  readonly executable: boolean;
}

/** Bytes at the start of a file that hold all we look at. */
export const HEADER_BYTES = 4096;
const MAX_SEGMENTS = 32;
const LOAD = 1;
const GNU_EH_FRAME = 0x6474e550;
/** Addresses and offsets beyond stay out of the arithmetic: no program is so large. */
const LARGEST = 2 ** 48;

/** The layout of a 64-bit little-endian ELF program or library, from its first HEADER_BYTES; undefined when it is none. Never throws. */
export function parseLayout(bytes: Uint8Array): Layout | undefined {
  const view = new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength);
  if (bytes.length < 64 || view.getUint32(0) !== 0x7f454c46 || view.getUint16(4) !== 0x0201) return undefined;
  const machine = view.getUint16(18, true);
  if (machine !== 62 && machine !== 183) return undefined;
  const start = number(view, 32);
  const count = view.getUint16(56, true);
  if (view.getUint16(54, true) !== 56 || count === 0 || start + 56 * count > bytes.length) return undefined;
  const segments: Segment[] = [];
  let unwindTable: Segment | undefined;
  for (let at = start; at < start + 56 * count; at += 56) {
    const type = view.getUint32(at, true);
    const segment = {
      offset: number(view, at + 8),
      size: number(view, at + 32),
      address: number(view, at + 16),
      memory: number(view, at + 40),
      executable: (view.getUint32(at + 4, true) & 1) === 1,
    };
    if (segment.offset > LARGEST || segment.size > LARGEST || segment.address > LARGEST || segment.memory > LARGEST) return undefined;
    if (type === LOAD) segments.push(segment);
    if (type === GNU_EH_FRAME) unwindTable = segment;
  }
  if (segments.length === 0 || segments.length > MAX_SEGMENTS) return undefined;
  return { machine: machine === 62 ? 'x86-64' : 'arm64', segments, unwindTable };
}

function number(view: DataView, at: number): number {
  return view.getUint32(at, true) + view.getUint32(at + 4, true) * 2 ** 32;
}
