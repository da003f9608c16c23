import { randomBytes } from 'node:crypto';
import { readFile } from 'node:fs/promises';
import tls from 'node:tls';
import { loadCredentials } from '../../certs/credentials.ts';
import { systemClock } from '../../shared/base/clock.ts';
import { isWardcastError } from '../../shared/base/errors.ts';
import { identityPath } from '../../shared/base/identity.ts';
import { CHUNK_MAX, MAX_FRAME_INDEXES } from '../../shared/base/limits.ts';
import { silentLog } from '../../shared/base/log.ts';
import { createBonjourDiscovery } from '../../shared/net/bonjour.ts';
import { dial } from '../../shared/net/dial.ts';
import { openDoor } from '../../shared/net/door.ts';
import { Bitfield } from '../../shared/net/swarm/bitfield.ts';
import { FrameReader, printFrame, SWARM_PROTOCOL } from '../../shared/net/swarm/frames.ts';
import { Wire, type WireListener } from '../../shared/net/swarm/wire.ts';
import type { HostilePlan, Observation, Place, Target } from './hostile-plan.ts';

/**
 * A program that misbehaves in the swarm, with whatever certificate it is given: `node hostile-peer.ts '<HostilePlan as JSON>'`. It tells what it
 * met as JSON lines (Observation) on stdout. test/e2e/swarm-isolation.test.ts runs it on hosts of its own.
 */

function tell(observation: Observation): void {
  process.stdout.write(`${JSON.stringify(observation)}\n`);
}

const plan: HostilePlan = JSON.parse(process.argv[2] ?? '');
if (plan.do === 'knock') await knock(plan);
else if (plan.do === 'take') await take(plan);
else if (plan.do === 'replay') await replay(plan);
else if (plan.do === 'claim') await claim(plan);
else await flood(plan);
tell({ saw: 'done' });
process.exit(0);

function credentialsOf(files: string): ReturnType<typeof loadCredentials> {
  return loadCredentials(files, systemClock);
}

/** By raw TLS: also with certificates that no honest program would load. */
async function knock({ at, files, protocol, path, target }: Extract<HostilePlan, { do: 'knock' }>): Promise<void> {
  const own = files === null ? {} : { key: await readFile(`${files}/key.pem`), cert: await readFile(`${files}/chain.pem`) };
  const socket = tls.connect({ ...at, ...own, rejectUnauthorized: false, ALPNProtocols: [protocol === 'swarm' ? SWARM_PROTOCOL : 'http/1.1'] });
  const came: Buffer[] = [];
  socket.on('data', (bytes: Buffer) => came.push(bytes));
  const over = new Promise<void>((resolve) => {
    socket.on('close', () => resolve());
    socket.on('error', () => resolve());
  });
  socket.once('secureConnect', () => {
    tell({ saw: 'connected' });
    if (protocol === 'https') socket.write(`GET ${path} HTTP/1.1\r\nhost: x\r\n\r\n`);
    else socket.write(Buffer.concat(wishes(target)));
  });
  await Promise.race([over, systemClock.sleep(5000)]);
  socket.destroy();
  const bytes = Buffer.concat(came);
  if (protocol === 'https') {
    const text = bytes.toString('latin1');
    const code = /x-wardcast-refused: (\w+)/.exec(text)?.[1];
    const body = text.slice(text.indexOf('\r\n\r\n') + 4);
    tell({
      saw: 'http',
      status: Number(/^HTTP\/1.1 (\d+)/.exec(text)?.[1] ?? 0),
      bytes: text === '' ? 0 : body.length,
      ...(code === undefined ? {} : { code }),
    });
  } else tellFrames(bytes);
}

/** What somebody says who wants everything. */
function wishes({ manifest, sizes }: Target): Buffer[] {
  const indexes = sizes.map((_size, index) => index);
  return [
    printFrame({ type: 'join', transfer: 1, manifest, fetching: true, uploads: true, have: new Bitfield(sizes.length) }),
    printFrame({ type: 'ask', transfer: 1, indexes }),
    printFrame({ type: 'any', transfer: 1, count: sizes.length }),
  ];
}

function tellFrames(bytes: Buffer): void {
  new FrameReader().push(bytes, (frame) => {
    if (frame.type === 'refused') tell({ saw: 'refused', code: frame.code });
    else if (frame.type === 'chunk') tell({ saw: 'frame', type: 'chunk', bytes: frame.bytes.length });
    else if (frame.type === 'join') tell({ saw: 'frame', type: 'join', manifest: frame.manifest, have: frame.have.size });
    else tell({ saw: 'frame', type: frame.type });
  });
}

