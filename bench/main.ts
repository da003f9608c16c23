import { mkdir, mkdtemp, rm, writeFile } from 'node:fs/promises';
import os from 'node:os';
import path from 'node:path';
import { parseArgs } from 'node:util';
import { describeMachine } from './machine.ts';
import type { Bench, Row } from './row.ts';

/**
 * `npm run -s bench -- [NAME…] [--json] [--quick] [--runs N]`: measures us beside a peer in the same run.
 * Standard output: one JSON array of rows with --json, else a line per row. Results go to bench/results/ as well.
 */

const BENCHES: Readonly<Record<string, () => Promise<{ bench: Bench }>>> = {
  chunking: () => import('./chunking.ts'),
  wan: () => import('./wan.ts'),
  lan: () => import('./lan.ts'),
  confirmations: () => import('./confirmations.ts'),
  connect: () => import('./connect.ts'),
  idle: () => import('./idle.ts'),
};

const { values, positionals } = parseArgs({
  allowPositionals: true,
  options: { json: { type: 'boolean', default: false }, quick: { type: 'boolean', default: false }, runs: { type: 'string' } },
});
const names = positionals.length > 0 ? positionals : Object.keys(BENCHES);
const unknown = names.filter((name) => !Object.hasOwn(BENCHES, name));
if (unknown.length > 0) {
  process.stderr.write(`No bench called ${unknown.join(', ')}; there are: ${Object.keys(BENCHES).join(', ')}\n`);
  process.exit(2);
}

const abort = new AbortController();
for (const signal of ['SIGINT', 'SIGTERM'] as const) process.once(signal, () => abort.abort());
const machine = await describeMachine();
const runs = Number(values.runs ?? (values.quick ? 1 : 5));
const rows: Row[] = [];
for (const name of names) {
  const load = BENCHES[name];
  if (load === undefined) continue;
  const directory = await mkdtemp(path.join(os.tmpdir(), `wardcast-bench-${name}-`));
  try {
    const { bench } = await load();
    const note = (text: string): void => void process.stderr.write(`${name}: ${text}\n`);
    rows.push(...(await bench({ quick: values.quick, runs, signal: abort.signal, directory, note })));
  } finally {
    await rm(directory, { recursive: true, force: true });
  }
}

if (values.json) process.stdout.write(`${JSON.stringify(rows, null, 1)}\n`);
else for (const row of rows) process.stdout.write(`${Object.entries(row).map(([key, value]) => `${key}=${value}`).join('  ')}\n`);

if (!values.quick) {
  const folder = path.join(import.meta.dirname, 'results');
  await mkdir(folder, { recursive: true });
  await writeFile(path.join(folder, `${new Date().toISOString().slice(0, 10)}-${machine['commit']}.json`), `${JSON.stringify({ machine, runs, rows }, null, 1)}\n`);
}
