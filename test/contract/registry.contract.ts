import { describe, expect, onTestFinished, test } from 'vitest';
import type { Change } from '../../provider/registry/changes.ts';
import type { Registry } from '../../provider/registry/registry.ts';
import { keys, prefixes } from '../../provider/registry/rows.ts';
import { sha256 } from '../../shared/bundle/digest.ts';
import type { Statement } from '../../shared/wire/messages.ts';
import { confirmation, inventory, manifestOf } from '../provider/statements.ts';

const SCOPE = { customer: 'acme', site: 'north', group: 'ct' } as const;
const ROLE = { version: 1, sha256: manifestOf('role') };

export function released(application: string, version: string, roleVersion = 1): Change {
  return {
    type: 'release-published',
    application,
    version,
    manifest: manifestOf(`${application} ${version}`),
    manifestSize: 500,
    size: 1000,
    files: 2,
    chunks: 3,
    role: { ...ROLE, version: roleVersion },
  };
}

export function stated(statement: Statement): Change {
  return { type: 'statement', payload: Buffer.from(JSON.stringify(statement)).toString('base64'), signature: '', chain: manifestOf('chain') };
}

export async function append(registry: Registry, ...changes: readonly Change[]): Promise<void> {
  for (const change of changes) await registry.transact('ops/test', () => ({ result: undefined, change }));
}

export const FOUNDED: readonly Change[] = [
  { type: 'customer-added', customer: 'acme', name: 'Acme' },
  { type: 'site-added', customer: 'acme', site: 'north' },
  { type: 'site-added', customer: 'acme', site: 'south' },
  { type: 'group-added', customer: 'acme', group: 'ct' },
  { type: 'group-added', customer: 'acme', group: 'pumps' },
  { type: 'device-added', ...SCOPE, device: 'ct-1' },
];

async function all<T>(rows: AsyncIterable<T>): Promise<T[]> {
  const found: T[] = [];
  for await (const row of rows) found.push(row);
  return found;
}

/**
 * What every registry does.
 * @param open an empty one
 * @param reopen the same one after a clean stop; undefined: it does not outlive its process
 */
