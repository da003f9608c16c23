import { toWardcastError } from '../shared/base/errors.ts';
import { type GatewayIdentity, identityPath } from '../shared/base/identity.ts';
import { MAX_RECEIPTS_TOLD, RECEIPTS_TOLD_BYTES } from '../shared/base/limits.ts';
import type { Log } from '../shared/base/log.ts';
import type { EmbeddedBroker } from '../shared/net/broker.ts';
import type { ReceiptProof, Receipts, Signed } from '../shared/wire/messages.ts';
import { down } from '../shared/wire/topics.ts';
import type { Sealed } from './record/notary.ts';

interface Letter {
  readonly to: GatewayIdentity;
  readonly head: Signed;
  readonly receipts: ReceiptProof[];
  readonly sent: Promise<void>;
  readonly done: () => void;
  bytes: number;
}

/** Brings receipts to the gateways: those that one head proves share a message, which is most of what a receipt would cost otherwise. */
export class ReceiptPost {
  readonly #broker: Pick<EmbeddedBroker, 'send'>;
  readonly #log: Log;
  readonly #open = new Map<string, Letter>();
  #posting = false;

  constructor(o: { broker: Pick<EmbeddedBroker, 'send'>; log: Log }) {
    this.#broker = o.broker;
    this.#log = o.log;
  }

  /** Resolves when it is sent, or lost with the connection: then the gateway says the statement again, and gets the receipt then. */
  post(to: GatewayIdentity, { head, proof }: Sealed): Promise<void> {
    const name = identityPath(to);
    const bytes = Object.values(proof).reduce((sum: number, part) => sum + (typeof part === 'string' ? part.length : 100), 100);
    let letter = this.#open.get(name);
    if (letter !== undefined && (letter.head !== head || letter.receipts.length >= MAX_RECEIPTS_TOLD || letter.bytes + bytes > RECEIPTS_TOLD_BYTES)) {
      void this.#send(letter);
      letter = undefined;
    }
    if (letter === undefined) {
      const { promise, resolve } = Promise.withResolvers<void>();
      letter = { to, head, receipts: [], sent: promise, done: resolve, bytes: 0 };
      this.#open.set(name, letter);
    }
    letter.receipts.push(proof);
    letter.bytes += bytes;
    this.#sendSoon();
    return letter.sent;
  }

  /** All receipts of a head come in one go of the event loop. */
  #sendSoon(): void {
    if (this.#posting) return;
    this.#posting = true;
    setImmediate(() => {
      this.#posting = false;
      const letters = [...this.#open.values()];
      this.#open.clear();
      for (const letter of letters) void this.#send(letter);
    });
  }

  async #send({ to, head, receipts, done }: Letter): Promise<void> {
    const body: Receipts = { head, receipts };
    try {
      await this.#broker.send(to, down(to, 'receipt'), Buffer.from(JSON.stringify(body), 'utf8'));
    } catch (error) {
      this.#log.info('uplink.answer-lost', { gateway: identityPath(to), verb: 'receipt', error: toWardcastError(error) });
    }
    done();
  }
}
