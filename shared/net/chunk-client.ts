import type { IncomingMessage } from 'node:http';
import type { Duplex } from 'node:stream';
import type { Credentials } from '../../certs/credentials.ts';
import type { Clock } from '../base/clock.ts';
import { ERROR_CODES, type ErrorCode, toWardcastError, WardcastError } from '../base/errors.ts';
import { type Identity, type Scope, scopePath } from '../base/identity.ts';
import { CHUNK_AVG, LAN_LANES, LAN_TIMEOUT, MAX_BATCH_BYTES, MAX_BATCH_CHUNKS, MAX_PAYLOAD } from '../base/limits.ts';
import type { Log } from '../base/log.ts';
import { isSha256 } from '../bundle/digest.ts';
import { absent, checkChunkName, checkContent } from '../store/chunk-name.ts';
import type { CallOptions, ChunkSource } from '../store/chunk-source.ts';
import { FrameParser, printHashes } from './chunk-frames.ts';
import { dial } from './dial.ts';
import { ALPN } from './door.ts';
import { HttpLane } from './http-lane.ts';
import { nodeHttp } from './node-http.ts';
import type { Revocations } from './revocations.ts';
import { Waiters } from './waiters.ts';

export interface HttpsSourceOptions {
  readonly host: string;
  readonly port: number;
  readonly credentials: Credentials;
  /** Is this whom we want to talk to? Asked for every connection, of an identity proven by certificate. */
  readonly expect: (identity: Identity) => boolean;
  readonly revocations?: Revocations | undefined;
  readonly scope: Scope;
  readonly log: Log;
  readonly clock: Clock;
  /** Connections at once. */
  readonly lanes?: number;
}

class Job extends Waiters<Buffer> {
  readonly hash: string;
  constructor(hash: string) {
    super();
    this.hash = hash;
  }
}

/**
 * The chunks and signed files of one group, from a gateway or a peer over mTLS https. Gets that come together share a request; a few
 * connections are kept alive and used in turn.
 */
export class HttpsChunkSource implements ChunkSource {
  readonly #o: HttpsSourceOptions;
  readonly #agent: DialAgent;
  readonly #lanes: number;
  /** Waiting for a lane, and on their way. */
  readonly #queued = new Map<string, Job>();
  readonly #asked = new Map<string, Job>();
  readonly #closing = new AbortController();
  /** Connections for chunks; the agent below has the one for signed files. */
  readonly #idleLanes: HttpLane[] = [];
  readonly #lanesInUse = new Set<HttpLane>();
  #scheduled = false;

  constructor(options: HttpsSourceOptions) {
    this.#o = options;
    this.#lanes = options.lanes ?? LAN_LANES;
    this.#agent = new DialAgent(options, this.#closing.signal);
  }

  /** Nothing is asked: whoever serves a bundle has all or most of it, and get() tells. */
  async has(hash: string, { signal }: CallOptions = {}): Promise<boolean> {
    signal?.throwIfAborted();
    return isSha256(hash);
  }

