import { WardcastError } from '../base/errors.ts';
import { MAX_OUTBOX } from '../base/limits.ts';
import { GroupCommit } from './group-commit.ts';
import type { State } from './state.ts';

export interface OutboxEntry {
  readonly key: string;
  readonly value: Buffer;
  /** Rises with every put, and stays meaningful when the entry is gone. */
  readonly position: number;
}

/**
 * What must reach the other side, in the order it was put, kept until the other side's receipt comes.
 * A key stands for one content: putting it again changes nothing.
 */
export class Outbox {
  readonly #rows;
  readonly #commit: GroupCommit;
  readonly #capacity: number;
  /** Position by key, oldest first; values stay on disk. */
  readonly #positions = new Map<string, number>();
  readonly #puts = new Map<string, Promise<void>>();
  #next = 0;

  private constructor(db: State, name: string, capacity: number) {
    this.#rows = db.sublevel<string, Buffer>(name, { valueEncoding: 'buffer' });
    this.#commit = GroupCommit.of(db);
    this.#capacity = capacity;
  }

  /** @param options.name of its part of the database, when there are several */
  static async open(db: State, { name = 'outbox', capacity = MAX_OUTBOX }: { name?: string; capacity?: number } = {}): Promise<Outbox> {
    const outbox = new Outbox(db, name, capacity);
    for await (const row of outbox.#rows.keys()) {
      const { position, key } = parseRow(row);
      outbox.#positions.set(key, position);
      outbox.#next = position + 1;
    }
    return outbox;
  }

  get size(): number {
    return this.#positions.size;
  }

  has(key: string): boolean {
    return this.#positions.has(key);
  }

  /** Returns when it survives a power cut. @throws BUSY when full, STORAGE_FAILED */
  async put(key: string, value: Buffer): Promise<void> {
    if (this.#positions.has(key)) return this.#puts.get(key);
    if (this.#positions.size >= this.#capacity) {
      throw new WardcastError('BUSY', `The outbox holds ${this.#capacity} entries that nobody has confirmed`, {
        remedy: 'Restore the connection to the receiver; the outbox empties by itself. Nothing that is in it is lost.',
        context: { size: this.#positions.size },
      });
    }
    const position = this.#next++;
    this.#positions.set(key, position);
    const put = this.#commit
      .write((batch) => batch.put(printRow(position, key), value, { sublevel: this.#rows }))
      .catch((error: unknown) => {
        this.#positions.delete(key);
        throw error;
      })
      .finally(() => this.#puts.delete(key));
    this.#puts.set(key, put);
    await put;
  }

  /** The receipt is here. Idempotent. @throws STORAGE_FAILED */
  async delete(key: string): Promise<void> {
    await this.#puts.get(key)?.catch(() => undefined);
    const position = this.#positions.get(key);
    if (position === undefined) return;
    await this.#commit.write((batch) => batch.del(printRow(position, key), { sublevel: this.#rows }));
    this.#positions.delete(key);
  }

  /** The oldest durable entries, at most `limit`, optionally only those put after `after`: an entry's key while it is there, or its position. */
  async list(limit: number, { after }: { after?: string | number } = {}): Promise<OutboxEntry[]> {
    const from = typeof after === 'string' ? this.#positions.get(after) : after;
    const rows = await this.#rows.iterator({ limit, ...(from === undefined ? {} : { gte: digits(from + 1) }) }).all();
    return rows.map(([row, value]) => ({ ...parseRow(row), value }));
  }
}

function digits(position: number): string {
  return String(position).padStart(16, '0');
}

function printRow(position: number, key: string): string {
  return `${digits(position)}/${key}`;
}

function parseRow(row: string): { position: number; key: string } {
  return { position: Number(row.slice(0, 16)), key: row.slice(17) };
}
