import { once } from 'node:events';
import tls, { type TLSSocket } from 'node:tls';
import { afterEach, beforeAll, describe, expect, it } from 'vitest';
import { systemClock } from '../../../../shared/base/clock.ts';
import type { ClaimIdentity, Identity } from '../../../../shared/base/identity.ts';
import { ENROL_BURST, MAX_ENROL_MESSAGE, MAX_ENROLLING } from '../../../../shared/base/limits.ts';
import { silentLog } from '../../../../shared/base/log.ts';
import { askForLeaf } from '../../../../shared/net/enrol/ask.ts';
import { EnrolCounter } from '../../../../shared/net/enrol/counter.ts';
import { type EnrolAnswer, EnrolAnswer as EnrolAnswerSchema, type EnrolRequest } from '../../../../shared/wire/enrol.ts';
import { Workshop } from '../../../support/bad-certificates.ts';
import { BrokerRig, GATEWAY } from '../../../support/broker-rig.ts';
import { ManualClock } from '../../../support/manual-clock.ts';

let workshop: Workshop;
let rig: BrokerRig;
beforeAll(async () => {
  workshop = await Workshop.open();
});
afterEach(async () => {
  await rig[Symbol.asyncDispose]();
});

const PROTOCOL = 'wardcast-enrol/1';
const REQUEST: EnrolRequest = { type: 'token', token: '7K3M', device: 'ct-1', request: 'AAAA', proof: `${'A'.repeat(43)}=` };
const CLAIM: ClaimIdentity = { role: 'claim', customer: 'acme', group: 'ct', claim: 'batch-7' };

async function open(answer: (request: EnrolRequest, signal: AbortSignal) => Promise<EnrolAnswer> = async () => ({ status: 'pending' })): Promise<void> {
  const counter = new EnrolCounter({ answer, clock: new ManualClock(), log: silentLog });
  rig = await BrokerRig.open(workshop, { door: { onEnrol: (socket) => counter.attach(socket) } });
}

/** A stranger: no certificate. */
async function stranger(protocols: string[], papers: object = {}): Promise<TLSSocket> {
  const socket = tls.connect({
    host: '127.0.0.1',
    port: rig.port,
    ca: workshop.root.pem,
    checkServerIdentity: () => undefined,
    ALPNProtocols: protocols,
    ...papers,
  });
  socket.on('error', () => undefined);
  await once(socket, 'secureConnect');
  return socket;
}

async function said(socket: TLSSocket): Promise<string> {
  let text = '';
  socket.on('data', (bytes) => {
    text += bytes;
  });
  await once(socket, 'close');
  return text;
}

const answerOf = async (socket: TLSSocket): Promise<EnrolAnswer> => EnrolAnswerSchema.parse(JSON.parse(await said(socket)));
const ask = (): Promise<{ answer: EnrolAnswer; by: Identity }> =>
  askForLeaf(
    { host: '127.0.0.1', port: rig.port, rootPem: workshop.root.pem, expect: () => true, clock: systemClock, signal: new AbortController().signal },
    REQUEST,
  );

describe('Who has no certificate', () => {
  it('may ask for one, of a server that proves itself', async () => {
    const asked: EnrolRequest[] = [];
    await open(async (request) => {
      asked.push(request);
      return { status: 'pending' };
    });
    expect(await ask()).toEqual({ answer: { status: 'pending' }, by: GATEWAY });
    expect(asked).toEqual([REQUEST]);
  });

  it.each(['mqtt', 'http/1.1', 'wardcast-swarm/1'])('comes in by no other protocol: %s', async (protocol) => {
    await open();
    const socket = await stranger([protocol]);
    await said(socket);
    expect(await rig.log.seen('door.refused')).toMatchObject({ code: 'CERT_MISSING' });
    expect(rig.door.counters).toMatchObject({ accepted: 0, refused: 1 });
  });

  it('gains nothing by offering several protocols, or none', async () => {
    await open();
    for (const protocols of [['mqtt', PROTOCOL], [PROTOCOL, 'http/1.1'], []]) {
      const socket = await stranger(protocols);
      if (socket.alpnProtocol === PROTOCOL) throw new Error('served as one who enrols');
      await said(socket);
    }
    expect(rig.door.counters).toMatchObject({ accepted: 0, refused: 3 });
  });

  it('finds that protocol nowhere else: a door that does not enrol ends the handshake', async () => {
    rig = await BrokerRig.open(workshop);
    await expect(stranger([PROTOCOL])).rejects.toMatchObject({ code: expect.stringContaining('NO_APPLICATION_PROTOCOL') });
  });

  it('is held to one message of limited size, and hears the same whatever is wrong with it', async () => {
    let asked = 0;
    await open(async () => {
      asked++;
      return { status: 'pending' };
    });
    const heard: EnrolAnswer[] = [];
    for (const bytes of ['\n', '{}\n', 'x\n', '{"type":"token"}\n', `${'x'.repeat(MAX_ENROL_MESSAGE + 1)}`]) {
      const socket = await stranger([PROTOCOL]);
      socket.write(bytes);
      heard.push(await answerOf(socket));
    }
    expect(new Set(heard.map((answer) => JSON.stringify(answer))).size).toBe(1);
    expect(heard[0]).toMatchObject({ status: 'refused', code: 'ENROL_REFUSED' });
    expect(asked).toBe(0);
  });

  it('finds few places and a limited rate: more are told to come back, and a place is free again when its holder is gone', async () => {
    const idle: TLSSocket[] = [];
    await open();
    for (let n = 0; n < MAX_ENROLLING; n++) idle.push(await stranger([PROTOCOL]));
    expect(await answerOf(await stranger([PROTOCOL]))).toEqual({ status: 'busy' });
    for (const socket of idle) socket.destroy();
    while ((await ask()).answer.status === 'busy') await systemClock.sleep(20);
    // One was taken above, and this clock stands still.
    const answers = [];
    while (answers.length < ENROL_BURST) answers.push(...(await Promise.all(Array.from({ length: 10 }, ask))));
    expect(answers.filter(({ answer }) => answer.status === 'busy')).toHaveLength(1);
  });
});

describe('A claim certificate', () => {
  it.each(['mqtt', 'http/1.1', 'wardcast-swarm/1'])('opens no door: %s', async (protocol) => {
    await open();
    const { keyPem, chainPem } = workshop.leaf(CLAIM, { usages: [] });
    await said(await stranger([protocol], { key: keyPem, cert: chainPem }));
    expect(await rig.log.seen('door.refused')).toMatchObject({ code: 'CERT_WRONG_USAGE' });
    expect(rig.door.counters.accepted).toBe(0);
  });
});
