import { createHash } from 'node:crypto';
import { existsSync, readdirSync, readFileSync } from 'node:fs';
import path from 'node:path';

export type Daemon = 'provider' | 'gateway' | 'agent';

/**
 * The daemons bundled ahead by `npm run build`: one JavaScript file each, without types and without what no daemon uses. They start in a third of the
 * time of the sources, which Node has to strip of types first, and take less memory (docs/performance.md).
 */

const PROJECT = path.resolve(import.meta.dirname, '..');
const SOURCES = ['agent', 'gateway', 'provider', 'shared', 'certs'];
/** Beside the programs, written last: the digest of what they were built from. */
export const BUILT_FROM = 'sources.sha256';

/** Where `npm run build` puts them. */
export function builtFolder(project = PROJECT): string {
  return path.join(project, 'dist');
}

/** What the daemons are made of: their sources, and the versions of all packages. */
export function sourcesDigest(project = PROJECT): string {
  const hash = createHash('sha256');
  const add = (name: string): void => void hash.update(`\0${name}\0`).update(readFileSync(path.join(project, name)));
  for (const name of ['package.json', 'package-lock.json']) add(name);
  for (const folder of SOURCES) {
    const names = readdirSync(path.join(project, folder), { recursive: true, encoding: 'utf8' });
    for (const name of names.filter((one) => one.endsWith('.ts')).sort()) add(path.join(folder, name));
  }
  return hash.digest('hex');
}

/** The program that runs a daemon: as built, or its source where nothing is built, or the source was changed since. */
export function programOf(daemon: Daemon, project = PROJECT): string {
  const folder = builtFolder(project);
  const from = path.join(folder, BUILT_FROM);
  const fresh = existsSync(from) && readFileSync(from, 'utf8') === sourcesDigest(project);
  return fresh ? path.join(folder, `${daemon}.js`) : path.join(project, daemon, 'main.ts');
}
