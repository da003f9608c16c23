import { randomUUID } from 'node:crypto';
import { z } from 'zod';
import type { Credentials } from '../../certs/credentials.ts';
import type { Clock } from '../base/clock.ts';
import { ERROR_CODES, type ErrorCode, toWardcastError, WardcastError } from '../base/errors.ts';
import type { OpsIdentity } from '../base/identity.ts';
import { MAX_MANIFEST, MAX_PAYLOAD, OPS_TIMEOUT, PULL_WINDOW, PULL_WINDOW_OBJECTS } from '../base/limits.ts';
import type { Log } from '../base/log.ts';
import { type ErrorBody, OpsReply } from '../wire/messages.ts';
import { EVENTS, type EventType, OPS_ACTIONS, type OpsAction, type OpsParams, type OpsResult } from '../wire/ops.ts';
import { down, EVENT_FILTER, event, up } from '../wire/topics.ts';
import type { Link } from './broker.ts';
import { cut, partsOf, uploadTopic } from './exchange/object-ref.ts';
import { CreditWindow } from './exchange/window.ts';
import { openLink } from './link.ts';
import { Waiters } from './waiters.ts';

export interface OpsClientOptions {
  readonly host: string;
  readonly port: number;
  readonly credentials: Credentials;
  readonly serverName?: string | undefined;
  readonly log: Log;
  readonly clock: Clock;
  readonly signal?: AbortSignal | undefined;
}

/** One state change at the provider. */
export type OpsEvent = z.output<typeof OpsEvent>;

/** The table of shared/wire/ops.ts, so written that the compiler knows which schema belongs to which name. */
const RESULTS: { readonly [A in OpsAction]: { readonly result: z.ZodType<OpsResult<A>> } } = OPS_ACTIONS;

const oneEvent = <T extends EventType>(type: T): z.ZodObject<{ type: z.ZodLiteral<T>; body: (typeof EVENTS)[T] }, z.core.$strict> =>
  z.strictObject({ type: z.literal(type), body: EVENTS[type] });
const OpsEvent = z.discriminatedUnion('type', [
  oneEvent('registry-changed'),
  oneEvent('bundle-assigned'),
  oneEvent('revoked'),
  oneEvent('gateway-connected'),
  oneEvent('gateway-disconnected'),
  oneEvent('progress'),
  oneEvent('site-seen'),
  oneEvent('statement-recorded'),
  oneEvent('statement-refused'),
  oneEvent('log-contradicted'),
  oneEvent('refused'),
]);

/** The provider's ops over its broker's topics. */
export class OpsClient {
  readonly #link: Link;
  readonly #identity: OpsIdentity;
  readonly #log: Log;
  readonly #clock: Clock;
  readonly #pending = new Map<string, Waiters<unknown>>();
  readonly #closing = new AbortController();
  readonly #uploads = new CreditWindow({ bytes: PULL_WINDOW, objects: PULL_WINDOW_OBJECTS });
  #room: (() => void)[] = [];

