import { once } from 'node:events';
import https from 'node:https';
import { afterEach, beforeAll, describe, expect, it, onTestFinished } from 'vitest';
import { Acceptor } from '../../agent/accept/verify.ts';
import { keyRefusal } from '../../provider/secrecy/entitled.ts';
import { systemClock } from '../../shared/base/clock.ts';
import { type Identity, identityPath, scopePath } from '../../shared/base/identity.ts';
import { silentLog } from '../../shared/base/log.ts';
import { parseBundle, printBundle } from '../../shared/bundle/bundle.ts';
import { ChunkCodec, packChunk } from '../../shared/bundle/chunk-form.ts';
import { contentKeyId, newContentKey } from '../../shared/bundle/content-key.ts';
import { decide } from '../../shared/bundle/decide.ts';
import { contentKeysIn, groupKeyCommitment, newGroupKey, wrapContentKey } from '../../shared/bundle/group-key.ts';
import { printHashes } from '../../shared/net/chunk-frames.ts';
import { createChunkHandler } from '../../shared/net/chunk-server.ts';
import { Revocations } from '../../shared/net/revocations.ts';
import { entitledChunks } from '../../shared/net/swarm/entitled.ts';
import { mayEnter, mayRead } from '../../shared/wire/policy.ts';
import { announce, announceFilter, down, downFilter } from '../../shared/wire/topics.ts';
import { OTHER, SCOPE, Vendor } from '../shared/trust/fixture.ts';
import { type Papers, Workshop } from '../support/bad-certificates.ts';
import { BrokerRig, DEVICE_A, DEVICE_A2, DEVICE_B, GATEWAY, isUp, whyDown } from '../support/broker-rig.ts';
import { Inbox } from '../support/deliveries.ts';
import { MemoryBundle } from '../support/served-chunks.ts';
import { temporaryDirectory } from '../support/temporary-directory.ts';

/**
 * Each barrier alone: the others are switched off, by the options that doors and brokers have for tests, or stand aside because only the one function is
 * asked. Then it is attacked, and an honest one passes. The names are those of `wardcast explain`; docs/isolation.md lists them.
 */
let workshop: Workshop;
let rig: BrokerRig | undefined;
beforeAll(async () => {
  workshop = await Workshop.open();
});
afterEach(async () => {
  await rig?.[Symbol.asyncDispose]();
  rig = undefined;
});

const NOBODY = { revoked: [], oldestCas: [], retired: [] };
const anything = { mayRead: () => true, mayPublish: () => true };
const STRANGERS: readonly Identity[] = [
  { ...DEVICE_A, customer: 'bert' },
  { ...DEVICE_A, site: 'south' },
  { role: 'gateway', customer: 'acme', site: 'south', gateway: 'gw-1' },
  { role: 'ops', name: 'alice' },
];

async function open(options: Parameters<typeof BrokerRig.open>[1]): Promise<BrokerRig> {
  rig = await BrokerRig.open(workshop, options);
  return rig;
}

/** Why somebody with these papers does not come in; undefined: he does. */
async function turnedAway(at: BrokerRig, identity: Identity, papers: Papers = workshop.leaf(identity)): Promise<unknown> {
  const link = at.link(identity, { credentials: { ...at.credentials(identity), ...papers } });
  const why = await Promise.race([whyDown(link), isUp(link).then(() => undefined)]);
  await link.close();
  return why;
}

