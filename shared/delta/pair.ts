import type { OldTree, TreeFile } from './tree.ts';

/**
 * The old file that each new one is most like: the same content anywhere, else the same path, else the same path but for numbers (versions in names),
 * else the same name but for numbers. -1: none.
 */
export function pairFiles(old: OldTree, files: readonly TreeFile[]): number[] {
  const byContent = new Map<string, number>();
  const byPath = new Map<string, number>();
  for (const [index, file] of old.files.entries()) {
    byContent.set(file.sha256, index);
    byPath.set(file.path, index);
  }
  const taken = new Set<number>();
  const pairs = files.map((file) => {
    const samePath = byPath.get(file.path);
    // Of several copies of the same content, the one at the same path: what follows is then cheapest to name.
    const found = samePath !== undefined && old.files[samePath]?.sha256 === file.sha256 ? samePath : (byContent.get(file.sha256) ?? samePath);
    if (found !== undefined) taken.add(found);
    return found ?? -1;
  });
  for (const simplify of [withoutNumbers, (path: string) => withoutNumbers(path.slice(path.lastIndexOf('/') + 1))]) {
    const free = new Map<string, number[]>();
    for (const [index, file] of old.files.entries()) {
      if (taken.has(index) || file.size === 0) continue;
      const key = simplify(file.path);
      const list = free.get(key);
      if (list === undefined) free.set(key, [index]);
      else list.push(index);
    }
    for (const [index, file] of files.entries()) {
      if (pairs[index] !== -1) continue;
      const found = free.get(simplify(file.path))?.shift();
      if (found === undefined) continue;
      pairs[index] = found;
      taken.add(found);
    }
  }
  return pairs;
}

function withoutNumbers(path: string): string {
  return path.replaceAll(/[0-9]+/g, '0');
}
