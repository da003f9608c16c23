import { Bitfield } from '../../shared/net/swarm/bitfield.ts';
import type { End, Part, Party } from './connection.ts';
import type { Port } from './network.ts';

/**
 * `corrupt`: answers with bytes that are something else; `silent`: takes chunks from the gateway, says that it has everything, and gives nothing;
 * `trickle`: gives a few bytes at a time (its port is slow).
 */
export type Badness = 'corrupt' | 'silent' | 'trickle';

/** A device with a good certificate and bad intentions. */
export class BadDevice implements Party {
  readonly name: string;
  readonly port: Port;
  readonly badness: Badness;
  readonly #sizes: readonly number[];
  peers = 0;

  constructor(name: string, badness: Badness, port: Port, sizes: readonly number[]) {
    this.name = name;
    this.badness = badness;
    this.port = port;
    this.#sizes = sizes;
  }

  opened(end: End, kind: 'peer' | 'gateway'): void {
    const count = this.#sizes.length;
    if (kind === 'peer') {
      this.peers += 1;
      end.join({ fetching: false, uploads: true, have: Bitfield.full(count) });
    } else if (this.badness === 'silent') {
      end.join({ fetching: true, uploads: true, have: new Bitfield(count) });
      end.any(count);
    }
  }

  onAsk(from: End, indexes: readonly number[]): void {
    if (this.badness === 'silent') return;
    for (const index of indexes) from.chunk(index, this.#sizes[index] ?? 0, this.badness !== 'corrupt');
  }

  onChunk(from: End, index: number): void {
    from.got(index);
  }

  onClosed(): void {
    this.peers -= 1;
  }

  onJoin(_from: End, _part: Part): void {}
  onHave(): void {}
  onAny(): void {}
  onAbsent(): void {}
  onCancel(): void {}
  onGot(): void {}
}
