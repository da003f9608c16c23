import { toWardcastError, WardcastError } from '../../shared/base/errors.ts';
import type { Scope } from '../../shared/base/identity.ts';
import { MAX_EXPLAINED_BUNDLES } from '../../shared/base/limits.ts';
import { parseBundle } from '../../shared/bundle/bundle.ts';
import { parseManifest } from '../../shared/bundle/manifest.ts';
import { verifyReleaseRole } from '../../shared/trust/inspect.ts';
import { OPS_ACTIONS } from '../../shared/wire/ops.ts';
import { barriers, verdict } from '../explain/barriers.ts';
import type { Facts, Holder, OwnBundle } from '../explain/facts.ts';
import { revocationsAbout, revokedKeys } from '../registry/revoked.ts';
import { type DeviceRow, keys, type Release } from '../registry/rows.ts';
import { action, type Desk } from './action.ts';
import { publicRow } from './release.ts';
import { theDevice } from './trace.ts';

/** Why a device has a release, or what keeps it from it: facts from the stores, judged by the functions that the doors ask. */
export const explain = action(OPS_ACTIONS.explain, async (desk, { customer, site, group, device: name, application, version }) => {
  const { device, registered } = await placeOf(desk, { customer, site, group }, name);
  const release = await desk.registry.get(keys.release(application, version));
  if (release === undefined)
    throw new WardcastError('NOT_FOUND', `Release ${application}@${version} does not exist`, { remedy: '`wardcast release list` shows what was published.' });
  const facts: Facts = {
    device: { role: 'device', customer: device.customer, site: device.site, group: device.group, device: name },
    registered,
    trustDomain: desk.trustDomain,
    release,
    manifest: parseManifest(await desk.manifests.get(release.manifest)),
    holders: await holdersOf(desk, release),
    own: await ownBundle(desk, device),
    signed: await signedManifest(desk, release),
    ...(await revokedOf(desk, device)),
  };
  const all = barriers(facts);
  return {
    device,
    release: publicRow(release),
    bundles: facts.holders.slice(0, MAX_EXPLAINED_BUNDLES),
    bundleCount: facts.holders.length,
    barriers: [...all],
    ...verdict(all),
  };
});

/** The registered place, or the one that is asked about. @throws USAGE, NOT_FOUND, CONFLICT */
async function placeOf(
  desk: Desk,
  { customer, site, group }: { [part in keyof Scope]: string | undefined },
  device: string,
): Promise<{ device: DeviceRow; registered: DeviceRow | undefined }> {
  if (site === undefined && group === undefined) {
    const registered = await theDevice(desk, customer, device);
    return { device: registered, registered };
  }
  if (customer === undefined || site === undefined || group === undefined) {
    throw new WardcastError('USAGE', 'A place is customer, site and group together', { remedy: 'Leave site and group out to take the registered place.' });
  }
  const registered = await desk.registry.get(keys.device(customer, device));
  return { device: { customer, site, group, device }, registered };
}

/** Every group of which a bundle that is served names the release. */
async function holdersOf({ repositories }: Desk, release: Release): Promise<readonly Holder[]> {
  const found: Holder[] = [];
  for await (const { customer, site, group, generations } of repositories.list()) {
    const at = generations.findIndex(({ manifests }) => manifests.includes(release.manifest));
    const generation = generations[at];
    if (generation !== undefined) found.push({ customer, site, group, sequence: generation.sequence, current: at === 0 });
  }
  return found;
}

async function ownBundle({ repositories, index }: Desk, scope: Scope): Promise<OwnBundle | undefined> {
  const repository = await repositories.get(scope);
  const [newest] = repository?.generations ?? [];
  const bytes = newest === undefined ? undefined : await repositories.content(newest.bundle);
  if (repository === undefined || bytes === undefined) return undefined;
  const manifests = new Set(repository.generations.flatMap((generation) => generation.manifests));
  const contents = await Promise.all([...manifests].map((manifest) => index.chunks(manifest)));
  return { bundle: parseBundle(bytes), has: (hash) => contents.some((chunks) => chunks.has(hash)) };
}

/** What is revoked of it, and what it last said when. */
async function revokedOf({ registry }: Desk, device: DeviceRow): Promise<Pick<Facts, 'standing' | 'revoked' | 'oldestCaAt' | 'heardAt'>> {
  const { customer, group } = device;
  const standing = await registry.get(keys.standing(customer, device.device));
  const history = standing === undefined ? undefined : await registry.get(keys.history(customer, device.device, standing.counter));
  const entry = history === undefined ? undefined : await registry.entry(history.sequence);
  const oldest = await registry.get(revokedKeys.oldestCa(customer, group));
  return {
    standing,
    revoked: await revocationsAbout(registry, { ...device, role: 'device' }),
    oldestCaAt: oldest === undefined ? undefined : Date.parse(oldest.at),
    heardAt: entry === undefined ? undefined : Date.parse(entry.at),
  };
}

async function signedManifest(desk: Desk, { application, version }: Release): Promise<Facts['signed']> {
  const row = await desk.registry.get(keys.role(application));
  const role = row === undefined ? undefined : await desk.registry.blob(row.sha256);
  if (row === undefined || role === undefined) return { error: `there is no signed role of ${application}` };
  try {
    const { newestRoot, targets } = await desk.offline();
    const listed = verifyReleaseRole({ root: newestRoot, targets, application, role, now: new Date(desk.clock.now()) });
    return { role: row.version, manifest: listed.find((target) => target.version === version)?.manifest };
  } catch (error) {
    const { code, message } = toWardcastError(error);
    return { error: `${code}: ${message}` };
  }
}
