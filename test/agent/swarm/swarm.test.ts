import { setTimeout as pause } from 'node:timers/promises';
import { afterEach, beforeAll, beforeEach, describe, expect, it } from 'vitest';
import { systemClock } from '../../../shared/base/clock.ts';
import { isWardcastError, type WardcastError } from '../../../shared/base/errors.ts';
import { type DeviceIdentity, identityPath } from '../../../shared/base/identity.ts';
import { MAX_STRIKES, PEER_RETRY_MAX, SWARM_HAVE_DELAY, SWARM_OVERDUE, SWARM_TICK } from '../../../shared/base/limits.ts';
import { Bitfield } from '../../../shared/net/swarm/bitfield.ts';
import { Wire, type WireListener } from '../../../shared/net/swarm/wire.ts';
import { Workshop } from '../../support/bad-certificates.ts';
import { credentialsOf, DEVICE_A, DEVICE_A2, DEVICE_B } from '../../support/broker-rig.ts';
import { ManualClock } from '../../support/manual-clock.ts';
import { type Parcel, parcelOf, SeedingGateway, SwarmDevice, type SwarmDeviceOptions } from '../../support/swarm-rig.ts';

const COUNT = 64;
const THIRD: DeviceIdentity = { ...DEVICE_A, device: 'ct-3' };

let workshop: Workshop;
let parcel: Parcel;
const ends: { close(): unknown }[] = [];
beforeAll(async () => {
  workshop = await Workshop.open();
});
beforeEach(() => {
  parcel = parcelOf(COUNT);
});
afterEach(async () => {
  for (const end of ends.splice(0).toReversed()) await end.close();
});

async function device(identity: DeviceIdentity, options: SwarmDeviceOptions = {}): Promise<SwarmDevice> {
  const made = await SwarmDevice.open(workshop, identity, parcel, options);
  ends.push(made);
  return made;
}

async function gateway(): Promise<SeedingGateway> {
  const made = await SeedingGateway.open(workshop, parcel);
  ends.push(made);
  return made;
}

/** A wire of a test's own to a device, proven to be `identity`, that writes down what it hears. */
async function stranger(identity: DeviceIdentity, address: { host: string; port: number }, listener: Partial<WireListener> = {}) {
  const heard: string[] = [];
  const closed = Promise.withResolvers<WardcastError>();
  const credentials = credentialsOf(workshop.leaf(identity), identity);
  const wire = await Wire.dial({ ...address, credentials, clock: systemClock, expect: () => true });
  ends.push(wire);
  const noting =
    (what: string) =>
    (...said: readonly unknown[]): void => {
      heard.push(`${what} ${said.length}`);
    };
  wire.listen({
    onJoin: noting('join'),
    onHave: noting('have'),
    onAsk: noting('ask'),
    onAny: noting('any'),
    onChunk: noting('chunk'),
    onAbsent: noting('absent'),
    onCancel: noting('cancel'),
    onLeave: noting('leave'),
    onGot: noting('got'),
    onClosed: (error) => closed.resolve(error),
    ...listener,
  });
  return { wire, heard, closed: closed.promise };
}

