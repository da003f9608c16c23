import dgram from 'node:dgram';
import net from 'node:net';
import { setTimeout as sleep } from 'node:timers/promises';
import tls, { type SecureContext } from 'node:tls';
import fc from 'fast-check';
import type { Credentials } from '../../certs/credentials.ts';
import { systemClock } from '../../shared/base/clock.ts';
import { identityPath } from '../../shared/base/identity.ts';
import { silentLog } from '../../shared/base/log.ts';
import { ALPN } from '../../shared/net/door.ts';
import { openLink } from '../../shared/net/link.ts';
import { OpsClient } from '../../shared/net/ops-client.ts';
import { Bitfield } from '../../shared/net/swarm/bitfield.ts';
import { Wire } from '../../shared/net/swarm/wire.ts';
import { downFilter, up } from '../../shared/wire/topics.ts';
import { isUp } from '../support/broker-rig.ts';
import type { CampaignSettings, Tally } from '../support/campaign.ts';
import { businessSession } from './attack/messages.ts';
import { mqttPackets } from './attack/mqtt.ts';
import { httpRequests } from './attack/requests.ts';
import { swarmFrames } from './attack/swarm.ts';
import { type AttackedDoor, type AttackedWorld, openWorld, type Place, type Stranger } from './doors-world.ts';
import { law, seedOf } from './law.ts';
import { mutated, noise } from './mutation.ts';
import { converse, dropStaying, type Manner, manner } from './session.ts';
import { heldUp, isWarm, MemoryWatch, residentBytes, type Service, ServiceWatch } from './watch.ts';

const NAME = 'doors: nobody crashes provider, gateway or agent, or finds a bug';
const CASES = 16;
/** Milliseconds for a good client's answer. */
const ANSWER = 30_000;

/** One stranger at one door; `plain`: not even TLS. Indexes, so that a failure can be printed and repeated. */
interface Knock {
  readonly door: number;
  readonly who: number;
  readonly protocol: 'mqtt' | 'http' | 'swarm' | 'plain';
  readonly said: readonly Buffer[];
  readonly manner: Manner;
}

/** Provider, gateway and agent as real processes behind real TLS, with every kind of certificate and none. Returns how many connections were made. */
export async function fuzzDoors({ seconds, seed, replay }: Pick<CampaignSettings, 'seconds' | 'seed' | 'replay'>, tally: Tally): Promise<number> {
  const attacked = await openWorld();
  const { world, doors, strangers } = attacked;
  const contexts = strangers.map(({ papers }) => tls.createSecureContext(papers === undefined ? {} : { key: papers.keyPem, cert: papers.chainPem }));
  const memories = doors.map(() => new MemoryWatch());
  const services = doors.map(() => new ServiceWatch());
  const seen = new Map<AttackedDoor, number>(doors.map((door) => [door, door.daemon.lines.length]));
  const adverts = dgram.createSocket('udp4');
  let sessions = 0;
  const attack = law(
    NAME,
    fc.tuple(fc.array(knock(attacked), { minLength: 1, maxLength: CASES, size: 'max' }), fc.array(mutated([ADVERT]), { maxLength: 8 })),
    async ([knocks, datagrams]) => {
      for (const door of doors) if (!door.daemon.running) await door.daemon.start();
      for (const datagram of datagrams) adverts.send(datagram, 5353, '224.0.0.251');
      await Promise.all(
        knocks.map(async (one) => {
          sessions++;
          await knockAt(doors[one.door]?.at() ?? { host: '127.0.0.1', port: 1 }, one, contexts[one.who]);
        }),
      );
      for (const door of doors) checkLog(door, seen);
    },
    6,
  );
  try {
    await new Promise<void>((resolve) => adverts.bind(0, attacked.lan, resolve));
    adverts.setMulticastInterface(attacked.lan);
    const began = performance.now();
    const elapsed = (): number => (performance.now() - began) / 1000;
    const stop = new AbortController();
    const probing = probe(attacked, services, stop.signal);
    const sampling = setInterval(() => {
      for (const [at, door] of doors.entries()) if (door.daemon.running) memories[at]?.sample(residentBytes(door.daemon.pid), isWarm(elapsed(), seconds));
    }, 500);
    let failure: string | undefined;
    for (let round = 0; failure === undefined && (round === 0 || elapsed() < seconds); round++) {
      ({ failure } = await attack.check(replay === undefined ? { seed: seedOf(seed, NAME, round), runs: attack.batch } : { ...replay, runs: attack.batch }));
      if (replay !== undefined) break;
    }
    dropStaying();
    stop.abort();
    await probing;
    clearInterval(sampling);
    tally.note(`        ${sessions} connections at real doors`);
    report(tally, NAME, failure);
    for (const [at, { name }] of doors.entries()) {
      const memory = memories[at];
      const service = services[at];
      tally.note(`        ${name}: memory: ${memory?.summary}; ${service?.summary}`);
      if (memory?.judged === true) report(tally, `doors: the ${name}’s memory is bounded`, memory.wrong);
      report(tally, `doors: a good client of the ${name} is served meanwhile`, service?.wrong);
    }
    // What was installed is still what the registry says, whatever was said meanwhile.
    const { differences } = await (await world.ops()).call('registry.check', {});
    report(tally, 'doors: the registry is what its log says', differences.length === 0 ? undefined : differences.join('\n'));
  } finally {
    adverts.close();
    await world.close();
  }
  return sessions;
}

