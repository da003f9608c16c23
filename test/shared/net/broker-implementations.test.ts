import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { systemClock } from '../../../shared/base/clock.ts';
import { isWardcastError } from '../../../shared/base/errors.ts';
import type { Identity } from '../../../shared/base/identity.ts';
import type { Link } from '../../../shared/net/broker.ts';
import { openLink } from '../../../shared/net/link.ts';
import { announce, announceFilter, down, downFilter, up } from '../../../shared/wire/topics.ts';
import { brokerContract } from '../../contract/broker.contract.ts';
import { DAY, type Papers, Workshop } from '../../support/bad-certificates.ts';
import { BrokerRig, credentialsOf, DEVICE_A, DEVICE_B, GATEWAY, isUp, PROVIDER, whyDown } from '../../support/broker-rig.ts';
import { Inbox } from '../../support/deliveries.ts';
import { type Mosquitto, startMosquitto } from '../../support/mosquitto.ts';
import { RecordingLog } from '../../support/recording-log.ts';

let workshop: Workshop;
let mosquitto: Mosquitto;

beforeAll(async () => {
  workshop = await Workshop.open();
  mosquitto = await startMosquitto(workshop.leaf(PROVIDER));
});
afterAll(async () => {
  await mosquitto[Symbol.asyncDispose]();
});

function dial(identity: Identity, papers: Papers = workshop.leaf(identity), log = new RecordingLog()): Link {
  return openLink({
    host: '127.0.0.1',
    port: mosquitto.port,
    credentials: credentialsOf(papers, identity),
    expect: (server) => server.role === 'provider',
    serverName: 'localhost',
    log,
    clock: systemClock,
  });
}

brokerContract('The embedded broker, with a link at the other end,', async () => {
  const rig = await BrokerRig.open(workshop);
  const other = await rig.linked(GATEWAY);
  return {
    broker: rig.broker,
    other,
    inbound: up(GATEWAY, 'statement'),
    inboundFilter: 'wardcast/1/customer/+/site/+/gateway/+/up/#',
    outbound: down(GATEWAY, 'receipt'),
    outboundFilter: downFilter(GATEWAY),
    close: () => rig.broker.close(),
    dispose: () => rig[Symbol.asyncDispose](),
  };
});

brokerContract('A link to the embedded broker', async () => {
  const rig = await BrokerRig.open(workshop);
  const link = await rig.linked(DEVICE_A);
  return {
    broker: link,
    other: rig.broker,
    inbound: down(DEVICE_A, 'receipt'),
    inboundFilter: downFilter(DEVICE_A),
    outbound: up(DEVICE_A, 'statement'),
    outboundFilter: 'wardcast/1/customer/+/site/+/group/+/device/+/up/#',
    close: () => link.close(),
    dispose: () => rig[Symbol.asyncDispose](),
  };
});

brokerContract('A link to mosquitto', async () => {
  const [link, other] = [dial(DEVICE_A), dial(GATEWAY)];
  await Promise.all([isUp(link), isUp(other)]);
  return {
    broker: link,
    other,
    inbound: down(DEVICE_A, 'receipt'),
    inboundFilter: downFilter(DEVICE_A),
    outbound: up(DEVICE_A, 'statement'),
    outboundFilter: 'wardcast/1/customer/+/site/+/group/+/device/+/up/#',
    close: () => link.close(),
    dispose: async () => {
      await Promise.all([link.close(), other.close()]);
    },
  };
});

describe('A link to mosquitto', () => {
  it.each<[string, string, () => Papers]>([
    ['expired', 'CERT_EXPIRED', () => workshop.leaf(DEVICE_A, { notBefore: new Date(Date.now() - 2 * DAY), notAfter: new Date(Date.now() - DAY) })],
    ['for servers only', 'CERT_WRONG_USAGE', () => workshop.leaf(DEVICE_A, { usages: ['server'] })],
  ])('says why it is refused with a certificate that is %s', async (_what, code, papers) => {
    const link = dial(DEVICE_A, papers());
    const reason = await whyDown(link);
    await link.close();
    expect(reason).toMatchObject({ code });
  });

  it('hears nothing of another group, though mosquitto grants every subscription, when the access list holds', async () => {
    const acl = [`user ${DEVICE_B.device}`, `topic read ${downFilter(DEVICE_B)}`, ''].join('\n');
    // The common name of the test's certificates is the end of the identity's path.
    const name = 'customer/acme/site/north/group/pumps/device/pump-1'.slice(-64);
    await using guarded = await startMosquitto(workshop.leaf(PROVIDER), {
      acl: `${acl.replace(DEVICE_B.device, name)}\nuser ${'customer/acme/site/north/gateway/gw-1'.slice(-64)}\ntopic readwrite #\n`,
      lines: ['use_identity_as_username true'],
    });
    const options = { host: '127.0.0.1', port: guarded.port, expect: () => true, log: new RecordingLog(), clock: systemClock };
    const thief = openLink({ ...options, credentials: credentialsOf(workshop.leaf(DEVICE_B), DEVICE_B) });
    const speaker = openLink({ ...options, credentials: credentialsOf(workshop.leaf(GATEWAY), GATEWAY) });
    const inbox = new Inbox(thief.subscribe(['#', announceFilter(DEVICE_A), downFilter(DEVICE_B)]));
    await Promise.all([isUp(thief), isUp(speaker)]);
    await speaker.publish(announce(DEVICE_A, 'offer'), Buffer.from('secret'));
    await speaker.publish(down(DEVICE_A, 'offer'), Buffer.from('secret'));
    await speaker.publish(down(DEVICE_B, 'offer'), Buffer.from('mark'));
    await inbox.with('mark');
    expect(new Set(inbox.texts)).toEqual(new Set(['mark']));
    await Promise.all([thief.close(), speaker.close()]);
  });

  it('comes back when mosquitto does', async () => {
    const first = await startMosquitto(workshop.leaf(PROVIDER));
    const link = openLink({
      host: '127.0.0.1',
      port: first.port,
      credentials: credentialsOf(workshop.leaf(DEVICE_A), DEVICE_A),
      expect: () => true,
      log: new RecordingLog(),
      clock: systemClock,
      random: () => 0,
    });
    const inbox = new Inbox(link.subscribe([downFilter(DEVICE_A)]));
    await isUp(link);
    const why = whyDown(link);
    await first[Symbol.asyncDispose]();
    expect(await why).toSatisfy((error) => isWardcastError(error, 'CONNECTION_LOST'));
    await using second = await startMosquitto(workshop.leaf(PROVIDER), { port: first.port });
    await isUp(link);
    await link.publish(down(DEVICE_A, 'offer'), Buffer.from('again'));
    await inbox.with('again');
    await link.close();
    expect(second.log()).toContain('customer/acme');
  });
});
