import { once } from 'node:events';
import https from 'node:https';
import net from 'node:net';
import tls, { type TLSSocket } from 'node:tls';
import { afterEach, beforeAll, describe, expect, it } from 'vitest';
import type { Credentials } from '../../../certs/credentials.ts';
import { isWardcastError } from '../../../shared/base/errors.ts';
import { type Identity, identityPath, spiffeId } from '../../../shared/base/identity.ts';
import { MAX_PENDING_HANDSHAKES } from '../../../shared/base/limits.ts';
import { type DoorOptions, identityOfSocket, openDoor } from '../../../shared/net/door.ts';
import type { LinkOptions } from '../../../shared/net/link.ts';
import { readNotice } from '../../../shared/net/refusal-notice.ts';
import { DAY, DOMAIN, type Papers, Workshop } from '../../support/bad-certificates.ts';
import { BrokerRig, credentialsOf, DEVICE_A, DEVICE_B, GATEWAY, whyDown } from '../../support/broker-rig.ts';

let workshop: Workshop;
let foreign: Workshop;
let rig: BrokerRig;

beforeAll(async () => {
  [workshop, foreign] = await Promise.all([Workshop.open(), Workshop.open()]);
});
afterEach(async () => {
  await rig[Symbol.asyncDispose]();
});

async function open(door: Partial<DoorOptions> = {}): Promise<void> {
  rig = await BrokerRig.open(workshop, { door });
}

/** What the link says of an attempt with these papers. */
async function attempt(papers: Papers, identity: Identity = DEVICE_A, options: Partial<LinkOptions> = {}): Promise<unknown> {
  const link = rig.link(identity, { credentials: credentialsOf(papers, identity), random: () => 0.999, ...options });
  const reason = await whyDown(link);
  await link.close();
  if (!isWardcastError(reason)) return reason;
  expect(reason.message).not.toBe('');
  expect(reason.remedy ?? '').not.toBe('');
  return reason.code;
}

const now = Date.now();
const expired = { notBefore: new Date(now - 2 * DAY), notAfter: new Date(now - DAY) };
const early = { notBefore: new Date(now + DAY), notAfter: new Date(now + 2 * DAY) };

/** Not in the types of https, which hands them to tls. */
const HTTP = { ALPNProtocols: ['http/1.1'], agent: false as const };

describe('A door refuses a client and both sides know why:', () => {
  it.each<[string, string, () => Papers]>([
    ['expired', 'CERT_EXPIRED', () => workshop.leaf(DEVICE_A, expired)],
    ['not yet valid', 'CERT_NOT_YET_VALID', () => workshop.leaf(DEVICE_A, early)],
    ['issued under a foreign root', 'CERT_FOREIGN_CA', () => ({ ...foreign.leaf(DEVICE_A), rootPem: workshop.root.pem })],
    ['another group in the URI than in the issuer', 'CERT_ISSUER_MISMATCH', () => workshop.leaf(DEVICE_A, {}, workshop.issuer(DEVICE_B))],
    ['issued by a leaf', 'CERT_LEAF_AS_CA', () => workshop.leafIssuedByLeaf()],
    ['for servers only', 'CERT_WRONG_USAGE', () => workshop.leaf(DEVICE_A, { usages: ['server'] })],
    ['two identities', 'CERT_BAD_IDENTITY', () => workshop.leaf(DEVICE_A, { uris: [spiffeId(DOMAIN, DEVICE_A), spiffeId(DOMAIN, DEVICE_B)] })],
  ])('a certificate that is %s: %s', async (_what, code, papers) => {
    await open();
    expect(await attempt(papers())).toBe(code);
    expect(await rig.log.seen('door.refused')).toMatchObject({ code, level: 'warn' });
    expect(rig.door.counters).toMatchObject({ accepted: 0, refused: 1 });
    expect(rig.log.all('broker.connected')).toEqual([]);
  });

  it('a genuine identity without business here: CERT_WRONG_ROLE', async () => {
    await open({ accept: (identity) => identity.role === 'gateway' });
    expect(await attempt(workshop.leaf(DEVICE_A))).toBe('CERT_WRONG_ROLE');
    expect(await rig.log.seen('door.refused')).toMatchObject({ code: 'CERT_WRONG_ROLE', context: { identity: identityPath(DEVICE_A) } });
  });

  it('no certificate: CERT_MISSING', async () => {
    await open();
    const socket = tls.connect({ host: '127.0.0.1', port: rig.port, ca: workshop.root.pem, ALPNProtocols: ['mqtt'] });
    const [bytes] = await once(socket, 'data');
    expect(readNotice(Buffer.from(bytes))).toMatchObject({ code: 'CERT_MISSING' });
    expect(await rig.log.seen('door.refused')).toMatchObject({ code: 'CERT_MISSING' });
    await once(socket.resume(), 'close');
  });

  it('plain MQTT: TLS_EXPECTED', async () => {
    await open();
    const socket = net.connect(rig.port, '127.0.0.1');
    socket.on('error', () => undefined);
    socket.write(Buffer.from([0x10, 16, 0, 4, 0x4d, 0x51, 0x54, 0x54, 4, 2, 0, 60, 0, 4, 0x65, 0x76, 0x69, 0x6c]));
    await once(socket.resume(), 'close');
    expect(await rig.log.seen('door.refused')).toMatchObject({ code: 'TLS_EXPECTED' });
  });

  it('TLS 1.2: TLS_FAILED', async () => {
    await open();
    const { keyPem, chainPem, rootPem } = workshop.leaf(DEVICE_A);
    const socket = tls.connect({ host: '127.0.0.1', port: rig.port, key: keyPem, cert: chainPem, ca: rootPem, maxVersion: 'TLSv1.2' });
    const [error] = await once(socket, 'error');
    expect(String(error)).toMatch(/protocol/i);
    expect(await rig.log.seen('door.refused')).toMatchObject({ code: 'TLS_FAILED' });
  });

  it('over https the code is in a header', async () => {
    await open({ accept: () => false, onHttp: (_request, response) => response.end('never') });
    const { keyPem, chainPem, rootPem } = workshop.leaf(DEVICE_A);
    const request = https.get({ host: '127.0.0.1', port: rig.port, key: keyPem, cert: chainPem, ca: rootPem, ...HTTP });
    const [response] = await once(request, 'response');
    expect(response.statusCode).toBe(403);
    expect(response.headers['x-wardcast-refused']).toBe('CERT_WRONG_ROLE');
    response.resume();
  });
});

