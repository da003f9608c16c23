import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import type { InstalledRelease } from '../../../agent/handlers/install-handler.ts';
import type { Bundle } from '../../../shared/bundle/bundle.ts';
import { decide, type Situation } from '../../../shared/bundle/decide.ts';
import { compareVersions } from '../../../shared/bundle/version.ts';
import { type MadeRelease, madeRelease } from '../../support/made-release.ts';

const old = madeRelease({ version: '1.0.0', files: { a: 'old' } });
const next = madeRelease({ version: '1.1.0', files: { a: 'new' } });
const picky = madeRelease({ version: '2.0.0', files: { a: 'picky' }, minimumAgent: '9.0.0' });

function bundle(releases: readonly MadeRelease[], more: Partial<Bundle> & { allowDowngrade?: boolean } = {}): Bundle {
  const { allowDowngrade = false, ...rest } = more;
  return {
    format: 1,
    customer: 'acme',
    site: 'north',
    group: 'ct',
    sequence: 1,
    releases: releases.map(({ application, version, manifestHash, bytes }) => ({
      application,
      version,
      manifest: manifestHash,
      size: bytes.length,
      allowDowngrade,
    })),
    withdrawn: [],
    ...rest,
  };
}

function situation(wanted: MadeRelease, more: Partial<Situation> = {}): Situation {
  return {
    bundle: bundle([wanted]),
    manifests: new Map([[wanted.manifestHash, wanted.manifest]]),
    installed: [],
    bad: new Set(),
    agentVersion: '0.1.0',
    ...more,
  };
}

const runs = ({ application, version, manifestHash }: MadeRelease): InstalledRelease => ({ application, version, manifestHash });

describe('decide', () => {
  const table: readonly [string, Situation, string, string?][] = [
    ['installs what is new to the device', situation(next), 'install'],
    ['installs a newer release', situation(next, { installed: [runs(old)] }), 'install'],
    ['does nothing about what runs', situation(next, { installed: [runs(next)] }), 'nothing'],
    ['refuses an older release', situation(old, { installed: [runs(next)] }), 'refuse', 'DOWNGRADE_REFUSED'],
    [
      'installs an older release that is signed as wanted',
      situation(old, { installed: [runs(next)], bundle: bundle([old], { allowDowngrade: true }) }),
      'install',
    ],
    ['refuses a release that failed to start too often', situation(next, { bad: new Set([next.manifestHash]) }), 'refuse', 'RELEASE_REFUSED'],
    ['refuses a release that needs a newer agent', situation(picky), 'refuse', 'RELEASE_REFUSED'],
    ['installs it with that agent', situation(picky, { agentVersion: '9.0.0' }), 'install'],
    ['refuses a release without its manifest', situation(next, { manifests: new Map() }), 'refuse', 'METADATA_MISSING'],
    [
      'does not activate a withdrawn release',
      situation(next, { bundle: bundle([next], { withdrawn: [{ application: 'viewer', manifest: next.manifestHash }] }) }),
      'refuse',
      'RELEASE_REFUSED',
    ],
    [
      'leaves a withdrawn release running',
      situation(next, { installed: [runs(next)], bundle: bundle([next], { withdrawn: [{ application: 'viewer', manifest: next.manifestHash }] }) }),
      'nothing',
    ],
    ['installs the same version when its content differs', situation(next, { installed: [{ ...runs(next), manifestHash: 'f'.repeat(64) }] }), 'install'],
  ];
  for (const [name, given, action, code] of table) {
    it(name, () => {
      const [decision, ...more] = decide(given);
      expect(more).toEqual([]);
      expect(decision?.action).toBe(action);
      if (code !== undefined) expect(decision).toMatchObject({ code });
    });
  }

  it('leaves alone what the bundle does not name', () => {
    expect(decide({ ...situation(next), bundle: bundle([]), installed: [runs(old)] })).toEqual([]);
  });

  const version = fc.tuple(fc.nat(3), fc.nat(3), fc.nat(3)).map((parts) => parts.join('.'));
  const release = fc
    .tuple(fc.constantFrom('viewer', 'driver', 'tools'), version, fc.nat(2))
    .map(([application, v, n]) => madeRelease({ application, version: v, files: { a: String(n) } }));

  it('never lowers a version that is not signed as a wanted downgrade, never installs bad or withdrawn ones, and is settled once it was obeyed', () => {
    fc.assert(
      fc.property(fc.uniqueArray(release, { selector: (r) => r.application }), fc.array(release), fc.array(fc.boolean()), (wanted, present, flags) => {
        const installed = [...new Map(present.map((r) => [r.application, runs(r)])).values()];
        const bad = new Set(wanted.filter((_, i) => flags[i] === true).map((r) => r.manifestHash));
        const given: Situation = {
          bundle: bundle(wanted),
          manifests: new Map(wanted.map((r) => [r.manifestHash, r.manifest])),
          installed,
          bad,
          agentVersion: '0.1.0',
        };
        const decisions = decide(given);
        expect(decisions.map((d) => d.application)).toEqual(wanted.map((r) => r.application));
        const after = new Map(installed.map((r) => [r.application, r]));
        for (const decision of decisions) {
          if (decision.action !== 'install') continue;
          const before = after.get(decision.application);
          if (before !== undefined) expect(compareVersions(decision.release.version, before.version)).toBeGreaterThanOrEqual(0);
          expect(bad.has(decision.manifest)).toBe(false);
          after.set(decision.application, { application: decision.application, version: decision.release.version, manifestHash: decision.manifest });
        }
        expect(decide({ ...given, installed: [...after.values()] }).every((d) => d.action !== 'install')).toBe(true);
      }),
    );
  });
});
