import { caUri, issuersOf } from '../../certs/scope.ts';
import { type DeviceIdentity, type GatewayIdentity, identityPath, type Scope, sameScope, scopePath } from '../../shared/base/identity.ts';
import { MAX_EXPLAINED_BUNDLES } from '../../shared/base/limits.ts';
import { type Decision, decide } from '../../shared/bundle/decide.ts';
import { chunkSizes } from '../../shared/bundle/manifest.ts';
import { mayEnter, mayFetch, mayFetchScope, mayRead } from '../../shared/wire/policy.ts';
import { indexRevocations, revokedBecause } from '../../shared/wire/revocation.ts';
import { announceFilter, downFilter } from '../../shared/wire/topics.ts';
import { keyRefusal } from '../secrecy/entitled.ts';
import type { Facts } from './facts.ts';

export interface Barrier {
  readonly barrier: string;
  /** `none`: there is no such barrier here, or nothing to keep from. */
  readonly state: 'stands' | 'passes' | 'none';
  readonly rule: string;
  readonly detail: string;
  readonly values: Record<string, string | number | boolean | null | string[]>;
}

/**
 * Every barrier between a device and a release, each looked at as if it stood alone, in the order in which somebody meets them. Decides nothing itself: it
 * asks the functions that the doors, brokers, servers and agents ask. Pure.
 */
export function barriers(facts: Facts): readonly Barrier[] {
  return [
    registration(facts),
    certificate(facts),
    revocation(facts),
    door(facts),
    topics(facts),
    bundle(facts),
    objects(facts),
    encryption(facts),
    signature(facts),
    installer(facts),
  ];
}

function registration({ device, registered }: Facts): Barrier {
  const at = registered === undefined ? null : scopePath(registered);
  const values = { asked: scopePath(device), registered: at };
  const rule = 'registry: device row';
  if (registered !== undefined && sameScope(registered, device))
    return { barrier: 'registration', state: 'passes', rule, detail: `registered at ${at}`, values };
  const where = at === null ? 'not registered' : `registered at ${at}`;
  const detail = `${where}; no door asks the registry: what counts is the certificate, but its statements are refused, and it gets no key of what is encrypted`;
  return { barrier: 'registration', state: 'none', rule, detail, values };
}

function certificate({ device, holders, trustDomain }: Facts): Barrier {
  const issuer = ({ customer, group, site }: Scope): string =>
    issuersOf({ role: 'device', customer, site, group, device: device.device }).map((ca) => caUri(trustDomain, ca))[0] ?? '';
  const own = issuer(device);
  const needed = [...new Set(holders.map(issuer))];
  const rule = 'issuersOf: the leaf’s issuer must be the CA of the group in its URI';
  const values = { uri: `spiffe://${trustDomain}/${identityPath(device)}`, issuer: own, needed: shown(needed) };
  if (needed.length === 0) return nothingToReach('certificate', rule, values);
  return needed.includes(own)
    ? { barrier: 'certificate', state: 'passes', rule, detail: 'its group’s CA is one of those whose devices are entitled', values }
    : { barrier: 'certificate', state: 'stands', rule, detail: `${own} cannot issue for a group that has the release`, values };
}

/** Of the certificate that the device last proved to hold; of the oldest possible one if it has never spoken. */
function revocation(facts: Facts): Barrier {
  const { device, revoked, heardAt } = facts;
  const rule = 'revokedBecause';
  const [oldest] = revoked.oldestCas;
  const reason = revokedBecause(indexRevocations([revoked]), { identity: device, ...certified(facts) });
  const values = {
    until: revoked.revoked[0]?.until ?? null,
    oldestCa: oldest?.generation ?? null,
    retired: revoked.retired.length > 0,
    heard: heardAt === undefined ? null : new Date(heardAt).toISOString(),
  };
  if (reason !== undefined) return { barrier: 'revocation', state: 'stands', rule, detail: reason, values };
  const later = revoked.revoked.length > 0 || oldest !== undefined ? 'it has spoken with a later certificate than those revoked' : 'nothing of it is revoked';
  return { barrier: 'revocation', state: 'passes', rule, detail: later, values };
}

function certified({ revoked, oldestCaAt, heardAt }: Facts): { issued: number; generation: number } {
  const [oldest] = revoked.oldestCas;
  const since = oldest !== undefined && oldestCaAt !== undefined && heardAt !== undefined && heardAt > oldestCaAt;
  return { issued: heardAt ?? 0, generation: since ? oldest.generation : 1 };
}

