import type { Bitfield } from '../../shared/net/swarm/bitfield.ts';
import { Direction, type Port } from './network.ts';
import type { VirtualTime } from './virtual-time.ts';

/** What one side says of itself. */
export interface Part {
  readonly fetching: boolean;
  readonly uploads: boolean;
  readonly have: Bitfield;
}

/** Whoever has a port: hears what comes through its ends of connections. */
export interface Party {
  readonly name: string;
  readonly port: Port;
  onJoin(from: End, part: Part): void;
  onHave(from: End, indexes: readonly number[]): void;
  onAsk(from: End, indexes: readonly number[]): void;
  onAny(from: End, count: number): void;
  /** @param intact the bytes are those that the index claims */
  onChunk(from: End, index: number, intact: boolean): void;
  onAbsent(from: End, index: number, reason: 'absent' | 'busy'): void;
  onCancel(from: End, indexes: readonly number[]): void;
  onGot(from: End, index: number): void;
  onClosed(from: End): void;
  /** Does the other side still have to be told of this chunk? */
  lacks?(to: End, index: number): boolean;
}

/** One end of a connection, with the methods of a channel. */
export class End {
  readonly owner: Party;
  readonly #out: Direction;
  #far: End | undefined;
  #haves: number[] = [];
  closed = false;
  /** We said what we have. */
  joined = false;

  private constructor(owner: Party, out: Direction) {
    this.owner = owner;
    this.#out = out;
  }

  static connect(time: VirtualTime, a: Party, b: Party, latency: number): readonly [End, End] {
    const one = new End(a, new Direction(time, a.port, b.port, latency));
    const other = new End(b, new Direction(time, b.port, a.port, latency));
    one.#far = other;
    other.#far = one;
    return [one, other];
  }

  get far(): Party | undefined {
    return this.#far?.owner;
  }

  get unsent(): number {
    return this.#out.unsent;
  }

  join(part: Part): void {
    this.#haves = [];
    this.#say((far) => far.owner.onJoin(far, part));
  }

  haveLater(index: number): void {
    this.#haves.push(index);
  }

  flush(): void {
    const news = this.#haves.filter((index) => this.owner.lacks?.(this, index) !== false);
    this.#haves = [];
    if (news.length > 0) this.have(news);
  }

  have(indexes: readonly number[]): void {
    this.#say((far) => far.owner.onHave(far, indexes));
  }

  ask(indexes: readonly number[]): void {
    this.#say((far) => far.owner.onAsk(far, indexes));
  }

  any(count: number): void {
    this.#say((far) => far.owner.onAny(far, count));
  }

  absent(index: number, reason: 'absent' | 'busy'): void {
    this.#say((far) => far.owner.onAbsent(far, index, reason));
  }

  cancel(indexes: readonly number[]): void {
    this.#say((far) => far.owner.onCancel(far, indexes));
  }

  got(index: number): void {
    this.#say((far) => far.owner.onGot(far, index));
  }

  chunk(index: number, bytes: number, intact = true): void {
    const far = this.#far;
    if (this.#haves.length > 0) this.flush();
    if (!this.closed && far !== undefined) this.#out.send(bytes, () => far.owner.onChunk(far, index, intact));
  }

  /** Both sides learn of it: this one at once, the other after the latency. */
  close(): void {
    if (this.closed) return;
    const far = this.#far;
    if (far !== undefined)
      this.#out.end(() => {
        if (far.closed) return;
        far.closed = true;
        far.#out.closed = true;
        far.owner.onClosed(far);
      });
    this.closed = true;
    if (far !== undefined) far.#out.closed = true;
    this.owner.onClosed(this);
  }

  #say(what: (far: End) => void): void {
    const far = this.#far;
    if (this.#haves.length > 0) this.flush();
    if (!this.closed && far !== undefined) this.#out.say(() => what(far));
  }
}
