import { X509Certificate } from 'node:crypto';
import { MAX_CHAIN } from '../shared/base/limits.ts';
import { malformed } from './der.ts';

const BLOCK = /-----BEGIN CERTIFICATE-----[A-Za-z0-9+/=\s]+-----END CERTIFICATE-----/g;

/** The certificates of a PEM file as DER, in order. @throws CERT_INVALID when there is none, too many, or one cannot be read */
export function readPemChain(pem: string): Buffer[] {
  const blocks = pem.match(BLOCK) ?? [];
  if (blocks.length === 0 || blocks.length > MAX_CHAIN) throw malformed(`${blocks.length} PEM blocks where 1 to ${MAX_CHAIN} are expected`);
  return blocks.map((block) => {
    try {
      return new X509Certificate(block).raw;
    } catch (error) {
      throw malformed('a PEM block that is no certificate', error);
    }
  });
}
