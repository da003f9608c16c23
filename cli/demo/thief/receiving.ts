import path from 'node:path';
import { isWardcastError } from '../../../shared/base/errors.ts';
import { scopePath } from '../../../shared/base/identity.ts';
import { silentLog } from '../../../shared/base/log.ts';
import { refreshGroupView } from '../../../shared/trust/client.ts';
import type { MetadataSource } from '../../../shared/trust/metadata-source.ts';
import { type Attempt, type Road, type Scene, scopeOf } from './scene.ts';

/** Somebody inside hands over genuine, signed files of group A: does the thief's own device take them? */
export const RECEIVING: readonly Road[] = [
  {
    name: 'handed-over-bundle',
    story: "feeds group A's genuine signed metadata, bundle and manifests to its own device",
    go: (scene) => feed(scene, 'handed-over', viewSource(scene)),
  },
  {
    name: 'handed-over-relabelled',
    story: "the same, with the bundle's scope rewritten to its own group",
    go: (scene) => feed(scene, 'relabelled', relabelled(scene)),
  },
];

/** What the agent does with what it is given, with the agent's own code: nothing is installed that this does not return. */
async function feed(scene: Scene, folder: string, source: MetadataSource): Promise<Attempt> {
  try {
    const view = await refreshGroupView({
      directory: path.join(scene.folder, folder),
      factoryRoot: scene.factoryRoot,
      scope: scopeOf(scene.thief),
      source,
      log: silentLog,
    });
    const accepted = view.bundle.releases.filter((release) => scene.secrets.has(release.manifest));
    return { barrier: `its own device accepted ${accepted.length} releases of group A`, loot: accepted.reduce((sum, release) => sum + release.size, 0) };
  } catch (error) {
    if (!isWardcastError(error)) throw error;
    return { barrier: `its own device: ${error.code}: ${error.message}`, loot: 0 };
  }
}

function viewSource({ handedOver }: Scene): MetadataSource {
  return {
    metadata: async (name) => handedOver.metadata.get(name),
    target: async (hash) => handedOver.targets.get(hash),
  };
}

/** Every mention of group A's scope becomes the thief's own, in metadata and bundle alike: everything fits, but no signature does. */
function relabelled(scene: Scene): MetadataSource {
  const rewrite = (bytes: Buffer | undefined): Buffer | undefined => {
    if (bytes === undefined) return undefined;
    const changed = bytes
      .toString('utf8')
      .replaceAll(scopePath(scene.prey), scopePath(scene.thief))
      .replaceAll(`"group":"${scene.prey.group}"`, `"group":"${scene.thief.group}"`);
    return Buffer.from(changed);
  };
  const plain = viewSource(scene);
  return {
    metadata: async (name, options) => rewrite(await plain.metadata(name, options)),
    target: async (hash, options) => rewrite(await plain.target(hash, options)),
  };
}
