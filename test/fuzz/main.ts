import path from 'node:path';
import { readCampaign, Tally } from '../support/campaign.ts';
import { ensurePrograms } from '../support/debian.ts';
import { inNamespaces, run } from '../support/namespaces.ts';
import { fuzzBroker } from './broker-target.ts';
import { fuzzDoors } from './doors-target.ts';
import { fuzzParsers } from './parsers-target.ts';

/**
 * `npm run fuzz -- [--seconds N] [--seed S] [--only NAME]… [--replay SEED:PATH]`: everything that strangers can reach is told nonsense.
 * `--only` takes a target (parsers, broker, doors) or part of a parser law's name. A failure is printed shrunk, with the command that repeats it.
 * Last line: `N passed, N failed`; exit status 0 only if nothing failed.
 */

const TARGETS = ['parsers', 'broker', 'doors'];
/** Of the time, when all of them run. */
const SHARES = { parsers: 0.12, broker: 0.5, doors: 0.38 };
/** Set in the process that runs inside network namespaces, which the real daemons need. */
const INSIDE = 'WARDCAST_FUZZ_INSIDE';

const settings = readCampaign(process.argv.slice(2), { seconds: 120 });
const named = TARGETS.filter((name) => settings.only.some((part) => part === name || part.startsWith(`${name}:`)));
const laws = settings.only.filter((part) => !named.some((name) => part === name || part.startsWith(`${name}:`)));
const whole = settings.only.length === 0;
const chosen = (name: string): boolean => whole || named.includes(name);
const shareOf = (name: keyof typeof SHARES): number => settings.seconds * (whole ? SHARES[name] : 1 / Math.max(1, named.length));

if (chosen('doors') && process.env[INSIDE] === undefined) {
  await ensurePrograms(['ip', 'unshare']);
  const again = [process.execPath, import.meta.filename, ...process.argv.slice(2), '--seed', String(settings.seed)];
  process.exitCode = await run(inNamespaces(again), { cwd: path.resolve(import.meta.dirname, '../..'), env: { [INSIDE]: '1' } });
} else {
  const tally = new Tally();
  tally.note(`seed ${settings.seed}, ${settings.seconds} s`);
  let sessions = 0;
  if (chosen('parsers') || laws.length > 0) await fuzzParsers({ ...settings, only: laws, seconds: shareOf('parsers') }, tally);
  if (chosen('broker')) sessions += await fuzzBroker({ ...settings, seconds: shareOf('broker') }, tally);
  if (chosen('doors')) sessions += await fuzzDoors({ ...settings, seconds: shareOf('doors') }, tally);
  if (sessions > 0) tally.note(`${sessions} sessions`);
  // Not by itself: after a campaign Node 24 sometimes waits for ever for a handle that was reset (Environment::CleanupHandles), a core busy.
  process.exit(tally.end());
}