function report(tally: Tally, what: string, wrong: string | undefined): void {
  if (wrong === undefined) tally.passed(what);
  else tally.fail(what, wrong);
}

function knock({ doors, strangers, manifests }: AttackedWorld): fc.Arbitrary<Knock> {
  return fc
    .tuple(
      fc.nat(doors.length - 1),
      fc.nat(strangers.length - 1),
      fc.constantFrom('business' as const, 'business' as const, 'mqtt' as const, 'http' as const, 'swarm' as const, 'plain' as const),
    )
    .chain(([door, who, kind]) => {
      const stranger = strangers[who];
      return fc.record({
        door: fc.constant(door),
        who: fc.constant(who),
        protocol: fc.constant(kind === 'business' ? ('mqtt' as const) : kind),
        said: stranger === undefined ? fc.constant([]) : words(kind, stranger, manifests),
        manner,
      });
    });
}

function words(kind: Knock['protocol'] | 'business', { identity, signed }: Stranger, manifests: AttackedWorld['manifests']): fc.Arbitrary<readonly Buffer[]> {
  switch (kind) {
    case 'business':
      return businessSession(identity, signed);
    case 'mqtt':
      return mqttPackets({ clientId: identityPath(identity) });
    case 'http':
      return httpRequests;
    case 'swarm':
      return swarmFrames(manifests);
    case 'plain':
      return fc.array(fc.oneof(noise, mutated(HELLOS)), { maxLength: 3 });
  }
}

async function knockAt(at: Place, { protocol, said, manner: how }: Knock, context: SecureContext | undefined): Promise<void> {
  const raw = net.connect({ ...at, noDelay: true });
  raw.on('error', () => undefined);
  if (protocol === 'plain') return converse(raw, said, how, () => void raw.resetAndDestroy());
  const alpn = protocol === 'http' ? ALPN.http : protocol === 'swarm' ? ALPN.swarm : ALPN.mqtt;
  const socket = tls.connect({ socket: raw, rejectUnauthorized: false, ALPNProtocols: [alpn], ...(context === undefined ? {} : { secureContext: context }) });
  return converse(socket, said, how, () => {
    if (raw.destroyed) socket.destroy();
    else raw.resetAndDestroy();
  });
}

/** @throws Error when the daemon ended, or logged what is a defect whoever causes it */
function checkLog({ name, daemon }: AttackedDoor, seen: Map<AttackedDoor, number>): void {
  const key = [...seen.keys()].find((door) => door.name === name);
  const from = key === undefined ? 0 : (seen.get(key) ?? 0);
  if (key !== undefined) seen.set(key, daemon.lines.length);
  const bad = daemon.lines
    .slice(from)
    .filter((line) => line.event === 'raw' || line.event === 'fatal' || line.level === 'error' || JSON.stringify(line).includes('"INTERNAL"'));
  if (bad.length > 0)
    throw new Error(
      `the ${name} logged:\n${bad
        .slice(0, 8)
        .map((line) => JSON.stringify(line))
        .join('\n')}`,
    );
  if (!daemon.running) throw new Error(`the ${name} ended:\n${daemon.tail()}`);
}

/** Good clients, now and then at every door. */
async function probe(attacked: AttackedWorld, services: readonly ServiceWatch[], signal: AbortSignal): Promise<void> {
  const { doors, good, manifests } = attacked;
  const ways: Readonly<Record<AttackedDoor['name'], (at: Place) => Promise<Service>>> = {
    provider: (at) => askOps(at, good.ops),
    gateway: (at) => askGateway(at, good.device),
    agent: (at) => askPeer(at, good.device, manifests),
  };
  while (!signal.aborted) {
    for (const [at, door] of doors.entries()) {
      if (!door.daemon.running || signal.aborted) continue;
      try {
        const before = held(door);
        const service = await ways[door.name](door.at());
        services[at]?.add(service, held(door) - before);
      } catch (error) {
        // A daemon that ended is the other law's failure.
        if (door.daemon.running) services[at]?.fail(String(error));
      }
    }
    await sleep(500, undefined, { signal }).catch(() => undefined);
  }
}

