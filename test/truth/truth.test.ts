import fc from 'fast-check';
import { afterAll, beforeAll, expect, test } from 'vitest';
import { checkRegistry } from '../../provider/registry/level-registry.ts';
import { keys } from '../../provider/registry/rows.ts';
import { Vendor } from '../provider/provider-rig.ts';
import { acts } from './acts.ts';
import { dataOf } from './record.ts';
import { World } from './world.ts';

/** How long it looks, and from which seed: TRUTH_SECONDS and TRUTH_SEED. */
const SECONDS = Number(process.env['TRUTH_SECONDS'] ?? 8);
const SEED = process.env['TRUTH_SEED'];

let vendor: Vendor;
beforeAll(async () => {
  vendor = await Vendor.found();
});
afterAll(() => vendor.close());

/** The registry is what the devices run and said, each thing once; and the log alone gives the same bytes. */
async function expectTruth(world: World): Promise<void> {
  const { registry } = await world.record();
  let bytes = 0;
  for (const name of ['ct-1', 'ct-2'] as const) {
    const standing = await registry.get(keys.standing('acme', name));
    const told = standing?.running.filter(({ version }) => version !== null).map(({ application, version, manifest }) => [application, { version, manifest }]);
    expect(told, `what ${name} runs`).toEqual([...(await (await world.device(name)).truth())]);
  }
  const recorded: string[] = [];
  for await (const { change } of registry.entries(1)) if (change.type === 'statement') recorded.push(change.payload);
  expect(
    recorded.filter((payload) => !world.said.signed.has(payload)),
    'on the log, though no device said it',
  ).toEqual([]);
  expect(recorded.length - new Set(recorded).size, 'statements that are on the log twice').toBe(0);
  const said = new Set(recorded.map((payload) => Buffer.from(payload, 'base64').toString()));
  expect(
    [...world.said.confirmed.keys()].filter((confirmation) => !said.has(confirmation)),
    'confirmations that are not on the log',
  ).toEqual([]);
  for (const each of world.said.confirmed.values()) bytes += each;
  const moved = await registry.get(keys.siteMoved('acme', 'north'));
  expect([moved?.gateway ?? 0, moved?.confirmations ?? 0], 'bytes and confirmations summed up').toEqual([bytes, world.said.confirmed.size]);
  if (!world.altered) expect(world.log.all('log.rewritten'), 'nobody rewrote anything').toEqual([]);
  const live = await registry.check();
  expect(live.differences).toEqual([]);
  await world.act({ type: 'crash', who: 'provider', stays: true });
  // What `wardcast registry rebuild --check` does.
  expect(await checkRegistry(dataOf(world.directory))).toEqual(live);
}

test(
  'whatever is lost, repeated, reordered, forged or killed, and whatever the clocks say: once the devices are heard, the registry is what they run',
  async () => {
    await fc.assert(
      fc.asyncProperty(acts, async (all) => {
        const world = await World.create(vendor);
        try {
          for (const act of all) await world.act(act);
          await world.heal();
          await expectTruth(world);
        } finally {
          await world.close();
        }
      }),
      {
        numRuns: SECONDS * 1000,
        interruptAfterTimeLimit: SECONDS * 1000,
        markInterruptAsFailure: false,
        ...(SEED === undefined ? {} : { seed: Number(SEED) }),
      },
    );
  },
  (SECONDS + 120) * 1000,
);
