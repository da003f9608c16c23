import type { Credentials } from '../../certs/credentials.ts';
import { sealAside } from '../../certs/envelope.ts';
import { type Clock, timestamp } from '../../shared/base/clock.ts';
import { RECEIPTS_PER_HEAD } from '../../shared/base/limits.ts';
import { consistencyPath, inclusionPaths, leafHash, nodesOf, printPath, rootOf } from '../../shared/bundle/merkle.ts';
import type { LogPoint, Receipt, ReceiptProof, Receipts, Signed, TreeHead } from '../../shared/wire/messages.ts';
import type { Registry } from '../registry/registry.ts';

/** A receipt, proven by the provider's signature of the log's head. */
export interface Sealed {
  readonly head: Signed;
  readonly proof: ReceiptProof;
}
interface Waiting {
  readonly receipt: Receipt;
  readonly knows: LogPoint | undefined;
  readonly resolve: (sealed: Sealed) => void;
  readonly reject: (error: unknown) => void;
}

/**
 * Signs receipts, all that wait at once under one signature: of the end of the log, whose Merkle tree holds their entries, and of the root over the
 * receipts themselves. An RSA signature takes 1 ms of CPU, a path some microseconds.
 */
export class Notary {
  readonly #registry: Pick<Registry, 'head' | 'tree'>;
  readonly #credentials: () => Credentials;
  readonly #clock: Clock;
  readonly #waiting: Waiting[] = [];
  #sealing = false;

  constructor(o: { registry: Pick<Registry, 'head' | 'tree'>; credentials: () => Credentials; clock: Clock }) {
    this.#registry = o.registry;
    this.#credentials = o.credentials;
    this.#clock = o.clock;
  }

  /** @param knows the head that the device said it knows: the proof shows that the log goes on from there, if it does */
  seal(receipt: Receipt, knows: LogPoint | undefined): Promise<Sealed> {
    return new Promise((resolve, reject) => {
      this.#waiting.push({ receipt, knows, resolve, reject });
      if (this.#sealing) return;
      this.#sealing = true;
      void this.#sealAll();
    });
  }

  /** The end of the log as it is now, signed, and the proof for somebody who knows an older one; without it the log does not go on from there. */
  async head(knows: LogPoint): Promise<Receipts> {
    const size = this.#registry.head.sequence;
    const since = this.#since(knows, size);
    const head = await this.#sign(size, rootOf(nodesOf([]), 0));
    return { head, since: { ...knows, ...(since === undefined ? {} : { path: since.path }) }, receipts: [] };
  }

  async #sealAll(): Promise<void> {
    // What the same tick still brings shares the signature.
    await Promise.resolve();
    while (this.#waiting.length > 0) {
      const batch = this.#waiting.splice(0, RECEIPTS_PER_HEAD);
      try {
        const sealed = await this.#sealBatch(batch);
        for (const [at, { resolve }] of batch.entries()) resolve(sealed(at));
      } catch (error) {
        for (const { reject } of batch) reject(error);
      }
    }
    this.#sealing = false;
  }

  async #sealBatch(batch: readonly Waiting[]): Promise<(at: number) => Sealed> {
    const size = this.#registry.head.sequence;
    const receipts = batch.map(({ receipt }) => Buffer.from(JSON.stringify(receipt), 'utf8'));
    const nodes = nodesOf(receipts.map(leafHash));
    const head = await this.#sign(size, rootOf(nodes, batch.length));
    const known = new Map<string, ReceiptProof['since']>();
    const pathOf = inclusionPaths(nodes, batch.length);
    const entryPathOf = inclusionPaths(this.#registry.tree.nodes, size);
    return (at) => {
      const { receipt, knows } = batch[at] ?? {};
      const entry = receipt?.entry;
      const name = knows === undefined ? '' : `${knows.size}/${knows.root}`;
      if (!known.has(name)) known.set(name, this.#since(knows, size));
      const since = known.get(name);
      const proof: ReceiptProof = {
        receipt: receipts[at]?.toString('base64') ?? '',
        index: at,
        of: batch.length,
        path: printPath(pathOf(at)),
        ...(entry === undefined ? {} : { inclusion: printPath(entryPathOf(entry.sequence - 1)) }),
        ...(since === undefined ? {} : { since }),
      };
      return { head, proof };
    };
  }

  #sign(size: number, receipts: Buffer): Promise<Signed> {
    const head: TreeHead = {
      type: 'head',
      size,
      root: this.#registry.tree.root(size).toString('hex'),
      receipts: receipts.toString('hex'),
      at: timestamp(this.#clock),
    };
    return sealAside(Buffer.from(JSON.stringify(head), 'utf8'), this.#credentials());
  }

  #since(knows: LogPoint | undefined, size: number): ReceiptProof['since'] {
    const { tree } = this.#registry;
    if (knows === undefined || knows.size > size || tree.root(knows.size).toString('hex') !== knows.root) return undefined;
    return { size: knows.size, path: printPath(consistencyPath(tree.nodes, knows.size, size)) };
  }
}
