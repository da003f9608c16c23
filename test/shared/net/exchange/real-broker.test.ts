import { randomBytes } from 'node:crypto';
import { beforeAll, describe, expect, it, onTestFinished } from 'vitest';
import { Line } from '../../../../cli/demo/line.ts';
import { systemClock } from '../../../../shared/base/clock.ts';
import type { Identity } from '../../../../shared/base/identity.ts';
import { MAX_PAYLOAD } from '../../../../shared/base/limits.ts';
import { silentLog } from '../../../../shared/base/log.ts';
import { sha256 } from '../../../../shared/bundle/digest.ts';
import type { Link } from '../../../../shared/net/broker.ts';
import { ObjectChunkSource } from '../../../../shared/net/exchange/object-chunk-source.ts';
import { ObjectPuller } from '../../../../shared/net/exchange/puller.ts';
import { ObjectServer } from '../../../../shared/net/exchange/server.ts';
import { Want } from '../../../../shared/wire/messages.ts';
import { down, parseUp, UP_FILTERS } from '../../../../shared/wire/topics.ts';
import { chunkSourceContract } from '../../../contract/chunk-source.contract.ts';
import { Workshop } from '../../../support/bad-certificates.ts';
import { BrokerRig, DEVICE_A, DEVICE_B, GATEWAY } from '../../../support/broker-rig.ts';

let workshop: Workshop;
beforeAll(async () => {
  workshop = await Workshop.open();
});

interface Exchange {
  readonly rig: BrokerRig;
  readonly objects: Map<string, Buffer>;
  readonly reads: string[];
  puller(identity: Identity, link?: Link): Promise<ObjectPuller>;
}

async function exchange(): Promise<Exchange> {
  const rig = await BrokerRig.open(workshop);
  const objects = new Map<string, Buffer>();
  const reads: string[] = [];
  const server = new ObjectServer({
    broker: rig.broker,
    log: silentLog,
    read: async (_identity, { name }) => {
      reads.push(name);
      return objects.get(name);
    },
  });
  void (async () => {
    for await (const { topic, payload, from, accept } of rig.broker.subscribe([UP_FILTERS.gateway, UP_FILTERS.device])) {
      if (from !== undefined && parseUp(topic)?.verb === 'want') server.handle(from, Want.parse(JSON.parse(payload.toString())));
      accept();
    }
  })();
  onTestFinished(async () => {
    server.close();
    await rig[Symbol.asyncDispose]();
  });
  const puller = async (identity: Identity, link?: Link): Promise<ObjectPuller> => {
    const made = new ObjectPuller({ link: link ?? (await rig.linked(identity)), identity, log: silentLog, clock: systemClock });
    onTestFinished(() => made.close());
    return made;
  };
  return { rig, objects, reads, puller };
}

chunkSourceContract('ObjectChunkSource over a real broker', async (chunks) => {
  const { objects, puller } = await exchange();
  for (const { hash, bytes } of chunks) objects.set(hash, bytes);
  return new ObjectChunkSource({ puller: await puller(GATEWAY), group: 'ct' });
});

describe('the exchange over a real broker', () => {
  it('lets offers and signed files pass bulk on a slow line: not more than one payload comes before them', async () => {
    const { rig, objects, puller } = await exchange();
    const rate = 2 * 1024 * 1024;
    const line = await Line.open({ target: { host: '127.0.0.1', port: rig.port }, rate, delay: 10 });
    onTestFinished(() => line.close());
    const link = await rig.linked(GATEWAY, { port: line.port });
    const pulling = await puller(GATEWAY, link);
    let arrived = 0;
    const contents = Array.from({ length: 200 }, () => randomBytes(65_536));
    for (const bytes of contents) objects.set(sha256(bytes), bytes);
    const all = Promise.all(
      contents.map(async (bytes) => {
        const whole = await pulling.get({ group: 'ct', kind: 'chunk', name: sha256(bytes) }, { size: bytes.length });
        arrived += whole.length;
      }),
    );
    const offers = link.subscribe([down(GATEWAY, 'offer')])[Symbol.asyncIterator]();
    objects.set('timestamp.json', randomBytes(1000));
    // What is on the line itself, and in the router before it, cannot be overtaken.
    const underWay = 256 * 1024 + 2 * 0.02 * rate;
    for (let mark = 2; mark <= 10; mark += 2) {
      while (arrived < mark * 1024 * 1024) await new Promise((resolve) => setTimeout(resolve, 5));
      const before = arrived;
      await Promise.all([
        rig.broker.send(GATEWAY, down(GATEWAY, 'offer'), Buffer.from('{}')).then(() => offers.next()),
        pulling.get({ group: 'ct', kind: 'metadata', name: 'timestamp.json' }),
      ]);
      expect(arrived - before).toBeLessThanOrEqual(MAX_PAYLOAD + underWay);
    }
    await all;
  }, 60_000);

  it('carries everything although the connection is cut again and again', async () => {
    const { rig, objects, puller } = await exchange();
    const pulling = await puller(GATEWAY);
    const contents = Array.from({ length: 300 }, () => randomBytes(60_000));
    for (const bytes of contents) objects.set(sha256(bytes), bytes);
    const large = randomBytes(3 * 1024 * 1024);
    objects.set(sha256(large), large);
    let arrived = 0;
    const all = Promise.all([
      ...contents.map((bytes) => pulling.get({ group: 'ct', kind: 'chunk', name: sha256(bytes) }, { size: bytes.length }).then(() => arrived++)),
      pulling.get({ group: 'ct', kind: 'target', name: sha256(large) }, { size: large.length }).then((bytes) => bytes.equals(large)),
    ]);
    for (let cut = 1; cut <= 3; cut++) {
      while (arrived < cut * 50) await new Promise(setImmediate);
      rig.broker.disconnect(GATEWAY);
    }
    expect((await all).at(-1)).toBe(true);
  });

  it('gives two devices of different groups their own, and each other nothing', async () => {
    const { objects, puller, reads } = await exchange();
    const [a, b] = [await puller(DEVICE_A), await puller(DEVICE_B)];
    const bytes = randomBytes(1000);
    objects.set(sha256(bytes), bytes);
    await a.get({ group: 'ct', kind: 'chunk', name: sha256(bytes) });
    await expect(b.get({ group: 'ct', kind: 'chunk', name: sha256(bytes) })).rejects.toMatchObject({ code: 'OBJECT_ABSENT' });
    expect(reads.length).toBe(1);
  });
});
