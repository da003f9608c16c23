import type { Clock } from '../../shared/base/clock.ts';
import { toWardcastError } from '../../shared/base/errors.ts';
import { STATEMENT_RESEND, STATEMENTS_IN_FLIGHT } from '../../shared/base/limits.ts';
import type { Log } from '../../shared/base/log.ts';
import type { Outbox } from '../../shared/store/outbox.ts';

interface Options {
  readonly outbox: Outbox;
  /** Publishes upward; resolves when the other side acknowledged, which is no receipt. @throws CONNECTION_LOST */
  readonly send: (bytes: Buffer) => Promise<void>;
  /** Whether what is stored would not be believed any more. */
  readonly outdated: (stored: Buffer) => boolean;
  readonly clock: Clock;
  readonly log: Log;
}

/**
 * Carries device statements up the line: durable before anybody is told so, in order, again at every connect and whenever a receipt
 * stays away. Only a receipt removes one.
 */
export class Forwarder {
  readonly #o: Options;
  readonly #closing = new AbortController();
  #up = false;
  /** Counts connects: what was sent over an older connection is sent again. */
  #session = 0;
  /** Position of the last entry sent over this connection. */
  #after: number | undefined;
  #running: Promise<void> | undefined;
  #again = false;

  constructor(options: Options) {
    this.#o = options;
  }

  get waiting(): number {
    return this.#o.outbox.size;
  }

  /** Returns when the statement, of which it is proven who signed it, survives a power cut. @throws BUSY when the outbox is full, STORAGE_FAILED */
  async put(key: string, bytes: Buffer): Promise<void> {
    const known = this.#o.outbox.has(key);
    await this.#o.outbox.put(key, bytes);
    if (known) await this.#renew(key, bytes);
    // Said again by the device: it has no receipt yet, so ours may be lost as well.
    if (known && this.#up) this.#after = undefined;
    this.#wake();
  }

  /** The same words under a certificate of today take the place of those that were stored under one that has expired since. */
  async #renew(key: string, bytes: Buffer): Promise<void> {
    const { outbox, outdated, log } = this.#o;
    const stored = await outbox.get(key);
    if (stored === undefined || stored.equals(bytes) || !outdated(stored)) return;
    await outbox.replace(key, bytes);
    log.info('outbox.renewed', { statement: key });
  }

  /** The provider's receipt is here. @throws STORAGE_FAILED */
  async received(key: string): Promise<void> {
    await this.#o.outbox.delete(key);
  }

  lineUp(): void {
    this.#up = true;
    this.#session += 1;
    this.#after = undefined;
    this.#wake();
  }

  lineDown(): void {
    this.#up = false;
  }

  /** Sends again what got no receipt, as long as the line is up. Ends with `close`. */
  async run(): Promise<void> {
    while (!this.#closing.signal.aborted) {
      await this.#o.clock.sleep(STATEMENT_RESEND, { signal: this.#closing.signal }).catch(() => undefined);
      if (this.#closing.signal.aborted || !this.#up || this.#o.outbox.size === 0) continue;
      this.#o.log.info('outbox.sending-again', { waiting: this.#o.outbox.size });
      this.#after = undefined;
      this.#wake();
    }
  }

  async close(): Promise<void> {
    this.#closing.abort();
    await this.#running;
  }

  #wake(): void {
    this.#again = true;
    this.#running ??= this.#drain().finally(() => {
      this.#running = undefined;
    });
  }

  async #drain(): Promise<void> {
    while (this.#again && this.#up && !this.#closing.signal.aborted) {
      this.#again = false;
      const session = this.#session;
      const start = this.#after;
      try {
        const entries = await this.#o.outbox.list(STATEMENTS_IN_FLIGHT, start === undefined ? {} : { after: start });
        await Promise.all(entries.map(({ value }) => this.#o.send(value)));
        // Reset meanwhile (a new connection, something said again): begin at the oldest.
        if (session !== this.#session || this.#after !== start) {
          this.#again = true;
          continue;
        }
        this.#after = entries.at(-1)?.position ?? start;
        if (entries.length > 0) this.#again = true;
      } catch (error) {
        const failure = toWardcastError(error);
        // The connection broke: the next connect sends all again. Anything else is tried again with the next round.
        if (failure.code !== 'CONNECTION_LOST' && failure.code !== 'ABORTED') this.#o.log.error('outbox.send-failed', { error: failure });
        if (session === this.#session) return;
      }
    }
  }
}
