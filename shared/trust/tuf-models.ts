import { constants, createHash, createPublicKey, type KeyObject, verify } from 'node:crypto';
import { type Key, Metadata, Root, Signature, Targets } from '@tufjs/models';
import { DelegatedRole, type Role } from '@tufjs/models/dist/role.js';
import { WardcastError } from '../base/errors.ts';
import { matchesPattern } from './path-pattern.ts';

/**
 * Where @tufjs/models 4.1 reads the specification otherwise than it is written (docs/decisions/tuf-client.md), corrected in place: tuf-js makes
 * these objects itself and takes no others. Import this module before verifying anything. test/shared/trust/conformance holds each line.
 */
Metadata.prototype.verifyDelegate = function (name, delegated): void {
  const { role } = trustedKeys(this.signed, name);
  if (role === undefined) throw new Error(`no delegation found for ${name}`);
  const { signers } = signaturesOf(this, name, delegated);
  if (signers < role.threshold) throw new Error(`${name} was signed by ${signers}/${role.threshold} keys`);
};

/** The ids of a role's keys whose signatures on `delegated` are valid, and how many different keys they are. */
export function signaturesOf(
  delegator: { readonly signed: unknown },
  name: string,
  delegated: AnyMetadata,
): { readonly ids: readonly string[]; readonly signers: number } {
  const { role, keys } = trustedKeys(delegator.signed, name);
  const bytes = signedBytes(delegated);
  const ids: string[] = [];
  // By the key itself, not by the id it is listed under: one key under two ids is one signer (4.3, 5.3.4).
  const signers = new Set<string>();
  for (const id of role?.keyIDs ?? []) {
    const key = own(keys, id);
    const signature = own(delegated.signatures, id);
    if (key === undefined || signature === undefined) continue;
    const verifier = verifierOf(key);
    if (verifier?.verifies(bytes, signature.sig) !== true) continue;
    ids.push(id);
    signers.add(verifier.identity);
  }
  return { ids, signers: signers.size };
}

type AnyMetadata = Parameters<Metadata<Root>['verifyDelegate']>[1];

DelegatedRole.prototype.isDelegatedPath = function (path): boolean {
  if (this.paths !== undefined) return this.paths.some((pattern) => matchesPattern(path, pattern));
  const hash = createHash('sha256').update(path).digest('hex');
  return this.pathHashPrefixes?.some((prefix) => hash.startsWith(prefix)) ?? false;
};

function trustedKeys(signed: unknown, name: string): { readonly role: Role | undefined; readonly keys: Readonly<Record<string, Key>> } {
  if (signed instanceof Root) return { role: own(signed.roles, name), keys: signed.keys };
  if (!(signed instanceof Targets) || signed.delegations === undefined) return { role: undefined, keys: {} };
  const { roles, succinctRoles, keys } = signed.delegations;
  if (roles !== undefined) return { role: own(roles, name), keys };
  return { role: succinctRoles?.isDelegatedRole(name) === true ? succinctRoles : undefined, keys };
}

/** The bytes that signatures are over: the library's own canonical JSON, which it hands to whoever signs. @throws METADATA_INVALID where it has none */
function signedBytes(metadata: AnyMetadata): Buffer {
  let bytes: Buffer = Buffer.alloc(0);
  try {
    new Metadata(metadata.signed).sign((canonical) => {
      bytes = canonical;
      return new Signature({ keyID: '', sig: '' });
    });
  } catch (cause) {
    // Fractions, for one, in a member that nobody knows.
    throw new WardcastError('METADATA_INVALID', 'The metadata holds what canonical JSON cannot write, so that nobody can have signed it', { cause });
  }
  return bytes;
}

interface Verifier {
  /** The same for the same key, however it is written down. */
  readonly identity: string;
  verifies(bytes: Buffer, signature: string): boolean;
}

