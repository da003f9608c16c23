import type { z } from 'zod';
import { isWardcastError } from '../../base/errors.ts';
import { type Identity, identityPath } from '../../base/identity.ts';
import { CHUNK_MAX, MAX_SEND_QUEUE_OBJECTS, MAX_WANT_NAMES, SEND_READ_AHEAD, SEND_READ_AHEAD_BYTES } from '../../base/limits.ts';
import type { Log } from '../../base/log.ts';
import type { ObjectKind, Want } from '../../wire/messages.ts';
import { mayFetchScope } from '../../wire/policy.ts';
import { down } from '../../wire/topics.ts';
import type { EmbeddedBroker } from '../broker.ts';
import { cut, type ObjectRef, objectTopic, partsOf, refKey } from './object-ref.ts';
import { packTarget } from './target-form.ts';

/** Undefined, or OBJECT_ABSENT thrown: unknown, or not for this identity; it is not told which. Called for one object at a time, several ahead. */
export type ReadObject = (identity: Identity, ref: ObjectRef) => Promise<Buffer | undefined>;

interface Job {
  readonly ref: ObjectRef;
  readonly key: string;
}
type Answer = { readonly bytes: Buffer } | { readonly reason: 'absent' | 'busy' };
type Refusals = Map<string, { group: string; kind: ObjectKind; reason: 'absent' | 'busy'; names: string[] }>;

/** One connected puller. `jobs`: asked for, not sent yet; asking again for one of them changes nothing. */
interface Client {
  readonly identity: Identity;
  readonly jobs: Set<string>;
  /** Signed files: they go before any chunk. */
  readonly urgent: Job[];
  readonly queue: Job[];
  readonly refusals: Refusals;
  /** Names in them. */
  refused: number;
  running: boolean;
  gone: boolean;
}

/**
 * Answers wants from the broker's side. Every client has its own queue and one object in flight, so control messages and signed files pass
 * between chunks, a slow client holds up nobody, and all get their turn. What is read ahead is bounded for each client and for all together.
 */
export class ObjectServer {
  readonly #broker: EmbeddedBroker;
  readonly #log: Log;
  readonly #read: ReadObject;
  readonly #clients = new Map<string, Client>();
  readonly #stopListening: () => void;
  /** Bytes in memory for all clients together: being read, read, or being sent. */
  #ahead = 0;
  #sent = { objects: 0, bytes: 0 };

