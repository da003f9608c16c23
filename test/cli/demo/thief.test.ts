import { createHash } from 'node:crypto';
import { afterEach, beforeAll, describe, expect, it } from 'vitest';
import { DOORS } from '../../../cli/demo/thief/doors.ts';
import { lurk } from '../../../cli/demo/thief/lurking.ts';
import { PULLING } from '../../../cli/demo/thief/pulling.ts';
import { type Attempt, lootOf, type Scene } from '../../../cli/demo/thief/scene.ts';
import { SWARMING } from '../../../cli/demo/thief/swarming.ts';
import type { DoorOptions } from '../../../shared/net/door.ts';
import { Wire } from '../../../shared/net/swarm/wire.ts';
import { announce, announceFilter, down, ROOT, UP_FILTERS } from '../../../shared/wire/topics.ts';
import { Workshop } from '../../support/bad-certificates.ts';
import { BrokerRig, DEVICE_A, DEVICE_B } from '../../support/broker-rig.ts';

// The demo's refusals are worth something only if the same attempts succeed where nothing refuses them.

const secret = Buffer.from('a chunk that only group A may have');
const hash = createHash('sha256').update(secret).digest('hex');
const own = Buffer.from('a chunk of the thief');
const everything = { mayRead: () => true, mayPublish: () => true };

let workshop: Workshop;
let rig: BrokerRig | undefined;
beforeAll(async () => {
  workshop = await Workshop.open();
});
afterEach(async () => {
  await rig?.[Symbol.asyncDispose]();
  rig = undefined;
});

async function scene(options: Parameters<typeof BrokerRig.open>[1] = {}): Promise<{ rig: BrokerRig; scene: Scene }> {
  const opened = await BrokerRig.open(workshop, options);
  rig = opened;
  const { keyPem, chainPem, rootPem } = workshop.leaf(DEVICE_B);
  const address = { host: '127.0.0.1', port: opened.port };
  return {
    rig: opened,
    scene: {
      thief: DEVICE_B,
      prey: DEVICE_A,
      credentials: '',
      key: keyPem,
      cert: chainPem,
      ca: rootPem,
      gateway: address,
      otherGateway: address,
      provider: address,
      preyAgent: address,
      secrets: new Set([hash]),
      manifest: hash,
      chunks: [hash],
      chunkCount: 1,
      ownChunk: createHash('sha256').update(own).digest('hex'),
      // Not used by the roads that are tried here.
      handedOver: {
        bundle: { format: 1, customer: '', site: '', group: '', sequence: 0, releases: [], withdrawn: [] },
        bundleHash: '',
        timestampVersion: 0,
        manifests: new Map(),
        patches: new Map(),
        metadata: new Map(),
        targets: new Map(),
      },
      factoryRoot: Buffer.alloc(0),
      folder: '',
    },
  };
}

async function go(name: string, on: Scene): Promise<Attempt> {
  const road = [...PULLING, ...SWARMING, ...DOORS].find((one) => one.name === name);
  if (road === undefined) throw new Error(`no road ${name}`);
  return road.go(on);
}

/** A chunk server that asks nobody. */
const generous: DoorOptions['onHttp'] = (request, response) => {
  request.resume();
  if (request.method === 'GET') response.end(secret);
  else {
    const length = Buffer.alloc(4);
    length.writeUInt32BE(secret.length);
    response.end(Buffer.concat([length, secret]));
  }
};
const strict: DoorOptions['onHttp'] = (request, response) => {
  request.resume();
  response.writeHead(404).end();
};

describe('what a thief heard', () => {
  it('is loot when it came on a topic that is not its own, or is content of group A on one that is', async () => {
    const { scene: on } = await scene();
    const ownTopic = `${ROOT}/customer/acme/site/north/group/pumps/device/pump-1/down`;
    expect(lootOf(on, [{ topic: announce(DEVICE_A, 'offer'), payload: Buffer.from('x') }])).toBe(1);
    expect(lootOf(on, [{ topic: `${ownTopic}/object/ct/chunk/${hash}/0/1`, payload: Buffer.from('xy') }])).toBe(2);
    expect(lootOf(on, [{ topic: `${ownTopic}/object/pumps/chunk/${hash}/0/1`, payload: secret }])).toBe(secret.length);
    expect(lootOf(on, [{ topic: `${ownTopic}/object/pumps/chunk/x/0/1`, payload: own }])).toBe(0);
    expect(lootOf(on, [{ topic: announce(DEVICE_B, 'offer'), payload: Buffer.from('x') }])).toBe(0);
  });
});

