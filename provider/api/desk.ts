import { toWardcastError, WardcastError } from '../../shared/base/errors.ts';
import { identityPath, type OpsIdentity } from '../../shared/base/identity.ts';
import { MAX_OPS_REQUESTS, MAX_PAYLOAD } from '../../shared/base/limits.ts';
import type { Log } from '../../shared/base/log.ts';
import type { Delivery, EmbeddedBroker } from '../../shared/net/broker.ts';
import { parseUploadTopic } from '../../shared/net/exchange/object-ref.ts';
import { OpsRequest } from '../../shared/wire/messages.ts';
import { isOpsAction, type OpsAction } from '../../shared/wire/ops.ts';
import { down } from '../../shared/wire/topics.ts';
import type { Desk, Handler } from './action.ts';
import { currentList, currentSet } from './current.ts';
import { customerAdd, customerList } from './customer.ts';
import { deviceAdd, deviceList, deviceRemove, deviceSeen } from './device.ts';
import { alarmDismiss, enrolDecide, enrolList, enrolRelease, enrolRevoke, enrolToken, enrolTokens } from './enrol.ts';
import { explain } from './explain.ts';
import { groupAdd, groupList, groupRotateKey } from './group.ts';
import { logList, registryCheck } from './log.ts';
import { releaseList, releaseOffer, releasePublish, releaseWithdraw } from './release.ts';
import { customerRetire, deviceMove, deviceRevoke, gatewayRevoke, groupRetireCa, opsRevoke, revocationList } from './revocation.ts';
import { siteAdd, siteList } from './site.ts';
import { status } from './status.ts';
import { trace, traceDevice } from './trace.ts';

/** Every action of shared/wire/ops.ts, and the function that does it. */
const HANDLERS: Readonly<Record<OpsAction, Handler>> = {
  'customer.add': customerAdd,
  'customer.list': customerList,
  'customer.retire': customerRetire,
  'site.add': siteAdd,
  'site.list': siteList,
  'group.add': groupAdd,
  'group.list': groupList,
  'group.rotate-key': groupRotateKey,
  'device.add': deviceAdd,
  'device.move': deviceMove,
  'device.remove': deviceRemove,
  'device.list': deviceList,
  'device.revoke': deviceRevoke,
  'gateway.revoke': gatewayRevoke,
  'ops.revoke': opsRevoke,
  'group.retire-ca': groupRetireCa,
  'revocation.list': revocationList,
  'device.seen': deviceSeen,
  'release.offer': releaseOffer,
  'release.publish': releasePublish,
  'release.list': releaseList,
  'release.withdraw': releaseWithdraw,
  'current.set': currentSet,
  'current.list': currentList,
  status,
  trace,
  'trace.device': traceDevice,
  explain,
  'enrol.token': enrolToken,
  'enrol.tokens': enrolTokens,
  'enrol.revoke': enrolRevoke,
  'enrol.list': enrolList,
  'enrol.decide': enrolDecide,
  'enrol.release': enrolRelease,
  'alarm.dismiss': alarmDismiss,
  'registry.check': registryCheck,
  'log.list': logList,
};

/** Answers ops: requests with replies, uploads with their acknowledgement. */
export class OpsDesk {
  readonly #desk: Desk;
  readonly #broker: Pick<EmbeddedBroker, 'send' | 'connected'>;
  readonly #log: Log;
  readonly #open = new Map<string, number>();

  constructor(o: { desk: Desk; broker: Pick<EmbeddedBroker, 'send' | 'connected'>; log: Log }) {
    this.#desk = o.desk;
    this.#broker = o.broker;
    this.#log = o.log;
  }

