import { join } from 'node:path';
import type { Credentials } from '../../certs/credentials.ts';
import { ReceiptPost } from '../../provider/receipt-post.ts';
import { Checkers } from '../../provider/record/checkers.ts';
import { Recorder } from '../../provider/record/recorder.ts';
import { registryDirectory } from '../../provider/registry/level-registry.ts';
import { openLevelTable } from '../../provider/registry/level-table.ts';
import { LogRegistry } from '../../provider/registry/log-registry.ts';
import type { Table } from '../../provider/registry/table.ts';
import type { Clock } from '../../shared/base/clock.ts';
import type { GatewayIdentity } from '../../shared/base/identity.ts';
import type { Log } from '../../shared/base/log.ts';
import { GatewayHello } from '../../shared/wire/messages.ts';

export interface RecordOptions {
  readonly credentials: Credentials;
  readonly gateway: GatewayIdentity;
  /** The provider's data directory. */
  readonly directory: string;
  readonly clock: Clock;
  readonly log: Log;
  readonly toGateway: (bytes: Buffer) => void;
}

/** The provider as far as statements concern it: its real registry, log, checks, notary and post on a real disk. */
export class Record {
  readonly registry: LogRegistry;
  readonly #o: RecordOptions;
  readonly #table: Table;
  readonly #recorder: Recorder;
  readonly #post: ReceiptPost;
  dead = false;

  private constructor(o: RecordOptions, table: Table) {
    this.#o = o;
    this.#table = table;
    this.registry = new LogRegistry(table, o);
    const parts = { registry: this.registry, credentials: () => o.credentials, clock: o.clock };
    this.#recorder = new Recorder({ ...parts, checkers: new Checkers({ ...parts, log: o.log, threads: 0 }) });
    this.#post = new ReceiptPost({
      broker: {
        send: async (_to, _topic, payload) => {
          if (!this.dead) o.toGateway(payload);
        },
      },
      log: o.log,
    });
  }

  static async start(o: RecordOptions): Promise<Record> {
    return new Record(o, await openLevelTable(registryDirectory(o.directory)));
  }

  /** What a gateway says: a statement that it passes on, or a hello that names a head. */
  async heard(bytes: Buffer): Promise<void> {
    const hello = GatewayHello.safeParse(json(bytes));
    if (hello.data?.head === undefined) return this.#statement(bytes);
    const answer = await this.#recorder.head(hello.data.head);
    if (!this.dead) this.#o.toGateway(Buffer.from(JSON.stringify(answer)));
  }

  async #statement(bytes: Buffer): Promise<void> {
    const { sealed } = await this.#recorder.record(bytes, this.#o.gateway);
    await this.#post.post(this.#o.gateway, sealed);
  }

  /** As a kill: the table goes away under the registry. */
  async kill(): Promise<void> {
    this.dead = true;
    await this.#table.close();
  }
}

/** Where `checkRegistry` and the registry look for it. */
export function dataOf(directory: string): string {
  return join(directory, 'provider');
}

/** Altered bytes may be no JSON any more. */
function json(bytes: Buffer): unknown {
  try {
    return JSON.parse(bytes.toString());
  } catch {
    return undefined;
  }
}
