import { WardcastError } from '../../shared/base/errors.ts';
import { sameScope } from '../../shared/base/identity.ts';
import type { ChangeOf } from './changes.ts';
import { type Key, keys, type LeafRow } from './rows.ts';

/** Reads a row as it is before the change, as `project` hands it on. */
type Read = <T>(key: Key<T>) => T | undefined;
/** One row to be written. */
interface Write {
  readonly key: string;
  readonly value: unknown;
}

export function tokenAdded({ type: _, ...token }: ChangeOf<'token-added'>, read: Read): readonly Write[] {
  const key = keys.token(token.token);
  if (read(key) !== undefined) throw new WardcastError('CONFLICT', `There is a token ${token.token} already`, { remedy: 'Make another code.' });
  return [put(key, { ...token, used: 0, revoked: false })];
}

export function tokenRevoked({ token }: ChangeOf<'token-revoked'>, read: Read): readonly Write[] {
  const row = read(keys.token(token));
  if (row === undefined) throw new WardcastError('NOT_FOUND', `There is no token ${token}`, { remedy: '`wardcast enrol tokens` lists them.' });
  return [put(keys.token(token), { ...row, revoked: true })];
}

/** The device's row too, when it is new. A key that is certified again (the first answer was lost) costs no second use of its token. */
export function deviceCertified(change: ChangeOf<'device-certified'>, read: Read): readonly Write[] {
  const { customer, site, group, device } = change;
  const row = read(keys.device(customer, device));
  if (row !== undefined && !sameScope(row, change))
    throw new WardcastError('CONFLICT', `Device ${customer}/${device} is registered at ${row.site}/${row.group}`);
  if (row === undefined && change.by === 'renewal') throw new WardcastError('NOT_FOUND', `Device ${customer}/${device} is not registered`);
  const fresh = { customer, device, site, group };
  const before = read(keys.deviceLeaf(customer, device));
  const token = change.token === undefined ? undefined : read(keys.token(change.token));
  return [
    put(keys.deviceLeaf(customer, device), leafAfter(before, change, `Device ${customer}/${device}`)),
    ...(row === undefined ? [put(keys.device(customer, device), fresh), put(keys.member(fresh, device), fresh)] : []),
    ...(token === undefined || before?.key === change.key ? [] : [put(keys.token(token.token), { ...token, used: token.used + 1 })]),
  ];
}

export function gatewayCertified(change: ChangeOf<'gateway-certified'>, read: Read): readonly Write[] {
  const key = keys.gatewayLeaf(change.customer, change.site, change.gateway);
  return [put(key, leafAfter(read(key), change, `Gateway ${change.customer}/${change.site}/${change.gateway}`))];
}

export function enrolmentDecided({ type: _, ...decided }: ChangeOf<'enrolment-decided'>, at: string): readonly Write[] {
  return [put(keys.decision(decided.customer, decided.device, decided.key), { ...decided, at })];
}

/** A row only where there was a key: whoever never spoke nor enrolled may bring any anyway. */
export function keyReleased({ customer, device }: { readonly customer: string; readonly device: string }, read: Read): readonly Write[] {
  const leaf = read(keys.deviceLeaf(customer, device));
  if (leaf === undefined && read(keys.standing(customer, device)) === undefined) return [];
  return [put(keys.deviceLeaf(customer, device), { key: null, previous: null, serial: leaf?.serial ?? '', expires: leaf?.expires ?? '' })];
}

/** @throws CONFLICT when another key has that name, and the one that asked is not it */
function leafAfter(
  before: LeafRow | undefined,
  { key, serial, expires, previous }: ChangeOf<'gateway-certified'> | ChangeOf<'device-certified'>,
  what: string,
): LeafRow {
  const again = before?.key === key;
  if (before?.key != null && !again && before.key !== previous) throw new WardcastError('CONFLICT', `${what} holds another key`);
  return { key, previous: again ? before.previous : previous, serial, expires };
}

function put<T>(key: Key<T>, value: T): Write {
  return { key: key.text, value };
}
