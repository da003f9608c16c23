import { WardcastError } from '../base/errors.ts';
import { MAX_PATH } from '../base/limits.ts';
import { plainHash, SEAL_BYTES } from './chunk-form.ts';
import { sha256 } from './digest.ts';
import type { ChunkRef, FileEntry, LinkEntry, Manifest } from './manifest-shape.ts';
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
  const known = new Map<string, ChunkRef>();
  const used = new Set<number>();
  let total = 0;
  for (const file of manifest.files) {
    let sum = 0;
    for (const chunk of file.chunks) {
      sum += chunk.size;
      const before = known.get(chunk.hash);
      if (before === undefined) {
        checkForm(chunk, manifest);
        known.set(chunk.hash, chunk);
        if (chunk.key !== undefined) used.add(chunk.key);
      } else if (!sameChunk(before, chunk)) {
        throw invalid(`The chunk ${chunk.hash} is listed twice, and differently: with ${before.size} and with ${chunk.size} bytes`);
      }
    }
    if (sum !== file.size) throw invalid(`The sizes of ${quote(file.path)} do not add up: its chunks have ${sum} bytes, the file ${file.size}`);
    const [only] = file.chunks;
    const certain = only === undefined ? EMPTY : file.chunks.length === 1 ? plainHash(only) : file.sha256;
    if (certain !== file.sha256) throw invalid(`The hash of ${quote(file.path)} disagrees with its only chunk`);
    total += file.size;
  }
  if (total !== manifest.size) throw invalid(`The sizes do not add up: the files have ${total} bytes, the release ${manifest.size}`);
  const keys = manifest.encryption?.keys ?? [];
  if (new Set(keys).size !== keys.length) throw invalid('The manifest names a content key twice');
  // The first one is the release's own, also when all its chunks came from earlier releases.
  for (const index of keys.keys()) if (index > 0 && !used.has(index)) throw invalid(`No chunk is encrypted under content key ${index}`);
}

/** One wire form means one content, and an encrypted release is encrypted throughout. */
function checkForm(chunk: ChunkRef, { encryption }: Manifest): void {
  const { hash, size, wire, plain, key } = chunk;
  const refuse = (why: string): WardcastError => invalid(`The wire form of chunk ${hash} cannot be: ${why}`);
  if ((wire === undefined) !== (plain === undefined)) throw refuse('its size and the hash of its content come together or not at all');
  if ((key === undefined) !== (encryption === undefined))
    throw refuse(key === undefined ? 'the release is encrypted and it is not' : 'the release is not encrypted');
  if (key !== undefined && key >= (encryption?.keys.length ?? 0)) throw refuse(`the release names no content key ${key}`);
  if (wire === undefined) {
    if (key !== undefined) throw refuse('what is encrypted has a hash of its content beside its own');
    return;
  }
  if (plain === hash) throw refuse('it is not the content, and has its hash');
  if (key === undefined ? wire >= size : wire <= SEAL_BYTES || wire > size + SEAL_BYTES) throw refuse(`${wire} bytes of it hold ${size} bytes of content`);
}

function sameChunk(a: ChunkRef, b: ChunkRef): boolean {
  return a.size === b.size && a.wire === b.wire && a.plain === b.plain && a.key === b.key;
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
