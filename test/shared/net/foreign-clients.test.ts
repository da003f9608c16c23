import { execFile, spawn } from 'node:child_process';
import { once } from 'node:events';
import { createInterface } from 'node:readline';
import { promisify } from 'node:util';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { type Identity, identityPath } from '../../../shared/base/identity.ts';
import { announce, announceFilter, down, downFilter, UP_FILTERS, up } from '../../../shared/wire/topics.ts';
import { Workshop } from '../../support/bad-certificates.ts';
import { BrokerRig, DEVICE_A, DEVICE_B } from '../../support/broker-rig.ts';
import { ensurePrograms } from '../../support/debian.ts';
import { Inbox } from '../../support/deliveries.ts';

/** mosquitto's command line clients know nothing of Wardcast: what holds against them does not rest on good manners. */
const run = promisify(execFile);
let rig: BrokerRig;

beforeAll(async () => {
  await ensurePrograms(['mosquitto_sub']);
  rig = await BrokerRig.open(await Workshop.open());
});
afterAll(async () => {
  await rig[Symbol.asyncDispose]();
});

async function common(who: Identity, clientId = identityPath(who)): Promise<string[]> {
  const { key, cert, ca } = await rig.files(who);
  return [
    '-h',
    '127.0.0.1',
    '-p',
    String(rig.port),
    '--cafile',
    ca,
    '--cert',
    cert,
    '--key',
    key,
    '--tls-version',
    'tlsv1.3',
    '-i',
    clientId,
    '-V',
    'mqttv311',
  ];
}

/** Subscribes, hears what the owner says to group A and then a mark said to the thief, and returns all that it printed. */
async function listen(who: Identity, filters: readonly string[], extra: readonly string[] = []): Promise<string[]> {
  const subscribed = Promise.withResolvers<void>();
  const stop = rig.broker.onPresence(({ identity, connected }) => connected && identityPath(identity) === identityPath(who) && subscribed.resolve());
  const args = [...(await common(who)), '-q', '1', '-d', ...extra, ...filters.flatMap((filter) => ['-t', filter])];
  // Into a pipe it would keep its words until it ends.
  const child = spawn('stdbuf', ['-oL', 'mosquitto_sub', ...args], { stdio: ['ignore', 'pipe', 'pipe'] });
  const exited = once(child, 'exit');
  const lines: string[] = [];
  const printed = createInterface({ input: child.stdout });
  const acknowledged = Promise.withResolvers<void>();
  const marked = Promise.withResolvers<void>();
  printed.on('line', (line) => {
    lines.push(line);
    if (line.includes('received SUBACK')) acknowledged.resolve();
    if (line.endsWith('the mark')) marked.resolve();
  });
  await subscribed.promise;
  stop();
  await Promise.race([acknowledged.promise, exited]);
  await secrets();
  await rig.broker.send(who, down(who, 'offer'), Buffer.from('the mark')).catch(() => undefined);
  await Promise.race([marked.promise, exited]);
  child.kill();
  await exited;
  printed.close();
  return lines.filter((line) => !/^(Client |Subscribed )/.test(line));
}

async function secrets(): Promise<void> {
  for (const qos of [0, 1] as const) {
    await rig.broker.publish(announce(DEVICE_A, 'offer'), Buffer.from('secret of group A'), { qos });
    await rig.broker.publish(down(DEVICE_A, 'offer'), Buffer.from('secret of device A'), { qos });
  }
}

describe('mosquitto_sub with the certificate of group B', () => {
  it('hears what it may hear', async () => {
    expect(await listen(DEVICE_B, [downFilter(DEVICE_B)])).toEqual(['the mark']);
  });

  it.each([
    ['exact', [announce(DEVICE_A, 'offer'), down(DEVICE_A, 'offer')]],
    ['group', [announceFilter(DEVICE_A)]],
    ['everything', ['#']],
    ['wildcard for the group', ['wardcast/1/customer/acme/site/north/group/+/announce/#']],
    ['wildcard for every level', ['+/+/+/+/+/+/+/+/+/+']],
    ['mixed', [downFilter(DEVICE_B), announce(DEVICE_A, 'offer'), '#']],
  ])('hears nothing of group A by a subscription: %s', async (_what, filters) => {
    const heard = await listen(DEVICE_B, filters);
    expect(heard.filter((line) => line.includes('secret'))).toEqual([]);
    expect(heard.filter((line) => line !== 'the mark' && !line.includes('denied') && !line.includes('DENIED'))).toEqual([]);
  });

  it('hears nothing of group A by a persistent session with a mixed subscription, now or after it comes back', async () => {
    const first = await listen(DEVICE_B, [downFilter(DEVICE_B), announceFilter(DEVICE_A)], ['-c']);
    expect(first.filter((line) => line.includes('secret'))).toEqual([]);
    expect(first).toContain('the mark');
    await secrets();
    const again = await listen(DEVICE_B, [downFilter(DEVICE_B)], ['-c']);
    expect(again).toEqual(['the mark']);
  });

  it("does not get in under a device's name of group A", async () => {
    const { stderr, code } = await run('mosquitto_sub', [...(await common(DEVICE_B, identityPath(DEVICE_A))), '-t', downFilter(DEVICE_A)]).then(
      () => ({ stderr: '', code: 0 }),
      (error: { stderr: string; code: number }) => error,
    );
    expect(stderr).toMatch(/identifier rejected/i);
    expect(code).not.toBe(0);
  });

  it.each([
    ['mqttv5', /protocol version/i],
    ['mqttv31', /protocol version|identifier rejected/i],
  ])('is told that %s is not spoken here', async (version, words) => {
    const args = (await common(DEVICE_B)).map((argument) => (argument === 'mqttv311' ? version : argument));
    const { stderr } = await run('mosquitto_sub', [...args, '-t', downFilter(DEVICE_B)], { timeout: 10_000 }).catch((error: { stderr: string }) => error);
    expect(stderr).toMatch(words);
  });
});

describe('mosquitto_pub', () => {
  it('is heard on its own topics and nowhere else', async () => {
    const controller = new AbortController();
    const inbox = new Inbox(rig.broker.subscribe([UP_FILTERS.device, '#'], { signal: controller.signal }));
    const refused: string[] = [];
    const stop = rig.broker.onRefused(({ topic }) => refused.push(topic));
    const forged = [up(DEVICE_A, 'statement'), down(DEVICE_A, 'offer'), announce(DEVICE_A, 'offer'), announce(DEVICE_B, 'offer'), '$SYS/x'];
    for (const topic of forged) await run('mosquitto_pub', [...(await common(DEVICE_B)), '-q', '1', '-t', topic, '-m', 'forged']);
    await run('mosquitto_pub', [...(await common(DEVICE_B)), '-q', '1', '-t', up(DEVICE_B, 'hello'), '-m', 'genuine']);
    await run('mosquitto_pub', [...(await common(DEVICE_B)), '-q', '2', '-t', up(DEVICE_B, 'hello'), '-m', 'exactly once']);
    await inbox.with('exactly once');
    stop();
    controller.abort();
    expect(inbox.texts).toEqual(['genuine', 'exactly once']);
    expect(inbox.all.map(({ from }) => from)).toEqual([DEVICE_B, DEVICE_B]);
    expect(refused).toEqual(forged);
  });
});
