import { once } from 'node:events';
import { mkdir } from 'node:fs/promises';
import path from 'node:path';
import { start as startChild } from './child.ts';
import { bench as confirmations } from './confirmations.ts';
import { bench as connect } from './connect.ts';
import { plans } from './control/plan.ts';
import { reconnect } from './control/reconnect.ts';
import { bench as idle } from './idle.ts';
import { type Bench, type BenchContext, median, type Row, round } from './row.ts';

const PROJECT = path.resolve(import.meta.dirname, '..');

/**
 * What the control plane has to bear: a plan over many devices, a site's connections after its gateway was killed, signed confirmations, an agent's
 * memory at rest, the command line's start. `ratio`: figure / target; at most 1 is reached, where `better` is "more", at least 1.
 */
export const bench: Bench = async (context) => {
  // Daemons are measured as they are installed: bundled ahead.
  await runQuietly([process.execPath, path.join(PROJECT, 'packaging/build.ts')]);
  const rows: Row[] = [];
  for (const part of [planning, reconnecting, confirming, resting, starting]) {
    context.signal.throwIfAborted();
    const directory = path.join(context.directory, part.name);
    await mkdir(directory);
    rows.push(...(await part({ ...context, directory })));
  }
  return rows;
};

function row(
  contestant: string,
  what: string,
  figure: number,
  unit: string,
  target: number | null,
  more: Row | Readonly<Record<string, number | string>> = {},
): Row {
  return { ...more, bench: 'control', contestant, what, figure: round(figure), unit, target, ratio: target === null ? null : round(figure / target) };
}

async function planning(context: BenchContext): Promise<Row[]> {
  const devices = context.quick ? 100_000 : 1_000_000;
  const found = await plans(context, devices);
  const of = (name: keyof (typeof found)[number]): number => median(found.map((one) => one[name]));
  return [
    row('wardcast', 'plan-full', of('fullMs') / 1000, 's', 3, { devices, cpuSeconds: round(of('fullCpuMs') / 1000) }),
    row("every device's row read and parsed", 'plan-full', of('readAllMs') / 1000, 's', null, { devices }),
    row('wardcast', 'plan-incremental', of('incrementalMs'), 'ms', 10, { devices }),
  ];
}

async function reconnecting(context: BenchContext): Promise<Row[]> {
  const devices = context.quick ? 200 : 1000;
  const found = await reconnect(context, devices);
  const of = (name: keyof (typeof found)[number]): number => median(found.map((one) => one[name]));
  const directory = path.join(context.directory, 'peers');
  await mkdir(directory);
  const peers = await connect({ ...context, directory, runs: 1 });
  return [
    row('wardcast', 'reconnect', of('seconds'), 's', 10, {
      devices,
      afterReady: round(of('afterReady')),
      gatewayCpu: round(of('cpu')),
      devicesCpu: round(of('devicesCpu')),
      failedHandshakes: of('failed'),
    }),
    row('wardcast', 'gateway-rss', of('peakMib'), 'MiB', 250, { devices, atRest: round(of('restMib')) }),
    // The bare broker and mosquitto beside it, with clients that wait for each other and never fail.
    ...peers.map((peer) => row(`${peer.contestant}, broker alone`, 'reconnect', devices / Number(peer['perSecond']), 's', null, { devices })),
  ];
}

async function confirming(context: BenchContext): Promise<Row[]> {
  const found = await confirmations(context);
  return found.map((one) =>
    row(one.contestant, 'confirmations', Number(one['perSecond']), '1/s', one.contestant === 'wardcast' ? 5000 : null, { better: 'more' }),
  );
}

async function resting(context: BenchContext): Promise<Row[]> {
  const found = await idle(context);
  return found.flatMap((one) => {
    const agent = one.contestant.startsWith('wardcast agent');
    return [
      row(one.contestant, 'idle-rss', Number(one['rssMib']), 'MiB', agent ? 75 : null),
      row(one.contestant, 'idle-wake-ups', Number(one['wakeUpsPerSecond']), '1/s', null, { cpuPercent: Number(one['cpuPercent']) }),
    ];
  });
}

async function starting({ runs, quick }: BenchContext): Promise<Row[]> {
  const commands = { wardcast: [path.join(PROJECT, 'cli/wardcast.mjs'), '--help'], 'bare node': ['-e', '0'] };
  const rows: Row[] = [];
  for (const [contestant, args] of Object.entries(commands)) {
    const times: number[] = [];
    for (let run = 0; run < Math.max(runs, quick ? 3 : 5); run++) {
      const from = performance.now();
      await runQuietly([process.execPath, ...args]);
      times.push(performance.now() - from);
    }
    rows.push(row(contestant, 'help', median(times), 'ms', contestant === 'wardcast' ? 250 : null));
  }
  return rows;
}

async function runQuietly(command: readonly string[]): Promise<void> {
  const [status]: unknown[] = await once(startChild(command, ['ignore', 'ignore', 'inherit'], PROJECT), 'exit');
  if (status !== 0) throw new Error(`${command.join(' ')} ended with ${String(status)}`);
}
