import { toWardcastError, WardcastError } from '../../shared/base/errors.ts';
import { type DeviceIdentity, identityPath } from '../../shared/base/identity.ts';
import { KEY_QUESTIONS_AT_ONCE, MAX_KEY_QUESTIONS } from '../../shared/base/limits.ts';
import type { Log } from '../../shared/base/log.ts';
import { type KeyAnswer, KeyAnswers, KeyQuestion, type KeyQuestions, type SignedKeyQuestion } from '../../shared/wire/messages.ts';
import { readMessage } from '../message.ts';

interface Options {
  /** Over the line; resolves when the provider has answered what it answers. Rejects when the line breaks. */
  readonly send: (questions: KeyQuestions) => Promise<void>;
  readonly lineUp: () => boolean;
  /** To the device, if it is there. */
  readonly deliver: (device: DeviceIdentity, answer: KeyAnswer) => void;
  readonly site: { readonly customer: string; readonly site: string };
  readonly log: Log;
}

/**
 * Passes on what devices ask for the keys of their groups, and the answers, neither of which it can read: the newest question of each device, waiting while
 * the line is down, a message at a time. Whom the provider leaves without an answer it leaves without one.
 */
export class KeyRelay {
  readonly #o: Options;
  readonly #waiting = new Map<string, SignedKeyQuestion>();
  #sending: Promise<void> | undefined;

  constructor(options: Options) {
    this.#o = options;
  }

  /** @throws PROTOCOL_VIOLATION when it asks for another; BUSY */
  ask(device: DeviceIdentity, signed: SignedKeyQuestion): void {
    const who = identityPath(device);
    const question = readMessage(KeyQuestion, Buffer.from(signed.payload, 'base64'));
    if (identityPath({ ...question, role: 'device' }) !== who) throw new WardcastError('PROTOCOL_VIOLATION', `${device.device} asks for the keys of another`);
    if (this.#waiting.size >= MAX_KEY_QUESTIONS && !this.#waiting.has(who)) throw new WardcastError('BUSY', 'Too many ask for the keys of their groups');
    this.#waiting.set(who, signed);
    this.lineUp();
  }

  /** The line is up: whoever asked meanwhile is still waiting. */
  lineUp(): void {
    if (this.#waiting.size === 0 || !this.#o.lineUp()) return;
    this.#sending ??= this.#sendAll().finally(() => {
      this.#sending = undefined;
    });
  }

  /** @throws PROTOCOL_VIOLATION when it is no answer at all; whether it is right is for the devices to judge */
  answered(bytes: Buffer): void {
    const { site, deliver } = this.#o;
    for (const { group, device, answer } of readMessage(KeyAnswers, bytes).answers) deliver({ role: 'device', ...site, group, device }, answer);
  }

  async #sendAll(): Promise<void> {
    const { send, lineUp, log } = this.#o;
    while (this.#waiting.size > 0 && lineUp()) {
      const batch = [...this.#waiting].slice(0, KEY_QUESTIONS_AT_ONCE);
      for (const [who] of batch) this.#waiting.delete(who);
      try {
        await send({ questions: batch.map(([, signed]) => signed) });
      } catch (error) {
        // The line broke: they are asked when it is up again, but for those that asked anew meanwhile.
        log.debug('keys.not-asked', { questions: batch.length, error: toWardcastError(error) });
        for (const [who, signed] of batch) if (!this.#waiting.has(who)) this.#waiting.set(who, signed);
        return;
      }
    }
  }
}