describe('two devices and their gateway', () => {
  it('get a release onto both while each chunk leaves the gateway about once', async () => {
    const seed = await gateway();
    const [a, b] = [await device(DEVICE_A), await device(DEVICE_A2)];
    await a.meets(b);
    for (const each of [a, b]) each.swarm.gatewayAt(seed.address);
    await Promise.all([a.fetch(), b.fetch()]);
    expect([a.complete, b.complete]).toEqual([true, true]);
    expect(new Set(seed.bundle.reads).size).toBe(COUNT);
    // Without passing on it would be twice COUNT. Second copies are for what takes seconds, which on a busy machine a few may.
    expect(seed.bundle.reads.length).toBeLessThan(COUNT * 1.5);
    expect(a.from('peer') + b.from('peer')).toBeGreaterThan(COUNT / 2);
    expect(a.from('peer') + a.from('gateway')).toBe(COUNT);
  });

  it('serve one that comes later when the gateway no longer does', async () => {
    const a = await device(DEVICE_A, { had: parcel.chunks });
    const late = await device(THIRD);
    await late.meets(a);
    await late.fetch();
    expect(late.complete).toBe(true);
    expect(late.from('peer')).toBe(COUNT);
  });

  it('serve one another what each has, with nobody else there', async () => {
    const halves = [...parcel.chunks];
    const a = await device(DEVICE_A, { had: new Map(halves.slice(0, COUNT / 2)) });
    const b = await device(DEVICE_A2, { had: new Map(halves.slice(COUNT / 2)) });
    await a.meets(b);
    await Promise.all([a.fetch(), b.fetch()]);
    expect([a.complete, b.complete]).toEqual([true, true]);
  });

  it('are three when they fetch at once, from a peer that got it meanwhile', async () => {
    const seed = await gateway();
    const a = await device(DEVICE_A);
    const [b, c] = [await device(DEVICE_A2), await device(THIRD)];
    for (const each of [b, c]) await each.meets(a);
    // Only one reaches the gateway: the others live on what it passes on.
    a.swarm.gatewayAt(seed.address);
    await Promise.all([a.fetch(), b.fetch(), c.fetch()]);
    expect([a.complete, b.complete, c.complete]).toEqual([true, true, true]);
    expect(b.from('gateway') + c.from('gateway')).toBe(0);
    expect(seed.bundle.reads.length).toBeLessThan(COUNT * 1.5);
  });
});

describe('two devices that know of each other', () => {
  it('dial each other once, however often they look', async () => {
    const clock = new ManualClock(Date.now());
    const [a, b] = [await device(DEVICE_A, { clock }), await device(DEVICE_A2, { clock })];
    await a.meets(b);
    b.swarm.listed([a.address]);
    a.swarm.listed([b.address]);
    for (let looks = 0; looks < 5; looks++) {
      await clock.advance(PEER_RETRY_MAX);
      await pause(30);
    }
    // At most both dial before either knows of the other's connection.
    for (const { log } of [a, b]) expect(log.all('peer.connected').length).toBeLessThanOrEqual(2);
  });

  it('go on when the one lacked for a moment what it had announced', async () => {
    const a = await device(DEVICE_A, { had: parcel.chunks, uploadRate: () => 4_000_000 });
    const late = await device(DEVICE_A2);
    await late.meets(a);
    const shelf = new Map(a.bundle.chunks);
    const fetching = late.fetch();
    await late.has(1);
    a.bundle.chunks.clear();
    await pause(2 * SWARM_TICK);
    expect(late.came.length).toBeLessThan(COUNT);
    for (const [hash, bytes] of shelf) a.bundle.chunks.set(hash, bytes);
    a.swarm.restocked();
    await fetching;
    expect(late.from('peer')).toBe(COUNT);
  });

  it('tell each other nothing that the other has got meanwhile', async () => {
    const clock = new ManualClock(Date.now());
    const a = await device(DEVICE_A, { clock });
    const { manifest, list } = parcel;
    const only = (...indexes: number[]): Bitfield => {
      const have = new Bitfield(COUNT);
      for (const index of indexes) have.add(index);
      return have;
    };
    const got = Promise.withResolvers<void>();
    const b = await stranger(DEVICE_A2, a.address);
    const c = await stranger(THIRD, a.address, {
      onAsk: (transfer, [index = 0]) => c.wire.chunk(transfer, index, parcel.chunks.get(list.hashes[index] ?? '') ?? Buffer.alloc(0)),
      onGot: () => got.resolve(),
    });
    b.wire.join(1, manifest, { fetching: true, uploads: true }, only(1));
    c.wire.join(1, manifest, { fetching: true, uploads: true }, only(2));
    const fetching = a.fetch();
    fetching.catch(() => undefined);
    await got.promise;
    // Its news wait for company, which is longer than this takes.
    b.wire.have(1, [2]);
    await pause(100);
    await clock.advance(SWARM_HAVE_DELAY * 10);
    await pause(100);
    expect(b.heard.filter((what) => what.startsWith('have'))).toEqual([]);
    expect(b.heard.some((what) => what.startsWith('ask'))).toBe(true);
  });
});

