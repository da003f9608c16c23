import { randomBytes } from 'node:crypto';
import https from 'node:https';
import { afterAll, beforeAll, describe, expect, it, onTestFinished } from 'vitest';
import { systemClock } from '../../../shared/base/clock.ts';
import { isWardcastError } from '../../../shared/base/errors.ts';
import { type Identity, type Scope, sameScope, scopePath } from '../../../shared/base/identity.ts';
import { silentLog } from '../../../shared/base/log.ts';
import { sha256 } from '../../../shared/bundle/digest.ts';
import { HttpsChunkSource, type HttpsSourceOptions } from '../../../shared/net/chunk-client.ts';
import { ABSENT_FRAME, frameHeader, printHashes } from '../../../shared/net/chunk-frames.ts';
import { createChunkHandler } from '../../../shared/net/chunk-server.ts';
import { type Door, type DoorOptions, openDoor } from '../../../shared/net/door.ts';
import { chunkOf, chunkSourceContract } from '../../contract/chunk-source.contract.ts';
import { Workshop } from '../../support/bad-certificates.ts';
import { credentialsOf, DEVICE_A, DEVICE_A2, DEVICE_B, GATEWAY, OPS } from '../../support/broker-rig.ts';
import { MemoryBundle } from '../../support/served-chunks.ts';

let workshop: Workshop;
const doors: Door[] = [];
beforeAll(async () => {
  workshop = await Workshop.open();
});
afterAll(() => Promise.all(doors.map((door) => door.close())));

const A: Scope = { customer: 'acme', site: 'north', group: 'ct' };
const B: Scope = { customer: 'acme', site: 'north', group: 'pumps' };

async function open(onHttp: NonNullable<DoorOptions['onHttp']>, accept: DoorOptions['accept'] = () => true): Promise<Door> {
  const credentials = credentialsOf(workshop.leaf(GATEWAY), GATEWAY);
  const door = await openDoor({ host: '127.0.0.1', port: 0, credentials, log: silentLog, clock: systemClock, accept, onHttp });
  doors.push(door);
  return door;
}

async function serve(...bundles: MemoryBundle[]): Promise<Door> {
  return open(createChunkHandler({ log: silentLog, bundles: (_identity, scope) => bundles.find((bundle) => sameScope(bundle.scope, scope)) }));
}

function source(door: Door, identity: Identity = DEVICE_A, options: Partial<HttpsSourceOptions> = {}): HttpsChunkSource {
  const made = new HttpsChunkSource({
    host: '127.0.0.1',
    port: door.port,
    credentials: credentialsOf(workshop.leaf(identity), identity),
    expect: (server) => server.role === 'gateway',
    scope: A,
    log: silentLog,
    clock: systemClock,
    ...options,
  });
  onTestFinished(() => made.close());
  return made;
}

interface Answer {
  readonly status: number | undefined;
  readonly headers: string[];
  readonly body: string;
}

function ask(door: Door, identity: Identity, method: string, path: string, body?: Buffer): Promise<Answer> {
  const { keyPem, chainPem, rootPem } = workshop.leaf(identity);
  const options = {
    host: '127.0.0.1',
    port: door.port,
    method,
    path,
    key: keyPem,
    cert: chainPem,
    ca: rootPem,
    ALPNProtocols: ['http/1.1'],
    agent: false,
  } as const;
  return new Promise((resolve, reject) => {
    const request = https.request({ ...options, checkServerIdentity: () => undefined }, (response) => {
      const parts: Buffer[] = [];
      response.on('data', (part: Buffer) => parts.push(part));
      response.on('end', () => {
        const headers = Object.keys(response.headers).filter((name) => name !== 'date');
        resolve({ status: response.statusCode, headers, body: Buffer.concat(parts).toString('hex') });
      });
      response.on('error', reject);
    });
    request.on('error', reject);
    request.end(body);
  });
}

const is = (code: Parameters<typeof isWardcastError>[1]) => (error: unknown) => isWardcastError(error, code);

chunkSourceContract('HttpsChunkSource', async (chunks) => {
  const bundle = new MemoryBundle(A);
  for (const { bytes } of chunks) bundle.add(bytes);
  return source(await serve(bundle));
});

