import fc from 'fast-check';
import { z } from 'zod';
import { openReceipt } from '../../agent/confirm/receipt.ts';
import { readMessage } from '../../gateway/message.ts';
import { KeyRelay } from '../../gateway/serve/key-relay.ts';
import { identityPath } from '../../shared/base/identity.ts';
import { silentLog } from '../../shared/base/log.ts';
import * as enrolment from '../../shared/wire/enrol.ts';
import { newEphemeral, openGroupKeys, sealGroupKeys } from '../../shared/wire/group-key-answer.ts';
import * as messages from '../../shared/wire/messages.ts';
import { OPS_ACTIONS } from '../../shared/wire/ops.ts';
import { DEVICE, GATEWAY, PROVIDER } from '../support/bad-certificates.ts';
import { credentialsOf } from '../support/broker-rig.ts';
import { TestNotary } from '../support/notary.ts';
import { type Law, law, lawfully } from './law.ts';
import { anyBytes, mutatedJson } from './mutation.ts';
import type { Samples } from './samples.ts';

/** Every schema of the wire by its name: one that is added is fuzzed from then on. */
export const WIRE_SCHEMAS: ReadonlyMap<string, z.ZodType> = new Map([
  ...schemasOf(messages),
  ...schemasOf(enrolment),
  ...Object.entries(OPS_ACTIONS).map(([action, { params }]): [string, z.ZodType] => [action, params]),
]);

function schemasOf(module: object): [string, z.ZodType][] {
  return Object.entries(module).filter((entry): entry is [string, z.ZodType] => entry[1] instanceof z.ZodType);
}

const KEY = Buffer.alloc(32, 7).toString('base64');
const AT = '2026-01-01T00:00:00Z';

/** What crosses a wire, beyond frames and topics. */
export function wireLaws({ workshop, device, envelope, statement }: Samples): Law[] {
  if (DEVICE.role !== 'device' || GATEWAY.role !== 'gateway') throw new Error('the wrong identities');
  const who = DEVICE;
  const notary = new TestNotary(credentialsOf(workshop.leaf(PROVIDER), PROVIDER));
  const { customer, site, group, device: name } = who;
  const receipts = notary.receipts([
    { type: 'receipt', customer, site, group, device: name, counter: 7, digest: 'ab'.repeat(32), outcome: 'recorded', highest: 7, at: AT },
  ]);
  const question = newEphemeral();
  const answer = sealGroupKeys({ keys: [{ epoch: 3, key: KEY }] }, who, question.publicKey);
  const asked = { type: 'key-question', customer, site, group, device: name, publicKey: question.publicKey };
  const signed = { ...JSON.parse(envelope.toString('utf8')), payload: Buffer.from(JSON.stringify(asked)).toString('base64') };
  const samples = [
    receipts,
    receipts.head,
    answer,
    asked,
    signed,
    { questions: [signed] },
    { answers: [{ group, device: name, answer }] },
    { keys: [{ epoch: 1, key: KEY }] },
    { version: '1.0.0', groups: [{ group, sequence: 3 }], head: notary.point },
    { group, kind: 'chunk', reason: 'absent', names: ['ab'.repeat(32)] },
    JSON.parse(statement.toString('utf8')),
    { group, device: name, phase: 'fetching', sequence: 1, total: 9, done: 3, sources: { line: 0, gateway: 1, peer: 1, own: 1, patch: 1 } },
  ].map((sample) => Buffer.from(JSON.stringify(sample)));
  const schemas = [...WIRE_SCHEMAS];
  return [
    law(
      'messages of every kind that any wire knows',
      fc.tuple(fc.oneof(anyBytes(samples), mutatedJson(samples)), fc.nat(schemas.length - 1)),
      async ([bytes, first]) => {
        // A few in turn: all of them for each case would be thousands of looks for one that matters.
        for (let at = 0; at < 8; at++) {
          const schema = schemas[(first + at) % schemas.length]?.[1];
          if (schema !== undefined) await lawfully(() => readMessage(schema, bytes));
        }
      },
      100,
    ),
    law(
      'receipts and their proofs: only what the provider signed for this device is opened',
      fc.oneof(anyBytes([samples[0] ?? envelope]), mutatedJson([samples[0] ?? envelope])),
      (bytes) =>
        lawfully(() => {
          const { receipt } = openReceipt(bytes, who, device.rootPem, { now: workshop.now });
          if (receipt.counter !== 7 || receipt.outcome !== 'recorded') throw new Error('a receipt was taken that nobody signed');
        }),
      60,
    ),
    law(
      'answers with group keys: only the one that was sealed for this question is opened',
      fc.oneof(anyBytes([samples[2] ?? envelope]), mutatedJson([samples[2] ?? envelope])),
      (bytes) =>
        lawfully(() => {
          const { keys } = openGroupKeys(readMessage(messages.KeyAnswer, bytes), who, question);
          if (keys.some(({ key }) => key !== KEY)) throw new Error('a key was taken that nobody gave');
        }),
      60,
    ),
    law(
      'the relay of questions about group keys: nobody asks for another, and answers go to devices of this site alone',
      fc.oneof(anyBytes(samples), mutatedJson(samples.slice(4, 7))),
      async (bytes) => {
        const sent: messages.KeyQuestions[] = [];
        const relay = new KeyRelay({
          send: async (questions) => void sent.push(questions),
          lineUp: () => true,
          deliver: (to) => {
            if (to.customer !== customer || to.site !== site || to.role !== 'device') throw new Error(`an answer went to ${identityPath(to)}`);
          },
          site: { customer, site },
          log: silentLog,
        });
        await lawfully(() => relay.answered(bytes));
        await lawfully(() => relay.ask(who, readMessage(messages.SignedKeyQuestion, bytes)));
        for (const { questions } of sent) {
          for (const { payload } of questions) {
            const said: unknown = JSON.parse(Buffer.from(payload, 'base64').toString('utf8'));
            if (Reflect.get(Object(said), 'device') !== name) throw new Error('a device asked for the keys of another');
          }
        }
      },
      60,
    ),
  ];
}
