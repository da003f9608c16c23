import { WardcastError } from '../../shared/base/errors.ts';
import { EMPTY, type Head, type LogEntry } from '../record/log.ts';
import { LogTree } from '../record/log-tree.ts';
import { said } from '../record/said.ts';
import type { Change } from '../registry/changes.ts';
import { tileKey } from '../registry/keyspace.ts';
import type { FrozenTable } from '../registry/table.ts';
import { readLog } from './read-log.ts';

/** What an auditor reads: one row per entry and application that it concerns. Null: not a matter of this entry. */
export interface AuditRow {
  readonly entry: number;
  /** When, by the provider's clock. */
  readonly at: string;
  /** Who: identity path of the operator or device whose certificate proved it, or the provider itself. */
  readonly who: string;
  /** What: type of the change; statements as `confirmation` and `inventory`. */
  readonly what: string;
  readonly customer: string | null;
  readonly site: string | null;
  readonly group: string | null;
  readonly device: string | null;
  /** The gateway that was certified or revoked. */
  readonly gateway: string | null;
  readonly application: string | null;
  readonly version: string | null;
  /** sha256 of the release's manifest. */
  readonly manifest: string | null;
  /** Sequence of the group's bundle. */
  readonly bundle: number | null;
  /** The entry by which somebody ordered that version for that group, and who that was. */
  readonly approval: number | null;
  readonly approvedBy: string | null;
  /** Of a confirmation; and what runs since. */
  readonly result: string | null;
  readonly running: string | null;
  readonly reason: string | null;
  /** The device's own time, and the number of its statement. */
  readonly deviceTime: string | null;
  readonly counter: number | null;
  /** What else the entry says, as JSON: an approval or a refusal, where a device was before, which certificate, until when, by which code. */
  readonly details: string | null;
  /** Chain hash of the entry. */
  readonly hash: string;
}

export interface Filter {
  readonly customer?: string;
  readonly site?: string;
  readonly device?: string;
  readonly application?: string;
  /** RFC 3339; the provider's clock; `until` excluded. */
  readonly since?: string;
  readonly until?: string;
}
/** What the export was taken of: its whole log, whatever the filter leaves of it. */
export interface ExportEnd extends Head {
  /** Merkle root, as signed heads of `sequence` entries state it. */
  readonly root: string;
}

/**
 * The log as rows, oldest first; the same log and filter give the same rows. Returns where the log ended.
 * @throws LOG_BROKEN: what does not verify is not exported
 */
export async function* auditRows(table: FrozenTable, filter: Filter): AsyncGenerator<AuditRow, ExportEnd> {
  const tiles = new Map<string, Buffer>();
  const tree = new LogTree({ get: (level, index) => tiles.get(tileKey(level, index)) }, 0, () => '');
  const orders = new Orders();
  let head: Head = EMPTY;
  for await (const entry of readLog(table)) {
    for (const { level, index, bytes } of tree.append(entry.hash)) tiles.set(tileKey(level, index), bytes);
    head = { sequence: entry.sequence, hash: entry.hash };
    orders.note(entry);
    for (const row of rowsOf(entry, orders)) if (passes(row, filter)) yield row;
  }
  return { ...head, root: tree.root(head.sequence).toString('hex') };
}

interface Order {
  readonly approval: number;
  readonly approvedBy: string;
}

/** Who ordered what: `current-set` as of the moment when the bundle was assigned. */
class Orders {
  readonly #current = new Map<string, Order>();
  readonly #bundles = new Map<string, ReadonlyMap<string, Order>>();

  note({ sequence, actor, change }: LogEntry): void {
    if (change.type === 'current-set') {
      this.#current.set([change.customer, change.group, change.site ?? '', change.application].join('/'), { approval: sequence, approvedBy: actor });
    } else if (change.type === 'bundle-assigned') {
      const { customer, site, group } = change;
      const orders = change.releases.flatMap(({ application }): [string, Order][] => {
        // What is ordered for one site goes before what is ordered for the group everywhere.
        const order = this.#current.get([customer, group, site, application].join('/')) ?? this.#current.get([customer, group, '', application].join('/'));
        return order === undefined ? [] : [[application, order]];
      });
      this.#bundles.set([customer, site, group, change.sequence].join('/'), new Map(orders));
    }
  }

  of(scope: { customer: string; site: string; group: string }, bundle: number, application: string): Order | undefined {
    return this.#bundles.get([scope.customer, scope.site, scope.group, bundle].join('/'))?.get(application);
  }
}

function rowsOf(entry: LogEntry, orders: Orders): AuditRow[] {
  const { change } = entry;
  if (change.type === 'statement') return statementRows(entry, said(change).statement, orders);
  const row = { ...bare(entry, change.type), ...subject(change) };
  if (change.type !== 'bundle-assigned' || change.releases.length === 0) return [row];
  return change.releases.map(({ application, version, manifest, allowDowngrade }) => ({
    ...row,
    application,
    version,
    manifest,
    details: JSON.stringify({ bundle: change.bundle, allowDowngrade }),
    ...orders.of(change, change.sequence, application),
  }));
}

