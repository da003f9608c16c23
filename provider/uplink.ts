import type { z } from 'zod';
import type { Clock } from '../shared/base/clock.ts';
import { isWardcastError, toWardcastError, WardcastError } from '../shared/base/errors.ts';
import { type GatewayIdentity, identityPath } from '../shared/base/identity.ts';
import { BUSY_RETRY, MAX_CONTROL_MESSAGE } from '../shared/base/limits.ts';
import type { Log } from '../shared/base/log.ts';
import type { Delivery, EmbeddedBroker } from '../shared/net/broker.ts';
import type { ObjectServer } from '../shared/net/exchange/server.ts';
import { EnrolForward, type EnrolReply } from '../shared/wire/enrol.ts';
import { GatewayHello, KeyQuestions, type LogPoint, Progress, Seen, type Statement, TimeQuestion, Want } from '../shared/wire/messages.ts';
import { down, type UpVerb } from '../shared/wire/topics.ts';
import type { Offers } from './deliver/offers.ts';
import type { Alarms } from './enrol/alarms.ts';
import type { Enrolments } from './enrol/enrolments.ts';
import type { Events } from './events.ts';
import type { Planner } from './planner.ts';
import type { ReceiptPost } from './receipt-post.ts';
import type { Recorder } from './record/recorder.ts';
import type { Verdict } from './record/statement.ts';
import type { Reports } from './reports.ts';
import type { KeyDesk } from './secrecy/key-desk.ts';
import type { TimeDesk } from './time-desk.ts';

export interface UplinkParts {
  readonly broker: Pick<EmbeddedBroker, 'send'>;
  readonly recorder: Recorder;
  readonly receipts: Pick<ReceiptPost, 'post'>;
  readonly planner: Pick<Planner, 'look'>;
  readonly offers: Offers;
  readonly objects: Pick<ObjectServer, 'handle'>;
  readonly reports: Reports;
  readonly events: Events;
  readonly time: Pick<TimeDesk, 'answer'>;
  readonly groupKeys: Pick<KeyDesk, 'answer'>;
  readonly enrolments: Pick<Enrolments, 'answer'>;
  readonly alarms: Pick<Alarms, 'raise' | 'keep'>;
  /** Told of every statement that a device has proven to be its own. */
  readonly onStatement?: (statement: Statement, verdict: Verdict) => void;
  readonly clock: Clock;
  readonly signal: AbortSignal;
  readonly log: Log;
}

/** What gateways say. */
export class Uplink {
  readonly #parts: UplinkParts;

  constructor(parts: UplinkParts) {
    this.#parts = parts;
  }

  /** Never throws. Accepts the delivery when it is durably handled, or when it never can be. */
  async handle(from: GatewayIdentity, verb: UpVerb, delivery: Delivery): Promise<void> {
    try {
      await this.#patiently(() => this.#handle(from, verb, delivery.payload));
      delivery.accept();
    } catch (error) {
      const why = toWardcastError(error);
      // We stop: without the acknowledgement the gateway keeps it, and says it again on its next connection.
      if (why.code === 'STORAGE_FAILED' || why.code === 'ABORTED') {
        this.#parts.log.error('uplink.failed', { gateway: identityPath(from), verb, error: why });
        return;
      }
      this.#parts.log.warn('uplink.refused', { gateway: identityPath(from), verb, code: why.code, error: why });
      await this.#send(from, 'refused', { topic: delivery.topic, code: why.code, message: why.message.slice(0, 500) });
      delivery.accept();
    }
  }

