import fc from 'fast-check';
import { beforeAll, describe, expect, test } from 'vitest';
import { createKeyPair, type KeyPair } from '../../certs/build.ts';
import { type ChainUsage, verifyChain } from '../../certs/identity.ts';
import { type CaScope, usagesOf } from '../../certs/scope.ts';
import type { ErrorCode } from '../../shared/base/errors.ts';
import { type Identity, spiffeId } from '../../shared/base/identity.ts';
import { MAX_LEAF_DAYS } from '../../shared/base/limits.ts';
import { badPapers, DAY, DEVICE, DEVICE_B, DOMAIN, GATEWAY, OPS, type Papers, PROVIDER, Workshop } from '../support/bad-certificates.ts';

let workshop: Workshop;
let foreign: Workshop;
let spare: KeyPair;
beforeAll(async () => {
  [workshop, foreign, spare] = await Promise.all([Workshop.open(), Workshop.open(), createKeyPair()]);
});

function verify(papers: Papers, o: { usage?: ChainUsage; now?: number } = {}): Identity {
  return verifyChain(papers.chain, papers.rootPem, { now: o.now ?? workshop.now, usage: o.usage ?? 'client' }).identity;
}

function expectCode(code: ErrorCode, papers: Papers, o: { usage?: ChainUsage; now?: number } = {}): void {
  expect(() => verify(papers, o)).toThrow(expect.objectContaining({ code, remedy: expect.any(String) }));
}

const GROUP: CaScope = { kind: 'group', customer: 'acme', group: 'ct' };
const CUSTOMER: CaScope = { kind: 'customer', customer: 'acme' };

describe('a proper chain', () => {
  test('gives the identity of every role, in its directions only', () => {
    for (const identity of [DEVICE, GATEWAY, PROVIDER, OPS]) {
      const papers = workshop.leaf(identity);
      expect(verify(papers, { usage: 'signature' })).toEqual(identity);
      for (const usage of ['client', 'server'] as const) {
        if (usagesOf(identity.role).includes(usage)) expect(verify(papers, { usage })).toEqual(identity);
        else expectCode('CERT_WRONG_USAGE', papers, { usage });
      }
    }
  });
  test('may carry the root along', () => {
    const papers = workshop.leaf(DEVICE);
    const root = foreignRoot(workshop);
    expect(verify({ ...papers, chain: [...papers.chain, root] })).toEqual(DEVICE);
  });
  test('tells when it begins and ends to be valid, as a whole', () => {
    const notAfter = new Date(Math.floor((workshop.now + DAY) / 1000) * 1000);
    const verified = verifyChain(workshop.leaf(DEVICE, { notAfter }).chain, workshop.root.pem, { now: workshop.now, usage: 'client' });
    expect(verified.notAfter).toBe(notAfter.getTime());
    expect(verified.trustDomain).toBe(DOMAIN);
  });
});

