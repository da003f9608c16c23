import { availableParallelism } from 'node:os';
import path from 'node:path';
import { Worker } from 'node:worker_threads';
import type { Credentials } from '../../certs/credentials.ts';
import type { Clock } from '../../shared/base/clock.ts';
import { toWardcastError, WardcastError } from '../../shared/base/errors.ts';
import { CHECK_BATCH, CHECK_RUSH, CHECKER_BATCHES, CHECKERS_IDLE, MAX_CHECKERS, MAX_QUEUED_CHANGES } from '../../shared/base/limits.ts';
import type { Log } from '../../shared/base/log.ts';
import { type Checked, Checker, type CheckTerms } from './check.ts';
import type { Answer, Order } from './checker-thread.ts';

interface Waiting {
  readonly bytes: Buffer;
  readonly resolve: (checked: Checked) => void;
  readonly reject: (error: unknown) => void;
}
interface Batch {
  readonly statements: readonly Waiting[];
  readonly terms: CheckTerms;
  answers: readonly Answer[] | undefined;
}
interface Lane {
  readonly thread: Worker;
  /** Not before it has answered for the first time is anything left to it: starting takes a moment. */
  ready: boolean;
  /** Given to it and not answered yet, in order. */
  readonly batches: Batch[];
}

/**
 * Checks statements, and in a rush (a site that comes back after weeks, a thousand devices that install at once) on threads of their own: an RSA
 * verification and reading the JSON take as long as everything else that is done with a statement. Results come in the order of the calls.
 * With a single processor, and for the few statements of a quiet day, there are no threads.
 */
export class Checkers {
  readonly #credentials: () => Credentials;
  readonly #clock: Clock;
  readonly #log: Log;
  readonly #size: number;
  readonly #own = new Checker();
  readonly #queue: Waiting[] = [];
  /** Given to threads, in the order in which they are to be told. */
  readonly #given: Batch[] = [];
  #lanes: Lane[] = [];
  #pumping = false;
  #failed = false;
  #idle: NodeJS.Timeout | undefined;

  /** @param o.threads at most; as many as there are processors beside this one, if not given */
  constructor(o: { credentials: () => Credentials; clock: Clock; log: Log; threads?: number }) {
    this.#credentials = o.credentials;
    this.#clock = o.clock;
    this.#log = o.log;
    this.#size = o.threads ?? Math.min(MAX_CHECKERS, availableParallelism() - 1);
  }

  /** How many threads there are at the moment. */
  get threads(): number {
    return this.#lanes.length;
  }

