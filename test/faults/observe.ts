import { readdir, readFile, readlink } from 'node:fs/promises';
import path from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { sha256 } from '../../shared/bundle/digest.ts';
import { Statement } from '../../shared/wire/messages.ts';
import { hashTree } from '../support/tree.ts';
import { METRICS_PORT, type World } from '../support/world.ts';
import type { Observed } from './truth.ts';

/** Files of each published release, by application and version. */
export type Signed = ReadonlyMap<string, ReadonlyMap<string, string>>;

export interface LoggedStatement {
  readonly key: string;
  readonly device: string;
  readonly payload: string;
  readonly signature: string;
}

/** Looks at what runs on every device while things go wrong: at every moment it must be one whole release. */
export async function watchTrees(world: World, signed: Signed, signal: AbortSignal): Promise<string[]> {
  const halves: string[] = [];
  while (!signal.aborted) {
    for (const { device, install } of world.devices.values()) {
      for (const application of ['viewer', 'driver']) {
        const half = await halfTree(path.join(install, application, 'current'), application, signed);
        if (half !== undefined) halves.push(`${device}: ${half}`);
      }
    }
    await sleep(200, undefined, { signal }).catch(() => undefined);
  }
  return halves;
}

async function halfTree(current: string, application: string, signed: Signed): Promise<string | undefined> {
  const before = await readlink(current).catch(() => undefined);
  if (before === undefined) return undefined;
  const files = await hashTree(path.resolve(path.dirname(current), before)).catch(() => undefined);
  const after = await readlink(current).catch(() => undefined);
  // Replaced while it was read: what was read may be gone by right.
  if (before !== after) return undefined;
  if (files === undefined) return `${before} cannot be read`;
  for (const [release, expected] of signed) if (release.startsWith(`${application} `) && altered(files, expected).length === 0) return undefined;
  return `${application} at ${before}: ${[...files.keys()].join(', ')}`;
}

function altered(files: ReadonlyMap<string, string>, expected: ReadonlyMap<string, string>): string[] {
  return [...new Set([...files.keys(), ...expected.keys()])].filter((name) => files.get(name) !== expected.get(name));
}

export async function observe(
  world: World,
  signed: Signed,
  secrets: Readonly<Record<string, ReadonlySet<string>>>,
): Promise<Omit<Observed, 'halves' | 'line' | 'waiting'>> {
  const ops = await world.ops();
  const { devices } = await world.status();
  const rows = [];
  for (const { device, application, customerVersion } of devices) {
    const installed = await world.installed(world.device(device), application);
    const expected = signed.get(`${application} ${installed?.version}`) ?? new Map<string, string>();
    rows.push({
      device,
      application,
      registered: customerVersion,
      installed: installed?.version,
      altered: installed === undefined ? [] : altered(installed.files, expected),
    });
  }
  const foreign: string[] = [];
  for (const { device, group, data, install } of world.devices.values()) {
    for (const folder of [data, install]) foreign.push(...(await holding(folder, secrets[group] ?? new Set())).map((file) => `${device}: ${file}`));
  }
  return {
    differences: (await ops.call('registry.check', {})).differences,
    rows,
    foreign,
    statements: (await statements(world)).map(({ key }) => key),
  };
}

/** Files below a folder whose content is one of these. The database's own files change under way and hold no content. */
async function holding(folder: string, hashes: ReadonlySet<string>): Promise<string[]> {
  const found: string[] = [];
  for (const entry of await readdir(folder, { recursive: true, withFileTypes: true }).catch(() => [])) {
    if (!entry.isFile() || entry.parentPath.includes(`${path.sep}state`)) continue;
    const file = path.join(entry.parentPath, entry.name);
    const bytes = await readFile(file).catch(() => undefined);
    if (bytes !== undefined && hashes.has(sha256(bytes))) found.push(path.relative(folder, file));
  }
  return found;
}

/** Every statement on the log, oldest first. */
export async function statements(world: World): Promise<LoggedStatement[]> {
  const ops = await world.ops();
  const found: LoggedStatement[] = [];
  for (let from = 0; ; ) {
    const entries = await ops.call('log.list', { from, limit: 500 });
    for (const { change } of entries) {
      const { payload, signature } = change;
      if (change.type !== 'statement' || typeof payload !== 'string' || typeof signature !== 'string') continue;
      const { device, counter } = Statement.parse(JSON.parse(Buffer.from(payload, 'base64').toString('utf8')));
      found.push({ key: `${device} ${counter}`, device, payload, signature });
    }
    const last = entries.at(-1);
    if (last === undefined || entries.length < 500) return found;
    from = last.sequence + 1;
  }
}

/** How many statements wait for a receipt at each device and at the gateway. */
export async function waiting(world: World): Promise<Record<string, number>> {
  const counts: Record<string, number> = {};
  const hosts = [...world.devices.values(), ...world.sites.values()].map(({ host, daemon }) => ({
    name: daemon.name,
    address: Object.entries(host.addresses).find(([network]) => network !== 'wan')?.[1] ?? '',
  }));
  for (const { name, address } of hosts) {
    const text = await fetch(`http://${address}:${METRICS_PORT}/metrics`).then((response) => response.text(), String);
    counts[name] = Number(/^wardcast_outbox_statements(?:\{.*\})? (\d+)$/m.exec(text)?.[1] ?? Number.NaN);
  }
  return counts;
}
