import { bytesText, secondsText } from '../units.ts';
import { CUT_SITE, DEVICES, deviceName, entitled, FIRST, GROUP_A, GROUP_B, NORTH, PREY, SECOND, SITES, sameSite, siteName, THIEF, VICTIM } from './cast.ts';
import { showDatabase } from './database-table.ts';
import { runningManifest, runsExactly } from './disk-check.ts';
import { cutDuring, killDuring } from './interruptions.ts';
import { bytesOf, lackedBy } from './lacked.ts';
import type { Narrator } from './narrator.ts';
import { type DeviceFigure, type LineFigure, MAX_LINE_RATIO, type RecoveryFigure, type Report, shortcomings, type TheftFigure } from './report.ts';
import { confirmed, makeCurrent, publishAll, versionsOf, watching } from './rollout.ts';
import { Stage } from './stage.ts';
import { showSwarm, swarmFigures } from './swarm.ts';
import { setScene, steal, tell } from './theft.ts';
import { lurk, openPersistent } from './thief/lurking.ts';
import { uniqueBytes } from './versions.ts';

export interface DemoOptions {
  readonly narrator: Narrator;
  readonly signal: AbortSignal;
  /** Keep the folder with all logs and databases. */
  readonly keep: boolean;
}

const START_TIMEOUT = 60_000;

/** The whole demo: returns its report; leaves neither a process nor a file behind, whatever happens. */
export async function play(options: DemoOptions): Promise<Report> {
  const { narrator } = options;
  const start = performance.now();
  const stage = await Stage.open(narrator, options.signal);
  try {
    const report = await perform(stage, start);
    const missing = shortcomings(report);
    verdict(narrator, report, missing);
    return report;
  } finally {
    if (options.keep) narrator.say(`kept: ${stage.home.directory} (logs of all daemons in ${stage.home.logs})`);
    await stage.close(options);
  }
}

async function perform(stage: Stage, start: number): Promise<Report> {
  await open(stage);
  await first(stage);
  const recoveries: RecoveryFigure[] = [];
  const thefts: TheftFigure[] = [];
  await second(stage, recoveries, thefts);
  recoveries.push(await cut(stage));
  thefts.push(...(await thief(stage)));
  return await after(stage, start, recoveries, thefts);
}

async function open(stage: Stage): Promise<void> {
  const { narrator } = stage;
  narrator.title('Wardcast demo', `Everything runs on this machine, in ${stage.home.directory} and on the loopback interface, and is gone afterwards.`);
  narrator.step(
    'Certificates and keys',
    'A device is what its certificate says: one issuing CA per customer and group. Releases are signed with keys that never reach the provider.',
  );
  const { certificates } = await stage.ceremony();
  narrator.good(`${certificates} certificates, and signing keys for ${FIRST.length} applications, made offline`);
  narrator.step(
    'The provider, three sites and eight devices start',
    'Each is a process of its own, every connection is mutual TLS 1.3. Gateways dial out; devices find their gateway by mDNS, on the loopback interface only.',
  );
  await stage.startProvider();
  narrator.good(`provider listens on port ${stage.provider().port}`);
  await stage.register();
  narrator.good('2 customers, 3 sites, 2 groups each and 8 devices are registered');
  await stage.startSites();
  await stage.view.connected(SITES, START_TIMEOUT);
  narrator.good(`${SITES.map(siteName).join(', ')}: gateways connected, agents started`);
}

