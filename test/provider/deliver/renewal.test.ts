import { cp } from 'node:fs/promises';
import { dirname, join } from 'node:path';
import { afterAll, beforeAll, expect, test } from 'vitest';
import { Assigner } from '../../../provider/deliver/assigner.ts';
import { ChunkIndex } from '../../../provider/deliver/chunk-index.ts';
import { keepRenewing } from '../../../provider/deliver/renewal.ts';
import { Repositories } from '../../../provider/deliver/repositories.ts';
import { readOfflineMetadata, readOnlineKeys } from '../../../provider/deliver/trust-directory.ts';
import { replaceAssignment } from '../../../provider/publish/ceremony.ts';
import { LogRegistry } from '../../../provider/registry/log-registry.ts';
import { MemoryTable } from '../../../provider/registry/memory-table.ts';
import { KeyVault } from '../../../provider/secrecy/vault.ts';
import type { Clock } from '../../../shared/base/clock.ts';
import { silentLog } from '../../../shared/base/log.ts';
import { MemoryChunkStore } from '../../../shared/store/memory-chunk-store.ts';
import { checkSignedBy, inspectMetadata } from '../../../shared/trust/inspect.ts';
import { createSigningKey, writeSigningKey } from '../../../shared/trust/keys.ts';
import { temporaryDirectory } from '../../support/temporary-directory.ts';
import { Vendor } from '../provider-rig.ts';

const DAY = 86_400_000;
const SCOPE = { customer: 'acme', site: 'north', group: 'ct' } as const;
let vendor: Vendor;
beforeAll(async () => {
  vendor = await Vendor.found();
});
afterAll(() => vendor.close());

/** Nothing here is encrypted. */
async function noSecrets(): Promise<{ vault: KeyVault; index: ChunkIndex }> {
  return { vault: await KeyVault.open(await temporaryDirectory()), index: new ChunkIndex(new MemoryChunkStore()) };
}

/** Sleeping takes no time: the clock jumps to where the sleeper wants to be, until the given day. */
function jumping(start: number, end: number, stop: AbortController, woken: () => Promise<void>): Clock {
  let now = start;
  return {
    now: () => now,
    monotonic: () => now,
    sleep: async (ms) => {
      now += ms;
      await woken();
      if (now <= end) return;
      stop.abort();
      throw new Error('the end');
    },
  };
}

test('over a year no signed role ever has less than 29 days left, sequences stay, and every renewal is offered', async () => {
  const start = Date.now();
  const stop = new AbortController();
  const freshness: number[] = [];
  // Looked at when the renewal wakes up, before it does anything: then what is left is least.
  const measure = async (): Promise<void> => {
    const [newest] = (await repositories.get(SCOPE))?.generations ?? [];
    for (const [name, hash] of Object.entries(newest?.files ?? {})) {
      const role = /^(?:\d+\.)?(assignment|snapshot|timestamp)\.json$/.exec(name)?.[1];
      const bytes = await repositories.content(hash);
      if (role !== undefined && bytes !== undefined) freshness.push(inspectMetadata(role, bytes).expires.getTime() - clock.now());
    }
  };
  const clock = jumping(start, start + 365 * DAY, stop, measure);
  const registry = new LogRegistry(new MemoryTable(), { clock, log: silentLog });
  const repositories = new Repositories(registry);
  const offline = await readOfflineMetadata(vendor.layout.metadata);
  const assigner = new Assigner({
    ...(await noSecrets()),
    registry,
    repositories,
    keys: await readOnlineKeys(vendor.layout.online),
    offline: () => offline,
    actor: 'provider/main',
    clock,
    log: silentLog,
  });
  await assigner.assign(SCOPE, { releases: [], withdrawn: [] });
  const gone = { ...SCOPE, customer: 'gone' };
  await assigner.assign(gone, { releases: [], withdrawn: [] });
  let offers = 0;
  const offer = async (): Promise<void> => {
    offers++;
    expect((await repositories.get(SCOPE))?.sequence).toBe(1);
  };
  const serially = <T>(work: () => Promise<T>): Promise<T> => work();
  const retired = async (customer: string): Promise<boolean> => customer === 'gone';
  await keepRenewing({ repositories, assigner, offer, retired, serially, clock, log: silentLog, signal: stop.signal });
  expect(offers).toBeGreaterThanOrEqual(20);
  expect(Math.min(...freshness)).toBeGreaterThan(29 * DAY);
  expect((await registry.check()).differences).toEqual([]);
  expect(registry.head.sequence).toBe(2);
  // Nothing is signed for a customer that left.
  expect((await repositories.get(gone))?.versions.timestamp).toBe(1);
});

test('after a ceremony everything is signed anew at once, although nothing is due: the keys before may be a thief’s', async () => {
  const stop = new AbortController();
  const start = Date.now();
  const clock = jumping(start, start, stop, async () => undefined);
  const registry = new LogRegistry(new MemoryTable(), { clock, log: silentLog });
  const repositories = new Repositories(registry);
  const assignerOf = async (online: string): Promise<Assigner> => {
    const offline = await readOfflineMetadata(vendor.layout.metadata);
    return new Assigner({
      ...(await noSecrets()),
      ...{ registry, repositories, actor: 'provider/main', clock, log: silentLog },
      ...{ keys: await readOnlineKeys(online), offline: () => offline },
    });
  };
  const before = await assignerOf(vendor.layout.online);
  await before.assign(SCOPE, { releases: [], withdrawn: [] });
  const stored = await repositories.get(SCOPE);
  if (stored === undefined) throw new Error('nothing was assigned');
  expect(await before.renew(stored)).toBe(false);

  const key = await createSigningKey();
  const online = await temporaryDirectory();
  for (const role of ['snapshot', 'timestamp']) await cp(join(vendor.layout.online, `${role}.pem`), join(online, `${role}.pem`));
  await writeSigningKey(join(online, 'assignment.pem'), key);
  const made = await replaceAssignment({ directory: dirname(vendor.layout.metadata), key });
  expect(await replaceAssignment({ directory: dirname(vendor.layout.metadata), key })).toEqual(made);
  const offered: unknown[] = [];
  await keepRenewing({
    ...{ repositories, assigner: await assignerOf(online), clock, log: silentLog, signal: stop.signal },
    offer: async ({ customer, site, group }) => void offered.push({ customer, site, group }),
    retired: async () => false,
    serially: (work) => work(),
  });
  expect(offered).toEqual([SCOPE]);
  const renewed = await repositories.get(SCOPE);
  const hash = Object.entries(renewed?.generations[0]?.files ?? {}).find(([name]) => name.endsWith('assignment.json'))?.[1] ?? '';
  checkSignedBy('assignment', (await repositories.content(hash)) ?? Buffer.alloc(0), key);
  expect(renewed).toMatchObject({ sequence: 1, versions: { timestamp: 2 } });
});