describe('a chain is refused with its own code', () => {
  test.each<[string, ErrorCode]>([
    ['expired', 'CERT_EXPIRED'],
    ['not yet valid', 'CERT_NOT_YET_VALID'],
    ['foreign CA', 'CERT_FOREIGN_CA'],
    ['URI and issuer disagree', 'CERT_ISSUER_MISMATCH'],
    ['a leaf used as CA', 'CERT_LEAF_AS_CA'],
    ['server-only EKU', 'CERT_WRONG_USAGE'],
    ['wrong trust root', 'CERT_FOREIGN_CA'],
  ])('when it is: %s', (name, code) => {
    const papers = badPapers(workshop, foreign, spare)[name];
    if (papers === undefined) throw new Error(name);
    expectCode(code, papers);
  });
  test('when there is none', () => {
    expectCode('CERT_MISSING', { ...workshop.leaf(DEVICE), chain: [] });
  });
  test('when a CA of it expired before the leaf, or the root did', () => {
    const papers = workshop.leaf(DEVICE, { notAfter: new Date(workshop.now + 300 * DAY) });
    expectCode('CERT_EXPIRED', papers, { now: workshop.now + 31 * DAY });
  });
  test('when the leaf is valid for longer than a revocation is kept', () => {
    expectCode('CERT_INVALID', workshop.leaf(DEVICE, { notAfter: new Date(workshop.now + (MAX_LEAF_DAYS + 1) * DAY) }));
  });
  test('when a CA stands in place of the leaf', () => {
    const issuer = workshop.issuer(DEVICE);
    expectCode('CERT_IS_CA', workshop.papers(issuer.pem, issuer.above));
    expectCode('CERT_IS_CA', workshop.leaf(DEVICE, { ca: { pathLength: 0 } }));
  });
  test('when a CA of another kind or place issued the leaf, even within its own customer', () => {
    expectCode('CERT_ISSUER_MISMATCH', workshop.leaf(DEVICE, {}, workshop.issuer(GATEWAY)));
    expectCode('CERT_ISSUER_MISMATCH', workshop.leaf(GATEWAY, {}, workshop.issuer(DEVICE)));
    expectCode('CERT_ISSUER_MISMATCH', workshop.leaf(PROVIDER, { usages: ['client'] }, workshop.issuer(DEVICE)));
    expectCode('CERT_ISSUER_MISMATCH', workshop.leaf(OPS, {}, workshop.issuer(PROVIDER)));
    expectCode('CERT_ISSUER_MISMATCH', workshop.leaf(DEVICE, {}, workshop.root));
  });
  test('when another customer’s CA founded a group CA in this customer’s name', () => {
    const other = workshop.ca({ kind: 'customer', customer: 'globex' }, workshop.root);
    expectCode('CERT_ISSUER_MISMATCH', workshop.leaf(DEVICE, {}, workshop.ca(GROUP, other)));
  });
  test('when a CA has the right name and the wrong URI, or the right URI and the wrong name', () => {
    const customer = workshop.ca(CUSTOMER, workshop.root);
    const uri = 'spiffe://example.com/customer/acme/group/pumps';
    expectCode('CERT_ISSUER_MISMATCH', workshop.leaf(DEVICE, {}, workshop.ca(GROUP, customer, { uris: [uri] })));
    expectCode('CERT_ISSUER_MISMATCH', workshop.leaf(DEVICE_B, {}, workshop.ca(GROUP, customer, { uris: [uri] })));
  });
  test('when the leaf is of another trust domain than its root', () => {
    expectCode('CERT_ISSUER_MISMATCH', workshop.leaf(DEVICE, { uris: [spiffeId('example.org', DEVICE)] }));
  });
  test('when a group CA founds a further CA in spite of its path length', () => {
    expectCode('CERT_INVALID', workshop.leaf(DEVICE, {}, workshop.ca(GROUP, workshop.issuer(DEVICE))));
  });
  test('when it has no URI, two, or a malformed one', () => {
    expectCode('CERT_BAD_IDENTITY', workshop.leaf(DEVICE, { uris: [] }));
    expectCode('CERT_BAD_IDENTITY', workshop.leaf(DEVICE, { uris: [spiffeId(DOMAIN, DEVICE), spiffeId(DOMAIN, DEVICE_B)] }));
    expectCode('CERT_BAD_IDENTITY', workshop.leaf(DEVICE, { uris: [`${spiffeId(DOMAIN, DEVICE)}?x`] }));
    expectCode('CERT_BAD_IDENTITY', workshop.leaf(DEVICE, { uris: [`${spiffeId(DOMAIN, DEVICE)}\0`] }));
  });
  test('when the leaf names no usage at all', () => {
    expectCode('CERT_WRONG_USAGE', workshop.leaf(DEVICE, { usages: [] }));
  });
  test('when it has a critical extension nobody understands, an extension twice, or a SHA-1 signature', () => {
    expectCode('CERT_INVALID', workshop.forgedLeaf([{ id: '1.2.3.4', critical: true, value: '\x05\x00' }]));
    expectCode('CERT_INVALID', workshop.forgedLeaf([{ name: 'keyUsage', critical: true, digitalSignature: true }]));
    expectCode('CERT_INVALID', workshop.forgedLeaf([], { sha1: true }));
    expect(verify(workshop.forgedLeaf([{ id: '1.2.3.4', value: '\x05\x00' }]))).toEqual(DEVICE);
  });
  test('when it is too long, in the wrong order, or has bytes behind it', () => {
    const papers = workshop.leaf(DEVICE);
    const [leaf = Buffer.alloc(0), ...above] = papers.chain;
    expectCode('CERT_INVALID', { ...papers, chain: [leaf, ...above, ...above, ...above] });
    expectCode('CERT_FOREIGN_CA', { ...papers, chain: [leaf, ...above.toReversed()] });
    expectCode('CERT_FOREIGN_CA', { ...papers, chain: [leaf] });
    expectCode('CERT_INVALID', { ...papers, chain: [Buffer.concat([leaf, Buffer.from([0])]), ...above] });
    expectCode('CERT_INVALID', { ...papers, chain: [Buffer.alloc(7000, leaf), ...above] });
  });
  test('when its trusted root is no CA, or unreadable', () => {
    expectCode('CERT_FOREIGN_CA', { ...workshop.leaf(DEVICE), rootPem: foreign.root.pem });
    expectCode('CERT_INVALID', { ...workshop.leaf(DEVICE), rootPem: 'nothing' });
  });
});

test('no single flipped byte of a chain verifies', () => {
  const papers = workshop.leaf(DEVICE);
  fc.assert(
    fc.property(fc.nat(papers.chain.length - 1), fc.nat(), fc.integer({ min: 1, max: 255 }), (which, at, mask) => {
      const chain = papers.chain.map((der, index) => {
        const copy = Buffer.from(der);
        const place = at % copy.length;
        if (index === which) copy[place] = (copy[place] ?? 0) ^ mask;
        return copy;
      });
      expect(() => verify({ ...papers, chain })).toThrow(expect.objectContaining({ code: expect.stringMatching(/^CERT_/) }));
    }),
    { numRuns: 300 },
  );
});

function foreignRoot(of: Workshop): Buffer {
  return of.papers(of.root.pem, undefined).chain[0] ?? Buffer.alloc(0);
}
