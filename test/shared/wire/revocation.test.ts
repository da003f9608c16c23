import fc from 'fast-check';
import { describe, expect, test } from 'vitest';
import { type Certified, type Identity, identityPath } from '../../../shared/base/identity.ts';
import { indexRevocations, isoSeconds, type RevocationList, revocationsOf, revokedBecause, toldOf } from '../../../shared/wire/revocation.ts';

const NOTHING: RevocationList = { revoked: [], oldestCas: [], retired: [] };
const id = fc.constantFrom('a', 'b', 'c1');
const identities: fc.Arbitrary<Identity> = fc.oneof(
  fc.record({ role: fc.constant('device' as const), customer: id, site: id, group: id, device: id }),
  fc.record({ role: fc.constant('gateway' as const), customer: id, site: id, gateway: id }),
  fc.record({ role: fc.constant('claim' as const), customer: id, group: id, claim: id }),
  fc.record({ role: fc.constant('provider' as const), name: id }),
  fc.record({ role: fc.constant('ops' as const), name: id }),
);
/** Whole seconds, as in certificates. */
const seconds = fc.integer({ min: 0, max: 100_000 }).map((second) => Date.UTC(2026, 0, 1) + second * 1000);
const certificates: fc.Arbitrary<Certified> = fc.record({ identity: identities, issued: seconds, generation: fc.integer({ min: 1, max: 5 }) });
const lists: fc.Arbitrary<RevocationList> = fc.record({
  revoked: fc.array(fc.record({ identity: identities.map(identityPath), until: seconds.map(isoSeconds) }), { maxLength: 6 }),
  oldestCas: fc.array(fc.record({ customer: id, group: id, generation: fc.integer({ min: 2, max: 5 }) }), { maxLength: 4 }),
  retired: fc.array(id, { maxLength: 1 }),
});
const customerOf = (identity: Identity): string | undefined => ('customer' in identity ? identity.customer : undefined);

describe('a revocation', () => {
  test('lets no certificate of the identity pass that was issued up to its date, whatever else is on the lists', () => {
    fc.assert(
      fc.property(certificates, fc.integer({ min: 0, max: 1000 }), fc.array(lists, { maxLength: 3 }), (certificate, later, others) => {
        const named = { ...NOTHING, revoked: [{ identity: identityPath(certificate.identity), until: isoSeconds(certificate.issued + later * 1000) }] };
        for (const all of [
          [...others, named],
          [named, ...others],
        ])
          expect(revokedBecause(indexRevocations(all), certificate)).toBeDefined();
      }),
    );
  });

  test('refuses exactly whom some list names: by date, by the CA of its group, or by its customer', () => {
    fc.assert(
      fc.property(certificates, fc.array(lists, { maxLength: 3 }), (certificate, all) => {
        const { identity, issued, generation } = certificate;
        const byDate = all.some(({ revoked }) => revoked.some((entry) => entry.identity === identityPath(identity) && issued <= Date.parse(entry.until)));
        const byCa =
          'group' in identity &&
          all.some(({ oldestCas }) =>
            oldestCas.some((oldest) => oldest.customer === identity.customer && oldest.group === identity.group && generation < oldest.generation),
          );
        const byCustomer = all.some(({ retired }) => retired.some((customer) => customer === customerOf(identity)));
        expect(revokedBecause(indexRevocations(all), certificate) !== undefined).toBe(byDate || byCa || byCustomer);
      }),
    );
  });

  test('leaves the name free for a certificate made a second later', () => {
    fc.assert(
      fc.property(certificates, (certificate) => {
        const list = { ...NOTHING, revoked: [{ identity: identityPath(certificate.identity), until: isoSeconds(certificate.issued) }] };
        expect(revokedBecause(indexRevocations([list]), { ...certificate, issued: certificate.issued + 1000 })).toBeUndefined();
      }),
    );
  });

  test('that names no possible date takes the place of none that does', () => {
    const device = { role: 'device', customer: 'acme', site: 'north', group: 'ct', device: 'ct-1' } as const;
    const identity = identityPath(device);
    const genuine = { ...NOTHING, revoked: [{ identity, until: '2026-03-01T00:00:00Z' }] };
    const absurd = { ...NOTHING, revoked: [{ identity, until: '2026-99-99T99:99:99Z' }] };
    const issued = Date.UTC(2026, 1, 1);
    expect(revokedBecause(indexRevocations([genuine, absurd]), { identity: device, issued, generation: 1 })).toBeDefined();
    expect(revokedBecause(indexRevocations([absurd]), { identity: device, issued, generation: 1 })).toBeUndefined();
  });

  test('means the same when a gateway tells its devices of it', () => {
    const scope = { customer: 'acme', group: 'ct' };
    const revoked = fc.array(fc.record({ identity: identities.map(identityPath), until: seconds.map(isoSeconds) }), { minLength: 1, maxLength: 6 });
    fc.assert(
      fc.property(
        fc.record({ revoked: fc.option(revoked, { nil: undefined }), oldestCa: fc.option(fc.integer({ min: 2, max: 5 }), { nil: undefined }) }),
        (bundle) => {
          const list = revocationsOf({ ...scope, ...bundle });
          expect(revocationsOf({ ...scope, ...toldOf(scope, list) })).toEqual(list);
        },
      ),
    );
  });

  test('in a bundle retires the earlier CAs of its own group at all sites, and of no other', () => {
    const index = indexRevocations([revocationsOf({ customer: 'acme', group: 'ct', oldestCa: 2 })]);
    const device = { role: 'device', customer: 'acme', site: 'north', group: 'ct', device: 'ct-1' } as const;
    expect(revokedBecause(index, { identity: device, issued: 0, generation: 1 })).toMatch(/Generation 1/);
    expect(revokedBecause(index, { identity: device, issued: 0, generation: 2 })).toBeUndefined();
    expect(revokedBecause(index, { identity: { ...device, group: 'pumps' }, issued: 0, generation: 1 })).toBeUndefined();
    expect(revokedBecause(index, { identity: { role: 'gateway', customer: 'acme', site: 'north', gateway: 'gw' }, issued: 0, generation: 1 })).toBeUndefined();
  });
});
