import type { z } from 'zod';
import { WardcastError } from '../../shared/base/errors.ts';
import { MAX_MISSING_NAMES } from '../../shared/base/limits.ts';
import { sha256 } from '../../shared/bundle/digest.ts';
import { inspectMetadata, verifyReleaseRole } from '../../shared/trust/inspect.ts';
import { releaseRole } from '../../shared/trust/roles.ts';
import type { ReleaseTarget } from '../../shared/trust/sign.ts';
import { OPS_ACTIONS, type ReleaseRow } from '../../shared/wire/ops.ts';
import type { IndexedManifest } from '../deliver/chunk-index.ts';
import type { ChangeOf } from '../registry/changes.ts';
import { keys, prefixes, type Release } from '../registry/rows.ts';
import { action, collect, type Desk, record } from './action.ts';

interface Offered {
  readonly application: string;
  readonly version: string;
  readonly manifest: string;
  /** Base64. */
  readonly role: string;
}

/** What is still missing. The manifest first: until it is here nobody knows its chunks. */
export const releaseOffer = action(OPS_ACTIONS['release.offer'], async (desk, offered) => {
  const { target } = await genuine(desk, offered);
  return missingOf(desk, offered, target);
});

/** The last step: genuine, complete, then on the log. */
export const releasePublish = action(OPS_ACTIONS['release.publish'], async (desk, offered, call) => {
  const { application, version, manifest } = offered;
  const { target, role, roleVersion } = await genuine(desk, offered);
  const { missing, more } = await missingOf(desk, offered, target);
  if (missing.length > 0) return { missing, more, release: null };
  const { size, entries, chunks, contentKeys } = await readManifest(desk, offered);
  // Before the release is known to anybody, and again when it is known already: so lost keys are brought back.
  await desk.vault.keepContentKeys(contentKeys, (offered.contentKeys ?? []).map(fromBase64));
  const known = await desk.registry.get(keys.release(application, version));
  // Asked again after a lost reply: the same release is no conflict.
  if (known?.manifest === manifest) return { missing: [], more: 0, release: publicRow(known) };
  const roleHash = sha256(role);
  const change: ChangeOf<'release-published'> = {
    type: 'release-published',
    application,
    version,
    manifest,
    manifestSize: target.size,
    size,
    files: entries,
    chunks: chunks.size,
    ...(contentKeys.length === 0 ? {} : { contentKeys: [...contentKeys] }),
    role: { version: roleVersion, sha256: roleHash },
  };
  await record(desk, call, change, new Map([[roleHash, role]]));
  desk.uploads.done([manifest, ...chunks.keys()]);
  const row = await desk.registry.get(keys.release(application, version));
  return { missing: [], more: 0, release: row === undefined ? null : publicRow(row) };
});

export const releaseList = action(OPS_ACTIONS['release.list'], async (desk, { application }) =>
  (await collect(desk.registry.list(prefixes.releases(application)))).map(publicRow),
);

export const releaseWithdraw = action(OPS_ACTIONS['release.withdraw'], async (desk, { application, version, reason, role }, call) => {
  if (role === undefined) return record(desk, call, { type: 'release-withdrawn', application, version, reason });
  const bytes = Buffer.from(role, 'base64');
  const { targets, roleVersion } = await genuineRole(desk, application, bytes);
  if (targets.some((target) => target.version === version)) {
    throw new WardcastError('METADATA_INVALID', `The role that came along still lists ${application} ${version}`, {
      remedy: 'Sign the role without the release, or withdraw without a role.',
    });
  }
  const hash = sha256(bytes);
  return record(
    desk,
    call,
    { type: 'release-withdrawn', application, version, reason, role: { version: roleVersion, sha256: hash } },
    new Map([[hash, bytes]]),
  );
});

function fromBase64(text: string): Buffer {
  return Buffer.from(text, 'base64');
}

/** The signed role lists exactly this manifest for this version. */
async function genuine(desk: Desk, offered: Offered): Promise<{ target: ReleaseTarget; role: Buffer; roleVersion: number }> {
  const { application, version, manifest } = offered;
  const role = Buffer.from(offered.role, 'base64');
  const { targets, roleVersion } = await genuineRole(desk, application, role);
  const target = targets.find((candidate) => candidate.version === version);
  if (target?.manifest !== manifest) {
    throw new WardcastError(
      'METADATA_UNTRUSTED',
      `The signed role of ${application} ${target === undefined ? 'does not list' : 'names another manifest for'} ${version}`,
      {
        remedy: 'Publish with the role metadata that signing this release wrote.',
        context: { application, version, manifest },
      },
    );
  }
  const known = await desk.registry.get(keys.release(application, version));
  if (known !== undefined && known.manifest !== manifest) {
    throw new WardcastError('CONFLICT', `${application} ${version} was published already, with another content`, {
      remedy: 'A version means one content for ever: sign it under a new version.',
    });
  }
  return { target, role, roleVersion };
}

/** Signed by the application's release key as the targets role delegates, and no older than what is there. */
async function genuineRole(desk: Desk, application: string, role: Buffer): Promise<{ targets: readonly ReleaseTarget[]; roleVersion: number }> {
  const { newestRoot, targets: delegations } = await desk.offline();
  const targets = verifyReleaseRole({ root: newestRoot, targets: delegations, application, role, now: new Date(desk.clock.now()) });
  const roleVersion = inspectMetadata(releaseRole(application), role).version;
  const before = await desk.registry.get(keys.role(application));
  if (before !== undefined && (roleVersion < before.version || (roleVersion === before.version && sha256(role) !== before.sha256))) {
    throw new WardcastError('METADATA_ROLLBACK', `The role of ${application} is version ${roleVersion}; version ${before.version} is here already`, {
      remedy: 'Sign on top of the newest role: releases of one application are signed one after the other, in one workspace.',
    });
  }
  return { targets, roleVersion };
}

async function missingOf(desk: Desk, offered: Offered, target: ReleaseTarget): Promise<{ missing: string[]; more: number }> {
  const { manifest } = offered;
  if (!(await desk.manifests.has(manifest))) {
    desk.uploads.expect(manifest, desk.manifests, target.size);
    return { missing: [manifest], more: 0 };
  }
  const { chunks } = await readManifest(desk, offered);
  const missing: string[] = [];
  const here = [manifest];
  let more = 0;
  for (const [hash, size] of chunks) {
    if (await desk.chunks.has(hash)) here.push(hash);
    else if (missing.length >= MAX_MISSING_NAMES) more += 1;
    else {
      desk.uploads.expect(hash, desk.chunks, size);
      missing.push(hash);
    }
  }
  desk.uploads.done(here);
  return { missing, more };
}

/** @throws MANIFEST_INVALID … when what was signed is no manifest of this release */
async function readManifest(desk: Desk, { application, version, manifest }: Offered): Promise<IndexedManifest> {
  const parsed = await desk.index.get(manifest);
  if (parsed.application === application && parsed.version === version) return parsed;
  throw new WardcastError('MANIFEST_INVALID', `The manifest ${manifest} is of ${parsed.application} ${parsed.version}, not of ${application} ${version}`, {
    remedy: 'Sign the release anew.',
  });
}

export function publicRow({ manifestSize: _, contentKeys, ...row }: Release): z.infer<typeof ReleaseRow> {
  return contentKeys === undefined ? row : { ...row, encrypted: true };
}
