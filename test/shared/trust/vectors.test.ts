import { readdirSync, readFileSync } from 'node:fs';
import { join } from 'node:path';
import { describe, expect, it } from 'vitest';
import { silentLog } from '../../../shared/base/log.ts';
import { parseBundle, printBundle } from '../../../shared/bundle/bundle.ts';
import { Chunker } from '../../../shared/bundle/chunker.ts';
import { sha256 } from '../../../shared/bundle/digest.ts';
import { parseManifest, printManifest } from '../../../shared/bundle/manifest.ts';
import { refreshGroupView } from '../../../shared/trust/client.ts';
import { temporaryDirectory } from '../../support/temporary-directory.ts';
import { SCOPE, TestSource, Vendor } from './fixture.ts';
import { golden, makeVectors } from './vectors.ts';

const folder = join(import.meta.dirname, '../../vectors');
const read = (name: string): Buffer => readFileSync(join(folder, name));
const readAll = (name: string): Map<string, Buffer> => new Map(readdirSync(join(folder, name)).map((file) => [file, read(`${name}/${file}`)]));

describe('golden bytes', () => {
  it.each([...makeVectors().keys()])('%s is still made byte for byte', (name) => {
    expect(makeVectors().get(name)?.equals(read(name))).toBe(true);
  });

  it('chunk boundaries are where they have always been, also in a stream', () => {
    const expected: unknown = JSON.parse(read('chunks.json').toString());
    const bytes = golden();
    const chunker = new Chunker();
    const chunks: Buffer[] = [];
    for (let at = 0; at < bytes.length; at += 10_007) chunks.push(...chunker.push(bytes.subarray(at, at + 10_007)));
    chunks.push(...chunker.end());
    expect(expected).toMatchObject({ chunks: chunks.map((chunk) => ({ hash: sha256(chunk), size: chunk.length })) });
  });

  it('the manifest and the bundle read and print to themselves', () => {
    const manifest = read('manifest.json');
    expect(printManifest(parseManifest(manifest)).equals(manifest)).toBe(true);
    const bundles = [...readAll('repository/targets').values()].filter((bytes) => bytes.includes('"sequence"'));
    expect(bundles).toHaveLength(1);
    for (const bundle of bundles) expect(printBundle(parseBundle(bundle)).equals(bundle)).toBe(true);
  });

  it('the signed repository verifies from its first root', async () => {
    const files = readAll('repository/metadata');
    const source = new TestSource(files, readAll('repository/targets'), new Vendor().repository({ releases: [] }).versions);
    const factoryRoot = files.get('1.root.json') ?? Buffer.alloc(0);
    const view = await refreshGroupView({ directory: join(await temporaryDirectory(), 'trust'), factoryRoot, scope: SCOPE, source, log: silentLog });
    expect(view.bundle.sequence).toBe(7);
    expect(new Map([...view.metadata].sort())).toEqual(new Map([...files].sort()));
  });
});
