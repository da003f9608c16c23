import { randomBytes } from 'node:crypto';
import { expect, test } from 'vitest';
import { TimeRelay } from '../../../gateway/serve/time-relay.ts';
import { MAX_TIME_QUESTIONS, TIME_GATHER, TIME_ROUND_TRIP } from '../../../shared/base/limits.ts';
import type { TimeAnswer, TimeQuestion } from '../../../shared/wire/messages.ts';
import { climb } from '../../../shared/wire/time-tree.ts';
import { ManualClock } from '../../support/manual-clock.ts';

const nonce = (): string => randomBytes(32).toString('hex');

function bench(): { clock: ManualClock; relay: TimeRelay; sent: TimeQuestion[]; line: { up: boolean } } {
  const clock = new ManualClock();
  const sent: TimeQuestion[] = [];
  const line = { up: true };
  const relay = new TimeRelay({ send: (question) => sent.push(question), lineUp: () => line.up, clock, signal: new AbortController().signal });
  return { clock, relay, sent, line };
}

/** As the provider's, but for the signature, which is none of the relay's business. */
function answerTo(question: TimeQuestion | undefined): Buffer {
  const payload = Buffer.from(JSON.stringify({ type: 'time', nonce: question?.nonce, at: new Date(0).toISOString() })).toString('base64');
  return Buffer.from(JSON.stringify({ payload, signature: 'AAAA', chain: ['AAAA'] }));
}

test('a thousand devices cost the provider one signature, and each gets the proof for its own question', async () => {
  const { clock, relay, sent } = bench();
  const questions = Array.from({ length: 1000 }, () => ({ nonce: nonce() }));
  const answers = new Map<number, TimeAnswer>();
  for (const [at, question] of questions.entries()) relay.ask(`device-${at}`, question, (answer) => answers.set(at, answer));
  await clock.advance(TIME_GATHER);
  expect(sent).toHaveLength(1);
  relay.answered(answerTo(sent[0]));
  expect(answers.size).toBe(1000);
  for (const [at, { index, path }] of answers) expect(climb(questions[at]?.nonce ?? '', index, path)).toBe(sent[0]?.nonce);
});

test('who asks while a question is on its way is answered by the next one', async () => {
  const { clock, relay, sent } = bench();
  const told: string[] = [];
  relay.ask('a', { nonce: nonce() }, () => told.push('a'));
  await clock.advance(TIME_GATHER);
  relay.ask('b', { nonce: nonce() }, () => told.push('b'));
  await clock.advance(TIME_GATHER);
  expect(sent).toHaveLength(1);
  relay.answered(answerTo(sent[0]));
  expect(told).toEqual(['a']);
  await clock.advance(TIME_GATHER);
  relay.answered(answerTo(sent[1]));
  expect(told).toEqual(['a', 'b']);
});

test('an answer that never comes holds up the others no longer than one that is worth having', async () => {
  const { clock, relay, sent } = bench();
  relay.ask('a', { nonce: nonce() }, () => undefined);
  await clock.advance(TIME_GATHER);
  relay.ask('b', { nonce: nonce() }, () => undefined);
  await clock.advance(TIME_ROUND_TRIP + TIME_GATHER);
  expect(sent).toHaveLength(2);
  // The first answer, late: nobody waits for it.
  expect(() => relay.answered(answerTo(sent[0]))).toThrow(expect.objectContaining({ code: 'PROTOCOL_VIOLATION' }));
});

test('questions wait for the line, the newest of each asker', async () => {
  const { clock, relay, sent, line } = bench();
  line.up = false;
  const answers: TimeAnswer[] = [];
  relay.ask('a', { nonce: nonce() }, () => expect.unreachable('the older question of the same device'));
  const newest = nonce();
  relay.ask('a', { nonce: newest }, (answer) => answers.push(answer));
  await clock.advance(TIME_ROUND_TRIP);
  expect(sent).toEqual([]);
  line.up = true;
  relay.lineUp();
  await clock.advance(TIME_GATHER);
  relay.answered(answerTo(sent[0]));
  expect(answers.map(({ index, path }) => climb(newest, index, path))).toEqual([sent[0]?.nonce]);
});

test('a flood of askers is bounded', () => {
  const { relay, line } = bench();
  line.up = false;
  for (let at = 0; at < MAX_TIME_QUESTIONS; at++) relay.ask(`device-${at}`, { nonce: nonce() }, () => undefined);
  expect(() => relay.ask('one-more', { nonce: nonce() }, () => undefined)).toThrow(expect.objectContaining({ code: 'BUSY' }));
  relay.ask('device-0', { nonce: nonce() }, () => undefined);
});
