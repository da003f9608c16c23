import { once } from 'node:events';
import tls, { type TLSSocket } from 'node:tls';
import { afterEach, beforeAll, beforeEach, describe, expect, it } from 'vitest';
import { systemClock } from '../../../../shared/base/clock.ts';
import { WardcastError } from '../../../../shared/base/errors.ts';
import type { Identity } from '../../../../shared/base/identity.ts';
import { CHUNK_MAX, MAX_FRAME_INDEXES, MAX_WIRE_UNSENT } from '../../../../shared/base/limits.ts';
import { sha256 } from '../../../../shared/bundle/digest.ts';
import { type Door, type DoorOptions, openDoor } from '../../../../shared/net/door.ts';
import { Bitfield } from '../../../../shared/net/swarm/bitfield.ts';
import { type Frame, FrameReader, printFrame, SWARM_PROTOCOL } from '../../../../shared/net/swarm/frames.ts';
import { Wire, type WireListener } from '../../../../shared/net/swarm/wire.ts';
import { Workshop } from '../../../support/bad-certificates.ts';
import { credentialsOf, DEVICE_A, DEVICE_A2, GATEWAY } from '../../../support/broker-rig.ts';
import { RecordingLog } from '../../../support/recording-log.ts';

const HASH = sha256(Buffer.from('a manifest'));

/** Writes down everything it is told. */
class Ear implements WireListener {
  readonly heard: (readonly unknown[])[] = [];
  readonly closes: WardcastError[] = [];
  readonly #closed = Promise.withResolvers<WardcastError>();
  readonly #waiting: { count: number; resolve: () => void }[] = [];
  onJoin: WireListener['onJoin'] = (transfer, { manifest, fetching, uploads, have }) =>
    this.#hear('join', transfer, manifest, fetching, uploads, have.length, [...have.values()]);
  onHave: WireListener['onHave'] = (transfer, indexes) => this.#hear('have', transfer, indexes);
  onAsk: WireListener['onAsk'] = (transfer, indexes) => this.#hear('ask', transfer, indexes);
  onAny: WireListener['onAny'] = (transfer, count) => this.#hear('any', transfer, count);
  onChunk: WireListener['onChunk'] = (transfer, index, bytes) => this.#hear('chunk', transfer, index, sha256(bytes));
  onAbsent: WireListener['onAbsent'] = (transfer, index, reason) => this.#hear('absent', transfer, index, reason);
  onCancel: WireListener['onCancel'] = (transfer, indexes) => this.#hear('cancel', transfer, indexes);
  onLeave: WireListener['onLeave'] = (transfer) => this.#hear('leave', transfer);
  onGot: WireListener['onGot'] = (transfer, index) => this.#hear('got', transfer, index);
  onClosed: WireListener['onClosed'] = (error) => {
    this.closes.push(error);
    this.#closed.resolve(error);
  };

  get closed(): Promise<WardcastError> {
    return this.#closed.promise;
  }

