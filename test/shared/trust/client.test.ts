import { join } from 'node:path';
import { describe, expect, it } from 'vitest';
import { WardcastError } from '../../../shared/base/errors.ts';
import { MAX_TIMESTAMP_METADATA } from '../../../shared/base/limits.ts';
import { silentLog } from '../../../shared/base/log.ts';
import { printBundle } from '../../../shared/bundle/bundle.ts';
import { sha256 } from '../../../shared/bundle/digest.ts';
import { printManifest } from '../../../shared/bundle/manifest.ts';
import { type GroupView, loadGroupView, type RefreshOptions, refreshGroupView } from '../../../shared/trust/client.ts';
import { signAssignment, signSnapshot, signTimestamp } from '../../../shared/trust/sign.ts';
import { RecordingLog } from '../../support/recording-log.ts';
import { temporaryDirectory } from '../../support/temporary-directory.ts';
import { FAR, OTHER, ROOT_KEYS, SCOPE, TestSource, testKey, testManifest, Vendor } from './fixture.ts';

const coded = (code: string, why = ''): unknown => expect.objectContaining({ code, message: expect.stringContaining(why) });

/** One device: its trusted folder and how it refreshes. */
async function device(
  vendor: Vendor,
  change: Partial<RefreshOptions> = {},
): Promise<{
  refresh(source: RefreshOptions['source'], more?: Partial<RefreshOptions>): Promise<GroupView>;
  load(): Promise<GroupView | undefined>;
}> {
  const directory = join(await temporaryDirectory(), 'trust');
  const [factoryRoot = Buffer.alloc(0)] = vendor.roots;
  return {
    refresh: (source, more = {}) => refreshGroupView({ directory, factoryRoot, scope: SCOPE, log: silentLog, source, ...change, ...more }),
    load: () => loadGroupView({ directory, scope: change.scope ?? SCOPE }),
  };
}

describe('refreshing the view of a group', () => {
  it('gives the verified bundle with its manifests and all that is needed to serve it on', async () => {
    const vendor = new Vendor();
    const viewer = vendor.release('viewer', '1.0.0');
    const editor = vendor.release('editor', '2.0.0');
    const source = vendor.repository({ releases: [editor, viewer] });
    const view = await (await device(vendor)).refresh(source);
    expect(view.bundle.releases).toEqual([editor, viewer]);
    expect(view.timestampVersion).toBe(1);
    expect(view.manifests.get(viewer.manifest)).toEqual(testManifest('viewer', '1.0.0'));
    expect([...view.metadata.keys()].sort()).toEqual(
      ['1.assignment.json', '1.root.json', '1.snapshot.json', '1.targets.json', '2.release-editor.json', '2.release-viewer.json', 'timestamp.json'].sort(),
    );
    expect([...view.targets.keys()].sort()).toEqual([view.bundleHash, viewer.manifest, editor.manifest].sort());
    for (const [hash, bytes] of view.targets) expect(sha256(bytes)).toBe(hash);
  });

  it('gives the patches that the bundle names, again from its disk, and does without those that cannot be had or are no patches', async () => {
    const vendor = new Vendor();
    const viewer = vendor.release('viewer', '1.0.0');
    const files = (content: string): Buffer => printManifest({ ...testManifest('viewer', '1.0.0', content) });
    const patch = printManifest(testManifest('viewer', '1.0.0', 'patch'));
    const stranger = printManifest(testManifest('editor', '1.0.0', 'patch'));
    const lost = files('lost');
    const from = (n: number): string => n.toString(16).repeat(64);
    const patches = [patch, stranger, lost].map((bytes, n) => ({ from: from(n), manifest: sha256(bytes), size: bytes.length }));
    const source = vendor.repository({ releases: [{ ...viewer, patches }] });
    for (const bytes of [patch, stranger]) source.targets.set(sha256(bytes), bytes);
    const log = new RecordingLog();
    const rig = await device(vendor, { log });
    const view = await rig.refresh(source);
    expect([...view.patches.keys()]).toEqual([sha256(patch)]);
    expect(log.all('trust.patch-unusable').map(({ error }) => error)).toEqual([
      expect.objectContaining({ code: 'METADATA_UNTRUSTED' }),
      expect.objectContaining({ code: 'METADATA_MISSING' }),
    ]);
    expect(await rig.load()).toEqual(view);
    expect(view.targets.has(sha256(patch))).toBe(true);
  });

  it('can be repeated: a device that trusts only its factory root gets the same from a gateway that serves its own view on', async () => {
    const vendor = new Vendor();
    vendor.roots.push(vendor.root(2));
    const source = vendor.repository({ releases: [vendor.release('viewer', '1.0.0')] });
    const gateway = await device(vendor);
    const view = await gateway.refresh(source);
    const loaded = await gateway.load();
    expect(loaded).toEqual(view);
    const again = await (await device(vendor)).refresh(new TestSource(view.metadata, view.targets, source.versions));
    expect(again).toEqual(view);
  });

  it('asks for nothing but a newer root and the timestamp when nothing changed, and keeps the view', async () => {
    const vendor = new Vendor();
    const source = vendor.repository({ releases: [vendor.release('viewer', '1.0.0')] });
    const agent = await device(vendor);
    const view = await agent.refresh(source);
    source.asked.length = 0;
    expect(await agent.refresh(source)).toEqual(view);
    expect(source.asked).toEqual(['2.root.json', 'timestamp.json']);
  });

  it('follows to the next bundle and fetches only what is new', async () => {
    const vendor = new Vendor();
    const first = vendor.repository({ releases: [vendor.release('viewer', '1.0.0')] });
    const agent = await device(vendor);
    await agent.refresh(first);
    const second = vendor.repository({ releases: [vendor.release('viewer', '1.1.0')], sequence: 2, previous: first.versions });
    const view = await agent.refresh(second);
    expect(view.bundle.sequence).toBe(2);
    expect(second.asked).not.toContain(first.versions.meta['targets.json']?.sha256);
    expect(second.asked.filter((name) => name.includes('targets'))).toEqual([]);
    expect(await agent.load()).toEqual(view);
  });

  it('has no view before the first refresh, and none for another scope', async () => {
    const vendor = new Vendor();
    const agent = await device(vendor);
    expect(await agent.load()).toBeUndefined();
  });

  it('serves an empty bundle too', async () => {
    const vendor = new Vendor();
    expect((await (await device(vendor)).refresh(vendor.repository({ releases: [] }))).manifests.size).toBe(0);
  });
});

