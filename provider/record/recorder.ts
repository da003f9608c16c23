import type { Credentials } from '../../certs/credentials.ts';
import { type Clock, timestamp } from '../../shared/base/clock.ts';
import { WardcastError } from '../../shared/base/errors.ts';
import { type GatewayIdentity, identityPath } from '../../shared/base/identity.ts';
import type { LogPoint, Receipt, Receipts, Statement } from '../../shared/wire/messages.ts';
import { indexRevocations, revokedBecause } from '../../shared/wire/revocation.ts';
import type { ChangeOf } from '../registry/changes.ts';
import type { Decision, Registry } from '../registry/registry.ts';
import { listAbout } from '../registry/revoked.ts';
import { keys, saidBefore } from '../registry/rows.ts';
import { type Checked, chainOf } from './check.ts';
import type { Checkers } from './checkers.ts';
import type { LogEntry } from './log.ts';
import { Notary, type Sealed } from './notary.ts';
import { receiptFor } from './receipt.ts';
import { remember } from './said.ts';
import { judge, type Verdict } from './statement.ts';

export interface Recorded {
  readonly statement: Statement;
  readonly verdict: Verdict;
  readonly receipt: Receipt;
  readonly sealed: Sealed;
}

/** Takes the devices' statements: verifies, decides, logs, and only then has the receipt signed. */
export class Recorder {
  readonly #registry: Registry;
  readonly #clock: Clock;
  readonly #notary: Notary;
  readonly #checkers: Checkers;
  #underWay = 0;

  constructor(o: { registry: Registry; credentials: () => Credentials; clock: Clock; checkers: Checkers }) {
    this.#registry = o.registry;
    this.#clock = o.clock;
    this.#notary = new Notary(o);
    this.#checkers = o.checkers;
  }

  /**
   * Resolves when the statement is on disk, or when it is clear that it never will be (see the verdict). Statements are decided in the order of the calls.
   * @param bytes the signed envelope as it came
   * @param from the gateway that passed it on, which may speak for the devices of its own site alone
   * @throws STATEMENT_INVALID, STATEMENT_FORGED, SIGNATURE_INVALID, CERT_*: no receipt can be given, since nobody proved to be the device
   */
  async record(bytes: Buffer, from: GatewayIdentity): Promise<Recorded> {
    this.#underWay++;
    try {
      return await this.#record(bytes, await this.#checkers.check(bytes, this.#underWay), from);
    } finally {
      this.#underWay--;
    }
  }

  /** The end of the log, signed, and the proof that it goes on from the one that somebody keeps, if it does. */
  head(knows: LogPoint): Promise<Receipts> {
    return this.#notary.head(knows);
  }

  async #record(bytes: Buffer, checked: Checked, from: GatewayIdentity): Promise<Recorded> {
    const { statement, digest, signer } = checked;
    const { identity } = signer;
    if (from.customer !== statement.customer || from.site !== statement.site) {
      throw new WardcastError('DENIED', `${identityPath(from)} passed on a statement of ${identityPath(identity)}, which is at another site`, {
        remedy: 'Find out how the statement came there: a gateway carries the words of its own site alone.',
      });
    }
    const { verdict, entry, highest } = await this.#commit(bytes, checked);
    const receipt = receiptFor(statement, digest, { verdict, highest, entry, at: timestamp(this.#clock) });
    return { statement, verdict, receipt, sealed: await this.#notary.seal(receipt, statement.head) };
  }

  async #commit(bytes: Buffer, checked: Checked): Promise<{ verdict: Verdict; entry: LogEntry | undefined; highest: number }> {
    const { statement, digest, signer, payload, signature, chain } = checked;
    const { customer, device, counter } = statement;
    const { result, entry } = await this.#registry.transact(identityPath(signer.identity), (read): Decision<{ verdict: Verdict; highest: number }> => {
      const standing = read(keys.standing(customer, device));
      const same = saidBefore(read, standing, statement);
      const list = listAbout(signer.identity, read, (name) => read(keys.customer(name))?.retired !== undefined);
      const revoked = revokedBecause(indexRevocations([list]), signer);
      const verdict = judge(statement, digest, { device: read(keys.device(customer, device)), standing, same, revoked });
      const before = standing?.counter ?? 0;
      if (verdict.outcome !== 'record') return { result: { verdict, highest: before } };
      const change: ChangeOf<'statement'> = { type: 'statement', payload, signature, chain };
      remember(change, { statement, digest });
      return { result: { verdict, highest: Math.max(before, counter) }, change, blobs: new Map([[chain, () => chainOf(bytes)]]) };
    });
    const { verdict, highest } = result;
    if (verdict.outcome === 'again') return { verdict, highest, entry: await this.#registry.entry(verdict.sequence) };
    return { verdict, highest, entry };
  }
}
