import { readCampaign, Tally } from '../support/campaign.ts';
import { fuzzBroker } from './broker-target.ts';
import { fuzzParsers } from './parsers-target.ts';

/**
 * `npm run fuzz -- [--seconds N] [--seed S] [--only NAME]… [--replay SEED:PATH]`: everything that strangers can reach is told nonsense.
 * `--only` takes a target (parsers, broker) or part of a law's name. A failure is printed shrunk, with the command that repeats it.
 * Last line: `N passed, N failed`.
 */

const TARGETS = ['parsers', 'broker'];
/** Of the time. */
const SHARES = { parsers: 0.3, broker: 0.7 };

const settings = readCampaign(process.argv.slice(2), { seconds: 120 });
const named = TARGETS.filter((name) => settings.only.some((part) => part === name || part.startsWith(`${name}:`)));
const laws = settings.only.filter((part) => !TARGETS.includes(part) && !TARGETS.some((name) => part.startsWith(`${name}:`)));
const chosen = (name: string): boolean => settings.only.length === 0 || named.includes(name);
const whole = settings.only.length === 0;

const tally = new Tally();
tally.note(`seed ${settings.seed}, ${settings.seconds} s`);
if (chosen('parsers') || laws.length > 0) {
  await fuzzParsers({ ...settings, only: laws, seconds: settings.seconds * (whole ? SHARES.parsers : 1) }, tally);
}
if (chosen('broker')) await fuzzBroker({ ...settings, seconds: settings.seconds * (whole ? SHARES.broker : 1) }, tally);
process.exitCode = tally.end();
