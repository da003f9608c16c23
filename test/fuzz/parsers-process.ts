import { rm } from 'node:fs/promises';
import { type Law, seedOf } from './law.ts';
import { parserLaws } from './parsers.ts';
import type { ParserOrder, ParserReport } from './parsers-target.ts';
import { makeSamples } from './samples.ts';

/** A process that is watched from outside while it reads what nobody should send: a reader that never returns cannot be caught from within. */

function tell(report: ParserReport): void {
  process.send?.(report);
}

async function run(order: ParserOrder): Promise<void> {
  const samples = await makeSamples();
  const laws = (await parserLaws(samples)).filter(({ name }) => order.only.length === 0 || order.only.some((part) => name.includes(part)));
  try {
    if (order.replay === undefined) await inTurns(laws, order);
    else for (const law of laws) await batch(law, { ...order.replay, runs: law.batch });
  } finally {
    await rm(samples.directory, { recursive: true, force: true });
  }
  tell({ is: 'done', rss: process.memoryUsage().rss });
}

/** Each law gets a batch in its turn, so that a short campaign sees all of them; one that failed is out. */
async function inTurns(laws: readonly Law[], { seconds, seed }: ParserOrder): Promise<void> {
  const deadline = performance.now() + seconds * 1000;
  const standing = new Set(laws);
  // Of a short campaign too every law gets its turn.
  const share = Math.min(1, seconds / 60);
  for (let round = 0; round === 0 || performance.now() < deadline; round++) {
    for (const law of standing) {
      if (round > 0 && performance.now() >= deadline) return;
      if (!(await batch(law, { seed: seedOf(seed, law.name, round), runs: Math.ceil(law.batch * share) }))) standing.delete(law);
    }
    if (standing.size === 0) return;
  }
}

async function batch(law: Law, o: { readonly seed: number; readonly runs: number; readonly path?: string }): Promise<boolean> {
  tell({ is: 'begin', law: law.name, seed: o.seed });
  const { runs, failure } = await law.check(o);
  tell({ is: 'ran', law: law.name, runs, ...(failure === undefined ? {} : { failure }) });
  return failure === undefined;
}

process.once('message', (order: ParserOrder) => {
  void run(order).finally(() => process.disconnect());
});
