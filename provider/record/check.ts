import { open } from '../../certs/envelope.ts';
import type { Certified } from '../../shared/base/identity.ts';
import { CHAINS_REMEMBERED } from '../../shared/base/limits.ts';
import { sha256 } from '../../shared/bundle/digest.ts';
import type { Statement } from '../../shared/wire/messages.ts';
import { checkSigner, readEnvelope, readStatement } from './statement.ts';

/** A statement and the proof that its device made it. Plain data: it passes from one thread to another. */
export interface Checked {
  readonly statement: Statement;
  /** sha256 of the payload's bytes. */
  readonly digest: string;
  readonly signer: Certified;
  /** As they came, in base64. */
  readonly payload: string;
  readonly signature: string;
  /** sha256 of the signer's certificates in the form in which they are kept with the log (`chainOf`). */
  readonly chain: string;
}
export interface CheckTerms {
  readonly rootPem: string;
  /** Milliseconds since 1970. */
  readonly now: number;
}

/** All that can be said of a statement without looking at the registry, and nearly all of the work: so it can be done beside the thread that decides. */
export class Checker {
  /** By leaf. */
  readonly #chains = new Map<string, { readonly certificates: readonly string[]; readonly hash: string }>();

  /** @throws STATEMENT_INVALID, STATEMENT_FORGED, SIGNATURE_INVALID, CERT_* */
  check(bytes: Buffer, { rootPem, now }: CheckTerms): Checked {
    const envelope = readEnvelope(bytes);
    const { payload, identity, issued, generation } = open(envelope, rootPem, { now });
    const statement = readStatement(payload);
    checkSigner(identity, statement);
    return {
      statement,
      digest: sha256(payload),
      signer: { identity, issued, generation },
      payload: envelope.payload,
      signature: envelope.signature,
      chain: this.#chain(envelope.chain),
    };
  }

  #chain(certificates: readonly string[]): string {
    const [leaf = ''] = certificates;
    const known = this.#chains.get(leaf);
    if (known !== undefined && known.certificates.length === certificates.length && known.certificates.every((der, at) => der === certificates[at]))
      return known.hash;
    const hash = sha256(printChain(certificates));
    if (this.#chains.size >= CHAINS_REMEMBERED) this.#chains.clear();
    this.#chains.set(leaf, { certificates, hash });
    return hash;
  }
}

/** The certificates of an envelope that was checked, as they are kept with the log: once for all statements of a device. */
export function chainOf(bytes: Buffer): Buffer {
  return printChain(readEnvelope(bytes).chain);
}

function printChain(certificates: readonly string[]): Buffer {
  return Buffer.from(JSON.stringify(certificates), 'utf8');
}