async function first(stage: Stage): Promise<void> {
  const { narrator, view } = stage;
  narrator.step(
    'Real software is signed and published',
    `Group ${GROUP_A} gets typescript, group ${GROUP_B} gets esbuild, both get preact: npm packages as their makers published them.`,
  );
  await publishAll(stage, FIRST);
  await showDatabase(narrator, view, 'The database before the first roll-out');
  narrator.step(
    'It becomes current, and travels by itself',
    'Each byte crosses the line into a site once, whichever devices and groups need it; the gateway has everything before a device asks.',
  );
  await watching(stage, async () => {
    await makeCurrent(stage, FIRST);
    await confirmed(stage, DEVICES, FIRST);
  });
  for (const site of SITES) {
    narrator.good(
      `${siteName(site).padEnd(12)} ${bytesText(stage.line(site).traffic.down)} crossed its line for ${bytesText(uniqueBytes(stage.signed, FIRST))} of content; what both groups need crossed once`,
    );
  }
  await showDatabase(narrator, view, 'Every device has installed, and confirmed with its own signature');
  showSwarm(narrator, await swarmFigures(view));
}

/** The new versions at one customer: an agent is killed while it installs, and a thief listens. */
async function second(stage: Stage, recoveries: RecoveryFigure[], thefts: TheftFigure[]): Promise<void> {
  const { narrator, view } = stage;
  narrator.step(
    'New versions are published',
    'Only chunks that the provider lacks are uploaded. It makes patches from what the groups run, and sends these where they are smaller.',
  );
  await publishAll(stage, SECOND);
  narrator.step(
    `${NORTH.customer} gets them, while an agent is killed and a thief listens`,
    `${deviceName(THIEF)} is a genuine device of group ${GROUP_B} with its own key. From now on it is in the hands of somebody who wants what group ${GROUP_A} has.`,
  );
  await stage.agent(THIEF).stop();
  const [typescript] = SECOND;
  if (typescript === undefined) throw new Error('There is nothing to roll out');
  const lurker = await lurk(await setScene(stage, FIRST));
  const ownApplications = SECOND.filter(({ application }) => !isShared(application));
  const sharedApplications = SECOND.filter(({ application }) => isShared(application));
  const awake = DEVICES.filter((device) => device.customer === NORTH.customer && deviceName(device) !== deviceName(THIEF));
  await watching(stage, async () => {
    const killed = killDuring(stage, typescript);
    // Whatever fails first is what is told; the other one must not end the process.
    killed.catch(() => undefined);
    await makeCurrent(stage, ownApplications, { customer: NORTH.customer });
    recoveries.push(await killed);
    narrator.good(`${deviceName(VICTIM)} started again, finished, and runs the new version whole`);
    await confirmed(stage, awake, ownApplications);
  });
  const listened = [...(await lurker.finish())];

  const absent = await openPersistent(await setScene(stage, FIRST));
  await watching(stage, async () => {
    await makeCurrent(stage, sharedApplications, { customer: NORTH.customer });
    await confirmed(stage, awake, SECOND);
  });
  listened.push(...(await absent.finish()));
  await showDatabase(narrator, view, `The database now: ${deviceName(THIEF)} is away, ${CUT_SITE.customer} comes next`);
  narrator.say('');
  narrator.say(narrator.colors.dim(`What the thief heard meanwhile (group A is ${GROUP_A}, group B is ${GROUP_B}):`));
  for (const { attempt, ...road } of listened) thefts.push(tell(stage, road, attempt));
}

async function cut(stage: Stage): Promise<RecoveryFigure> {
  const { narrator } = stage;
  narrator.step(`${siteName(CUT_SITE)} gets them, while its line is cut`, 'What has arrived stays; after the cut only the rest is asked for.');
  // The same patches as in the north, where they are known by now.
  const expected = bytesOf((await lackedBy(stage, NORTH)).chunks);
  const recovery = await watching(stage, () => cutDuring(stage, SECOND, expected));
  narrator.good(`all devices of ${siteName(CUT_SITE)} confirmed ${recovery.seconds.toFixed(1)} s after the line came back`);
  return recovery;
}