export function registryContract(name: string, open: () => Promise<Registry>, reopen?: (closed: Registry) => Promise<Registry>): void {
  const fresh = async (): Promise<Registry> => {
    const registry = await open();
    onTestFinished(() => registry.close());
    return registry;
  };
  const refused = async (registry: Registry, change: Change, code: string): Promise<void> => {
    const { head } = registry;
    await expect(append(registry, change)).rejects.toMatchObject({ code });
    expect(registry.head).toEqual(head);
  };

  describe(name, () => {
    test('starts empty', async () => {
      const registry = await fresh();
      expect(registry.head).toEqual({ sequence: 0, hash: '0'.repeat(64) });
      expect(await all(registry.list(prefixes.customers()))).toEqual([]);
      expect(await registry.check()).toEqual({ entries: 0, head: '0'.repeat(64), rows: 0, differences: [], intact: true });
    });

    test('keeps customers, sites, groups and devices, in order, and each once', async () => {
      const registry = await fresh();
      await append(registry, ...FOUNDED, { type: 'customer-added', customer: 'zeta' }, { type: 'site-added', customer: 'zeta', site: 'hq' });
      expect(await all(registry.list(prefixes.customers()))).toEqual([{ customer: 'acme', name: 'Acme' }, { customer: 'zeta' }]);
      expect((await all(registry.list(prefixes.sites('acme')))).map((row) => row.site)).toEqual(['north', 'south']);
      expect((await all(registry.list(prefixes.sites()))).map((row) => row.site)).toEqual(['north', 'south', 'hq']);
      expect((await all(registry.list(prefixes.groups('acme')))).map((row) => row.group)).toEqual(['ct', 'pumps']);
      expect(await registry.get(keys.device('acme', 'ct-1'))).toEqual({ ...SCOPE, device: 'ct-1' });
      for (const change of FOUNDED) await refused(registry, change, 'CONFLICT');
    });

    test('a customer is not mistaken for another whose name begins alike', async () => {
      const registry = await fresh();
      for (const customer of ['a', 'a-b', 'ab']) await append(registry, { type: 'customer-added', customer }, { type: 'site-added', customer, site: customer });
      expect((await all(registry.list(prefixes.sites('a')))).map((row) => row.site)).toEqual(['a']);
    });

    test('refuses what belongs to nothing', async () => {
      const registry = await fresh();
      await append(registry, ...FOUNDED);
      await refused(registry, { type: 'site-added', customer: 'nobody', site: 'x' }, 'NOT_FOUND');
      await refused(registry, { type: 'device-added', ...SCOPE, site: 'west', device: 'ct-9' }, 'NOT_FOUND');
      await refused(registry, { type: 'device-moved', ...SCOPE, device: 'ct-9' }, 'NOT_FOUND');
      await refused(registry, { type: 'device-removed', customer: 'acme', device: 'ct-9' }, 'NOT_FOUND');
      await refused(registry, { type: 'current-set', ...SCOPE, site: null, application: 'viewer', version: '1.0.0', allowDowngrade: false }, 'NOT_FOUND');
      await refused(registry, { type: 'release-withdrawn', application: 'viewer', version: '1.0.0', reason: 'x' }, 'NOT_FOUND');
    });

    test('a device that moves or is removed is a member of its new group, or of none', async () => {
      const registry = await fresh();
      await append(registry, ...FOUNDED, { type: 'device-moved', customer: 'acme', device: 'ct-1', site: 'south', group: 'pumps' });
      expect(await all(registry.list(prefixes.members('acme', 'north', 'ct')))).toEqual([]);
      expect((await all(registry.list(prefixes.members('acme', 'south', 'pumps')))).map((row) => row.device)).toEqual(['ct-1']);
      await append(registry, { type: 'device-removed', customer: 'acme', device: 'ct-1' });
      expect(await all(registry.list(prefixes.members('acme')))).toEqual([]);
      expect(await all(registry.list(prefixes.devices('acme')))).toEqual([]);
    });

    test('keeps releases, and a version means one content for ever', async () => {
      const registry = await fresh();
      await append(registry, released('viewer', '1.0.0'), released('viewer', '1.1.0', 2));
      expect((await all(registry.list(prefixes.releases('viewer')))).map((row) => row.version)).toEqual(['1.0.0', '1.1.0']);
      await refused(registry, released('viewer', '1.0.0', 3), 'CONFLICT');
      await refused(registry, { ...released('viewer', '0.9.0'), role: { version: 1, sha256: manifestOf('other') } } as Change, 'CONFLICT');
      await append(registry, { type: 'release-withdrawn', application: 'viewer', version: '1.0.0', reason: 'broken' });
      expect(await registry.get(keys.release('viewer', '1.0.0'))).toMatchObject({ withdrawn: { reason: 'broken' } });
      await refused(registry, { type: 'release-withdrawn', application: 'viewer', version: '1.0.0', reason: 'again' }, 'CONFLICT');
    });

    test('keeps current versions per group, with overrides of single sites', async () => {
      const registry = await fresh();
      const set = (site: string | null, version: string | null): Change => ({
        type: 'current-set',
        customer: 'acme',
        group: 'ct',
        site,
        application: 'viewer',
        version,
        allowDowngrade: false,
      });
      await append(registry, ...FOUNDED, released('viewer', '1.0.0'), released('viewer', '1.1.0', 2));
      const rows = async (): Promise<unknown> => (await registry.get(keys.current('acme', 'ct')))?.map((row) => [row.site, row.version]);
      await append(registry, set(null, '1.0.0'), set('south', '1.1.0'));
      expect(await rows()).toEqual([
        [null, '1.0.0'],
        ['south', '1.1.0'],
      ]);
      await append(registry, set('south', null), set(null, '1.1.0'));
      expect(await rows()).toEqual([
        [null, '1.1.0'],
        ['south', null],
      ]);
      await append(registry, { type: 'release-withdrawn', application: 'viewer', version: '1.0.0', reason: 'x' });
      await refused(registry, set(null, '1.0.0'), 'CONFLICT');
    });

    test('keeps the newest bundle of a group, and its sequence only rises', async () => {
      const registry = await fresh();
      const bundle = (sequence: number): Change => ({ type: 'bundle-assigned', ...SCOPE, sequence, bundle: manifestOf('b'), releases: [], withdrawn: [] });
      await append(registry, ...FOUNDED, bundle(1), bundle(3));
      expect(await registry.get(keys.bundle(SCOPE))).toMatchObject({ sequence: 3 });
      await refused(registry, bundle(3), 'CONFLICT');
    });

    test('statements give standing, history and trace', async () => {
      const registry = await fresh();
      const first = confirmation('ct-1', 4, { version: '1.0.0' });
      await append(registry, ...FOUNDED, released('viewer', '1.0.0'), stated(first), stated(inventory('ct-1', 5, { viewer: '1.0.0', driver: '2.0.0' })));
      expect(await registry.get(keys.standing('acme', 'ct-1'))).toMatchObject({
        counter: 5,
        inventory: 5,
        running: [
          { application: 'driver', version: '2.0.0' },
          { application: 'viewer', version: '1.0.0', counter: 5 },
        ],
        results: [{ application: 'viewer', result: 'installed', counter: 4 }],
      });
      const [row] = await all(registry.list(prefixes.history('acme', 'ct-1')));
      expect(row).toMatchObject({ counter: 4, digest: sha256(Buffer.from(JSON.stringify(first))) });
      const traced = await all(registry.list(prefixes.trace('viewer', '1.0.0')));
      const types = await Promise.all(traced.map(async ({ sequence }) => (await registry.entry(sequence))?.change.type));
      expect(types).toEqual(['release-published', 'statement']);
    });

    test('decisions taken at once see each other, and one that fails takes nobody along', async () => {
      const registry = await fresh();
      const order: number[] = [];
      registry.onEntry((entry) => order.push(entry.sequence));
      const settled = await Promise.allSettled([
        append(registry, { type: 'customer-added', customer: 'a' }),
        append(registry, { type: 'customer-added', customer: 'a' }),
        append(registry, { type: 'site-added', customer: 'a', site: 's' }),
        registry.transact('x', () => {
          throw new Error('changed my mind');
        }),
        registry.transact('x', (read) => ({ result: read(keys.site('a', 's')) })),
      ]);
      expect(settled.map((one) => one.status)).toEqual(['fulfilled', 'rejected', 'fulfilled', 'rejected', 'fulfilled']);
      expect(settled[4]).toMatchObject({ value: { result: { customer: 'a', site: 's' }, entry: undefined } });
      expect(order).toEqual([1, 2]);
      expect(await registry.check()).toMatchObject({ entries: 2, differences: [] });
    });

    test('blobs and notes become durable with their change, and are no part of the comparison', async () => {
      const registry = await fresh();
      const bytes = Buffer.from('some metadata');
      const note = { text: 'a/b' };
      await registry.transact('x', () => ({ result: 0, blobs: new Map([[sha256(bytes), bytes]]), notes: [{ key: note, value: { n: 1 } }] }));
      expect(await registry.blob(sha256(bytes))).toEqual(bytes);
      expect(await registry.note(note)).toEqual({ n: 1 });
      expect(await all(registry.notes({ text: 'a/' }))).toEqual([{ n: 1 }]);
      expect(await registry.check()).toMatchObject({ rows: 0, differences: [] });
    });

    test('entries are listed from any sequence on', async () => {
      const registry = await fresh();
      await append(registry, ...FOUNDED);
      expect((await all(registry.entries(4))).map((entry) => entry.sequence)).toEqual([4, 5, 6]);
      expect(await registry.entry(99)).toBeUndefined();
    });

    test('the replayed log gives the same bytes', async () => {
      const registry = await fresh();
      await append(registry, ...FOUNDED, released('viewer', '1.0.0'), stated(confirmation('ct-1', 1)), stated(inventory('ct-1', 2)));
      const checked = await registry.check();
      expect(checked).toMatchObject({ entries: FOUNDED.length + 3, head: registry.head.hash, differences: [] });
      expect(checked.rows).toBeGreaterThan(10);
    });

    if (reopen === undefined) return;
    test('everything is there after a stop', async () => {
      const first = await open();
      await append(first, ...FOUNDED);
      const { head } = first;
      await first.close();
      const second = await reopen(first);
      onTestFinished(() => second.close());
      expect(second.head).toEqual(head);
      await append(second, { type: 'customer-added', customer: 'later' });
      expect(await second.check()).toMatchObject({ entries: FOUNDED.length + 1, differences: [] });
    });
  });
}
