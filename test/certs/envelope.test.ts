import { constants, createPrivateKey, sign } from 'node:crypto';
import fc from 'fast-check';
import { beforeAll, describe, expect, test } from 'vitest';
import type { Credentials } from '../../certs/credentials.ts';
import { open, rememberedChains, type Signed, seal } from '../../certs/envelope.ts';
import type { ErrorCode } from '../../shared/base/errors.ts';
import { type Identity, identityPath } from '../../shared/base/identity.ts';
import { MAX_VERIFIED_CHAINS } from '../../shared/base/limits.ts';
import { DAY, DEVICE, DEVICE_B, DOMAIN, PROVIDER, Workshop } from '../support/bad-certificates.ts';

let workshop: Workshop;
let foreign: Workshop;
beforeAll(async () => {
  [workshop, foreign] = await Promise.all([Workshop.open(), Workshop.open()]);
});

function credentialsOf(identity: Identity, from = workshop): Credentials {
  const papers = from.leaf(identity);
  return { ...papers, identity, trustDomain: DOMAIN, key: createPrivateKey(papers.keyPem), begins: new Date(from.now), expires: new Date(from.now + DAY) };
}

const payload = Buffer.from('{"counter":1}');
const read = (envelope: Signed, now = workshop.now): { identity: Identity; payload: Buffer } => open(envelope, workshop.root.pem, { now });
const refused = (code: ErrorCode): unknown => expect.objectContaining({ code, remedy: expect.any(String) });

test('what is sealed opens to the same bytes and the signer, whatever its role', () => {
  fc.assert(
    fc.property(fc.uint8Array({ maxLength: 2000 }), fc.constantFrom(DEVICE, PROVIDER), (bytes, identity) => {
      expect(read(seal(Buffer.from(bytes), credentialsOf(identity)))).toMatchObject({ identity, generation: 1, payload: Buffer.from(bytes) });
    }),
    { numRuns: 20 },
  );
});

test('no single flipped bit of payload or signature opens', () => {
  const envelope = seal(payload, credentialsOf(DEVICE));
  fc.assert(
    fc.property(fc.constantFrom('payload', 'signature'), fc.nat(), fc.nat(7), (part, at, bit) => {
      const bytes = Buffer.from(envelope[part], 'base64');
      bytes[at % bytes.length] = (bytes[at % bytes.length] ?? 0) ^ (1 << bit);
      expect(() => read({ ...envelope, [part]: bytes.toString('base64') })).toThrow(refused('SIGNATURE_INVALID'));
    }),
  );
});

describe('an envelope is refused', () => {
  test('with the chain of somebody else', () => {
    const spareChain = foreign.leaf(DEVICE_B).chain.map((der) => der.toString('base64'));
    expect(() => read({ ...seal(payload, credentialsOf(DEVICE)), chain: spareChain })).toThrow(refused('CERT_FOREIGN_CA'));
  });
  test('signed by a stranger under this name', () => {
    const { chain } = seal(payload, credentialsOf(DEVICE));
    expect(() => read({ ...seal(payload, credentialsOf(DEVICE, foreign)), chain })).toThrow(refused('SIGNATURE_INVALID'));
  });
  test('with another padding or salt, so that one statement has one form of signature', () => {
    const credentials = credentialsOf(DEVICE);
    const envelope = seal(payload, credentials);
    for (const scheme of [{ padding: constants.RSA_PKCS1_PADDING }, { padding: constants.RSA_PKCS1_PSS_PADDING, saltLength: 20 }]) {
      const signature = sign('sha256', payload, { key: credentials.key, ...scheme }).toString('base64');
      expect(() => read({ ...envelope, signature })).toThrow(refused('SIGNATURE_INVALID'));
    }
  });
  test('without a chain, and with base64 that is not canonical', () => {
    const envelope = seal(payload, credentialsOf(DEVICE));
    expect(() => read({ ...envelope, chain: [] })).toThrow(refused('CERT_MISSING'));
    expect(() => read({ ...envelope, payload: `${envelope.payload} ` })).toThrow(refused('SIGNATURE_INVALID'));
    expect(() => read({ ...envelope, chain: envelope.chain.map((der) => ` ${der}`) })).toThrow(refused('SIGNATURE_INVALID'));
  });
  test('when the certificate has expired, also though its chain was verified before', () => {
    const envelope = seal(payload, credentialsOf(DEVICE));
    expect(read(envelope).identity).toEqual(DEVICE);
    expect(() => read(envelope, workshop.now + 31 * DAY)).toThrow(refused('CERT_EXPIRED'));
    expect(() => read(envelope, workshop.now - 2 * DAY)).toThrow(refused('CERT_NOT_YET_VALID'));
    expect(read(envelope).identity).toEqual(DEVICE);
  });
  test('by another root, also though this root’s word is remembered', () => {
    const envelope = seal(payload, credentialsOf(DEVICE));
    expect(read(envelope).identity).toEqual(DEVICE);
    expect(() => open(envelope, foreign.root.pem, { now: workshop.now })).toThrow(refused('CERT_FOREIGN_CA'));
  });
});

test('the memory of verified chains is bounded, and refused chains do not enter it', () => {
  const signed = seal(payload, credentialsOf(DEVICE));
  for (let i = 0; i < MAX_VERIFIED_CHAINS + 10; i++) {
    // Another text of the same root is another entry: cheap to make many.
    open(signed, `${workshop.root.pem}# ${i}\n`, { now: workshop.now });
  }
  expect(rememberedChains()).toBe(MAX_VERIFIED_CHAINS);
  expect(() => open(signed, foreign.root.pem, { now: workshop.now })).toThrow(refused('CERT_FOREIGN_CA'));
  expect(rememberedChains()).toBe(MAX_VERIFIED_CHAINS);
  expect(identityPath(read(signed).identity)).toContain('device/ct-1');
});
