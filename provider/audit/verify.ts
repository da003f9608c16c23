import { z } from 'zod';
import { open } from '../../certs/envelope.ts';
import { isWardcastError, toWardcastError, WardcastError } from '../../shared/base/errors.ts';
import { identityPath } from '../../shared/base/identity.ts';
import { AUDIT_FINDINGS, AUDIT_TIME_SLACK } from '../../shared/base/limits.ts';
import { sha256 } from '../../shared/bundle/digest.ts';
import type { Statement } from '../../shared/wire/messages.ts';
import { EMPTY, type Head, type LogEntry } from '../record/log.ts';
import { LogTree } from '../record/log-tree.ts';
import { checkSigner, readStatement } from '../record/statement.ts';
import type { ChangeOf } from '../registry/changes.ts';
import { after, BLOBS, decode, decodeEntry, HEAD, logKey, TILES, tileKey } from '../registry/keyspace.ts';
import type { FrozenTable } from '../registry/table.ts';
import { readLog } from './read-log.ts';
import type { Witness } from './witness.ts';

/** Something that does not hold. */
export interface Finding {
  /** The first entry concerned; null: none in particular. */
  readonly entry: number | null;
  readonly code: 'log-broken' | 'log-cut' | 'tile' | 'statement' | 'rewritten';
  readonly message: string;
}
export interface Audited {
  /** Entries whose chain holds, from the first on. */
  readonly entries: number;
  readonly head: string;
  /** Root of the Merkle tree over them: what a signed head of that size states. */
  readonly root: string;
  readonly statements: number;
  readonly witnesses: number;
  /** At most AUDIT_FINDINGS; empty: everything holds. */
  readonly findings: readonly Finding[];
  readonly truncated: boolean;
}

/**
 * Verifies a log as somebody who trusts nothing but the vendor's root certificate and what devices kept: chain, tiles, every statement's signature as of
 * its time, and that each witness saw a beginning of this very log. Statements are witnesses too: they name the newest head that the device had seen.
 */
export async function audit(table: FrozenTable, o: { readonly rootPem: string; readonly witnesses: readonly Witness[] }): Promise<Audited> {
  const findings: Finding[] = [];
  let truncated = false;
  const found = (finding: Finding): void => {
    if (findings.length < AUDIT_FINDINGS) findings.push(finding);
    else truncated = true;
  };
  const tiles = new Map<string, Buffer>();
  const tree = new LogTree({ get: (level, index) => tiles.get(tileKey(level, index)) }, 0, () => '');
  const points: Point[] = o.witnesses.map(({ name, size, root, at }) => ({ who: `${name}, signed ${at}`, entry: null, size, root }));
  const chains = new Map<string, readonly string[]>();
  let head: Head = EMPTY;
  let statements = 0;
  try {
    for await (const entry of readLog(table)) {
      for (const { level, index, bytes } of tree.append(entry.hash)) tiles.set(tileKey(level, index), bytes);
      head = { sequence: entry.sequence, hash: entry.hash };
      if (entry.change.type !== 'statement') continue;
      statements++;
      try {
        const { head: seen } = checkStatement(entry, entry.change, o.rootPem, (hash) => readChain(table, chains, hash));
        if (seen !== undefined) points.push({ who: `${entry.actor}, in entry ${entry.sequence}`, entry: entry.sequence, ...seen });
      } catch (error) {
        found({ entry: entry.sequence, code: 'statement', message: `entry ${entry.sequence}: ${toWardcastError(error).message}` });
      }
    }
  } catch (error) {
    if (!isWardcastError(error) || error.code !== 'LOG_BROKEN') throw error;
    found({ entry: head.sequence + 1, code: 'log-broken', message: `${error.message}. Nothing behind it proves anything` });
  }
  const isWhole = findings.every(({ code }) => code !== 'log-broken');
  const stored = table.get(HEAD);
  const said = stored === undefined ? EMPTY : readHead(stored);
  if (isWhole && (said.sequence !== head.sequence || said.hash !== head.hash)) {
    const message = `the log ends with entry ${head.sequence}, but the registry was written up to entry ${said.sequence}`;
    found({ entry: head.sequence + 1, code: 'log-cut', message });
  }
  await checkTiles(table, tiles, isWhole, found);
  compare(points, tree, isWhole, found);
  for (const witness of o.witnesses) for (const entry of witness.entries) checkEntry(table, witness, entry, head.sequence, found);
  return {
    entries: head.sequence,
    head: head.hash,
    root: tree.root(head.sequence).toString('hex'),
    statements,
    witnesses: points.length,
    findings: findings.sort((a, b) => (a.entry ?? Infinity) - (b.entry ?? Infinity)),
    truncated,
  };
}

