import { z } from 'zod';
import { type Manifest, parseManifest, printManifest } from '../../shared/bundle/manifest.ts';
import type { State as Database } from '../../shared/store/state.ts';
import { Table } from '../../shared/store/table.ts';
import type { AcceptedRelease } from '../handlers/install-handler.ts';
import { JournalEntry } from './entry.ts';

/** A table's rows, without what makes the class unique: tests put a failing one in its place. */
export type Rows<V> = Pick<Table<V>, 'get' | 'put' | 'delete' | 'entries'>;

/** What became of a release that is not to be tried again for the same bundle; `bad`: not for any other either. */
const Verdict = z.strictObject({
  application: z.string(),
  version: z.string(),
  sequence: z.int().min(0),
  result: z.enum(['failed', 'rolled-back', 'refused']),
  code: z.string(),
  /** Tried no more for this sequence; a passing reason that was reported stays open. */
  settled: z.boolean(),
  bad: z.boolean(),
});
export type Verdict = z.infer<typeof Verdict>;

export interface JournalTables {
  /** By application: at most one installation each. */
  readonly entries: Rows<JournalEntry>;
  /** Manifest of the entry of the same key: what was begun can be finished without asking anybody. */
  readonly manifests: Rows<string>;
  /** By manifest hash. */
  readonly verdicts: Rows<Verdict>;
}

export function journalTables(db: Database): JournalTables {
  return {
    entries: new Table(db, 'journal', JournalEntry),
    manifests: new Table(db, 'journal-manifest', z.string()),
    verdicts: new Table(db, 'verdict', Verdict),
  };
}

/** The durable memory of installations. Every method returns when its change survives a power cut. */
export class Journal {
  readonly #tables: JournalTables;

  constructor(tables: JournalTables) {
    this.#tables = tables;
  }

  get(application: string): Promise<JournalEntry | undefined> {
    return this.#tables.entries.get(application);
  }

  async all(): Promise<JournalEntry[]> {
    const all: JournalEntry[] = [];
    for await (const [, entry] of this.#tables.entries.entries()) all.push(entry);
    return all;
  }

  /** The manifest first: an entry without one could not be finished. */
  async begin(entry: JournalEntry, manifest: Manifest): Promise<void> {
    await this.#tables.manifests.put(entry.application, printManifest(manifest).toString('utf8'));
    await this.#tables.entries.put(entry.application, entry);
  }

  async put(entry: JournalEntry): Promise<void> {
    await this.#tables.entries.put(entry.application, entry);
  }

  /** The release an entry speaks about; undefined when its manifest is not there. */
  async release(entry: JournalEntry): Promise<AcceptedRelease | undefined> {
    const text = await this.#tables.manifests.get(entry.application);
    if (text === undefined) return undefined;
    return { application: entry.application, version: entry.version, manifestHash: entry.manifest, manifest: parseManifest(Buffer.from(text, 'utf8')) };
  }

  async forget(application: string): Promise<void> {
    await this.#tables.entries.delete(application);
    await this.#tables.manifests.delete(application);
  }

  verdict(manifest: string): Promise<Verdict | undefined> {
    return this.#tables.verdicts.get(manifest);
  }

  async judge(manifest: string, verdict: Verdict): Promise<void> {
    await this.#tables.verdicts.put(manifest, verdict);
  }

  /** The release runs: earlier verdicts about it are void. */
  async absolve(manifest: string): Promise<void> {
    await this.#tables.verdicts.delete(manifest);
  }

  async bad(): Promise<Set<string>> {
    const bad = new Set<string>();
    for await (const [manifest, verdict] of this.#tables.verdicts.entries()) if (verdict.bad) bad.add(manifest);
    return bad;
  }
}
