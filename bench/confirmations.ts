import { mkdtemp, rm } from 'node:fs/promises';
import path from 'node:path';
import { Level } from 'level';
import { z } from 'zod';
import { type Credentials, loadCredentials } from '../certs/credentials.ts';
import { seal, sealAside } from '../certs/envelope.ts';
import { Checkers } from '../provider/record/checkers.ts';
import { Recorder } from '../provider/record/recorder.ts';
import type { Change } from '../provider/registry/changes.ts';
import { openLevelRegistry } from '../provider/registry/level-registry.ts';
import type { Registry } from '../provider/registry/registry.ts';
import { systemClock } from '../shared/base/clock.ts';
import { LOG_GROUP_COMMIT, STATEMENTS_IN_FLIGHT } from '../shared/base/limits.ts';
import { silentLog } from '../shared/base/log.ts';
import { sha256 } from '../shared/bundle/digest.ts';
import type { Confirmation } from '../shared/wire/messages.ts';
import { runToEnd, worker } from './child.ts';
import { GATEWAY, Papers, SCOPE } from './credentials.ts';
import { cpuOf } from './machine.ts';
import { startMosquitto } from './mosquitto.ts';
import { type Bench, type BenchContext, median, type Row, round } from './row.ts';

const DEVICES = 8;
/** Gateways that pass statements on at the same time. */
const GATEWAYS = 4;
const PUBLISHERS = 50;
const Load = z.object({ perSecond: z.number() });

/**
 * Signed confirmations through the provider's recorder: verified, logged durably, projected, and answered with a receipt under a signed head. Beside it
 * one RSA signature for each and nothing else (what a receipt of its own would cost), the database alone (synced batches of the recorder's size with as many bytes), and mosquitto acknowledging the same messages without keeping them.
 */
export const bench: Bench = async (context) => {
  const { quick, runs, directory, note, signal } = context;
  const count = quick ? 1000 : 10_000;
  const papers = await Papers.issue(path.join(directory, 'papers'), { ips: ['127.0.0.1'], devices: Array.from({ length: DEVICES }, (_, i) => `ct-${i}`) });
  const envelopes = await sealed(papers, count);
  const bytes = Math.round(envelopes.reduce((sum, envelope) => sum + envelope.length, 0) / count);
  const provider = await loadCredentials(papers.of('provider'), systemClock);

  const speeds = { wardcast: [] as number[], receipts: [] as number[], level: [] as number[], mosquitto: [] as number[] };
  const cpu: number[] = [];
  for (let run = 0; run < runs; run++) {
    signal.throwIfAborted();
    const mine = await record(context, provider, envelopes);
    speeds.wardcast.push(mine.perSecond);
    cpu.push(mine.cpuMs);
    speeds.receipts.push(await receiptsAlone(provider, count));
    speeds.level.push(await levelAlone(context, count, mine.bytesPerEntry));
    speeds.mosquitto.push(await throughMosquitto(context, papers, count, bytes));
    note(
      `run ${run + 1}: ${Object.entries(speeds)
        .map(([name, all]) => `${name} ${Math.round(all.at(-1) ?? 0)}/s`)
        .join(', ')}`,
    );
  }
  const reference = median(speeds.level);
  const row = (contestant: string, all: readonly number[], more: Readonly<Record<string, number>> = {}): Row => ({
    bench: 'confirmations',
    contestant,
    messages: count,
    bytesEach: bytes,
    perSecond: round(median(all)),
    ...more,
    ratio: round(median(all) / reference),
  });
  return [
    row('wardcast', speeds.wardcast, { cpuMsEach: round(median(cpu)) }),
    row('an RSA signature for each, nothing else', speeds.receipts),
    row(`level, synced batches of ${LOG_GROUP_COMMIT}`, speeds.level),
    row('mosquitto, QoS 1, nothing kept', speeds.mosquitto, { publishers: PUBLISHERS }),
  ];
};

async function sealed(papers: Papers, count: number): Promise<Buffer[]> {
  const devices = await Promise.all(Array.from({ length: DEVICES }, (_, i) => loadCredentials(papers.of(`ct-${i}`), systemClock)));
  return Array.from({ length: count }, (_, i) => {
    const device = i % DEVICES;
    const credentials = devices[device];
    if (credentials === undefined) throw new Error('no such device');
    const statement = confirmation(`ct-${device}`, Math.floor(i / DEVICES) + 1);
    return Buffer.from(JSON.stringify(seal(Buffer.from(JSON.stringify(statement)), credentials)));
  });
}