  /** @param link of an ops identity, to the provider; the client closes it */
  constructor(options: { link: Link; identity: OpsIdentity; log: Log; clock: Clock }) {
    this.#link = options.link;
    this.#identity = options.identity;
    this.#log = options.log;
    this.#clock = options.clock;
    this.#link.onState((state, reason) => {
      if (state === 'down') this.#lost(reason);
    });
    void this.#receive();
  }

  /** Resolves when the connection stands. @throws why the first attempt failed: CONNECTION_FAILED, CERT_*, TRUST_ROOT_WRONG, … */
  static async connect(options: OpsClientOptions): Promise<OpsClient> {
    const { credentials, signal, ...rest } = options;
    signal?.throwIfAborted();
    const { identity } = credentials;
    if (identity.role !== 'ops') {
      throw new WardcastError('CERT_WRONG_ROLE', `The credentials are for a ${identity.role}, and this needs an ops certificate`, {
        remedy: 'Name a folder that `wardcast pki` made for ops.',
      });
    }
    const link = openLink({ ...rest, credentials, expect: (server) => server.role === 'provider' });
    const client = new OpsClient({ link, identity, log: options.log, clock: options.clock });
    try {
      await firstConnection(link, signal);
      return client;
    } catch (error) {
      await client.close();
      throw error;
    }
  }

  /** @throws what the provider answered; TIMEOUT; CONNECTION_LOST: whether it was done is unknown, look before doing it again */
  async call<A extends OpsAction>(action: A, params: OpsParams<A>, { signal }: { signal?: AbortSignal | undefined } = {}): Promise<OpsResult<A>> {
    const result = await this.#request(action, params, signal);
    const parsed = RESULTS[action].result.safeParse(result);
    if (parsed.success) return parsed.data;
    throw new WardcastError('PROTOCOL_VIOLATION', `The provider answered ${action} with something else than was agreed`, {
      remedy: 'Use the same version of the command line and the provider.',
      cause: parsed.error,
    });
  }

  /** Sends an object that `release.offer` found missing; many may be sent at once, a window bounds what is on its way. @throws LIMIT_EXCEEDED, CONNECTION_LOST */
  async upload(hash: string, bytes: Buffer, { signal }: { signal?: AbortSignal | undefined } = {}): Promise<void> {
    if (bytes.length > MAX_MANIFEST) {
      throw new WardcastError('LIMIT_EXCEEDED', `Object ${hash} has ${bytes.length} bytes; a manifest has at most ${MAX_MANIFEST}`, { context: { hash } });
    }
    const parts = partsOf(bytes.length);
    const sends = Array.from({ length: parts }, (_, part) => this.#uploadPart(uploadTopic(this.#identity, { hash, part, parts }), cut(bytes, part), signal));
    await Promise.all(sends);
  }

  async #uploadPart(topic: string, bytes: Buffer, signal: AbortSignal | undefined): Promise<void> {
    while (!this.#uploads.take(bytes.length)) {
      signal?.throwIfAborted();
      this.#closing.signal.throwIfAborted();
      await new Promise<void>((resolve) => this.#room.push(resolve));
    }
    try {
      await this.#link.publish(topic, bytes, { qos: 1, signal });
    } finally {
      this.#uploads.give(bytes.length);
      for (const waiting of this.#room.splice(0)) waiting();
    }
  }

  /** State changes from now on. Lossy: truth is asked for with call(). */
  async *events({ signal }: { signal?: AbortSignal | undefined } = {}): AsyncGenerator<OpsEvent> {
    const ending = signal === undefined ? this.#closing.signal : AbortSignal.any([signal, this.#closing.signal]);
    const prefix = event('');
    for await (const delivery of this.#link.subscribe([EVENT_FILTER], { signal: ending })) {
      delivery.accept();
      const parsed = OpsEvent.safeParse({ type: delivery.topic.slice(prefix.length), body: parseJson(delivery.payload) });
      if (parsed.success) yield parsed.data;
      else this.#log.debug('ops.unknown-event', { topic: delivery.topic });
    }
  }

  async close(): Promise<void> {
    const reason = new WardcastError('CONNECTION_LOST', 'The connection was closed');
    this.#closing.abort(reason);
    this.#lost(reason);
    for (const waiting of this.#room.splice(0)) waiting();
    await this.#link.close();
  }

  async #request(action: OpsAction, params: unknown, signal: AbortSignal | undefined): Promise<unknown> {
    signal?.throwIfAborted();
    const id = randomUUID();
    const payload = Buffer.from(JSON.stringify({ id, action, params }));
    if (payload.length > MAX_PAYLOAD)
      throw new WardcastError('LIMIT_EXCEEDED', `The request ${action} has ${payload.length} bytes; ${MAX_PAYLOAD} is the limit`);
    const waiter = new Waiters<unknown>();
    this.#pending.set(id, waiter);
    const done = new AbortController();
    try {
      const reply = waiter.wait(signal, () => undefined);
      reply.catch(() => undefined);
      const late = this.#clock.sleep(OPS_TIMEOUT, { signal: done.signal }).then(() => {
        throw new WardcastError('TIMEOUT', `The provider did not answer ${action} within ${OPS_TIMEOUT / 1000} s`, {
          remedy: 'Look whether it was done before doing it again; the log of the provider tells more.',
        });
      });
      late.catch(() => undefined);
      const sent = this.#link.publish(up(this.#identity, 'request'), payload, { signal });
      await Promise.race([sent, reply, late]);
      return await Promise.race([reply, late]);
    } finally {
      done.abort();
      this.#pending.delete(id);
    }
  }

  async #receive(): Promise<void> {
    for await (const delivery of this.#link.subscribe([down(this.#identity, 'reply')], { signal: this.#closing.signal })) {
      delivery.accept();
      const reply = OpsReply.safeParse(parseJson(delivery.payload));
      if (!reply.success) {
        this.#log.warn('ops.bad-reply', { bytes: delivery.payload.length });
        continue;
      }
      const { id, ok, result, error } = reply.data;
      const waiter = this.#pending.get(id);
      if (ok) waiter?.resolve(result);
      else waiter?.reject(remoteError(error));
    }
  }

  #lost(reason: Error | undefined): void {
    for (const waiter of this.#pending.values()) {
      waiter.reject(
        new WardcastError('CONNECTION_LOST', 'The connection to the provider broke before it answered', {
          remedy: 'Look whether it was done before doing it again.',
          cause: reason,
        }),
      );
    }
  }
}

function firstConnection(link: Link, signal: AbortSignal | undefined): Promise<void> {
  return new Promise((resolve, reject) => {
    const onAbort = (): void => settle(signal?.reason);
    const settle = (error?: unknown): void => {
      stop();
      signal?.removeEventListener('abort', onAbort);
      if (error === undefined) resolve();
      else reject(error);
    };
    const stop = link.onState((state, reason) => {
      if (state === 'up') settle();
      if (state === 'down') settle(toWardcastError(reason, 'CONNECTION_FAILED', 'The provider could not be reached'));
    });
    signal?.addEventListener('abort', onAbort, { once: true });
    if (link.state === 'up') settle();
  });
}

function remoteError(body: z.output<typeof ErrorBody> | undefined): WardcastError {
  const code = body?.code ?? 'INTERNAL';
  return new WardcastError(isErrorCode(code) ? code : 'INTERNAL', body?.message ?? 'The provider refused without saying why', {
    ...(body?.remedy === undefined ? {} : { remedy: body.remedy }),
    ...(body?.context === undefined ? {} : { context: body.context }),
  });
}

function isErrorCode(code: string): code is ErrorCode {
  return Object.hasOwn(ERROR_CODES, code);
}

function parseJson(bytes: Buffer): unknown {
  try {
    return JSON.parse(bytes.toString('utf8'));
  } catch {
    // Undefined fits no schema: the caller reports it.
    return undefined;
  }
}