/** Undefined for keys and schemes we do not know: they sign for nobody, and harm nobody (4.2). */
function verifierOf(key: Key): Verifier | undefined {
  const scheme = SCHEMES.find(({ types, names }) => types.includes(key.keyType) && names.includes(key.scheme));
  if (scheme === undefined) return undefined;
  try {
    const publicKey = scheme.read(key.keyVal['public'] ?? '');
    if (!scheme.fits(publicKey)) return undefined;
    const digest = key.scheme.startsWith('rsa') ? key.scheme.slice(-'sha256'.length) : scheme.digest;
    return {
      identity: publicKey.export({ type: 'spki', format: 'der' }).toString('hex'),
      verifies: (bytes, signature) => {
        if (!/^(?:[0-9a-f]{2})+$/i.test(signature)) return false;
        const padding = key.scheme.startsWith('rsassa-pss') ? constants.RSA_PKCS1_PSS_PADDING : undefined;
        return verify(digest, bytes, { key: publicKey, ...(padding === undefined ? {} : { padding }) }, Buffer.from(signature, 'hex'));
      },
    };
  } catch {
    // No such key can be made of it; whoever counts signatures goes on without it.
    return undefined;
  }
}

interface Scheme {
  readonly types: readonly string[];
  readonly names: readonly string[];
  /** Null where the algorithm says it itself. */
  readonly digest: string | null;
  read(text: string): KeyObject;
  fits(key: KeyObject): boolean;
}

const SCHEMES: readonly Scheme[] = [
  {
    types: ['ed25519'],
    names: ['ed25519'],
    digest: null,
    read: (text) => (isPem(text) ? createPublicKey(text) : jwk('OKP', 'Ed25519', hex(text, 32))),
    fits: (key) => key.asymmetricKeyType === 'ed25519',
  },
  ecdsa('ecdsa-sha2-nistp256', 'P-256', 'prime256v1', 'sha256', 32),
  ecdsa('ecdsa-sha2-nistp384', 'P-384', 'secp384r1', 'sha384', 48),
  {
    types: ['rsa'],
    names: ['rsassa-pss', 'rsa-pkcs1v15'].flatMap((name) => ['sha256', 'sha384', 'sha512'].map((digest) => `${name}-${digest}`)),
    digest: 'sha256',
    read: (text) => createPublicKey(pem(text)),
    // The specification asks for 2048 bits at least.
    fits: (key) => key.asymmetricKeyType === 'rsa' && (key.asymmetricKeyDetails?.modulusLength ?? 0) >= 2048,
  },
];

function ecdsa(name: string, crv: string, curve: string, digest: string, size: number): Scheme {
  return {
    types: ['ecdsa', name],
    names: [name],
    digest,
    // Old repositories write the bare point in hex.
    read: (text) => (isPem(text) ? createPublicKey(text) : jwk('EC', crv, hex(text, 1 + 2 * size).subarray(1))),
    fits: (key) => key.asymmetricKeyType === 'ec' && key.asymmetricKeyDetails?.namedCurve === curve,
  };
}

function jwk(kty: 'OKP' | 'EC', crv: string, bytes: Buffer): KeyObject {
  const coordinates = kty === 'OKP' ? [bytes] : [bytes.subarray(0, bytes.length / 2), bytes.subarray(bytes.length / 2)];
  const [x = '', y] = coordinates.map((part) => part.toString('base64url'));
  return createPublicKey({ format: 'jwk', key: { kty, crv, x, ...(y === undefined ? {} : { y }) } });
}

function isPem(text: string): boolean {
  return text.trimStart().startsWith('-----BEGIN PUBLIC KEY-----');
}

function pem(text: string): string {
  if (!isPem(text)) throw new TypeError('no public key in PEM');
  return text;
}

function hex(text: string, bytes: number): Buffer {
  if (text.length !== 2 * bytes || !/^[0-9a-f]*$/i.test(text)) throw new TypeError('no hexadecimal key of that size');
  return Buffer.from(text, 'hex');
}

/** A member of a table whose names come from outside: never what every object inherits. */
function own<T>(table: Readonly<Record<string, T>>, name: string): T | undefined {
  return Object.hasOwn(table, name) ? table[name] : undefined;
}