describe('refusals', () => {
  it('of older metadata (rollback), with the newer view kept', async () => {
    const vendor = new Vendor();
    const first = vendor.repository({ releases: [vendor.release('viewer', '1.0.0')] });
    const second = vendor.repository({ releases: [vendor.release('viewer', '1.1.0')], sequence: 2, previous: first.versions });
    const agent = await device(vendor);
    const view = await agent.refresh(second);
    await expect(agent.refresh(first)).rejects.toThrow(coded('METADATA_ROLLBACK'));
    expect(await agent.load()).toEqual(view);
    expect(await agent.refresh(second)).toEqual(view);
  });

  it('of a bundle with a lower sequence than was ever accepted', async () => {
    const vendor = new Vendor();
    const source = vendor.repository({ releases: [], sequence: 4 });
    await expect((await device(vendor)).refresh(source, { highest: 5 })).rejects.toThrow(coded('METADATA_ROLLBACK', 'sequence 4'));
    expect((await (await device(vendor)).refresh(source, { highest: 4 })).bundle.sequence).toBe(4);
  });

  it('of a lower version of a role inside a newer snapshot', async () => {
    const vendor = new Vendor();
    const oldRole = new Map([...vendor.roles]);
    const first = vendor.repository({ releases: [vendor.release('viewer', '1.0.0')] });
    const agent = await device(vendor);
    await agent.refresh(first);
    // Whoever owns the snapshot and timestamp keys tries to undo a withdrawal.
    const old = oldRole.get('viewer') ?? Buffer.alloc(0);
    const meta = { ...first.versions.meta, 'release-viewer.json': { version: 1, length: old.length, sha256: sha256(old) } };
    const snapshot = signSnapshot({ version: 2, expires: FAR, keys: [vendor.keys.snapshot], scope: SCOPE, meta });
    const timestamp = signTimestamp({
      version: 2,
      expires: FAR,
      keys: [vendor.keys.timestamp],
      scope: SCOPE,
      snapshot: { version: 2, length: snapshot.length, sha256: sha256(snapshot) },
    });
    first.files.set('2.snapshot.json', snapshot).set('timestamp.json', timestamp).set('1.release-viewer.json', old);
    await expect(agent.refresh(first)).rejects.toThrow(coded('METADATA_ROLLBACK', 'release-viewer.json'));
    // And of a snapshot from which a role is gone.
    const gone = signSnapshot({ version: 2, expires: FAR, keys: [vendor.keys.snapshot], scope: SCOPE, meta: {} });
    const stamp = { version: 2, length: gone.length, sha256: sha256(gone) };
    first.files.set('2.snapshot.json', gone);
    first.files.set('timestamp.json', signTimestamp({ version: 3, expires: FAR, keys: [vendor.keys.timestamp], scope: SCOPE, snapshot: stamp }));
    await expect(agent.refresh(first)).rejects.toThrow(coded('METADATA_ROLLBACK', 'Missing file'));
    expect((await agent.load())?.timestampVersion).toBe(1);
  });

  it('of an expired timestamp (freeze)', async () => {
    const vendor = new Vendor();
    const releases = [vendor.release('viewer', '1.0.0')];
    const agent = await device(vendor);
    const fresh = vendor.repository({ releases });
    await agent.refresh(fresh);
    const stale = vendor.repository({ releases, sequence: 2, previous: fresh.versions, now: new Date(Date.now() - 400 * 86_400_000) });
    await expect(agent.refresh(stale)).rejects.toThrow(coded('METADATA_EXPIRED', 'timestamp'));
    expect((await agent.load())?.bundle.sequence).toBe(1);
  });

  it('of an expired release role', async () => {
    const vendor = new Vendor();
    const release = vendor.release('viewer', '1.0.0');
    vendor.signRole('viewer', undefined, new Date('2020-01-01T00:00:00Z'));
    await expect((await device(vendor)).refresh(vendor.repository({ releases: [release] }))).rejects.toThrow(coded('METADATA_EXPIRED', 'release-viewer'));
  });

  it('of genuine files that do not belong together (mix and match)', async () => {
    const vendor = new Vendor();
    const releases = [vendor.release('viewer', '1.0.0')];
    const a = vendor.repository({ releases });
    const b = vendor.repository({ releases, sequence: 2 });
    for (const name of ['1.snapshot.json', '1.assignment.json']) {
      const mixed = new TestSource(new Map(a.files).set(name, b.files.get(name) ?? Buffer.alloc(0)), a.targets, a.versions);
      await expect((await device(vendor)).refresh(mixed), name).rejects.toThrow(coded('METADATA_UNTRUSTED'));
    }
  });

  it('of a snapshot whose version is not the one of the timestamp', async () => {
    const vendor = new Vendor();
    const source = vendor.repository({ releases: [] });
    const bytes = source.files.get('1.snapshot.json') ?? Buffer.alloc(0);
    const snapshot = { version: 7, length: bytes.length, sha256: sha256(bytes) };
    source.files.set('7.snapshot.json', bytes);
    source.files.set('timestamp.json', signTimestamp({ version: 1, expires: FAR, keys: [vendor.keys.timestamp], scope: SCOPE, snapshot }));
    await expect((await device(vendor)).refresh(source)).rejects.toThrow(coded('METADATA_UNTRUSTED', 'version'));
  });

  it.each([
    ['one key of three', [ROOT_KEYS[0]]],
    ['one key twice', [ROOT_KEYS[0], ROOT_KEYS[0]]],
    ['a stranger and one key', [ROOT_KEYS[0], testKey('stranger')]],
  ])('of a new root signed by %s', async (_, signers) => {
    const vendor = new Vendor();
    const source = vendor.repository({ releases: [] });
    const agent = await device(vendor);
    const view = await agent.refresh(source);
    source.files.set('2.root.json', vendor.root(2, { signers: signers.filter((key) => key !== undefined) }));
    await expect(agent.refresh(source)).rejects.toThrow(coded('METADATA_UNTRUSTED', 'signed by 1/2'));
    source.files.delete('2.root.json');
    expect(await agent.refresh(source)).toEqual(view);
  });

  it.each(['assignment', 'snapshot', 'timestamp'] as const)('of a foreign key for %s', async (role) => {
    const vendor = new Vendor();
    const source = vendor.repository({ releases: [], keys: { ...vendor.keys, [role]: testKey('thief') } });
    await expect((await device(vendor)).refresh(source)).rejects.toThrow(coded('METADATA_UNTRUSTED', 'signed by 0/1'));
  });

  it('of a release role signed by the key of another application', async () => {
    const vendor = new Vendor();
    const release = vendor.release('viewer', '1.0.0');
    vendor.signRole('viewer', testKey('release-editor'));
    await expect((await device(vendor)).refresh(vendor.repository({ releases: [release] }))).rejects.toThrow(coded('METADATA_UNTRUSTED', 'signed by 0/1'));
  });

  it("of another group's repository, without locking the device out of its own", async () => {
    const vendor = new Vendor();
    const own = vendor.repository({ releases: [vendor.release('viewer', '1.0.0')] });
    let foreign = vendor.repository({ releases: [], scope: OTHER });
    for (let n = 2; n < 9; n++) foreign = vendor.repository({ releases: [], scope: OTHER, sequence: n, previous: foreign.versions });
    const agent = await device(vendor);
    await expect(agent.refresh(foreign)).rejects.toThrow(coded('BUNDLE_SCOPE', 'acme/north/mr'));
    expect((await agent.refresh(own)).timestampVersion).toBe(1);
    await expect(agent.refresh(foreign)).rejects.toThrow(coded('BUNDLE_SCOPE'));
    expect((await agent.refresh(own)).timestampVersion).toBe(1);
  });

  it.each(['timestamp.json', '1.snapshot.json', '1.assignment.json'])("of another group's %s alone", async (name) => {
    const vendor = new Vendor();
    const own = vendor.repository({ releases: [] });
    const foreign = vendor.repository({ releases: [], scope: OTHER });
    own.files.set(name, foreign.files.get(name) ?? Buffer.alloc(0));
    await expect((await device(vendor)).refresh(own)).rejects.toThrow(coded('BUNDLE_SCOPE'));
  });

  it("of another group's bundle under this group's name", async () => {
    const vendor = new Vendor();
    const source = vendor.repository({ releases: [] });
    const bundle = printBundle({ format: 1, ...OTHER, sequence: 1, releases: [], withdrawn: [] });
    reassign(vendor, source, bundle);
    await expect((await device(vendor)).refresh(source)).rejects.toThrow(coded('BUNDLE_SCOPE', 'acme/north/mr'));
  });

  it('of a bundle that names a release which its vendor never signed', async () => {
    const vendor = new Vendor();
    vendor.release('viewer', '1.0.0');
    const bytes = printManifest(testManifest('viewer', '6.6.6', 'evil'));
    vendor.manifests.set(sha256(bytes), bytes);
    const evil = { application: 'viewer', version: '6.6.6', manifest: sha256(bytes), size: bytes.length, allowDowngrade: false };
    await expect((await device(vendor)).refresh(vendor.repository({ releases: [evil] }))).rejects.toThrow(coded('METADATA_UNTRUSTED', 'does not list'));
    const disguised = { ...evil, version: '1.0.0' };
    await expect((await device(vendor)).refresh(vendor.repository({ releases: [disguised] }))).rejects.toThrow(coded('METADATA_UNTRUSTED', 'lists it with'));
  });

  it('of a bundle that names an application whose role the snapshot does not list, or which is delegated to nobody', async () => {
    for (const application of ['editor', 'unheard-of']) {
      const vendor = new Vendor();
      const source = vendor.repository({ releases: [] });
      const release = { application, version: '1.0.0', manifest: sha256(Buffer.from('x')), size: 1, allowDowngrade: false };
      reassign(vendor, source, printBundle({ format: 1, ...SCOPE, sequence: 1, releases: [release], withdrawn: [] }));
      await expect((await device(vendor)).refresh(source), application).rejects.toThrow(coded('METADATA_UNTRUSTED'));
    }
  });

  it('of a withdrawn release, once the role says so', async () => {
    const vendor = new Vendor();
    const release = vendor.release('viewer', '1.0.0');
    vendor.withdraw('viewer', '1.0.0');
    await expect((await device(vendor)).refresh(vendor.repository({ releases: [release] }))).rejects.toThrow(coded('METADATA_UNTRUSTED', 'does not list'));
  });

  it('of a manifest that is for another version than it is signed for', async () => {
    const vendor = new Vendor();
    const release = vendor.release('viewer', '1.0.0', '0.9.0');
    await expect((await device(vendor)).refresh(vendor.repository({ releases: [release] }))).rejects.toThrow(
      coded('METADATA_UNTRUSTED', 'says that it is viewer 0.9.0'),
    );
  });

  it('of a manifest whose bytes are not the signed ones', async () => {
    const vendor = new Vendor();
    const release = vendor.release('viewer', '1.0.0');
    const source = vendor.repository({ releases: [release] });
    source.targets.set(release.manifest, printManifest(testManifest('viewer', '0.9.0')));
    await expect((await device(vendor)).refresh(source)).rejects.toThrow(coded('HASH_MISMATCH'));
  });

  it.each([
    ['longer', (bytes: Buffer) => Buffer.concat([bytes, Buffer.from(' ')]), 'LIMIT_EXCEEDED'],
    ['shorter', (bytes: Buffer) => bytes.subarray(1), 'HASH_MISMATCH'],
    ['absent', () => undefined, 'METADATA_MISSING'],
  ])('of a manifest that is %s', async (_, change, code) => {
    const vendor = new Vendor();
    const release = vendor.release('viewer', '1.0.0');
    const source = vendor.repository({ releases: [release] });
    const changed = change(source.targets.get(release.manifest) ?? Buffer.alloc(0));
    if (changed === undefined) source.targets.delete(release.manifest);
    else source.targets.set(release.manifest, changed);
    await expect((await device(vendor)).refresh(source)).rejects.toThrow(coded(code));
  });

  it('of endless data: never more is asked for than may come, and more is refused', async () => {
    const vendor = new Vendor();
    const source = vendor.repository({ releases: [] });
    const limits: number[] = [];
    const endless: RefreshOptions['source'] = {
      metadata: async (name, options) => {
        limits.push(options.maxBytes);
        return name === 'timestamp.json' ? Buffer.alloc(options.maxBytes + 1, ' ') : source.metadata(name, options);
      },
      target: source.target.bind(source),
    };
    await expect((await device(vendor)).refresh(endless)).rejects.toThrow(coded('LIMIT_EXCEEDED', String(MAX_TIMESTAMP_METADATA)));
    expect(limits.at(-1)).toBe(MAX_TIMESTAMP_METADATA);
  });

  it.each(['', '{}', '[]', 'null', '{"signed":{}}', '{"signatures":[],"signed":{"_type":"timestamp"}}', '{ }', 'x'.repeat(100), '['.repeat(9000)])(
    'of a timestamp that is %j',
    async (text) => {
      const vendor = new Vendor();
      const source = vendor.repository({ releases: [] });
      source.files.set('timestamp.json', Buffer.from(text));
      await expect((await device(vendor)).refresh(source)).rejects.toThrow(coded('METADATA_INVALID'));
    },
  );

  it('of a file that is missing, naming it', async () => {
    for (const name of ['timestamp.json', '1.snapshot.json', '1.targets.json', '1.assignment.json', '2.release-viewer.json']) {
      const source = withRelease();
      source.files.delete(name);
      await expect((await device(new Vendor())).refresh(source), name).rejects.toThrow(coded('METADATA_MISSING', name));
    }
  });

  it("passes the source's own failures on", async () => {
    const lost = new WardcastError('CONNECTION_LOST', 'the line broke');
    for (const at of ['2.root.json', 'timestamp.json', '1.snapshot.json', '1.targets.json', '1.assignment.json', '2.release-viewer.json']) {
      const source = withRelease();
      const broken: RefreshOptions['source'] = {
        metadata: (name, options) => (name === at ? Promise.reject(lost) : source.metadata(name, options)),
        target: source.target.bind(source),
      };
      await expect((await device(new Vendor())).refresh(broken), at).rejects.toBe(lost);
    }
  });

  it('when it is cancelled, whatever the reason given', async () => {
    const agent = await device(new Vendor());
    await expect(agent.refresh(withRelease(), { signal: AbortSignal.abort(new Error('stop')) })).rejects.toThrow(coded('ABORTED'));
    const cancel = new AbortController();
    const source = withRelease();
    const stopping: RefreshOptions['source'] = {
      metadata: source.metadata.bind(source),
      target: async () => {
        cancel.abort(new Error('stop'));
        throw cancel.signal.reason;
      },
    };
    await expect(agent.refresh(stopping, { signal: cancel.signal })).rejects.toThrow(coded('ABORTED'));
  });
});