/** Tells everything that is heard; what is not told in `more` is only told. */
function ear(at: string, more: Partial<WireListener> = {}): WireListener {
  const say = (type: string, rest: Partial<Observation> = {}): void => tell({ saw: 'frame', type, at, ...rest });
  return {
    onJoin: (_transfer, { manifest, have }) => say('join', { manifest, have: have.size }),
    onHave: () => say('have'),
    onAsk: () => say('ask'),
    onAny: () => say('any'),
    onChunk: (_transfer, _index, bytes) => say('chunk', { bytes: bytes.length }),
    onAbsent: () => say('absent'),
    onCancel: () => say('cancel'),
    onLeave: () => say('leave'),
    onGot: () => say('got'),
    onClosed: (error) => tell({ saw: 'closed', at, code: String(error.context['refused'] ?? error.code) }),
    ...more,
  };
}

async function take({ at, files, target, milliseconds }: Extract<HostilePlan, { do: 'take' }>): Promise<void> {
  const wire = await Wire.dial({ ...at, credentials: await credentialsOf(files), clock: systemClock, expect: () => true });
  tell({ saw: 'connected', at: identityPath(wire.identity) });
  wire.listen(ear('there'));
  wire.join(1, target.manifest, { fetching: true, uploads: true }, new Bitfield(target.sizes.length));
  wire.any(1, target.sizes.length);
  wire.ask(
    1,
    target.sizes.map((_size, index) => index),
  );
  await systemClock.sleep(milliseconds);
}

async function replay({ at, files, frames, milliseconds }: Extract<HostilePlan, { do: 'replay' }>): Promise<void> {
  const wire = await connectRaw(at, files);
  wire.write(Buffer.from(frames, 'hex'));
  await systemClock.sleep(milliseconds);
}

/** A socket of the swarm without a Wire: for bytes that a Wire would never send. Its reading tells the frames. */
async function connectRaw(at: Place, files: string, reads = true): Promise<tls.TLSSocket> {
  const { socket } = await dial({ ...at, credentials: await credentialsOf(files), clock: systemClock, expect: () => true, protocol: SWARM_PROTOCOL });
  tell({ saw: 'connected' });
  if (reads) socket.on('data', tellFrames);
  socket.on('error', () => undefined);
  socket.on('close', () => tell({ saw: 'closed' }));
  return socket;
}

async function claim({ at, files, targets, listen, answer }: Extract<HostilePlan, { do: 'claim' }>): Promise<void> {
  const credentials = await credentialsOf(files);
  /** Says of each transfer that all is here; again and again, since others learn of their manifests when they do. */
  const hold = async (wire: Wire, where: string): Promise<void> => {
    tell({ saw: 'connected', at: where });
    const manifests = new Map(targets.map((target, number) => [number + 1, target]));
    const asked = (transfer: number, indexes: readonly number[]): void => {
      const target = manifests.get(transfer) ?? targets[0];
      const number = (target === undefined ? 0 : targets.indexOf(target)) + 1;
      for (const index of indexes) {
        tell({ saw: 'frame', type: 'ask', at: where });
        if (answer === 'absent') wire.absent(number, index, 'absent');
        if (answer === 'wrong') wire.chunk(number, index, randomBytes(target?.sizes[index] ?? 1));
      }
    };
    // The other side's own numbers: which of our targets it speaks of.
    const theirs = new Map<number, number>();
    const base = ear(where);
    wire.listen({
      ...base,
      onJoin: (transfer, join) => {
        theirs.set(transfer, targets.findIndex(({ manifest }) => manifest === join.manifest) + 1);
        base.onJoin(transfer, join);
      },
      onAsk: (transfer, indexes) => asked(theirs.get(transfer) ?? 1, indexes),
      onChunk: (transfer, index, bytes) => {
        wire.got(theirs.get(transfer) ?? 1, index);
        base.onChunk(transfer, index, bytes);
      },
    });
    while (!wire.closed) {
      for (const [number, { manifest, sizes }] of manifests) wire.join(number, manifest, { fetching: false, uploads: true }, Bitfield.full(sizes.length));
      await systemClock.sleep(500);
    }
  };
  /** All that matters of a chunk, one byte at a time: only below a Wire. */
  const trickle = async (place: Place): Promise<void> => {
    const socket = await connectRaw(place, files, false);
    const numbers = new Map<number, number>();
    const reader = new FrameReader();
    let busy = false;
    const drip = async (bytes: Buffer): Promise<void> => {
      for (let byte = 0; byte < bytes.length && socket.writable; byte++) {
        socket.write(bytes.subarray(byte, byte + 1));
        await systemClock.sleep(50);
      }
    };
    socket.on('data', (bytes: Buffer) =>
      reader.push(bytes, (frame) => {
        if (frame.type === 'join') numbers.set(frame.transfer, targets.findIndex(({ manifest }) => manifest === frame.manifest) + 1);
        if (frame.type !== 'ask') return;
        tell({ saw: 'frame', type: 'ask', at: place.host });
        const [index = 0] = frame.indexes;
        const number = numbers.get(frame.transfer) ?? 1;
        if (!busy) void drip(printFrame({ type: 'chunk', transfer: number, index, bytes: randomBytes(targets[number - 1]?.sizes[index] ?? 1) }));
        busy = true;
      }),
    );
    for (const [number, { manifest, sizes }] of targets.entries())
      socket.write(printFrame({ type: 'join', transfer: number + 1, manifest, fetching: false, uploads: true, have: Bitfield.full(sizes.length) }));
    await new Promise<void>((resolve) => socket.once('close', () => resolve()));
  };
  const keep = async (place: Place): Promise<never> => {
    for (;;) {
      try {
        if (answer === 'trickle') await trickle(place);
        else await hold(await Wire.dial({ ...place, credentials, clock: systemClock, expect: () => true }), place.host);
      } catch (error) {
        tell({ saw: 'closed', at: place.host, code: isWardcastError(error) ? String(error.context['refused'] ?? error.code) : 'UNKNOWN' });
      }
      await systemClock.sleep(300);
    }
  };
  const door = await openDoor({
    host: listen,
    port: 0,
    credentials,
    log: silentLog,
    clock: systemClock,
    accept: () => true,
    onSwarm: (socket, identity) => void hold(Wire.accept(socket, identity), identityPath(identity)).catch(() => undefined),
  });
  const discovery = createBonjourDiscovery({ interface: listen, log: silentLog, clock: systemClock });
  await discovery.advertise({ kind: 'agent', port: door.port, instance: crypto.randomUUID() });
  tell({ saw: 'listening' });
  await Promise.all(at.map(keep));
}