async function askOps({ host, port }: Place, credentials: Credentials): Promise<Service> {
  const began = performance.now();
  const client = await OpsClient.connect({ host, port, credentials, log: silentLog, clock: systemClock });
  const connected = performance.now() - began;
  await client.call('customer.list', {}).finally(() => client.close());
  return { connected, served: performance.now() - began };
}

/** Connects, asks for the newest signed word of its group, and has it. */
async function askGateway({ host, port }: Place, credentials: Credentials): Promise<Service> {
  const began = performance.now();
  const link = openLink({ host, port, credentials, expect: (server) => server.role === 'gateway', log: silentLog, clock: systemClock });
  const signal = AbortSignal.timeout(ANSWER);
  const heard = link.subscribe([downFilter(credentials.identity)], { signal });
  try {
    await isUp(link);
    const connected = performance.now() - began;
    const want = Buffer.from(JSON.stringify({ group: 'ct', kind: 'metadata', names: ['timestamp.json'] }));
    const asked = link.publish(up(credentials.identity, 'want'), want, { signal });
    for await (const delivery of heard) {
      delivery.accept();
      if (!delivery.topic.includes('/object/')) continue;
      await asked;
      return { connected, served: performance.now() - began };
    }
    throw new Error('no answer');
  } finally {
    await link.close();
  }
}

/** A peer of its group, heard to speak of the release it has. */
async function askPeer({ host, port }: Place, credentials: Credentials, manifests: AttackedWorld['manifests']): Promise<Service> {
  const began = performance.now();
  const wire = await Wire.dial({ host, port, credentials, clock: systemClock, expect: (peer) => peer.role === 'device' });
  const connected = performance.now() - began;
  const { promise, resolve, reject } = Promise.withResolvers<void>();
  const silent = (): void => undefined;
  wire.listen({
    ...{ onHave: silent, onAsk: silent, onAny: silent, onChunk: silent, onAbsent: silent, onCancel: silent, onLeave: silent, onGot: silent, onDry: silent },
    onJoin: () => resolve(),
    onClosed: reject,
  });
  for (const [number, { hash, chunks }] of manifests.entries()) wire.join(number + 1, hash, { fetching: true, uploads: false }, new Bitfield(chunks));
  const late = sleep(ANSWER, undefined, { ref: false }).then(() => Promise.reject(new Error('no answer')));
  await Promise.race([promise, late]).finally(() => wire.close());
  return { connected, served: performance.now() - began };
}

function held({ daemon }: AttackedDoor): number {
  return heldUp(daemon.running ? [process.pid, daemon.pid] : [process.pid]);
}

/** An advert of ours by hand: PTR, SRV and TXT of one instance. */
const ADVERT = ((): Buffer => {
  const name = (text: string): Buffer =>
    Buffer.concat([...text.split('.').map((label) => Buffer.concat([Buffer.from([label.length]), Buffer.from(label)])), Buffer.from([0])]);
  const service = '_wardcast-agent._tcp.local';
  const instance = '00000000-0000-4000-8000-00000000abcd';
  const record = (owner: string, type: number, data: Buffer): Buffer =>
    Buffer.concat([name(owner), Buffer.from([0, type, 0, 1, 0, 0, 0, 120, data.length >> 8, data.length & 0xff]), data]);
  const text = ['v=1', `id=${instance}`].map((entry) => Buffer.concat([Buffer.from([entry.length]), Buffer.from(entry)]));
  return Buffer.concat([
    Buffer.from([0, 0, 0x84, 0, 0, 0, 0, 3, 0, 0, 0, 0]),
    record(service, 12, name(`${instance}.${service}`)),
    record(`${instance}.${service}`, 33, Buffer.concat([Buffer.from([0, 0, 0, 0, 0x11, 0x5b]), name(`${instance}.local`)])),
    record(`${instance}.${service}`, 16, Buffer.concat(text)),
  ]);
})();

/** Beginnings that are no TLS, or stop in the middle of it. */
const HELLOS = [
  Buffer.from('GET / HTTP/1.1\r\nhost: x\r\n\r\n'),
  Buffer.from('SSH-2.0-OpenSSH_9.7\r\n'),
  // The head of a TLS record with a ClientHello (RFC 8446, 5.1 and 4.1.2), and nothing behind it.
  Buffer.from([0x16, 3, 1, 2, 0, 1, 0, 1, 0xfc, 3, 3]),
  Buffer.from([0x15, 3, 3, 0, 2, 2, 0]),
  Buffer.concat([Buffer.from([0x16, 3, 3, 0x40, 0]), Buffer.alloc(300, 1)]),
];
