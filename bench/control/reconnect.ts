import { type ChildProcess, spawn } from 'node:child_process';
import { on, once } from 'node:events';
import { writeFile } from 'node:fs/promises';
import path from 'node:path';
import readline from 'node:readline';
import { setTimeout as sleep } from 'node:timers/promises';
import { z } from 'zod';
import { daemonStart } from '../../cli/daemon.ts';
import { createSigningKey } from '../../shared/trust/keys.ts';
import { daysFrom } from '../../shared/trust/repository.ts';
import { signRoot } from '../../shared/trust/sign.ts';
import { Daemon } from '../../test/support/daemon.ts';
import { start, worker } from '../child.ts';
import { makeHerd } from '../herd.ts';
import { cpuOf, rssOf } from '../machine.ts';
import type { BenchContext } from '../row.ts';

const PORT = 18_993;
const WORKERS = 2;
const TIMEOUT_MS = 180_000;
/** Lists of peers, of which there is one every ten seconds for a thousand devices, have been told when memory is looked at. */
const SETTLE_MS = 12_000;
const AllGreeted = z.object({ allAt: z.number(), lists: z.int(), peers: z.int() });

export interface Reconnected {
  /** From the kill to the last device's greeting, and from when the gateway was ready again. */
  readonly seconds: number;
  readonly afterReady: number;
  readonly peakMib: number;
  readonly restMib: number;
  /** CPU seconds of the gateway, its start included, and of the processes that play the devices. */
  readonly cpu: number;
  readonly devicesCpu: number;
  /** Connections that the gateway let in, and that it turned away or that broke during the handshake. */
  readonly accepted: number;
  readonly failed: number;
}

/** Many devices are connected to a real gateway process, which is killed and started again at once. */
export async function reconnect({ directory, quick, signal, note, runs }: BenchContext, size: number): Promise<Reconnected[]> {
  const at = (name: string): string => path.join(directory, name);
  await makeHerd({ file: at('herd.json'), gateway: at('gateway'), size });
  const key = await createSigningKey();
  const role = { keys: [key], threshold: 1 };
  const roles = { root: role, targets: role, snapshot: role, timestamp: role };
  await writeFile(at('root.json'), signRoot({ version: 1, expires: daysFrom(new Date(), 1), keys: [key], roles }));
  // The line is down: nobody listens there.
  const lines = ['[uplink]', 'host = "127.0.0.1"', 'port = 1', '[lan]', 'host = "127.0.0.1"', `port = ${PORT}`];
  const files = [`data = ${JSON.stringify(at('data'))}`, `credentials = ${JSON.stringify(at('gateway'))}`, `root = ${JSON.stringify(at('root.json'))}`];
  await writeFile(at('gateway.toml'), `${[...files, ...lines].join('\n')}\n`);
  const { args, env } = daemonStart('gateway', at('gateway.toml'));
  const gateway = new Daemon('gateway', () => spawn(process.execPath, args, { env, stdio: ['ignore', 'ignore', 'pipe'] }));
  const workers = Array.from({ length: WORKERS }, (_, i) => {
    const [from, to] = [Math.floor((size * i) / WORKERS), Math.floor((size * (i + 1)) / WORKERS)];
    return new Devices(start(worker('control-devices', { port: PORT, herd: at('herd.json'), from, to }), ['pipe', 'pipe', 'inherit']));
  });
  const found: Reconnected[] = [];
  try {
    await gateway.start();
    await Promise.all(workers.map((one) => one.greeted(signal)));
    for (let run = 0; run < runs; run++) {
      signal.throwIfAborted();
      await sleep(quick ? 1000 : 3000);
      const again = workers.map((one) => one.greeted(signal));
      const killed = Date.now();
      const from = gateway.lines.length;
      const devicesBefore = await cpuOfAll(workers);
      await gateway.kill();
      await gateway.start();
      const ready = Date.now();
      let peak = 0;
      const sampling = setInterval(async () => {
        peak = Math.max(peak, await rssOf(gateway.pid).catch(() => 0));
      }, 50);
      const last = Math.max(...(await Promise.all(again)));
      const [cpu, devicesAfter] = await Promise.all([cpuOf(gateway.pid), cpuOfAll(workers)]);
      await sleep(quick ? 1000 : SETTLE_MS);
      clearInterval(sampling);
      const restMib = (await rssOf(gateway.pid)) / 1024;
      const times = { seconds: (last - killed) / 1000, afterReady: (last - ready) / 1000, cpu, devicesCpu: devicesAfter - devicesBefore };
      const one = { ...times, peakMib: peak / 1024, restMib, ...doorOf(gateway, from) };
      note(
        `run ${run + 1}: ${size} devices back after ${one.seconds.toFixed(1)} s (${one.failed} handshakes failed), gateway at most ${one.peakMib.toFixed(0)} MiB, at rest ${restMib.toFixed(0)} MiB, ${cpu.toFixed(1)} s CPU; the devices ${one.devicesCpu.toFixed(1)} s CPU`,
      );
      found.push(one);
    }
  } finally {
    await Promise.all(workers.map((one) => one.end()));
    if (gateway.running) await gateway.stop();
  }
  return found;
}

function doorOf(gateway: Daemon, from: number): Pick<Reconnected, 'accepted' | 'failed'> {
  const lines = gateway.lines.slice(from);
  const count = (event: string): number => lines.filter((line) => line.event === event).length;
  const more = lines.reduce((sum, line) => sum + (line.event === 'door.refused_more' ? Number(line['count']) : 0), 0);
  return { accepted: count('broker.connected'), failed: count('door.refused') + more };
}

async function cpuOfAll(workers: readonly Devices[]): Promise<number> {
  const seconds = await Promise.all(workers.map(({ pid }) => cpuOf(pid)));
  return seconds.reduce((sum, one) => sum + one, 0);
}

/** One worker and what it says. */
class Devices {
  readonly #child: ChildProcess;
  readonly #lines: readline.Interface;

  constructor(child: ChildProcess) {
    if (child.stdout === null) throw new Error('no stdout');
    this.#child = child;
    this.#lines = readline.createInterface({ input: child.stdout });
  }

  get pid(): number {
    const { pid } = this.#child;
    if (pid === undefined) throw new Error('The devices did not start');
    return pid;
  }

  /** When the last of its devices was greeted, the next time that comes about. */
  async greeted(signal: AbortSignal): Promise<number> {
    const waiting = AbortSignal.any([signal, AbortSignal.timeout(TIMEOUT_MS)]);
    for await (const [line] of on(this.#lines, 'line', { signal: waiting })) {
      const told = AllGreeted.safeParse(JSON.parse(String(line)));
      if (told.success) return told.data.allAt;
    }
    throw new Error('The devices ended');
  }

  async end(): Promise<void> {
    const exit = once(this.#child, 'exit');
    this.#child.stdin?.end();
    await exit;
  }
}
