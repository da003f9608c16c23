import { readdir } from 'node:fs/promises';
import { join } from 'node:path';
import { systemCode } from '../../shared/base/errors.ts';
import type { Scope } from '../../shared/base/identity.ts';
import { MAX_SITE_GROUPS } from '../../shared/base/limits.ts';
import type { Log } from '../../shared/base/log.ts';
import type { Revocations } from '../../shared/net/revocations.ts';
import { storageFailed } from '../../shared/store/storage-failed.ts';
import { loadGroupView } from '../../shared/trust/client.ts';
import { Id } from '../../shared/wire/messages.ts';
import { revocationsOf } from '../../shared/wire/revocation.ts';

/**
 * What the last verified view of each group said, before anybody is let in: a restart must not let the revoked back, whether or not the line is up and the
 * content of that view is complete.
 * @param directory of the groups' trusted metadata
 * @throws STORAGE_FAILED
 */
export async function recallRevocations(directory: string, site: Omit<Scope, 'group'>, revocations: Revocations, log: Log): Promise<void> {
  for (const group of await groupsIn(directory)) {
    const view = await loadGroupView({ directory: join(directory, group), scope: { ...site, group }, log });
    if (view !== undefined) revocations.learn(group, revocationsOf(view.bundle));
  }
}

async function groupsIn(directory: string): Promise<string[]> {
  try {
    return (await readdir(directory)).filter((name) => Id.safeParse(name).success).slice(0, MAX_SITE_GROUPS);
  } catch (error) {
    if (systemCode(error) === 'ENOENT') return [];
    throw storageFailed(error, 'The folder of trusted metadata cannot be read:', directory);
  }
}
