import { readdir, readFile } from 'node:fs/promises';
import { join } from 'node:path';
import { systemCode } from '../base/errors.ts';
import { MAX_HEADS_ASIDE } from '../base/limits.ts';
import type { Log } from '../base/log.ts';
import { isExtension, readPath } from '../bundle/merkle.ts';
import { writeDurably } from '../store/durable-file.ts';
import { type LogPoint, Signed, TreeHead } from '../wire/messages.ts';

const FILE = 'log-head.json';
const ASIDE = 'log-head-contradicted-';

/** One signed head of the provider's log, in a file that `wardcast audit verify` takes; and beside it those that a later log contradicted. */
export class HeadFile {
  readonly #directory: string;
  #point: LogPoint | undefined;
  readonly #aside: Set<string>;

  private constructor(directory: string, point: LogPoint | undefined, aside: Set<string>) {
    this.#directory = directory;
    this.#point = point;
    this.#aside = aside;
  }

  /** A file that cannot be read counts as none: the next head that is shown takes its place, and nothing else depends on it. */
  static async open(directory: string, log: Log): Promise<HeadFile> {
    const names = await readdir(directory).catch(() => []);
    const aside = new Set(names.filter((name) => name.startsWith(ASIDE) && name.endsWith('.json')));
    try {
      const { payload } = Signed.parse(JSON.parse(await readFile(join(directory, FILE), 'utf8')));
      const { size, root } = TreeHead.parse(JSON.parse(Buffer.from(payload, 'base64').toString('utf8')));
      return new HeadFile(directory, { size, root }, aside);
    } catch (error) {
      if (systemCode(error) !== 'ENOENT') log.warn('log.head-lost', { error });
      return new HeadFile(directory, undefined, aside);
    }
  }

  /** Undefined: none was shown yet. */
  get point(): LogPoint | undefined {
    return this.#point;
  }

  /** Heads that stand aside as evidence. */
  get aside(): number {
    return this.#aside.size;
  }

  /** @throws STORAGE_FAILED */
  async keep({ size, root }: LogPoint, signed: Signed): Promise<void> {
    await writeDurably(join(this.#directory, FILE), JSON.stringify(signed));
    this.#point = { size, root };
  }

  /** Copies the head beside itself before another log's takes its place. The first ones are the evidence: there are only so many. @throws STORAGE_FAILED */
  async setAside(): Promise<void> {
    if (this.#point === undefined) return;
    const name = `${ASIDE}${this.#point.size}-${this.#point.root.slice(0, 16)}.json`;
    if (this.#aside.size >= MAX_HEADS_ASIDE && !this.#aside.has(name)) return;
    await writeDurably(join(this.#directory, name), await readFile(join(this.#directory, FILE)));
    this.#aside.add(name);
  }
}

/** Whether `path` (base64, as `Since` brings it) proves that the log that ends at `newer` begins with the one that ended at `older`. */
export function goesOn(older: LogPoint, newer: LogPoint, path: string | undefined): boolean {
  const steps = path === undefined ? undefined : readPath(path);
  return steps !== undefined && isExtension(bytes(older), bytes(newer), steps);
}

function bytes({ size, root }: LogPoint): { size: number; root: Buffer } {
  return { size, root: Buffer.from(root, 'hex') };
}
