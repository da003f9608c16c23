import { mkdtemp, rm } from 'node:fs/promises';
import path from 'node:path';
import { type Content, makeContent } from './content.ts';
import { Papers } from './credentials.ts';
import { addressOf } from './lan/network.ts';
import { CONTESTANTS, type Heat, type Name, QUICK, WHOLE } from './lan/plan.ts';
import { type Result, race } from './lan/race.ts';
import { describeShape, type Outcome, rowsOf } from './lan/rows.ts';
import type { Bench, BenchContext } from './row.ts';

/** In memory, as disks are not what is measured; private to our mount namespace, so it is gone when we are, however we end. */
const MEMORY = '/run';

/** One file from the gateway to all devices of a group, each in a network namespace of its own, beside those who do the same. */
export const bench: Bench = async (context) => {
  const plan = context.quick ? QUICK : WHOLE;
  const directory = await mkdtemp(path.join(MEMORY, 'bench-lan-'));
  try {
    const devices = Array.from({ length: Math.max(...plan.map(({ shape }) => shape.devices)) }, (_, index) => `ct-${index + 1}`);
    const papers = await Papers.issue(path.join(directory, 'papers'), { ips: [addressOf(0)], devices });
    const outcomes: Outcome[] = [];
    for (const heat of plan) {
      const folder = path.join(directory, `content-${heat.shape.mib}`);
      const content = await makeContent(folder, heat.shape.mib << 20, { encrypted: heat.names.includes('wardcast, encrypted') });
      outcomes.push(await hold(context, heat, { papers, content, directory }));
      await rm(folder, { recursive: true });
    }
    return rowsOf(outcomes);
  } finally {
    await rm(directory, { recursive: true, force: true });
  }
};

/** All contestants in turns, so that the machine's moods meet each of them. One that fails costs its own figures, and the exit status. */
async function hold(
  { runs, signal, note }: BenchContext,
  { shape, names, once = [] }: Heat,
  given: { papers: Papers; content: Content; directory: string },
): Promise<Outcome> {
  const results = new Map<Name, Result[]>([...names, ...once].map((name) => [name, []]));
  const failed = new Map<Name, number>();
  for (let run = 0; run < runs; run++)
    for (const name of run === 0 ? [...names, ...once] : names) {
      const about = `${describeShape(shape)}, run ${run + 1}: ${name}`;
      try {
        const one = await race({ shape, ...given, signal }, CONTESTANTS[name]);
        results.get(name)?.push(one);
        note(`${about} ${one.seconds.toFixed(2)} s, ${one.copies.toFixed(2)} copies, ${one.cpuPercent.toFixed(0)} % CPU`);
      } catch (error) {
        signal.throwIfAborted();
        failed.set(name, (failed.get(name) ?? 0) + 1);
        process.exitCode = 1;
        note(`${about} failed: ${error instanceof Error ? error.message : String(error)}`);
      }
    }
  return { heat: { shape, names, once }, results, failed };
}
