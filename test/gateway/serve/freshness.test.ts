import { expect, it } from 'vitest';
import { ChunkPull } from '../../../gateway/relay/chunk-pull.ts';
import { completeView } from '../../../gateway/relay/complete-view.ts';
import { Views } from '../../../gateway/relay/views.ts';
import { Bundles } from '../../../gateway/serve/bundles.ts';
import { TIMESTAMP_LIFETIME_DAYS } from '../../../shared/base/limits.ts';
import { silentLog } from '../../../shared/base/log.ts';
import { MemoryChunkStore } from '../../../shared/store/memory-chunk-store.ts';
import { createSigningKey } from '../../../shared/trust/keys.ts';
import { daysFrom } from '../../../shared/trust/repository.ts';
import { signTimestamp } from '../../../shared/trust/sign.ts';
import { DEVICE_A, GATEWAY } from '../../support/broker-rig.ts';
import { bytesOf } from '../../support/files.ts';
import { madeRelease } from '../../support/made-release.ts';
import { ManualClock } from '../../support/manual-clock.ts';

const DAY = 24 * 60 * 60 * 1000;

it('a gateway that heard nothing for as long as a list of the revoked is good gives nobody content any more, until it hears again', async () => {
  if (GATEWAY.role !== 'gateway') throw new Error('no gateway');
  const clock = new ManualClock(Date.UTC(2026, 0, 1));
  const release = madeRelease({ files: { engine: bytesOf('engine', 100_000) } });
  const [hash = ''] = release.chunks.keys();
  const store = new MemoryChunkStore();
  for (const [name, bytes] of release.chunks) await store.put(name, bytes);
  const key = await createSigningKey();
  const scope = { customer: DEVICE_A.customer, site: DEVICE_A.site, group: DEVICE_A.group };
  const views = new Views();
  const hear = (version: number): void => {
    const expires = daysFrom(new Date(clock.now()), TIMESTAMP_LIFETIME_DAYS);
    const timestamp = signTimestamp({ version, expires, keys: [key], scope, snapshot: { version: 1, length: 1, sha256: hash } });
    const view = completeView({
      bundle: { format: 1, ...scope, sequence: 1, releases: [], withdrawn: [] },
      bundleHash: hash,
      timestampVersion: version,
      manifests: new Map([[release.manifestHash, release.manifest]]),
      patches: new Map(),
      metadata: new Map([['timestamp.json', timestamp]]),
      targets: new Map(),
    });
    views.set(scope.group, { current: view, previous: undefined });
  };
  const chunks = new ChunkPull({ store, ask: () => Promise.reject(new Error('the line is down')), log: silentLog });
  const bundles = new Bundles({ gateway: GATEWAY, views, store, chunks, lineUp: () => false, onSent: () => undefined, clock, log: silentLog });
  const overMqtt = (): Promise<Buffer | undefined> => bundles.read(DEVICE_A, { group: scope.group, kind: 'chunk', name: hash });
  const overHttps = (): Promise<Buffer | undefined> | undefined => bundles.give(DEVICE_A, scope)?.chunk(hash);

  hear(1);
  await clock.advance((TIMESTAMP_LIFETIME_DAYS - 1) * DAY);
  for (const get of [overMqtt, overHttps]) expect(await get()).toEqual(release.chunks.get(hash));
  expect(bundles.find(DEVICE_A, scope)?.manifest(release.manifestHash)).toBeDefined();
  await clock.advance(2 * DAY);
  for (const get of [overMqtt, overHttps]) expect(await get()).toBeUndefined();
  // What the swarm asks for.
  expect(bundles.find(DEVICE_A, scope)?.manifest(release.manifestHash)).toBeUndefined();
  expect(await bundles.read(DEVICE_A, { group: scope.group, kind: 'metadata', name: 'timestamp.json' })).toBeDefined();
  hear(2);
  for (const get of [overMqtt, overHttps]) expect(await get()).toEqual(release.chunks.get(hash));
  await chunks.close();
});
