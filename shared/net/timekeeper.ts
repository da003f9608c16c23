import { randomBytes } from 'node:crypto';
import type { Credentials } from '../../certs/credentials.ts';
import { open } from '../../certs/envelope.ts';
import type { Clock } from '../base/clock.ts';
import { Turns } from '../base/each.ts';
import { WardcastError } from '../base/errors.ts';
import { CLOCK_LOOK, CLOCK_TOLERANCE, MAX_CONTROL_MESSAGE, TIME_INTERVAL, TIME_RETRY, TIME_ROUND_TRIP, TIME_SAVE_INTERVAL } from '../base/limits.ts';
import type { Log } from '../base/log.ts';
import { TrustedTime } from '../base/trusted-time.ts';
import { readTrustedTime, writeTrustedTime } from '../store/time-file.ts';
import { TimeAnswer, type TimeQuestion, TimeStatement } from '../wire/messages.ts';
import { climb } from '../wire/time-tree.ts';

export interface TimekeeperOptions {
  /** The daemon's data directory. */
  readonly directory: string;
  readonly credentials: Credentials;
  /** The machine's. */
  readonly clock: Clock;
  readonly log: Log;
}

/** Keeps a daemon's trusted time: asks for it while there is somebody to ask, writes it down, and says when the machine's clock is wrong. */
export class Timekeeper {
  readonly time: TrustedTime;
  readonly #o: TimekeeperOptions;
  readonly #writing = new Turns(1);
  #saved: number;
  #ask: ((question: TimeQuestion) => void) | undefined;
  #asked: { readonly nonce: string; readonly at: number } | undefined;
  /** Monotonic instant of the next question. */
  #due = Number.POSITIVE_INFINITY;
  #onProven: () => void = () => undefined;
  #onClock: () => void = () => undefined;
  #clockTold: number | undefined;

  private constructor(options: TimekeeperOptions, time: TrustedTime, saved: number) {
    this.#o = options;
    this.time = time;
    this.#saved = saved;
  }

  /** Reads what is known from earlier runs. */
  static async open(options: TimekeeperOptions): Promise<Timekeeper> {
    const { directory, credentials, clock, log } = options;
    const saved = (await readTrustedTime(directory, log)) ?? Number.NEGATIVE_INFINITY;
    // Its CA says that the beginning of its own certificate is past. Its end is the latest time that anybody can talk it into.
    const floor = Math.max(saved, credentials.begins.getTime());
    const keeper = new Timekeeper(options, new TrustedTime({ clock, floor, ceiling: () => credentials.expires.getTime() }), saved);
    if (keeper.time.now() > credentials.expires.getTime()) {
      log.error('certificate.expired', {
        since: credentials.expires.toISOString(),
        remedy: 'Nobody will talk to this daemon, and what is installed goes on running: issue a new certificate with `wardcast pki` and replace the folder.',
      });
    }
    keeper.#look();
    return keeper;
  }

