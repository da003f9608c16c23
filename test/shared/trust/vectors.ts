import { split } from '../../../shared/bundle/chunker.ts';
import { sha256 } from '../../../shared/bundle/digest.ts';
import { type Manifest, printManifest } from '../../../shared/bundle/manifest.ts';
import { seededRandom } from '../../support/random.ts';
import { Vendor } from './fixture.ts';

/** The buffer whose chunk boundaries are golden: 4 MiB of mulberry32, the upper byte of each word. */
export function golden(length = 4 * 1024 * 1024, seed = 2026): Buffer {
  const random = seededRandom(seed);
  const bytes = Buffer.alloc(length);
  for (let at = 0; at < length; at++) bytes[at] = Math.floor(random() * 256);
  return bytes;
}

/** Every golden file by name, made anew. */
export function makeVectors(): Map<string, Buffer> {
  const files = new Map<string, Buffer>();
  const bytes = golden();
  const chunks = [...split(bytes)].map((chunk) => ({ hash: sha256(chunk), size: chunk.length }));
  files.set('chunks.json', Buffer.from(`${JSON.stringify({ seed: 2026, length: bytes.length, sha256: sha256(bytes), chunks }, null, 1)}\n`));
  files.set('manifest.json', printManifest(manifest(bytes, chunks)));
  const vendor = new Vendor();
  vendor.roots.push(vendor.root(2));
  const viewer = vendor.release('viewer', '1.0.0');
  const editor = { ...vendor.release('editor', '2.1.0-beta.1'), allowDowngrade: true };
  const withdrawn = [{ application: 'viewer', manifest: sha256(Buffer.from('withdrawn')) }];
  const repository = vendor.repository({ releases: [editor, viewer], sequence: 7, withdrawn, now: new Date('2126-01-01T00:00:00Z') });
  for (const [name, content] of repository.files) files.set(`repository/metadata/${name}`, content);
  for (const [hash, content] of repository.targets) files.set(`repository/targets/${hash}`, content);
  return files;
}

function manifest(bytes: Buffer, chunks: Manifest['files'][number]['chunks']): Manifest {
  const run = Buffer.from('#!/bin/sh\nexit 0\n');
  return {
    format: 1,
    application: 'viewer',
    version: '1.2.3-rc.1',
    size: bytes.length + run.length,
    minimumAgent: '0.1.0',
    sbom: { url: 'https://vendor.example/viewer/sbom.json', sha256: sha256(Buffer.from('sbom')) },
    hooks: { check: { path: 'bin/run', timeoutMs: 5000 }, preActivate: { path: 'bin/run' } },
    files: [
      { path: 'bin/run', size: run.length, mode: 0o755, sha256: sha256(run), chunks: [{ hash: sha256(run), size: run.length }] },
      { path: 'data/größe.bin', size: bytes.length, mode: 0o644, sha256: sha256(bytes), chunks },
      { path: 'empty', size: 0, mode: 0o644, sha256: sha256(Buffer.alloc(0)), chunks: [] },
    ],
    links: [{ path: 'current', link: 'bin/run' }],
  };
}
