import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { systemClock } from '../../shared/base/clock.ts';
import { filesOf } from '../support/files.ts';
import { seededRandom } from '../support/random.ts';
import { hashTree } from '../support/tree.ts';
import { World } from '../support/world.ts';

const SEED = Number(process.env['WARDCAST_SEED'] ?? Math.floor(Math.random() * 1e9));
const ROUNDS = 4;

describe(`SIGKILL of every daemon at random moments (seed ${SEED})`, () => {
  let world: World;
  const trees = new Map<string, string>();
  beforeAll(async () => {
    world = await World.create({ plan: { acme: { north: { ct: ['ct-1', 'ct-2'], pump: ['pump-1'] } } }, applications: ['viewer', 'driver'], lineMbit: 80 });
    await world.start();
  });
  afterAll(async () => world?.close());

  it('leaves the database equal to the devices, whole releases on every disk, and nothing installed twice', async () => {
    const random = seededRandom(SEED);
    const daemons = [world.provider, world.site('north').daemon, ...[...world.devices.values()].map((device) => device.daemon)];
    for (let round = 1; round <= ROUNDS; round++) {
      const version = `1.${round}.0`;
      trees.set(`viewer ${version}`, await world.publish('viewer', version, filesOf('viewer', version, 4_000_000)));
      trees.set(`driver ${version}`, await world.publish('driver', version, filesOf('driver', version, 1_000_000)));
      await world.setCurrent('acme', 'ct', 'viewer', version);
      await world.setCurrent('acme', 'pump', 'driver', version);
      for (let kills = 0; kills < 3; kills++) {
        await systemClock.sleep(Math.floor(random() * 700));
        const victim = daemons[Math.floor(random() * daemons.length)];
        if (victim === undefined) continue;
        await victim.kill();
        await systemClock.sleep(Math.floor(random() * 300));
        await victim.start();
      }
      await world.untilUpToDate();
    }

    for (const row of (await world.status()).devices) {
      const installed = await world.installed(world.device(row.device), row.application);
      expect(installed?.version).toBe(row.customerVersion);
      expect(installed?.files).toEqual(await hashTree(trees.get(`${row.application} ${row.customerVersion}`) ?? ''));
    }

    const ops = await world.ops();
    const installations = new Map<string, number>();
    for (let from = 0; ; ) {
      const entries = await ops.call('log.list', { from, limit: 500 });
      for (const { change } of entries) {
        const text = JSON.stringify(change);
        const statement = confirmationIn(change);
        if (statement === undefined) continue;
        expect(text).toContain(statement.device);
        const key = `${statement.device} ${statement.application} ${statement.version} ${statement.sequence}`;
        installations.set(key, (installations.get(key) ?? 0) + 1);
      }
      const last = entries.at(-1);
      if (last === undefined || entries.length < 500) break;
      from = last.sequence + 1;
    }
    expect(installations.size).toBeGreaterThanOrEqual(ROUNDS * 3);
    expect([...installations].filter(([, times]) => times !== 1)).toEqual([]);
    expect((await ops.call('registry.check', {})).differences).toEqual([]);
  });
});

interface Installed {
  readonly device: string;
  readonly application: string;
  readonly version: string;
  readonly sequence: number;
}

/** The confirmation of a finished installation inside a log entry, wherever the change holds it. */
function confirmationIn(value: unknown): Installed | undefined {
  if (typeof value !== 'object' || value === null) return undefined;
  if ('type' in value && value.type === 'confirmation' && 'result' in value && value.result === 'installed') {
    const { device, application, version, sequence } = value as typeof value & Installed;
    return { device, application, version, sequence };
  }
  for (const part of Object.values(value)) {
    const found = confirmationIn(part);
    if (found !== undefined) return found;
  }
  return undefined;
}