/** The log as somebody saw it. `entry`: the statement that says so. */
interface Point {
  readonly who: string;
  readonly entry: number | null;
  readonly size: number;
  readonly root: string;
}

/** Where a chain's history was rewritten lies between the longest beginning that a witness confirms and the shortest that one denies. */
function compare(points: readonly Point[], tree: LogTree, isWhole: boolean, found: (finding: Finding) => void): void {
  const holds = (point: Point): boolean => point.size <= tree.size && tree.root(point.size).toString('hex') === point.root;
  const good = points.filter(holds).map(({ size }) => size);
  for (const point of points.filter((one) => !holds(one))) {
    const { who, entry, size } = point;
    const sound = Math.max(0, ...good.filter((other) => other < size));
    const where = `it is the same up to entry ${sound} for certain, and differs somewhere between ${sound + 1} and ${size}`;
    if (size <= tree.size) found({ entry: sound + 1, code: 'rewritten', message: `${who}: saw another log of ${size} entries; ${where}` });
    else if (isWhole)
      found({ entry: entry ?? tree.size + 1, code: 'rewritten', message: `${who}: saw a log of ${size} entries, and this one ends with entry ${tree.size}` });
    else found({ entry: tree.size + 1, code: 'rewritten', message: `${who}: saw a log of ${size} entries, which cannot be compared behind the damage` });
  }
  // A head from before the statement that names it cannot be longer than the log was then.
  for (const { who, entry, size } of points.filter(holds)) {
    if (entry !== null && size >= entry)
      found({ entry, code: 'rewritten', message: `${who}: had seen ${size} entries when this log had ${entry - 1}: it was put back and said again` });
  }
}

function checkStatement(entry: LogEntry, change: ChangeOf<'statement'>, rootPem: string, chain: (hash: string) => readonly string[]): Statement {
  const at = Date.parse(entry.at);
  const moment = { now: at - AUDIT_TIME_SLACK, latest: at };
  const { identity, payload } = open({ payload: change.payload, signature: change.signature, chain: chain(change.chain) }, rootPem, moment);
  const statement = readStatement(payload);
  checkSigner(identity, statement);
  if (identityPath(identity) === entry.actor) return statement;
  throw new WardcastError('STATEMENT_FORGED', `it is signed by ${identityPath(identity)}, and logged as the word of ${entry.actor}`);
}

function readChain(table: FrozenTable, known: Map<string, readonly string[]>, hash: string): readonly string[] {
  const before = known.get(hash);
  if (before !== undefined) return before;
  const bytes = table.get(BLOBS + hash);
  if (bytes === undefined) throw new WardcastError('NOT_FOUND', `its certificate chain ${hash} is missing`);
  if (sha256(bytes) !== hash) throw new WardcastError('SIGNATURE_INVALID', `its certificate chain ${hash} does not have the content it is named by`);
  const chain = z.array(z.string()).parse(JSON.parse(bytes.toString('utf8')));
  known.set(hash, chain);
  return chain;
}

async function checkTiles(table: FrozenTable, tiles: ReadonlyMap<string, Buffer>, isWhole: boolean, found: (finding: Finding) => void): Promise<void> {
  const seen = new Set<string>();
  for await (const [key, stored] of table.scan(TILES, after(TILES))) {
    seen.add(key);
    const expected = tiles.get(key);
    // Behind the damage nothing is known of what the tiles should hold.
    if (expected === undefined && !isWhole) continue;
    if (expected?.equals(stored) !== true)
      found({ entry: null, code: 'tile', message: `tile ${key.slice(TILES.length)} of the log's tree does not follow from the log` });
  }
  for (const key of tiles.keys())
    if (!seen.has(key)) found({ entry: null, code: 'tile', message: `tile ${key.slice(TILES.length)} of the log's tree is missing` });
}

/** A receipt names its entry: here the place of a rewriting is known exactly. */
function checkEntry(
  table: FrozenTable,
  { name }: Witness,
  { sequence, hash }: { readonly sequence: number; readonly hash: string },
  sound: number,
  found: (finding: Finding) => void,
): void {
  if (sequence > sound) return;
  const bytes = table.get(logKey(sequence));
  if (bytes !== undefined && decodeEntry(bytes, sequence).hash === hash) return;
  found({ entry: sequence, code: 'rewritten', message: `${name}: its receipt proves another entry ${sequence}, with the hash ${hash}` });
}

function readHead(bytes: Buffer): Head {
  try {
    return decode<Head>(bytes);
  } catch {
    // Damaged: it proves no length, and is found to differ.
    return { sequence: -1, hash: '' };
  }
}
