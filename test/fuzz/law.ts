import fc from 'fast-check';
import { isWardcastError } from '../../shared/base/errors.ts';

/** Something that must hold for whatever comes in. */
export interface Law {
  readonly name: string;
  /** One batch of `runs` cases. `path` repeats a failure. */
  check(o: { readonly seed: number; readonly runs: number; readonly path?: string }): Promise<Outcome>;
  /** Cases in one batch: so many that a batch takes a fraction of a second. */
  readonly batch: number;
}

export interface Outcome {
  readonly runs: number;
  /** Everything needed to repeat it. */
  readonly failure?: string;
}

export function law<T>(name: string, cases: fc.Arbitrary<T>, holds: (one: T) => void | Promise<void>, batch = 200): Law {
  return {
    name,
    batch,
    check: async ({ seed, runs, path }) => {
      const property = fc.asyncProperty(cases, async (one) => holds(one));
      const details = await fc.check(property, { seed, numRuns: runs, ...(path === undefined ? {} : { path, endOnFailure: true }) });
      if (!details.failed) return { runs: details.numRuns };
      const again = `node test/fuzz/main.ts --only ${JSON.stringify(name)} --replay ${details.seed}:${details.counterexamplePath ?? ''}`;
      const error: unknown = details.errorInstance;
      const why = error instanceof Error ? (error.stack ?? error.message) : String(error);
      return {
        runs: details.numRuns,
        failure: `again: ${again}\nshrunk ${details.numShrinks} times to: ${fc.stringify(details.counterexample).slice(0, 6000)}\n${why}`,
      };
    },
  };
}

/** CPU seconds that one case may take: everything a stranger can send is far smaller than what takes this long. */
const MAX_CPU = 2_000_000;

/** Runs a reader of foreign input: it gives a value, or it says with a code of ours what is wrong. Anything else is a defect. */
export async function lawfully(read: () => unknown): Promise<void> {
  const began = process.cpuUsage();
  try {
    await read();
  } catch (error) {
    if (!isWardcastError(error)) throw error;
    if (error.code === 'INTERNAL') throw new Error(`foreign input is called a bug of ours: ${error.message}`, { cause: error });
  }
  const { user, system } = process.cpuUsage(began);
  if (user + system > MAX_CPU) throw new Error(`took ${(user + system) / 1e6} s of CPU`);
}

/** The seed of one batch: the same for the same campaign, different for every law and batch. */
export function seedOf(campaign: number, name: string, batch: number): number {
  let hash = campaign ^ Math.imul(batch + 1, 0x9e3779b1);
  for (const character of name) hash = Math.imul(hash ^ (character.codePointAt(0) ?? 0), 0x01000193);
  return (hash >>> 0) & 0x7fffffff;
}
