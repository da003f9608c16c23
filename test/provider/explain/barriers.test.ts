import { describe, expect, it } from 'vitest';
import { barriers, verdict } from '../../../provider/explain/barriers.ts';
import type { Facts } from '../../../provider/explain/facts.ts';
import { type Scope, scopePath } from '../../../shared/base/identity.ts';
import type { Manifest } from '../../../shared/bundle/manifest.ts';
import { MAY_HAVE, nameOf, SMALL_DEVICES } from '../../isolation/specification.ts';

const HASH = 'ab'.repeat(32);
const CHUNK = 'cd'.repeat(32);
const manifest: Manifest = {
  format: 1,
  application: 'viewer',
  version: '1.2.0',
  size: 3,
  files: [{ path: 'a', size: 3, mode: 0o644, sha256: CHUNK, chunks: [{ hash: CHUNK, size: 3 }] }],
  links: [],
  hooks: {},
};
const release = {
  application: 'viewer',
  version: '1.2.0',
  manifest: HASH,
  manifestSize: 100,
  size: 3,
  files: 1,
  chunks: 1,
  publishedAt: '2026-01-01T00:00:00Z',
  withdrawn: null,
};
const wanted = { application: 'viewer', version: '1.2.0', manifest: HASH, size: 100, allowDowngrade: false };

/** Everything is right: the device's own group has the release. */
function entitled(device = SMALL_DEVICES[0], holder: Scope | undefined = device): Facts {
  if (device === undefined || holder === undefined) throw new Error('no device');
  const { customer, site, group } = device;
  const own = scopePath(holder) === scopePath(device);
  return {
    device,
    registered: { customer, site, group, device: device.device },
    trustDomain: 'example.com',
    release,
    manifest,
    holders: [{ customer: holder.customer, site: holder.site, group: holder.group, sequence: 4, current: true }],
    own: { bundle: { format: 1, customer, site, group, sequence: 4, releases: own ? [wanted] : [], withdrawn: [] }, has: (hash) => own && hash === CHUNK },
    signed: { role: 2, manifest: HASH },
    standing: undefined,
    revoked: { revoked: [], oldestCas: [], retired: [] },
    oldestCaAt: undefined,
    heardAt: undefined,
  };
}
const states = (facts: Facts): Record<string, string> => Object.fromEntries(barriers(facts).map(({ barrier, state }) => [barrier, state]));
const standing = (facts: Facts): string[] => barriers(facts).flatMap(({ barrier, state }) => (state === 'stands' ? [barrier] : []));
const OPEN = {
  registration: 'passes',
  certificate: 'passes',
  revocation: 'passes',
  door: 'passes',
  topics: 'passes',
  bundle: 'passes',
  objects: 'passes',
  encryption: 'none',
  signature: 'passes',
  installer: 'passes',
};