  /**
   * Waits while the log's writer is behind. Until then the message is not acknowledged, which holds its sender back; and it is not left alone either,
   * since a gateway says nothing again for which a living connection still owes the acknowledgement.
   */
  async #patiently(work: () => Promise<void>): Promise<void> {
    const { clock, signal } = this.#parts;
    for (;;) {
      try {
        return await work();
      } catch (error) {
        if (!isWardcastError(error, 'BUSY')) throw error;
        await clock.sleep(BUSY_RETRY, { signal });
      }
    }
  }

  async #handle(from: GatewayIdentity, verb: UpVerb, payload: Buffer): Promise<void> {
    const { offers, objects, reports, events } = this.#parts;
    const actor = identityPath(from);
    const { customer, site } = from;
    switch (verb) {
      case 'hello': {
        const hello = read(GatewayHello, verb, payload);
        await reports.hello(from, hello.groups, actor);
        offers.arrived(from);
        await offers.offerAll(from);
        if (hello.head !== undefined) await this.#goesOn(from, hello.head);
        return;
      }
      case 'want':
        objects.handle(from, read(Want, verb, payload));
        return;
      case 'statement':
        await this.#statement(from, payload);
        return;
      case 'progress': {
        const progress = read(Progress, verb, payload);
        await reports.progress(from, progress, actor);
        events.tell('progress', { customer, site, ...progress });
        return;
      }
      case 'seen': {
        const seen = read(Seen, verb, payload);
        for (const { identity, address } of await reports.seen(from, seen, actor)) {
          const message = `Two processes run as ${identity?.device} at once, the gateway hears them in turns; one of them at ${address}`;
          if (identity !== null) await this.#parts.alarms.raise({ type: 'clone-suspected', customer, site, device: identity.device, message }, actor);
        }
        events.tell('site-seen', { customer, site, devices: seen.devices.length, line: seen.line });
        return;
      }
      case 'time':
        await this.#send(from, 'time', await this.#parts.time.answer(from, read(TimeQuestion, verb, payload)));
        return;
      case 'key':
        await this.#send(from, 'key', await this.#parts.groupKeys.answer(from, read(KeyQuestions, verb, payload)));
        return;
      case 'enrol': {
        const { id, request } = read(EnrolForward, verb, payload);
        const answer = await this.#parts.enrolments.answer(request, from);
        await this.#send(from, 'enrolled', { id, answer } satisfies EnrolReply);
        return;
      }
      case 'request':
      case 'object':
        // The policy lets no gateway say these.
        return;
    }
  }

  /** Somebody keeps a head of this log. When it does not go on from there it was rewritten, or restored from a backup: both are for people to look at. */
  async #goesOn(from: GatewayIdentity, kept: LogPoint): Promise<void> {
    const { recorder, events, alarms, log } = this.#parts;
    const { customer, site, gateway } = from;
    const answer = await recorder.head(kept);
    if (answer.since?.path === undefined) {
      log.error('log.contradicted', { gateway: identityPath(from), kept });
      events.tell('log-contradicted', { customer, site, kept });
      const message = `The log does not go on from the ${kept.size} entries whose signed head gateway ${gateway} keeps: it was rewritten, or restored from an older backup`;
      await alarms.keep({ type: 'log-contradicted', customer, site, device: gateway, message }, identityPath(from));
    }
    await this.#send(from, 'receipt', answer);
  }

  async #statement(from: GatewayIdentity, bytes: Buffer): Promise<void> {
    const { recorder, receipts, planner, events, alarms, log } = this.#parts;
    const { customer, site } = from;
    try {
      const { statement, verdict, sealed } = await recorder.record(bytes, from);
      const { group, device, counter, type } = statement;
      this.#parts.onStatement?.(statement, verdict);
      if (verdict.outcome === 'record') {
        const about =
          statement.type === 'confirmation'
            ? {
                application: statement.application,
                version: statement.version,
                result: statement.result,
                ...(statement.sources === undefined ? {} : { sources: statement.sources }),
              }
            : {};
        events.tell('statement-recorded', { customer, site, group, device, counter, type, ...about });
        // A failed installation is no drift: offering the same again would only make the device try it for ever.
        if (statement.type === 'inventory' || statement.result === 'installed') planner.look(statement, device);
      } else if (verdict.outcome === 'refused') {
        log.warn('statement.refused', { customer, site, group, device, counter, code: verdict.code, message: verdict.message });
        events.tell('statement-refused', { customer, site, device, code: verdict.code, message: verdict.message });
        // One device never says two things under one number, whatever it forgot: it does not confirm what it does not remember.
        if (verdict.code === 'COUNTER_CONFLICT')
          await alarms.raise({ type: 'clone-suspected', customer, site, device, message: verdict.message }, identityPath(from));
      }
      await receipts.post(from, sealed);
    } catch (error) {
      if (!isWardcastError(error) || error.code === 'STORAGE_FAILED' || error.code === 'BUSY' || error.code === 'ABORTED') throw error;
      // Nobody proved to be the device: no receipt, or a liar could have a genuine statement dropped.
      events.tell('statement-refused', { customer, site, code: error.code, message: error.message });
      throw error;
    }
  }

  async #send(to: GatewayIdentity, verb: 'time' | 'key' | 'receipt' | 'refused' | 'enrolled', body: unknown): Promise<void> {
    try {
      await this.#parts.broker.send(to, down(to, verb), Buffer.from(JSON.stringify(body), 'utf8'));
    } catch (error) {
      this.#parts.log.info('uplink.answer-lost', { gateway: identityPath(to), verb, error: toWardcastError(error) });
    }
  }
}

/** @throws PROTOCOL_VIOLATION */
function read<S extends z.ZodType>(schema: S, verb: UpVerb, payload: Buffer): z.output<S> {
  if (payload.length > MAX_CONTROL_MESSAGE) throw malformed(verb, `it has ${payload.length} bytes, more than ${MAX_CONTROL_MESSAGE}`);
  let value: unknown;
  try {
    value = JSON.parse(payload.toString('utf8'));
  } catch {
    throw malformed(verb, 'it is no JSON');
  }
  const parsed = schema.safeParse(value);
  if (parsed.success) return parsed.data;
  const [issue] = parsed.error.issues;
  throw malformed(verb, `${issue?.path.join('.') ?? ''}: ${issue?.message ?? 'not acceptable'}`);
}

function malformed(verb: UpVerb, why: string): WardcastError {
  return new WardcastError('PROTOCOL_VIOLATION', `A message on \`${verb}\` cannot be used: ${why}`, {
    remedy: 'Bring the gateway and the provider to versions that belong together.',
  });
}