async function thief(stage: Stage): Promise<TheftFigure[]> {
  const { narrator } = stage;
  narrator.step(
    `${deviceName(THIEF)} tries to steal what ${deviceName(PREY)} has`,
    `The thief knows every hash and every address. Each road is really gone with its real key; success is judged by the bytes it brings home.`,
  );
  const figures = await steal(stage, await setScene(stage, SECOND));
  narrator.say('');
  narrator.say(`${deviceName(THIEF)} goes back to work: what it missed is told to it at once`);
  await stage.agent(THIEF).start(stage.signal);
  await confirmed(stage, [THIEF], SECOND);
  narrator.good(`${deviceName(THIEF)} has its own group's new versions`);
  return figures;
}

async function after(stage: Stage, start: number, recoveries: RecoveryFigure[], thefts: TheftFigure[]): Promise<Report> {
  const { narrator, view } = stage;
  narrator.step(
    'Afterwards',
    'What the database says is compared with every file on every device, and the bytes on the lines with the content that the sites lacked.',
  );
  await showDatabase(narrator, view, 'The database at the end');
  const devices = await view.figures(DEVICES, versionsOf(SECOND));
  const honest = await confirmedOnDisk(stage, devices);
  const before = uniqueBytes(stage.signed, FIRST);
  const lines = await Promise.all(
    SITES.map(async (site): Promise<LineFigure> => {
      const { chunks, patchBytes, replacedBytes } = await lackedBy(stage, site);
      return { ...site, uniqueBytes: before + bytesOf(chunks), lineBytes: stage.line(site).traffic.down, patchBytes, replacedBytes };
    }),
  );
  for (const line of lines) {
    narrator.good(
      `line of ${siteName(line).padEnd(12)} ${bytesText(line.lineBytes)} for ${bytesText(line.uniqueBytes)} of content: ${(line.lineBytes / line.uniqueBytes).toFixed(3)} × (at most ${MAX_LINE_RATIO})`,
    );
  }
  for (const { patchBytes, replacedBytes, ...line } of lines) {
    narrator.good(
      `line of ${siteName(line).padEnd(12)} of the new versions ${bytesText(patchBytes)} of patches, instead of ${bytesText(replacedBytes)} of new chunks`,
    );
  }
  const swarm = await swarmFigures(view);
  showSwarm(narrator, swarm);
  return { seconds: Math.round((performance.now() - start) / 10) / 100, devices: honest, lines, thefts, recoveries, swarm };
}

/** The registry's word, held against the disk: what is not there byte for byte does not count as confirmed. */
async function confirmedOnDisk(stage: Stage, figures: readonly DeviceFigure[]): Promise<DeviceFigure[]> {
  const checked = await Promise.all(
    figures.map(async (figure) => {
      const release = SECOND.find(({ application }) => application === figure.application);
      const device = DEVICES.find((one) => sameSite(one, figure) && one.device === figure.device);
      if (release === undefined || device === undefined) return figure;
      const installed = stage.home.installed(device);
      const { manifest, hash } = stage.signed.of(release);
      const there = (await runningManifest(installed, release.application)) === hash && (await runsExactly(installed, manifest));
      return there || figure.confirmed !== figure.expected ? figure : { ...figure, confirmed: null };
    }),
  );
  const right = checked.filter((figure) => figure.confirmed === figure.expected).length;
  stage.narrator.good(`${right} of ${checked.length} installations: the database and every file on the device agree`);
  return checked;
}

function verdict(narrator: Narrator, report: Report, missing: readonly string[]): void {
  narrator.say('');
  if (missing.length === 0) {
    const tried = report.thefts.length;
    narrator.good(
      narrator.colors.bold(
        `All promises held: ${report.devices.length} installations confirmed, ${tried} of ${tried} thefts refused, ${report.recoveries.length} of ${report.recoveries.length} interruptions survived, in ${secondsText(report.seconds * 1000)}`,
      ),
    );
  } else for (const sentence of missing) narrator.bad(sentence);
}

/** Is the application one that both groups get? */
function isShared(application: string): boolean {
  return entitled(GROUP_A).includes(application) && entitled(GROUP_B).includes(application);
}
