import type { Log } from '../../shared/base/log.ts';
import { goesOn, HeadFile } from '../../shared/net/head-file.ts';
import type { LogPoint } from '../../shared/wire/messages.ts';
import type { OwnReceipt } from './receipt.ts';

/**
 * The newest head of the provider's log that this device was shown, as the provider signed it. Every statement names it, so that a provider which rewrites
 * its log has the contradiction on the log that it rewrote.
 */
export class KeptHead {
  readonly #file: HeadFile;
  readonly #log: Log;
  #tail: Promise<unknown> = Promise.resolve();

  private constructor(file: HeadFile, log: Log) {
    this.#file = file;
    this.#log = log;
  }

  static async open(directory: string, log: Log): Promise<KeptHead> {
    return new KeptHead(await HeadFile.open(directory, log), log);
  }

  /** What statements name; undefined: none was shown yet. */
  get point(): LogPoint | undefined {
    return this.#file.point;
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
    const kept = this.#file.point;
    if (kept === undefined) {
      await this.#file.keep(head, signed);
      return false;
    }
    // Proven is only what comes after the head that the statement named. When others were shown since, a later statement will ask from there.
    if (named?.size !== kept.size || named.root !== kept.root) return false;
    if (proof.since?.size === kept.size && goesOn(kept, head, proof.since.path)) {
      if (head.size > kept.size) await this.#file.keep(head, signed);
      return false;
    }
    const isTestified = receipt.outcome === 'recorded';
    this.#log.error('log.rewritten', { kept, shown: { size: head.size, root: head.root }, entry: receipt.entry?.sequence, testified: isTestified });
    if (!isTestified) return false;
    await this.#file.setAside();
    await this.#file.keep(head, signed);
    return true;
  }
}
