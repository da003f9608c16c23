import { WardcastError } from '../base/errors.ts';
import { MAX_PATH } from '../base/limits.ts';
import { sha256 } from './digest.ts';
import type { FileEntry, LinkEntry, Manifest } from './manifest-shape.ts';
import { checkPath, collisionKey } from './path.ts';

const EMPTY = sha256(new Uint8Array());

/**
 * What a manifest must satisfy beyond its shape: sums that add up, safe and distinct paths, links that stay inside, hooks that exist.
 * @throws MANIFEST_INVALID, PATH_UNSAFE, PATH_COLLISION
 */
export function checkManifest(manifest: Manifest): void {
  checkSums(manifest);
  const tree = new Tree();
  for (const { path } of manifest.files) tree.add(path, 'file');
  for (const { path } of manifest.links) tree.add(path, 'link');
  for (const link of manifest.links) checkLink(link, tree);
  const files = new Map(manifest.files.map((file) => [file.path, file]));
  checkHooks(manifest, files);
  checkSbom(manifest, files);
}

function checkSums(manifest: Manifest): void {
  const sizes = new Map<string, number>();
  let total = 0;
  for (const file of manifest.files) {
    let sum = 0;
    for (const { hash, size } of file.chunks) {
      sum += size;
      const known = sizes.get(hash);
      if (known !== undefined && known !== size) throw invalid(`The chunk ${hash} is listed with ${known} and with ${size} bytes`);
      sizes.set(hash, size);
    }
    if (sum !== file.size) throw invalid(`The sizes of ${quote(file.path)} do not add up: its chunks have ${sum} bytes, the file ${file.size}`);
    const [only] = file.chunks;
    const known = only === undefined ? EMPTY : file.chunks.length === 1 ? only.hash : file.sha256;
    if (known !== file.sha256) throw invalid(`The hash of ${quote(file.path)} disagrees with its only chunk`);
    total += file.size;
  }
  if (total !== manifest.size) throw invalid(`The sizes do not add up: the files have ${total} bytes, the release ${manifest.size}`);
}

type Kind = 'file' | 'link' | 'directory';

/** All paths of a release with the directories they imply; no two are the same on any file system. */
class Tree {
  readonly #directories = new Set<string>();
  readonly #byKey = new Map<string, { path: string; kind: Kind }>();

  add(path: string, kind: 'file' | 'link'): void {
    checkPath(path);
    // From the deepest directory upwards, until one that an earlier path went through.
    for (let at = path.lastIndexOf('/'); at > 0; at = path.lastIndexOf('/', at - 1)) {
      const directory = path.slice(0, at);
      if (this.#directories.has(directory)) break;
      this.#claim(directory, 'directory');
      this.#directories.add(directory);
    }
    this.#claim(path, kind);
  }

  kindOf(path: string): Kind | undefined {
    const found = this.#byKey.get(collisionKey(path));
    return found?.path === path ? found.kind : undefined;
  }

  #claim(path: string, kind: Kind): void {
    const key = collisionKey(path);
    const found = this.#byKey.get(key);
    if (found === undefined) this.#byKey.set(key, { path, kind });
    else if (found.path !== path || found.kind !== 'directory' || kind !== 'directory') {
      const how =
        found.path === path
          ? found.kind === kind
            ? 'is listed twice'
            : `is both a ${found.kind} and a ${kind}`
          : `and ${quote(found.path)} are one path where case or Unicode form does not count`;
      throw new WardcastError('PATH_COLLISION', `The path ${quote(path)} ${how}`, {
        remedy: 'Rename one of the two in the release tree and sign the release again.',
      });
    }
  }
}

/** Where the link leads must be a file or directory of this very release, reached without passing another link. */
function checkLink({ path, link }: LinkEntry, tree: Tree): void {
  const refuse = (why: string): WardcastError =>
    new WardcastError('PATH_UNSAFE', `The symlink ${quote(path)} → ${quote(link)} is refused: ${why}`, {
      remedy: 'Make it a relative link to a file of the release, or a copy of that file, and sign the release again.',
    });
  if (link.length > MAX_PATH) throw refuse(`its target is longer than ${MAX_PATH} characters`);
  if (link.startsWith('/')) throw refuse('its target is absolute');
  const target = path.split('/').slice(0, -1);
  const names = link.split('/');
  let climbing = true;
  for (const name of names) {
    if (name !== '..') {
      climbing = false;
      target.push(name);
    } else if (!climbing) throw refuse('".." after a name may lead elsewhere');
    else if (target.pop() === undefined) throw refuse('it leads out of the release tree');
  }
  const resolved = target.join('/');
  if (resolved === '' || path.startsWith(`${resolved}/`)) throw refuse('it leads to a directory above itself');
  try {
    checkPath(resolved);
  } catch (cause) {
    throw new WardcastError('PATH_UNSAFE', refuse('its target is no safe path').message, { cause });
  }
  // A path through a link is listed nowhere (nothing may lie below a link), so this also rules out chains.
  const kind = tree.kindOf(resolved);
  if (kind === undefined) throw refuse('its target is no file or directory of the release');
  if (kind === 'link') throw refuse('its target is itself a symlink');
}

function checkHooks(manifest: Manifest, files: ReadonlyMap<string, FileEntry>): void {
  for (const [name, hook] of Object.entries(manifest.hooks)) {
    if (files.get(hook.path)?.mode !== 0o755) throw invalid(`The hook ${name} names ${quote(hook.path)}, which is no executable file of the release`);
  }
}

function checkSbom({ sbom }: Manifest, files: ReadonlyMap<string, FileEntry>): void {
  if (sbom === undefined) return;
  if (sbom.path === undefined && sbom.url === undefined) throw invalid('The SBOM has neither path nor url');
  if (sbom.path !== undefined && files.get(sbom.path)?.sha256 !== sbom.sha256) {
    throw invalid(`The SBOM ${quote(sbom.path)} is no file of the release with the hash ${sbom.sha256}`);
  }
}

function invalid(message: string): WardcastError {
  return new WardcastError('MANIFEST_INVALID', message);
}

function quote(path: string): string {
  return JSON.stringify(path.length > 200 ? `${path.slice(0, 200)}…` : path);
}
