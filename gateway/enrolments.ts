import { randomUUID } from 'node:crypto';
import type { EnrolAnswer, EnrolForward, EnrolReply, EnrolRequest } from '../shared/wire/enrol.ts';

/** Passes requests for certificates on to the provider, unread and unjudged, and answers back. Bounded by the door's counter. */
export class Enrolments {
  readonly #send: (forward: EnrolForward) => Promise<void>;
  readonly #waiting = new Map<string, (answer: EnrolAnswer) => void>();

  constructor(o: { readonly send: (forward: EnrolForward) => Promise<void> }) {
    this.#send = o.send;
  }

  /** @param asker aborts when whoever asked is gone @throws CONNECTION_LOST when the line is down: the asker is told to come back */
  async ask(request: EnrolRequest, asker: AbortSignal): Promise<EnrolAnswer> {
    const id = randomUUID();
    const answered = Promise.withResolvers<EnrolAnswer>();
    this.#waiting.set(id, answered.resolve);
    const onGone = (): void => answered.resolve({ status: 'busy' });
    asker.addEventListener('abort', onGone, { once: true });
    try {
      await this.#send({ id, request });
      return await answered.promise;
    } finally {
      asker.removeEventListener('abort', onGone);
      this.#waiting.delete(id);
    }
  }

  /** An answer to nobody is dropped: whoever asked is gone, and asks again. */
  answered({ id, answer }: EnrolReply): void {
    this.#waiting.get(id)?.(answer);
  }
}
