import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { mkdtemp } from 'node:fs/promises';
import path from 'node:path';
import readline from 'node:readline';
import { z } from 'zod';
import { type Server, startServer, worker } from './child.ts';
import { makeHerd } from './herd.ts';
import { cpuOf, rssOf } from './machine.ts';
import { startMosquitto } from './mosquitto.ts';
import { type Bench, type BenchContext, median, type Row, round } from './row.ts';

/** Handshakes under way at once. */
const AT_ONCE = 32;
const SETTLE_MS = 1500;
const Ready = z.object({ port: z.int() });
const Connected = z.object({ perSecond: z.number(), connected: z.int() });

interface Run {
  readonly perSecond: number;
  readonly cpuMs: number;
  readonly kibPerClient: number;
  readonly idleMib: number;
}

/** Devices with RSA-2048 certificates of their own connect over mTLS and stay, at our guarded broker and at mosquitto. Broker and clients have a core each. */
export const bench: Bench = async (context) => {
  const { quick, runs, directory, note } = context;
  const clients = quick ? 100 : 1000;
  const herd = path.join(directory, 'herd.json');
  const gateway = path.join(directory, 'gateway');
  await makeHerd({ file: herd, gateway, size: clients });
  const pinned = (command: readonly string[]): string[] => ['taskset', '-c', '0', ...command];
  const brokers: Readonly<Record<string, () => Promise<Server & { readonly port: number }>>> = {
    wardcast: async () => {
      const server = await startServer(pinned(worker('connect-broker', { credentials: gateway })));
      return { ...server, port: Ready.parse(server.said).port };
    },
    mosquitto: async () => startMosquitto(await mkdtemp(path.join(directory, 'mosquitto-')), gateway, pinned),
  };
  const seen = new Map<string, Run[]>(Object.keys(brokers).map((name) => [name, []]));
  for (let run = 0; run < runs; run++)
    for (const [name, start] of Object.entries(brokers)) {
      const broker = await start();
      try {
        const one = await connectAll(context, broker, herd, clients);
        seen.get(name)?.push(one);
        note(`run ${run + 1}: ${name} ${Math.round(one.perSecond)} connects/s, ${one.kibPerClient.toFixed(1)} KiB each`);
      } finally {
        await broker.stop();
      }
    }
  const of = (name: string, what: (run: Run) => number): number => median((seen.get(name) ?? []).map(what));
  return [...seen.keys()].map(
    (contestant): Row => ({
      bench: 'connect',
      contestant,
      clients,
      perSecond: round(of(contestant, ({ perSecond }) => perSecond)),
      brokerCpuMsEach: round(of(contestant, ({ cpuMs }) => cpuMs)),
      kibPerClient: round(of(contestant, ({ kibPerClient }) => kibPerClient)),
      idleRssMib: round(of(contestant, ({ idleMib }) => idleMib)),
      ratio: round(of(contestant, ({ perSecond }) => perSecond) / of('mosquitto', ({ perSecond }) => perSecond)),
    }),
  );
};

async function connectAll({ signal }: BenchContext, broker: Server & { readonly port: number }, herd: string, clients: number): Promise<Run> {
  const idle = await rssOf(broker.pid);
  const cpu = await cpuOf(broker.pid);
  const [program = '', ...args] = ['taskset', '-c', '1', ...worker('mqtt-load', { do: 'connect', port: broker.port, herd, clients, atOnce: AT_ONCE })];
  const load = spawn(program, args, { stdio: ['pipe', 'pipe', 'inherit'], signal });
  const exit = once(load, 'exit');
  try {
    const [line]: unknown[] = await once(readline.createInterface({ input: load.stdout }), 'line', { signal });
    const { perSecond, connected } = Connected.parse(JSON.parse(String(line)));
    if (connected !== clients) throw new Error(`${connected} of ${clients} clients are connected`);
    const cpuMs = (((await cpuOf(broker.pid)) - cpu) * 1000) / clients;
    await new Promise((resolve) => setTimeout(resolve, SETTLE_MS));
    return { perSecond, cpuMs, kibPerClient: ((await rssOf(broker.pid)) - idle) / clients, idleMib: idle / 1024 };
  } finally {
    load.stdin.end();
    await exit;
  }
}
