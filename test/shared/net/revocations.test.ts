import { once } from 'node:events';
import https from 'node:https';
import tls, { type TLSSocket } from 'node:tls';
import { afterEach, beforeAll, beforeEach, describe, expect, it } from 'vitest';
import { systemClock } from '../../../shared/base/clock.ts';
import { type DeviceIdentity, identityPath } from '../../../shared/base/identity.ts';
import { createChunkHandler } from '../../../shared/net/chunk-server.ts';
import { dial } from '../../../shared/net/dial.ts';
import { Revocations } from '../../../shared/net/revocations.ts';
import { Wire } from '../../../shared/net/swarm/wire.ts';
import { isoSeconds, type RevocationList } from '../../../shared/wire/revocation.ts';
import { Workshop } from '../../support/bad-certificates.ts';
import { BrokerRig, credentialsOf, DEVICE_A, DEVICE_A2, DEVICE_B, GATEWAY, whyDown } from '../../support/broker-rig.ts';
import { RecordingLog } from '../../support/recording-log.ts';

/** One door with all three protocols, real TLS, and a list that arrives while connections are open. */
let workshop: Workshop;
let rig: BrokerRig;
let revocations: Revocations;
const wires: Wire[] = [];

beforeAll(async () => {
  workshop = await Workshop.open();
});
beforeEach(async () => {
  const log = new RecordingLog();
  revocations = new Revocations(log);
  rig = await BrokerRig.open(workshop, {
    door: {
      revocations,
      onHttp: createChunkHandler({ log, bundles: () => undefined }),
      onSwarm: (socket, identity) => {
        const wire = Wire.accept(socket, identity);
        wire.listen(DEAF);
        wires.push(wire);
      },
    },
  });
});
afterEach(async () => {
  for (const wire of wires.splice(0)) wire.close();
  await rig[Symbol.asyncDispose]();
});

const DEAF = {
  onJoin: () => undefined,
  onHave: () => undefined,
  onAsk: () => undefined,
  onAny: () => undefined,
  onChunk: () => undefined,
  onAbsent: () => undefined,
  onCancel: () => undefined,
  onLeave: () => undefined,
  onGot: () => undefined,
  onDry: () => undefined,
  onClosed: () => undefined,
};
const NOTHING: RevocationList = { revoked: [], oldestCas: [], retired: [] };
const naming = (device: DeviceIdentity, until = Date.now()): RevocationList => ({
  ...NOTHING,
  revoked: [{ identity: identityPath(device), until: isoSeconds(until) }],
});

describe('a list that names a device', () => {
  it('ends its live MQTT session, keeps it out by name of the reason, and leaves its neighbours alone', async () => {
    const thief = await rig.linked(DEVICE_A);
    const honest = await rig.linked(DEVICE_A2);
    const other = await rig.linked(DEVICE_B);
    const down = whyDown(thief);
    revocations.learn('ct', naming(DEVICE_A));
    await down;
    expect(rig.broker.connected(DEVICE_A)).toBe(false);
    // It dials again by itself, and hears why it is not wanted.
    expect(await whyDown(thief)).toMatchObject({ code: 'CERT_REVOKED' });
    expect(honest.state).toBe('up');
    expect(other.state).toBe('up');
    expect(rig.broker.connected(DEVICE_A2)).toBe(true);
  });

  it('ends its kept-alive https connection and refuses the next', async () => {
    const { keyPem, chainPem, rootPem } = workshop.leaf(DEVICE_A);
    const agent = new https.Agent({ keepAlive: true, maxSockets: 1 });
    const options = { host: '127.0.0.1', port: rig.port, key: keyPem, cert: chainPem, ca: rootPem, ALPNProtocols: ['http/1.1'], agent };
    const get = async (): Promise<{ status: number | undefined; refused: string | string[] | undefined }> => {
      const request = https.get({ ...options, path: '/' });
      const [response] = await once(request, 'response');
      response.resume();
      await once(response, 'end');
      return { status: response.statusCode, refused: response.headers['x-wardcast-refused'] };
    };
    expect((await get()).refused).toBeUndefined();
    const [kept] = Object.values(agent.freeSockets).flat();
    if (kept === undefined) throw new Error('the connection was not kept');
    const closed = once(kept, 'close');
    revocations.learn('ct', naming(DEVICE_A));
    await closed;
    expect((await get()).refused).toBe('CERT_REVOKED');
    agent.destroy();
  });

  it('ends its swarm channel and refuses the next', async () => {
    const credentials = credentialsOf(workshop.leaf(DEVICE_A), DEVICE_A);
    const join = async (): Promise<Error> => {
      const wire = await Wire.dial({ host: '127.0.0.1', port: rig.port, credentials, expect: () => true, clock: systemClock });
      const ended = Promise.withResolvers<Error>();
      wire.listen({ ...DEAF, onClosed: ended.resolve });
      return ended.promise;
    };
    const first = join();
    await expect.poll(() => wires.length).toBe(1);
    revocations.learn('ct', naming(DEVICE_A));
    expect(await first).toMatchObject({ code: 'CONNECTION_LOST' });
    expect(await join()).toMatchObject({ code: 'CERT_REFUSED_BY_PEER', context: { refused: 'CERT_REVOKED' } });
    expect(wires).toHaveLength(1);
  });

  it('is not got round by resuming a session of before', async () => {
    const { keyPem, chainPem, rootPem } = workshop.leaf(DEVICE_A);
    const options = { host: '127.0.0.1', port: rig.port, key: keyPem, cert: chainPem, ca: rootPem, ALPNProtocols: ['http/1.1'] };
    const first = tls.connect(options);
    const tickets: Buffer[] = [];
    first.on('session', (session) => tickets.push(session));
    await once(first, 'secureConnect');
    const session = first.getSession();
    first.on('error', () => undefined);
    const closed = once(first.resume(), 'close');
    revocations.learn('ct', naming(DEVICE_A));
    await closed;
    for (const ticket of [...tickets, session]) {
      const again: TLSSocket = tls.connect({ ...options, ...(ticket === undefined ? {} : { session: ticket }) });
      again.on('error', () => undefined);
      const said: Buffer[] = [];
      again.on('data', (bytes) => said.push(bytes));
      await once(again, 'secureConnect');
      expect(again.isSessionReused()).toBe(false);
      await once(again, 'close');
      expect(Buffer.concat(said).toString()).toContain('CERT_REVOKED');
    }
  });

  it('lets in the same name with a certificate made afterwards', async () => {
    revocations.learn('ct', naming(DEVICE_A, Date.now() - 60_000));
    const fresh = credentialsOf(workshop.leaf(DEVICE_A, { notBefore: new Date(Date.now() - 30_000) }), DEVICE_A);
    await rig.linked(DEVICE_A, { credentials: fresh });
    expect(await whyDown(rig.link(DEVICE_A))).toMatchObject({ code: 'CERT_REVOKED' });
  });

  it('lets everybody in again whom the next list of the same source does not name', async () => {
    revocations.learn('ct', naming(DEVICE_A));
    revocations.learn('ct', NOTHING);
    await rig.linked(DEVICE_A);
  });
});