  async hears(count: number): Promise<(readonly unknown[])[]> {
    if (this.heard.length < count) await new Promise<void>((resolve) => this.#waiting.push({ count, resolve }));
    return this.heard;
  }

  #hear(...what: readonly unknown[]): void {
    this.heard.push(what);
    for (const waiting of this.#waiting) if (this.heard.length >= waiting.count) waiting.resolve();
  }
}

let workshop: Workshop;
let log: RecordingLog;
let door: Door;
let accepted: Promise<Wire>;
let accept: (wire: Wire) => void;
const ends: (Wire | TLSSocket)[] = [];

beforeAll(async () => {
  workshop = await Workshop.open();
});
beforeEach(() => {
  log = new RecordingLog();
  const { promise, resolve } = Promise.withResolvers<Wire>();
  accepted = promise;
  accept = resolve;
});
afterEach(async () => {
  for (const end of ends.splice(0))
    if (end instanceof Wire) end.close();
    else end.destroy();
  await door.close();
});

const papers = (identity: Identity) => credentialsOf(workshop.leaf(identity), identity);

function doorOptions(): DoorOptions {
  return { host: '127.0.0.1', port: 0, credentials: papers(DEVICE_A), log, clock: systemClock, accept: () => true };
}

async function open(options: Partial<DoorOptions> = {}): Promise<void> {
  door = await openDoor({
    ...doorOptions(),
    onSwarm: (socket, identity) => {
      const wire = Wire.accept(socket, identity);
      ends.push(wire);
      accept(wire);
    },
    ...options,
  });
}

async function dial(identity: Identity = DEVICE_A2, expected: (identity: Identity) => boolean = () => true): Promise<Wire> {
  const wire = await Wire.dial({ host: '127.0.0.1', port: door.port, credentials: papers(identity), expect: expected, clock: systemClock });
  ends.push(wire);
  return wire;
}

async function pair(options: Partial<DoorOptions> = {}): Promise<{ near: Wire; far: Wire }> {
  await open(options);
  const [near, far] = await Promise.all([dial(), accepted]);
  return { near, far };
}

/** A client of the door that is no Wire. */
async function stranger(): Promise<{ socket: TLSSocket; far: Wire }> {
  await open();
  const { keyPem, chainPem, rootPem } = workshop.leaf(DEVICE_A2);
  const socket = tls.connect({
    host: '127.0.0.1',
    port: door.port,
    key: keyPem,
    cert: chainPem,
    ca: rootPem,
    checkServerIdentity: () => undefined,
    ALPNProtocols: [SWARM_PROTOCOL],
  });
  socket.on('error', () => undefined);
  ends.push(socket);
  return { socket, far: await accepted };
}

function sayEverything(wire: Wire): void {
  const have = new Bitfield(11);
  have.add(10);
  wire.join(1, HASH, { fetching: true, uploads: false }, have);
  wire.have(1, [1, 2]);
  wire.ask(2, [3]);
  wire.any(3, 4);
  wire.chunk(4, 5, Buffer.alloc(CHUNK_MAX, 6));
  wire.absent(5, 6, 'busy');
  wire.cancel(6, [7, 8]);
  wire.leave(7);
  wire.got(8, 9);
}
const EVERYTHING = [
  ['join', 1, HASH, true, false, 11, [10]],
  ['have', 1, [1, 2]],
  ['ask', 2, [3]],
  ['any', 3, 4],
  ['chunk', 4, 5, sha256(Buffer.alloc(CHUNK_MAX, 6))],
  ['absent', 5, 6, 'busy'],
  ['cancel', 6, [7, 8]],
  ['leave', 7],
  ['got', 8, 9],
];

/** Until the other end has certainly heard what was said, or not: a frame there and one back. */
async function echo(from: Wire, fromEar: Ear, to: Wire, toEar: Ear): Promise<void> {
  from.got(99, 1);
  await toEar.hears(toEar.heard.length + 1);
  to.got(99, 2);
  await fromEar.hears(fromEar.heard.length + 1);
}

describe('two ends of a wire', () => {
  it('know whom they speak with, and tell each other everything in order', async () => {
    const { near, far } = await pair();
    expect(near.identity).toEqual(DEVICE_A);
    expect(far.identity).toEqual(DEVICE_A2);
    expect(near.address).toBe(`127.0.0.1:${door.port}`);
    expect(far.address).toMatch(/^127\.0\.0\.1:\d+$/);
    const [nearEar, farEar] = [new Ear(), new Ear()];
    near.listen(nearEar);
    far.listen(farEar);
    sayEverything(near);
    sayEverything(far);
    expect(await farEar.hears(EVERYTHING.length)).toEqual(EVERYTHING);
    expect(await nearEar.hears(EVERYTHING.length)).toEqual(EVERYTHING);
    expect([near.sent, near.received, far.sent, far.received]).toEqual([CHUNK_MAX, CHUNK_MAX, CHUNK_MAX, CHUNK_MAX]);
    expect(near.unsent).toBe(0);
  });

  it('are told late what was said before they listened', async () => {
    const { near, far } = await pair();
    for (let round = 0; round < 4; round++) {
      sayEverything(near);
      sayEverything(far);
    }
    // Well over what one read brings: it waits in the socket.
    await new Promise((resolve) => setTimeout(resolve, 50));
    const [nearEar, farEar] = [new Ear(), new Ear()];
    near.listen(nearEar);
    far.listen(farEar);
    expect(await nearEar.hears(4 * EVERYTHING.length)).toEqual([EVERYTHING, EVERYTHING, EVERYTHING, EVERYTHING].flat());
    expect(await farEar.hears(4 * EVERYTHING.length)).toEqual([EVERYTHING, EVERYTHING, EVERYTHING, EVERYTHING].flat());
  });

  it('share one read buffer with all others without harm', async () => {
    await open({
      onSwarm: (socket, identity) => {
        const wire = Wire.accept(socket, identity);
        ends.push(wire);
        const ear = new Ear();
        ear.onAsk = (transfer, [index = 0]) => wire.chunk(transfer, index, Buffer.alloc(40_000 + index, index));
        wire.listen(ear);
      },
    });
    const wires = await Promise.all(Array.from({ length: 4 }, () => dial()));
    const ears = wires.map(() => new Ear());
    const indexes = Array.from({ length: 50 }, (_, index) => index);
    for (const [at, wire] of wires.entries()) {
      wire.listen(ears[at] ?? new Ear());
      for (const index of indexes) wire.ask(at, [index]);
    }
    for (const [at, ear] of ears.entries()) {
      expect(await ear.hears(50)).toEqual(indexes.map((index) => ['chunk', at, index, sha256(Buffer.alloc(40_000 + index, index))]));
    }
  });

  it('split lists that are too long for one frame, and say nothing of empty ones', async () => {
    const { near, far } = await pair();
    const ear = new Ear();
    far.listen(ear);
    const indexes = Array.from({ length: MAX_FRAME_INDEXES + 1 }, (_, index) => index);
    near.have(1, []);
    near.have(1, indexes);
    expect(await ear.hears(2)).toEqual([
      ['have', 1, indexes.slice(0, MAX_FRAME_INDEXES)],
      ['have', 1, indexes.slice(MAX_FRAME_INDEXES)],
    ]);
  });

  it('send what is said in one turn together', async () => {
    const { socket, far } = await stranger();
    for (let index = 0; index < 100; index++) far.got(1, index);
    const [first]: unknown[] = await once(socket, 'data');
    const seen: Frame[] = [];
    if (Buffer.isBuffer(first)) new FrameReader().push(first, (frame) => seen.push(frame));
    expect(seen.length).toBe(100);
  });
});

describe('a wire closes', () => {
  it('once, after what was said, and says nothing more', async () => {
    const { near, far } = await pair();
    const [nearEar, farEar] = [new Ear(), new Ear()];
    near.listen(nearEar);
    far.listen(farEar);
    sayEverything(near);
    near.close();
    expect(nearEar.closes).toEqual([]);
    near.close(new WardcastError('BUSY', 'again'));
    sayEverything(near);
    far.got(1, 1);
    expect(near.closed).toBe(true);
    expect(near.unsent).toBe(0);
    expect(await nearEar.closed).toMatchObject({ code: 'CONNECTION_LOST' });
    expect(await farEar.closed).toMatchObject({ code: 'CONNECTION_LOST' });
    expect(farEar.heard).toEqual(EVERYTHING);
    expect(nearEar.heard).toEqual([]);
    far.close();
    await new Promise((resolve) => setTimeout(resolve, 20));
    expect([nearEar.closes.length, farEar.closes.length]).toEqual([1, 1]);
  });

  it('with the reason it is given, and the other side learns its code', async () => {
    const { near, far } = await pair();
    const [nearEar, farEar] = [new Ear(), new Ear()];
    near.listen(nearEar);
    far.listen(farEar);
    near.close(new WardcastError('BUSY', 'too many'));
    expect(await nearEar.closed).toMatchObject({ code: 'BUSY' });
    expect(await farEar.closed).toMatchObject({ code: 'CONNECTION_LOST', context: { refused: 'BUSY' } });
  });

  it('when the other side is gone, and tells who listens only then what it said before', async () => {
    const { near, far } = await pair();
    sayEverything(near);
    near.close();
    await new Promise((resolve) => setTimeout(resolve, 50));
    const ear = new Ear();
    far.listen(ear);
    expect(await ear.closed).toMatchObject({ code: 'CONNECTION_LOST' });
    expect(ear.heard).toEqual(EVERYTHING);
  });

  it('when the connection is cut, and forgets what it could not send', async () => {
    const { socket, far } = await stranger();
    const ear = new Ear();
    far.listen(ear);
    socket.pause();
    for (let index = 0; index < 40; index++) far.chunk(1, index, Buffer.alloc(CHUNK_MAX));
    expect(far.unsent).toBeGreaterThan(0);
    socket.destroy();
    expect(await ear.closed).toMatchObject({ code: 'CONNECTION_LOST' });
    expect(far.closed).toBe(true);
    expect(far.unsent).toBe(0);
  });

  it.each([
    ['a frame of no known type', Buffer.from('000000030a0001', 'hex')],
    ['a frame too long', Buffer.from('7fffffff050001', 'hex')],
    ['noise', Buffer.from('GET / HTTP/1.1\r\n\r\n')],
  ])('with PROTOCOL_VIOLATION on %s, and says so', async (_what, bytes) => {
    const { socket, far } = await stranger();
    const ear = new Ear();
    far.listen(ear);
    socket.write(Buffer.concat([printFrame({ type: 'got', transfer: 1, index: 1 }), bytes, printFrame({ type: 'got', transfer: 1, index: 2 })]));
    expect(await ear.closed).toMatchObject({ code: 'PROTOCOL_VIOLATION' });
    expect(ear.heard).toEqual([['got', 1, 1]]);
    const [notice] = await once(socket, 'data');
    expect(notice).toEqual(printFrame({ type: 'refused', transfer: 0, code: 'PROTOCOL_VIOLATION' }));
    await once(socket, 'close');
  });

  it('with what its listener throws', async () => {
    const { near, far } = await pair();
    const ear = new Ear();
    ear.onHave = (_transfer, indexes) => void new Bitfield(3).add(indexes[0] ?? 0);
    far.listen(ear);
    near.have(1, [3]);
    near.got(1, 1);
    expect(await ear.closed).toMatchObject({ code: 'PROTOCOL_VIOLATION' });
    expect(ear.heard).toEqual([]);
  });

  it('when the other side does not read, with bounded memory', async () => {
    const { socket, far } = await stranger();
    const ear = new Ear();
    far.listen(ear);
    socket.pause();
    const indexes = Array.from({ length: MAX_FRAME_INDEXES }, (_, index) => index);
    let most = 0;
    for (let said = 0; said < 4 * MAX_WIRE_UNSENT && !far.closed; said += 4 * indexes.length) {
      far.have(1, indexes);
      most = Math.max(most, far.unsent);
      await new Promise((resolve) => setImmediate(resolve));
    }
    expect(await ear.closed).toMatchObject({ code: 'CONNECTION_LOST' });
    expect(most).toBeLessThan(MAX_WIRE_UNSENT + 5 * indexes.length);
  });
});

describe('a door', () => {
  it('without swarm refuses its protocol', async () => {
    door = await openDoor({ ...doorOptions(), onMqtt: () => undefined });
    const ear = new Ear();
    (await dial()).listen(ear);
    expect(await ear.closed).toMatchObject({ code: 'CONNECTION_LOST', context: { refused: 'PROTOCOL_VIOLATION' } });
    expect(await log.seen('door.refused')).toMatchObject({ code: 'PROTOCOL_VIOLATION' });
  });

  it('refuses who has no business, and the wire says why', async () => {
    await open({ accept: ({ role }) => role === 'gateway' });
    const ear = new Ear();
    (await dial()).listen(ear);
    expect(await ear.closed).toMatchObject({ code: 'CERT_REFUSED_BY_PEER', context: { refused: 'CERT_WRONG_ROLE' } });
    expect(ear.heard).toEqual([]);
  });

  it('is refused by a dialler that wants somebody else, and hears why', async () => {
    await open();
    await expect(dial(GATEWAY, ({ role }) => role === 'gateway')).rejects.toMatchObject({ code: 'SERVER_NAME_WRONG' });
    const ear = new Ear();
    (await accepted).listen(ear);
    expect(await ear.closed).toMatchObject({ code: 'CONNECTION_LOST', context: { refused: 'SERVER_NAME_WRONG' } });
  });

  it('lets many in', async () => {
    const { near, far } = await pair();
    const [nearEar, farEar] = [new Ear(), new Ear()];
    near.listen(nearEar);
    far.listen(farEar);
    await echo(near, nearEar, far, farEar);
    expect(door.counters).toMatchObject({ accepted: 1, open: 1 });
  });
});