describe('chunks over https', () => {
  it('come in few requests over few connections', async () => {
    const bundle = new MemoryBundle(A);
    const hashes = Array.from({ length: 500 }, () => bundle.add(randomBytes(2000)));
    let requests = 0;
    const handler = createChunkHandler({ log: silentLog, bundles: () => bundle });
    const door = await open((request, response, identity) => {
      requests += 1;
      handler(request, response, identity);
    });
    const from = source(door);
    await Promise.all(hashes.map((hash) => from.get(hash)));
    expect(requests).toBeLessThanOrEqual(8);
    expect(door.counters.accepted).toBeLessThanOrEqual(4);
    expect(bundle.reads.length).toBe(500);
  });

  it('are refused when they are not what was asked for, one by one', async () => {
    const good = chunkOf();
    const bad = chunkOf();
    const door = await open((request, response) => {
      request.resume();
      response.writeHead(200);
      response.end(Buffer.concat([frameHeader(3), Buffer.from('bad'), frameHeader(good.bytes.length), good.bytes]));
    });
    const from = source(door, DEVICE_A, { lanes: 1 });
    const [first, second] = await Promise.allSettled([from.get(bad.hash), from.get(good.hash)]);
    expect(first).toMatchObject({ status: 'rejected', reason: { code: 'HASH_MISMATCH' } });
    expect(second).toMatchObject({ status: 'fulfilled' });
  });

  it.each([
    ['too many frames', Buffer.concat([ABSENT_FRAME, ABSENT_FRAME])],
    ['too few frames', Buffer.alloc(0)],
    ['a frame over the limit', frameHeader(0x7fffffff)],
    ['half a frame', Buffer.concat([frameHeader(10), Buffer.from('abc')])],
  ])('are given up when the other side sends %s', async (_what, answer) => {
    const door = await open((request, response) => {
      request.resume();
      response.writeHead(200);
      response.end(answer);
    });
    await expect(source(door).get(chunkOf().hash)).rejects.toSatisfy(
      (error) => isWardcastError(error, 'PROTOCOL_VIOLATION') || isWardcastError(error, 'OBJECT_ABSENT'),
    );
  });

  it('are lost when the connection breaks in the middle', async () => {
    const door = await open((request, response) => {
      request.resume();
      response.writeHead(200);
      response.write(frameHeader(1000));
      setImmediate(() => response.destroy());
    });
    await expect(source(door).get(chunkOf().hash)).rejects.toSatisfy(is('CONNECTION_LOST'));
  });

  it('survive that a kept connection was closed meanwhile', async () => {
    const bundle = new MemoryBundle(A);
    const handler = createChunkHandler({ log: silentLog, bundles: () => bundle });
    let closeNext = false;
    const door = await open((request, response, identity) => {
      if (closeNext) {
        closeNext = false;
        request.socket.destroy();
      } else handler(request, response, identity);
    });
    const from = source(door, DEVICE_A, { lanes: 1 });
    await from.get(bundle.add(randomBytes(10)));
    closeNext = true;
    await from.get(bundle.add(randomBytes(10)));
  });

  it('are not asked of a server that is not whom we expect', async () => {
    const bundle = new MemoryBundle(A);
    const door = await serve(bundle);
    const from = source(door, DEVICE_A, { expect: (server) => server.role === 'provider' });
    await expect(from.get(bundle.add(randomBytes(10)))).rejects.toSatisfy(is('SERVER_NAME_WRONG'));
    expect(bundle.reads).toEqual([]);
  });

  it('are refused with the reason when our certificate has no business there', async () => {
    const door = await open(
      () => undefined,
      (identity) => identity.role !== 'device',
    );
    await expect(source(door).get(chunkOf().hash)).rejects.toSatisfy(
      (error) => isWardcastError(error) && ['CERT_REFUSED_BY_PEER', 'CERT_WRONG_ROLE'].includes(error.code),
    );
  });

  it('say that nobody listens', async () => {
    const door = await serve(new MemoryBundle(A));
    await door.close();
    await expect(source(door).get(chunkOf().hash)).rejects.toSatisfy(is('CONNECTION_FAILED'));
  });

  it('end for everybody when the source is closed', async () => {
    const door = await open(() => undefined);
    const from = source(door);
    const getting = from.get(chunkOf().hash);
    setTimeout(() => from.close(), 50);
    await expect(getting).rejects.toSatisfy(is('CONNECTION_LOST'));
  });
});

