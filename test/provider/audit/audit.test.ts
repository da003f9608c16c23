import { spawnSync } from 'node:child_process';
import { mkdtemp, readFile, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import fc from 'fast-check';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { seal } from '../../../certs/envelope.ts';
import { auditRows, type Filter, printExport } from '../../../provider/audit/export.ts';
import { writeExport } from '../../../provider/audit/export-file.ts';
import { type Audited, audit } from '../../../provider/audit/verify.ts';
import { readWitness, type Witness } from '../../../provider/audit/witness.ts';
import { Checkers } from '../../../provider/record/checkers.ts';
import { Recorder } from '../../../provider/record/recorder.ts';
import { registryDirectory } from '../../../provider/registry/level-registry.ts';
import { openLevelTable } from '../../../provider/registry/level-table.ts';
import { LogRegistry } from '../../../provider/registry/log-registry.ts';
import { MemoryTable } from '../../../provider/registry/memory-table.ts';
import { systemClock } from '../../../shared/base/clock.ts';
import type { GatewayIdentity } from '../../../shared/base/identity.ts';
import { silentLog } from '../../../shared/base/log.ts';
import type { LogPoint, Statement } from '../../../shared/wire/messages.ts';
import { append, FOUNDED, released } from '../../contract/registry.contract.ts';
import { Vendor } from '../provider-rig.ts';
import { confirmation, inventory, manifestOf } from '../statements.ts';

const GATEWAY: GatewayIdentity = { role: 'gateway', customer: 'acme', site: 'north', gateway: 'gw-1' };
const PROGRAM = fileURLToPath(new URL('../../../cli/wardcast.mjs', import.meta.url));
let vendor: Vendor;
let rootPem = '';
/** A log of some 300 entries, so that one tile is complete, and what a device kept of it. */
let log: Provider;
beforeAll(async () => {
  vendor = await Vendor.found();
  rootPem = vendor.credentials('provider').rootPem;
  log = await Provider.open();
  for (let at = 0; at < 260; at++) await append(log.registry, { type: 'customer-added', customer: `c-${at}` });
  await log.say(inventory('ct-1', 1, { viewer: '1.0.0' }));
  await log.say(confirmation('ct-1', 2, { sequence: 1 }));
});
afterAll(() => vendor.close());

/** Registry and recorder of a provider, on a table that a test can look into. */
class Provider {
  readonly rows: Map<string, Buffer>;
  readonly registry: LogRegistry;
  readonly recorder: Recorder;
  readonly kept: Witness[] = [];

  constructor(rows: Map<string, Buffer>) {
    this.rows = rows;
    this.registry = new LogRegistry(new MemoryTable(rows), { clock: systemClock, log: silentLog });
    const o = { registry: this.registry, credentials: () => vendor.credentials('provider'), clock: systemClock };
    this.recorder = new Recorder({ ...o, checkers: new Checkers({ ...o, log: silentLog, threads: 0 }) });
  }

  static async open(): Promise<Provider> {
    const provider = new Provider(new Map());
    await append(provider.registry, ...FOUNDED, released('viewer', '1.0.0'));
    await provider.registry.transact('ops/olga', () => ({
      result: undefined,
      change: { type: 'current-set', customer: 'acme', group: 'ct', site: null, application: 'viewer', version: '1.0.0', allowDowngrade: false },
    }));
    const releases = [{ application: 'viewer', version: '1.0.0', manifest: manifestOf('viewer 1.0.0'), size: 1, allowDowngrade: false }];
    await append(provider.registry, {
      type: 'bundle-assigned',
      customer: 'acme',
      site: 'north',
      group: 'ct',
      sequence: 1,
      bundle: manifestOf('bundle'),
      releases,
      withdrawn: [],
    });
    return provider;
  }

  /** As it was at this moment: a backup. */
  copy(): Provider {
    return new Provider(new Map(this.rows));
  }

  /** Returns the receipts message as the device has it. */
  async say(statement: Statement): Promise<Buffer> {
    const envelope = seal(Buffer.from(JSON.stringify(statement)), vendor.credentials(statement.device));
    const { sealed } = await this.recorder.record(Buffer.from(JSON.stringify(envelope)), GATEWAY);
    return Buffer.from(JSON.stringify({ head: sealed.head, receipts: [sealed.proof] }));
  }

  get point(): LogPoint {
    const size = this.registry.head.sequence;
    return { size, root: this.registry.tree.root(size).toString('hex') };
  }

  audit(witnesses: readonly Witness[] = []): Promise<Audited> {
    return audit(new MemoryTable(this.rows).frozen(), { rootPem, witnesses });
  }

  async export(filter: Filter = {}, format: 'jsonl' | 'csv' = 'jsonl'): Promise<string> {
    let text = '';
    for await (const line of printExport(auditRows(new MemoryTable(this.rows).frozen(), filter), format)) text += line;
    return text;
  }
}

function wardcast(words: readonly string[]): { status: number | null; stdout: string } {
  return spawnSync(process.execPath, [PROGRAM, ...words], { encoding: 'utf8' });
}

function key(sequence: number): string {
  return `l!${String(sequence).padStart(16, '0')}`;
}

describe('verifying a log', () => {
  test('finds nothing wrong where nothing is', async () => {
    expect(await log.audit()).toMatchObject({
      entries: log.registry.head.sequence,
      head: log.registry.head.hash,
      root: log.point.root,
      statements: 2,
      findings: [],
    });
  });

  test('says which entry one flipped bit is in, wherever it is', async () => {
    const entries = [...log.rows].filter(([name]) => name.startsWith('l!'));
    await fc.assert(
      fc.asyncProperty(fc.nat(entries.length - 1), fc.nat(), fc.nat(7), async (at, byte, bit) => {
        const [name = '', bytes = Buffer.alloc(0)] = entries[at] ?? [];
        const flipped = Buffer.from(bytes);
        const place = byte % flipped.length;
        flipped[place] = (flipped[place] ?? 0) ^ (1 << bit);
        const { findings } = await audit(new MemoryTable(new Map(log.rows).set(name, flipped)).frozen(), { rootPem, witnesses: [] });
        expect(findings[0]).toMatchObject({ entry: at + 1, code: 'log-broken' });
      }),
      { numRuns: 60 },
    );
  });

  test('finds a bit flipped in the certificates of a statement, and in a tile', async () => {
    for (const [space, expected] of [
      ['b!', { entry: log.registry.head.sequence - 1, code: 'statement' }],
      ['t!', { entry: null, code: 'tile' }],
    ] as const) {
      const [name = '', bytes = Buffer.alloc(0)] = [...log.rows].find(([one]) => one.startsWith(space)) ?? [];
      const flipped = Buffer.from(bytes);
      flipped[10] = (flipped[10] ?? 0) ^ 1;
      const rows = new Map(log.rows).set(name, flipped);
      expect((await audit(new MemoryTable(rows).frozen(), { rootPem, witnesses: [] })).findings[0]).toMatchObject(expected);
    }
  });

  test('finds that its end was cut off, and an entry that is missing', async () => {
    const end = log.registry.head.sequence;
    const cut = new Map(log.rows);
    cut.delete(key(end));
    expect((await audit(new MemoryTable(cut).frozen(), { rootPem, witnesses: [] })).findings).toMatchObject([{ entry: end, code: 'log-cut' }]);
    const gap = new Map(log.rows);
    gap.delete(key(100));
    expect((await audit(new MemoryTable(gap).frozen(), { rootPem, witnesses: [] })).findings[0]).toMatchObject({ entry: 100, code: 'log-broken' });
  });

  test('does not believe a statement that the provider put there itself', async () => {
    const provider = log.copy();
    const [statement, ours] = [confirmation('ct-1', 7), vendor.credentials('provider')];
    const forged = seal(Buffer.from(JSON.stringify(statement)), ours);
    const blob = [...provider.rows.keys()].find((name) => name.startsWith('b!'))?.slice(2) ?? '';
    await append(provider.registry, { type: 'statement', payload: forged.payload, signature: forged.signature, chain: blob });
    expect((await provider.audit()).findings).toMatchObject([{ entry: provider.registry.head.sequence, code: 'statement' }]);
  });

  test('a receipt kept elsewhere betrays a log that was written anew, to the very entry', async () => {
    const honest = log.copy();
    const before = readWitness('before.json', await honest.say(confirmation('ct-1', 3)), rootPem);
    const rewritten = honest.copy();
    const kept = readWitness('kept.json', await honest.say(confirmation('ct-1', 4, { result: 'failed', running: null })), rootPem);
    await rewritten.say(confirmation('ct-1', 4));
    await rewritten.say(confirmation('ct-1', 5));
    expect((await honest.audit([before, kept])).findings).toEqual([]);
    const { findings } = await rewritten.audit([before, kept]);
    const entry = before.size + 1;
    expect(findings).toMatchObject([
      { entry, code: 'rewritten' },
      { entry, code: 'rewritten' },
    ]);
    expect(findings.map(({ message }) => message).join('\n')).toContain(`its receipt proves another entry ${entry}`);
    expect((await log.audit([kept])).findings).toMatchObject([{ code: 'rewritten', message: expect.stringContaining('this one ends with entry') }]);
  });

  test('statements testify too: a device names the head it saw', async () => {
    const honest = log.copy();
    const backup = honest.copy();
    await honest.say(confirmation('ct-1', 3));
    const seen = honest.point;
    await honest.say(inventory('ct-1', 4, {}, { head: seen }));
    expect((await honest.audit()).findings).toEqual([]);
    await backup.say(inventory('ct-1', 5, {}, { head: seen }));
    expect((await backup.audit()).findings[0]).toMatchObject({ code: 'rewritten', message: expect.stringContaining('device/ct-1, in entry') });
  });

  test('takes no head that nobody but a provider signed', async () => {
    const head = { type: 'head', ...log.point, receipts: '0'.repeat(64), at: new Date().toISOString() };
    const forged = Buffer.from(JSON.stringify(seal(Buffer.from(JSON.stringify(head)), vendor.credentials('ct-1'))));
    expect(() => readWitness('x', forged, rootPem)).toThrow(expect.objectContaining({ code: 'STATEMENT_INVALID' }));
    const real = Buffer.from(JSON.stringify(seal(Buffer.from(JSON.stringify(head)), vendor.credentials('provider'))));
    expect(readWitness('x', real, rootPem)).toMatchObject(log.point);
  });
});

describe('exporting a log', () => {
  test('has every entry, says who ordered what runs, and ends with the head', async () => {
    const lines: Record<string, unknown>[] = (await log.export())
      .trimEnd()
      .split('\n')
      .map((line) => JSON.parse(line));
    const size = log.registry.head.sequence;
    expect([...new Set(lines.map(({ entry }) => entry))]).toEqual(Array.from({ length: size }, (_, at) => at + 1));
    const ordered = lines.find(({ what }) => what === 'current-set');
    expect(lines.find(({ what }) => what === 'confirmation')).toMatchObject({
      who: 'customer/acme/site/north/group/ct/device/ct-1',
      application: 'viewer',
      version: '1.0.0',
      bundle: 1,
      result: 'installed',
      approval: ordered?.['entry'],
      approvedBy: 'ops/olga',
    });
    expect(lines.at(-1)).toEqual({ what: 'head', entry: size, hash: log.registry.head.hash, root: log.point.root, rows: lines.length - 1 });
  });

  test('says what was done to whom also where no release is concerned, and nothing that a code could be found from', async () => {
    const provider = log.copy();
    const scope = { customer: 'acme', site: 'north', group: 'ct' } as const;
    const certified = { key: manifestOf('key'), serial: 'abc', expires: '2030-01-01T00:00:00Z', previous: null };
    const at = provider.registry.head.sequence;
    const verifier = Buffer.alloc(32, 7).toString('base64');
    const terms = { token: 'AB12', verifier, count: 1, lifetime: 3600, devices: [], byHand: true };
    await append(
      provider.registry,
      { type: 'gateway-certified', customer: 'acme', site: 'north', gateway: 'gw-2', ...certified },
      { type: 'gateway-revoked', customer: 'acme', site: 'north', gateway: 'gw-2', until: '2030-01-01T00:00:00Z', reason: 'stolen' },
      { type: 'enrolment-decided', ...scope, device: 'ct-9', key: manifestOf('key'), approved: false },
      { type: 'token-added', ...scope, ...terms, expires: '2030-01-01T00:00:00Z' },
    );
    const rows: unknown[] = (await provider.export())
      .trimEnd()
      .split('\n')
      .map((line) => JSON.parse(line));
    const details = (what: string): unknown => expect.objectContaining({ what, details: expect.any(String) });
    expect(rows.slice(-5, -1)).toEqual([details('gateway-certified'), details('gateway-revoked'), details('enrolment-decided'), details('token-added')]);
    const text = JSON.stringify(rows.slice(-5));
    expect(rows.at(-4)).toMatchObject({ entry: at + 2, gateway: 'gw-2', reason: 'stolen', details: '{"until":"2030-01-01T00:00:00Z"}' });
    expect(rows.at(-3)).toMatchObject({ device: 'ct-9', details: JSON.stringify({ key: manifestOf('key'), approved: false }) });
    expect(text).toContain(terms.token);
    expect(text).not.toContain(verifier);
  });

  test('gives the same bytes each time, filtered as asked, and the CSV the same rows', async () => {
    expect(await log.export({}, 'csv')).toBe(await log.export({}, 'csv'));
    const rows = (await log.export({ device: 'ct-1', application: 'viewer' })).trimEnd().split('\n');
    expect(rows).toHaveLength(3);
    const table = (await log.export({ device: 'ct-1', application: 'viewer' }, 'csv')).trimEnd().split('\r\n');
    expect(table).toHaveLength(4);
    expect(new Set(table.map((line) => line.split(',').length)).size).toBe(1);
    expect((await log.export({ since: '2999-01-01T00:00:00Z' })).split('\n')).toHaveLength(2);
    expect((await log.export({ customer: 'c-7', until: '2999-01-01T00:00:00Z' })).split('\n')).toHaveLength(3);
  });

  test('gives a spreadsheet no formula that a device made up', async () => {
    const provider = log.copy();
    await provider.say(confirmation('ct-1', 3, { result: 'failed', running: null, reason: { code: '=HYPERLINK("http://x")', message: 'a,b' } }));
    expect(await provider.export({ device: 'ct-1' }, 'csv')).toContain(`"'=HYPERLINK(""http://x""): a,b"`);
  });

  test('refuses a log that does not verify', async () => {
    const rows = new Map(log.rows);
    rows.delete(key(5));
    const lines = printExport(auditRows(new MemoryTable(rows).frozen(), {}), 'jsonl');
    const directory = await mkdtemp(join(tmpdir(), 'wardcast-export-'));
    await expect(writeExport(join(directory, 'out'), lines)).rejects.toMatchObject({ code: 'LOG_BROKEN', context: { sequence: 5 } });
    await expect(readFile(join(directory, 'out'))).rejects.toThrow();
    await rm(directory, { recursive: true });
  });
});

test('the commands read a data folder, and their exit status says what they found', async () => {
  const directory = await mkdtemp(join(tmpdir(), 'wardcast-audit-'));
  const path = (name: string): string => join(directory, name);
  const table = await openLevelTable(registryDirectory(path('data')));
  await table.commit(log.rows);
  await table.close();
  await writeFile(path('root.pem'), rootPem);
  const other = log.copy();
  await writeFile(path('kept.json'), await other.say(confirmation('ct-1', 3)));
  const holds = wardcast(['audit', 'verify', '--data', path('data'), '--root', path('root.pem'), '--json']);
  expect({ status: holds.status, ...JSON.parse(holds.stdout) }).toMatchObject({ status: 0, holds: true, entries: log.registry.head.sequence });
  const betrayed = wardcast(['audit', 'verify', path('kept.json'), '--data', path('data'), '--root', path('root.pem'), '--json']);
  expect({ status: betrayed.status, ...JSON.parse(betrayed.stdout) }).toMatchObject({ status: 5, findings: [{ code: 'rewritten' }] });
  const exported = wardcast(['audit', 'export', '--data', path('data'), '--out', path('log.jsonl'), '--json']);
  expect({ status: exported.status, ...JSON.parse(exported.stdout) }).toMatchObject({ status: 0, head: log.registry.head.hash });
  expect(await readFile(path('log.jsonl'), 'utf8')).toBe(await log.export());
  await rm(directory, { recursive: true });
}, 30_000);
