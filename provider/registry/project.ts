import { WardcastError } from '../../shared/base/errors.ts';
import type { Scope } from '../../shared/base/identity.ts';
import type { Statement } from '../../shared/wire/messages.ts';
import { said } from '../record/said.ts';
import type { Change, ChangeOf, RoleRef } from './changes.ts';
import { deviceCertified, enrolmentDecided, gatewayCertified, keyReleased, tokenAdded, tokenRevoked } from './enrolled.ts';
import { epochKeys, nextEpoch } from './epochs.ts';
import { confirmedBytes } from './moved.ts';
import { retireCa, revoke } from './revoked.ts';
import { type Current, type Key, keys, saidBefore } from './rows.ts';
import { counted } from './runs.ts';
import { heard } from './standing.ts';

/** Reads a row as it is before the change. */
export type Read = <T>(key: Key<T>) => T | undefined;
/** One row to be written; `value` undefined: removed. */
export interface Write {
  readonly key: string;
  readonly value: unknown;
}
/** Whose an entry is, as far as it is anybody's. */
interface Whose {
  readonly customer?: string;
  readonly site?: string | null;
  readonly group?: string;
  readonly device?: string;
}
/** Where and when the change stands in the log. */
export interface Position {
  readonly sequence: number;
  /** RFC 3339. */
  readonly at: string;
}

/**
 * Change → rows: the only way a row comes to be. Depends on nothing but the log, so that replaying it gives the same bytes.
 * @throws CONFLICT, NOT_FOUND when the change contradicts the rows: then it is not recorded
 */
export function project(change: Change, position: Position, read: Read): readonly Write[] {
  switch (change.type) {
    case 'customer-added':
      absent(read, keys.customer(change.customer), `Customer ${change.customer}`);
      return [put(keys.customer(change.customer), { customer: change.customer, ...named(change) })];
    case 'site-added':
      needCustomer(read, change.customer);
      absent(read, keys.site(change.customer, change.site), `Site ${change.customer}/${change.site}`);
      return [put(keys.site(change.customer, change.site), { customer: change.customer, site: change.site, ...named(change) })];
    case 'group-added':
      needCustomer(read, change.customer);
      absent(read, keys.group(change.customer, change.group), `Group ${change.customer}/${change.group}`);
      return [put(keys.group(change.customer, change.group), { customer: change.customer, group: change.group, ...named(change) })];
    case 'device-added':
      return deviceAdded(change, read);
    case 'device-moved':
      return deviceMoved(change, position, read);
    case 'device-removed': {
      const device = present(read, keys.device(change.customer, change.device), `Device ${change.customer}/${change.device}`);
      // Its standing stays: a removed device that returns must not be able to repeat old counters.
      const standing = read(keys.standing(change.customer, change.device));
      return [
        remove(keys.device(change.customer, change.device)),
        remove(keys.member(device, change.device)),
        ...counted(read, { scope: device, standing }, undefined),
        ...keyReleased(change, read),
        nextEpoch(epochKeys.scope(device), read),
      ];
    }
    case 'device-revoked': {
      const { customer, site, group, device } = change;
      needScope(read, change);
      return [revoke({ role: 'device', customer, site, group, device }, { ...change, at: position.at }, read), nextEpoch(epochKeys.scope(change), read)];
    }
    case 'gateway-revoked': {
      const { customer, site, gateway } = change;
      needCustomer(read, customer);
      present(read, keys.site(customer, site), `Site ${customer}/${site}`);
      return [revoke({ role: 'gateway', customer, site, gateway }, { ...change, at: position.at }, read)];
    }
    case 'ops-revoked':
      // Operators have no row of their own: any name that a certificate may bear can be refused.
      return [revoke({ role: 'ops', name: change.name }, { ...change, at: position.at }, read)];
    case 'ca-retired':
      present(read, keys.group(change.customer, change.group), `Group ${change.customer}/${change.group}`);
      return [retireCa(change, position.at, read), nextEpoch(epochKeys.group(change.customer, change.group), read)];
    case 'group-key-rotated':
      return groupKeyRotated(change, read);
    case 'customer-retired':
      return customerRetired(change, position, read);
    case 'release-published':
      return releasePublished(change, position, read);
    case 'release-withdrawn':
      return releaseWithdrawn(change, position, read);
    case 'current-set':
      return currentSet(change, position, read);
    case 'bundle-assigned':
      return bundleAssigned(change, position, read);
    case 'token-added':
      needScope(read, change);
      return tokenAdded(change, read);
    case 'token-revoked':
      return tokenRevoked(change, read);
    case 'device-certified':
      needScope(read, change);
      return deviceCertified(change, read);
    case 'gateway-certified':
      present(read, keys.site(change.customer, change.site), `Site ${change.customer}/${change.site}`);
      return gatewayCertified(change, read);
    case 'enrolment-decided':
      needScope(read, change);
      return enrolmentDecided(change, position.at);
    case 'device-key-released':
      present(read, keys.device(change.customer, change.device), `Device ${change.customer}/${change.device}`);
      return keyReleased(change, read);
    case 'statement':
      return stated(change, position, read);
  }
}

