import fc from 'fast-check';
import { describe, expect, test } from 'vitest';
import { type Content, type CurrentVersion, contentFor, type DeviceSnapshot, type GroupSnapshot, type PublishedRelease, plan } from '../../provider/plan.ts';
import { manifestOf } from './statements.ts';

const SCOPE = { customer: 'acme', site: 'north', group: 'ct' } as const;

function releases(...specs: readonly string[]): Map<string, Map<string, PublishedRelease>> {
  const found = new Map<string, Map<string, PublishedRelease>>();
  for (const spec of specs) {
    const [application = '', version = '', withdrawn] = spec.split(' ');
    const versions = found.get(application) ?? new Map<string, PublishedRelease>();
    versions.set(version, { manifest: manifestOf(`${application} ${version}`), size: 100, withdrawn: withdrawn !== undefined });
    found.set(application, versions);
  }
  return found;
}
function current(application: string, version: string | null, site: string | null = null): CurrentVersion {
  return { application, version, site, allowDowngrade: false };
}
function runs(device: string, ...specs: readonly string[]): DeviceSnapshot {
  return { device, running: new Map(specs.map((spec) => [spec.split(' ')[0] ?? '', manifestOf(spec)])) };
}
function group(parts: Partial<GroupSnapshot>): GroupSnapshot {
  return { ...SCOPE, currents: [], assigned: undefined, devices: [], ...parts };
}
function content(...specs: readonly string[]): Content {
  const wanted = specs.map((spec) => {
    const [application = '', version = ''] = spec.split(' ');
    return { application, version, manifest: manifestOf(spec), size: 100, allowDowngrade: false };
  });
  return { releases: wanted, withdrawn: [] };
}
const PUBLISHED = releases('viewer 1.0.0', 'viewer 2.0.0', 'driver 1.0.0');

interface Case {
  readonly name: string;
  readonly group: GroupSnapshot;
  readonly releases?: Map<string, Map<string, PublishedRelease>>;
  readonly bundle?: readonly string[];
  readonly withdrawn?: readonly string[];
  readonly offered?: boolean;
  readonly due?: Readonly<Record<string, readonly string[]>>;
}
const CASES: readonly Case[] = [
  {
    name: 'a wholly new application is due on every device',
    group: group({ currents: [current('viewer', '1.0.0')], devices: [runs('a'), { device: 'b', running: undefined }] }),
    bundle: ['viewer 1.0.0'],
    due: { a: ['viewer'], b: ['viewer'] },
  },
  {
    name: 'a newer current version is due where the customer version is older',
    group: group({ currents: [current('viewer', '2.0.0')], assigned: content('viewer 1.0.0'), devices: [runs('a', 'viewer 1.0.0')] }),
    bundle: ['viewer 2.0.0'],
    due: { a: ['viewer'] },
  },
  {
    name: 'nothing is due where everything runs',
    group: group({ currents: [current('viewer', '1.0.0')], assigned: content('viewer 1.0.0'), devices: [runs('a', 'viewer 1.0.0')] }),
  },
  { name: 'nothing happens for a group without devices and bundles', group: group({ currents: [current('viewer', '1.0.0')] }) },
  {
    name: 'devices that came with the current version need no first bundle',
    group: group({ currents: [current('viewer', '1.0.0')], devices: [runs('a', 'viewer 1.0.0')] }),
  },
  {
    name: 'a new device gets the bundle that is there',
    group: group({ currents: [current('viewer', '1.0.0')], assigned: content('viewer 1.0.0'), devices: [{ device: 'new', running: undefined }] }),
    offered: true,
    due: { new: ['viewer'] },
  },
  {
    name: 'a device that moved in is due for what it lacks; what it brought along is left alone',
    group: group({ currents: [current('viewer', '1.0.0')], assigned: content('viewer 1.0.0'), devices: [runs('moved', 'driver 1.0.0')] }),
    offered: true,
    due: { moved: ['viewer'] },
  },
  {
    name: 'a device that was set back is drift: offered again under the same sequence',
    group: group({ currents: [current('viewer', '2.0.0')], assigned: content('viewer 2.0.0'), devices: [runs('a', 'viewer 1.0.0')] }),
    offered: true,
    due: { a: ['viewer'] },
  },
  {
    name: 'a site of its own mind',
    group: group({ currents: [current('viewer', '2.0.0'), current('viewer', '1.0.0', 'north')], devices: [runs('a')] }),
    bundle: ['viewer 1.0.0'],
    due: { a: ['viewer'] },
  },
  {
    name: "another site's override does not count here, in whatever order they come",
    group: group({ currents: [current('viewer', '1.0.0', 'south'), current('viewer', '2.0.0')], devices: [runs('a')] }),
    bundle: ['viewer 2.0.0'],
    due: { a: ['viewer'] },
  },
  {
    name: 'an application that the site does not want any more leaves the bundle',
    group: group({
      currents: [current('viewer', '1.0.0'), current('viewer', null, 'north')],
      assigned: content('viewer 1.0.0'),
      devices: [runs('a', 'viewer 1.0.0')],
    }),
    bundle: [],
  },
  {
    name: 'a withdrawn release is taken out and named, though nobody is due',
    releases: releases('viewer 1.0.0 withdrawn'),
    group: group({ currents: [current('viewer', '1.0.0')], assigned: content('viewer 1.0.0'), devices: [runs('a')] }),
    bundle: [],
    withdrawn: ['viewer 1.0.0'],
  },
  {
    name: 'a release that was withdrawn before anybody got it makes no bundle',
    releases: releases('viewer 1.0.0 withdrawn'),
    group: group({ currents: [current('viewer', '1.0.0')], devices: [runs('a')] }),
  },
  {
    name: 'what was withdrawn stays named in later bundles',
    releases: releases('viewer 1.0.0 withdrawn', 'viewer 2.0.0'),
    group: group({
      currents: [current('viewer', '2.0.0')],
      assigned: { releases: [], withdrawn: [{ application: 'viewer', manifest: manifestOf('viewer 1.0.0') }] },
      devices: [runs('a', 'viewer 1.0.0')],
    }),
    bundle: ['viewer 2.0.0'],
    withdrawn: ['viewer 1.0.0'],
    due: { a: ['viewer'] },
  },
];