function statementRows(entry: LogEntry, statement: ReturnType<typeof said>['statement'], orders: Orders): AuditRow[] {
  const { customer, site, group, device, counter, at } = statement;
  const row = { ...bare(entry, statement.type), customer, site, group, device, counter, deviceTime: at };
  if (statement.type === 'confirmation') {
    const { application, version, manifest, sequence, result, running, reason, sources } = statement;
    const outcome = { result, running: running?.version ?? '', reason: reason === undefined ? null : `${reason.code}: ${reason.message}` };
    const details = sources === undefined ? null : JSON.stringify({ sources });
    return [{ ...row, application, version, manifest, bundle: sequence, details, ...outcome, ...orders.of(statement, sequence, application) }];
  }
  const inventory = { ...row, details: JSON.stringify({ agent: statement.agent }) };
  if (statement.applications.length === 0) return [inventory];
  return statement.applications.map(({ application, version, manifest }) => ({ ...inventory, application, version, manifest, running: version }));
}

/** The plain fields by which a change says whom and what it concerns. */
function subject(change: Exclude<Change, { type: 'statement' }>): Partial<AuditRow> {
  const text = (key: string): string | null => {
    const value: unknown = Object.entries(change).find(([name]) => name === key)?.[1];
    return typeof value === 'string' ? value : null;
  };
  return {
    customer: text('customer'),
    site: text('site'),
    group: text('group'),
    device: text('device'),
    gateway: text('gateway'),
    application: text('application'),
    version: text('version'),
    manifest: text('manifest'),
    reason: text('reason'),
    bundle: change.type === 'bundle-assigned' ? change.sequence : null,
    details: detailsOf(change),
  };
}

/** Columns of their own; and what a code is checked with, which is for the provider alone. What bundles repeat of withdrawals and revocations is an entry of its own already. */
const TOLD = new Set(['type', 'customer', 'site', 'group', 'device', 'gateway', 'application', 'version', 'manifest', 'reason', 'verifier']);
const REPEATED = new Set(['sequence', 'releases', 'withdrawn', 'revoked', 'oldestCa', 'groupKey']);

function detailsOf(change: Exclude<Change, { type: 'statement' }>): string | null {
  const rest = Object.entries(change).filter(
    ([name, value]) => !TOLD.has(name) && value !== undefined && !(change.type === 'bundle-assigned' && REPEATED.has(name)),
  );
  return rest.length === 0 ? null : JSON.stringify(Object.fromEntries(rest));
}

function bare({ sequence, at, actor, hash }: LogEntry, what: string): AuditRow {
  const nothing = { customer: null, site: null, group: null, device: null, gateway: null, application: null };
  const release = { version: null, manifest: null, bundle: null };
  const none = { approval: null, approvedBy: null, result: null, running: null, reason: null, deviceTime: null, counter: null, details: null };
  return { entry: sequence, at, who: actor, what, ...nothing, ...release, ...none, hash };
}

function passes(row: AuditRow, { customer, site, device, application, since, until }: Filter): boolean {
  const is = (wanted: string | undefined, value: string | null): boolean => wanted === undefined || wanted === value;
  const at = Date.parse(row.at);
  return (
    is(customer, row.customer) &&
    is(site, row.site) &&
    is(device, row.device) &&
    is(application, row.application) &&
    (since === undefined || at >= Date.parse(since)) &&
    (until === undefined || at < Date.parse(until))
  );
}

const COLUMNS = Object.keys(bare({ sequence: 0, hash: '', at: '', actor: '', change: { type: 'customer-added', customer: '' } }, ''));

/** JSON lines (RFC 8259, one value per line), or CSV (RFC 4180). The last line names the head that the export ends at. */
export async function* printExport(rows: AsyncGenerator<AuditRow, ExportEnd>, format: 'jsonl' | 'csv'): AsyncGenerator<string, ExportEnd & { rows: number }> {
  if (format === 'csv') yield csvLine(COLUMNS);
  for (let count = 0; ; count++) {
    const next = await rows.next();
    if (next.done === true) {
      const { sequence, hash, root } = next.value;
      const end = { what: 'head', entry: sequence, hash, root, rows: count };
      yield format === 'jsonl' ? `${JSON.stringify(end)}\n` : csvLine(COLUMNS.map((column) => (column === 'manifest' ? root : pick(end, column))));
      return { ...next.value, rows: count };
    }
    yield format === 'jsonl' ? `${JSON.stringify(next.value)}\n` : csvLine(COLUMNS.map((column) => pick(next.value, column)));
  }
}

function pick(row: object, column: string): string {
  const value: unknown = Object.entries(row).find(([name]) => name === column)?.[1];
  return value === null || value === undefined ? '' : String(value);
}

/** A device may state any text: what a spreadsheet would take for a formula gets an apostrophe in front (OWASP, CSV injection). */
function csvLine(cells: readonly string[]): string {
  const cell = (text: string): string => {
    const harmless = /^[=+\-@\t\r]/.test(text) ? `'${text}` : text;
    return /[",\r\n]/.test(harmless) ? `"${harmless.replaceAll('"', '""')}"` : harmless;
  };
  return `${cells.map(cell).join(',')}\r\n`;
}

/** @throws USAGE */
export function checkFilter(filter: Filter): Filter {
  for (const [name, text] of [
    ['since', filter.since],
    ['until', filter.until],
  ] as const) {
    if (text !== undefined && Number.isNaN(Date.parse(text)))
      throw new WardcastError('USAGE', `--${name} takes a time, not ${JSON.stringify(text)}`, { remedy: 'Write it as 2026-01-31T00:00:00Z.' });
  }
  return filter;
}