describe('A link refuses a server and both sides know why:', () => {
  const told = (code: string): Promise<unknown> => rig.log.seen('broker.refused_by_client', (line) => line['code'] === code);

  it('a root that is not ours: TRUST_ROOT_WRONG', async () => {
    await open();
    expect(await attempt({ ...workshop.leaf(DEVICE_A), rootPem: foreign.root.pem })).toBe('TRUST_ROOT_WRONG');
    await told('TRUST_ROOT_WRONG');
  });

  it('another identity than expected: SERVER_NAME_WRONG', async () => {
    await open();
    expect(await attempt(workshop.leaf(DEVICE_A), DEVICE_A, { expect: (identity) => identity.role === 'provider' })).toBe('SERVER_NAME_WRONG');
    await told('SERVER_NAME_WRONG');
  });

  it('another name than asked for: SERVER_NAME_WRONG', async () => {
    await open();
    expect(await attempt(workshop.leaf(DEVICE_A), DEVICE_A, { serverName: 'provider.example.com' })).toBe('SERVER_NAME_WRONG');
    await told('SERVER_NAME_WRONG');
  });

  it.each<[string, string, () => Credentials]>([
    ['expired', 'CERT_EXPIRED', () => credentialsOf(workshop.leaf(GATEWAY, expired), GATEWAY)],
    ['for clients only', 'CERT_WRONG_USAGE', () => credentialsOf(workshop.leaf(GATEWAY, { usages: ['client'] }), GATEWAY)],
  ])('a certificate of the server that is %s: %s', async (_what, code, credentials) => {
    await open({ credentials: credentials() });
    expect(await attempt(workshop.leaf(DEVICE_A))).toBe(code);
    await told(code);
  });

  it('our own key that does not fit our certificate: CERT_KEY_MISMATCH, before anything is sent', async () => {
    await open();
    const leaf = workshop.leaf(DEVICE_A);
    expect(await attempt({ ...leaf, keyPem: foreign.leafKey.keyPem })).toBe('CERT_KEY_MISMATCH');
  });

  it('a port that speaks plain text: TLS_EXPECTED', async () => {
    await open();
    const plain = net.createServer((socket) =>
      socket
        .on('error', () => undefined)
        .resume()
        .end('220 mail.example.com ESMTP at your service\r\n'),
    );
    plain.listen(0, '127.0.0.1');
    await once(plain, 'listening');
    const address = plain.address();
    const port = typeof address === 'object' && address !== null ? address.port : 0;
    expect(await attempt(workshop.leaf(DEVICE_A), DEVICE_A, { port })).toBe('TLS_EXPECTED');
    plain.close();
    await once(plain, 'close');
    expect(await attempt(workshop.leaf(DEVICE_A), DEVICE_A, { port })).toBe('CONNECTION_FAILED');
  });
});

