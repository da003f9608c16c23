import { X509Certificate } from 'node:crypto';
import mqtt, { type MqttClient } from 'mqtt';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { leafSubject } from '../../certs/issue.ts';
import type { PkiRow } from '../../cli/pki-list.ts';
import { rightsOfHolders, type Seat } from '../../cli/policy/holders.ts';
import { mosquittoAcl, SETTINGS } from '../../cli/policy/mosquitto.ts';
import { type Identity, identityPath } from '../../shared/base/identity.ts';
import { type Papers, Workshop } from '../support/bad-certificates.ts';
import { startMosquitto } from '../support/mosquitto.ts';
import { everyTopic, GATEWAYS, hears, MAY_ENTER, nameOf, PROVIDER, says, WORLD } from './specification.ts';

/**
 * The generated access list in a real mosquitto, with the certificates that `wardcast pki` would issue: everybody subscribes to everything and says
 * everything, and what arrives is compared with the specification. mosquitto grants every subscription, hence only messages count.
 */
let workshop: Workshop;
const papers = new Map<string, Papers>();
let rows: PkiRow[];

beforeAll(async () => {
  workshop = await Workshop.open();
  for (const identity of WORLD) {
    // The provider's own certificate serves only; as the owner of somebody else's broker it needs one that dials.
    papers.set(nameOf(identity), workshop.leaf(identity, { subject: leafSubject(identity), usages: ['client', 'server'] }));
  }
  rows = WORLD.map((identity) => {
    const certificate = new X509Certificate(papersOf(identity).chainPem);
    return { kind: 'issued', name: identityPath(identity), expires: certificate.validToDate.toISOString(), serial: '1', subject: certificate.subject };
  });
});

const papersOf = (identity: Identity): Papers => papers.get(nameOf(identity)) ?? workshop.leaf(identity);
const gateway = GATEWAYS[0] ?? PROVIDER;

const SEATS: readonly (readonly [string, Seat, Identity])[] = [
  ['the provider', { role: 'provider' }, PROVIDER],
  ['a gateway', { role: 'gateway', customer: 'acme', site: 'north' }, gateway],
];

describe.each(SEATS)('mosquitto with the access list for the broker of %s', (_name, seat, owner) => {
  const clients = new Map<string, MqttClient>();
  let stop: () => PromiseLike<void>;
  /** Listener → `speaker topic`. */
  const heard = new Map<string, string[]>();
  const marks = new Map<string, () => void>();

  beforeAll(async () => {
    const acl = mosquittoAcl(rightsOfHolders(rows, seat, seat.role === 'gateway' ? seat : {}, Date.now()));
    // Not 0, for all there are: mosquitto 2.0.11 then ends the connection over the first message that it denies.
    const mosquitto = await startMosquitto(papersOf(PROVIDER), { acl, lines: [...SETTINGS.slice(1), 'max_queued_messages 100000'] });
    stop = () => mosquitto[Symbol.asyncDispose]();
    await Promise.all(WORLD.map(async (identity) => clients.set(nameOf(identity), await connect(identity, mosquitto.port))));
    await Promise.all(
      WORLD.map(async (identity) => {
        const client = clientOf(identity);
        const list: string[] = [];
        heard.set(nameOf(identity), list);
        client.on('message', (topic, payload) => {
          const speaker = payload.toString();
          if (speaker === 'mark') marks.get(nameOf(identity))?.();
          else list.push(`${speaker} ${topic}`);
        });
        await client.subscribeAsync(['#', '+/#', 'wardcast/1/#', '$SYS/#'], { qos: 1 });
      }),
    );
  });
  afterAll(async () => {
    for (const client of clients.values()) client.end(true);
    await stop();
  });

  const clientOf = (identity: Identity): MqttClient => {
    const client = clients.get(nameOf(identity));
    if (client === undefined) throw new Error('not connected');
    return client;
  };

  /** By the specification alone; the owner hears what its clients may say, and says what they may hear. */
  const enters = (identity: Identity): boolean => MAY_ENTER[nameOf(owner)]?.includes(nameOf(identity)) === true;
  const visitors = WORLD.filter(enters);
  const maySay = (identity: Identity, topic: string): boolean =>
    identity === owner ? visitors.some((client) => hears(client, topic)) : enters(identity) && says(identity, topic);
  const mayHear = (identity: Identity, topic: string): boolean =>
    identity === owner ? visitors.some((client) => says(client, topic)) : enters(identity) && hears(identity, topic);

  it('delivers every message of all pairs that the specification allows, and no other', async () => {
    const topics = [...everyTopic(), ...WORLD.map((identity) => `wardcast/1/${identityPath(identity)}/up/object//0/1`), 'other', 'wardcast/2/event/x'];
    for (const speaker of WORLD) {
      const client = clientOf(speaker);
      await Promise.all(topics.map((topic) => client.publishAsync(topic, nameOf(speaker))));
      await client.subscribeAsync('wardcast/1/said');
    }
    await Promise.all(visitors.map((listener) => marked(listener, `wardcast/1/${identityPath(listener)}/down/offer`, owner)));
    const [first] = visitors;
    if (first !== undefined) await marked(owner, `wardcast/1/${identityPath(first)}/up/${first.role === 'ops' ? 'request' : 'hello'}`, first);
    // A stranger has no topic of its own on which a mark could come; what mosquitto sent it before it answered this is here.
    await Promise.all(WORLD.map((identity) => clientOf(identity).subscribeAsync('wardcast/1/last', { qos: 1 })));

    const wrong: string[] = [];
    let allowed = 0;
    for (const listener of WORLD) {
      const got = new Set(heard.get(nameOf(listener)));
      for (const topic of topics) {
        const listens = mayHear(listener, topic);
        for (const speaker of WORLD) {
          const expected = listens && maySay(speaker, topic);
          if (expected) allowed++;
          if (got.delete(`${nameOf(speaker)} ${topic}`) !== expected) {
            wrong.push(`${nameOf(listener)} ${expected ? 'misses' : 'hears'} ${nameOf(speaker)} on ${topic}`);
          }
        }
      }
      wrong.push(...[...got].map((other) => `${nameOf(listener)} hears ${other}`));
    }
    expect(wrong).toEqual([]);
    expect(allowed).toBeGreaterThan(visitors.length * 6);
  }, 120_000);

  async function marked(listener: Identity, topic: string, speaker: Identity): Promise<void> {
    const came = new Promise<void>((resolve) => marks.set(nameOf(listener), resolve));
    await clientOf(speaker).publishAsync(topic, 'mark', { qos: 1 });
    await came;
  }

  function connect(identity: Identity, port: number): Promise<MqttClient> {
    const { keyPem, chainPem, rootPem } = papersOf(identity);
    const options = { protocol: 'mqtts' as const, host: '127.0.0.1', port, reconnectPeriod: 0, key: keyPem, cert: chainPem, ca: rootPem };
    return mqtt.connectAsync({ ...options, clientId: identityPath(identity) });
  }
});
