import type { Clock } from '../../shared/base/clock.ts';
import { WardcastError } from '../../shared/base/errors.ts';
import { MAX_TIME_QUESTIONS, TIME_GATHER, TIME_ROUND_TRIP } from '../../shared/base/limits.ts';
import { Signed, type TimeAnswer, type TimeQuestion, TimeStatement } from '../../shared/wire/messages.ts';
import { type TimeTree, timeTree } from '../../shared/wire/time-tree.ts';
import { readMessage } from '../message.ts';

interface Options {
  /** Over the line; lost when it is down. */
  readonly send: (question: TimeQuestion) => void;
  readonly lineUp: () => boolean;
  readonly clock: Clock;
  readonly signal: AbortSignal;
}
interface Asker {
  readonly nonce: string;
  readonly reply: (answer: TimeAnswer) => void;
}

/**
 * Gathers the questions of a site into one for the provider, and gives each asker its part of the answer. It can withhold or delay an answer and nothing
 * else: what is signed is bound to each nonce. One question at a time is on its way; the others wait for the next.
 */
export class TimeRelay {
  readonly #o: Options;
  /** The newest question of each asker. */
  #waiting = new Map<string, Asker>();
  #asked: { readonly tree: TimeTree; readonly askers: readonly Asker[] } | undefined;
  #gathering: Promise<void> | undefined;

  constructor(options: Options) {
    this.#o = options;
  }

  /** @param who one question for each counts */
  ask(who: string, { nonce }: TimeQuestion, reply: (answer: TimeAnswer) => void): void {
    if (this.#waiting.size >= MAX_TIME_QUESTIONS && !this.#waiting.has(who)) throw new WardcastError('BUSY', 'Too many ask for the time');
    this.#waiting.set(who, { nonce, reply });
    this.#gather();
  }

  /** The line is up: whoever asked meanwhile is still waiting. */
  lineUp(): void {
    this.#asked = undefined;
    this.#gather();
  }

  /** @throws when it is no answer at all; whether it is true is for the askers to judge */
  answered(bytes: Buffer): void {
    const signed = readMessage(Signed, bytes);
    const { nonce } = readMessage(TimeStatement, Buffer.from(signed.payload, 'base64'));
    const asked = this.#asked;
    if (asked === undefined || asked.tree.root !== nonce)
      throw new WardcastError('PROTOCOL_VIOLATION', 'The provider told the time to a question that is not open');
    this.#asked = undefined;
    for (const [index, { reply }] of asked.askers.entries()) reply({ signed, index, path: asked.tree.path(index) });
    this.#gather();
  }

  #gather(): void {
    const { clock, signal, lineUp } = this.#o;
    if (this.#gathering !== undefined || this.#asked !== undefined || this.#waiting.size === 0 || !lineUp()) return;
    this.#gathering = clock
      .sleep(TIME_GATHER, { signal })
      .then(() => this.#flush())
      .catch(() => undefined)
      .finally(() => {
        this.#gathering = undefined;
      });
  }

  #flush(): void {
    const { clock, signal, lineUp, send } = this.#o;
    if (!lineUp() || this.#waiting.size === 0) return;
    const askers = [...this.#waiting.values()];
    this.#waiting = new Map();
    const tree = timeTree(askers.map(({ nonce }) => nonce));
    const asked = { tree, askers };
    this.#asked = asked;
    send({ nonce: tree.root });
    const forget = (): void => {
      if (this.#asked !== asked) return;
      this.#asked = undefined;
      this.#gather();
    };
    clock.sleep(TIME_ROUND_TRIP, { signal }).then(forget, () => undefined);
  }
}
