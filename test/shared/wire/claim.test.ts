import { expect, it } from 'vitest';
import { checkSigner } from '../../../provider/record/statement.ts';
import { type ClaimIdentity, type DeviceIdentity, type GatewayIdentity, type Identity, parseSpiffeId, spiffeId } from '../../../shared/base/identity.ts';
import type { Statement } from '../../../shared/wire/messages.ts';
import { mayFetch, mayFetchScope, mayPublish, mayRead, readable, writable } from '../../../shared/wire/policy.ts';
import { announce, DOWN_VERBS, down, EVENT_FILTER, UP_VERBS, up } from '../../../shared/wire/topics.ts';

const claim: ClaimIdentity = { role: 'claim', customer: 'acme', group: 'ct', claim: 'batch-7' };
const scope = { customer: 'acme', site: 'north', group: 'ct' };
const device: DeviceIdentity = { role: 'device', ...scope, device: 'ct-1' };
const gateway: GatewayIdentity = { role: 'gateway', customer: 'acme', site: 'north', gateway: 'gw' };
const all: readonly Identity[] = [claim, device, gateway, { role: 'provider', name: 'p' }, { role: 'ops', name: 'o' }];

it('a claim may hear, say and fetch nothing at all, not even in its own group or under its own name', () => {
  expect([...readable(claim), ...writable(claim)]).toEqual([]);
  for (const owner of all) {
    for (const verb of UP_VERBS) expect(mayPublish(claim, up(owner, verb))).toBe(false);
    for (const verb of DOWN_VERBS) expect(mayRead(claim, down(owner, verb))).toBe(false);
  }
  for (const filter of [EVENT_FILTER, announce(scope, 'offer'), announce(scope, 'peers'), '#', 'wardcast/1/#']) expect(mayRead(claim, filter)).toBe(false);
  expect(mayFetchScope(claim, scope)).toBe(false);
  expect(mayFetch(claim, { scope, has: () => true }, 'a'.repeat(64))).toBe(false);
});

it('a claim makes no statement for a device of its group', () => {
  const statement: Statement = { type: 'inventory', ...scope, device: 'ct-1', counter: 1, at: '2026-01-01T00:00:00Z', agent: '1', applications: [] };
  expect(() => checkSigner(claim, statement)).toThrow(expect.objectContaining({ code: 'STATEMENT_FORGED' }));
});

it('a claim has its own place among identities, which is read back', () => {
  expect(spiffeId('vendor.example', claim)).toBe('spiffe://vendor.example/customer/acme/group/ct/claim/batch-7');
  expect(parseSpiffeId(spiffeId('vendor.example', claim)).identity).toEqual(claim);
});

it('only a gateway passes requests for certificates on, and only the provider answers it', () => {
  for (const who of all) for (const owner of all) expect(mayPublish(who, up(owner, 'enrol'))).toBe(who === owner && who.role === 'gateway');
});