describe('a retired CA of a group', () => {
  it('takes all leaves below it along, live ones too, and none of the next generation', async () => {
    const customer = workshop.issuer(GATEWAY);
    const next = workshop.ca({ kind: 'group', customer: 'acme', group: 'ct', generation: 2 }, customer);
    const moved = credentialsOf(workshop.leaf(DEVICE_A2, {}, next), DEVICE_A2);
    const old = await rig.linked(DEVICE_A);
    const fresh = await rig.linked(DEVICE_A2, { credentials: moved });
    const down = whyDown(old);
    revocations.learn('ct', { ...NOTHING, oldestCas: [{ customer: 'acme', group: 'ct', generation: 2 }] });
    await down;
    expect(await whyDown(old)).toMatchObject({ code: 'CERT_REVOKED' });
    expect(fresh.state).toBe('up');
  });

  it('cannot call itself the next generation', async () => {
    const customer = workshop.issuer(GATEWAY);
    const first = workshop.ca({ kind: 'group', customer: 'acme', group: 'ct' }, customer);
    const second = workshop.ca({ kind: 'group', customer: 'acme', group: 'ct', generation: 2 }, customer);
    // Its leaf says "issued by generation 2", and the chain shows the CA of generation 1.
    const { chainPem, ...papers } = workshop.leaf(DEVICE_A, {}, second);
    const forged = { ...papers, chainPem: chainPem.replace(second.pem, first.pem), chain: [] };
    revocations.learn('ct', { ...NOTHING, oldestCas: [{ customer: 'acme', group: 'ct', generation: 2 }] });
    expect(await whyDown(rig.link(DEVICE_A, { credentials: credentialsOf(forged, DEVICE_A) }))).toMatchObject({ code: expect.stringMatching(/^CERT_/) });
    expect(rig.broker.connected(DEVICE_A)).toBe(false);
  });
});

describe('whoever dials', () => {
  const at = (mine: Revocations) => ({
    host: '127.0.0.1',
    port: rig.port,
    credentials: credentialsOf(workshop.leaf(DEVICE_A), DEVICE_A),
    expect: () => true,
    protocol: 'mqtt',
    clock: systemClock,
    revocations: mine,
  });
  const stolen: RevocationList = { ...NOTHING, revoked: [{ identity: identityPath(GATEWAY), until: isoSeconds(Date.now()) }] };

  it('does not speak with a server that is revoked', async () => {
    const mine = new Revocations(new RecordingLog());
    mine.learn('ct', stolen);
    await expect(dial(at(mine))).rejects.toMatchObject({ code: 'CERT_REVOKED' });
  });

  it('hangs up at once when its server is revoked meanwhile', async () => {
    const mine = new Revocations(new RecordingLog());
    const { socket } = await dial(at(mine));
    const closed = once(socket, 'close');
    mine.learn('ct', stolen);
    await closed;
  });
});
