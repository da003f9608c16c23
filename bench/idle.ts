import { rm } from 'node:fs/promises';
import { daemonStart } from '../cli/daemon.ts';
import { Daemon } from '../test/support/daemon.ts';
import { filesOf } from '../test/support/files.ts';
import { type DeviceUnit, World } from '../test/support/world.ts';
import { startProgram } from './child.ts';
import { cpuOf, rssOf, wakeUpsOf } from './machine.ts';
import { type Bench, type BenchContext, median, type Row, round } from './row.ts';

const MiB = 1 << 20;
/** Seconds that all looks take together, at least: keep-alive, discovery and the look at the clock come once or twice a minute. */
const MINUTE = 60;
const BARE = [process.execPath, '-e', 'setInterval(() => undefined, 60_000)'];

interface Rest {
  readonly rssMib: number;
  readonly cpuPercent: number;
  readonly wakeUpsPerSecond: number;
}

/**
 * An agent that is up to date, connected to a real gateway and that to a real provider, while nothing happens: after it installed a release,
 * and after a start at which there was nothing to do. Beside it a Node process that does nothing at all.
 */
export const bench: Bench = async (context) => {
  const world = await World.create({ plan: { acme: { north: { ct: ['ct-1'] } } }, applications: ['viewer'] });
  const seen = new Map<string, Rest[]>();
  const bare = await startProgram(BARE, async () => true);
  try {
    await world.start();
    await world.publish('viewer', '1.0.0', filesOf('viewer', '1.0.0', 8 * MiB));
    await world.setCurrent('acme', 'ct', 'viewer', '1.0.0');
    await world.untilUpToDate();
    const device = world.device('ct-1');
    await device.daemon.stop();
    for (const folder of [device.data, device.install]) await rm(folder, { recursive: true });

    for (const when of ['after an installation', 'after a start']) {
      const agent = agentOf(device);
      await agent.start();
      if (when === 'after an installation') await agent.logged((line) => line.event === 'install.concluded');
      await watch(context, seen, { [`wardcast agent ${when}`]: agent.pid, 'bare node': bare.pid });
      await agent.stop();
    }
    await watch(context, seen, { 'wardcast gateway': world.site('north').daemon.pid, 'wardcast provider': world.provider.pid });
  } finally {
    await bare.stop();
    await world.close();
  }
  const of = (name: string, what: (run: Rest) => number): number => median((seen.get(name) ?? []).map(what));
  const mean = (name: string, what: (run: Rest) => number): number => {
    const all = seen.get(name) ?? [];
    return all.reduce((sum, run) => sum + what(run), 0) / all.length;
  };
  return [...seen.keys()].map(
    (contestant): Row => ({
      bench: 'idle',
      contestant,
      rssMib: round(of(contestant, ({ rssMib }) => rssMib)),
      cpuPercent: round(mean(contestant, ({ cpuPercent }) => cpuPercent)),
      wakeUpsPerSecond: round(mean(contestant, ({ wakeUpsPerSecond }) => wakeUpsPerSecond)),
      ratio: round(of(contestant, ({ rssMib }) => rssMib) / of('bare node', ({ rssMib }) => rssMib)),
    }),
  );
};

/** Started as the command line starts it. */
function agentOf(device: DeviceUnit): Daemon {
  const { args, env } = daemonStart('agent', device.configuration);
  return new Daemon(device.device, () => device.host.spawn(process.execPath, args, { env }));
}

/** All at the same time: they do nothing, so they do not disturb each other. */
async function watch({ quick, runs, note, signal }: BenchContext, seen: Map<string, Rest[]>, processes: Readonly<Record<string, number>>): Promise<void> {
  // What was begun before has ended, and the garbage of it is cleared away.
  await sleep(quick ? 1 : 15);
  for (let run = 0; run < runs; run++) {
    signal.throwIfAborted();
    await Promise.all(
      Object.entries(processes).map(async ([name, pid]) => {
        const one = await rest(pid, quick ? 2 : Math.ceil(MINUTE / runs));
        seen.set(name, [...(seen.get(name) ?? []), one]);
        note(`run ${run + 1}: ${name} ${one.rssMib.toFixed(1)} MiB, ${one.cpuPercent.toFixed(2)} % CPU`);
      }),
    );
  }
}

async function rest(pid: number, seconds: number): Promise<Rest> {
  const [cpu, wakeUps] = await Promise.all([cpuOf(pid), wakeUpsOf(pid)]);
  await sleep(seconds);
  const [cpuAfter, wakeUpsAfter, rss] = await Promise.all([cpuOf(pid), wakeUpsOf(pid), rssOf(pid)]);
  return { rssMib: rss / 1024, cpuPercent: ((cpuAfter - cpu) / seconds) * 100, wakeUpsPerSecond: (wakeUpsAfter - wakeUps) / seconds };
}

function sleep(seconds: number): Promise<void> {
  return new Promise((resolve) => setTimeout(resolve, seconds * 1000));
}
