import { randomUUID } from 'node:crypto';
import { join } from 'node:path';
import { expect, it, onTestFinished } from 'vitest';
import { Seen, SeenRecord } from '../../../gateway/seen/seen.ts';
import type { SeenEntry } from '../../../gateway/seen/seen-list.ts';
import { systemClock } from '../../../shared/base/clock.ts';
import type { DeviceIdentity } from '../../../shared/base/identity.ts';
import { silentLog } from '../../../shared/base/log.ts';
import { openState } from '../../../shared/store/state.ts';
import { Table } from '../../../shared/store/table.ts';
import { settle } from '../../support/manual-clock.ts';
import { temporaryDirectory } from '../../support/temporary-directory.ts';

const device: DeviceIdentity = { role: 'device', customer: 'acme', site: 'north', group: 'ct', device: 'ct-1' };

/** A disk that is slow until it is told to go on. */
class SlowTable extends Table<SeenEntry> {
  readonly gate = Promise.withResolvers<void>();
  puts = 0;

  override async put(key: string, value: SeenEntry): Promise<void> {
    this.puts++;
    await this.gate.promise;
    await super.put(key, value);
  }
}

it('a device that says hello without end costs the disk and the memory no more than one that says it once', async () => {
  const state = await openState(join(await temporaryDirectory(), 'state'));
  const table = new SlowTable(state, 'seen', SeenRecord);
  const stop = new AbortController();
  const nothing = (): void => undefined;
  const site = { customer: 'acme', site: 'north' };
  const options = {
    table,
    site,
    line: () => ({ received: 0, unique: 0 }),
    content: () => ({ gateway: 0, bundles: [] }),
    ownClock: () => ({ clock: 90 }),
    report: nothing,
    peers: nothing,
    revoked: () => ({}),
    clock: systemClock,
    log: silentLog,
  };
  const seen = await Seen.open(options);
  const running = seen.run(stop.signal);
  onTestFinished(() => state.close());

  const last = randomUUID();
  for (const instance of [...Array.from({ length: 1000 }, () => randomUUID()), last])
    seen.hello(device, { version: '1.0.0', instance, port: 4711, clock: -7200 }, '127.0.0.1');
  expect(seen.message()).toMatchObject({ clock: 90, devices: [{ instance: last, clock: -7200 }] });
  seen.hello(device, { version: '1.0.0', instance: last, port: 4711 }, '127.0.0.1');
  expect(seen.message().devices[0]).not.toHaveProperty('clock');
  await settle();
  table.gate.resolve();
  stop.abort();
  await running;
  expect(table.puts).toBeLessThanOrEqual(2);
  const kept: SeenEntry[] = [];
  for await (const [, entry] of table.entries()) kept.push(entry);
  expect(kept).toMatchObject([{ instance: last }]);
});
