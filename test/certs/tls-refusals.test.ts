import net from 'node:net';
import tls, { type TLSSocket } from 'node:tls';
import { beforeAll, describe, expect, test } from 'vitest';
import { createKeyPair, type KeyPair } from '../../certs/build.ts';
import { certifiedPeer } from '../../certs/identity.ts';
import type { Usage } from '../../certs/scope.ts';
import { clientSideTlsError, serverSideTlsError } from '../../certs/tls-errors.ts';
import type { ErrorCode } from '../../shared/base/errors.ts';
import { badPapers, DAY, DEVICE, GATEWAY, type Papers, PROVIDER, Workshop } from '../support/bad-certificates.ts';
import { listen, type Meeting, meet } from '../support/tls-pair.ts';

/** Every refusal over real node:tls sockets, where node:tls judges by itself (reject) and where the owner of the socket does. */
let workshop: Workshop;
let foreign: Workshop;
let spare: KeyPair;
let bad: Readonly<Record<string, Papers>>;
beforeAll(async () => {
  [workshop, foreign, spare] = await Promise.all([Workshop.open(), Workshop.open(), createKeyPair()]);
  bad = badPapers(workshop, foreign, spare);
});

const judge =
  (usage: Usage) =>
  (socket: TLSSocket): unknown =>
    certifiedPeer(socket, { rootPem: workshop.root.pem, usage, now: workshop.now }).identity;

function connect(o: { client?: Papers | undefined; server?: Papers; reject: boolean; servername?: string; clientRoot?: string }): Promise<Meeting> {
  const server = o.server ?? workshop.leaf(PROVIDER);
  return meet({ ...o, server, client: o.client, onServer: judge('client'), onClient: judge('server') });
}

const coded = (code: ErrorCode): unknown => expect.objectContaining({ code, remedy: expect.any(String) });

test('proper papers show each side who the other is', async () => {
  for (const reject of [true, false]) {
    const { server, client } = await connect({ client: workshop.leaf(DEVICE), reject });
    expect(server.judged).toEqual(DEVICE);
    expect(client.judged).toEqual(PROVIDER);
  }
});

test('the identity can be asked for more than once', async () => {
  const twice = (socket: TLSSocket): unknown => [judge('server')(socket), judge('server')(socket)];
  const { client } = await meet({ server: workshop.leaf(GATEWAY), client: workshop.leaf(DEVICE), reject: true, onClient: twice });
  expect(client.judged).toEqual([GATEWAY, GATEWAY]);
});

describe('the server refuses a client', () => {
  const CASES: [string, ErrorCode][] = [
    ['expired', 'CERT_EXPIRED'],
    ['not yet valid', 'CERT_NOT_YET_VALID'],
    ['foreign CA', 'CERT_FOREIGN_CA'],
    ['URI and issuer disagree', 'CERT_ISSUER_MISMATCH'],
    ['a leaf used as CA', 'CERT_LEAF_AS_CA'],
    ['server-only EKU', 'CERT_WRONG_USAGE'],
  ];
  test.each(CASES)('%s → %s, when the owner of the socket judges', async (name, code) => {
    const { server, client } = await connect({ client: bad[name], reject: false });
    expect(server.judged).toEqual(coded(code));
    expect(client.secured).toBe(true);
  });
  test.each(CASES.filter(([name]) => name !== 'URI and issuer disagree'))(
    '%s → %s, when node:tls judges, and the client sees a bare close',
    async (name, code) => {
      const { server, client } = await connect({ client: bad[name], reject: true });
      expect(server.secured).toBe(false);
      expect(serverSideTlsError(server.error, server)).toEqual(coded(code));
      expect(client).toEqual(expect.objectContaining({ secured: true, judged: PROVIDER }));
      expect(client.error).toBeUndefined();
    },
  );
  test('that has no certificate, and tells it so in an alert', async () => {
    const alerted = await connect({ client: undefined, reject: true });
    expect(serverSideTlsError(alerted.server.error, alerted.server)).toEqual(coded('CERT_MISSING'));
    expect(clientSideTlsError(alerted.client.error)).toEqual(coded('CERT_MISSING'));
    const judged = await connect({ client: undefined, reject: false });
    expect(judged.server.judged).toEqual(coded('CERT_MISSING'));
  });
  test('whose group CA was founded by another customer: OpenSSL sees the name constraint broken', async () => {
    const other = workshop.ca({ kind: 'customer', customer: 'globex' }, workshop.root);
    const papers = workshop.leaf(DEVICE, {}, workshop.ca({ kind: 'group', customer: 'acme', group: 'ct' }, other));
    const { server } = await connect({ client: papers, reject: true });
    expect(server).toEqual(expect.objectContaining({ secured: false, authorizationError: 'UNSPECIFIED' }));
    expect((await connect({ client: papers, reject: false })).server.judged).toEqual(coded('CERT_LEAF_AS_CA'));
  });
});

