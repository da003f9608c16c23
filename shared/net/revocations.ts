import type { Socket } from 'node:net';
import { WardcastError } from '../base/errors.ts';
import { type Certified, identityPath } from '../base/identity.ts';
import type { Log } from '../base/log.ts';
import { indexRevocations, type RevocationIndex, type RevocationList, revokedBecause } from '../wire/revocation.ts';

/**
 * Who is refused at all doors of this process, and the connections that would have to end if that changed. One per daemon: its door and everything
 * it dials ask here, so that no way in is forgotten when a list arrives.
 */
export class Revocations {
  readonly #log: Log;
  readonly #lists = new Map<string, RevocationList>();
  readonly #live = new Map<Socket, Certified>();
  #index: RevocationIndex = indexRevocations([]);

  constructor(log: Log) {
    this.#log = log;
  }

  /** The newest list of one source takes the place of its earlier one. Connections that it revokes end at once. */
  learn(source: string, list: RevocationList): void {
    this.#lists.set(source, list);
    this.#index = indexRevocations(this.#lists.values());
    for (const [socket, certified] of this.#live) {
      const reason = revokedBecause(this.#index, certified);
      if (reason === undefined) continue;
      this.#log.warn('revoked.cut', { identity: identityPath(certified.identity), address: socket.remoteAddress, reason });
      // Without a farewell: what waits in buffers must not be sent any more.
      socket.destroy();
    }
  }

  /** The list of one source, as it was learnt last. */
  list(source: string): RevocationList | undefined {
    return this.#lists.get(source);
  }

  /** @throws CERT_REVOKED */
  check(certified: Certified): void {
    const reason = revokedBecause(this.#index, certified);
    if (reason === undefined) return;
    throw new WardcastError('CERT_REVOKED', reason, {
      remedy: 'If it is to be trusted again, issue a certificate made after that: `wardcast pki … --from-now`.',
      context: { identity: identityPath(certified.identity) },
    });
  }

  /** From now on this proven connection ends when its certificate is revoked. */
  hold(socket: Socket, certified: Certified): void {
    this.#live.set(socket, certified);
    socket.once('close', () => this.#live.delete(socket));
  }
}
