import { readFile } from 'node:fs/promises';
import { join } from 'node:path';
import { systemCode } from '../../shared/base/errors.ts';
import type { Log } from '../../shared/base/log.ts';
import { isExtension, readPath } from '../../shared/bundle/merkle.ts';
import { writeDurably } from '../../shared/store/durable-file.ts';
import { type LogPoint, Signed, TreeHead } from '../../shared/wire/messages.ts';
import type { OwnReceipt } from './receipt.ts';

const FILE = 'log-head.json';

/**
 * The newest head of the provider's log that this device was shown, as the provider signed it, in a file that `wardcast audit verify` takes. Every
 * statement names it, so that a provider which rewrites its log has the contradiction on the log that it rewrote.
 */
export class KeptHead {
  readonly #directory: string;
  readonly #log: Log;
  #head: LogPoint | undefined;
  #tail: Promise<unknown> = Promise.resolve();

  private constructor(directory: string, log: Log, head: LogPoint | undefined) {
    this.#directory = directory;
    this.#log = log;
    this.#head = head;
  }

  /** A file that cannot be read counts as none: the next receipt writes it anew, and nothing else depends on it. */
  static async open(directory: string, log: Log): Promise<KeptHead> {
    try {
      const { payload } = Signed.parse(JSON.parse(await readFile(join(directory, FILE), 'utf8')));
      const { size, root } = TreeHead.parse(JSON.parse(Buffer.from(payload, 'base64').toString('utf8')));
      return new KeptHead(directory, log, { size, root });
    } catch (error) {
      if (systemCode(error) !== 'ENOENT') log.warn('log.head-lost', { error });
      return new KeptHead(directory, log, undefined);
    }
  }

  /** What statements name; undefined: none was shown yet. */
  get point(): LogPoint | undefined {
    return this.#head;
  }

  /**
   * Takes the head that came with the receipt of a statement which named `named`. One that contradicts the head that is kept is taken only with the proof
   * that the statement, which names the old one, is on the log that contradicts it; the old one is kept beside it as evidence. True: that happened now.
   * @throws STORAGE_FAILED
   */
  shown(own: OwnReceipt, named: LogPoint | undefined): Promise<boolean> {
    const result = this.#tail.then(() => this.#shown(own, named));
    this.#tail = result.catch(() => undefined);
    return result;
  }

  async #shown({ head, signed, proof, receipt }: OwnReceipt, named: LogPoint | undefined): Promise<boolean> {
    const kept = this.#head;
    if (kept === undefined) {
      await this.#keep(head, signed);
      return false;
    }
    // Proven is only what comes after the head that the statement named. When others were shown since, a later statement will ask from there.
    if (named?.size !== kept.size || named.root !== kept.root) return false;
    const path = proof.since?.size === kept.size ? readPath(proof.since.path) : undefined;
    if (path !== undefined && isExtension(bytes(kept), bytes(head), path)) {
      if (head.size > kept.size) await this.#keep(head, signed);
      return false;
    }
    const isTestified = receipt.outcome === 'recorded';
    this.#log.error('log.rewritten', { kept, shown: { size: head.size, root: head.root }, entry: receipt.entry?.sequence, testified: isTestified });
    if (!isTestified) return false;
    await writeDurably(join(this.#directory, `log-head-contradicted-${kept.size}.json`), await readFile(join(this.#directory, FILE)));
    await this.#keep(head, signed);
    return true;
  }

  async #keep({ size, root }: LogPoint, signed: Signed): Promise<void> {
    await writeDurably(join(this.#directory, FILE), JSON.stringify(signed));
    this.#head = { size, root };
  }
}

function bytes({ size, root }: LogPoint): { size: number; root: Buffer } {
  return { size, root: Buffer.from(root, 'hex') };
}
