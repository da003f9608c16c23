import { describe, expect, it } from 'vitest';
import { STATES } from '../../../agent/install/entry.ts';
import type { Verdict } from '../../../agent/install/journal.ts';
import { nextStep } from '../../../agent/install/resume.ts';
import { Scheduler, type SchedulerOptions } from '../../../agent/install/scheduler.ts';
import { WardcastError } from '../../../shared/base/errors.ts';
import { INSTALL_RETRY_MAX, MAX_FAILED_STARTS } from '../../../shared/base/limits.ts';
import { silentLog } from '../../../shared/base/log.ts';
import type { Decision } from '../../../shared/bundle/decide.ts';
import { madeRelease } from '../../support/made-release.ts';
import { ManualClock } from '../../support/manual-clock.ts';

const viewer = madeRelease({ files: { a: '1' } });
const newer = madeRelease({ version: '2.0.0', files: { a: '2' } });
const driver = madeRelease({ application: 'driver', files: { a: '1' } });
const install = (release: typeof viewer): Decision => ({ action: 'install', application: release.application, manifest: release.manifestHash, release });
const refuse = (release: typeof viewer): Decision => ({
  action: 'refuse',
  application: release.application,
  version: release.version,
  manifest: release.manifestHash,
  code: 'DOWNGRADE_REFUSED',
  message: 'older',
});

function bench(work: (version: string, application: string, stillWanted: () => boolean) => Promise<void>, more: Partial<SchedulerOptions> = {}) {
  const clock = new ManualClock();
  const stop = new AbortController();
  const refused: string[] = [];
  const verdicts = new Map<string, Verdict>();
  const scheduler = new Scheduler({
    installer: {
      install: async (release, _sequence, { stillWanted }) => {
        await work(release.version, release.application, stillWanted);
        return 'installed';
      },
      refuse: async ({ application, version }) => void refused.push(`${application} ${version}`),
      settle: async () => undefined,
      unsettled: async () => [],
    },
    journal: { verdict: async (manifest) => verdicts.get(manifest) },
    clock,
    log: silentLog,
    signal: stop.signal,
    random: () => 0.5,
    ...more,
  });
  return { scheduler, clock, stop, refused, verdicts };
}

describe('the scheduler', () => {
  it('tries again with growing pauses what fails for a passing reason, at once when woken, and lets others go on', async () => {
    const tries: string[] = [];
    let down = true;
    const { scheduler, clock } = bench(async (_version, application) => {
      tries.push(application);
      if (application === 'viewer' && down) throw new WardcastError('CONNECTION_LOST', 'gone');
    });
    await scheduler.plan([install(viewer), install(driver)], 1);
    await clock.advance(INSTALL_RETRY_MAX);
    expect(tries.filter((application) => application === 'driver')).toEqual(['driver']);
    const early = tries.length;
    expect(early).toBeGreaterThan(5);
    await clock.advance(INSTALL_RETRY_MAX);
    expect(tries.length - early).toBeLessThan(4);
    down = false;
    scheduler.wake();
    await scheduler.idle();
    expect(scheduler.busy).toBe(false);
  });

  it('works on one wish per application at a time, the newest last', async () => {
    const log: string[] = [];
    let release = (): void => undefined;
    const { scheduler } = bench(async (version, _application, stillWanted) => {
      log.push(`begin ${version}`);
      if (version === '1.0.0') await new Promise<void>((resolve) => (release = resolve));
      log.push(`end ${version} ${stillWanted() ? 'wanted' : 'not wanted'}`);
    });
    await scheduler.plan([install(viewer)], 1);
    await new Promise((tick) => setImmediate(tick));
    await scheduler.plan([install(newer)], 2);
    release();
    await scheduler.idle();
    expect(log).toEqual(['begin 1.0.0', 'end 1.0.0 not wanted', 'begin 2.0.0', 'end 2.0.0 wanted']);
  });

  it('does nothing twice when the same is decided again while it is being done', async () => {
    const log: string[] = [];
    let release = (): void => undefined;
    const { scheduler } = bench(async (version) => {
      log.push(version);
      await new Promise<void>((resolve) => (release = resolve));
    });
    await scheduler.plan([install(viewer)], 1);
    await new Promise((tick) => setImmediate(tick));
    await scheduler.plan([install(viewer)], 1);
    release();
    await scheduler.idle();
    expect(log).toEqual(['1.0.0']);
  });

  const verdict = (more: Partial<Verdict>): Verdict => ({
    application: 'viewer',
    version: '1.0.0',
    sequence: 1,
    result: 'rolled-back',
    code: 'CHECK_FAILED',
    settled: true,
    bad: false,
    ...more,
  });
  const cases: readonly [string, Verdict, Decision, number, boolean][] = [
    ['rests after a failure in the same bundle', verdict({}), install(viewer), 1, false],
    ['tries a failed release again for a new bundle', verdict({}), install(viewer), 2, true],
    ['goes on with what failed for a passing reason', verdict({ settled: false, result: 'failed', code: 'SPACE_SHORT' }), install(viewer), 1, true],
    ['says a refusal once per bundle', verdict({ result: 'refused', code: 'DOWNGRADE_REFUSED' }), refuse(viewer), 1, false],
    ['says a refusal again for a new bundle', verdict({ result: 'refused', code: 'DOWNGRADE_REFUSED' }), refuse(viewer), 2, true],
    ['installs what was refused when that has changed', verdict({ result: 'refused', code: 'DOWNGRADE_REFUSED' }), install(viewer), 1, true],
    ['does not refuse a bad release again in the bundle in which it went bad', verdict({ code: 'STARTS_EXHAUSTED', bad: true }), refuse(viewer), 1, false],
  ];
  for (const [name, known, decision, sequence, works] of cases) {
    it(name, async () => {
      const done: string[] = [];
      const { scheduler, verdicts, refused } = bench(async (version) => void done.push(version));
      verdicts.set(viewer.manifestHash, known);
      await scheduler.plan([decision], sequence);
      await scheduler.idle();
      expect(done.length + refused.length).toBe(works ? 1 : 0);
    });
  }

  it('stops when told to', async () => {
    const { scheduler, stop, clock } = bench(async () => Promise.reject(new WardcastError('CONNECTION_LOST', 'gone')));
    await scheduler.plan([install(viewer)], 1);
    await clock.advance(100);
    stop.abort();
    await scheduler.idle();
    expect(scheduler.busy).toBe(false);
  });
});

describe('where an installation goes on', () => {
  it('is decided by the journal alone', () => {
    const table = Object.fromEntries(
      STATES.map((state) => [state, [0, 1, MAX_FAILED_STARTS - 1, MAX_FAILED_STARTS].map((starts) => nextStep({ state, starts }))]),
    );
    expect(table).toEqual({
      staging: ['wait', 'wait', 'wait', 'wait'],
      staged: ['wait', 'wait', 'wait', 'wait'],
      activating: ['start', 'start', 'start', 'give-up'],
      activated: ['start', 'start', 'start', 'give-up'],
      checked: ['commit', 'commit', 'commit', 'commit'],
      committed: ['conclude', 'conclude', 'conclude', 'conclude'],
      'rolling-back': ['roll-back', 'roll-back', 'roll-back', 'roll-back'],
      'rolled-back': ['conclude', 'conclude', 'conclude', 'conclude'],
    });
  });
});