describe('with all other barriers switched off', () => {
  it('certificate: a leaf of another group’s CA is no device of this group, whatever its URI says', async () => {
    const at = await open({ broker: { policy: anything } });
    expect(await turnedAway(at, DEVICE_A)).toBeUndefined();
    expect(await turnedAway(at, DEVICE_A, workshop.leaf(DEVICE_A, {}, workshop.issuer(DEVICE_B)))).toMatchObject({ code: 'CERT_ISSUER_MISMATCH' });
    expect(await turnedAway(at, DEVICE_A, workshop.leaf(DEVICE_A, {}, workshop.issuer(GATEWAY)))).toMatchObject({ code: 'CERT_ISSUER_MISMATCH' });
    expect(await turnedAway(at, DEVICE_A, workshop.leafIssuedByLeaf())).toBeDefined();
  });

  it('revocation: a revoked device is refused, and cut off where it is in already', async () => {
    const revocations = new Revocations(silentLog);
    const at = await open({ broker: { policy: anything }, door: { revocations } });
    const [thief, honest] = [await at.linked(DEVICE_A), await at.linked(DEVICE_A2)];
    const cut = whyDown(thief);
    revocations.learn('test', { revoked: [{ identity: identityPath(DEVICE_A), until: new Date().toISOString() }], oldestCas: [], retired: [] });
    expect(await cut).toBeDefined();
    expect(await turnedAway(at, DEVICE_A)).toMatchObject({ code: 'CERT_REVOKED' });
    expect(honest.state).toBe('up');
  });

  it('door: nobody of another customer, site or role comes in, with a genuine certificate', async () => {
    const at = await open({ broker: { policy: anything }, door: { accept: (visitor) => mayEnter(GATEWAY, visitor) } });
    for (const stranger of STRANGERS) expect(await turnedAway(at, stranger), identityPath(stranger)).toMatchObject({ code: 'CERT_WRONG_ROLE' });
    expect(await turnedAway(at, DEVICE_B)).toBeUndefined();
  });

  it.each([
    ['at the subscription', { mayRead, mayPublish: () => true }],
    // Every subscription is granted, as if the broker had been tricked into it: the last look before bytes leave must do.
    ['as each message leaves', { mayRead: (who: Identity, topic: string) => /[+#]/.test(topic) || mayRead(who, topic), mayPublish: () => true }],
  ])('topics: a device of another group hears nothing of this one, %s', async (_where, policy) => {
    const at = await open({ broker: { policy } });
    const thief = await at.linked(DEVICE_B);
    const honest = await at.linked(DEVICE_A);
    const stolen = new Inbox(
      thief.subscribe(['#', 'wardcast/1/customer/+/site/+/group/+/announce/#', announceFilter(DEVICE_A), downFilter(DEVICE_A), downFilter(DEVICE_B)]),
    );
    const heard = new Inbox(honest.subscribe([announceFilter(DEVICE_A), downFilter(DEVICE_A)]));
    // What is subscribed is known when the broker has answered; a mark that each may hear comes after it.
    for (const who of [DEVICE_A, DEVICE_B]) await untilHeard(at, who, who === DEVICE_A ? heard : stolen);
    await at.broker.publish(announce(DEVICE_A, 'offer'), Buffer.from('secret'));
    await at.broker.publish(down(DEVICE_A, 'offer'), Buffer.from('secret too'));
    await at.broker.publish(down(DEVICE_B, 'offer'), Buffer.from('end'));
    await heard.with('secret too');
    await stolen.with('end');
    expect(heard.texts).toContain('secret');
    expect(stolen.texts.filter((text) => text.startsWith('secret'))).toEqual([]);
  });

  it('objects: the chunk server and the swarm give a device of another group neither manifest nor chunk, though they hold out the bundle to it', async () => {
    const bundle = new MemoryBundle(DEVICE_A);
    const chunk = bundle.add(Buffer.from('content of group ct'));
    bundle.files.set('timestamp.json', Buffer.from('{}'));
    bundle.manifests.set('m', { hashes: [chunk], sizes: [19] });
    const at = await open({ door: { onHttp: createChunkHandler({ log: silentLog, bundles: () => bundle }) } });
    const { customer, site } = DEVICE_A;
    for (const group of [DEVICE_A.group, DEVICE_B.group]) {
      for (const [path, body] of [
        [`/v1/${customer}/${site}/${group}/chunks`, printHashes([chunk])],
        [`/v1/${customer}/${site}/${group}/metadata/timestamp.json`, undefined],
      ] as const) {
        expect(await ask(at, DEVICE_A, path, body)).toBe(group === DEVICE_A.group ? 200 : 404);
        for (const thief of [DEVICE_B, ...STRANGERS]) expect(await ask(at, thief, path, body), `${identityPath(thief)} ${path}`).toBe(404);
      }
    }
    expect(await entitledChunks(DEVICE_A, bundle, 'm')?.read(0)).toBeDefined();
    for (const thief of [DEVICE_B, ...STRANGERS]) expect(entitledChunks(thief, bundle, 'm')).toBeUndefined();
  });

  it('bundle: a device that is handed another group’s genuine signed bundle does not take it', async () => {
    const vendor = new Vendor();
    const release = vendor.release('viewer', '1.0.0');
    await expect((await acceptor(vendor)).refresh(vendor.repository({ releases: [release] }))).resolves.toMatchObject({ bundle: SCOPE });
    await expect((await acceptor(vendor)).refresh(vendor.repository({ releases: [release], scope: OTHER }))).rejects.toMatchObject({ code: 'BUNDLE_SCOPE' });
  });

  it('encryption: whoever copied every bundle and chunk opens nothing with another group’s key, an earlier epoch’s, or none', () => {
    const [contentKey, own, earlier, other] = [newContentKey(), newGroupKey(), newGroupKey(), newGroupKey()];
    const content = Buffer.from('content of group ct '.repeat(100));
    const { chunk, wire } = packChunk(content, { key: contentKey, index: 0 });
    const manifest = { encryption: { keys: [contentKeyId(contentKey)] } };
    const release = { application: 'viewer', version: '1.0.0', manifest: 'ab'.repeat(32), size: 1, allowDowngrade: false };
    const groupKey = { epoch: 2, commitment: groupKeyCommitment(own) };
    const signed = { format: 1 as const, ...SCOPE, sequence: 1, releases: [{ ...release, keys: [wrapContentKey(contentKey, own)] }], withdrawn: [], groupKey };
    const bundle = parseBundle(printBundle(signed));
    const read = (key: Buffer | undefined): Buffer =>
      new ChunkCodec(
        manifest,
        contentKeysIn(bundle, release.manifest, () => key),
      ).decode(wire, chunk);
    expect(read(own)).toEqual(content);
    expect(() => read(undefined)).toThrow(expect.objectContaining({ code: 'CONTENT_KEY_ABSENT' }));
    for (const key of [earlier, other]) expect(() => read(key)).toThrow(expect.objectContaining({ code: 'KEY_UNUSABLE' }));
    // The provider's desk gives a device the key of no other group: it asks where the registry has it, and whether it is revoked.
    const { customer, site, group } = DEVICE_A;
    const facts = { device: DEVICE_A, certified: { issued: 1, generation: 1 }, registered: { customer, site, group }, revoked: NOBODY };
    expect(keyRefusal(facts)).toBeUndefined();
    expect(keyRefusal({ ...facts, registered: undefined })).toBe('it is not registered');
    expect(keyRefusal({ ...facts, registered: { customer, site, group: DEVICE_B.group } })).toBe(`it is registered at ${scopePath(DEVICE_B)}`);
    const revoked = { ...NOBODY, revoked: [{ identity: identityPath(DEVICE_A), until: '2026-01-01T00:00:00Z' }] };
    expect(keyRefusal({ ...facts, revoked })).toMatch(/are revoked$/);
  });

  it('signature: whoever owns the provider’s online keys and its host cannot add a release that the release key did not sign', async () => {
    const vendor = new Vendor();
    const release = vendor.release('viewer', '1.0.0');
    await (await acceptor(vendor)).refresh(vendor.repository({ releases: [release] }));
    vendor.withdraw('viewer', '1.0.0');
    await expect((await acceptor(vendor)).refresh(vendor.repository({ releases: [release] }))).rejects.toMatchObject({ code: 'METADATA_UNTRUSTED' });
  });

  it('installer: of a bundle that everything else let pass, what is withdrawn, too new or older is not installed', () => {
    const hash = 'ab'.repeat(32);
    const wanted = { application: 'viewer', version: '1.0.0', manifest: hash, size: 1, allowDowngrade: false };
    const manifest = { format: 1 as const, application: 'viewer', version: '1.0.0', size: 0, hooks: {}, files: [], links: [] };
    const bundle = { format: 1 as const, ...SCOPE, sequence: 1, releases: [wanted], withdrawn: [] };
    const situation = { bundle, manifests: new Map([[hash, manifest]]), installed: [], bad: new Set<string>(), agentVersion: '1.0.0' };
    const newer = [{ application: 'viewer', version: '2.0.0', manifestHash: 'cd'.repeat(32) }];
    expect(decide(situation)).toMatchObject([{ action: 'install' }]);
    expect(decide({ ...situation, installed: newer })).toMatchObject([{ action: 'refuse', code: 'DOWNGRADE_REFUSED' }]);
    expect(decide({ ...situation, bundle: { ...bundle, withdrawn: [wanted] } })).toMatchObject([{ action: 'refuse', code: 'RELEASE_REFUSED' }]);
    expect(decide({ ...situation, manifests: new Map([[hash, { ...manifest, minimumAgent: '9.0.0' }]]) })).toMatchObject([{ action: 'refuse' }]);
    expect(decide({ ...situation, bad: new Set([hash]) })).toMatchObject([{ action: 'refuse', code: 'RELEASE_REFUSED' }]);
  });
});

async function untilHeard(at: BrokerRig, who: typeof DEVICE_A, inbox: Inbox): Promise<void> {
  while (!inbox.texts.includes('ready')) {
    await at.broker.publish(down(who, 'offer'), Buffer.from('ready'));
    await new Promise((again) => setTimeout(again, 10));
  }
}

async function acceptor(vendor: Vendor): Promise<Acceptor> {
  const rows = new Map<string, number>();
  const highest = {
    get: async (key: string) => rows.get(key),
    put: async (key: string, value: number) => void rows.set(key, value),
    delete: async (key: string) => void rows.delete(key),
    entries: () => fromRows(rows),
  };
  const [factoryRoot = Buffer.alloc(0)] = vendor.roots;
  const timekeeper = { time: { guess: () => systemClock.now() }, evidence: () => undefined };
  return new Acceptor({ directory: await temporaryDirectory(), factoryRoot, scope: SCOPE, highest, timekeeper, log: silentLog });
}

async function* fromRows(rows: ReadonlyMap<string, number>): AsyncGenerator<readonly [string, number]> {
  yield* rows;
}

/** The status of an answer. */
async function ask(at: BrokerRig, who: Identity, path: string, body: Buffer | undefined): Promise<number | undefined> {
  const { keyPem: key, chainPem: cert, rootPem: ca } = workshop.leaf(who);
  const method = body === undefined ? 'GET' : 'POST';
  // ALPN is missing from the types of https, which passes it on to tls.
  const options = { host: '127.0.0.1', port: at.port, method, path, key, cert, ca, ALPNProtocols: ['http/1.1'], agent: false } as const;
  const request = https.request({ ...options, checkServerIdentity: () => undefined });
  onTestFinished(() => void request.destroy());
  request.end(body);
  const [response] = await once(request, 'response');
  response.resume();
  return response.statusCode;
}
