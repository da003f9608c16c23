import { WardcastError } from '../../base/errors.ts';
import type { Identity } from '../../base/identity.ts';
import { MAX_WIRE_TRANSFERS } from '../../base/limits.ts';
import type { Bitfield } from './bitfield.ts';
import type { Wire } from './wire.ts';

/** What one side says of itself about a transfer. */
export interface Part {
  /** Not complete yet: it wants what others get. */
  readonly fetching: boolean;
  /** It passes chunks on. */
  readonly uploads: boolean;
  readonly have: Bitfield;
}

/** What is heard, by manifest; only of transfers that the other side spoke of, with indexes that exist. */
export interface ChannelListener {
  onJoin(channel: Channel, manifest: string, part: Part): void;
  onHave(channel: Channel, manifest: string, indexes: readonly number[]): void;
  onAsk(channel: Channel, manifest: string, indexes: readonly number[]): void;
  onAny(channel: Channel, manifest: string, count: number): void;
  onChunk(channel: Channel, manifest: string, index: number, bytes: Buffer): void;
  onAbsent(channel: Channel, manifest: string, index: number, reason: 'absent' | 'busy'): void;
  onCancel(channel: Channel, manifest: string, indexes: readonly number[]): void;
  onGot(channel: Channel, manifest: string, index: number): void;
  onLeave(channel: Channel, manifest: string): void;
  /** Does the other side still have to be told of this chunk? It may have got it elsewhere since. */
  lacks?(channel: Channel, manifest: string, index: number): boolean;
  onClosed(channel: Channel, error: WardcastError): void;
}

interface Theirs {
  readonly manifest: string;
  readonly count: number;
}

/** One wire as its owner sees it: transfers by their manifest, where the wire has each side's own numbers; haves may wait to travel together. */
export class Channel {
  readonly #wire: Wire;
  readonly #mine = new Map<string, number>();
  readonly #theirs = new Map<number, Theirs>();
  readonly #haves = new Map<string, number[]>();
  #next = 0;
  #lacks: (manifest: string, index: number) => boolean = () => true;

  constructor(wire: Wire) {
    this.#wire = wire;
  }

  get identity(): Identity {
    return this.#wire.identity;
  }

  get address(): string {
    return this.#wire.address;
  }

  get closed(): boolean {
    return this.#wire.closed;
  }

  get unsent(): number {
    return this.#wire.unsent;
  }

  /** Did we speak of it? */
  joined(manifest: string): boolean {
    return this.#mine.has(manifest);
  }

  /** The manifests that we spoke of, the first one first. */
  get spoken(): readonly string[] {
    return [...this.#mine.keys()];
  }

  join(manifest: string, { fetching, uploads, have }: Part): void {
    let number = this.#mine.get(manifest);
    if (number === undefined) {
      if (this.#mine.size >= MAX_WIRE_TRANSFERS) throw new WardcastError('BUSY', `${this.address} is spoken to of too many transfers already`);
      do this.#next = (this.#next + 1) % 0x10000;
      while ([...this.#mine.values()].includes(this.#next));
      number = this.#next;
      this.#mine.set(manifest, number);
    }
    this.#haves.delete(manifest);
    this.#wire.join(number, manifest, { fetching, uploads }, have);
  }

  leave(manifest: string): void {
    this.#say(manifest, (number) => this.#wire.leave(number));
    this.#mine.delete(manifest);
    this.#haves.delete(manifest);
  }

  /** Told with whatever is said next, or with flush(). */
  haveLater(manifest: string, index: number): void {
    const waiting = this.#haves.get(manifest);
    if (waiting === undefined) this.#haves.set(manifest, [index]);
    else waiting.push(index);
  }

  /** Says what waited. */
  flush(): void {
    for (const [manifest, indexes] of this.#haves) {
      const number = this.#mine.get(manifest);
      const news = indexes.filter((index) => this.#lacks(manifest, index));
      if (number !== undefined && !this.closed && news.length > 0) this.#wire.have(number, news);
    }
    this.#haves.clear();
  }

  have(manifest: string, indexes: readonly number[]): void {
    this.#say(manifest, (number) => this.#wire.have(number, indexes));
  }

  ask(manifest: string, indexes: readonly number[]): void {
    this.#say(manifest, (number) => this.#wire.ask(number, indexes));
  }

  any(manifest: string, count: number): void {
    this.#say(manifest, (number) => this.#wire.any(number, count));
  }

  chunk(manifest: string, index: number, bytes: Buffer): void {
    this.#say(manifest, (number) => this.#wire.chunk(number, index, bytes));
  }

  absent(manifest: string, index: number, reason: 'absent' | 'busy'): void {
    this.#say(manifest, (number) => this.#wire.absent(number, index, reason));
  }

  cancel(manifest: string, indexes: readonly number[]): void {
    this.#say(manifest, (number) => this.#wire.cancel(number, indexes));
  }

  got(manifest: string, index: number): void {
    this.#say(manifest, (number) => this.#wire.got(number, index));
  }

  close(error?: WardcastError): void {
    this.#wire.close(error);
  }

  listen(listener: ChannelListener): void {
    const wire = this.#wire;
    const { lacks } = listener;
    if (lacks !== undefined) this.#lacks = (manifest, index) => lacks(this, manifest, index);
    const of = (transfer: number, indexes: readonly number[], tell: (manifest: string) => void): void => {
      const theirs = this.#theirs.get(transfer);
      if (theirs === undefined || indexes.some((index) => index >= theirs.count)) {
        wire.close(new WardcastError('PROTOCOL_VIOLATION', `${this.address} spoke of chunks that it never spoke of joining`));
      } else tell(theirs.manifest);
    };
    wire.listen({
      onJoin: (transfer, { manifest, have, fetching, uploads }) => {
        const known = this.#theirs.get(transfer);
        const fits = known === undefined ? this.#theirs.size < MAX_WIRE_TRANSFERS : known.manifest === manifest && known.count === have.length;
        if (!fits) return wire.close(new WardcastError('PROTOCOL_VIOLATION', `${this.address} joined too many transfers, or one number twice`));
        this.#theirs.set(transfer, { manifest, count: have.length });
        listener.onJoin(this, manifest, { fetching, uploads, have });
      },
      onHave: (transfer, indexes) => of(transfer, indexes, (manifest) => listener.onHave(this, manifest, indexes)),
      onAsk: (transfer, indexes) => of(transfer, indexes, (manifest) => listener.onAsk(this, manifest, indexes)),
      onAny: (transfer, count) => of(transfer, [], (manifest) => listener.onAny(this, manifest, count)),
      onChunk: (transfer, index, bytes) => of(transfer, [index], (manifest) => listener.onChunk(this, manifest, index, bytes)),
      onAbsent: (transfer, index, reason) => of(transfer, [index], (manifest) => listener.onAbsent(this, manifest, index, reason)),
      onCancel: (transfer, indexes) => of(transfer, indexes, (manifest) => listener.onCancel(this, manifest, indexes)),
      onGot: (transfer, index) => of(transfer, [index], (manifest) => listener.onGot(this, manifest, index)),
      onLeave: (transfer) =>
        of(transfer, [], (manifest) => {
          this.#theirs.delete(transfer);
          listener.onLeave(this, manifest);
        }),
      onClosed: (error) => listener.onClosed(this, error),
    });
  }

  /** What the other side was never told of cannot be spoken of: nothing is said then. */
  #say(manifest: string, say: (number: number) => void): void {
    const number = this.#mine.get(manifest);
    if (number === undefined || this.closed) return;
    if (this.#haves.size > 0) this.flush();
    say(number);
  }
}
