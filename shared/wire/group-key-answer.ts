import { createCipheriv, createDecipheriv, createPublicKey, diffieHellman, generateKeyPairSync, hkdfSync, type KeyObject } from 'node:crypto';
import { WardcastError } from '../base/errors.ts';
import { type DeviceIdentity, identityPath } from '../base/identity.ts';
import { GroupKeys, type KeyAnswer } from './messages.ts';

/**
 * Group keys for the eyes of one device, through brokers that must not read them: ephemeral X25519 on both sides (RFC 7748), HKDF-SHA256 (RFC 5869) with
 * both public keys and the device's identity as info, AES-256-GCM. As in RFC 9180's base mode: the device's question is signed, so that nobody else is
 * answered; the answer is not, since what it holds must fit the commitment in the group's signed bundle. Pure, but for randomness.
 */

/** An X25519 key pair for one question or one answer. */
export interface Ephemeral {
  /** 32 bytes, base64. */
  readonly publicKey: string;
  readonly privateKey: KeyObject;
}

const TAG_BYTES = 16;
/** Each key encrypts one message: two fresh key pairs are in it. */
const NONCE = Buffer.alloc(12);
const NO_SALT = Buffer.alloc(0);

export function newEphemeral(): Ephemeral {
  const { publicKey, privateKey } = generateKeyPairSync('x25519');
  const { x = '' } = publicKey.export({ format: 'jwk' });
  return { publicKey: Buffer.from(x, 'base64url').toString('base64'), privateKey };
}

/** @param question the device's public key. @throws SIGNATURE_INVALID when it is none */
export function sealGroupKeys(keys: GroupKeys, to: DeviceIdentity, question: string): KeyAnswer {
  const own = newEphemeral();
  const cipher = createCipheriv('aes-256-gcm', answerKey({ own, other: question, question, answer: own.publicKey, device: to }), NONCE);
  const sealed = Buffer.concat([cipher.update(JSON.stringify(keys), 'utf8'), cipher.final(), cipher.getAuthTag()]);
  return { question, publicKey: own.publicKey, sealed: sealed.toString('base64') };
}

/** @throws SIGNATURE_INVALID when it is no answer to this device and question */
export function openGroupKeys(answer: KeyAnswer, device: DeviceIdentity, own: Ephemeral): GroupKeys {
  try {
    const sealed = Buffer.from(answer.sealed, 'base64');
    const end = sealed.length - TAG_BYTES;
    const key = answerKey({ own, other: answer.publicKey, question: own.publicKey, answer: answer.publicKey, device });
    const decipher = createDecipheriv('aes-256-gcm', key, NONCE, { authTagLength: TAG_BYTES });
    decipher.setAuthTag(sealed.subarray(end));
    return GroupKeys.parse(JSON.parse(Buffer.concat([decipher.update(sealed.subarray(0, end)), decipher.final()]).toString('utf8')));
  } catch (cause) {
    throw new WardcastError('SIGNATURE_INVALID', 'What came as the keys of this group is no answer to this device', {
      cause,
      remedy: 'An answer that was altered, or meant for another question: the device asks again by itself.',
    });
  }
}

function answerKey(o: { own: Ephemeral; other: string; question: string; answer: string; device: DeviceIdentity }): Buffer {
  let secret: Buffer;
  try {
    const x = Buffer.from(o.other, 'base64').toString('base64url');
    const publicKey = createPublicKey({ key: { kty: 'OKP', crv: 'X25519', x }, format: 'jwk' });
    // Fails for points of small order, with which anybody could know the secret (RFC 7748, 6.1).
    secret = diffieHellman({ privateKey: o.own.privateKey, publicKey });
  } catch (cause) {
    throw new WardcastError('SIGNATURE_INVALID', 'A public key for an answer about group keys is none', { cause });
  }
  const info = `wardcast group key answer ${o.question} ${o.answer} ${identityPath(o.device)}`;
  return Buffer.from(hkdfSync('sha256', secret, NO_SALT, info, 32));
}
