import type { Clock } from '../shared/base/clock.ts';
import { LOG_HEAD_INTERVAL } from '../shared/base/limits.ts';
import type { Log } from '../shared/base/log.ts';
import { goesOn, HeadFile } from '../shared/net/head-file.ts';
import type { Opened } from '../shared/net/receipts.ts';
import type { LogPoint } from '../shared/wire/messages.ts';

interface Options {
  /** The gateway's data directory. */
  readonly directory: string;
  /** Asks the provider, naming `point`, whether its log goes on from there; the answer comes to `shown`. */
  readonly ask: () => void;
  readonly clock: Clock;
  readonly log: Log;
}

/**
 * The newest head of the provider's log that is proven to go on from the one before: kept outside the provider's reach, also for devices that were replaced
 * meanwhile. Receipts show heads without a proof from this one, so the gateway asks for it: at every connect, and when it saw another head.
 */
export class LogHead {
  readonly #o: Options;
  readonly #file: HeadFile;
  #tail: Promise<unknown> = Promise.resolve();
  /** Monotonic instant before which it does not ask again. */
  #askAt = Number.NEGATIVE_INFINITY;

  private constructor(o: Options, file: HeadFile) {
    this.#o = o;
    this.#file = file;
  }

  static async open(o: Options): Promise<LogHead> {
    return new LogHead(o, await HeadFile.open(o.directory, o.log));
  }

  /** What the gateway names when it asks; undefined: none was shown yet. */
  get point(): LogPoint | undefined {
    return this.#file.point;
  }

  /** How many heads the provider's log did not go on from. */
  get contradictions(): number {
    return this.#file.aside;
  }

  /** Takes a head that the provider signed. @throws STORAGE_FAILED */
  shown(opened: Pick<Opened, 'head' | 'signed' | 'since'>): Promise<void> {
    const result = this.#tail.then(() => this.#shown(opened));
    this.#tail = result.catch(() => undefined);
    return result;
  }

  async #shown({ head, signed, since }: Pick<Opened, 'head' | 'signed' | 'since'>): Promise<void> {
    const kept = this.#file.point;
    if (kept === undefined) return this.#file.keep(head, signed);
    const isAnswer = since?.size === kept.size && since.root === kept.root;
    if (isAnswer && goesOn(kept, head, since.path)) {
      if (head.size > kept.size) await this.#file.keep(head, signed);
      return;
    }
    // Two logs of one length prove it by themselves. A shorter one may only be an older message, and a longer one brings no proof unless it was asked for.
    const isFork = head.size === kept.size && head.root !== kept.root;
    if (!isAnswer && !isFork) {
      if (head.size !== kept.size) this.#ask();
      return;
    }
    this.#o.log.error('log.rewritten', { kept, shown: { size: head.size, root: head.root } });
    await this.#file.setAside();
    // From here on the other log is watched: it may be rewritten once more.
    await this.#file.keep(head, signed);
  }

  #ask(): void {
    const now = this.#o.clock.monotonic();
    if (now < this.#askAt) return;
    this.#askAt = now + LOG_HEAD_INTERVAL;
    this.#o.ask();
  }
}