describe('a device', () => {
  it('that restarts in the middle goes on with what it has, and passes that on', async () => {
    const seed = await gateway();
    const before = await device(DEVICE_A);
    const stop = new AbortController();
    before.swarm.gatewayAt(seed.address);
    const first = before.fetch({ signal: stop.signal });
    await before.has(COUNT / 4);
    stop.abort(new Error('power cut'));
    await expect(first).rejects.toSatisfy((error) => isWardcastError(error, 'ABORTED'));
    await before.close();
    const had = new Map(before.bundle.chunks);
    expect(had.size).toBeLessThan(COUNT);
    const after = await device(DEVICE_A, { had });
    const peer = await device(DEVICE_A2);
    await peer.meets(after);
    after.swarm.gatewayAt(seed.address);
    await Promise.all([after.fetch(), peer.fetch()]);
    expect(after.came).toHaveLength(COUNT - had.size);
    // The peer has no gateway: what the other life brought came to it as well.
    expect(peer.from('peer')).toBe(COUNT);
  });

  it('that passes nothing on still gets everything, and gives nothing', async () => {
    const seed = await gateway();
    const mean = await device(DEVICE_A, { uploads: () => false });
    const [b, c] = [await device(DEVICE_A2), await device(THIRD, { had: parcel.chunks })];
    await mean.meets(b);
    await c.meets(mean);
    for (const each of [mean, b]) each.swarm.gatewayAt(seed.address);
    await Promise.all([mean.fetch(), b.fetch()]);
    expect([mean.complete, b.complete]).toEqual([true, true]);
    expect(mean.from('peer')).toBeGreaterThan(0);
    expect(mean.bundle.reads).toEqual([]);
  });

  it('that lies is banned after its second wrong chunk, and the transfer completes', async () => {
    const seed = await gateway();
    const altered = new Map([...parcel.chunks].map(([hash, bytes]) => [hash, Buffer.from(bytes).fill(0, 0, 8)]));
    const liar = await device(DEVICE_A, { had: altered });
    const victim = await device(DEVICE_A2);
    await victim.meets(liar);
    const fetched = victim.fetch();
    const banned = await victim.log.seen('peer.banned');
    expect(banned).toMatchObject({ peer: identityPath(DEVICE_A) });
    expect(victim.log.all('peer.bad-chunk')).toHaveLength(MAX_STRIKES);
    expect(victim.came).toEqual([]);
    expect(victim.swarm.isPeer(DEVICE_A)).toBe(false);
    await liar.log.seen('peer.closed');
    // Nor is it let in again when it comes by itself.
    const again = await stranger(DEVICE_A, victim.address);
    expect(await again.closed).toMatchObject({ code: 'CERT_REFUSED_BY_PEER' });
    victim.swarm.gatewayAt(seed.address);
    await fetched;
    expect(victim.complete).toBe(true);
    expect(victim.from('gateway')).toBe(COUNT);
  });

  it('that never answers holds up nobody longer than SWARM_OVERDUE', async () => {
    const seed = await gateway();
    const clock = new ManualClock(Date.now());
    const victim = await device(DEVICE_A2, { clock });
    const asked: number[] = [];
    const silent = await stranger(DEVICE_A, victim.address, { onAsk: (_transfer, indexes) => void asked.push(...indexes) });
    await victim.log.seen('peer.connected');
    silent.wire.join(1, parcel.manifest, { fetching: false, uploads: true }, Bitfield.full(COUNT));
    let done = false;
    const fetched = victim.fetch().then(() => {
      done = true;
    });
    while (asked.length === 0) await pause(10);
    victim.swarm.gatewayAt(seed.address);
    const start = clock.monotonic();
    // The device's time stands still as long as something comes.
    for (let seen = -1; !done; ) {
      await pause(300);
      if (victim.came.length === seen) await clock.advance(SWARM_TICK);
      seen = victim.came.length;
    }
    await fetched;
    expect(victim.complete).toBe(true);
    expect(victim.from('peer')).toBe(0);
    expect(clock.monotonic() - start).toBeLessThanOrEqual(SWARM_OVERDUE + 5 * SWARM_TICK);
  });

  it('that nobody gives anything says so in the end', async () => {
    const clock = new ManualClock(Date.now());
    const alone = await device(DEVICE_A, { clock });
    const fetched = expect(alone.fetch()).rejects.toSatisfy((error) => isWardcastError(error, 'CONNECTION_LOST'));
    await clock.advance(120_000);
    await fetched;
  });

  it('says HASH_MISMATCH, and asks no more, when its gateway sends what is wrong', async () => {
    const seed = await gateway();
    for (const [hash, bytes] of parcel.chunks) seed.bundle.chunks.set(hash, Buffer.from(bytes).fill(0, 0, 8));
    const a = await device(DEVICE_A);
    a.swarm.gatewayAt(seed.address);
    await expect(a.fetch()).rejects.toSatisfy((error) => isWardcastError(error, 'HASH_MISMATCH'));
    expect(a.came).toEqual([]);
    // It stops lying: the same connection serves the next attempt.
    for (const [hash, bytes] of parcel.chunks) seed.bundle.chunks.set(hash, bytes);
    await a.fetch();
    expect(a.complete).toBe(true);
  });

  it('whose disk fails fetches no more, and says why', async () => {
    const seed = await gateway();
    const broken = await device(DEVICE_A);
    broken.swarm.gatewayAt(seed.address);
    const wanted = new Map(parcel.list.hashes.map((hash) => [hash, 48 * 1024]));
    const failure = Object.assign(new Error('disk'), { code: 'EIO' });
    await expect(broken.swarm.fetch(parcel.manifest, parcel.list, wanted, () => Promise.reject(failure))).rejects.toSatisfy((error) =>
      isWardcastError(error, 'STORAGE_FAILED'),
    );
    // And the same connection serves the next attempt.
    await broken.fetch();
    expect(broken.complete).toBe(true);
  });
});