describe('A door', () => {
  it('leads MQTT and https on one port to their handlers, with the identity', async () => {
    await open({
      onHttp: (request, response, identity) => response.end(`${request.url} ${identityPath(identity)} ${identityOfSocket(request.socket) === identity}`),
    });
    await rig.linked(DEVICE_A);
    const { keyPem, chainPem, rootPem } = workshop.leaf(DEVICE_B);
    const request = https.get({
      host: '127.0.0.1',
      port: rig.port,
      path: '/x',
      key: keyPem,
      cert: chainPem,
      ca: rootPem,
      ...HTTP,
    });
    const [response] = await once(request, 'response');
    const body: Buffer[] = await response.toArray();
    expect(Buffer.concat(body).toString()).toBe(`/x ${identityPath(DEVICE_B)} true`);
    expect(rig.door.counters).toMatchObject({ accepted: 2, refused: 0, pending: 0 });
    expect(rig.broker.connected(DEVICE_A)).toBe(true);
  });

  it('refuses https where none is spoken', async () => {
    await open();
    const { keyPem, chainPem, rootPem } = workshop.leaf(DEVICE_A);
    const request = https.get({ host: '127.0.0.1', port: rig.port, key: keyPem, cert: chainPem, ca: rootPem, ...HTTP });
    const [response] = await once(request, 'response');
    expect(response.headers['x-wardcast-refused']).toBe('PROTOCOL_VIOLATION');
    response.resume();
  });

  it('resumes no session: every connection presents its certificate', async () => {
    await open();
    const { keyPem, chainPem, rootPem } = workshop.leaf(DEVICE_A);
    const options = { host: '127.0.0.1', port: rig.port, key: keyPem, cert: chainPem, ca: rootPem };
    const connect = async (session?: Buffer): Promise<TLSSocket> => {
      const socket = tls.connect(session === undefined ? options : { ...options, session });
      await once(socket, 'secureConnect');
      return socket;
    };
    const first = await connect();
    let ticket: Buffer | undefined;
    first.on('session', (session) => {
      ticket = session;
    });
    first.end();
    await once(first.resume(), 'close');
    const second = await connect(ticket ?? first.getSession());
    expect(second.isSessionReused()).toBe(false);
    second.destroy();
  });

  it('turns strangers away while too many handshakes are under way, and lets in again after', async () => {
    await open();
    const strangers = await Promise.all(
      Array.from({ length: MAX_PENDING_HANDSHAKES }, async () => {
        const socket = net.connect(rig.port, '127.0.0.1');
        socket.on('error', () => undefined);
        await once(socket, 'connect');
        return socket;
      }),
    );
    while (rig.door.counters.pending < MAX_PENDING_HANDSHAKES) await new Promise((resolve) => setImmediate(resolve));
    const late = net.connect(rig.port, '127.0.0.1');
    late.on('error', () => undefined);
    await once(late.resume(), 'close');
    expect(rig.door.counters).toMatchObject({ dropped: 1, pending: MAX_PENDING_HANDSHAKES });
    for (const socket of strangers) socket.destroy();
    while (rig.door.counters.pending > 0) await new Promise((resolve) => setImmediate(resolve));
    await rig.linked(DEVICE_A);
    expect(rig.door.counters.open).toBe(1);
  });

  it('logs some refusals per second and counts the rest', async () => {
    await open();
    const shut = async (): Promise<void> => {
      const socket = net.connect(rig.port, '127.0.0.1');
      socket.on('error', () => undefined);
      socket.write('GET / HTTP/1.1\r\n\r\n');
      await once(socket.resume(), 'close');
    };
    for (let i = 0; i < 6; i++) await Promise.all(Array.from({ length: 10 }, shut));
    expect(rig.door.counters.refused).toBe(60);
    expect(rig.log.all('door.refused').length).toBeLessThan(60);
  });

  it('says when its address is taken', async () => {
    await open();
    const second = openDoor({
      host: '127.0.0.1',
      port: rig.port,
      credentials: rig.credentials(GATEWAY),
      log: rig.log,
      clock: { now: Date.now, monotonic: () => 0, sleep: () => Promise.resolve() },
      accept: () => true,
    });
    await expect(second).rejects.toSatisfy((error) => isWardcastError(error, 'CONNECTION_FAILED'));
  });

  it('ends all connections when its signal aborts', async () => {
    const controller = new AbortController();
    await open({ signal: controller.signal });
    const link = await rig.linked(DEVICE_A);
    const why = whyDown(link);
    controller.abort();
    await why;
    const stranger = net.connect(rig.port, '127.0.0.1');
    const [error] = await once(stranger, 'error');
    expect(String(error)).toBeDefined();
  });
});
