import { MAX_RELEASE_PATCHES, PATCH_WORTH } from '../../shared/base/limits.ts';
import type { DeviceSnapshot } from '../plan.ts';

/**
 * The releases that a group's devices run instead of the wanted one: what patches would be made of. None where a device runs nothing that could be patched,
 * since the gateway needs the whole release for it anyhow, and none where there are too many. Pure.
 * @returns manifest hashes, sorted
 */
export function basesOf(
  devices: readonly Pick<DeviceSnapshot, 'running'>[],
  { application, manifest }: { application: string; manifest: string },
): readonly string[] {
  const bases = new Set<string>();
  for (const { running } of devices) {
    const base = running?.get(application);
    if (base === undefined) return [];
    if (base !== manifest) bases.add(base);
  }
  return bases.size > MAX_RELEASE_PATCHES ? [] : [...bases].sort();
}

/** Bytes of the wanted release's chunks that stand in none of the bases: what the line would carry without patches. Chunk hash → bytes. Pure. */
export function lackingBytes(wanted: ReadonlyMap<string, number>, bases: readonly ReadonlyMap<string, number>[]): number {
  let bytes = 0;
  for (const [hash, size] of wanted) if (!bases.some((base) => base.has(hash))) bytes += size;
  return bytes;
}

/** Do patches of these sizes save enough of what would be fetched otherwise? Pure. */
export function worthwhile(patches: readonly number[], lacking: number): boolean {
  return patches.length > 0 && patches.reduce((sum, bytes) => sum + bytes, 0) <= PATCH_WORTH * lacking;
}
