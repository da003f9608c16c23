import type { Credentials } from '../../certs/credentials.ts';
import { seal } from '../../certs/envelope.ts';
import { type Clock, momentOf, timestamp } from '../../shared/base/clock.ts';
import { WardcastError } from '../../shared/base/errors.ts';
import { type DeviceIdentity, sameScope } from '../../shared/base/identity.ts';
import type { Log } from '../../shared/base/log.ts';
import { sha256 } from '../../shared/bundle/digest.ts';
import type { Outbox } from '../../shared/store/outbox.ts';
import { Confirmation, type Receipt, Signed, Statement } from '../../shared/wire/messages.ts';
import type { InstalledRelease } from '../handlers/install-handler.ts';
import type { Outcome, Reporter } from '../install/reporter.ts';
import type { Counter } from './counter.ts';
import type { KeptHead } from './kept-head.ts';
import { type OwnReceipt, openReceipt } from './receipt.ts';

export interface StatementsOptions {
  readonly device: DeviceIdentity;
  readonly credentials: Credentials;
  readonly counter: Counter;
  readonly outbox: Outbox;
  readonly kept: KeptHead;
  /** Receipts are judged by it. */
  readonly clock: Clock;
  /** What statements say of the time, for people; the other one unless given. */
  readonly calendar?: Clock;
  readonly log: Log;
  readonly agentVersion: string;
  /** What runs, read from the device. */
  readonly inventory: () => Promise<readonly InstalledRelease[]>;
  /** A signed statement may go out now; called after it is durable. */
  readonly send: (signed: Buffer) => void;
}

/** What waits in the outbox for its receipt. */
interface Waiting {
  readonly key: string;
  readonly envelope: Signed;
  readonly statement: Statement;
  readonly digest: string;
}

/** Entries read from the outbox at a time. */
const PAGE = 256;

/** What this device states, signed with its own key, and what it keeps until the provider has signed that it is on record. */
export class Statements implements Reporter {
  readonly #o: StatementsOptions;

  constructor(options: StatementsOptions) {
    this.#o = options;
  }