  /**
   * @param underWay statements that are being recorded just now, this one included
   * @throws BUSY; STATEMENT_INVALID, STATEMENT_FORGED, SIGNATURE_INVALID, CERT_*
   */
  async check(bytes: Buffer, underWay: number): Promise<Checked> {
    if (underWay >= CHECK_RUSH && this.#lanes.length === 0 && this.#size > 0 && !this.#failed) this.#start();
    if (!this.#lanes.some(({ ready }) => ready)) return this.#own.check(bytes, this.#terms());
    if (this.#queue.length >= MAX_QUEUED_CHANGES) {
      throw new WardcastError('BUSY', `${this.#queue.length} statements wait to be verified`, {
        remedy: 'Ask again in a second; if it stays so, the machine is too slow.',
      });
    }
    return new Promise((resolve, reject) => {
      this.#queue.push({ bytes, resolve, reject });
      this.#pumpSoon();
    });
  }

  /** What waits is checked nonetheless. */
  close(): void {
    clearTimeout(this.#idle);
    const lanes = this.#lanes;
    this.#lanes = [];
    for (const { thread, batches } of lanes) {
      void thread.terminate();
      this.#takeBack(batches);
    }
    for (const waiting of this.#queue.splice(0)) this.#tell(waiting, this.#answer(waiting, this.#terms()));
  }

  #terms(): CheckTerms {
    return { rootPem: this.#credentials().rootPem, now: this.#clock.now() };
  }

  #start(): void {
    for (let at = 0; at < this.#size; at++) {
      const file = `./checker-thread${path.extname(import.meta.filename)}`;
      const thread = new Worker(new URL(file, import.meta.url), { name: 'checker' });
      const lane: Lane = { thread, ready: false, batches: [] };
      this.#lanes.push(lane);
      thread.on('message', (answers: readonly Answer[]) => this.#hear(lane, answers));
      thread.once('error', (error) => this.#fail(lane, error));
      thread.once('exit', () => this.#fail(lane, new Error('it ended')));
      // While nothing waits for it, it keeps no process alive.
      thread.unref();
      const nothing: Order = { bytes: new Uint8Array(), ends: [], ...this.#terms() };
      thread.postMessage(nothing);
    }
    this.#log.info('checkers.started', { threads: this.#lanes.length });
    this.#restSoon();
  }

  /** What the same turn of the event loop still brings goes together. */
  #pumpSoon(): void {
    if (this.#pumping) return;
    this.#pumping = true;
    setImmediate(() => {
      this.#pumping = false;
      this.#pump();
    });
  }

  #pump(): void {
    for (const lane of this.#lanes.toSorted((a, b) => a.batches.length - b.batches.length)) {
      while (lane.ready && lane.batches.length < CHECKER_BATCHES && this.#queue.length > 0) this.#give(lane);
    }
  }

  #give(lane: Lane): void {
    const batch: Batch = { statements: this.#queue.splice(0, CHECK_BATCH), terms: this.#terms(), answers: undefined };
    lane.batches.push(batch);
    lane.thread.ref();
    this.#given.push(batch);
    let end = 0;
    const ends = batch.statements.map(({ bytes }) => (end += bytes.length));
    // A copy of its own, for a message's buffer is a piece of something larger.
    const bytes = new Uint8Array(end);
    for (const [at, statement] of batch.statements.entries()) bytes.set(statement.bytes, ends[at - 1] ?? 0);
    const order: Order = { bytes, ends, ...batch.terms };
    lane.thread.postMessage(order, [bytes.buffer]);
  }

  #hear(lane: Lane, answers: readonly Answer[]): void {
    if (!lane.ready) {
      lane.ready = true;
      return;
    }
    const batch = lane.batches.shift();
    if (batch !== undefined) batch.answers = answers;
    this.#pump();
    if (lane.batches.length === 0) lane.thread.unref();
    this.#tellAll();
    this.#restSoon();
  }

  /** In the order in which they came, whichever thread was faster. */
  #tellAll(): void {
    while (this.#given[0]?.answers !== undefined) {
      const { statements, answers = [] } = this.#given.shift() ?? { statements: [] };
      for (const [at, waiting] of statements.entries()) this.#tell(waiting, answers[at]);
    }
  }

  #tell({ resolve, reject }: Waiting, answer: Answer | undefined): void {
    if (answer === undefined) reject(new WardcastError('INTERNAL', 'A thread left out an answer'));
    else if ('checked' in answer) resolve(answer.checked);
    else reject(new WardcastError(answer.error.code, answer.error.message, answer.error));
  }

  /** A thread that ends unasked takes nothing with it, and is not trusted again. */
  #fail(lane: Lane, error: unknown): void {
    if (!this.#lanes.includes(lane)) return;
    this.#failed = true;
    this.#log.error('checker.failed', { error: toWardcastError(error, 'INTERNAL', 'A thread that verifies statements failed') });
    this.close();
  }

  #takeBack(batches: readonly Batch[]): void {
    for (const batch of batches) batch.answers = batch.statements.map((waiting) => this.#answer(waiting, batch.terms));
    this.#tellAll();
  }

  #answer({ bytes }: Waiting, terms: CheckTerms): Answer {
    try {
      return { checked: this.#own.check(bytes, terms) };
    } catch (error) {
      return { error: toWardcastError(error).toJSON() };
    }
  }

  #restSoon(): void {
    clearTimeout(this.#idle);
    this.#idle = setTimeout(() => {
      if (this.#given.length === 0) this.close();
      else this.#restSoon();
    }, CHECKERS_IDLE).unref();
  }
}