  /** Never throws. The request is acknowledged when its answer is on the way: before that, its sender may ask again. */
  async request(from: OpsIdentity, delivery: Delivery): Promise<void> {
    const actor = identityPath(from);
    const request = parseRequest(delivery.payload);
    if (request === undefined) {
      this.#log.warn('ops.malformed', { actor });
      await this.#tell(from, 'refused', { topic: delivery.topic, code: 'USAGE', message: 'That is no request: see docs/asyncapi.json.' });
      delivery.accept();
      return;
    }
    const { id, action, params } = request;
    const open = this.#open.get(actor) ?? 0;
    this.#open.set(actor, open + 1);
    try {
      if (open >= MAX_OPS_REQUESTS) throw new WardcastError('BUSY', `${open} requests of yours are under way`, { remedy: 'Wait for their replies.' });
      const result = await this.#run(action, params, actor);
      await this.#reply(from, { id, ok: true, result });
      this.#log.info('ops.done', { actor, action });
    } catch (error) {
      const why = toWardcastError(error);
      this.#log.warn('ops.refused', { actor, action, code: why.code, error: why });
      await this.#reply(from, { id, ok: false, error: why.toJSON() });
    } finally {
      this.#open.set(actor, (this.#open.get(actor) ?? 1) - 1);
      if (this.#open.get(actor) === 0) this.#open.delete(actor);
      delivery.accept();
    }
  }

  /**
   * A part of an object on `up/object/<sha256>/<part>/<parts>`. The part that completes it is acknowledged when the object is durable, or
   * when it never will be (and then said so).
   */
  async upload(from: OpsIdentity, rest: readonly string[], delivery: Delivery): Promise<void> {
    const actor = identityPath(from);
    try {
      const piece = parseUploadTopic(rest);
      if (piece === undefined) throw new WardcastError('USAGE', 'That is no topic of an upload: see docs/asyncapi.json.');
      await this.#desk.uploads.take(actor, piece, delivery.payload);
    } catch (error) {
      const why = toWardcastError(error);
      this.#log.warn('ops.upload-refused', { actor, hash: rest[0]?.slice(0, 64), code: why.code, error: why });
      await this.#tell(from, 'refused', { topic: delivery.topic, code: why.code, message: why.message.slice(0, 500) });
    }
    delivery.accept();
    // What was still queued when the connection ended must not stay either.
    if (rest[2] !== '1') this.left(from);
  }

  /** A connection ended: without another one, what came in part will not become whole. */
  left(from: OpsIdentity): void {
    if (!this.#broker.connected(from)) this.#desk.uploads.abandon(identityPath(from));
  }

  async #run(action: string, params: unknown, actor: string): Promise<unknown> {
    if (!isOpsAction(action))
      throw new WardcastError('USAGE', `There is no action ${JSON.stringify(action)}`, { remedy: 'docs/asyncapi.json lists all of them.' });
    return HANDLERS[action](this.#desk, params, { actor });
  }

  async #reply(to: OpsIdentity, reply: { id: string; ok: boolean; result?: unknown; error?: unknown }): Promise<void> {
    const payload = Buffer.from(JSON.stringify(reply), 'utf8');
    if (payload.length <= MAX_PAYLOAD) return this.#send(to, 'reply', payload);
    const error = new WardcastError('LIMIT_EXCEEDED', `The answer has ${payload.length} bytes, more than one message takes`, {
      remedy: 'Narrow the question down.',
    });
    return this.#send(to, 'reply', Buffer.from(JSON.stringify({ id: reply.id, ok: false, error: error.toJSON() }), 'utf8'));
  }

  #tell(to: OpsIdentity, verb: 'refused', body: unknown): Promise<void> {
    return this.#send(to, verb, Buffer.from(JSON.stringify(body), 'utf8'));
  }

  async #send(to: OpsIdentity, verb: 'reply' | 'refused', payload: Buffer): Promise<void> {
    try {
      await this.#broker.send(to, down(to, verb), payload);
    } catch (error) {
      // Who went away before the answer asks again.
      this.#log.info('ops.reply-lost', { actor: identityPath(to), error: toWardcastError(error) });
    }
  }
}

function parseRequest(payload: Buffer): { id: string; action: string; params: unknown } | undefined {
  try {
    const parsed = OpsRequest.safeParse(JSON.parse(payload.toString('utf8')));
    return parsed.success ? parsed.data : undefined;
  } catch {
    return undefined;
  }
}