function deviceAdded(change: ChangeOf<'device-added'>, read: Read): readonly Write[] {
  const { customer, device, site, group } = change;
  needScope(read, change);
  absent(read, keys.device(customer, device), `Device ${customer}/${device}`);
  const row = { customer, device, site, group, ...named(change) };
  const counts = counted(read, undefined, { scope: row, standing: read(keys.standing(customer, device)) });
  return [put(keys.device(customer, device), row), put(keys.member(row, device), row), ...counts];
}

function deviceMoved(change: ChangeOf<'device-moved'>, { at }: Position, read: Read): readonly Write[] {
  const { customer, device, site, group, from } = change;
  const before = present(read, keys.device(customer, device), `Device ${customer}/${device}`);
  needScope(read, change);
  const row = { ...before, site, group };
  const old =
    from === undefined
      ? []
      : [
          revoke({ role: 'device', customer, device, ...pick(from) }, { until: from.until, at, reason: `moved to ${site}/${group}` }, read),
          nextEpoch(epochKeys.scope({ customer, ...pick(from) }), read),
        ];
  const standing = read(keys.standing(customer, device));
  const counts = counted(read, { scope: before, standing }, { scope: row, standing });
  return [remove(keys.member(before, device)), put(keys.device(customer, device), row), put(keys.member(row, device), row), ...counts, ...old];
}

function groupKeyRotated({ customer, group, site }: ChangeOf<'group-key-rotated'>, read: Read): readonly Write[] {
  needCustomer(read, customer);
  present(read, keys.group(customer, group), `Group ${customer}/${group}`);
  if (site === null) return [nextEpoch(epochKeys.group(customer, group), read)];
  present(read, keys.site(customer, site), `Site ${customer}/${site}`);
  return [nextEpoch(epochKeys.scope({ customer, site, group }), read)];
}

function pick({ site, group }: { readonly site: string; readonly group: string }): { site: string; group: string } {
  return { site, group };
}

function customerRetired({ customer, reason }: ChangeOf<'customer-retired'>, { at }: Position, read: Read): readonly Write[] {
  const row = present(read, keys.customer(customer), `Customer ${customer}`);
  if (row.retired !== undefined) throw new WardcastError('CONFLICT', `Customer ${customer} was retired already, at ${row.retired.at}`);
  return [put(keys.customer(customer), { ...row, retired: { at, reason } })];
}

function releasePublished(change: ChangeOf<'release-published'>, { sequence, at }: Position, read: Read): readonly Write[] {
  const { application, version, manifest, manifestSize, size, files, chunks, contentKeys, role } = change;
  absent(read, keys.release(application, version), `Release ${application} ${version}`);
  newerRole(read, application, role);
  const encrypted = contentKeys === undefined ? {} : { contentKeys };
  const row = { application, version, manifest, size, files, chunks, publishedAt: at, withdrawn: null, manifestSize, ...encrypted };
  return [put(keys.release(application, version), row), put(keys.role(application), role), traced(application, version, sequence)];
}

function releaseWithdrawn(change: ChangeOf<'release-withdrawn'>, { sequence, at }: Position, read: Read): readonly Write[] {
  const { application, version, reason, role } = change;
  const row = present(read, keys.release(application, version), `Release ${application} ${version}`);
  if (row.withdrawn !== null) throw new WardcastError('CONFLICT', `Release ${application} ${version} was withdrawn already, at ${row.withdrawn.at}`);
  if (role !== undefined) newerRole(read, application, role);
  return [
    put(keys.release(application, version), { ...row, withdrawn: { at, reason } }),
    ...(role === undefined ? [] : [put(keys.role(application), role)]),
    traced(application, version, sequence),
  ];
}

function currentSet(change: ChangeOf<'current-set'>, { sequence }: Position, read: Read): readonly Write[] {
  const { customer, group, site, application, version, allowDowngrade } = change;
  needCustomer(read, customer);
  present(read, keys.group(customer, group), `Group ${customer}/${group}`);
  if (site !== null) present(read, keys.site(customer, site), `Site ${customer}/${site}`);
  const key = keys.current(customer, group);
  const others = (read(key) ?? []).filter((row) => row.application !== application || row.site !== site);
  const before = (read(key) ?? []).find((row) => row.application === application && row.site === site);
  if (version === null) {
    const shared = others.some((row) => row.application === application && row.site === null);
    if (before === undefined && !shared) {
      throw new WardcastError('NOT_FOUND', `${application} has no current version for ${customer}/${group}${site === null ? '' : ` at ${site}`}`);
    }
    // Taken back for all: no row remains. Taken back at one site while the others keep theirs: the site has to say so.
    const rows = site !== null && shared ? sorted([...others, { customer, group, site, application, version, allowDowngrade }]) : others;
    return [put(key, rows), ...(before?.version == null ? [] : [traced(application, before.version, sequence, { customer, site, group })])];
  }
  const release = present(read, keys.release(application, version), `Release ${application} ${version}`);
  if (release.withdrawn !== null)
    throw new WardcastError('CONFLICT', `Release ${application} ${version} was withdrawn at ${release.withdrawn.at} and cannot become current`);
  const rows = sorted([...others, { customer, group, site, application, version, allowDowngrade }]);
  return [put(key, rows), traced(application, version, sequence, { customer, site, group })];
}

