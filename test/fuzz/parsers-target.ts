import { fork } from 'node:child_process';
import { once } from 'node:events';
import { join } from 'node:path';
import type { CampaignSettings, Tally } from '../support/campaign.ts';

export type ParserOrder = Pick<CampaignSettings, 'seconds' | 'seed' | 'only' | 'replay'>;
export type ParserReport =
  | { readonly is: 'begin'; readonly law: string; readonly seed: number }
  | { readonly is: 'ran'; readonly law: string; readonly runs: number; readonly failure?: string }
  | { readonly is: 'done'; readonly rss: number };

/** Milliseconds without a word: a batch takes a fraction of a second, and shrinking a failure some more. */
const HANG = 180_000;
/** MiB of heap: what no reader of a few hundred kilobytes may ever need. */
const HEAP = 400;

/** All readers of foreign input, in a process of their own. */
export async function fuzzParsers(order: ParserOrder, tally: Tally): Promise<void> {
  const child = fork(join(import.meta.dirname, 'parsers-process.ts'), {
    execArgv: [`--max-old-space-size=${HEAP}`],
    stdio: ['ignore', 'inherit', 'inherit', 'ipc'],
  });
  const ended = once(child, 'exit');
  const cases = new Map<string, number>();
  const broken = new Set<string>();
  let now = 'starting';
  let done = false;
  let watchdog: NodeJS.Timeout | undefined;
  const feed = (): void => {
    clearTimeout(watchdog);
    watchdog = setTimeout(() => {
      tally.fail(now, `hangs: not a word for ${HANG / 1000} s`);
      broken.add(now);
      child.kill('SIGKILL');
    }, HANG);
  };
  child.on('message', (report: ParserReport) => {
    feed();
    if (report.is === 'begin') now = `${report.law} (seed ${report.seed})`;
    if (report.is === 'ran') {
      cases.set(report.law, (cases.get(report.law) ?? 0) + report.runs);
      if (report.failure !== undefined) {
        broken.add(report.law);
        tally.fail(report.law, report.failure);
      }
    }
    if (report.is === 'done') done = true;
  });
  feed();
  child.send(order);
  const [code, signal] = await ended;
  clearTimeout(watchdog);
  for (const [law, runs] of cases) if (!broken.has(law)) tally.passed(`${law}: ${runs} cases`);
  if (!done && !broken.has(now))
    tally.fail(now, `the process ended (status ${String(code)}, signal ${String(signal)}): out of memory, or an exception that nobody caught`);
}
