import type { Credentials } from '../../certs/credentials.ts';
import { sealAside } from '../../certs/envelope.ts';
import type { Clock } from '../../shared/base/clock.ts';
import { toWardcastError, WardcastError } from '../../shared/base/errors.ts';
import type { DeviceIdentity } from '../../shared/base/identity.ts';
import { KEY_ASK_MAX, KEY_ASK_MIN } from '../../shared/base/limits.ts';
import type { Log } from '../../shared/base/log.ts';
import type { GroupKeyRef } from '../../shared/bundle/bundle.ts';
import { type Ephemeral, newEphemeral, openGroupKeys } from '../../shared/wire/group-key-answer.ts';
import { KeyAnswer, type KeyQuestion, type SignedKeyQuestion } from '../../shared/wire/messages.ts';
import type { Keyring } from './keyring.ts';

interface Options {
  readonly device: DeviceIdentity;
  readonly credentials: Credentials;
  readonly keyring: Pick<Keyring, 'has' | 'keep'>;
  /** Which key the newest verified bundle names; undefined: none. */
  readonly wanted: () => GroupKeyRef | undefined;
  /** To the gateway; lost when there is no connection. */
  readonly send: (question: SignedKeyQuestion) => void;
  /** The key is here and durable. */
  readonly onKey: () => void;
  readonly clock: Clock;
  readonly log: Log;
  /** 0 ≤ x < 1, for the jitter of repeated questions. */
  readonly random: () => number;
  readonly signal: AbortSignal;
}

/** Asks for the key that the bundle names until it is here, ever more rarely: whoever is not entitled never gets an answer. */
export class KeyAsking {
  readonly #o: Options;
  #running: Promise<void> | undefined;
  #news = new AbortController();
  /** Of the question that is open; a new one for each key. */
  #own: { readonly wanted: string; readonly pair: Ephemeral } | undefined;

  constructor(options: Options) {
    this.#o = options;
  }

  /** The bundle or the connection is a new one: if the key is not here, it is asked for now. */
  look(): void {
    if (this.#missing() === undefined) return;
    this.#news.abort();
    this.#begin();
  }

  /** What came as an answer; one that does not give the key that the signed bundle names is logged and ignored. */
  async answered(payload: Buffer): Promise<void> {
    const { device, keyring, log, onKey } = this.#o;
    try {
      const answer = KeyAnswer.parse(JSON.parse(payload.toString('utf8')));
      const wanted = this.#missing();
      const own = this.#own;
      if (wanted === undefined) return;
      if (own === undefined || own.pair.publicKey !== answer.question)
        throw new WardcastError('SIGNATURE_INVALID', 'An answer about group keys is to another question: an old one, or one that somebody else asked');
      const { keys } = openGroupKeys(answer, device, own.pair);
      const found = keys.find(({ epoch }) => epoch === wanted.epoch);
      if (found === undefined) {
        // The provider is ahead of the bundle that is here, or behind it: its next bundle or answer fits.
        log.info('key.other-epoch', { wanted: wanted.epoch, given: keys.map(({ epoch }) => epoch) });
        return;
      }
      await keyring.keep(wanted, Buffer.from(found.key, 'base64'));
      this.#own = undefined;
      log.info('key.kept', { epoch: wanted.epoch });
      this.#news.abort();
      onKey();
    } catch (error) {
      log.warn('key.answer-refused', { error: toWardcastError(error) });
    }
  }

  async idle(): Promise<void> {
    await this.#running;
  }

  #missing(): GroupKeyRef | undefined {
    const wanted = this.#o.wanted();
    return wanted === undefined || this.#o.keyring.has(wanted) ? undefined : wanted;
  }

  #begin(): void {
    this.#running ??= this.#ask().finally(() => {
      this.#running = undefined;
    });
  }

  async #ask(): Promise<void> {
    const { clock, log, random, signal } = this.#o;
    let attempt = 0;
    for (;;) {
      const wanted = this.#missing();
      if (wanted === undefined || signal.aborted) return;
      this.#news = new AbortController();
      const news = this.#news.signal;
      try {
        await this.#question(wanted);
      } catch (error) {
        log.warn('key.not-asked', { error: toWardcastError(error) });
      }
      const wait = Math.min(KEY_ASK_MAX, KEY_ASK_MIN * 2 ** Math.min(16, attempt)) * (0.5 + random() / 2);
      log.info('key.asked', { epoch: wanted.epoch, attempt, wait: Math.round(wait) });
      await clock.sleep(wait, { signal: AbortSignal.any([signal, news]) }).catch(() => undefined);
      attempt = news.aborted ? 0 : attempt + 1;
    }
  }

  /** The same key pair again as long as nothing answered: an answer that was slow still opens. */
  async #question(wanted: GroupKeyRef): Promise<void> {
    const { device, credentials, send } = this.#o;
    const { customer, site, group } = device;
    if (this.#own?.wanted !== wanted.commitment) this.#own = { wanted: wanted.commitment, pair: newEphemeral() };
    const question: KeyQuestion = { type: 'key-question', customer, site, group, device: device.device, publicKey: this.#own.pair.publicKey };
    send(await sealAside(Buffer.from(JSON.stringify(question), 'utf8'), credentials));
  }
}