function bundleAssigned(change: ChangeOf<'bundle-assigned'>, { sequence }: Position, read: Read): readonly Write[] {
  const { type: _, ...row } = change;
  const before = read(keys.bundle(row))?.sequence ?? 0;
  if (row.sequence <= before)
    throw new WardcastError('CONFLICT', `Bundle ${row.sequence} of ${row.customer}/${row.site}/${row.group} is not newer than ${before}`);
  return [put(keys.bundle(row), row), ...row.releases.map((release) => traced(release.application, release.version, sequence, row))];
}

function stated(change: ChangeOf<'statement'>, { sequence }: Position, read: Read): readonly Write[] {
  const { statement, digest } = said(change);
  const { customer, device, counter } = statement;
  const before = read(keys.standing(customer, device));
  const after = heard(before, statement, digest);
  const told =
    statement.type === 'confirmation'
      ? [statement]
      : // An inventory is news of a release only where it tells something that was not known.
        statement.applications.filter(({ application, manifest }) => {
          const known = before?.running.find((row) => row.application === application)?.manifest;
          return known !== manifest && after.running.some((row) => row.application === application && row.manifest === manifest);
        });
  const scope = before?.running === after.running ? undefined : read(keys.device(customer, device));
  return [
    put(keys.standing(customer, device), after),
    ...(scope === undefined ? [] : counted(read, { scope, standing: before }, { scope, standing: after })),
    put(keys.history(customer, device, counter), { counter, digest, sequence }),
    ...told.map(({ application, version }) => traced(application, version, sequence, statement)),
    ...(saidBefore(read, before, statement) === undefined ? bytesMoved(statement, read) : []),
  ];
}

/** Sums, so what is on the log already must not come here again. */
function bytesMoved(statement: Statement, read: Read): readonly Write[] {
  if (statement.type !== 'confirmation') return [];
  const { customer, site, device, sequence, application, version } = statement;
  const deviceKey = keys.deviceMoved(customer, device, application, version);
  const bundleKey = keys.bundleMoved(statement, sequence, application, version);
  const siteKey = keys.siteMoved(customer, site);
  const rows = confirmedBytes({ device: read(deviceKey), bundle: read(bundleKey), site: read(siteKey) }, statement);
  return [put(deviceKey, rows.device), put(bundleKey, rows.bundle), put(siteKey, rows.site)];
}

/** Two publishers at once: the later one must have signed on top of the earlier one's role. */
function newerRole(read: Read, application: string, role: RoleRef): void {
  const before = read(keys.role(application));
  if (before === undefined || before.version < role.version || before.sha256 === role.sha256) return;
  throw new WardcastError('CONFLICT', `Version ${role.version} of the role of ${application} is not newer than ${before.version}`, {
    remedy: 'Sign on top of the newest role.',
  });
}

function put<T>(key: Key<T>, value: T): Write {
  return { key: key.text, value };
}

function remove<T>(key: Key<T>): Write {
  return { key: key.text, value: undefined };
}

function traced(application: string, version: string, sequence: number, whose: Whose = {}): Write {
  const { customer = null, site = null, group = null, device = null } = whose;
  return { key: keys.trace(application, version, sequence).text, value: { sequence, customer, site, group, device } };
}

function named({ name }: { readonly name?: string | undefined }): { name?: string } {
  return name === undefined ? {} : { name };
}

function needCustomer(read: Read, customer: string): void {
  present(read, keys.customer(customer), `Customer ${customer}`);
}

function needScope(read: Read, { customer, site, group }: Scope): void {
  needCustomer(read, customer);
  present(read, keys.site(customer, site), `Site ${customer}/${site}`);
  present(read, keys.group(customer, group), `Group ${customer}/${group}`);
}

function present<T>(read: Read, key: Key<T>, what: string): T {
  const row = read(key);
  if (row === undefined)
    throw new WardcastError('NOT_FOUND', `${what} does not exist`, { remedy: 'Add it first, or check the spelling with the matching `list` command.' });
  return row;
}

function absent<T>(read: Read, key: Key<T>, what: string): void {
  if (read(key) !== undefined) throw new WardcastError('CONFLICT', `${what} exists already`, { remedy: 'Choose another id; `list` shows what there is.' });
}

function sorted(rows: readonly Current[]): readonly Current[] {
  const name = (row: Current): string => `${row.application} ${row.site ?? ''}`;
  return rows.toSorted((a, b) => (name(a) < name(b) ? -1 : 1));
}