  /** Until the signal aborts; the bound is written down once more then. */
  async run(signal: AbortSignal): Promise<void> {
    while (!signal.aborted) {
      this.#look();
      if (this.time.now() - this.#saved >= TIME_SAVE_INTERVAL) void this.#save();
      if (this.time.monotonic() >= this.#due) this.#question();
      await this.time.sleep(CLOCK_LOOK, { signal }).catch(() => undefined);
    }
    await this.#save();
  }

  /** Asks now and from time to time through `ask`, until the connection is lost and `stop` is called. @returns stop */
  connected(ask: (question: TimeQuestion) => void): () => void {
    this.#ask = ask;
    this.#question();
    return () => {
      if (this.#ask === ask) this.#ask = undefined;
    };
  }

  /** Told of every proof: what was refused for lack of one may be tried again. */
  onProven(listener: () => void): void {
    this.#onProven = listener;
  }

  /** Told whenever `told` says something else: the machine's clock was found wrong, otherwise wrong, or right again. */
  onClock(listener: () => void): void {
    this.#onClock = listener;
  }

  /** In whole seconds, as it is told to others while the machine's clock is known to be wrong. */
  get told(): { clock?: number } {
    const { wrongBy } = this.time;
    return wrongBy === undefined ? {} : { clock: Math.round(wrongBy / 1000) };
  }

  /** Something verified shows that this instant (milliseconds since 1970) is past. */
  evidence(at: number | undefined): void {
    if (at !== undefined && this.time.evidence(at)) void this.#save();
  }

  /** What came as an answer; one that proves nothing is logged and ignored. */
  answered(payload: Buffer): void {
    try {
      this.#answered(payload);
    } catch (error) {
      this.#o.log.warn('time.answer-refused', { error });
    }
  }

  #answered(payload: Buffer): void {
    const { credentials, log } = this.#o;
    const asked = this.#asked;
    if (payload.length > MAX_CONTROL_MESSAGE) throw new WardcastError('LIMIT_EXCEEDED', `An answer about the time has ${payload.length} bytes`);
    const answer = TimeAnswer.parse(JSON.parse(payload.toString('utf8')));
    const before = this.time.now();
    const { identity, payload: signed } = open(answer.signed, credentials.rootPem, { now: before, latest: Number.POSITIVE_INFINITY });
    if (identity.role !== 'provider') throw new WardcastError('SIGNATURE_INVALID', `The time is signed by a ${identity.role}, not by the provider`);
    const statement = TimeStatement.parse(JSON.parse(signed.toString('utf8')));
    const at = Date.parse(statement.at);
    // Whoever holds the key of a certificate that is over cannot speak of the time after it.
    open(answer.signed, credentials.rootPem, { now: Math.max(at, before) });
    if (asked === undefined || climb(asked.nonce, answer.index, answer.path) !== statement.nonce) {
      throw new WardcastError('SIGNATURE_INVALID', 'An answer about the time is to another question: an old one, or one that somebody else asked');
    }
    this.#asked = undefined;
    const roundTrip = this.time.monotonic() - asked.at;
    if (roundTrip > TIME_ROUND_TRIP) {
      log.info('time.answer-late', { roundTrip: Math.round(roundTrip) });
      this.evidence(at);
      return;
    }
    const proven = this.time.prove({ at, roundTrip });
    this.#due = this.time.monotonic() + TIME_INTERVAL;
    const moved = this.time.now() - before;
    if (moved > TIME_SAVE_INTERVAL) void this.#save();
    if (proven) log.info('time.proven', { at: statement.at, roundTrip: Math.round(roundTrip), moved: Math.round(moved / 1000) });
    else log.warn('time.not-believed', { at: statement.at, trusted: iso(this.time.now()), remedy: NOT_BELIEVED });
    this.#look();
    this.#onProven();
  }

  #question(): void {
    if (this.#ask === undefined) return;
    const nonce = randomBytes(32).toString('hex');
    this.#asked = { nonce, at: this.time.monotonic() };
    this.#due = this.time.monotonic() + TIME_RETRY;
    this.#ask({ nonce });
  }

  #look(): void {
    for (const news of this.time.look()) {
      if (news.type === 'jumped') {
        this.#o.log.warn('clock.jumped', { seconds: Math.round(news.by / 1000) });
        this.#question();
      } else if (news.type === 'right') this.#o.log.info('clock.right', { wall: iso(news.wall), trusted: iso(news.trusted) });
      else {
        this.#o.log.warn('clock.wrong', {
          wall: iso(news.wall),
          trusted: iso(news.trusted),
          remedy: 'Nothing is decided by it. Set the clock of this machine, so that its logs and its other software are right too.',
        });
      }
    }
    this.#tellClock();
  }

  /** Told anew also when better evidence came: what is known at first is only a lower bound. */
  #tellClock(): void {
    const { clock } = this.told;
    const was = this.#clockTold;
    if (clock === was || (clock !== undefined && was !== undefined && Math.abs(clock - was) * 1000 <= CLOCK_TOLERANCE)) return;
    this.#clockTold = clock;
    this.#onClock();
  }

  #save(): Promise<void> {
    return this.#writing.run(async () => {
      const now = this.time.now();
      if (now <= this.#saved) return;
      try {
        await writeTrustedTime(this.#o.directory, now);
        this.#saved = now;
      } catch (error) {
        this.#o.log.warn('time.not-saved', { error });
      }
    });
  }
}

const NOT_BELIEVED =
  'Compare it with the right time. If the provider is right, evidence from the future was signed once: see "Time" in docs/operations.md. ' +
  "After the end of this daemon's own certificate it believes no time: renew that.";

function iso(time: number): string {
  return new Date(time).toISOString();
}
