import { mkdtemp } from 'node:fs/promises';
import path from 'node:path';
import { Planner } from '../../provider/planner.ts';
import type { Change } from '../../provider/registry/changes.ts';
import { encode, ROWS } from '../../provider/registry/keyspace.ts';
import { openLevelRegistry, registryDirectory } from '../../provider/registry/level-registry.ts';
import { openLevelTable } from '../../provider/registry/level-table.ts';
import { LogRegistry } from '../../provider/registry/log-registry.ts';
import { MemoryTable } from '../../provider/registry/memory-table.ts';
import type { Registry } from '../../provider/registry/registry.ts';
import { prefixes, type Standing } from '../../provider/registry/rows.ts';
import { systemClock } from '../../shared/base/clock.ts';
import { LOG_GROUP_COMMIT } from '../../shared/base/limits.ts';
import { silentLog } from '../../shared/base/log.ts';
import type { BenchContext } from '../row.ts';

const CUSTOMERS = 100;
const GROUPS = 10;
const SITES = 5;
/** One device in so many runs something else than the others. */
const BEHIND = 100;
const TEMPLATE = 'template';
const HASH = 'a'.repeat(64);
/** What a plan could read; history and traces are left out of the copies. */
const COPIED = ['customer', 'member', 'standing', 'runs', 'current', 'device', 'group', 'site'];

export interface Planned {
  readonly fullMs: number;
  readonly fullCpuMs: number;
  readonly incrementalMs: number;
  /** Every standing read and parsed, in the largest steps that pay: what no plan that looks at each device can be faster than. */
  readonly readAllMs: number;
}

/** A registry on level with the rows of so many devices, and plans over them. */
export async function plans({ directory, runs, note, signal }: BenchContext, devices: number): Promise<Planned[]> {
  const folder = await mkdtemp(path.join(directory, 'registry-'));
  await fill(folder, devices / CUSTOMERS);
  const registry = await openLevelRegistry(folder, { clock: systemClock, log: silentLog });
  const found: Planned[] = [];
  try {
    for (let run = 0; run < runs; run++) {
      signal.throwIfAborted();
      const one = { ...(await planOnce(registry)), readAllMs: await readAll(registry, devices) };
      note(
        `run ${run + 1}: ${devices} devices, whole ${one.fullMs.toFixed(0)} ms, one changed ${one.incrementalMs.toFixed(1)} ms, all rows ${one.readAllMs.toFixed(0)} ms`,
      );
      found.push(one);
    }
  } finally {
    await registry.close();
  }
  return found;
}

async function planOnce(registry: Registry): Promise<Omit<Planned, 'readAllMs'>> {
  let assigned = 0;
  const assign = async (): Promise<void> => void assigned++;
  const signal = new AbortController().signal;
  const groupKey = (): Promise<never> => Promise.reject(new Error('nothing is encrypted here'));
  const planner = new Planner({ registry, assign, offer: async () => undefined, groupKey, clock: systemClock, log: silentLog, signal });
  const timed = async (begin: () => void): Promise<number> => {
    const start = performance.now();
    begin();
    await planner.settled();
    return performance.now() - start;
  };
  const before = process.cpuUsage();
  const fullMs = await timed(() => planner.start());
  const { user, system } = process.cpuUsage(before);
  // The devices that are behind are all of one group of each customer.
  if (assigned !== CUSTOMERS) throw new Error(`The plan assigned ${assigned} bundles instead of ${CUSTOMERS}`);
  const incrementalMs = await timed(() => planner.look({ customer: nameOf(5), site: 's0', group: 'g0' }, 'd0'));
  if (assigned !== CUSTOMERS + 1) throw new Error('The changed device was not found behind');
  return { fullMs, fullCpuMs: (user + system) / 1000, incrementalMs };
}

async function readAll(registry: Registry, devices: number): Promise<number> {
  const start = performance.now();
  let behind = 0;
  for await (const rows of registry.batches(prefixes.standings())) {
    for (const [, row] of rows) {
      const standing: Standing = JSON.parse(row.toString('utf8'));
      if (standing.running.some(({ version }) => version !== '1.0.0')) behind++;
    }
  }
  if (behind !== devices / BEHIND) throw new Error(`${behind} devices are behind`);
  return performance.now() - start;
}

/** One customer is made by the registry itself, change by change; the others get copies of its rows. */
async function fill(folder: string, each: number): Promise<void> {
  const memory = new MemoryTable();
  const template = new LogRegistry(memory, { clock: systemClock, log: silentLog });
  const changes = history(each);
  for (let at = 0; at < changes.length; at += LOG_GROUP_COMMIT) {
    await Promise.all(changes.slice(at, at + LOG_GROUP_COMMIT).map((change) => template.transact('ops/bench', () => ({ result: undefined, change }))));
  }
  const rows: (readonly [string, string])[] = [];
  const shared = new Map<string, Buffer>();
  for await (const [key, bytes] of memory.scan(ROWS, `${ROWS}~`)) {
    const [kind = ''] = key.slice(ROWS.length).split('/');
    if (COPIED.includes(kind)) rows.push([key, bytes.toString('utf8')]);
    else if (kind === 'release') shared.set(key, bytes);
  }
  const table = await openLevelTable(registryDirectory(folder));
  await table.commit(shared);
  for (let i = 0; i < CUSTOMERS; i++) {
    const name = nameOf(i);
    await table.commit(new Map(rows.map(([key, text]) => [key.replace(TEMPLATE, name), Buffer.from(text.replace(TEMPLATE, name))])));
  }
  await table.close();
}

function history(devices: number): Change[] {
  const customer = TEMPLATE;
  const at = new Date(0).toISOString();
  const role = { version: 1, sha256: HASH };
  const release = { type: 'release-published', application: 'viewer', manifestSize: 10, size: 10, files: 1, chunks: 1 } as const;
  const changes: Change[] = [
    { type: 'customer-added', customer },
    { ...release, version: '1.0.0', manifest: HASH, role },
    { ...release, version: '0.9.0', manifest: 'b'.repeat(64), role },
    ...numbers(SITES).map((i): Change => ({ type: 'site-added', customer, site: `s${i}` })),
    ...numbers(GROUPS).flatMap((i): Change[] => [
      { type: 'group-added', customer, group: `g${i}` },
      { type: 'current-set', customer, group: `g${i}`, site: null, application: 'viewer', version: '1.0.0', allowDowngrade: false },
    ]),
  ];
  for (const i of numbers(devices)) {
    const scope = { customer, site: `s${i % SITES}`, group: `g${i % GROUPS}`, device: `d${i}` };
    const [version, manifest] = i % BEHIND === 0 ? ['0.9.0', 'b'.repeat(64)] : ['1.0.0', HASH];
    const inventory = { type: 'inventory', ...scope, counter: 1, at, agent: '0.1.0', applications: [{ application: 'viewer', version, manifest }] };
    changes.push({ type: 'device-added', ...scope }, { type: 'statement', payload: encode(inventory).toString('base64'), signature: '', chain: HASH });
  }
  return changes;
}

function numbers(count: number): number[] {
  return Array.from({ length: count }, (_, i) => i);
}

function nameOf(customer: number): string {
  return `c${String(customer).padStart(3, '0')}`;
}
