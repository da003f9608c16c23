import { mkdir, mkdtemp, rm, writeFile } from 'node:fs/promises';
import os from 'node:os';
import path from 'node:path';
import { parseArgs } from 'node:util';
import { ensurePrograms } from '../test/support/debian.ts';
import { inNamespaces, run } from '../test/support/namespaces.ts';
import { fetchPairs } from './delta/pairs.ts';
import { describeMachine } from './machine.ts';
import type { Bench, Row } from './row.ts';

/**
 * `npm run -s bench -- [NAME…] [--json] [--quick] [--runs N]`: measures us beside a peer in the same run. `delta` takes any pair of
 * directories, tars or Debian packages with --old PATH --new PATH.
 * Standard output: one JSON array of rows with --json, else a line per row; notes go to standard error. Unless quick, results go to bench/results/ too.
 * Exit status 1 when a bench failed.
 */

const BENCHES: Readonly<Record<string, () => Promise<{ bench: Bench }>>> = {
  chunking: () => import('./chunking.ts'),
  wan: () => import('./wan.ts'),
  fleet: () => import('./fleet.ts'),
  lan: () => import('./lan.ts'),
  'swarm-simulation': () => import('./swarm-simulation.ts'),
  transports: () => import('./transports.ts'),
  confirmations: () => import('./confirmations.ts'),
  connect: () => import('./connect.ts'),
  idle: () => import('./idle.ts'),
  delta: () => import('./delta.ts'),
  control: () => import('./control.ts'),
};
const PROGRAMS = [
  ...['casync', 'socat', 'nginx', 'curl', 'openssl', 'mosquitto', 'mosquitto_sub', 'aria2c', 'mktorrent', 'udp-sender', 'iperf3'],
  ...['ip', 'tc', 'ethtool', 'unshare', 'setpriv', 'bsdiff', 'xdelta3', 'zstd', 'xz', 'time'],
];
/** Set in the process that runs inside the namespaces. */
const INSIDE = 'WARDCAST_BENCH_INSIDE';

interface Settings {
  readonly names: readonly string[];
  readonly json: boolean;
  readonly quick: boolean;
  readonly runs: number;
  readonly pair: { readonly old: string; readonly new: string } | undefined;
}

function readSettings(): Settings {
  const { values, positionals } = parseArgs({
    allowPositionals: true,
    options: {
      json: { type: 'boolean', default: false },
      quick: { type: 'boolean', default: false },
      runs: { type: 'string' },
      old: { type: 'string' },
      new: { type: 'string' },
    },
  });
  const names = positionals.length > 0 ? positionals : Object.keys(BENCHES);
  const unknown = names.filter((name) => !Object.hasOwn(BENCHES, name));
  if (unknown.length > 0) throw new Error(`No bench called ${unknown.join(', ')}; there are: ${Object.keys(BENCHES).join(', ')}`);
  const runs = Number(values.runs ?? (values.quick ? 1 : 5));
  if (!Number.isSafeInteger(runs) || runs < 1) throw new Error('--runs takes a whole number from 1 on');
  if ((values.old === undefined) !== (values.new === undefined)) throw new Error('--old and --new go together');
  const pair = values.old === undefined || values.new === undefined ? undefined : { old: values.old, new: values.new };
  return { names, json: values.json, quick: values.quick, runs, pair };
}

/** A bench that fails costs its own rows and the exit status, not hours of others. */
async function measure({ names, quick, runs, pair }: Settings, signal: AbortSignal): Promise<Row[]> {
  const rows: Row[] = [];
  for (const name of names) {
    const load = BENCHES[name];
    if (load === undefined || signal.aborted) continue;
    const directory = await mkdtemp(path.join(os.tmpdir(), `wardcast-bench-${name}-`));
    try {
      const { bench } = await load();
      const note = (text: string): void => void process.stderr.write(`${name}: ${text}\n`);
      rows.push(...(await bench({ quick, runs, signal, directory, note, pair })));
    } catch (error) {
      process.stderr.write(`${name}: failed: ${error instanceof Error ? (error.stack ?? error.message) : String(error)}\n`);
      process.exitCode = 1;
    } finally {
      await rm(directory, { recursive: true, force: true });
    }
  }
  return rows;
}

async function main(settings: Settings): Promise<void> {
  const abort = new AbortController();
  for (const signal of ['SIGINT', 'SIGTERM'] as const) process.once(signal, () => abort.abort(new Error(`stopped by ${signal}`)));
  const machine = await describeMachine();
  const rows = await measure(settings, abort.signal);
  if (!settings.quick) {
    const folder = path.join(import.meta.dirname, 'results');
    await mkdir(folder, { recursive: true });
    const part = settings.names.length === Object.keys(BENCHES).length ? '' : `-${settings.names.join('-')}`;
    const file = path.join(folder, `${new Date().toISOString().slice(0, 10)}-${machine['commit']}${part}.json`);
    await writeFile(file, `${JSON.stringify({ machine, runs: settings.runs, rows }, null, 1)}\n`);
    process.stderr.write(`Written to ${path.relative(process.cwd(), file)}\n`);
  }
  if (settings.json) process.stdout.write(`${JSON.stringify(rows, null, 1)}\n`);
  else for (const row of rows) process.stdout.write(`${describe(row)}\n`);
}

function describe(row: Row): string {
  return Object.entries(row)
    .map(([key, value]) => `${key}=${String(value).replaceAll(' ', '-')}`)
    .join('  ');
}

try {
  const settings = readSettings();
  if (process.env[INSIDE] === undefined) {
    // As the user who called: inside, everybody is root, but nothing outside belongs to that root.
    await ensurePrograms(PROGRAMS);
    // Inside there is no registry to fetch from.
    if (settings.names.includes('delta') && !settings.quick && settings.pair === undefined) await fetchPairs();
    const command = inNamespaces([process.execPath, import.meta.filename, ...process.argv.slice(2)]);
    process.exitCode = await run(command, { cwd: process.cwd(), env: { [INSIDE]: '1' } });
  } else await main(settings);
} catch (error) {
  process.stderr.write(`${error instanceof Error ? error.message : String(error)}\n`);
  process.exitCode = 1;
}