  async compose(outcome: Outcome): Promise<Confirmation> {
    // In the order in which the journal reads it back after a kill: said again in another order it would be another statement under the same counter.
    return Confirmation.parse({ type: 'confirmation', ...(await this.#header()), ...outcome });
  }

  async report(confirmation: Confirmation): Promise<void> {
    await this.#post(confirmation);
  }

  /** All that runs, stated anew; an older inventory that nobody confirmed is forgotten, since this one says it better. */
  async stateInventory(): Promise<void> {
    const { outbox, inventory, agentVersion } = this.#o;
    const header = await this.#header();
    const applications = (await inventory()).map(({ application, version, manifestHash }) => ({ application, version, manifest: manifestHash }));
    for await (const { key, statement } of this.#waiting()) {
      if (statement.type === 'inventory') await outbox.delete(key);
    }
    await this.#post({ type: 'inventory', ...header, agent: agentVersion, applications });
  }

  /** Sends all that waits for a receipt, oldest first. Call at every connect. */
  async resend(): Promise<void> {
    const { device, outbox, send, log } = this.#o;
    for await (const { key, statement, envelope } of this.#waiting()) {
      if (sameScope(statement, device) && statement.device === device.device) send(this.#signedNow(envelope));
      else {
        // The device moved. Nobody takes its former words from it; what runs it states anew.
        log.warn('statement.of-former-identity', { group: statement.group, device: statement.device, counter: statement.counter });
        await outbox.delete(key);
      }
    }
  }

  /** What an older certificate vouched for would be refused once that has expired: the same words, signed with the one of today. */
  #signedNow(envelope: Signed): Buffer {
    const { credentials } = this.#o;
    const isOwn = envelope.chain[0] === credentials.chain[0]?.toString('base64');
    return Buffer.from(JSON.stringify(isOwn ? envelope : seal(Buffer.from(envelope.payload, 'base64'), credentials)), 'utf8');
  }

  get waiting(): number {
    return this.#o.outbox.size;
  }

  /**
   * Handles a receipt as it came from the wire; one that proves nothing is logged and ignored.
   * @returns true when everything is to be stated anew
   */
  async receive(payload: Buffer): Promise<boolean> {
    const { device, credentials, clock, log, kept } = this.#o;
    let own: OwnReceipt;
    try {
      own = openReceipt(payload, device, credentials.rootPem, momentOf(clock));
    } catch (error) {
      log.warn('receipt.refused', { error });
      return false;
    }
    const { receipt } = own;
    const waiting = await this.#find(receipt.counter);
    if (waiting === undefined || waiting.digest !== receipt.digest) {
      log.debug('receipt.unknown', { counter: receipt.counter, outcome: receipt.outcome });
      return false;
    }
    // Before the statement goes: what names the old head is gone only when the new one is kept.
    // A log that was rewritten, or restored from an old backup, may have lost what this device said.
    const isAnotherLog = await kept.shown(own, waiting.statement.head);
    return (await this.#settle(receipt, waiting)) || isAnotherLog;
  }

  async #settle(receipt: Receipt, { key, statement }: Waiting): Promise<boolean> {
    const { log, outbox } = this.#o;
    switch (receipt.outcome) {
      case 'recorded':
        await outbox.delete(key);
        log.info('receipt.recorded', { counter: receipt.counter, ...(receipt.entry === undefined ? {} : { entry: receipt.entry.sequence }) });
        return await this.#isBehind(receipt);
      case 'refused':
        await outbox.delete(key);
        log.error('receipt.statement-refused', { counter: receipt.counter, reason: receipt.reason });
        return await this.#isBehind(receipt);
      case 'behind':
        log.warn('receipt.behind', { counter: receipt.counter, highest: receipt.highest });
        await this.#o.counter.jumpPast(receipt.highest);
        // The new one is durable before the old one goes.
        if (statement.type === 'confirmation') await this.#post({ ...statement, ...this.#named(), counter: await this.#o.counter.next() });
        await outbox.delete(key);
        return true;
    }
  }

  /**
   * A restored device may use a number again that was never on record: that is recorded, but older words with higher numbers still count. Whatever else
   * waits keeps its number until its own receipt comes: it may be on record already, and under another number it would count twice.
   */
  async #isBehind({ counter, highest }: Receipt): Promise<boolean> {
    if (!(await this.#o.counter.jumpPast(highest))) return false;
    this.#o.log.warn('receipt.behind', { counter, highest });
    return true;
  }

  async #header(): Promise<Pick<Confirmation, 'customer' | 'site' | 'group' | 'device' | 'counter' | 'at' | 'head'>> {
    const { customer, site, group, device } = this.#o.device;
    return { customer, site, group, device, counter: await this.#o.counter.next(), at: timestamp(this.#o.calendar ?? this.#o.clock), ...this.#named() };
  }

  #named(): Pick<Confirmation, 'head'> {
    const head = this.#o.kept.point;
    return head === undefined ? {} : { head };
  }

  async #post(statement: Statement): Promise<void> {
    const { credentials, outbox, send } = this.#o;
    const signed = Buffer.from(JSON.stringify(seal(Buffer.from(JSON.stringify(statement), 'utf8'), credentials)), 'utf8');
    await outbox.put(keyOf(statement.counter), signed);
    send(signed);
  }

  async #find(counter: number): Promise<Waiting | undefined> {
    const key = keyOf(counter);
    if (!this.#o.outbox.has(key)) return undefined;
    for await (const waiting of this.#waiting()) {
      if (waiting.key === key) return waiting;
    }
    return undefined;
  }

  async *#waiting(): AsyncGenerator<Waiting> {
    let after = '';
    for (;;) {
      // Receipts empty the outbox meanwhile: when the last one read is gone, read from the start what comes after it.
      const page = await this.#o.outbox.list(PAGE, this.#o.outbox.has(after) ? { after } : {});
      const fresh = page.filter(({ key }) => key > after);
      for (const { key, value } of fresh) yield { key, ...readBack(value) };
      after = fresh.at(-1)?.key ?? after;
      if (fresh.length === 0) return;
    }
  }
}

function keyOf(counter: number): string {
  return String(counter).padStart(16, '0');
}

function readBack(signed: Buffer): { envelope: Signed; statement: Statement; digest: string } {
  const envelope = Signed.safeParse(JSON.parse(signed.toString('utf8')));
  const payload = envelope.success ? Buffer.from(envelope.data.payload, 'base64') : Buffer.alloc(0);
  const statement = Statement.safeParse(payload.length === 0 ? undefined : JSON.parse(payload.toString('utf8')));
  if (!envelope.success || !statement.success) {
    throw new WardcastError('STORAGE_FAILED', 'A statement in the outbox is not what was put there', { cause: envelope.error ?? statement.error });
  }
  return { envelope: envelope.data, statement: statement.data, digest: sha256(payload) };
}