function door({ device, holders }: Facts): Barrier {
  const rule = 'mayEnter';
  const open = holders.flatMap((holder) => [
    ...(mayEnter(gatewayOf(holder), device) ? [`gateway of ${holder.customer}/${holder.site}`] : []),
    ...(mayEnter(memberOf(holder, device), device) ? [`devices of ${scopePath(holder)}`] : []),
  ]);
  if (mayEnter({ role: 'provider', name: 'provider' }, device)) open.push('provider');
  const doors = [...new Set(open)];
  const values = { open: shown(doors), provider: doors.includes('provider') };
  if (holders.length === 0) return nothingToReach('door', rule, values);
  return doors.length > 0
    ? { barrier: 'door', state: 'passes', rule, detail: `may enter: ${shown(doors).join(', ')}`, values }
    : { barrier: 'door', state: 'stands', rule, detail: 'no door behind which the release is lets it in', values };
}

function topics({ device, holders }: Facts): Barrier {
  const rule = 'mayRead';
  const asked = holders.flatMap((holder) => [announceFilter(holder), downFilter(memberOf(holder, device)), downFilter(gatewayOf(holder))]);
  const heard = asked.filter((filter) => mayRead(device, filter));
  const values = { asked: asked.length, heard: shown(heard) };
  if (holders.length === 0) return nothingToReach('topics', rule, values);
  return heard.length > 0
    ? { barrier: 'topics', state: 'passes', rule, detail: `may hear ${shown(heard).join(', ')}`, values }
    : { barrier: 'topics', state: 'stands', rule, detail: `may hear none of the ${asked.length} filters on which the release is spoken of`, values };
}

function bundle({ device, holders, own, release }: Facts): Barrier {
  const rule = 'sameScope: a device takes the bundle of its own customer, site and group, and of that only what it names';
  const mine = own?.bundle.releases.find(({ manifest }) => manifest === release.manifest);
  const values = {
    scope: scopePath(device),
    sequence: own?.bundle.sequence ?? null,
    names: own?.bundle.releases.map(({ application, version }) => `${application}@${version}`) ?? [],
    bundles: shown(holders.map((holder) => `${scopePath(holder)} #${holder.sequence}${holder.current ? '' : ' (before)'}`)),
  };
  if (own !== undefined && mine !== undefined && sameScope(own.bundle, device)) {
    return { barrier: 'bundle', state: 'passes', rule, detail: `bundle ${own.bundle.sequence} of ${scopePath(device)} names it`, values };
  }
  const mineIs = own === undefined ? 'its group has no bundle' : `bundle ${own.bundle.sequence} of its group does not name it`;
  const others =
    holders.length === 0 ? 'nor does any other' : `${holders.length} ${holders.length === 1 ? 'group has' : 'groups have'} it: ${values.bundles.join(', ')}`;
  return { barrier: 'bundle', state: 'stands', rule, detail: `${mineIs}; ${others}`, values };
}

function objects({ device, holders, own, manifest }: Facts): Barrier {
  const rule = 'mayFetchScope, mayFetch';
  const hashes = [...chunkSizes(manifest).keys()];
  const release = new Set(hashes);
  const opened = holders.filter((holder) => mayFetchScope(device, holder));
  const granted = hashes.filter(
    (hash) =>
      holders.some((scope) => mayFetch(device, { scope, has: (name) => release.has(name) }, hash)) ||
      (own !== undefined && mayFetch(device, { scope: own.bundle, has: own.has }, hash)),
  );
  const values = { manifest: opened.length > 0, chunks: hashes.length, chunksGranted: granted.length };
  if (opened.length > 0) {
    const detail = `metadata, manifest and ${granted.length} of ${hashes.length} chunks are served to it through ${shown(opened.map(scopePath)).join(', ')}`;
    return { barrier: 'objects', state: 'passes', rule, detail, values };
  }
  const shared = granted.length === 0 ? '' : `; ${granted.length} of them are also in releases of its own group`;
  return {
    barrier: 'objects',
    state: 'stands',
    rule,
    detail: `neither manifest nor any of its ${hashes.length} chunks is served to it as such${shared}`,
    values,
  };
}

/** Who copies ciphertext needs the key of a group under which this release's content keys are wrapped: its own is all that a device is ever given. */
function encryption(facts: Facts): Barrier {
  const { device, registered, revoked, holders, own, manifest } = facts;
  const keys = manifest.encryption?.keys.length ?? 0;
  const rule = 'keyRefusal: a device gets its own group’s key, by certificate, revocation and registry';
  const refusal = keyRefusal({ device, certified: certified(facts), registered, revoked });
  const groups = shown(holders.map(scopePath));
  const values = { keys, groups, epoch: own?.bundle.groupKey?.epoch ?? null, refused: refusal ?? null };
  if (keys === 0) return { barrier: 'encryption', state: 'none', rule, detail: 'this release is not encrypted: whoever holds a chunk can read it', values };
  if (!holders.some((holder) => sameScope(holder, device))) {
    const under = groups.length === 0 ? 'no group’s key' : `the key of ${groups.join(', ')}`;
    return { barrier: 'encryption', state: 'stands', rule, detail: `its content keys are wrapped under ${under}, which is not its own`, values };
  }
  if (refusal !== undefined) return { barrier: 'encryption', state: 'stands', rule, detail: `it is not given its group’s key: ${refusal}`, values };
  return { barrier: 'encryption', state: 'passes', rule, detail: 'its content keys are wrapped under the key of its own group, which it is given', values };
}

