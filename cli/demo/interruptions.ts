import { existsSync } from 'node:fs';
import { readdir } from 'node:fs/promises';
import path from 'node:path';
import { WardcastError } from '../../shared/base/errors.ts';
import { bytesText, secondsText } from '../units.ts';
import { CUT_SITE, DEVICES, type DemoRelease, deviceName, sameSite, siteName, VICTIM } from './cast.ts';
import { runningManifest, runsExactly } from './disk-check.ts';
import type { RecoveryFigure } from './report.ts';
import { confirmed, makeCurrent } from './rollout.ts';
import type { Stage } from './stage.ts';

/** Milliseconds after which something that should happen has not. */
const WAIT = 60_000;
/** Files that are written when the plug is pulled: past the start, far from the end. */
const SOME_FILES = 8;
/** Milliseconds between looks at a folder that is about to change. */
const GLANCE = 2;

/** Waits for the victim to build its new release, pulls the plug then, and starts it again. Call before the release becomes current. */
export async function killDuring(stage: Stage, release: DemoRelease): Promise<RecoveryFigure> {
  const { narrator } = stage;
  const victim = stage.agent(VICTIM);
  const installed = stage.home.installed(VICTIM);
  const next = stage.signed.of(release);
  let concluded = false;
  const stop = victim.onLine((line) => {
    if (line['event'] === 'install.concluded' && line['application'] === release.application && line['version'] === release.version) concluded = true;
  });
  const staging = path.join(installed, release.application, 'staging', next.hash);
  await until(stage, () => existsSync(staging), `${deviceName(VICTIM)} begins to install ${release.application} ${release.version}`);
  // Let it write some files first: the middle, not the start.
  await until(stage, async () => concluded || !existsSync(staging) || (await countFiles(staging)) >= SOME_FILES, 'the installation gets on');
  await victim.kill();
  stop();
  const halfBuilt = existsSync(staging) ? await countFiles(staging) : 0;
  const before = await runningManifest(installed, release.application);
  const midway = !concluded && before !== next.hash;
  narrator.say(
    `${narrator.colors.yellow('⚡')} SIGKILL to ${deviceName(VICTIM)} in the middle of installing ${release.application} ${release.version}: ${halfBuilt} of ${next.manifest.files.length} files are written, the old version still runs whole`,
  );
  const start = performance.now();
  await victim.start(stage.signal);
  await confirmed(stage, [VICTIM], [release]);
  const seconds = (performance.now() - start) / 1000;
  const whole = (await runningManifest(installed, release.application)) === next.hash && (await runsExactly(installed, next.manifest));
  return { what: `agent ${deviceName(VICTIM)} killed in the middle of an installation`, seconds: round(seconds), recovered: midway && whole };
}

/** Milliseconds the line stays cut. */
const OUTAGE = 1500;

/** Rolls out to one site, cuts its line half-way, restores it, and waits until everybody there has confirmed. */
export async function cutDuring(stage: Stage, releases: readonly DemoRelease[], expectedBytes: number): Promise<RecoveryFigure> {
  const { narrator } = stage;
  const line = stage.line(CUT_SITE);
  const site = siteName(CUT_SITE);
  const devices = DEVICES.filter((device) => sameSite(device, CUT_SITE));
  const before = line.traffic.down;
  // At that byte, not at a look that comes too late: patches are over in a moment.
  const half = line.cameDown(before + expectedBytes / 2).then(() => line.cut());
  await makeCurrent(stage, releases, { customer: CUT_SITE.customer });
  await until(stage, () => line.isCut, `the line to ${site} is half through`);
  await half;
  const midway = line.traffic.down - before < expectedBytes;
  narrator.say(`${narrator.colors.yellow('✂')} the line to ${site} is cut after ${bytesText(line.traffic.down - before)} of ${bytesText(expectedBytes)}`);
  await stage.view.disconnected(CUT_SITE, WAIT);
  narrator.say(`the provider sees the gateway of ${site} gone; its devices run on with what they have`);
  await new Promise((resolve) => setTimeout(resolve, OUTAGE));
  line.restore();
  const start = performance.now();
  await stage.view.connected([CUT_SITE], WAIT);
  narrator.say(`restored: the gateway dialled in by itself after ${secondsText(performance.now() - start)} and asks only for what it lacks`);
  await confirmed(stage, devices, releases);
  return { what: `line of ${site} cut in the middle of a transfer`, seconds: round((performance.now() - start) / 1000), recovered: midway };
}

async function until(stage: Stage, holds: () => boolean | Promise<boolean>, what: string): Promise<void> {
  const end = performance.now() + WAIT;
  while (!(await holds())) {
    stage.signal.throwIfAborted();
    if (performance.now() > end)
      throw new WardcastError('TIMEOUT', `Waited ${WAIT / 1000} s in vain until ${what}`, {
        remedy: 'Run the demo with --keep and look into the logs it names.',
      });
    await new Promise((resolve) => setTimeout(resolve, GLANCE));
  }
}

async function countFiles(directory: string): Promise<number> {
  try {
    return (await readdir(directory, { recursive: true, withFileTypes: true })).filter((entry) => entry.isFile()).length;
  } catch {
    // Moved away between two looks.
    return 0;
  }
}

function round(seconds: number): number {
  return Math.round(seconds * 100) / 100;
}