describe('root rotation', () => {
  it('is followed one version at a time, with old and new keys; all versions are kept for serving on', async () => {
    const vendor = new Vendor();
    const source = vendor.repository({ releases: [vendor.release('viewer', '1.0.0')] });
    const agent = await device(vendor);
    await agent.refresh(source);
    const rootKeys = [testKey('root-4'), testKey('root-5'), testKey('root-6')];
    const signers = [...ROOT_KEYS.slice(1), ...rootKeys.slice(0, 2)];
    vendor.roots.push(vendor.root(2, { rootKeys, signers }), vendor.root(3, { rootKeys, signers: rootKeys.slice(1) }));
    const rotated = vendor.repository({ releases: [], sequence: 2, previous: source.versions });
    const view = await agent.refresh(rotated);
    expect([...view.metadata.keys()].filter((name) => name.includes('root')).sort()).toEqual(['1.root.json', '2.root.json', '3.root.json']);
    expect(rotated.asked).toContain('4.root.json');
    const old = vendor.repository({ releases: [], sequence: 3, previous: rotated.versions });
    old.files.set('4.root.json', vendor.root(4, { signers: ROOT_KEYS }));
    await expect(agent.refresh(old)).rejects.toThrow(coded('METADATA_UNTRUSTED', 'signed by 0/2'));
  });

  it('to which the old root keys did not agree is refused', async () => {
    const vendor = new Vendor();
    const source = vendor.repository({ releases: [] });
    const rootKeys = [testKey('root-4'), testKey('root-5'), testKey('root-6')];
    source.files.set('2.root.json', vendor.root(2, { rootKeys, signers: rootKeys }));
    await expect((await device(vendor)).refresh(source)).rejects.toThrow(coded('METADATA_UNTRUSTED', 'signed by 0/2'));
  });

  it('skips no version', async () => {
    const vendor = new Vendor();
    const source = vendor.repository({ releases: [] });
    source.files.set('2.root.json', vendor.root(3));
    await expect((await device(vendor)).refresh(source)).rejects.toThrow(coded('METADATA_UNTRUSTED', 'Expected version 2'));
  });

  it('takes the power from stolen online keys, also when the thief ran the versions up', async () => {
    const vendor = new Vendor();
    const source = vendor.repository({ releases: [vendor.release('viewer', '1.0.0')] });
    const agent = await device(vendor);
    await agent.refresh(source);
    const stolen = vendor.repository({
      releases: [],
      sequence: 2,
      previous: { ...source.versions, timestamp: 1000, snapshot: { ...source.versions.snapshot, version: 1000 } },
    });
    await agent.refresh(stolen);
    const keys = { ...vendor.keys, snapshot: testKey('snapshot-2'), timestamp: testKey('timestamp-2') };
    vendor.roots.push(vendor.root(2, { online: keys }));
    const recovered = vendor.repository({
      releases: [],
      sequence: 3,
      previous: { ...stolen.versions, timestamp: 5, snapshot: { ...stolen.versions.snapshot, version: 5 } },
      keys,
    });
    expect((await agent.refresh(recovered)).timestampVersion).toBe(6);
    stolen.files.set('2.root.json', recovered.files.get('2.root.json') ?? Buffer.alloc(0));
    await expect(agent.refresh(stolen)).rejects.toThrow(coded('METADATA_UNTRUSTED'));
  });

  it('that came with a newer factory root continues; a factory root of another lineage begins anew', async () => {
    const vendor = new Vendor();
    const source = vendor.repository({ releases: [], sequence: 3 });
    const agent = await device(vendor);
    await agent.refresh(source);
    const second = vendor.root(2);
    source.files.set('2.root.json', second);
    expect((await agent.refresh(source, { factoryRoot: second })).bundle.sequence).toBe(3);
    const stranger = [testKey('other-1'), testKey('other-2'), testKey('other-3')];
    const foreign = vendor.root(1, { rootKeys: stranger, signers: stranger });
    await expect(agent.refresh(source, { factoryRoot: foreign })).rejects.toThrow(coded('METADATA_UNTRUSTED'));
  });
});

function withRelease(): TestSource {
  const vendor = new Vendor();
  return vendor.repository({ releases: [vendor.release('viewer', '1.0.0')] });
}

/** Signs everything above these bundle bytes genuinely. */
function reassign(vendor: Vendor, source: TestSource, bundle: Buffer): void {
  const assignment = signAssignment({
    version: 1,
    expires: FAR,
    keys: [vendor.keys.assignment],
    scope: SCOPE,
    bundle: { sha256: sha256(bundle), size: bundle.length },
  });
  const meta = { ...source.versions.meta, 'assignment.json': { version: 1, length: assignment.length, sha256: sha256(assignment) } };
  const snapshot = signSnapshot({ version: 1, expires: FAR, keys: [vendor.keys.snapshot], scope: SCOPE, meta });
  const entry = { version: 1, length: snapshot.length, sha256: sha256(snapshot) };
  source.files.set('1.assignment.json', assignment).set('1.snapshot.json', snapshot);
  source.files.set('timestamp.json', signTimestamp({ version: 1, expires: FAR, keys: [vendor.keys.timestamp], scope: SCOPE, snapshot: entry }));
  source.targets.set(sha256(bundle), bundle);
}
