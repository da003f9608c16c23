import type { Clock } from '../../base/clock.ts';
import { UPLOAD_ALLOWANCE, UPLOAD_BYTES, UPLOAD_MIN, UPLOAD_STALL, UPLOAD_UNSENT } from '../../base/limits.ts';
import type { Log } from '../../base/log.ts';
import { TokenBucket } from '../../base/token-bucket.ts';
import type { Channel } from './channel.ts';
import type { Upload } from './upload-queue.ts';
import { Window } from './window.ts';

export interface UploadsOptions {
  /** The next chunk to be sent to one of those that may be sent to; undefined: nothing is to be sent now. */
  readonly next: (may: (to: Channel) => boolean) => Upload<Channel> | undefined;
  /** The chunk, verified; undefined: it is not here, or not for this receiver. */
  readonly read: (upload: Upload<Channel>) => Promise<Buffer | undefined>;
  /** Told when a chunk went into the socket. */
  readonly sent?: (upload: Upload<Channel>) => void;
  /** Bytes per second that may leave; Infinity: no limit. */
  readonly rate: () => number;
  readonly clock: Clock;
  readonly log: Log;
}

interface Outgoing {
  readonly upload: Upload<Channel>;
  /** Took too long to be acknowledged; no longer counted, but its receiver gets nothing more until it acknowledges. */
  stalled: boolean;
}

/**
 * Sends chunks: as many at once as the way out carries without queueing, one after the other rather than all together, so that the first is whole
 * and can be passed on soon. Receivers acknowledge what they have (`got`), which is all the flow control there is.
 */
export class Uploads {
  readonly #o: UploadsOptions;
  readonly #window = new Window<Outgoing>({ minimum: UPLOAD_MIN, maximum: UPLOAD_BYTES, allowance: UPLOAD_ALLOWANCE });
  readonly #outgoing = new Map<Channel, Map<string, Outgoing>>();
  readonly #bucket: TokenBucket;
  readonly #closing = new AbortController();
  #waiting = false;

  constructor(options: UploadsOptions) {
    this.#o = options;
    this.#bucket = new TokenBucket({ rate: options.rate, burst: UPLOAD_UNSENT, now: options.clock.monotonic() });
  }

  /** Bytes per second that arrive at receivers; 0 until some did. */
  get rate(): number {
    return Math.min(this.#window.rate, this.#o.rate());
  }

  /** Sends what may be sent now: after every ask, and whenever something changed. */
  pump(): void {
    const now = this.#o.clock.monotonic();
    this.#passOverStalled(now);
    while (!this.#waiting && !this.#closing.signal.aborted && this.#window.admits(1)) {
      const upload = this.#o.next((to) => this.#may(to));
      if (upload === undefined) return;
      const outgoing: Outgoing = { upload, stalled: false };
      this.#window.start(outgoing, upload.bytes, now);
      const mine = this.#outgoing.get(upload.to) ?? new Map<string, Outgoing>();
      this.#outgoing.set(upload.to, mine.set(keyOf(upload.manifest, upload.index), outgoing));
      const wait = this.#bucket.take(upload.bytes, now);
      if (wait > 0) {
        this.#waiting = true;
        void this.#sendLater(outgoing, wait);
      } else void this.#send(outgoing);
    }
  }

  /** The receiver has the chunk, or does not want it any more. */
  done(from: Channel, manifest: string, index: number, arrived: boolean): void {
    const mine = this.#outgoing.get(from);
    const outgoing = mine?.get(keyOf(manifest, index));
    if (mine === undefined || outgoing === undefined) return;
    mine.delete(keyOf(manifest, index));
    if (mine.size === 0) this.#outgoing.delete(from);
    if (arrived) this.#window.arrived(outgoing, this.#o.clock.monotonic());
    else this.#window.end(outgoing);
    this.pump();
  }

  drop(channel: Channel): void {
    for (const outgoing of this.#outgoing.get(channel)?.values() ?? []) this.#window.end(outgoing);
    this.#outgoing.delete(channel);
    this.pump();
  }

  close(): void {
    this.#closing.abort();
    this.#outgoing.clear();
  }

  #may(to: Channel): boolean {
    if (to.closed || to.unsent > UPLOAD_UNSENT) return false;
    for (const { stalled } of this.#outgoing.get(to)?.values() ?? []) if (stalled) return false;
    return true;
  }

  #passOverStalled(now: number): void {
    const patience = Math.max(UPLOAD_STALL, 4 * this.#window.latency);
    for (const outgoing of this.#window.keys()) {
      // In the order they set out: the first that is young enough ends it.
      if (now - (this.#window.since(outgoing) ?? now) < patience) return;
      outgoing.stalled = true;
      this.#window.end(outgoing);
    }
  }

  async #sendLater(outgoing: Outgoing, wait: number): Promise<void> {
    const { clock, log } = this.#o;
    const { signal } = this.#closing;
    try {
      for (let left = wait; left > 0; left = this.#bucket.take(outgoing.upload.bytes, clock.monotonic())) await clock.sleep(left, { signal });
    } catch (error) {
      if (!signal.aborted) log.error('upload.wait-failed', { error });
      return;
    } finally {
      this.#waiting = false;
    }
    await this.#send(outgoing);
    this.pump();
  }

  async #send(outgoing: Outgoing): Promise<void> {
    const { upload } = outgoing;
    const { to, manifest, index } = upload;
    let bytes: Buffer | undefined;
    try {
      bytes = await this.#o.read(upload);
    } catch (error) {
      this.#o.log.warn('upload.unreadable', { manifest, index, error });
    }
    // Gone, cancelled or closed meanwhile.
    if (this.#closing.signal.aborted || to.closed || this.#outgoing.get(to)?.get(keyOf(manifest, index)) !== outgoing) return;
    if (bytes === undefined) {
      to.absent(manifest, index, 'absent');
      this.done(to, manifest, index, false);
      return;
    }
    to.chunk(manifest, index, bytes);
    this.#o.sent?.(upload);
  }
}

function keyOf(manifest: string, index: number): string {
  return `${manifest}/${index}`;
}
