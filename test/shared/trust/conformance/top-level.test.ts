import { readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { describe, expect, it } from 'vitest';
import { TestClient, withServer } from './rig.ts';
import { ecdsa, ed25519, inDays, rsa, Simulator, type TestSigner, TOP } from './simulator.ts';

withServer();

const text = (bytes: Buffer | undefined): string => bytes?.toString() ?? '';

describe('5.2 load the trusted root', () => {
  it('a first refresh asks for the next root, timestamp, snapshot and targets, and keeps their very bytes', async () => {
    const repository = new Simulator();
    const client = await TestClient.create(repository);
    await client.refresh();
    expect(repository.asksFor('metadata')).toEqual(['2.root.json', 'timestamp.json', '1.snapshot.json', '1.targets.json']);
    expect(client.trusted).toEqual({ root: 1, timestamp: 1, snapshot: 1, targets: 1 });
    for (const role of TOP) {
      expect(readFileSync(join(client.metadataDirectory, `${role}.json`), 'utf8')).toBe(text(repository.files.get(repository.path(role, 1))));
    }
  });

  it('a root that is not signed by itself, or malformed, is refused and nothing is asked for', async () => {
    const repository = new Simulator();
    const good = text(repository.files.get('metadata/1.root.json'));
    const unsigned = good.replace(/"sig": "(..)/, (_, byte) => `"sig": "${byte === '00' ? 'ff' : '00'}`);
    const versionless = good.replace('"version": 1,', '');
    for (const root of [unsigned, versionless, '{}', 'nonsense']) {
      const client = await TestClient.create(repository, false);
      await expect(client.init(Buffer.from(root))).rejects.toThrow();
      await client.refused('METADATA_MISSING');
      expect(repository.asked).toEqual([]);
    }
  });

  it('an expired first root is a fine beginning, if a newer one follows', async () => {
    const repository = new Simulator();
    repository.root.expires = inDays(-1);
    const client = await TestClient.create(repository, repository.publish('root'));
    await client.refused('METADATA_EXPIRED');
    repository.root.expires = inDays(10);
    repository.bump('root');
    await client.refresh();
    expect(client.version('root')).toBe(2);
  });

  it('init again with the same root forgets nothing', async () => {
    const repository = new Simulator();
    const client = await TestClient.create(repository);
    await client.refresh();
    repository.bump('root');
    await client.refresh();
    await client.init(repository.files.get('metadata/1.root.json') ?? Buffer.alloc(0));
    expect(client.trusted).toEqual({ root: 2, timestamp: 1, snapshot: 1, targets: 1 });
  });
});

interface RootVersion {
  readonly keys: readonly number[];
  readonly threshold: number;
  readonly signed: readonly number[];
}
const step = (keys: number[], threshold: number, signed: number[]): RootVersion => ({ keys, threshold, signed });

describe('5.3 update the root', () => {
  const FIVE = [0, 1, 2, 3, 4];
  const good: [string, RootVersion[]][] = [
    ['1 of 1 rotates', [step([1], 1, [1]), step([2], 1, [2, 1]), step([2], 1, [2])]],
    ['strangers sign too', [step([1], 1, [3, 1, 4]), step([2], 1, [3, 2, 1, 4]), step([2], 1, [3, 2, 4])]],
    ['3 of 5 in any combination', [step(FIVE, 3, [0, 2, 4]), step(FIVE, 3, [0, 4, 1]), step(FIVE, 3, [0, 1, 3])]],
    ['one of five is exchanged', [step(FIVE, 3, [0, 2, 4]), step([0, 1, 3, 4, 5], 3, [0, 4, 1])]],
    ['all five are exchanged', [step(FIVE, 3, [0, 2, 4]), step([5, 6, 7, 8, 9], 3, [0, 2, 4, 5, 6, 7]), step([5, 6, 7, 8, 9], 3, [5, 6, 7])]],
    ['the threshold rises', [step([1, 2, 3], 1, [1]), step([1, 2, 3], 2, [1, 2])]],
    ['the threshold falls', [step([1, 2, 3], 2, [1, 2]), step([1, 2, 3], 1, [1, 2]), step([1, 2, 3], 1, [1])]],
  ];
  const bad: [string, RootVersion[]][] = [
    ['the old key did not sign', [step([1], 1, [1]), step([2], 1, [2, 3, 4])]],
    ['the new key did not sign', [step([1], 1, [1]), step([2], 1, [1, 3, 4])]],
    ['too few of the new keys signed', [step(FIVE, 3, [0, 2, 4]), step([0, 1, 3, 4, 5], 3, [0, 2, 4])]],
    ['too few of the old keys signed', [step(FIVE, 3, [0, 2, 4]), step([0, 1, 3, 4, 5], 3, [0, 4, 5])]],
    ['a risen threshold is not reached', [step([1, 2, 3], 1, [1]), step([1, 2, 3], 2, [2])]],
    ['the old threshold is not reached', [step([1, 2, 3], 2, [1, 2]), step([1, 2, 3], 1, [1])]],
  ];
  const keys = Array.from({ length: 10 }, () => ed25519());
  const pick = (numbers: readonly number[]): TestSigner[] => keys.filter((_, at) => numbers.includes(at));

  function history(versions: readonly RootVersion[]): Simulator {
    const repository = new Simulator();
    repository.root.version = 0;
    for (const { keys: trusted, threshold, signed } of versions) {
      const role = repository.role('root');
      role.keyids = [];
      role.threshold = threshold;
      for (const key of pick(trusted)) repository.addKey('root', key);
      repository.root.version++;
      repository.publish('root', undefined, pick(signed));
    }
    return repository;
  }

  it.each(good)('5.3.4 every version is taken where %s', async (_, versions) => {
    const client = await TestClient.create(history(versions));
    await client.refresh();
    expect(client.version('root')).toBe(versions.length);
  });

  it.each(bad)('5.3.4 the last version is refused where %s', async (_, versions) => {
    const client = await TestClient.create(history(versions));
    await client.refused('METADATA_UNTRUSTED');
    expect(client.trusted).toEqual({ root: versions.length - 1 });
  });

  it('5.3.3 versions come one by one: none is left out', async () => {
    const repository = new Simulator();
    repository.bump('root', 'root', 'root');
    repository.files.delete('metadata/3.root.json');
    const client = await TestClient.create(repository);
    await client.refresh();
    expect(client.version('root')).toBe(2);
  });

  it.each([1, 2, 4])('5.3.5 a file 3.root.json that holds version %i is refused', async (version) => {
    const repository = new Simulator();
    repository.bump('root', 'root', 'root');
    repository.files.set('metadata/3.root.json', repository.files.get(`metadata/${version}.root.json`) ?? Buffer.alloc(0));
    const client = await TestClient.create(repository);
    await client.refused('METADATA_UNTRUSTED');
    expect(client.version('root')).toBe(2);
  });

  it('5.3.3 a root beyond the limit is not read to its end', async () => {
    const repository = new Simulator();
    repository.root.version = 2;
    repository.root['filler'] = 'x'.repeat(600_000);
    repository.publish('root');
    const client = await TestClient.create(repository);
    await client.refused('LIMIT_EXCEEDED');
    expect(client.trusted).toEqual({ root: 1 });
  });

  it('5.3.9 an update takes 256 new roots and no more; the next goes on', async () => {
    const repository = new Simulator();
    for (let n = 0; n < 258; n++) repository.bump('root');
    const client = await TestClient.create(repository);
    await client.refresh();
    expect(client.version('root')).toBe(257);
    await client.refresh();
    expect(client.version('root')).toBe(259);
  });

  it('5.3.10 an expired final root is kept, and nothing after it is asked for; an expired one on the way does no harm', async () => {
    const repository = new Simulator();
    const client = await TestClient.create(repository);
    repository.root.expires = inDays(-2);
    repository.bump('root');
    repository.root.expires = inDays(2);
    repository.bump('root');
    await client.refresh();
    repository.root.expires = inDays(-1);
    repository.bump('root', 'targets');
    repository.updateSnapshot();
    await client.refused('METADATA_EXPIRED');
    expect(repository.asksFor('metadata')).toEqual(['4.root.json', '5.root.json']);
    expect(client.trusted).toEqual({ root: 4, timestamp: 1, snapshot: 1, targets: 1 });
  });

  it('5.3.11 rotated timestamp keys recover from a timestamp that was run up', async () => {
    const repository = new Simulator();
    repository.timestamp.version = 99;
    repository.bump('timestamp');
    const client = await TestClient.create(repository);
    await client.refresh();
    expect(client.version('timestamp')).toBe(100);
    repository.rotateKeys('timestamp');
    repository.bump('root');
    repository.timestamp.version = 1;
    repository.publish('timestamp');
    await client.refresh();
    expect(client.version('timestamp')).toBe(1);
  });

  it('5.3.11 rotated snapshot and timestamp keys recover from a snapshot that was run up', async () => {
    const repository = new Simulator();
    repository.snapshot.version = 99_998;
    repository.updateSnapshot();
    const client = await TestClient.create(repository);
    await client.refresh();
    expect(client.version('snapshot')).toBe(99_999);
    repository.rotateKeys('snapshot');
    repository.rotateKeys('timestamp');
    repository.bump('root');
    repository.snapshot.version = 0;
    repository.updateSnapshot();
    await client.refresh();
    expect(client.version('snapshot')).toBe(1);
  });

  it.each([['snapshot'], ['timestamp']] as const)('5.3.11 rotated %s keys alone recover from targets that were run up', async (role) => {
    const repository = new Simulator();
    repository.targets.version = 99;
    repository.bump('targets');
    repository.updateSnapshot();
    const client = await TestClient.create(repository);
    await client.refresh();
    expect(client.version('targets')).toBe(100);
    repository.rotateKeys(role);
    repository.bump('root');
    repository.targets.version = 1;
    repository.bump('targets');
    repository.updateSnapshot();
    await client.refresh();
    expect(client.version('targets')).toBe(2);
  });

  it('5.3.11 a new root that only adds a key lowers nothing', async () => {
    const repository = new Simulator();
    repository.bump('timestamp', 'timestamp');
    const client = await TestClient.create(repository);
    await client.refresh();
    repository.addKey('timestamp');
    repository.bump('root');
    repository.timestamp.version = 2;
    repository.publish('timestamp');
    await client.refused('METADATA_ROLLBACK');
    expect(client.trusted).toMatchObject({ root: 2, timestamp: 3 });
  });
});

describe('4.2 and 4.3 keys and signatures', () => {
  const kinds: [string, () => TestSigner][] = [
    ['ed25519', () => ed25519()],
    ['ecdsa P-256', () => ecdsa()],
    ['ecdsa P-384', () => ecdsa('P-384')],
    ['rsa pss', () => rsa('rsassa-pss-sha256')],
    ['rsa pkcs1v15', () => rsa('rsa-pkcs1v15-sha256')],
  ];
  it.each(kinds)('%s signatures count, broken ones do not', async (_, make) => {
    const repository = new Simulator();
    const client = await TestClient.create(repository);
    const signer = repository.addKey('root', make());
    repository.role('root').threshold = 2;
    repository.bump('root');
    await client.refresh();
    expect(client.version('root')).toBe(2);
    repository.root.version++;
    repository.publish('root', (envelope) => ({
      ...envelope,
      signatures: envelope.signatures.map(({ keyid, sig }) => ({ keyid, sig: keyid === signer.keyId ? sig.replace(/^....../, 'a1b2c3') : sig })),
    }));
    await client.refused('METADATA_UNTRUSTED');
    expect(client.version('root')).toBe(2);
  });

  it('RSA keys below 2048 bits sign for nobody', async () => {
    const repository = new Simulator();
    const client = await TestClient.create(repository);
    repository.addKey('root', rsa('rsassa-pss-sha256', 1024));
    repository.role('root').threshold = 2;
    repository.bump('root');
    await client.refused('METADATA_UNTRUSTED');
  });

  it('an ed25519 key is not taken under a scheme of another name', async () => {
    const repository = new Simulator();
    const client = await TestClient.create(repository);
    const signer = ed25519();
    repository.addKey('root', { ...signer, json: { ...signer.json, scheme: 'ecdsa-sha2-nistp256' } });
    repository.role('root').threshold = 2;
    repository.bump('root');
    await client.refused('METADATA_UNTRUSTED');
  });

  it('keys of unknown types and schemes, odd ids and further fields do no harm, and count for nothing', async () => {
    const repository = new Simulator();
    const client = await TestClient.create(repository);
    for (const [keytype, scheme] of [
      ['sphincs', 'sphincs-shake'],
      ['ed25519', 'ed25519ph'],
      ['rsa', 'rsa-raw'],
    ] as const) {
      const { keyId, sign } = ed25519(`${keytype}-${scheme}`);
      repository.addKey('timestamp', { keyId, sign, json: { keytype, scheme, keyval: { public: 'zz' }, keyid_hash_algorithms: ['md5'] } });
    }
    repository.root['custom-field'] = { a: [1, null, 'ü"\\'] };
    repository.role('root')['another'] = true;
    repository.bump('root', 'timestamp');
    await client.refresh();
    expect(client.trusted).toMatchObject({ root: 2, timestamp: 2 });
    repository.role('timestamp').threshold = 2;
    repository.bump('root');
    await client.refused('METADATA_UNTRUSTED');
  });

  it('a threshold is not reached by one key under many ids', async () => {
    const repository = new Simulator();
    const client = await TestClient.create(repository);
    const signer = ed25519();
    for (let n = 0; n < 9; n++) repository.addKey('snapshot', { ...signer, keyId: `alias-${n}` });
    repository.role('snapshot').threshold = 6;
    repository.bump('root');
    repository.updateSnapshot();
    await client.refused('METADATA_UNTRUSTED');
    expect(client.version('snapshot')).toBeUndefined();
  });

  it('a role that lists a key id twice is refused', async () => {
    const repository = new Simulator();
    const client = await TestClient.create(repository);
    const signer = repository.addKey('snapshot');
    repository.role('snapshot').keyids.push(signer.keyId);
    repository.role('snapshot').threshold = 3;
    repository.bump('root');
    await client.refused();
    expect(client.version('snapshot')).toBeUndefined();
  });

  it('two signatures under one key id are refused even when the threshold is reached', async () => {
    const repository = new Simulator();
    const client = await TestClient.create(repository);
    repository.publish('snapshot', (envelope) => ({ ...envelope, signatures: [...envelope.signatures, ...envelope.signatures] }));
    await client.refused();
    expect(client.version('snapshot')).toBeUndefined();
  });

  it.each(['00', ''])('a bad signature (%j) next to enough good ones does no harm', async (sig) => {
    const repository = new Simulator();
    const client = await TestClient.create(repository);
    const second = repository.addKey('timestamp');
    repository.bump('root');
    repository.timestamp.version++;
    repository.publish('timestamp', (envelope) => ({
      ...envelope,
      signatures: envelope.signatures.map((one) => (one.keyid === second.keyId ? { ...one, sig } : one)),
    }));
    await client.refresh();
    expect(client.version('timestamp')).toBe(2);
  });

  it.each(TOP)('5.3.4–5.6.3 %s without enough signatures, or with more keys asked for than there are, is refused', async (role) => {
    const repository = new Simulator();
    const client = await TestClient.create(repository);
    await client.refresh();
    for (let n = 0; n < 2; n++) repository.addKey(role);
    repository.role(role).threshold = role === 'root' ? 1 : 4;
    repository.bump('root');
    if (role === 'root') repository.publish('root', (envelope) => ({ ...envelope, signatures: [] }));
    repository.bump('targets');
    repository.updateSnapshot();
    const before = client.version(role);
    await client.refused('METADATA_UNTRUSTED');
    expect(client.version(role)).toBe(before);
  });

  it('the signed bytes are what counts: one changed field in any role is refused', async () => {
    for (const role of TOP) {
      const repository = new Simulator();
      const client = await TestClient.create(repository);
      if (role === 'root') repository.root.version++;
      repository.publish(role, (envelope) => ({ ...envelope, signed: { ...envelope.signed, expires: inDays(300) } }));
      await client.refused('METADATA_UNTRUSTED');
      expect(client.version(role)).toBe(role === 'root' ? 1 : undefined);
    }
  });
});

describe('5.4 update the timestamp', () => {
  it('5.4.1 beyond the limit it is not read to its end', async () => {
    const repository = new Simulator();
    repository.timestamp['filler'] = 'x'.repeat(20_000);
    repository.bump('timestamp');
    await (await TestClient.create(repository)).refused('LIMIT_EXCEEDED');
  });

  it('5.4.3.1 a lower version is refused, the same is not stored again whatever it says', async () => {
    const repository = new Simulator();
    const client = await TestClient.create(repository);
    repository.updateTimestamp();
    await client.refresh();
    repository.timestamp['remark'] = 'other content, same version';
    repository.publish('timestamp');
    await client.refresh();
    expect(readFileSync(join(client.metadataDirectory, 'timestamp.json'), 'utf8')).not.toContain('remark');
    repository.timestamp.version = 1;
    repository.publish('timestamp');
    await client.refused('METADATA_ROLLBACK');
    expect(client.version('timestamp')).toBe(2);
    expect(repository.asksFor('metadata').at(-1)).toBe('timestamp.json');
  });

  it.each([false, true])('5.4.3.2 a lower snapshot version inside a newer timestamp is refused (hashes: %s)', async (hashes) => {
    const repository = new Simulator();
    repository.withHashes = hashes;
    const client = await TestClient.create(repository);
    repository.updateSnapshot();
    await client.refresh();
    repository.snapshot.version = 1;
    repository.updateTimestamp();
    await client.refused('METADATA_ROLLBACK');
    expect(client.trusted).toEqual({ root: 1, timestamp: 2, snapshot: 2, targets: 1 });
  });

  it('5.4.4 an expired one is not taken, and a replayed one that expired since is refused', async () => {
    const repository = new Simulator();
    const client = await TestClient.create(repository);
    await client.refresh();
    repository.timestamp.expires = inDays(-5);
    repository.updateTimestamp();
    await client.refused('METADATA_EXPIRED');
    expect(client.version('timestamp')).toBe(1);
  });
});

describe('5.5 update the snapshot', () => {
  it('5.5 is not asked for again while the timestamp names the version at hand', async () => {
    const repository = new Simulator();
    const client = await TestClient.create(repository);
    await client.refresh();
    await client.refresh();
    expect(repository.asksFor('metadata')).toEqual(['2.root.json', 'timestamp.json']);
  });

  it('5.5.2 with another hash or length than the timestamp says is refused', async () => {
    for (const change of [(bytes: Buffer) => Buffer.concat([bytes, Buffer.from(' ')]), (bytes: Buffer) => Buffer.from(bytes.toString().replace('\n', ' '))]) {
      const repository = new Simulator();
      repository.withHashes = true;
      repository.updateSnapshot();
      const path = repository.path('snapshot', 2);
      repository.files.set(path, change(repository.files.get(path) ?? Buffer.alloc(0)));
      const client = await TestClient.create(repository);
      await client.refused();
      expect(client.trusted).toEqual({ root: 1, timestamp: 2 });
    }
  });

  it('5.5.4 of another version than the timestamp says is refused (mix and match)', async () => {
    const repository = new Simulator();
    repository.snapshot.version = 2;
    const bytes = repository.publish('snapshot');
    repository.files.set('metadata/1.snapshot.json', bytes);
    const client = await TestClient.create(repository);
    await client.refused('METADATA_UNTRUSTED');
    expect(client.trusted).toEqual({ root: 1, timestamp: 1 });
    expect(repository.asksFor('metadata').at(-1)).toBe('1.snapshot.json');
  });

  it.each([false, true])('5.5.5 a lower version of targets in it is refused (hashes: %s)', async (hashes) => {
    const repository = new Simulator();
    repository.withHashes = hashes;
    repository.bump('targets', 'targets');
    repository.updateSnapshot();
    const client = await TestClient.create(repository);
    await client.refresh();
    repository.targets.version = 1;
    repository.updateSnapshot();
    await client.refused('METADATA_ROLLBACK');
    expect(client.trusted).toMatchObject({ snapshot: 2, targets: 3, timestamp: 3 });
  });

  it('5.5.5 from which a listed role is gone is refused', async () => {
    const repository = new Simulator();
    repository.delegate('targets', 'a');
    repository.publishAll();
    const client = await TestClient.create(repository);
    await client.refresh();
    delete repository.snapshot.meta['a.json'];
    repository.bump('snapshot');
    repository.updateTimestamp();
    await client.refused('METADATA_ROLLBACK');
  });

  it('5.5.6 expired is refused', async () => {
    const repository = new Simulator();
    const client = await TestClient.create(repository);
    await client.refresh();
    repository.snapshot.expires = inDays(-5);
    repository.updateSnapshot();
    await client.refused('METADATA_EXPIRED');
    expect(client.trusted).toMatchObject({ timestamp: 2, snapshot: 1 });
  });
});

describe('5.6 update the targets', () => {
  it('5.6.2 with another hash than the snapshot says is refused', async () => {
    const repository = new Simulator();
    repository.withHashes = true;
    repository.bump('targets');
    repository.updateSnapshot();
    repository.targets['more'] = 1;
    repository.publish('targets');
    const client = await TestClient.create(repository);
    await client.refused();
    expect(client.version('targets')).toBeUndefined();
  });

  it('5.6.4 of another version than the snapshot says is refused', async () => {
    const repository = new Simulator();
    repository.targets.version = 7;
    repository.files.set('metadata/1.targets.json', repository.publish('targets'));
    const client = await TestClient.create(repository);
    await client.refused('METADATA_UNTRUSTED');
    expect(client.trusted).toEqual({ root: 1, timestamp: 1, snapshot: 1 });
  });

  it('5.6.5 expired is refused', async () => {
    const repository = new Simulator();
    const client = await TestClient.create(repository);
    await client.refresh();
    repository.targets.expires = inDays(-5);
    repository.bump('targets');
    repository.updateSnapshot();
    await client.refused('METADATA_EXPIRED');
    expect(client.version('targets')).toBe(1);
  });

  it('5.6.1 beyond the length that the snapshot names is not read to its end', async () => {
    const repository = new Simulator();
    repository.withHashes = true;
    repository.updateSnapshot();
    repository.files.set('metadata/1.targets.json', Buffer.alloc(1 << 20, ' '));
    await (await TestClient.create(repository)).refused('LIMIT_EXCEEDED');
  });
});

describe('6.2 without consistent snapshots', () => {
  it('files have no version in their names, and targets no hash', async () => {
    const repository = new Simulator();
    repository.root.consistent_snapshot = false;
    const first = repository.publish('root');
    repository.addTarget('targets', 'dir/file.txt', Buffer.from('plain'));
    repository.delegate('targets', 'a', { paths: ['nothing'] });
    repository.publishAll();
    const client = await TestClient.create(repository, first);
    await client.download('dir/file.txt');
    expect(repository.asked).toEqual([
      'metadata/2.root.json',
      'metadata/timestamp.json',
      'metadata/snapshot.json',
      'metadata/targets.json',
      'targets/dir/file.txt',
    ]);
    expect(client.downloaded).toEqual(['plain']);
  });
});

describe('a damaged or foreign copy next to the store', () => {
  it('is put right again and never believed', async () => {
    const repository = new Simulator();
    const client = await TestClient.create(repository);
    await client.refresh();
    for (const role of TOP) writeFileSync(join(client.metadataDirectory, `${role}.json`), 'rubbish');
    writeFileSync(join(client.metadataDirectory, 'stranger.json'), '{}');
    await client.refresh();
    expect(client.trusted).toEqual({ root: 1, timestamp: 1, snapshot: 1, targets: 1 });
  });
});