describe("another group's device", () => {
  it("is refused at a device's door, and gets nothing by any frame", async () => {
    const a = await device(DEVICE_A, { had: parcel.chunks });
    const foreign = await stranger(DEVICE_B, a.address);
    foreign.wire.join(1, parcel.manifest, { fetching: true, uploads: true }, new Bitfield(COUNT));
    foreign.wire.ask(1, [0, 1, 2]);
    foreign.wire.any(1, 10);
    foreign.wire.have(1, [0]);
    foreign.wire.got(1, 0);
    expect(await foreign.closed).toMatchObject({ code: 'CERT_REFUSED_BY_PEER', context: { refused: 'CERT_WRONG_ROLE' } });
    expect(foreign.heard).toEqual([]);
    expect(a.bundle.reads).toEqual([]);
    expect(await a.log.seen('door.refused')).toBeDefined();
    expect(a.swarm.peers).toBe(0);
  });

  it("gets nothing of this group's releases from the gateway, and no answer", async () => {
    const seed = await gateway();
    const foreign = await stranger(DEVICE_B, seed.address);
    foreign.wire.join(1, parcel.manifest, { fetching: true, uploads: true }, new Bitfield(COUNT));
    foreign.wire.any(1, 10);
    foreign.wire.ask(1, [0, 1, 2]);
    // A device of the group, served over the same door afterwards: had there been an answer, it would have come before.
    const a = await device(DEVICE_A);
    a.swarm.gatewayAt(seed.address);
    await a.fetch();
    expect(foreign.heard.filter((said) => /chunk|join/.test(said))).toEqual([]);
    expect(seed.bundle.reads).toHaveLength(COUNT);
  });

  it('is no peer to dial either: the one who dials hangs up', async () => {
    const foreign = await SwarmDevice.open(workshop, DEVICE_B, parcel, { had: parcel.chunks });
    ends.push(foreign);
    const a = await device(DEVICE_A);
    a.swarm.listed([foreign.address]);
    await a.log.seen('peer.not-reached');
    expect(a.swarm.peers).toBe(0);
    expect(foreign.bundle.reads).toEqual([]);
  });
});