describe('the client refuses', () => {
  test.each<[string, ErrorCode]>([
    ['expired', 'CERT_EXPIRED'],
    ['not yet valid', 'CERT_NOT_YET_VALID'],
    ['foreign', 'TRUST_ROOT_WRONG'],
    ['client-only EKU', 'CERT_WRONG_USAGE'],
    ['leaf as CA', 'CERT_LEAF_AS_CA'],
  ])('a server that is %s → %s', async (name, code) => {
    const papers: Record<string, Papers> = {
      expired: workshop.leaf(PROVIDER, { notBefore: new Date(workshop.now - 2 * DAY), notAfter: new Date(workshop.now - DAY) }),
      'not yet valid': workshop.leaf(PROVIDER, { notBefore: new Date(workshop.now + DAY), notAfter: new Date(workshop.now + 2 * DAY) }),
      foreign: foreign.leaf(PROVIDER),
      'client-only EKU': workshop.leaf(PROVIDER, { usages: ['client'] }),
      'leaf as CA': workshop.leafIssuedByLeaf(),
    };
    const client = { client: workshop.leaf(DEVICE), clientRoot: workshop.root.pem };
    const rejected = await connect({ ...client, server: papers[name] ?? workshop.leaf(PROVIDER), reject: true });
    expect(clientSideTlsError(rejected.client.error)).toEqual(coded(code));
    expect(serverSideTlsError(rejected.server.error, rejected.server)).toEqual(coded('TLS_FAILED'));
    const judged = await connect({ ...client, server: papers[name] ?? workshop.leaf(PROVIDER), reject: false });
    expect(judged.client.judged).toEqual(coded(code));
  });
  test('every server when its own trust root is wrong', async () => {
    const { client } = await connect({ client: bad['wrong trust root'], reject: true });
    expect(clientSideTlsError(client.error)).toEqual(coded('TRUST_ROOT_WRONG'));
  });
  test('a server with another name', async () => {
    const { client, server } = await connect({ client: workshop.leaf(DEVICE), reject: true, servername: 'elsewhere.example' });
    expect(clientSideTlsError(client.error)).toEqual(coded('SERVER_NAME_WRONG'));
    expect(serverSideTlsError(server.error, server)).toEqual(coded('TLS_FAILED'));
  });
  test('to start with a key that does not belong to its certificate', async () => {
    const { client } = await connect({ client: bad['key and certificate mismatch'], reject: true });
    expect(client.secured).toBe(false);
    expect(clientSideTlsError(client.error)).toEqual(coded('CERT_KEY_MISMATCH'));
  });
});

describe('plain text', () => {
  // CONNECT packet of MQTT 3.1.1, an http request, and what a proxy would ask.
  test.each([
    ['MQTT', Buffer.from('101000044d5154540402003c000474657374', 'hex')],
    ['http', Buffer.from('GET / HTTP/1.1\r\nHost: x\r\n\r\n')],
    ['a proxy request', Buffer.from('CONNECT a:1 HTTP/1.1\r\n\r\n')],
    ['an oversized record', Buffer.from('16030affff', 'hex')],
  ])('%s on the TLS port is named', async (_name, bytes) => {
    const papers = workshop.leaf(PROVIDER);
    const server = tls.createServer({ key: papers.keyPem, cert: papers.chainPem, minVersion: 'TLSv1.3' });
    const { promise, resolve } = Promise.withResolvers<unknown>();
    server.on('tlsClientError', (error, socket) => resolve(serverSideTlsError(error, socket)));
    const socket = net.connect(await listen(server), '127.0.0.1', () => socket.write(bytes));
    socket.on('error', () => undefined);
    expect(await promise).toEqual(coded('TLS_EXPECTED'));
    socket.destroy();
    server.close();
  });
  test('from a server that speaks none of TLS is named at the client', async () => {
    const server = net.createServer((socket) => socket.on('error', () => undefined).once('data', () => socket.end('HTTP/1.1 400 Bad Request\r\n\r\n')));
    const { promise, resolve } = Promise.withResolvers<unknown>();
    await new Promise<void>((listening) => server.listen(0, '127.0.0.1', listening));
    const address = server.address();
    if (address === null || typeof address === 'string') throw new Error('no port');
    tls.connect({ host: '127.0.0.1', port: address.port }).on('error', (error) => resolve(clientSideTlsError(error)));
    expect(await promise).toEqual(coded('TLS_EXPECTED'));
    server.close();
  });
  test('nobody there is CONNECTION_FAILED', async () => {
    const { promise, resolve } = Promise.withResolvers<unknown>();
    tls.connect({ host: '127.0.0.1', port: 1 }).on('error', (error) => resolve(clientSideTlsError(error)));
    expect(await promise).toEqual(coded('CONNECTION_FAILED'));
  });
});
