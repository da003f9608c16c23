import { describe, expect, it } from 'vitest';
import { inspectMetadata, releasesIn, verifyReleaseRole } from '../../../shared/trust/inspect.ts';
import { buildGroupRepository, renewTimestamp } from '../../../shared/trust/repository.ts';
import { parseMetadataName } from '../../../shared/trust/roles.ts';
import { SCOPE, testKey, Vendor } from './fixture.ts';

const now = new Date('2026-05-04T03:02:01.987Z');
const coded = (code: string): unknown => expect.objectContaining({ code });

describe("a group's repository at the provider", () => {
  it('is the same for the same input, and stands one version higher each time', () => {
    const vendor = new Vendor();
    const releases = [vendor.release('viewer', '1.0.0')];
    const first = vendor.repository({ releases, now });
    expect(vendor.repository({ releases, now }).files).toEqual(first.files);
    const second = vendor.repository({ releases, now, sequence: 2, previous: first.versions });
    expect([second.versions.assignment, second.versions.snapshot.version, second.versions.timestamp]).toEqual([2, 2, 2]);
    expect(JSON.parse(JSON.stringify(second.versions))).toEqual(second.versions);
    expect(inspectMetadata('timestamp', second.files.get('timestamp.json') ?? Buffer.alloc(0))).toEqual({
      version: 2,
      expires: new Date('2026-06-18T03:02:01Z'),
      scope: 'acme/north/ct',
    });
  });

  it('renews its timestamp alone', () => {
    const vendor = new Vendor();
    const first = vendor.repository({ releases: [], now });
    const renewed = renewTimestamp({ scope: SCOPE, previous: first.versions, key: vendor.keys.timestamp, now: new Date(now.getTime() + 86_400_000) });
    expect(renewed.versions).toEqual({ ...first.versions, timestamp: 2 });
    expect(inspectMetadata('timestamp', renewed.file).expires).toEqual(new Date('2026-06-19T03:02:01Z'));
  });

  it('keeps roles listed that it once listed, and lists none at a lower version', () => {
    const vendor = new Vendor();
    const old = vendor.roles.get('viewer') ?? Buffer.alloc(0);
    const release = vendor.release('viewer', '1.0.0');
    const first = vendor.repository({ releases: [release], now });
    const without = vendor.repository({ releases: [], now, previous: first.versions });
    expect(without.versions.meta['release-viewer.json']).toEqual(first.versions.meta['release-viewer.json']);
    vendor.roles.set('viewer', old);
    expect(() => vendor.repository({ releases: [release], now, previous: first.versions })).toThrow(coded('METADATA_ROLLBACK'));
  });

  it('is not built for an application without a role', () => {
    const vendor = new Vendor();
    const release = vendor.release('viewer', '1.0.0');
    const { keys, roots: root, targets } = vendor;
    const bundle = { format: 1 as const, ...SCOPE, sequence: 1, releases: [release], withdrawn: [] };
    expect(() => buildGroupRepository({ bundle, root, targets, releaseRoles: new Map(), keys, now })).toThrow(coded('METADATA_MISSING'));
  });
});

describe('a release role that somebody publishes', () => {
  it('is taken when its own key signed it, and lists its releases from old to new', () => {
    const vendor = new Vendor();
    const newer = vendor.release('viewer', '1.10.0');
    const older = vendor.release('viewer', '1.9.0');
    const [root = Buffer.alloc(0)] = vendor.roots;
    const role = vendor.roles.get('viewer') ?? Buffer.alloc(0);
    const expected = [older, newer].map(({ version, manifest, size }) => ({ version, manifest, size }));
    expect(verifyReleaseRole({ root, targets: vendor.targets, application: 'viewer', role, now })).toEqual(expected);
    expect(releasesIn('viewer', role)).toEqual(expected);
    expect(() => verifyReleaseRole({ root, targets: vendor.targets, application: 'editor', role, now })).toThrow(coded('METADATA_UNTRUSTED'));
    expect(() => verifyReleaseRole({ root, targets: vendor.targets, application: 'unknown', role, now })).toThrow(coded('METADATA_UNTRUSTED'));
    expect(() => releasesIn('editor', role)).toThrow(coded('METADATA_INVALID'));
    vendor.signRole('viewer', testKey('thief'));
    const forged = vendor.roles.get('viewer') ?? Buffer.alloc(0);
    expect(() => verifyReleaseRole({ root, targets: vendor.targets, application: 'viewer', role: forged, now })).toThrow(coded('METADATA_UNTRUSTED'));
    vendor.signRole('viewer', undefined, new Date('2020-01-01T00:00:00Z'));
    const expired = vendor.roles.get('viewer') ?? Buffer.alloc(0);
    expect(() => verifyReleaseRole({ root, targets: vendor.targets, application: 'viewer', role: expired, now })).toThrow(coded('METADATA_EXPIRED'));
  });
});

describe('names of metadata files', () => {
  it.each([
    ['2.root.json', { role: 'root', version: 2 }],
    ['timestamp.json', { role: 'timestamp', version: undefined }],
    ['7.release-viewer.json', { role: 'release-viewer', version: 7 }],
    ['root.json', undefined],
    ['1.timestamp.json', undefined],
    ['0.root.json', undefined],
    ['01.root.json', undefined],
    ['../1.root.json', undefined],
    ['1.root.json/x', undefined],
    ['1.Root.json', undefined],
  ])('%j', (name, expected) => expect(parseMetadataName(name)).toEqual(expected));
});