function signature({ release, signed }: Facts): Barrier {
  const rule = `verifyReleaseRole: release-${release.application}, signed by its release key`;
  const values = {
    manifest: release.manifest,
    listed: 'error' in signed ? null : (signed.manifest ?? null),
    role: 'error' in signed ? null : signed.role,
    withdrawn: release.withdrawn?.at ?? null,
  };
  const stands = (detail: string): Barrier => ({ barrier: 'signature', state: 'stands', rule, detail, values });
  if ('error' in signed) return stands(signed.error);
  if (signed.manifest === undefined) return stands(`version ${signed.role} of the role does not list ${release.version}`);
  if (signed.manifest !== release.manifest) return stands(`version ${signed.role} of the role lists another manifest`);
  return { barrier: 'signature', state: 'passes', rule, detail: `version ${signed.role} of the role lists its manifest`, values };
}

/** What the device would do with it, by what it last said: were it in the group's bundle, if it is not. */
function installer({ own, release, manifest, device, standing }: Facts): Barrier {
  const rule = 'decide: withdrawn, minimum agent, downgrade';
  const { application, version, manifest: hash } = release;
  const runs = standing?.running.find((row) => row.application === application);
  const last = standing?.results.find((row) => row.application === application && row.manifest === hash);
  const values = {
    runs: runs?.version ?? null,
    agent: standing?.agent ?? null,
    minimumAgent: manifest.minimumAgent ?? null,
    spoken: standing?.counter ?? null,
    lastResult: last?.result ?? null,
  };
  const named = own?.bundle.releases.some((row) => row.manifest === hash) === true;
  const hypothetical = { application, version, manifest: hash, size: release.manifestSize, allowDowngrade: false };
  const base = own?.bundle ?? {
    format: 1 as const,
    customer: device.customer,
    site: device.site,
    group: device.group,
    sequence: 0,
    releases: [],
    withdrawn: [],
  };
  const withdrawn = release.withdrawn === null || named ? base.withdrawn : [...base.withdrawn, { application, manifest: hash }];
  const wanted = named ? base.releases : [hypothetical];
  const decision = decide({
    bundle: { ...base, releases: wanted, withdrawn },
    manifests: new Map([[hash, manifest]]),
    installed: (standing?.running ?? []).flatMap((row) =>
      row.version === null || row.manifest === null ? [] : [{ application: row.application, version: row.version, manifestHash: row.manifest }],
    ),
    // What failed too often there only the device knows; its last word on it is among the values.
    bad: new Set(),
    agentVersion: standing?.agent ?? manifest.minimumAgent ?? '0.0.0',
  }).find((one) => one.manifest === hash);
  const detail = `${said(decision)}${standing === undefined ? '; it has never spoken' : ''}`;
  return { barrier: 'installer', state: decision?.action === 'refuse' ? 'stands' : 'passes', rule, detail, values };
}

function said(decision: Decision | undefined): string {
  switch (decision?.action) {
    case 'refuse':
      return `${decision.code}: ${decision.message}`;
    case 'install':
      return 'would install it';
    case 'nothing':
      return 'runs it already';
    case undefined:
      return 'nothing to decide';
  }
}

function nothingToReach(barrier: string, rule: string, values: Barrier['values']): Barrier {
  return { barrier, state: 'none', rule, detail: 'no group’s bundle names the release: there is nothing to reach', values };
}

function gatewayOf({ customer, site }: Scope): GatewayIdentity {
  return { role: 'gateway', customer, site, gateway: 'gateway' };
}

/** Another device of that group than this one. */
function memberOf({ customer, site, group }: Scope, but: DeviceIdentity): DeviceIdentity {
  return { role: 'device', customer, site, group, device: but.device === 'peer' ? 'other' : 'peer' };
}

function shown(list: readonly string[]): string[] {
  return list.slice(0, MAX_EXPLAINED_BUNDLES);
}

/** The whole in one line. */
export function verdict(all: readonly Barrier[]): { readonly entitled: boolean; readonly verdict: string } {
  const standing = all.filter(({ state }) => state === 'stands');
  const real = all.filter(({ state }) => state !== 'none');
  const [first] = standing;
  if (first !== undefined)
    return { entitled: false, verdict: `stopped by ${standing.length} of ${real.length} barriers, first: ${first.barrier}: ${first.detail}` };
  const why = all.find(({ barrier }) => barrier === 'bundle')?.detail ?? '';
  return { entitled: true, verdict: `entitled: none of ${real.length} barriers stops it, because ${why}` };
}
