import { readdir, readFile, readlink } from 'node:fs/promises';
import path from 'node:path';
import { sha256 } from '../../shared/bundle/digest.ts';
import type { Manifest } from '../../shared/bundle/manifest.ts';

/** What a device really runs: the manifest hash its `current` link names; undefined: nothing. */
export async function runningManifest(installed: string, application: string): Promise<string | undefined> {
  try {
    return path.basename(await readlink(path.join(installed, application, 'current')));
  } catch {
    return undefined;
  }
}

/** Is the tree that runs exactly this release: every file with its bytes, and nothing else? Reads everything anew. */
export async function runsExactly(installed: string, manifest: Manifest): Promise<boolean> {
  const root = path.join(installed, manifest.application, 'current');
  try {
    const entries = await readdir(root, { recursive: true, withFileTypes: true });
    const there = entries.filter((entry) => !entry.isDirectory()).length;
    if (there !== manifest.files.length + manifest.links.length) return false;
    for (const file of manifest.files) if (sha256(await readFile(path.join(root, file.path))) !== file.sha256) return false;
    return true;
  } catch {
    // Not there, or no tree: that is no either.
    return false;
  }
}
