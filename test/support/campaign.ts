import { parseArgs } from 'node:util';

/** What `npm run fuzz` and `npm run faults` are asked for. */
export interface CampaignSettings {
  readonly seconds: number;
  readonly seed: number;
  /** Names to run; empty: all. */
  readonly only: readonly string[];
  /** One failure again: `SEED:PATH` as it was printed. */
  readonly replay: { readonly seed: number; readonly path: string } | undefined;
}

/** `--seconds N --seed S --only NAME… --replay SEED:PATH`. @throws Error that says what is wrong with the command line */
export function readCampaign(args: readonly string[], defaults: { readonly seconds: number }): CampaignSettings {
  const { values } = parseArgs({
    args: [...args],
    options: { seconds: { type: 'string' }, seed: { type: 'string' }, only: { type: 'string', multiple: true }, replay: { type: 'string' } },
  });
  const seconds = Number(values.seconds ?? defaults.seconds);
  const seed = Number(values.seed ?? Math.floor(Math.random() * 0x7fffffff));
  if (!(seconds > 0)) throw new Error('--seconds takes a number above 0');
  if (!Number.isSafeInteger(seed) || seed < 0 || seed > 0x7fffffff) throw new Error(`--seed takes a whole number from 0 to ${0x7fffffff}`);
  const [replaySeed = '', ...path] = (values.replay ?? '').split(':');
  if (values.replay !== undefined && (!/^-?\d+$/.test(replaySeed) || path.length === 0)) throw new Error('--replay takes SEED:PATH as a failure printed them');
  return { seconds, seed, only: values.only ?? [], replay: values.replay === undefined ? undefined : { seed: Number(replaySeed), path: path.join(':') } };
}

/** Counts, says each as it comes, and ends with the line that scripts read. */
export class Tally {
  #passed = 0;
  #failed = 0;

  get failed(): number {
    return this.#failed;
  }

  passed(what: string): void {
    this.#passed++;
    this.note(`ok      ${what}`);
  }

  fail(what: string, why: string): void {
    this.#failed++;
    this.note(`FAILED  ${what}\n${why.replaceAll(/^/gm, '        ')}`);
  }

  note(line: string): void {
    process.stdout.write(`${line}\n`);
  }

  /** The last line, and the exit status: 0 only if something ran and nothing failed. */
  end(): number {
    this.note(`${this.#passed} passed, ${this.#failed} failed`);
    return this.#failed === 0 && this.#passed > 0 ? 0 : 1;
  }
}
