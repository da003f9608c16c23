import { z } from 'zod';
import type { Clock } from '../shared/base/clock.ts';
import { LEDGER_BUNDLES_KEPT, LEDGER_BUNDLES_TOLD } from '../shared/base/limits.ts';
import type { Log } from '../shared/base/log.ts';
import type { ChunkStore } from '../shared/store/chunk-source.ts';
import type { Table } from '../shared/store/table.ts';
import { Id, type Seen } from '../shared/wire/messages.ts';
import { keepSaved } from './ledger.ts';

const Count = z.int().min(0);
/** Bytes of content: that the line brought, and that left for devices. */
const Moved = z.strictObject({ line: Count, gateway: Count });
/** A chunk that is being pulled, and for which bundle. It counts as soon as it is on the disk. */
const Claim = z.strictObject({ group: Id, sequence: Count, size: Count });
export const BundleLedgerRecord = z.union([Moved, Claim]);
export type BundleLedgerRecord = z.infer<typeof BundleLedgerRecord>;
type Moved = z.infer<typeof Moved>;
type Claim = z.infer<typeof Claim>;

const TOTAL = 'total';
const CLAIM = 'claim/';
const BUNDLE = 'bundle/';

interface Pulled {
  readonly group: string;
  readonly hash: string;
  /** Bytes. */
  readonly size: number;
}

/**
 * Content by bundle: what the line brought for it, and what left the gateway for its devices.
 *
 * `line` is exact, also after a kill: that a chunk is pulled for a bundle is durable before the chunk is, and a start counts what of it came. The claims'
 * end and the sums they add to are one write. `gateway` is saved every second while it moves: a kill loses a second of it at most.
 */
export class BundleLedger {
  readonly #table: Table<BundleLedgerRecord>;
  readonly #bundles = new Map<string, Moved>();
  readonly #claims = new Map<string, Claim>();
  /** The bundle that each group gathers or has gathered last. */
  readonly #gathering = new Map<string, number>();
  /** Not saved yet: rows that changed, claims that are settled. */
  #changed = new Set<string>();
  #settled = new Set<string>();

  private constructor(table: Table<BundleLedgerRecord>) {
    this.#table = table;
  }

  static async open(table: Table<BundleLedgerRecord>, store: Pick<ChunkStore, 'has'>): Promise<BundleLedger> {
    const ledger = new BundleLedger(table);
    for await (const [key, record] of table.entries()) {
      if ('line' in record) ledger.#bundles.set(key, record);
    }
    for await (const [key, record] of table.entries({ prefix: CLAIM })) {
      if ('line' in record) continue;
      const hash = key.slice(CLAIM.length);
      ledger.#claims.set(hash, record);
      if (await store.has(hash)) ledger.#landed(hash);
      else ledger.#drop(hash, record);
    }
    await ledger.save();
    return ledger;
  }

  /** From now on what is pulled for the group is pulled for this bundle. */
  gathers(group: string, sequence: number): void {
    this.#gathering.set(group, sequence);
  }

