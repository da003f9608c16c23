import type { Credentials } from '../../certs/credentials.ts';
import { open } from '../../certs/envelope.ts';
import { type Clock, timestamp } from '../../shared/base/clock.ts';
import { WardcastError } from '../../shared/base/errors.ts';
import { type Certified, type GatewayIdentity, identityPath } from '../../shared/base/identity.ts';
import { CHAINS_REMEMBERED } from '../../shared/base/limits.ts';
import { sha256 } from '../../shared/bundle/digest.ts';
import type { Receipt, Signed, Statement } from '../../shared/wire/messages.ts';
import { indexRevocations, revokedBecause } from '../../shared/wire/revocation.ts';
import type { ChangeOf } from '../registry/changes.ts';
import type { Decision, Registry } from '../registry/registry.ts';
import { listAbout } from '../registry/revoked.ts';
import { keys } from '../registry/rows.ts';
import type { LogEntry } from './log.ts';
import { Notary, type Sealed } from './notary.ts';
import { receiptFor } from './receipt.ts';
import { remember } from './said.ts';
import { checkSigner, judge, readEnvelope, readStatement, type Verdict } from './statement.ts';

export interface Recorded {
  readonly statement: Statement;
  readonly verdict: Verdict;
  readonly receipt: Receipt;
  readonly sealed: Sealed;
}

/** Takes the devices' statements: verifies, decides, logs, and only then has the receipt signed. */
export class Recorder {
  readonly #registry: Registry;
  readonly #credentials: () => Credentials;
  readonly #clock: Clock;
  readonly #notary: Notary;
  /** Chains as they are kept with the log, by their leaf. */
  readonly #chains = new Map<string, Chain>();

  constructor(o: { registry: Registry; credentials: () => Credentials; clock: Clock }) {
    this.#registry = o.registry;
    this.#credentials = o.credentials;
    this.#clock = o.clock;
    this.#notary = new Notary(o);
  }

  /**
   * Resolves when the statement is on disk, or when it is clear that it never will be (see the verdict).
   * @param bytes the signed envelope as it came
   * @param from the gateway that passed it on, which may speak for the devices of its own site alone
   * @throws STATEMENT_INVALID, STATEMENT_FORGED, SIGNATURE_INVALID, CERT_*: no receipt can be given, since nobody proved to be the device
   */
  async record(bytes: Buffer, from: GatewayIdentity): Promise<Recorded> {
    const envelope = readEnvelope(bytes);
    const credentials = this.#credentials();
    const { payload, ...signer } = open(envelope, credentials.rootPem, { now: this.#clock.now() });
    const { identity } = signer;
    const statement = readStatement(payload);
    checkSigner(identity, statement);
    if (from.customer !== statement.customer || from.site !== statement.site) {
      throw new WardcastError('DENIED', `${identityPath(from)} passed on a statement of ${identityPath(identity)}, which is at another site`, {
        remedy: 'Find out how the statement came there: a gateway carries the words of its own site alone.',
      });
    }
    const digest = sha256(payload);
    const { verdict, entry, highest } = await this.#commit(statement, envelope, digest, signer);
    const receipt = receiptFor(statement, digest, { verdict, highest, entry, at: timestamp(this.#clock) });
    return { statement, verdict, receipt, sealed: await this.#notary.seal(receipt, statement.head) };
  }

  async #commit(
    statement: Statement,
    envelope: Signed,
    digest: string,
    signer: Certified,
  ): Promise<{ verdict: Verdict; entry: LogEntry | undefined; highest: number }> {
    const { customer, device, counter } = statement;
    const { result, entry } = await this.#registry.transact(identityPath(signer.identity), (read): Decision<{ verdict: Verdict; highest: number }> => {
      const standing = read(keys.standing(customer, device));
      const same = read(keys.history(customer, device, counter));
      const list = listAbout(signer.identity, read, (name) => read(keys.customer(name))?.retired !== undefined);
      const revoked = revokedBecause(indexRevocations([list]), signer);
      const verdict = judge(statement, digest, { device: read(keys.device(customer, device)), standing, same, revoked });
      const before = standing?.counter ?? 0;
      if (verdict.outcome !== 'record') return { result: { verdict, highest: before } };
      const chain = this.#chain(envelope.chain);
      const change: ChangeOf<'statement'> = { type: 'statement', payload: envelope.payload, signature: envelope.signature, chain: chain.hash };
      remember(change, { statement, digest });
      return { result: { verdict, highest: Math.max(before, counter) }, change, blobs: new Map([[chain.hash, chain.bytes]]) };
    });
    const { verdict, highest } = result;
    if (verdict.outcome === 'again') return { verdict, highest, entry: await this.#registry.entry(verdict.sequence) };
    return { verdict, highest, entry };
  }

  #chain(certificates: readonly string[]): Chain {
    const [leaf = ''] = certificates;
    const known = this.#chains.get(leaf);
    if (known !== undefined && known.certificates.length === certificates.length && known.certificates.every((der, at) => der === certificates[at]))
      return known;
    const bytes = Buffer.from(JSON.stringify(certificates), 'utf8');
    const fresh: Chain = { certificates, bytes, hash: sha256(bytes) };
    if (this.#chains.size >= CHAINS_REMEMBERED) this.#chains.clear();
    this.#chains.set(leaf, fresh);
    return fresh;
  }
}

interface Chain {
  readonly certificates: readonly string[];
  readonly bytes: Buffer;
  readonly hash: string;
}
