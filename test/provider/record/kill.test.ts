import { mkdtemp, rm } from 'node:fs/promises';
import { availableParallelism, tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, beforeAll, expect, test } from 'vitest';
import { seal } from '../../../certs/envelope.ts';
import { checkRegistry, openLevelRegistry } from '../../../provider/registry/level-registry.ts';
import { keys } from '../../../provider/registry/rows.ts';
import { systemClock } from '../../../shared/base/clock.ts';
import { silentLog } from '../../../shared/base/log.ts';
import { sha256 } from '../../../shared/bundle/digest.ts';
import { Receipts, type Signed } from '../../../shared/wire/messages.ts';
import type { Daemon } from '../../support/daemon.ts';
import { Operator, readReceipts, Uplinked, Vendor } from '../provider-rig.ts';
import { confirmation } from '../statements.ts';

/** Receipts after which a life ends, statements signed before it, and how many are under way at once. The third is a rush. */
const LIVES = [
  { patience: 15, ready: 0, atOnce: 16 },
  { patience: 60, ready: 0, atOnce: 16 },
  { patience: 400, ready: 1200, atOnce: 1200 },
] as const;
let vendor: Vendor;
let data = '';
beforeAll(async () => {
  vendor = await Vendor.found();
  data = await mkdtemp(join(tmpdir(), 'wardcast-kill-'));
});
afterAll(async () => {
  await vendor.close();
  await rm(data, { recursive: true, force: true });
});

test('kill -9 in the middle of recording: everything receipted is on the log afterwards, and the registry is what the log says', async () => {
  const provider = await vendor.process(data);
  await provider.start();
  const operator = await new Operator(vendor.credentials('ops'), portOf(provider)).up();
  await operator.founded();
  await operator.close();
  let counter = 0;
  const receipted = new Map<number, string>();
  // Each killed after some receipts, while more statements are under way.
  for (const { patience, ready, atOnce } of LIVES) {
    const gateway = await new Uplinked(vendor.credentials('gateway'), portOf(provider)).up();
    const device = vendor.credentials('ct-1');
    const digests = new Map<number, string>();
    let going = true;
    const next = (): Signed => {
      const statement = confirmation('ct-1', ++counter);
      const payload = Buffer.from(JSON.stringify(statement));
      digests.set(statement.counter, sha256(payload));
      return seal(payload, device);
    };
    const signed = Array.from({ length: ready }, next);
    const talk = async (): Promise<void> => {
      while (going) {
        try {
          await gateway.say('statement', signed.shift() ?? next());
        } catch {
          return;
        }
      }
    };
    const talking = Array.from({ length: atOnce }, talk);
    await gateway.hears((verb) => (verb === 'receipt' && receiptsOf(gateway.heard) >= patience ? true : undefined));
    await provider.kill();
    going = false;
    await gateway.close();
    await Promise.all(talking);
    for (const { verb, payload } of gateway.heard) {
      if (verb !== 'receipt') continue;
      for (const receipt of readReceipts(payload, vendor.credentials('gateway').rootPem)) {
        expect(receipt).toMatchObject({ outcome: 'recorded', digest: digests.get(receipt.counter) });
        receipted.set(receipt.counter, receipt.digest);
      }
    }
    expect(await checkRegistry(data)).toMatchObject({ differences: [] });
    await provider.start();
  }
  expect(await provider.stop()).toBe(0);
  const registry = await openLevelRegistry(data, { clock: systemClock, log: silentLog });
  // The third life was a rush: its statements were verified by threads of their own.
  expect(provider.lines.some((line) => line.event === 'checkers.started')).toBe(availableParallelism() > 1);
  expect(receipted.size).toBeGreaterThan(200);
  for (const [told, digest] of receipted) expect(await registry.get(keys.history('acme', 'ct-1', told))).toMatchObject({ digest });
  expect((await registry.get(keys.standing('acme', 'ct-1')))?.counter).toBeGreaterThanOrEqual(Math.max(...receipted.keys()));
  await registry.close();
});

function receiptsOf(heard: Uplinked['heard']): number {
  return heard.reduce((sum, { verb, payload }) => sum + (verb === 'receipt' ? Receipts.parse(JSON.parse(payload.toString())).receipts.length : 0), 0);
}

function portOf(provider: Daemon): number {
  const ready = provider.lines.findLast((line) => line.event === 'ready');
  return Number(ready?.['port']);
}
