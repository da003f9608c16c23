import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { MAX_BUNDLE } from '../../../shared/base/limits.ts';
import { type Bundle, parseBundle, printBundle } from '../../../shared/bundle/bundle.ts';
import { sha256 } from '../../../shared/bundle/digest.ts';

const id = fc.stringMatching(/^[a-z0-9]([a-z0-9-]{0,10}[a-z0-9])?$/);
const hash = fc.stringMatching(/^[0-9a-f]{64}$/);
const version = fc.tuple(fc.nat(99), fc.nat(99), fc.nat(99)).map((v) => v.join('.'));
const compare = (a: string, b: string): number => (a < b ? -1 : a > b ? 1 : 0);
const anyBundle: fc.Arbitrary<Bundle> = fc
  .record({
    format: fc.constant(1 as const),
    customer: id,
    site: id,
    group: id,
    sequence: fc.integer({ min: 1 }),
    releases: fc.uniqueArray(fc.record({ application: id, version, manifest: hash, size: fc.integer({ min: 1, max: 9999 }), allowDowngrade: fc.boolean() }), {
      selector: (r) => r.application,
      maxLength: 6,
    }),
    withdrawn: fc.uniqueArray(fc.record({ application: id, manifest: hash }), { selector: (w) => `${w.application}/${w.manifest}`, maxLength: 6 }),
  })
  .map((b) => ({
    ...b,
    releases: b.releases.sort((x, y) => compare(x.application, y.application)),
    withdrawn: b.withdrawn.sort((x, y) => compare(x.application, y.application) || compare(x.manifest, y.manifest)),
  }));

const H = sha256(Buffer.from('m'));
const release = { application: 'viewer', version: '1.0.0', manifest: H, size: 10, allowDowngrade: false };
const sample: Bundle = { format: 1, customer: 'acme', site: 'north', group: 'ct', sequence: 1, releases: [release], withdrawn: [] };

const NOON = '2026-01-01T12:00:00Z';
const thief = { identity: 'customer/acme/site/north/group/ct/device/ct-1', until: NOON };

describe('bundles', () => {
  it('name whom to keep out, sorted', () => {
    const gateway = { identity: 'customer/acme/site/north/gateway/gw', until: NOON };
    const bundle = { ...sample, revoked: [thief, gateway], oldestCa: 2 };
    expect(parseBundle(printBundle(bundle))).toEqual({ ...bundle, revoked: [gateway, thief] });
  });

  it('survive printing and parsing: parse(print(b)) = b', () => {
    fc.assert(
      fc.property(anyBundle, (bundle) => {
        const bytes = printBundle(bundle);
        expect(parseBundle(bytes)).toEqual(bundle);
        expect(printBundle(parseBundle(bytes)).equals(bytes)).toBe(true);
      }),
    );
  });

  it.each([
    ['an unknown key', { ...sample, note: 'x' }, 'BUNDLE_INVALID', 'note'],
    ['a group that is no id', { ...sample, group: '#' }, 'BUNDLE_INVALID', 'group'],
    ['sequence 0', { ...sample, sequence: 0 }, 'BUNDLE_INVALID', 'sequence'],
    ['two releases of one application', { ...sample, releases: [release, { ...release, version: '2.0.0' }] }, 'BUNDLE_INVALID', 'two releases'],
    ['a release that is also withdrawn', { ...sample, withdrawn: [{ application: 'viewer', manifest: H }] }, 'BUNDLE_INVALID', 'withdraws'],
    ['a hash in capitals', { ...sample, releases: [{ ...release, manifest: H.toUpperCase() }] }, 'BUNDLE_INVALID', 'manifest'],
    ['a downgrade flag left out', { ...sample, releases: [{ ...release, allowDowngrade: undefined }] }, 'BUNDLE_INVALID', 'allowDowngrade'],
    [
      'a stranger among the revoked',
      { ...sample, revoked: [{ identity: 'customer/acme/site/north/group/pumps/device/p', until: NOON }] },
      'BUNDLE_INVALID',
      'revokes',
    ],
    [
      'a gateway of another site among them',
      { ...sample, revoked: [{ identity: 'customer/acme/site/south/gateway/g', until: NOON }] },
      'BUNDLE_INVALID',
      'revokes',
    ],
    ['an impossible date among them', { ...sample, revoked: [{ ...thief, until: '2026-13-32T99:00:00Z' }] }, 'BUNDLE_INVALID', 'date'],
    ['the same one revoked twice', { ...sample, revoked: [thief, thief] }, 'BUNDLE_INVALID', 'twice'],
    ['an empty list of revoked, which has another form', { ...sample, revoked: [] }, 'BUNDLE_INVALID', 'revoked'],
    ['generation 1 as the oldest CA, which goes without saying', { ...sample, oldestCa: 1 }, 'BUNDLE_INVALID', 'oldestCa'],
    [
      'too many releases',
      { ...sample, releases: Array.from({ length: 1001 }, (_, n) => ({ ...release, application: `a${n}` })) },
      'BUNDLE_INVALID',
      'releases',
    ],
  ])('refuse %s', (_, value, code, why) => {
    expect(() => parseBundle(Buffer.from(JSON.stringify(value)))).toThrow(expect.objectContaining({ code, message: expect.stringContaining(why) }));
  });

  it('refuse too many bytes before parsing, and any form but the canonical one', () => {
    expect(() => parseBundle(Buffer.alloc(MAX_BUNDLE + 1))).toThrow(expect.objectContaining({ code: 'LIMIT_EXCEEDED' }));
    expect(() => parseBundle(Buffer.from(`${printBundle(sample)} `))).toThrow(expect.objectContaining({ code: 'BUNDLE_INVALID' }));
  });
});