async function flood({ at, files, target, with: how }: Extract<HostilePlan, { do: 'flood' }>): Promise<void> {
  const socket = await connectRaw(at, files, how !== 'unread');
  // Not once(): that rejects with the error that comes before.
  const closed = new Promise<void>((resolve) => socket.once('close', () => resolve()));
  const { manifest, sizes } = target;
  const join = (transfer: number, of: string): Buffer =>
    printFrame({ type: 'join', transfer, manifest: of, fetching: true, uploads: true, have: new Bitfield(sizes.length) });
  let over = false;
  void closed.then(() => {
    over = true;
  });
  /** Writes as fast as the other side reads, until it ends the connection; `times` at most. */
  const write = async (frame: (turn: number) => Buffer, times: number): Promise<void> => {
    for (let turn = 0; turn < times && !over && socket.writable; turn++) {
      if (socket.write(frame(turn))) continue;
      await Promise.race([new Promise<void>((resolve) => socket.once('drain', () => resolve())), closed, systemClock.sleep(3000)]);
    }
  };
  const all = Array.from({ length: MAX_FRAME_INDEXES }, (_, turn) => turn % sizes.length);
  switch (how) {
    case 'joins':
      await write((turn) => join(turn % 0x10000, randomBytes(32).toString('hex')), 10_000);
      break;
    case 'asks':
    case 'unread': {
      if (how === 'unread') socket.pause();
      await write(() => join(1, manifest), 1);
      const ask = printFrame({ type: 'ask', transfer: 1, indexes: all });
      await write(() => ask, 600);
      break;
    }
    case 'haves': {
      await write(() => join(1, manifest), 1);
      await write(() => printFrame({ type: 'have', transfer: 1, indexes: [sizes.length] }), 1);
      break;
    }
    case 'oversized': {
      const head = Buffer.alloc(11);
      head.writeUInt32BE(0xffffffff);
      head.writeUInt8(5, 4);
      await write(() => head, 1);
      break;
    }
    case 'garbage':
      await write(() => randomBytes(64 * 1024), 100);
      break;
    case 'unasked':
      await write(() => join(1, manifest), 1);
      await write(() => printFrame({ type: 'chunk', transfer: 1, index: 0, bytes: randomBytes(CHUNK_MAX) }), 200);
      break;
  }
  // `asks` may be read patiently for ever: that is no harm.
  await Promise.race([closed, systemClock.sleep(how === 'asks' ? 3000 : 15_000)]);
  tell({ saw: over ? 'ended' : 'open' });
}
