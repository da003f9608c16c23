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

/** Who an entry is of, by its key, and how many entries each may have. */
export interface Share {
  readonly of: (key: string) => string;
  readonly capacity: number;
}

/**
 * What must reach the other side, in the order it was put, kept until the other side's receipt comes.
 * A key stands for one content: putting it again changes nothing.
 */
export class Outbox {
  readonly #rows;
  readonly #commit: GroupCommit;
  readonly #capacity: number;
  readonly #share: Share | undefined;
  /** Position by key, oldest first; values stay on disk. */
  readonly #positions = new Map<string, number>();
  readonly #puts = new Map<string, Promise<void>>();
  readonly #deleting = new Set<string>();
  /** Entries by owner, as far as there are shares. */
  readonly #held = new Map<string, number>();
  #next = 0;

  private constructor(db: State, name: string, capacity: number, share: Share | undefined) {
    this.#rows = db.sublevel<string, Buffer>(name, { valueEncoding: 'buffer' });
    this.#commit = GroupCommit.of(db);
    this.#capacity = capacity;
    this.#share = share;
  }

  /**
   * @param options.name of its part of the database, when there are several
   * @param options.share so that nobody takes all of the room
   */
  static async open(db: State, { name = 'outbox', capacity = MAX_OUTBOX, share }: { name?: string; capacity?: number; share?: Share } = {}): Promise<Outbox> {
    const outbox = new Outbox(db, name, capacity, share);
    for await (const row of outbox.#rows.keys()) {
      const { position, key } = parseRow(row);
      outbox.#occupy(key, position);
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

  /** The bytes that stand under the key, once they are durable. @throws STORAGE_FAILED */
  async get(key: string): Promise<Buffer | undefined> {
    await this.#puts.get(key);
    const position = this.#positions.get(key);
    return position === undefined ? undefined : this.#rows.get(printRow(position, key));
  }

  /** Returns when it survives a power cut. @throws BUSY when full, or when the share of its owner is, STORAGE_FAILED */
  async put(key: string, value: Buffer): Promise<void> {
    if (this.#positions.has(key)) return this.#puts.get(key);
    if (this.#positions.size >= this.#capacity) {
      throw new WardcastError('BUSY', `The outbox holds ${this.#capacity} entries that nobody has confirmed`, {
        remedy: 'Restore the connection to the receiver; the outbox empties by itself. Nothing that is in it is lost.',
        context: { size: this.#positions.size },
      });
    }
    this.#checkShare(key);
    const position = this.#next++;
    this.#occupy(key, position);
    const put = this.#commit
      .write((batch) => batch.put(printRow(position, key), value, { sublevel: this.#rows }))
      .catch((error: unknown) => {
        this.#vacate(key);
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
    this.#deleting.add(key);
    try {
      await this.#commit.write((batch) => batch.del(printRow(position, key), { sublevel: this.#rows }));
      this.#vacate(key);
    } finally {
      this.#deleting.delete(key);
    }
  }

  /** Other bytes of the same content, in the same place; nothing when its receipt is here meanwhile. @throws STORAGE_FAILED */
  async replace(key: string, value: Buffer): Promise<void> {
    await this.#puts.get(key);
    const position = this.#positions.get(key);
    if (position === undefined || this.#deleting.has(key)) return;
    await this.#commit.write((batch) => batch.put(printRow(position, key), value, { sublevel: this.#rows }));
  }

  /** The oldest durable entries, at most `limit`, optionally only those put after `after`: an entry's key while it is there, or its position. */
  async list(limit: number, { after }: { after?: string | number } = {}): Promise<OutboxEntry[]> {
    const from = typeof after === 'string' ? this.#positions.get(after) : after;
    const rows = await this.#rows.iterator({ limit, ...(from === undefined ? {} : { gte: digits(from + 1) }) }).all();
    return rows.map(([row, value]) => ({ ...parseRow(row), value }));
  }

  #checkShare(key: string): void {
    if (this.#share === undefined) return;
    const { of, capacity } = this.#share;
    const owner = of(key);
    if ((this.#held.get(owner) ?? 0) < capacity) return;
    throw new WardcastError('BUSY', `The outbox holds ${capacity} entries of ${owner} that nobody has confirmed`, {
      remedy: 'Restore the connection to the receiver; the outbox empties by itself. If it is up, find out why this one says so much.',
      context: { owner },
    });
  }

  #occupy(key: string, position: number): void {
    this.#positions.set(key, position);
    if (this.#share === undefined) return;
    const owner = this.#share.of(key);
    this.#held.set(owner, (this.#held.get(owner) ?? 0) + 1);
  }

  #vacate(key: string): void {
    if (!this.#positions.delete(key) || this.#share === undefined) return;
    const owner = this.#share.of(key);
    const left = (this.#held.get(owner) ?? 0) - 1;
    if (left > 0) this.#held.set(owner, left);
    else this.#held.delete(owner);
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
