import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { type Identity, isId, parseSpiffeId, spiffeId } from '../../../shared/base/identity.ts';

const id = fc.stringMatching(/^[a-z0-9]([a-z0-9-]{0,20}[a-z0-9])?$/);
const identity: fc.Arbitrary<Identity> = fc.oneof(
  fc.record({ role: fc.constant('provider' as const), name: id }),
  fc.record({ role: fc.constant('ops' as const), name: id }),
  fc.record({ role: fc.constant('gateway' as const), customer: id, site: id, gateway: id }),
  fc.record({ role: fc.constant('device' as const), customer: id, site: id, group: id, device: id }),
);

describe('SPIFFE ids', () => {
  it('read back as the identity they were written from', () => {
    fc.assert(
      fc.property(identity, (one) => {
        expect(parseSpiffeId(spiffeId('vendor.example', one))).toEqual({ trustDomain: 'vendor.example', identity: one });
      }),
    );
  });

  it.each([
    'spiffe://vendor.example/',
    'spiffe://vendor.example/ops',
    'spiffe://vendor.example/ops/',
    'spiffe://vendor.example/ops/olga/x',
    'spiffe://Vendor.example/ops/olga',
    'spiffe://vendor.example:8883/ops/olga',
    'spiffe://user@vendor.example/ops/olga',
    'spiffe://vendor.example/ops/olga?x',
    'spiffe://vendor.example/ops/%6flga',
    'spiffe://vendor.example/ops/../provider/vendor',
    'https://vendor.example/ops/olga',
    'spiffe://vendor.example/customer/acme/site/north/group/ct',
    'spiffe://vendor.example/customer/acme/site/north/group/ct/device/',
    'spiffe://vendor.example/customer/acme/group/ct/site/north/device/one',
    'spiffe://vendor.example/ops/olga\n',
  ])('refuse %j', (uri) => {
    expect(() => parseSpiffeId(uri)).toThrow(expect.objectContaining({ code: 'CERT_BAD_IDENTITY' }));
  });
});

describe('ids', () => {
  it.each(['a', 'ct-1', '0', 'a'.repeat(63)])('take %j', (text) => expect(isId(text)).toBe(true));
  it.each(['', '-a', 'a-', 'A', 'a_b', 'a.b', 'a/b', '+', '#', 'ä', 'a'.repeat(64), 'a\n'])('refuse %j', (text) => expect(isId(text)).toBe(false));
});