describe('signed files over https', () => {
  it('come whole, or not at all', async () => {
    const bundle = new MemoryBundle(A);
    const manifest = randomBytes(5000);
    bundle.files.set('3.snapshot.json', Buffer.from('{}'));
    bundle.files.set(sha256(manifest), manifest);
    const from = source(await serve(bundle));
    expect(String(await from.metadata('3.snapshot.json', { maxBytes: 10 }))).toBe('{}');
    expect((await from.target(sha256(manifest), { maxBytes: 5000 }))?.equals(manifest)).toBe(true);
    expect(await from.metadata('4.snapshot.json', { maxBytes: 10 })).toBeUndefined();
    await expect(from.target(sha256(manifest), { maxBytes: 4999 })).rejects.toSatisfy(is('LIMIT_EXCEEDED'));
    await expect(from.metadata('3.snapshot.json', { maxBytes: 10, signal: AbortSignal.abort(new Error('enough')) })).rejects.toThrow('enough');
  });
});

describe('the chunk server', () => {
  it('gives every stranger and every malformed request one and the same answer', async () => {
    const a = new MemoryBundle(A);
    const b = new MemoryBundle(B);
    const inB = b.add(randomBytes(100));
    const inA = a.add(randomBytes(100));
    a.files.set('timestamp.json', Buffer.from('{}'));
    const door = await serve(a, b);
    const url = `/v1/${scopePath(A)}`;
    const answers = await Promise.all([
      // Another group's device: its bundle, its chunk, its metadata.
      ask(door, DEVICE_B, 'POST', `${url}/chunks`, printHashes([inA])),
      ask(door, DEVICE_B, 'GET', `${url}/metadata/timestamp.json`),
      ask(door, DEVICE_A, 'POST', `/v1/${scopePath(B)}/chunks`, printHashes([inB])),
      // Another site, customer, role.
      ask(door, DEVICE_A, 'GET', '/v1/acme/south/ct/metadata/timestamp.json'),
      ask(door, DEVICE_A, 'GET', '/v1/other/north/ct/metadata/timestamp.json'),
      ask(door, OPS, 'GET', `${url}/metadata/timestamp.json`),
      // Unknown and malformed.
      ask(door, DEVICE_A, 'GET', `${url}/metadata/9.root.json`),
      ask(door, DEVICE_A, 'GET', `${url}/target/${'0'.repeat(64)}`),
      ask(door, DEVICE_A, 'GET', '/'),
      ask(door, DEVICE_A, 'GET', `${url}/metadata/..%2f..%2fetc`),
      ask(door, DEVICE_A, 'GET', `${url}/metadata/timestamp.json?x=1`),
      ask(door, DEVICE_A, 'GET', `${url}/chunks`),
      ask(door, DEVICE_A, 'POST', `${url}/chunks`, Buffer.alloc(33)),
      ask(door, DEVICE_A, 'POST', `${url}/chunks`, Buffer.alloc(0)),
      ask(door, DEVICE_A, 'DELETE', `${url}/metadata/timestamp.json`),
      ask(door, DEVICE_A, 'GET', `${url}/${'x'.repeat(5000)}`),
    ]);
    const [first] = answers;
    expect(first).toMatchObject({ status: 404, body: '' });
    for (const answer of answers) expect(answer).toEqual(first);
    expect([...a.reads, ...b.reads]).toEqual([]);
  });

  it('does not give a chunk that is not of the bundle, though it is there', async () => {
    const a = new MemoryBundle(A);
    const b = new MemoryBundle(B);
    const inB = b.add(randomBytes(100));
    const door = await serve(a, b);
    const answer = await ask(door, DEVICE_A, 'POST', `/v1/${scopePath(A)}/chunks`, printHashes([inB]));
    expect(answer).toMatchObject({ status: 200, body: ABSENT_FRAME.toString('hex') });
    expect(b.reads).toEqual([]);
  });

  it('refuses a body that is too long without reading it all', async () => {
    const door = await serve(new MemoryBundle(A));
    const asked = ask(door, DEVICE_A, 'POST', `/v1/${scopePath(A)}/chunks`, Buffer.alloc(10_000_000));
    const outcome = await asked.then(
      (answer) => answer.status,
      () => 'cut off',
    );
    expect([404, 'cut off']).toContain(outcome);
  });

  it('breaks off when a chunk cannot be read, and serves the next request', async () => {
    const bundle = new MemoryBundle(A);
    const hash = bundle.add(randomBytes(10));
    let broken = true;
    bundle.chunk = async (wanted) => {
      if (broken) throw new Error('disk trouble');
      return bundle.chunks.get(wanted);
    };
    const from = source(await serve(bundle), DEVICE_A2);
    await expect(from.get(hash)).rejects.toSatisfy(is('CONNECTION_LOST'));
    broken = false;
    expect((await from.get(hash)).length).toBe(10);
  });
});
