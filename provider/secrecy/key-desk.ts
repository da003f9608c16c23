import type { Credentials } from '../../certs/credentials.ts';
import { open } from '../../certs/envelope.ts';
import { type Clock, momentOf } from '../../shared/base/clock.ts';
import { toWardcastError, WardcastError } from '../../shared/base/errors.ts';
import { type DeviceIdentity, type GatewayIdentity, identityPath } from '../../shared/base/identity.ts';
import type { Log } from '../../shared/base/log.ts';
import { sealGroupKeys } from '../../shared/wire/group-key-answer.ts';
import { type GroupKeys, type KeyAnswers, KeyQuestion, type KeyQuestions, type SignedKeyQuestion } from '../../shared/wire/messages.ts';
import type { Repositories } from '../deliver/repositories.ts';
import type { Registry } from '../registry/registry.ts';
import { revocationsAbout } from '../registry/revoked.ts';
import { keys } from '../registry/rows.ts';
import { keyRefusal } from './entitled.ts';
import type { KeyVault } from './vault.ts';

export interface KeyDeskParts {
  readonly credentials: Credentials;
  readonly registry: Registry;
  readonly repositories: Pick<Repositories, 'get'>;
  readonly vault: Pick<KeyVault, 'groupKey'>;
  readonly clock: Clock;
  readonly log: Log;
}

/**
 * Gives devices the keys of their group, each readable by that device alone: those of the epochs of the bundles that are served. Whoever is not entitled
 * hears nothing, whatever the reason; it stands in this provider's log.
 */
export class KeyDesk {
  readonly #o: KeyDeskParts;
  readonly #busy = new Set<string>();

  constructor(parts: KeyDeskParts) {
    this.#o = parts;
  }

  /** @throws LIMIT_EXCEEDED: one message of a gateway at a time; STORAGE_FAILED */
  async answer(from: GatewayIdentity, { questions }: KeyQuestions): Promise<KeyAnswers> {
    const who = identityPath(from);
    if (this.#busy.has(who)) throw new WardcastError('LIMIT_EXCEEDED', 'One message of questions about keys at a time');
    this.#busy.add(who);
    try {
      const answers: KeyAnswers['answers'] = [];
      for (const question of questions) {
        const answer = await this.#one(from, question);
        if (answer !== undefined) answers.push(answer);
      }
      return { answers };
    } finally {
      this.#busy.delete(who);
    }
  }

  async #one(from: GatewayIdentity, signed: SignedKeyQuestion): Promise<KeyAnswers['answers'][number] | undefined> {
    const { vault, log } = this.#o;
    try {
      const { device, question } = await this.#entitled(from, signed);
      const found: GroupKeys['keys'] = [];
      for (const epoch of await this.#epochs(device)) {
        const key = await vault.groupKey(device, epoch);
        if (key !== undefined) found.push({ epoch, key: key.toString('base64') });
      }
      log.info('key.answered', { device: identityPath(device), epochs: found.map(({ epoch }) => epoch) });
      if (found.length === 0) return undefined;
      return { group: device.group, device: device.device, answer: sealGroupKeys({ keys: found }, device, question) };
    } catch (error) {
      const why = toWardcastError(error);
      if (why.code === 'STORAGE_FAILED') throw why;
      log.warn('key.refused', { gateway: identityPath(from), code: why.code, error: why });
      return undefined;
    }
  }

  /** @throws SIGNATURE_INVALID, CERT_*, PROTOCOL_VIOLATION, DENIED */
  async #entitled(from: GatewayIdentity, signed: SignedKeyQuestion): Promise<{ device: DeviceIdentity; question: string }> {
    const { credentials, registry, clock } = this.#o;
    const { identity, issued, generation, payload } = open(signed, credentials.rootPem, momentOf(clock));
    const asked = read(payload);
    if (identity.role !== 'device' || identityPath(identity) !== identityPath({ ...asked, role: 'device' }))
      throw new WardcastError('DENIED', `${identityPath(identity)} asks for the keys of ${identityPath({ ...asked, role: 'device' })}`);
    if (from.customer !== identity.customer || from.site !== identity.site)
      throw new WardcastError('DENIED', `A gateway passed on a question of ${identityPath(identity)}, which is at another site`);
    const registered = await registry.get(keys.device(identity.customer, identity.device));
    const revoked = await revocationsAbout(registry, identity);
    const refusal = keyRefusal({ device: identity, certified: { issued, generation }, registered, revoked });
    if (refusal !== undefined) throw new WardcastError('DENIED', `${identityPath(identity)} gets no key: ${refusal}`);
    return { device: identity, question: asked.publicKey };
  }

  /** Of the bundles that devices of the group can be served, newest first. */
  async #epochs(device: DeviceIdentity): Promise<readonly number[]> {
    const repository = await this.#o.repositories.get(device);
    return [...new Set((repository?.generations ?? []).flatMap(({ epoch }) => (epoch === undefined ? [] : [epoch])))];
  }
}

function read(payload: Buffer): KeyQuestion {
  try {
    return KeyQuestion.parse(JSON.parse(payload.toString('utf8')));
  } catch (cause) {
    throw new WardcastError('PROTOCOL_VIOLATION', 'A question about keys cannot be read', { cause });
  }
}