  constructor(options: { broker: EmbeddedBroker; log: Log; read: ReadObject }) {
    this.#broker = options.broker;
    this.#log = options.log;
    this.#read = options.read;
    this.#stopListening = this.#broker.onPresence(({ identity, connected }) => {
      if (!connected) this.#forget(identityPath(identity));
    });
  }

  /** Takes a want that `from` said; answers come by themselves, in the order asked. Never throws. */
  handle(from: Identity, want: z.output<typeof Want>): void {
    const path = identityPath(from);
    let client = this.#clients.get(path);
    if (client === undefined) {
      client = { identity: from, jobs: new Set(), urgent: [], queue: [], refusals: new Map(), refused: 0, running: false, gone: false };
      this.#clients.set(path, client);
    }
    const allowed = mayAsk(from, want.group);
    for (const name of want.names) {
      const ref = { group: want.group, kind: want.kind, name };
      const key = refKey(ref);
      if (client.jobs.has(key)) continue;
      if (!allowed) refuse(client, ref, 'absent');
      else if (client.jobs.size >= MAX_SEND_QUEUE_OBJECTS) refuse(client, ref, 'busy');
      else {
        client.jobs.add(key);
        (ref.kind === 'chunk' ? client.queue : client.urgent).push({ ref, key });
      }
    }
    if (!client.running) void this.#serve(path, client);
  }

  /** Objects and bytes sent since the start. */
  get sent(): { readonly objects: number; readonly bytes: number } {
    return { ...this.#sent };
  }

  close(): void {
    this.#stopListening();
    for (const path of [...this.#clients.keys()]) this.#forget(path);
  }

  #forget(path: string): void {
    const client = this.#clients.get(path);
    if (client === undefined) return;
    this.#clients.delete(path);
    client.gone = true;
    client.urgent.length = 0;
    client.queue.length = 0;
  }

  async #serve(path: string, client: Client): Promise<void> {
    client.running = true;
    const ahead: { job: Job; answer: Promise<Answer> }[] = [];
    try {
      while (!client.gone) {
        const urgent = client.urgent.shift();
        if (urgent !== undefined) {
          await this.#reply(client, urgent, await this.#answer(client, urgent));
          continue;
        }
        this.#readAhead(client, ahead);
        const next = ahead.shift();
        if (next === undefined) {
          await this.#sendRefusals(client);
          // Something may have been asked while that was sent.
          if (client.urgent.length === 0 && client.queue.length === 0 && client.refusals.size === 0) break;
          continue;
        }
        await this.#reply(client, next.job, await next.answer);
      }
    } catch (error) {
      // It will connect again and ask again; what it asked for on the lost connection is void. Anything else would repeat itself in silence.
      if (isWardcastError(error, 'CONNECTION_LOST')) this.#log.debug('serve.client-lost', { client: path, error });
      else this.#log.error('serve.failed', { client: path, error });
      client.gone = true;
    }
    client.running = false;
    if (this.#clients.get(path) === client) this.#clients.delete(path);
    for (const { answer } of ahead) void answer.then((left) => this.#release(left));
  }

  #readAhead(client: Client, ahead: { job: Job; answer: Promise<Answer> }[]): void {
    while (ahead.length < SEND_READ_AHEAD && (ahead.length === 0 || this.#ahead < SEND_READ_AHEAD_BYTES)) {
      const job = client.queue.shift();
      if (job === undefined) return;
      ahead.push({ job, answer: this.#answer(client, job) });
    }
  }

  async #reply(client: Client, { ref, key }: Job, answer: Answer): Promise<void> {
    client.jobs.delete(key);
    try {
      if ('reason' in answer) {
        refuse(client, ref, answer.reason);
        return;
      }
      if (client.refusals.size > 0) await this.#sendRefusals(client);
      await this.#send(client, ref, answer.bytes);
    } finally {
      this.#release(answer);
    }
  }

  async #answer(client: Client, { ref }: Job): Promise<Answer> {
    // Until its size is known it counts as much as a chunk may have: reads that begin together must not pass the bound together.
    this.#ahead += CHUNK_MAX;
    try {
      const found = await this.#read(client.identity, ref);
      if (found === undefined) return { reason: 'absent' };
      const bytes = ref.kind === 'target' ? await packTarget(found) : found;
      this.#ahead += bytes.length;
      return { bytes };
    } catch (error) {
      if (isWardcastError(error, 'OBJECT_ABSENT')) return { reason: 'absent' };
      this.#log.error('serve.read-failed', { client: identityPath(client.identity), ...ref, error });
      return { reason: 'busy' };
    } finally {
      this.#ahead -= CHUNK_MAX;
    }
  }

  #release(answer: Answer): void {
    if ('bytes' in answer) this.#ahead -= answer.bytes.length;
  }

  async #send(client: Client, ref: ObjectRef, bytes: Buffer): Promise<void> {
    const parts = partsOf(bytes.length);
    for (let part = 0; part < parts && !client.gone; part++) {
      const payload = cut(bytes, part);
      await this.#broker.send(client.identity, objectTopic(client.identity, ref, part, parts), payload, { qos: 0 });
      this.#sent.bytes += payload.length;
    }
    this.#sent.objects += 1;
  }

  async #sendRefusals(client: Client): Promise<void> {
    const refusals = [...client.refusals.values()];
    client.refusals.clear();
    client.refused = 0;
    for (const refusal of refusals) await this.#broker.send(client.identity, down(client.identity, 'absent'), Buffer.from(JSON.stringify(refusal)), { qos: 0 });
  }
}

function mayAsk(identity: Identity, group: string): boolean {
  if (identity.role !== 'gateway' && identity.role !== 'device') return false;
  return mayFetchScope(identity, { customer: identity.customer, site: identity.site, group });
}

/**
 * Many refusals, few messages; each want has at most MAX_WANT_NAMES names, so has each answer. Who asks without reading the answers is told no more:
 * it would have to ask again anyway. (Twice the queue: all of its jobs may turn out absent.)
 */
function refuse(client: Client, { group, kind, name }: ObjectRef, reason: 'absent' | 'busy'): void {
  const { refusals } = client;
  if (client.refused >= 2 * MAX_SEND_QUEUE_OBJECTS) return;
  client.refused += 1;
  for (let page = 0; ; page++) {
    const key = `${group}/${kind}/${reason}/${page}`;
    const message = refusals.get(key);
    if (message === undefined) {
      refusals.set(key, { group, kind, reason, names: [name] });
      return;
    }
    if (message.names.length < MAX_WANT_NAMES) {
      message.names.push(name);
      return;
    }
  }
}
