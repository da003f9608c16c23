import { readdir, readFile, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { sha256 } from '../../../shared/bundle/digest.ts';
import { announce } from '../../../shared/wire/topics.ts';
import { bytesOf } from '../../support/files.ts';
import { chunkSource, createTestPki, createTestSite, ct, deviceLink, pump, type TestPki, type TestSite, untilUp } from '../../support/gateway-site.ts';
import { seededRandom } from '../../support/random.ts';
import { makeRelease, type TestRelease } from '../../support/scripted-provider.ts';

const MIB = 1024 * 1024;
let pki: TestPki;
beforeAll(async () => {
  pki = await createTestPki();
});
afterAll(() => pki.remove());

/** What is on the gateway's disk, by hash. */
async function stored(site: TestSite): Promise<Set<string>> {
  const names = await readdir(join(site.data, 'chunks'), { recursive: true }).catch(() => []);
  return new Set(names.map((name) => name.split('/').at(-1) ?? '').filter((name) => /^[0-9a-f]{64}$/.test(name)));
}

const relayed = (site: TestSite, group: string, sequence: number): Promise<void> =>
  expect.poll(() => site.provider.progress.some((p) => p.phase === 'relayed' && p.group === group && p.sequence === sequence), { timeout: 50_000 }).toBe(true);

const chunksOf = (...releases: TestRelease[]): Map<string, Buffer> => new Map(releases.flatMap((release) => [...release.chunks]));

describe('the gateway brings a bundle to its site', () => {
  it('completely, before any device asks, each byte once, and tells what the line cost', async () => {
    const site = await createTestSite(pki);
    const release = makeRelease('viewer', '1.0.0', { 'lib/library.bin': bytesOf('a', 4 * MIB), VERSION: Buffer.from('1.0.0') });
    site.provider.publish(release);
    await site.provider.assign(ct, [release]);
    await site.start();
    await relayed(site, 'ct', 1);
    expect(await stored(site)).toEqual(new Set(release.chunks.keys()));
    expect([...site.provider.asked.values()].every((times) => times === 1)).toBe(true);
    const unique = [...release.chunks.values()].reduce((sum, chunk) => sum + chunk.length, 0);
    await expect.poll(() => site.provider.seen.at(-1)?.line.unique).toBe(unique);
    const received = site.provider.seen.at(-1)?.line.received ?? 0;
    expect(received).toBeGreaterThan(unique);
    expect(received / unique).toBeLessThan(1.05);
  });

  it('within the limit of the line', async () => {
    const site = await createTestSite(pki);
    const large = makeRelease('driver', '1.0.0', { lib: bytesOf('large', 6 * MIB) });
    site.provider.publish(large);
    await site.provider.assign(ct, [large]);
    const started = performance.now();
    await site.start({ lineMbit: 24 });
    await relayed(site, 'ct', 1);
    // 3 MB/s: a lower bound is all that a busy machine can promise.
    expect(performance.now() - started).toBeGreaterThan(((6 * MIB - 500_000) / 3_000_000) * 1000);
  });

  it('nothing at all while its limit is 0, and says why', async () => {
    const site = await createTestSite(pki);
    const release = makeRelease('viewer', '1.0.0', { lib: bytesOf('a', MIB) });
    site.provider.publish(release);
    await site.provider.assign(ct, [release]);
    await site.start({ lineMbit: 0 });
    await expect.poll(() => site.provider.progress.some((p) => p.phase === 'relaying' && /window/.test(p.reason ?? ''))).toBe(true);
    expect(site.provider.asked.size).toBe(0);
  });

  it('and offers it on the LAN only when it is complete', async () => {
    const site = await createTestSite(pki);
    const release = makeRelease('viewer', '1.0.0', { a: bytesOf('a', MIB) });
    site.provider.publish(release);
    const gateway = await site.start();
    await expect.poll(() => site.provider.hellos.length).toBe(1);
    const link = deviceLink(gateway.port, await pki.device('ct-1'));
    const offers = link.subscribe([announce(ct, 'offer')])[Symbol.asyncIterator]();
    await untilUp(link);
    await site.provider.assign(ct, [release]);
    const heard = (await offers.next()).value;
    expect(JSON.parse(heard?.payload.toString() ?? '')).toEqual({ group: 'ct', sequence: 1, timestampVersion: 1 });
    expect((await stored(site)).size).toBe(release.chunks.size);
  });

  it('fetching and storing once what two groups share, also when both need it at the same time', async () => {
    const site = await createTestSite(pki, { rate: 20 * MIB });
    const shared = { 'lib/shared.bin': bytesOf('shared', 3 * MIB) };
    const viewer = makeRelease('viewer', '1.0.0', { ...shared, own: bytesOf('viewer', 100_000) });
    const driver = makeRelease('driver', '1.0.0', { ...shared, own: bytesOf('driver', 100_000) });
    site.provider.publish(viewer, driver);
    await site.provider.assign(ct, [viewer]);
    await site.provider.assign(pump, [driver, viewer]);
    await site.start();
    await Promise.all([relayed(site, 'ct', 1), relayed(site, 'pump', 1)]);
    expect([...site.provider.asked.values()].every((times) => times === 1)).toBe(true);
    expect(await stored(site)).toEqual(new Set(chunksOf(viewer, driver).keys()));
  });

  it('asking for an update only what the old bundle has not', async () => {
    const site = await createTestSite(pki);
    const old = makeRelease('viewer', '1.0.0', { lib: bytesOf('lib', 2 * MIB), engine: bytesOf('1', 200_000) });
    const next = makeRelease('viewer', '2.0.0', { lib: bytesOf('lib', 2 * MIB), engine: bytesOf('2', 200_000) });
    site.provider.publish(old);
    await site.provider.assign(ct, [old]);
    await site.start();
    await relayed(site, 'ct', 1);
    const before = new Set(site.provider.asked.keys());
    site.provider.publish(next);
    await site.provider.assign(ct, [next]);
    await relayed(site, 'ct', 2);
    const fresh = [...next.chunks.keys()].filter((hash) => !old.chunks.has(hash));
    expect(new Set([...site.provider.asked.keys()].filter((hash) => !before.has(hash)))).toEqual(new Set(fresh));
    expect([...site.provider.asked.values()].every((times) => times === 1)).toBe(true);
  });

  it('with nothing but metadata when only the signatures were renewed', async () => {
    const site = await createTestSite(pki);
    const release = makeRelease('viewer', '1.0.0', { a: bytesOf('a', MIB) });
    site.provider.publish(release);
    await site.provider.assign(ct, [release]);
    const gateway = await site.start();
    await relayed(site, 'ct', 1);
    await site.provider.renew(ct);
    const source = chunkSource(gateway.port, await pki.device('ct-1'), ct);
    await expect.poll(async () => JSON.parse((await source.metadata('timestamp.json', { maxBytes: MIB }))?.toString() ?? '').signed.version).toBe(2);
    expect([...site.provider.asked.values()].every((times) => times === 1)).toBe(true);
  });

  for (const seed of [1, 2, 3]) {
    it(`through a line that is cut at random moments, never asking again for what is stored (seed ${seed})`, async () => {
      const random = seededRandom(seed);
      const site = await createTestSite(pki, { rate: 12 * MIB, delay: 5 });
      const release = makeRelease('viewer', '1.0.0', { lib: bytesOf('cut', 10 * MIB) });
      site.provider.publish(release);
      await site.provider.assign(ct, [release]);
      await site.start();
      const cuts = [random(), random(), random()].map((part) => Math.floor(part * 9 * MIB)).sort((a, b) => a - b);
      for (const at of cuts) {
        await site.line.cameDown(at);
        site.line.cut();
        // What had arrived when the line broke is being written; then it is still.
        let before = -1;
        while ((await stored(site)).size !== before) {
          before = (await stored(site)).size;
          await new Promise((resolve) => setTimeout(resolve, 100));
        }
        const kept = await stored(site);
        const asked = new Map([...site.provider.asked].filter(([hash]) => kept.has(hash)));
        site.line.restore();
        await expect.poll(() => site.provider.hellos.length, { timeout: 30_000 }).toBeGreaterThan(cuts.indexOf(at) + 1);
        for (const [hash, times] of asked) expect(site.provider.asked.get(hash)).toBe(times);
      }
      await relayed(site, 'ct', 1);
      expect(await stored(site)).toEqual(new Set(release.chunks.keys()));
      const unique = 10 * MIB;
      await expect.poll(() => site.provider.seen.at(-1)?.line.unique).toBe(unique);
      // Every byte once: only what the cuts tore in the middle came a second time.
      expect((site.provider.seen.at(-1)?.line.received ?? 0) / unique).toBeLessThan(1.05);
    });
  }

  it('after a restart in the middle, asking only for what is missing', async () => {
    const site = await createTestSite(pki, { rate: 10 * MIB });
    const release = makeRelease('viewer', '1.0.0', { lib: bytesOf('restart', 5 * MIB) });
    site.provider.publish(release);
    await site.provider.assign(ct, [release]);
    const first = await site.start();
    await site.line.cameDown(2 * MIB);
    await first.close();
    const kept = await stored(site);
    expect(kept.size).toBeGreaterThan(0);
    site.provider.asked.clear();
    await site.start();
    await relayed(site, 'ct', 1);
    expect([...site.provider.asked.keys()].filter((hash) => kept.has(hash))).toEqual([]);
    expect(await stored(site)).toEqual(new Set(release.chunks.keys()));
    await expect.poll(() => site.provider.seen.at(-1)?.line.unique).toBe(5 * MIB);
  });
});

describe('the gateway believes nothing that it cannot verify', () => {
  it('refuses a chunk that was altered on its way, never stores it, and asks again', async () => {
    const site = await createTestSite(pki);
    const release = makeRelease('viewer', '1.0.0', { lib: bytesOf('altered', MIB) });
    const victim = [...release.chunks.keys()][1] ?? '';
    let alterations = 2;
    site.provider.onRead = (ref, bytes) => (ref.name === victim && alterations-- > 0 && bytes !== undefined ? Buffer.from(bytes).fill(0, 0, 1000) : bytes);
    site.provider.publish(release);
    await site.provider.assign(ct, [release]);
    await site.start();
    await relayed(site, 'ct', 1);
    expect(site.provider.asked.get(victim)).toBe(3);
    for (const hash of await stored(site)) expect(sha256(await readFile(join(site.data, 'chunks', hash.slice(0, 2), hash)))).toBe(hash);
  });

  it('keeps the others going when one group cannot be had, says why, and gets it as soon as it can', async () => {
    const site = await createTestSite(pki);
    const broken = makeRelease('viewer', '1.0.0', { lib: bytesOf('broken', 300_000) });
    const whole = makeRelease('driver', '1.0.0', { lib: bytesOf('whole', 300_000) });
    const victim = [...broken.chunks.keys()][0] ?? '';
    let absent = true;
    site.provider.onRead = (ref, bytes) => (absent && ref.name === victim ? undefined : bytes);
    site.provider.publish(broken, whole);
    await site.provider.assign(ct, [broken]);
    await site.provider.assign(pump, [whole]);
    const gateway = await site.start();
    await relayed(site, 'pump', 1);
    await expect.poll(() => site.provider.progress.find((p) => p.phase === 'failed' && p.group === 'ct')?.reason).toMatch(/^OBJECT_ABSENT: /);
    const source = chunkSource(gateway.port, await pki.device('ct-1'), ct);
    expect(await source.metadata('timestamp.json', { maxBytes: MIB })).toBeUndefined();
    absent = false;
    await relayed(site, 'ct', 1);
  });

  it('does not go back when an older bundle is offered', async () => {
    const site = await createTestSite(pki);
    const one = makeRelease('viewer', '1.0.0', { a: bytesOf('1', 100_000) });
    site.provider.publish(one);
    const offer = await site.provider.assign(ct, [one]);
    const gateway = await site.start();
    await relayed(site, 'ct', 1);
    const two = makeRelease('viewer', '2.0.0', { a: bytesOf('2', 100_000) });
    site.provider.publish(two);
    await site.provider.assign(ct, [two]);
    await relayed(site, 'ct', 2);
    await site.provider.say(offer);
    await site.provider.say({ ...offer, group: 'pump' });
    await expect.poll(() => site.provider.progress.some((p) => p.group === 'pump' && p.phase === 'failed')).toBe(true);
    const source = chunkSource(gateway.port, await pki.device('ct-1'), ct);
    expect(JSON.parse((await source.metadata('timestamp.json', { maxBytes: MIB }))?.toString() ?? '').signed.version).toBe(2);
  });

  it('notices a chunk that rotted on its disk when it is asked for, and pulls it again for the device', async () => {
    const site = await createTestSite(pki);
    const release = makeRelease('viewer', '1.0.0', { lib: bytesOf('rot', MIB) });
    site.provider.publish(release);
    await site.provider.assign(ct, [release]);
    const gateway = await site.start();
    await relayed(site, 'ct', 1);
    const [victim = '', content = Buffer.alloc(0)] = [...release.chunks][0] ?? [];
    await writeFile(join(site.data, 'chunks', victim.slice(0, 2), victim), Buffer.from(content).reverse());
    const source = chunkSource(gateway.port, await pki.device('ct-1'), ct);
    expect((await source.get(victim)).equals(content)).toBe(true);
    expect(site.provider.asked.get(victim)).toBe(2);
    expect((await readFile(join(site.data, 'chunks', victim.slice(0, 2), victim))).equals(content)).toBe(true);
  });
});

describe('the gateway keeps its disk within the budget', () => {
  it('keeping the current and the previous bundle, and deleting what came before', async () => {
    const site = await createTestSite(pki);
    const versions = [1, 2, 3, 4].map((n) => makeRelease('viewer', `${n}.0.0`, { lib: bytesOf(`v${n}`, MIB) }));
    const [one, two, three, four] = versions;
    if (one === undefined || two === undefined || three === undefined || four === undefined) throw new Error('four were made');
    const gateway = await site.start({ budgetMib: 3 });
    await expect.poll(() => site.provider.hellos.length).toBe(1);
    for (const [index, release] of versions.entries()) {
      site.provider.publish(release);
      await site.provider.assign(ct, [release]);
      await relayed(site, 'ct', index + 1);
    }
    await expect.poll(() => stored(site)).toEqual(new Set(chunksOf(two, three, four).keys()));
    expect(gateway.port).toBeGreaterThan(0);
    await expect.poll(() => site.provider.seen.at(-1)?.line.unique).toBe(4 * MIB);
  });
});

describe('with the line down', () => {
  it('a gateway that was started again serves every complete bundle', async () => {
    const site = await createTestSite(pki);
    const release = makeRelease('viewer', '1.0.0', { lib: bytesOf('down', MIB) });
    site.provider.publish(release);
    await site.provider.assign(ct, [release]);
    const first = await site.start();
    await relayed(site, 'ct', 1);
    await first.close();
    site.line.cut();
    const second = await site.start();
    const source = chunkSource(second.port, await pki.device('ct-1'), ct);
    expect(await source.metadata('timestamp.json', { maxBytes: MIB })).toBeDefined();
    expect((await source.target(release.hash, { maxBytes: MIB }))?.equals(release.bytes)).toBe(true);
    for (const [hash, bytes] of release.chunks) expect((await source.get(hash)).equals(bytes)).toBe(true);
  });

  it('a gateway that was stopped in the middle of a new bundle serves the old one', async () => {
    const site = await createTestSite(pki, { rate: 5 * MIB });
    const old = makeRelease('viewer', '1.0.0', { lib: bytesOf('old', 200_000) });
    const next = makeRelease('viewer', '2.0.0', { lib: bytesOf('new', 4 * MIB) });
    site.provider.publish(old);
    await site.provider.assign(ct, [old]);
    const first = await site.start();
    await relayed(site, 'ct', 1);
    site.provider.publish(next);
    const before = site.line.traffic.down;
    await site.provider.assign(ct, [next]);
    await site.line.cameDown(before + MIB);
    site.line.cut();
    await first.close();
    const second = await site.start();
    const source = chunkSource(second.port, await pki.device('ct-1'), ct);
    expect(JSON.parse((await source.metadata('timestamp.json', { maxBytes: MIB }))?.toString() ?? '').signed.version).toBe(1);
    for (const [hash, bytes] of old.chunks) expect((await source.get(hash)).equals(bytes)).toBe(true);
    await expect(source.get([...next.chunks.keys()][0] ?? '')).rejects.toMatchObject({ code: 'OBJECT_ABSENT' });
    site.line.restore();
    await relayed(site, 'ct', 2);
  });
});
