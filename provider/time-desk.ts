import type { Credentials } from '../certs/credentials.ts';
import { sealAside } from '../certs/envelope.ts';
import { type Clock, timestamp } from '../shared/base/clock.ts';
import { WardcastError } from '../shared/base/errors.ts';
import { type GatewayIdentity, identityPath } from '../shared/base/identity.ts';
import type { Signed, TimeQuestion, TimeStatement } from '../shared/wire/messages.ts';

/** Tells the time to whoever asks with a nonce, signed: nobody between can make it another time, nor tell it again as the answer to another question. */
export class TimeDesk {
  readonly #credentials: Credentials;
  readonly #clock: Clock;
  readonly #busy = new Set<string>();

  constructor(o: { readonly credentials: Credentials; readonly clock: Clock }) {
    this.#credentials = o.credentials;
    this.#clock = o.clock;
  }

  /** @throws LIMIT_EXCEEDED: a signature costs a millisecond of a core, so one at a time for each gateway; it gathers what its devices ask */
  async answer(from: GatewayIdentity, { nonce }: TimeQuestion): Promise<Signed> {
    const who = identityPath(from);
    if (this.#busy.has(who)) throw new WardcastError('LIMIT_EXCEEDED', 'One question about the time at a time');
    this.#busy.add(who);
    try {
      const statement: TimeStatement = { type: 'time', nonce, at: timestamp(this.#clock) };
      return await sealAside(Buffer.from(JSON.stringify(statement), 'utf8'), this.#credentials);
    } finally {
      this.#busy.delete(who);
    }
  }
}