  /** @throws OBJECT_ABSENT, HASH_MISMATCH, OBJECT_TIMEOUT, CONNECTION_FAILED, CONNECTION_LOST, PROTOCOL_VIOLATION, CERT_* */
  async get(hash: string, { signal }: CallOptions = {}): Promise<Buffer> {
    signal?.throwIfAborted();
    this.#closing.signal.throwIfAborted();
    checkChunkName(hash);
    let job = this.#asked.get(hash) ?? this.#queued.get(hash);
    if (job === undefined) {
      job = new Job(hash);
      this.#queued.set(hash, job);
      this.#schedule();
    }
    return job.wait(signal, () => this.#queued.delete(hash));
  }

  /** A TUF metadata file; undefined: there is none, or not for us. @throws LIMIT_EXCEEDED and as get() */
  metadata(name: string, options: { maxBytes: number; signal?: AbortSignal | undefined }): Promise<Buffer | undefined> {
    return this.#file(`metadata/${name}`, options);
  }

  /** A bundle or manifest; the caller verifies it. @throws LIMIT_EXCEEDED and as get() */
  target(sha256: string, options: { maxBytes: number; signal?: AbortSignal | undefined }): Promise<Buffer | undefined> {
    return this.#file(`target/${sha256}`, options);
  }

  close(): void {
    const reason = new WardcastError('CONNECTION_LOST', 'The source was closed');
    this.#closing.abort(reason);
    this.#agent.destroy();
    for (const lane of [...this.#idleLanes, ...this.#lanesInUse]) lane.close();
    for (const jobs of [this.#queued, this.#asked]) {
      for (const job of jobs.values()) job.reject(reason);
      jobs.clear();
    }
  }

  // ── chunks ────────────────────────────────────────────────────────────────────────────────────────────

  /** After this round of the event loop: gets that come together travel together. */
  #schedule(): void {
    if (this.#scheduled) return;
    this.#scheduled = true;
    setImmediate(() => {
      this.#scheduled = false;
      this.#fillLanes();
    });
  }

  #fillLanes(): void {
    while (this.#lanesInUse.size < this.#lanes && this.#queued.size > 0) {
      // Shared out evenly, so that one lane does not take what the others could carry.
      const share = Math.ceil(this.#queued.size / (this.#lanes - this.#lanesInUse.size));
      const count = Math.min(share, MAX_BATCH_CHUNKS, MAX_BATCH_BYTES / CHUNK_AVG);
      const batch = [...this.#queued.values()].slice(0, count);
      for (const job of batch) {
        this.#queued.delete(job.hash);
        this.#asked.set(job.hash, job);
      }
      void this.#carry(batch).finally(() => this.#fillLanes());
    }
  }

  async #carry(batch: readonly Job[]): Promise<void> {
    let answered = 0;
    const answer = (bytes: Buffer | undefined): void => {
      const job = batch[answered];
      if (job === undefined) throw new WardcastError('PROTOCOL_VIOLATION', `${this.#address} sent more chunks than were asked for`);
      answered += 1;
      this.#settle(job, bytes);
    };
    const parser = new FrameParser(MAX_PAYLOAD);
    let denied = false;
    const lane = this.#idleLanes.pop() ?? new HttpLane({ ...this.#o, protocol: ALPN.http, signal: this.#closing.signal });
    this.#lanesInUse.add(lane);
    try {
      await lane.post(this.#path('chunks'), printHashes(batch.map((job) => job.hash)), {
        onHead: ({ status, headers }) => {
          denied = status === 404;
          if (!denied && status !== 200) throw this.#refusal(status, headers.get('x-wardcast-refused'));
        },
        onBody: (bytes) => {
          if (!denied) for (const frame of parser.push(bytes)) answer(frame);
        },
      });
      if (denied) for (const _ of batch) answer(undefined);
      if (!parser.clean) throw new WardcastError('PROTOCOL_VIOLATION', `The answer of ${this.#address} ends within a chunk`);
      if (answered < batch.length) throw new WardcastError('PROTOCOL_VIOLATION', `${this.#address} sent fewer chunks than were asked for`);
    } catch (error) {
      const failure = toWardcastError(error, 'CONNECTION_LOST', `The answer of ${this.#address} broke off`);
      for (const job of batch.slice(answered)) {
        this.#asked.delete(job.hash);
        job.reject(failure);
      }
      if (!this.#closing.signal.aborted) this.#o.log.debug('fetch.batch-failed', { address: this.#address, chunks: batch.length - answered, error: failure });
    } finally {
      this.#lanesInUse.delete(lane);
      this.#idleLanes.push(lane);
    }
  }

  #settle(job: Job, bytes: Buffer | undefined): void {
    this.#asked.delete(job.hash);
    if (bytes === undefined) {
      job.reject(absent(job.hash, this.#address));
      return;
    }
    try {
      checkContent(job.hash, bytes, this.#address);
      job.resolve(bytes);
    } catch (error) {
      this.#o.log.warn('fetch.bad-chunk', { address: this.#address, hash: job.hash, error });
      job.reject(error);
    }
  }

  // ── requests ──────────────────────────────────────────────────────────────────────────────────────────

  get #address(): string {
    return `${this.#o.host}:${this.#o.port}`;
  }

  async #file(path: string, { maxBytes, signal }: { maxBytes: number; signal?: AbortSignal | undefined }): Promise<Buffer | undefined> {
    signal?.throwIfAborted();
    this.#closing.signal.throwIfAborted();
    const response = await this.#request(path, signal);
    if (response.statusCode === 404) {
      response.resume();
      return undefined;
    }
    const parts: Buffer[] = [];
    let size = 0;
    try {
      for await (const part of this.#accept(response)) {
        if (!Buffer.isBuffer(part)) continue;
        size += part.length;
        if (size > maxBytes)
          throw new WardcastError('LIMIT_EXCEEDED', `${path} from ${this.#address} has more than ${maxBytes} bytes`, { context: { maxBytes } });
        parts.push(part);
      }
    } catch (error) {
      signal?.throwIfAborted();
      throw toWardcastError(error, 'CONNECTION_LOST', `The answer of ${this.#address} broke off`);
    }
    return Buffer.concat(parts);
  }

  /** @throws PROTOCOL_VIOLATION, or what the door said when it refused us */
  #accept(response: IncomingMessage): IncomingMessage {
    if (response.statusCode === 200) return response;
    response.destroy();
    const refused = response.headers['x-wardcast-refused'];
    throw this.#refusal(response.statusCode, typeof refused === 'string' ? refused : undefined);
  }

  #refusal(status: number | undefined, refused: string | undefined): WardcastError {
    if (refused !== undefined && isErrorCode(refused)) {
      return new WardcastError('CERT_REFUSED_BY_PEER', `${this.#address} refused us: ${ERROR_CODES[refused]} (${refused})`, {
        remedy: 'The log of that daemon says more (event door.refused).',
        context: { refused },
      });
    }
    return new WardcastError('PROTOCOL_VIOLATION', `${this.#address} answered with status ${status}`, {
      remedy: 'Is this a Wardcast daemon of the same version?',
    });
  }

  #path(of: string): string {
    return `/v1/${scopePath(this.#o.scope)}/${of}`;
  }

  async #request(path: string, signal: AbortSignal | undefined, again = true): Promise<IncomingMessage> {
    const request = nodeHttp.request({
      agent: this.#agent,
      path: this.#path(path),
      headers: { host: 'wardcast' },
      timeout: LAN_TIMEOUT,
      ...(signal === undefined ? {} : { signal }),
    });
    const timeout = (): WardcastError => new WardcastError('OBJECT_TIMEOUT', `${this.#address} was silent for ${LAN_TIMEOUT / 1000} s`);
    request.on('timeout', () => request.destroy(timeout()));
    try {
      return await new Promise<IncomingMessage>((resolve, reject) => {
        request.once('response', resolve);
        request.on('error', reject);
        request.end();
      });
    } catch (error) {
      signal?.throwIfAborted();
      this.#closing.signal.throwIfAborted();
      // A kept connection may have been closed by the other side just now: nothing was answered, so nothing is done twice.
      if (again && request.reusedSocket && !(error instanceof WardcastError)) return this.#request(path, signal, false);
      throw toWardcastError(error, 'CONNECTION_LOST', `The connection to ${this.#address} broke`);
    }
  }
}

/** Plain http over sockets that dial() opened: the one place where servers are proven. */
class DialAgent extends nodeHttp.Agent {
  readonly #o: HttpsSourceOptions;
  readonly #signal: AbortSignal;

  constructor(options: HttpsSourceOptions, signal: AbortSignal) {
    // Signed files have a connection of their own: none waits behind chunks.
    super({ keepAlive: true, maxSockets: 1, maxFreeSockets: 1, timeout: LAN_TIMEOUT });
    this.#o = options;
    this.#signal = signal;
  }

  override createConnection(_options: unknown, callback?: (error: Error | null, socket: Duplex) => void): undefined {
    dial({ ...this.#o, protocol: ALPN.http, signal: this.#signal }).then(
      ({ socket }) => callback?.(null, socket),
      // With an error there is no socket, whatever the types say.
      (error: unknown) => Reflect.apply(callback ?? (() => undefined), undefined, [error]),
    );
    return undefined;
  }
}

function isErrorCode(code: string): code is ErrorCode {
  return Object.hasOwn(ERROR_CODES, code);
}
