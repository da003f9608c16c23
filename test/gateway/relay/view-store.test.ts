import { readdir, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { expect, it } from 'vitest';
import { type CompleteView, completeView } from '../../../gateway/relay/complete-view.ts';
import { ViewStore } from '../../../gateway/relay/view-store.ts';
import { silentLog } from '../../../shared/base/log.ts';
import { printBundle } from '../../../shared/bundle/bundle.ts';
import { sha256 } from '../../../shared/bundle/digest.ts';
import { bytesOf } from '../../support/files.ts';
import { makeRelease } from '../../support/scripted-provider.ts';
import { temporaryDirectory } from '../../support/temporary-directory.ts';

const site = { customer: 'acme', site: 'north' };

function view(sequence: number, content: string): CompleteView {
  const release = makeRelease('viewer', `${sequence}.0.0`, { lib: bytesOf(content, 200_000) });
  const { application, version } = release.manifest;
  const releases = [{ application, version, manifest: release.hash, size: release.bytes.length, allowDowngrade: false }];
  const bundle = { format: 1 as const, ...site, group: 'ct', sequence, releases, withdrawn: [] };
  const bytes = printBundle(bundle);
  return completeView({
    bundle,
    bundleHash: sha256(bytes),
    timestampVersion: sequence,
    manifests: new Map([[release.hash, release.manifest]]),
    patches: new Map(),
    metadata: new Map([['timestamp.json', Buffer.from(`timestamp ${sequence}`)]]),
    targets: new Map([
      [sha256(bytes), bytes],
      [release.hash, release.bytes],
    ]),
  });
}

const plain = (from: CompleteView | undefined): unknown => from && { ...from, has: undefined };

it('gives back after a restart what was saved, and keeps no files beyond it', async () => {
  const directory = await temporaryDirectory();
  const [one, two, three] = [view(1, 'one'), view(2, 'two'), view(3, 'three')];
  const store = new ViewStore({ directory, site, log: silentLog });
  await store.save({ current: one, previous: undefined });
  await store.save({ current: two, previous: one });
  await store.save({ current: three, previous: two });
  const loaded = (await new ViewStore({ directory, site, log: silentLog }).load()).get('ct');
  expect(plain(loaded?.current)).toEqual(plain(three));
  expect(plain(loaded?.previous)).toEqual(plain(two));
  // Marker, and per view: metadata, bundle, manifest.
  expect(await readdir(join(directory, 'ct'))).toHaveLength(7);
});

it('does not serve a view whose files rotted, and does without a damaged previous one', async () => {
  const directory = await temporaryDirectory();
  const [one, two] = [view(1, 'one'), view(2, 'two')];
  const store = new ViewStore({ directory, site, log: silentLog });
  await store.save({ current: two, previous: one });
  await writeFile(join(directory, 'ct', one.bundleHash), 'rot');
  const loaded = (await store.load()).get('ct');
  expect(plain(loaded?.current)).toEqual(plain(two));
  expect(loaded?.previous).toBeUndefined();
  await writeFile(join(directory, 'ct', two.bundleHash), 'rot');
  expect(await store.load()).toEqual(new Map());
  // Relayed again, it is whole again.
  await store.save({ current: two, previous: undefined });
  expect(plain((await store.load()).get('ct')?.current)).toEqual(plain(two));
});

it('refuses the views of another site', async () => {
  const directory = await temporaryDirectory();
  await new ViewStore({ directory, site, log: silentLog }).save({ current: view(1, 'one'), previous: undefined });
  expect(await new ViewStore({ directory, site: { ...site, site: 'south' }, log: silentLog }).load()).toEqual(new Map());
});
