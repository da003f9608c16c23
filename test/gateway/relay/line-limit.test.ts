import { randomBytes } from 'node:crypto';
import { describe, expect, it, onTestFinished } from 'vitest';
import { LineLimit } from '../../../gateway/relay/line-limit.ts';
import { silentLog } from '../../../shared/base/log.ts';
import { ConfigRate } from '../../../shared/base/rate-plan.ts';
import { sha256 } from '../../../shared/bundle/digest.ts';
import { ObjectPuller } from '../../../shared/net/exchange/puller.ts';
import { ObjectServer } from '../../../shared/net/exchange/server.ts';
import { Want } from '../../../shared/wire/messages.ts';
import { UP_FILTERS } from '../../../shared/wire/topics.ts';
import { GATEWAY } from '../../support/broker-rig.ts';
import { ManualClock } from '../../support/manual-clock.ts';
import { SimulatedBroker } from '../../support/simulated-line.ts';

const SECOND = 1000;
const KIB = 1024;

/** A provider with as many chunks as anybody wants, a line without any limit of its own, and a puller under a plan. */
function rig(plan: unknown, start: Date) {
  const broker = new SimulatedBroker();
  const link = broker.link(GATEWAY);
  const clock = new ManualClock(start.getTime());
  const objects = new Map<string, Buffer>();
  const server = new ObjectServer({ broker, log: silentLog, read: async (_identity, { name }) => objects.get(name) });
  void (async () => {
    for await (const { payload, from, accept } of broker.subscribe([UP_FILTERS.gateway])) {
      if (from !== undefined) server.handle(from, Want.parse(JSON.parse(payload.toString())));
      accept();
    }
  })();
  const line = new LineLimit({ plan: ConfigRate.parse(plan), clock, log: silentLog });
  const puller = new ObjectPuller({ link, identity: GATEWAY, log: silentLog, clock, pace: line.pace });
  link.connect();
  onTestFinished(async () => {
    puller.close();
    server.close();
    await broker.close();
  });
  const arrived = { bytes: 0 };
  const pull = (kind: 'chunk' | 'metadata', size: number): Promise<void> => {
    const bytes = randomBytes(size);
    const name = kind === 'chunk' ? sha256(bytes) : 'timestamp.json';
    objects.set(name, bytes);
    return puller.get({ group: 'ct', kind, name }, { size }).then(
      (whole) => {
        if (kind === 'chunk') arrived.bytes += whole.length;
      },
      () => undefined,
    );
  };
  /** Bytes of chunks that arrive in the next so many seconds. */
  const during = async (seconds: number): Promise<number> => {
    const before = arrived.bytes;
    for (let step = 0; step < seconds * 100; step++) await clock.advance(10);
    return arrived.bytes - before;
  };
  return { clock, line, pull, during };
}

describe('a limited line', () => {
  it.each([2, 20])('carries %d Mbit/s of chunks when that is its limit, over any 10 s', async (mbit) => {
    const { pull, during } = rig({ mbit }, new Date(2030, 0, 1));
    const perSecond = mbit * 125_000;
    for (let bytes = 0; bytes < perSecond * 32; bytes += 64 * KIB) void pull('chunk', 64 * KIB);
    for (let span = 0; span < 3; span++) {
      const bytes = await during(10);
      expect(bytes / (perSecond * 10)).toBeGreaterThan(0.96);
      expect(bytes / (perSecond * 10)).toBeLessThan(1.04);
    }
  });

  it('stops for a window of 0 and goes on by itself, and says so meanwhile', async () => {
    const { clock, line, pull, during } = rig({ mbit: 2, windows: [{ from: '08:00', to: '18:00', mbit: 0 }] }, new Date(2030, 0, 1, 7, 59, 55));
    const told: (string | undefined)[] = [];
    line.onChange(() => told.push(line.stopped));
    for (let n = 0; n < 100; n++) void pull('chunk', 64 * KIB);
    expect(await during(6)).toBeGreaterThan(5 * 240_000);
    expect(await during(60)).toBe(0);
    expect(line.stopped).toMatch(/window/);
    await clock.advance(new Date(2030, 0, 1, 17, 59, 59).getTime() - clock.now());
    expect(await during(1)).toBe(0);
    expect(await during(10)).toBeGreaterThan(9 * 240_000);
    expect(told).toEqual([undefined, expect.stringMatching(/window/), undefined]);
  });

  it('never holds up signed files', async () => {
    const { clock, pull } = rig({ mbit: 0 }, new Date(2030, 0, 1));
    for (let n = 0; n < 100; n++) void pull('chunk', 64 * KIB);
    await clock.advance(5 * SECOND);
    let here = false;
    void pull('metadata', 5 * KIB).then(() => {
      here = true;
    });
    await clock.advance(0);
    expect(here).toBe(true);
  });
});