describe('the plan', () => {
  test.each(CASES)('$name', ({ group: one, releases: published = PUBLISHED, bundle, withdrawn = [], offered = false, due = {} }) => {
    const found = plan({ groups: [one], releases: published });
    expect(found.bundles.map((row) => row.releases.map((release) => `${release.application} ${release.version}`))).toEqual(
      bundle === undefined ? [] : [bundle],
    );
    if (bundle !== undefined) expect(found.bundles[0]?.withdrawn.map((row) => row.manifest)).toEqual(withdrawn.map(manifestOf));
    expect(found.offers).toEqual(offered ? [SCOPE] : []);
    expect(Object.fromEntries(found.due.map((row) => [row.device, row.applications]))).toEqual(due);
  });

  const APPLICATIONS = ['viewer', 'driver', 'tools'] as const;
  const VERSIONS = ['1.0.0', '2.0.0', '3.0.0'] as const;
  const ALL = releases(...APPLICATIONS.flatMap((application) => VERSIONS.map((version) => `${application} ${version}`)));
  const wanted = fc.dictionary(fc.constantFrom(...APPLICATIONS), fc.constantFrom(...VERSIONS));
  const devices = fc.uniqueArray(
    fc.record({ device: fc.stringMatching(/^[a-z]{1,4}$/), running: fc.dictionary(fc.constantFrom(...APPLICATIONS), fc.constantFrom(...VERSIONS)) }),
    {
      selector: (one) => one.device,
      maxLength: 8,
    },
  );
  const currentsOf = (versions: Readonly<Record<string, string>>): CurrentVersion[] =>
    Object.entries(versions).map(([application, version]) => current(application, version));
  const specs = (running: Readonly<Record<string, string>>): string[] => Object.entries(running).map(([application, version]) => `${application} ${version}`);

  test('is due for exactly the devices that differ', () => {
    fc.assert(
      fc.property(wanted, devices, fc.boolean(), (versions, all, assignedBefore) => {
        const currents = currentsOf(versions);
        const assigned = assignedBefore ? contentFor({ site: 'north', currents, assigned: undefined }, ALL) : undefined;
        const found = plan({
          groups: [group({ currents, assigned, devices: all.map(({ device, running }) => runs(device, ...specs(running))) })],
          releases: ALL,
        });
        const expected = all.filter(({ running }) => Object.entries(versions).some(([application, version]) => running[application] !== version));
        expect(found.due.map((row) => row.device)).toEqual(expected.map((row) => row.device));
        expect(found.bundles.length).toBe(!assignedBefore && expected.length > 0 ? 1 : 0);
        expect(found.offers.length).toBe(assignedBefore && expected.length > 0 ? 1 : 0);
      }),
    );
  });

  test('comes to rest: what it assigned it does not assign again', () => {
    fc.assert(
      fc.property(wanted, wanted, devices, (before, versions, all) => {
        const snapshot = group({
          currents: currentsOf(versions),
          assigned: contentFor({ site: 'north', currents: currentsOf(before), assigned: undefined }, ALL),
          devices: all.map(({ device, running }) => runs(device, ...specs(running))),
        });
        const [first] = plan({ groups: [snapshot], releases: ALL }).bundles;
        const assigned = first === undefined ? snapshot.assigned : { releases: first.releases, withdrawn: first.withdrawn };
        expect(plan({ groups: [{ ...snapshot, assigned }], releases: ALL }).bundles).toEqual([]);
      }),
    );
  });

  test('does not depend on the order of rows', () => {
    const rows = fc.shuffledSubarray(
      [current('viewer', '1.0.0'), current('viewer', '2.0.0', 'north'), current('driver', '1.0.0'), current('driver', '2.0.0', 'south')],
      { minLength: 4 },
    );
    fc.assert(
      fc.property(rows, (currents) => {
        expect(contentFor({ site: 'north', currents, assigned: undefined }, ALL)).toEqual(content('driver 1.0.0', 'viewer 2.0.0'));
      }),
    );
  });
});