  /** Asks for a chunk, and meanwhile makes durable for whom. */
  async pull<T>({ group, hash, size }: Pulled, ask: () => Promise<T>): Promise<T> {
    const claim: Claim = { group, sequence: this.#gathering.get(group) ?? 0, size };
    this.#claims.set(hash, claim);
    this.#settled.delete(hash);
    try {
      const [answer] = await Promise.all([ask(), this.#table.put(CLAIM + hash, claim)]);
      return answer;
    } catch (error) {
      this.#drop(hash, claim);
      throw error;
    }
  }

  /** The same store; what lands in it ends its claim. */
  counting(store: ChunkStore): ChunkStore {
    return {
      has: (hash, options) => store.has(hash, options),
      get: (hash, options) => store.get(hash, options),
      delete: (hash, options) => store.delete(hash, options),
      list: (options) => store.list(options),
      put: async (hash, bytes, options) => {
        await store.put(hash, bytes, options);
        this.#landed(hash);
      },
    };
  }

  /** Content went to a device. */
  sent(group: string, sequence: number, bytes: number): void {
    this.#add(TOTAL, { line: 0, gateway: bytes });
    this.#add(bundleKey(group, sequence), { line: 0, gateway: bytes });
  }

  /** Since the data directory was made. */
  get total(): Moved {
    return this.#bundles.get(TOTAL) ?? { line: 0, gateway: 0 };
  }

  /** As it is told to the provider: the newest bundles of each group, the newest first. */
  told(): Seen['content'] {
    const bundles: Seen['content']['bundles'] = [];
    for (const rows of this.#byGroup().values()) {
      for (const { key, group, sequence } of rows.slice(0, LEDGER_BUNDLES_KEPT)) bundles.push({ group, sequence, ...this.#row(key) });
    }
    bundles.sort((a, b) => b.sequence - a.sequence);
    return { gateway: this.total.gateway, bundles: bundles.slice(0, LEDGER_BUNDLES_TOLD) };
  }

  /** Durable when it returns. */
  async save(): Promise<void> {
    const changed = this.#changed;
    const settled = this.#settled;
    if (changed.size === 0 && settled.size === 0) return;
    this.#changed = new Set();
    this.#settled = new Set();
    const old = this.#forgetOld();
    try {
      await this.#table.change({
        put: [...changed].filter((key) => !old.has(key)).map((key) => [key, this.#row(key)] as const),
        delete: [...old, ...[...settled].map((hash) => CLAIM + hash)],
      });
    } catch (error) {
      for (const key of changed) this.#changed.add(key);
      // Claimed anew meanwhile: that claim is under way.
      for (const hash of settled) if (!this.#claims.has(hash)) this.#settled.add(hash);
      throw error;
    }
  }

  /** Saves while the figures move, until the signal aborts. */
  run(clock: Clock, log: Log, signal: AbortSignal): Promise<void> {
    return keepSaved(this, clock, log, signal);
  }

  #landed(hash: string): void {
    const claim = this.#claims.get(hash);
    if (claim === undefined) return;
    this.#claims.delete(hash);
    this.#settled.add(hash);
    this.#add(TOTAL, { line: claim.size, gateway: 0 });
    this.#add(bundleKey(claim.group, claim.sequence), { line: claim.size, gateway: 0 });
  }

  #drop(hash: string, claim: Claim): void {
    if (this.#claims.get(hash) !== claim) return;
    this.#claims.delete(hash);
    this.#settled.add(hash);
  }

  #add(key: string, { line, gateway }: Moved): void {
    const before = this.#row(key);
    this.#bundles.set(key, { line: before.line + line, gateway: before.gateway + gateway });
    this.#changed.add(key);
  }

  #row(key: string): Moved {
    return this.#bundles.get(key) ?? { line: 0, gateway: 0 };
  }

  #forgetOld(): Set<string> {
    const old = new Set<string>();
    for (const rows of this.#byGroup().values()) {
      for (const { key } of rows.slice(LEDGER_BUNDLES_KEPT)) {
        old.add(key);
        this.#bundles.delete(key);
      }
    }
    return old;
  }

  /** Newest first. */
  #byGroup(): Map<string, { key: string; group: string; sequence: number }[]> {
    const groups = new Map<string, { key: string; group: string; sequence: number }[]>();
    for (const key of this.#bundles.keys()) {
      if (!key.startsWith(BUNDLE)) continue;
      const [, group = '', sequence = '0'] = key.split('/');
      const row = { key, group, sequence: Number(sequence) };
      groups.set(group, [...(groups.get(group) ?? []), row]);
    }
    for (const rows of groups.values()) rows.sort((a, b) => b.sequence - a.sequence);
    return groups;
  }
}

function bundleKey(group: string, sequence: number): string {
  return `${BUNDLE}${group}/${sequence}`;
}
