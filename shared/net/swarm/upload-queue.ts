import { MAX_ASKS } from '../../base/limits.ts';

/** A chunk that a receiver is to be sent. */
export interface Upload<P> {
  readonly to: P;
  /** The manifest's hash. */
  readonly manifest: string;
  readonly index: number;
  readonly bytes: number;
}

/** Receivers and asks of each that are looked at for one choice. */
const RECEIVERS_SEEN = 32;
const ASKS_SEEN = 16;

/**
 * Which ask is answered next: receivers take turns, and what was passed on least goes first, since its receiver can pass it on in turn. Pure.
 */
export class UploadQueue<P> {
  readonly #asks = new Map<P, Upload<P>[]>();
  /** How often each chunk was taken. */
  readonly #served = new Map<string, Map<number, number>>();
  #bytes = 0;

  /** Bytes asked for and not taken. */
  get bytes(): number {
    return this.#bytes;
  }

  /** @returns false when this receiver has too many asks waiting */
  ask(upload: Upload<P>): boolean {
    const asks = this.#asks.get(upload.to);
    if (asks === undefined) this.#asks.set(upload.to, [upload]);
    else if (asks.length >= MAX_ASKS) return false;
    else asks.push(upload);
    this.#bytes += upload.bytes;
    return true;
  }

  cancel(to: P, manifest: string, index: number): void {
    const asks = this.#asks.get(to) ?? [];
    const at = asks.findIndex((ask) => ask.manifest === manifest && ask.index === index);
    if (at >= 0) this.#remove(to, asks, at);
  }

  /** The receiver is gone, or leaves this manifest. */
  drop(to: P, manifest?: string): void {
    const asks = this.#asks.get(to) ?? [];
    for (let at = asks.length - 1; at >= 0; at--) if (manifest === undefined || asks[at]?.manifest === manifest) this.#remove(to, asks, at);
    if (asks.length === 0) this.#asks.delete(to);
  }

  /** Nobody is interested in this manifest any more. */
  forget(manifest: string): void {
    this.#served.delete(manifest);
  }

  /** Takes the next one; `may`: whom something can be sent to now. */
  next(may: (to: P) => boolean): Upload<P> | undefined {
    let best: { readonly asks: Upload<P>[]; readonly at: number; readonly served: number } | undefined;
    let seen = 0;
    for (const [to, asks] of this.#asks) {
      if (asks.length === 0 || !may(to)) continue;
      for (let at = 0; at < Math.min(asks.length, ASKS_SEEN); at++) {
        const served = this.#servedOf(asks[at]);
        if (best === undefined || served < best.served) best = { asks, at, served };
      }
      seen += 1;
      if (seen >= RECEIVERS_SEEN || best?.served === 0) break;
    }
    const found = best?.asks[best.at];
    if (best === undefined || found === undefined) return undefined;
    this.#remove(found.to, best.asks, best.at);
    // To the end of the row.
    this.#asks.delete(found.to);
    if (best.asks.length > 0) this.#asks.set(found.to, best.asks);
    const counts = this.#served.get(found.manifest) ?? new Map<number, number>();
    this.#served.set(found.manifest, counts.set(found.index, best.served + 1));
    return found;
  }

  #servedOf(upload: Upload<P> | undefined): number {
    return upload === undefined ? Number.POSITIVE_INFINITY : (this.#served.get(upload.manifest)?.get(upload.index) ?? 0);
  }

  #remove(to: P, asks: Upload<P>[], at: number): void {
    const [gone] = asks.splice(at, 1);
    this.#bytes -= gone?.bytes ?? 0;
    if (asks.length === 0) this.#asks.delete(to);
  }
}
