import { join } from 'node:path';
import fc from 'fast-check';
import { expect, it } from 'vitest';
import { silentLog } from '../../../shared/base/log.ts';
import { type GroupView, refreshGroupView } from '../../../shared/trust/client.ts';
import { temporaryDirectory } from '../../support/temporary-directory.ts';
import { SCOPE, TestSource, Vendor } from './fixture.ts';

const content = ({ bundle, bundleHash, timestampVersion, manifests, targets }: GroupView): unknown => ({
  bundle,
  bundleHash,
  timestampVersion,
  manifests,
  targets,
});

it('one changed byte anywhere in metadata, bundle or manifest is refused or changes nothing', async () => {
  const vendor = new Vendor();
  vendor.roots.push(vendor.root(2));
  const genuine = vendor.repository({ releases: [vendor.release('editor', '2.0.0'), vendor.release('viewer', '1.0.0')] });
  const base = await temporaryDirectory();
  const [factoryRoot = Buffer.alloc(0)] = vendor.roots;
  let run = 0;
  const refresh = (source: TestSource): Promise<GroupView> => {
    run += 1;
    return refreshGroupView({ directory: join(base, String(run)), factoryRoot, scope: SCOPE, log: silentLog, source });
  };
  const expected = await refresh(genuine);
  const served = [...expected.metadata.keys()].filter((name) => name !== '1.root.json');
  const hashes = [...expected.targets.keys()];
  let refused = 0;
  const once = fc.asyncProperty(
    fc.constantFrom(...served, ...hashes),
    fc.double({ min: 0, max: 1, maxExcluded: true, noNaN: true }),
    fc.integer({ min: 1, max: 255 }),
    async (name, where, flip) => {
      const source = new TestSource(genuine.files, genuine.targets, genuine.versions);
      const from = hashes.includes(name) ? source.targets : source.files;
      const bytes = Buffer.from(from.get(name) ?? Buffer.alloc(0));
      const at = Math.floor(where * bytes.length);
      bytes[at] = (bytes[at] ?? 0) ^ flip;
      from.set(name, bytes);
      let view: GroupView;
      try {
        view = await refresh(source);
      } catch (error) {
        refused += 1;
        expect(error).toHaveProperty(
          'code',
          expect.stringMatching(/^(METADATA_(INVALID|UNTRUSTED|ROLLBACK|MISSING|EXPIRED)|BUNDLE_(SCOPE|INVALID)|HASH_MISMATCH|LIMIT_EXCEEDED)$/),
        );
        return;
      }
      expect(content(view)).toEqual(content(expected));
    },
  );
  await fc.assert(once, { numRuns: 60 });
  expect(refused).toBeGreaterThan(50);
});
