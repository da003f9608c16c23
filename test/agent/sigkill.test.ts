import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { systemClock } from '../../shared/base/clock.ts';
import { DeviceRig } from '../support/device-rig.ts';
import { bytesOf } from '../support/files.ts';
import { type MadeRelease, madeRelease } from '../support/made-release.ts';
import { seededRandom } from '../support/random.ts';
import { ScriptedGateway, Vendor } from '../support/scripted-gateway.ts';

const ct = { customer: 'acme', site: 'north', group: 'ct' };
const steady = bytesOf('steady', 1_500_000);
const hooks = { postActivate: { path: 'start.sh' }, check: { path: 'check.sh' } };
const release = (version: string, check = 'sleep 0.1'): MadeRelease =>
  madeRelease({
    version,
    files: {
      VERSION: version,
      'lib/steady': steady,
      'lib/engine': bytesOf(`engine ${version}`, 1_500_000),
      'start.sh': '#!/bin/sh\nsleep 0.05\n',
      'check.sh': `#!/bin/sh\n${check}\n`,
    },
    hooks,
  });
const SEED = 20_261;
const good = Array.from({ length: 5 }, (_, index) => release(`1.${index}.0`));
/** A release that takes its device down whenever it is checked: it kills the agent, which is its parent. */
const deadly = release('2.0.0', 'kill -9 $PPID; sleep 1');
const all = [...good, deadly];

let folder: string;
let vendor: Vendor;
beforeAll(async () => {
  folder = await mkdtemp(join(tmpdir(), 'wardcast-kill-'));
  vendor = await Vendor.create(folder, [{ group: 'ct', device: 'ct-1' }]);
  vendor.publish(...all);
}, 120_000);
afterAll(() => rm(folder, { recursive: true, force: true }));

describe('an agent process that is killed', () => {
  it(`at random moments of installations (seed ${SEED}) runs the old or the new release entire, ends the work at the next start, and says each outcome once`, async () => {
    const random = seededRandom(SEED);
    const gateway = await ScriptedGateway.start(vendor);
    const device = await DeviceRig.create(vendor, 'ct-1', join(folder, 'random'), `127.0.0.1:${gateway.port}`);
    try {
      let before: MadeRelease | undefined;
      await device.daemon.start();
      for (const wanted of good) {
        gateway.onRead = async (kind, _name, bytes) => {
          // A line slow enough that a kill falls into the fetching as often as into the rest.
          if (kind === 'chunk') await systemClock.sleep(20);
          return bytes;
        };
        await gateway.offer(vendor.assign(ct, [wanted]));
        for (let kills = 0; kills < 2; kills++) {
          await systemClock.sleep(random() * 900);
          await device.daemon.kill();
          const now = await device.runs('viewer', all);
          expect([before, wanted]).toContain(now);
          await device.daemon.start();
        }
        await gateway.until(() => gateway.confirmations().some((c) => c.version === wanted.version && c.result === 'installed'));
        expect(await device.runs('viewer', all)).toBe(wanted);
        before = wanted;
      }
      const said = gateway.confirmations().map((c) => `${c.version} ${c.result}`);
      expect(said).toEqual(good.map((made) => `${made.version} installed`));
      // Same outcome, same bytes: what was said twice was the same statement.
      const counters = new Map<number, string>();
      for (const statement of gateway.statements) {
        const text = JSON.stringify(statement);
        expect(counters.get(statement.counter) ?? text).toBe(text);
        counters.set(statement.counter, text);
      }
      expect(await device.daemon.stop()).toBe(0);
    } finally {
      await device.stop();
      await gateway.close();
    }
  }, 180_000);

  it('by the release itself, three times, goes back to the old one and marks the release bad', async () => {
    const gateway = await ScriptedGateway.start(vendor);
    const device = await DeviceRig.create(vendor, 'ct-1', join(folder, 'deadly'), `127.0.0.1:${gateway.port}`);
    const [first] = good;
    try {
      await gateway.offer(vendor.assign(ct, first === undefined ? [] : [first]));
      await device.daemon.start();
      await gateway.until(() => gateway.confirmations().length === 1);
      await gateway.offer(vendor.assign(ct, [deadly]));
      for (let life = 1; life <= 3; life++) {
        while (device.daemon.running) await systemClock.sleep(20);
        expect(await device.runs('viewer', all)).toBe(deadly);
        device.daemon.launch();
      }
      await gateway.until(() => gateway.confirmations().length === 2);
      expect(gateway.confirmations().at(-1)).toMatchObject({ version: '2.0.0', result: 'rolled-back', reason: { code: 'STARTS_EXHAUSTED' } });
      expect(await device.runs('viewer', all)).toBe(first);
      // Offered again in a later bundle: refused, and said.
      await gateway.offer(vendor.assign(ct, [deadly]));
      await gateway.until(() => gateway.confirmations().length === 3);
      expect(gateway.confirmations().at(-1)).toMatchObject({ version: '2.0.0', result: 'refused', reason: { code: 'RELEASE_REFUSED' } });
      expect(device.daemon.running).toBe(true);
    } finally {
      await device.stop();
      await gateway.close();
    }
  }, 120_000);
});
