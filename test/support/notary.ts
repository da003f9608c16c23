import type { Credentials } from '../../certs/credentials.ts';
import { seal } from '../../certs/envelope.ts';
import { LogTree } from '../../provider/record/log-tree.ts';
import { sha256 } from '../../shared/bundle/digest.ts';
import { consistencyPath, inclusionPath, leafHash, nodesOf, printPath, rootOf } from '../../shared/bundle/merkle.ts';
import type { LogPoint, Receipt, Receipts, TreeHead } from '../../shared/wire/messages.ts';

/** Signs receipts as the provider does, over a log of which only the tree is kept. */
export class TestNotary {
  readonly #credentials: Credentials;
  readonly #tree: LogTree;
  #hashes: string[] = [];

  constructor(credentials: Credentials, hashes: readonly string[] = []) {
    this.#credentials = credentials;
    this.#hashes = [...hashes];
    this.#tree = new LogTree({ get: () => undefined }, hashes.length, (sequence) => hashes[sequence - 1] ?? '');
  }

  get point(): LogPoint {
    return { size: this.#tree.size, root: this.#tree.root(this.#tree.size).toString('hex') };
  }

  /** Somebody who has the same log up to there, and goes on otherwise. */
  forked(size: number): TestNotary {
    return new TestNotary(this.#credentials, this.#hashes.slice(0, size));
  }

  log(text: string): { sequence: number; hash: string } {
    const hash = sha256(Buffer.from(text));
    this.#hashes.push(hash);
    this.#tree.append(hash);
    return { sequence: this.#tree.size, hash };
  }

  /** One message with these receipts; what is `recorded` without an entry is logged now. */
  receipts(bodies: readonly Receipt[], o: { signer?: Credentials; knows?: LogPoint | undefined; answers?: LogPoint | undefined } = {}): Receipts {
    const receipts = bodies.map((body): Receipt => {
      if (body.outcome !== 'recorded' || body.entry !== undefined) return body;
      return { ...body, entry: this.log(`${body.device} ${body.counter} ${body.digest}`) };
    });
    const leaves = receipts.map((receipt) => Buffer.from(JSON.stringify(receipt)));
    const nodes = nodesOf(leaves.map(leafHash));
    const { size, root } = this.point;
    const head: TreeHead = { type: 'head', size, root, receipts: rootOf(nodes, leaves.length).toString('hex'), at: new Date().toISOString() };
    const { knows } = o;
    const pathFrom = (older: LogPoint): { path?: string } => {
      if (older.size > size || this.#tree.root(older.size).toString('hex') !== older.root) return {};
      return { path: printPath(consistencyPath(this.#tree.nodes, older.size, size)) };
    };
    const path = knows === undefined ? undefined : pathFrom(knows).path;
    const since = knows === undefined || path === undefined ? {} : { since: { size: knows.size, path } };
    return {
      head: seal(Buffer.from(JSON.stringify(head)), o.signer ?? this.#credentials),
      ...(o.answers === undefined ? {} : { since: { ...o.answers, ...pathFrom(o.answers) } }),
      receipts: receipts.map((receipt, index) => ({
        receipt: leaves[index]?.toString('base64') ?? '',
        index,
        of: leaves.length,
        path: printPath(inclusionPath(nodes, index, leaves.length)),
        ...(receipt.entry === undefined ? {} : { inclusion: printPath(inclusionPath(this.#tree.nodes, receipt.entry.sequence - 1, size)) }),
        ...since,
      })),
    };
  }
}