describe('a lurker', () => {
  const rollOut = async (on: BrokerRig): Promise<void> => {
    await on.broker.publish(announce(DEVICE_A, 'offer'), Buffer.from('{"group":"ct"}'));
    await on.broker.publish(announce(DEVICE_B, 'offer'), Buffer.from('{"group":"pumps"}'));
    await new Promise((resolve) => setTimeout(resolve, 200));
  };

  it('brings home what a broker without a policy tells it, by every way', async () => {
    const { rig: on, scene: at } = await scene({ broker: { policy: everything }, door: { onHttp: strict } });
    const lurker = await lurk(at);
    await rollOut(on);
    for (const { name, attempt } of await lurker.finish()) expect(attempt.loot, name).toBeGreaterThan(0);
  });

  it('hears its own group and nothing else from ours', async () => {
    const { rig: on, scene: at } = await scene({ door: { onHttp: strict } });
    const lurker = await lurk(at);
    await rollOut(on);
    for (const { name, attempt } of await lurker.finish()) {
      expect(attempt.loot, name).toBe(0);
      expect(attempt.barrier, name).toMatch(/SUBACK refuses .* 1 messages of its own group/);
    }
    expect(announceFilter(DEVICE_B)).toContain('pumps');
  });
});

describe('a thief that asks', () => {
  it.each(['chunk-server', 'chunk-server-by-hash', 'other-gateway', 'provider-door'])(
    'brings home what a chunk server without a policy gives: %s',
    async (name) => {
      const { scene: at } = await scene({ door: { onHttp: generous } });
      expect((await go(name, at)).loot).toBeGreaterThan(0);
    },
  );

  it.each(['chunk-server', 'chunk-server-by-hash', 'other-gateway', 'provider-door', 'stolen-client-id', 'no-certificate'])(
    'goes home with nothing from ours: %s',
    async (name) => {
      const { scene: at } = await scene({ door: { onHttp: strict, accept: (identity) => name.startsWith('chunk') || identity.role === 'gateway' } });
      expect((await go(name, at)).loot).toBe(0);
    },
  );

  it('gets over MQTT what a broker sends to whoever asks, and nothing in the name of another from ours', async () => {
    const { rig: on, scene: at } = await scene({ broker: { policy: everything }, door: { onHttp: strict } });
    const stop = new AbortController();
    const serving = (async () => {
      for await (const delivery of on.broker.subscribe([UP_FILTERS.device], { signal: stop.signal })) {
        delivery.accept();
        // Answers whom the topic names, as a broker would that believes topics.
        if (delivery.topic.endsWith('/want'))
          await on.broker.publish(down(delivery.topic.includes('/ct/') ? DEVICE_A : DEVICE_B, 'object', 'ct', 'chunk', hash, '0', '1'), secret);
      }
    })();
    expect((await go('mqtt-pull', at)).loot).toBeGreaterThan(0);
    expect((await go('mqtt-pull-as-another', at)).loot).toBeGreaterThan(0);
    stop.abort();
    await serving;
  });
});

describe('a thief in the swarm', () => {
  const ignore = (): void => undefined;
  /** A peer that gives whatever it is asked for, or only says that it has nothing. */
  const peer =
    (gives: boolean): NonNullable<DoorOptions['onSwarm']> =>
    (socket, identity) => {
      const wire = Wire.accept(socket, identity);
      wire.listen({
        onJoin: (transfer, { manifest, have }) => wire.join(transfer, manifest, { fetching: false, uploads: true }, have),
        onAsk: (transfer, [index = 0]) => (gives ? wire.chunk(transfer, index, secret) : wire.absent(transfer, index, 'absent')),
        onHave: ignore,
        onAny: ignore,
        onChunk: ignore,
        onAbsent: ignore,
        onCancel: ignore,
        onLeave: ignore,
        onGot: ignore,
        onClosed: ignore,
      });
    };

  it.each(['swarm-gateway', 'swarm-peer'])('brings home what a peer gives that asks nobody (%s)', async (name) => {
    const { scene: on } = await scene({ door: { onHttp: strict, onSwarm: peer(true) } });
    expect((await go(name, on)).loot).toBe(secret.length);
  });

  it.each(['swarm-gateway', 'swarm-peer'])('brings home nothing, and says how it was turned away (%s)', async (name) => {
    const { scene: on } = await scene({ door: { onHttp: strict, onSwarm: peer(false) } });
    expect(await go(name, on)).toEqual({ loot: 0, barrier: expect.stringMatching(/join, absent, 0 chunks/) });
    const { scene: refused } = await scene({ door: { accept: () => false, onHttp: strict, onSwarm: peer(true) } });
    expect(await go(name, refused)).toEqual({ loot: 0, barrier: expect.stringMatching(/refused with CERT_WRONG_ROLE/) });
  });
});
