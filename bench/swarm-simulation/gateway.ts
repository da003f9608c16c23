import { Spread } from '../../gateway/seed/spread.ts';
import { SWARM_TICK } from '../../shared/base/limits.ts';
import { Bitfield } from '../../shared/net/swarm/bitfield.ts';
import { type Upload, UploadQueue } from '../../shared/net/swarm/upload-queue.ts';
import type { End, Part, Party } from './connection.ts';
import type { Port } from './network.ts';
import { Sender } from './sender.ts';
import type { VirtualTime } from './virtual-time.ts';

/** The rules of gateway/seed/seeder.ts for one manifest, in virtual time. */
export class Gateway implements Party {
  readonly name = 'gateway';
  readonly port: Port;
  readonly #sizes: readonly number[];
  readonly #spread: Spread<End>;
  readonly #asks = new UploadQueue<End>();
  readonly #sender: Sender;
  readonly #time: VirtualTime;
  #askedLast = false;

  constructor(time: VirtualTime, port: Port, sizes: readonly number[], random: () => number) {
    this.port = port;
    this.#time = time;
    this.#sizes = sizes;
    this.#spread = new Spread(sizes, random);
    this.#sender = new Sender(time, (may) => this.#next(may));
    this.#tick();
  }

  onJoin(from: End, { have, fetching }: Part): void {
    const known = from.joined;
    from.joined = true;
    if (!known) from.join({ fetching: false, uploads: true, have: Bitfield.full(this.#sizes.length) });
    this.#spread.join(from, have, fetching);
    this.#sender.pump();
  }

  onHave(from: End, indexes: readonly number[]): void {
    this.#spread.have(from, indexes);
  }

  onAny(from: End, count: number): void {
    this.#spread.credit(from, count);
    this.#sender.pump();
  }

  onAsk(from: End, indexes: readonly number[]): void {
    for (const index of indexes) if (!this.#asks.ask({ to: from, manifest: '', index, bytes: this.#sizes[index] ?? 0 })) from.absent(index, 'busy');
    this.#sender.pump();
  }

  onGot(from: End, index: number): void {
    this.#spread.have(from, [index]);
    this.#sender.done(from, index, true);
  }

  onCancel(from: End, indexes: readonly number[]): void {
    for (const index of indexes) {
      this.#asks.cancel(from, '', index);
      this.#spread.unsent(from, index);
      this.#sender.done(from, index, false);
    }
  }

  onChunk(): void {
    throw new Error('Nobody sends the gateway a chunk');
  }

  onAbsent(): void {
    throw new Error('The gateway asks for nothing');
  }

  onClosed(from: End): void {
    this.#asks.drop(from);
    this.#spread.leave(from);
    this.#sender.drop(from);
  }

  #next(may: (to: End) => boolean): Upload<End> | undefined {
    const first = this.#askedLast ? this.#choose(may) : this.#asks.next(may);
    const found = first ?? (this.#askedLast ? this.#asks.next(may) : this.#choose(may));
    this.#askedLast = !this.#askedLast;
    if (found !== undefined) this.#spread.sending(found.to, found.index);
    return found;
  }

  #choose(may: (to: End) => boolean): Upload<End> | undefined {
    const chosen = this.#spread.next(may, this.#time.now);
    return chosen === undefined ? undefined : { ...chosen, manifest: '', bytes: this.#sizes[chosen.index] ?? 0 };
  }

  #tick(): void {
    this.#sender.pump();
    this.#time.after(SWARM_TICK, () => this.#tick());
  }
}