describe('the barriers', () => {
  it('all let a device pass to what its own group has', () => {
    expect(states(entitled())).toEqual(OPEN);
    expect(verdict(barriers(entitled()))).toEqual({
      entitled: true,
      verdict: 'entitled: none of 9 barriers stops it, because bundle 4 of acme/north/ct names it',
    });
  });

  it('agree with the specification for every device and every group of the small world', () => {
    for (const device of SMALL_DEVICES)
      for (const path of Object.keys(MAY_HAVE)) {
        const [customer = '', site = '', group = ''] = path.split('/');
        const facts = entitled(device, { customer, site, group });
        const may = MAY_HAVE[path]?.includes(nameOf(device)) === true;
        expect(verdict(barriers(facts)).entitled, `${nameOf(device)} and ${path}`).toBe(may);
        // Neither the certificate alone (another site) nor the door alone (another group) is all that keeps a device away.
        if (!may) expect(standing(facts)).toEqual(expect.arrayContaining(['topics', 'bundle', 'objects']));
      }
  });

  it.each<[string, string[], (facts: Facts) => Facts]>([
    ['another group at its site', ['certificate', 'topics', 'bundle', 'objects'], (facts) => entitled(SMALL_DEVICES[0], { ...facts.device, group: 'pump' })],
    ['its group at another site', ['door', 'topics', 'bundle', 'objects'], (facts) => entitled(SMALL_DEVICES[0], { ...facts.device, site: 'south' })],
    ['another customer', ['certificate', 'door', 'topics', 'bundle', 'objects'], (facts) => entitled(SMALL_DEVICES[0], { ...facts.device, customer: 'bert' })],
    ['a role that lists it no more', ['signature'], (facts) => ({ ...facts, signed: { role: 3, manifest: undefined } })],
    ['a role that lists another manifest', ['signature'], (facts) => ({ ...facts, signed: { role: 3, manifest: 'ef'.repeat(32) } })],
    ['an expired role', ['signature'], (facts) => ({ ...facts, signed: { error: 'METADATA_EXPIRED: …' } })],
    ['a newer version that runs', ['installer'], (facts) => ({ ...facts, standing: standingWith('2.0.0', '1.0.0') })],
    [
      'an agent that is too old',
      ['installer'],
      (facts) => ({ ...facts, manifest: { ...manifest, minimumAgent: '2.0.0' }, standing: standingWith('1.0.0', '1.0.0') }),
    ],
    ['its revocation', ['revocation'], (facts) => ({ ...facts, revoked: revokedUntil('2026-02-01T00:00:00Z') })],
    [
      'its revocation after it was last heard',
      ['revocation'],
      (facts) => ({ ...facts, revoked: revokedUntil('2026-02-01T00:00:00Z'), heardAt: Date.parse('2026-01-31T00:00:00Z') }),
    ],
    [
      'nothing, when it has spoken with a later certificate',
      [],
      (facts) => ({ ...facts, revoked: revokedUntil('2026-02-01T00:00:00Z'), heardAt: Date.parse('2026-02-02T00:00:00Z') }),
    ],
    [
      'the retirement of its CA',
      ['revocation'],
      (facts) => ({
        ...facts,
        revoked: { revoked: [], oldestCas: [{ customer: 'acme', group: 'ct', generation: 2 }], retired: [] },
        oldestCaAt: 5,
        heardAt: 4,
      }),
    ],
    ['no bundle of anybody', ['bundle', 'objects'], (facts) => ({ ...facts, holders: [], own: undefined })],
    [
      'a withdrawal',
      ['bundle', 'installer'],
      (facts) => ({ ...facts, release: { ...release, withdrawn: { at: '2026-01-02T00:00:00Z', reason: 'faulty' } }, own: without(facts) }),
    ],
  ])('name what stops it: %s', (_what, expected, change) => {
    expect(standing(change(entitled()))).toEqual(expected);
  });

  it('say of a chunk that its own group has anyway that it has it anyway', () => {
    const facts = entitled(SMALL_DEVICES[0], { customer: 'acme', site: 'north', group: 'pump' });
    const shared: Facts = {
      ...facts,
      own: { bundle: facts.own?.bundle ?? { format: 1, ...facts.device, sequence: 1, releases: [], withdrawn: [] }, has: () => true },
    };
    expect(barriers(shared).find(({ barrier }) => barrier === 'objects')).toMatchObject({
      state: 'stands',
      values: { chunks: 1, chunksGranted: 1, manifest: false },
    });
  });

  it('count no registry entry as a barrier, for no door asks it', () => {
    const facts = { ...entitled(), registered: undefined };
    expect(states(facts)).toEqual({ ...OPEN, registration: 'none' });
    expect(verdict(barriers(facts)).entitled).toBe(true);
  });

  it('are told apart by their places: the first that stands is named', () => {
    const facts = entitled(SMALL_DEVICES[0], { customer: 'bert', site: 'north', group: 'ct' });
    expect(verdict(barriers(facts)).verdict).toBe(
      'stopped by 5 of 9 barriers, first: certificate: spiffe://example.com/customer/acme/group/ct cannot issue for a group that has the release',
    );
  });
});

function revokedUntil(until: string): Facts['revoked'] {
  return { revoked: [{ identity: 'customer/acme/site/north/group/ct/device/one', until }], oldestCas: [], retired: [] };
}

function without({ own }: Facts): Facts['own'] {
  return own === undefined ? undefined : { ...own, bundle: { ...own.bundle, releases: [] } };
}

function standingWith(version: string, agent: string): Facts['standing'] {
  const at = '2026-01-01T00:00:00Z';
  return {
    customer: 'acme',
    device: 'one',
    counter: 3,
    digest: HASH,
    at,
    inventory: 3,
    agent,
    running: [{ application: 'viewer', version, manifest: 'ef'.repeat(32), counter: 3, at }],
    results: [],
  };
}