function confirmation(device: string, counter: number): Confirmation {
  const version = `1.0.${counter}`;
  const manifest = sha256(Buffer.from(version));
  const at = '2026-01-02T03:04:05.000Z';
  const running = { version, manifest };
  const sources = { gateway: 1_000_000, peer: 0, own: 5_000_000 };
  return {
    type: 'confirmation',
    ...SCOPE,
    device,
    counter,
    at,
    application: 'viewer',
    version,
    manifest,
    sequence: counter,
    result: 'installed',
    running,
    sources,
  };
}

async function record(
  { directory }: BenchContext,
  provider: Credentials,
  envelopes: readonly Buffer[],
): Promise<{ perSecond: number; cpuMs: number; bytesPerEntry: number }> {
  const data = await mkdtemp(path.join(directory, 'registry-'));
  const registry = await openLevelRegistry(data, { clock: systemClock, log: silentLog });
  await found(registry);
  const checkers = new Checkers({ credentials: () => provider, clock: systemClock, log: silentLog });
  const recorder = new Recorder({ registry, credentials: () => provider, clock: systemClock, checkers });
  const before = registry.head.sequence;
  const cpu = await cpuOf(process.pid);
  const start = performance.now();
  await eachOf(envelopes, GATEWAYS * STATEMENTS_IN_FLIGHT, async (envelope) => {
    const { verdict } = await recorder.record(envelope, GATEWAY);
    if (verdict.outcome !== 'record') throw new Error(`a confirmation was not recorded: ${verdict.outcome}`);
  });
  const seconds = (performance.now() - start) / 1000;
  const cpuMs = (((await cpuOf(process.pid)) - cpu) * 1000) / envelopes.length;
  const logged = registry.head.sequence - before;
  if (logged !== envelopes.length) throw new Error(`${logged} of ${envelopes.length} confirmations are on the log`);
  const bytesPerEntry = Buffer.byteLength(JSON.stringify(await registry.entry(registry.head.sequence)));
  checkers.close();
  await registry.close();
  await rm(data, { recursive: true });
  return { perSecond: envelopes.length / seconds, cpuMs, bytesPerEntry };
}

async function found(registry: Registry): Promise<void> {
  const { customer, site, group } = SCOPE;
  const changes: Change[] = [
    { type: 'customer-added', customer },
    { type: 'site-added', customer, site },
    { type: 'group-added', customer, group },
    ...Array.from({ length: DEVICES }, (_, i): Change => ({ type: 'device-added', ...SCOPE, device: `ct-${i}` })),
  ];
  for (const change of changes) await registry.transact('ops/bench', () => ({ result: undefined, change }));
}

/** RSA-2048 on all threads of the pool. */
async function receiptsAlone(provider: Credentials, count: number): Promise<number> {
  const receipt = Buffer.alloc(400, 'x');
  const start = performance.now();
  await eachOf(Array.from({ length: count }), GATEWAYS * STATEMENTS_IN_FLIGHT, async () => void (await sealAside(receipt, provider)));
  return count / ((performance.now() - start) / 1000);
}

async function levelAlone({ directory }: BenchContext, count: number, bytesEach: number): Promise<number> {
  const folder = await mkdtemp(path.join(directory, 'level-'));
  const db = new Level<string, Buffer>(folder, { valueEncoding: 'buffer' });
  await db.open();
  const value = Buffer.alloc(bytesEach, 'x');
  const start = performance.now();
  for (let at = 0; at < count; at += LOG_GROUP_COMMIT) {
    const batch = Array.from({ length: Math.min(LOG_GROUP_COMMIT, count - at) }, (_, i) => ({
      type: 'put' as const,
      key: String(at + i).padStart(12, '0'),
      value,
    }));
    await db.batch(batch, { sync: true });
  }
  const seconds = (performance.now() - start) / 1000;
  await db.close();
  await rm(folder, { recursive: true });
  return count / seconds;
}

async function throughMosquitto({ directory, signal }: BenchContext, papers: Papers, messages: number, bytes: number): Promise<number> {
  const broker = await startMosquitto(await mkdtemp(path.join(directory, 'mosquitto-')), papers.of('gateway'));
  try {
    const options = { do: 'publish', port: broker.port, credentials: papers.of('ct-0'), clients: PUBLISHERS, messages, bytes };
    return Load.parse(await runToEnd(worker('mqtt-load', options), signal)).perSecond;
  } finally {
    await broker.stop();
  }
}

async function eachOf<T>(items: readonly T[], atOnce: number, work: (item: T) => Promise<void>): Promise<void> {
  const next = items.values();
  const one = async (): Promise<void> => {
    for (const item of next) await work(item);
  };
  await Promise.all(Array.from({ length: atOnce }, one));
}
