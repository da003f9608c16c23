import { mkdir, writeFile } from 'node:fs/promises';
import path from 'node:path';
import { type Bench, type Row, round } from './row.ts';
import { plot } from './swarm-simulation/plot.ts';
import { SCENARIOS, type Scenario, simulate } from './swarm-simulation/scenario.ts';

const GROUPS = [1, 2, 4, 8, 16, 100, 1000, 5000];
const QUICK_GROUPS = [1, 2, 4, 8, 16, 100];
/** 8 MiB or so, and half of it for more than a thousand devices: more would only take longer to compute. */
const CHUNKS = 128;
const FEW_CHUNKS = 64;
const PLOT = path.join(import.meta.dirname, '../docs/images/swarm-simulation.svg');

/** One release to groups of any size in virtual time, by the classes that run in agent and gateway. Draws docs/images/swarm-simulation.svg unless quick. */
export const bench: Bench = async ({ quick, signal, note }) => {
  const rows: Row[] = [];
  const curves = new Map<Scenario, [number, number][]>(SCENARIOS.map((scenario) => [scenario, []]));
  for (const scenario of SCENARIOS) {
    let two: number | undefined;
    for (const devices of quick ? QUICK_GROUPS : GROUPS) {
      signal.throwIfAborted();
      const began = performance.now();
      const chunks = devices > 1000 ? FEW_CHUNKS : CHUNKS;
      // In large groups whole chunks take turns on a port, for speed.
      const { seconds, limit, copies, complete, honest, wrong } = simulate({
        scenario,
        devices,
        chunks,
        seed: 1,
        ...(devices >= 1000 && { piece: Number.POSITIVE_INFINITY }),
      });
      if (complete < honest || wrong > 0) throw new Error(`${scenario}, ${devices} devices: ${complete} of ${honest} complete, ${wrong} wrong chunks stored`);
      const xLimit = seconds / limit;
      if (devices === 2) two = seconds;
      curves.get(scenario)?.push([devices, xLimit]);
      const ratio = two === undefined ? null : round(seconds / two);
      rows.push({
        bench: 'swarm-simulation',
        contestant: 'wardcast',
        devices,
        scenario,
        chunks,
        seconds: round(seconds),
        xLimit: round(xLimit),
        copies: round(copies),
        ratio,
      });
      note(
        `${scenario}, ${devices} devices: ${xLimit.toFixed(2)} x, ${copies.toFixed(2)} copies (${((performance.now() - began) / 1000).toFixed(1)} s to compute)`,
      );
    }
  }
  if (!quick) {
    await mkdir(path.dirname(PLOT), { recursive: true });
    await writeFile(PLOT, plot([...curves].map(([name, points]) => ({ name: name === 'bad' ? '30 % bad' : name, points }))));
  }
  return rows;
};
