import { type ChildProcess, fork } from 'node:child_process';
import { once } from 'node:events';
import { mkdtemp, rm } from 'node:fs/promises';
import { connect, type Socket } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import fc from 'fast-check';
import { type Identity, identityPath } from '../../shared/base/identity.ts';
import { ROOT } from '../../shared/wire/topics.ts';
import { DEVICE, DEVICE_B, GATEWAY, OPS } from '../support/bad-certificates.ts';
import type { CampaignSettings, Tally } from '../support/campaign.ts';
import { connectPacket, mqttPackets, packet } from './attack/mqtt.ts';
import { law, seedOf } from './law.ts';
import { converse, dropStaying, type Manner, manner } from './session.ts';
import { heldUp, isWarm, MemoryWatch, residentBytes, type Service, ServiceWatch } from './watch.ts';

export type BrokerOrder =
  | { readonly say: 'listen'; readonly at: readonly { readonly path: string; readonly identity: Identity }[] }
  | { readonly say: 'how are you'; readonly turn: number };
export type BrokerReport =
  | { readonly is: 'ready' }
  | { readonly is: 'fine'; readonly turn: number; readonly problems: readonly string[]; readonly lines: number; readonly heard: number };

const GOOD: Identity = { role: 'device', customer: 'acme', site: 'north', group: 'ct', device: 'good-1' };
const ATTACKERS: readonly Identity[] = [DEVICE, DEVICE_B, GATEWAY, OPS];
const NAME = 'broker: nobody crashes it, holds it up, makes it grow or hears what is not his';
/** Milliseconds without an answer from its event loop: it hangs. */
const HANG = 60_000;
const HANGS = 'its event loop hangs';
const CASES = 80;

/** The broker's process, started anew after a crash so that a failure can be shrunk. */
class BrokerChild {
  readonly #directory: string;
  #child: ChildProcess | undefined;
  #generation = 0;
  #turn = 0;

  constructor(directory: string) {
    this.#directory = directory;
  }

  get pid(): number {
    return this.#child?.pid ?? 0;
  }

  get alive(): boolean {
    return this.#child !== undefined && this.#child.exitCode === null && this.#child.signalCode === null;
  }

  async ensure(): Promise<void> {
    if (this.alive) return;
    this.#generation++;
    const child = fork(join(import.meta.dirname, 'broker-process.ts'), {
      execArgv: ['--max-old-space-size=300'],
      stdio: ['ignore', 'inherit', 'inherit', 'ipc'],
    });
    this.#child = child;
    const ready = once(child, 'message');
    const order: BrokerOrder = { say: 'listen', at: [...ATTACKERS, GOOD].map((identity) => ({ path: this.#path(identity), identity })) };
    child.send(order);
    await Promise.race([ready, once(child, 'exit')]);
  }

  connect(identity: Identity): Socket {
    return connect(this.#path(identity));
  }

  /** @throws Error that says what is wrong with it */
  async check(): Promise<void> {
    const child = this.#child;
    if (child === undefined || !this.alive) throw new Error('the broker’s process has ended');
    const turn = ++this.#turn;
    const { promise, resolve } = Promise.withResolvers<readonly string[]>();
    const hear = (report: BrokerReport): void => {
      if (report.is === 'fine' && report.turn === turn) resolve(report.problems);
    };
    const die = (): void => resolve(['the broker’s process has ended']);
    child.on('message', hear);
    child.once('exit', die);
    const order: BrokerOrder = { say: 'how are you', turn };
    child.send(order);
    const late = new AbortController();
    const hangs: Promise<readonly string[]> = sleep(HANG, [HANGS], { signal: late.signal }).catch(() => []);
    const problems = await Promise.race([promise, hangs]);
    late.abort();
    child.off('message', hear);
    child.off('exit', die);
    if (problems.length === 0) return;
    if (problems.includes(HANGS)) await this.stop();
    throw new Error(problems.join('\n'));
  }

  async stop(): Promise<void> {
    const child = this.#child;
    if (child === undefined || !this.alive) return;
    const exit = once(child, 'exit');
    child.kill('SIGKILL');
    await exit;
  }

  #path(identity: Identity): string {
    return join(this.#directory, `${this.#generation}-${identityPath(identity).replaceAll('/', '_').slice(-30)}`);
  }
}

interface Case {
  readonly who: number;
  readonly packets: readonly Buffer[];
  readonly manner: Manner;
}

const cases: fc.Arbitrary<readonly Case[]> = fc.array(
  fc
    .nat(ATTACKERS.length - 1)
    .chain((who) => fc.record({ who: fc.constant(who), packets: mqttPackets({ clientId: identityPath(ATTACKERS[who] ?? DEVICE) }), manner })),
  { minLength: 1, maxLength: CASES, size: 'max' },
);

/** The guarded broker without TLS: by far the most sessions, since a handshake costs a hundred times as much. Returns how many there were. */
export async function fuzzBroker({ seconds, seed, replay }: Pick<CampaignSettings, 'seconds' | 'seed' | 'replay'>, tally: Tally): Promise<number> {
  const directory = await mkdtemp(join(tmpdir(), 'wardcast-fuzz-'));
  const broker = new BrokerChild(directory);
  const memory = new MemoryWatch();
  const service = new ServiceWatch();
  let sessions = 0;
  const attack = law(
    NAME,
    cases,
    async (batch) => {
      await broker.ensure();
      await Promise.all(
        batch.map(async ({ who, packets, manner: how }) => {
          sessions++;
          await converse(broker.connect(ATTACKERS[who] ?? DEVICE), packets, how);
        }),
      );
      await broker.check();
    },
    8,
  );
  try {
    await broker.ensure();
    const began = performance.now();
    const elapsed = (): number => (performance.now() - began) / 1000;
    const stop = new AbortController();
    const probing = probe(broker, service, stop.signal);
    let failure: string | undefined;
    for (let round = 0; failure === undefined && (round === 0 || elapsed() < seconds); round++) {
      ({ failure } = await attack.check(replay === undefined ? { seed: seedOf(seed, NAME, round), runs: attack.batch } : { ...replay, runs: attack.batch }));
      if (broker.alive) memory.sample(residentBytes(broker.pid), isWarm(elapsed(), seconds));
      if (replay !== undefined) break;
    }
    dropStaying();
    stop.abort();
    await probing;
    tally.note(`        ${sessions} sessions over plain sockets; memory: ${memory.summary}; ${service.summary}`);
    for (const [what, wrong] of [
      [NAME, failure],
      ...(memory.judged ? [['broker: its memory is bounded', memory.wrong] as const] : []),
      ['broker: a good client is served meanwhile', service.wrong],
    ] as const) {
      if (wrong === undefined) tally.passed(what);
      else tally.fail(what, wrong);
    }
  } finally {
    await broker.stop();
    await rm(directory, { recursive: true, force: true });
  }
  return sessions;
}

/** A good client now and then. */
async function probe(broker: BrokerChild, service: ServiceWatch, signal: AbortSignal): Promise<void> {
  while (!signal.aborted) {
    if (broker.alive) {
      const before = held(broker);
      const here = await serve(broker);
      // A broker that died meanwhile is the other law's failure.
      if (here !== undefined) service.add(here, held(broker) - before);
      else if (broker.alive && !signal.aborted) service.fail('refused');
    }
    await sleep(300, undefined, { signal }).catch(() => undefined);
  }
}

function held(broker: BrokerChild): number {
  return heldUp(broker.alive ? [process.pid, broker.pid] : [process.pid]);
}

/** Until CONNACK, and until the acknowledgement of what was said; undefined: it was refused. */
async function serve(broker: BrokerChild): Promise<Service | undefined> {
  const began = performance.now();
  const socket = broker.connect(GOOD);
  const path = identityPath(GOOD);
  const topic = Buffer.from(`${ROOT}/${path}/up/hello`);
  const hello = packet(0x32, Buffer.concat([Buffer.from([0, topic.length]), topic, Buffer.from([0, 1]), Buffer.from('{}')]));
  let connected: number | undefined;
  const answered = new Promise<boolean>((resolve) => {
    let heard = Buffer.alloc(0);
    socket.on('error', () => resolve(false));
    socket.on('close', () => resolve(false));
    socket.on('data', (bytes) => {
      heard = Buffer.concat([heard, bytes]);
      if (heard.subarray(0, 4).equals(Buffer.from([0x20, 2, 0, 0]))) connected ??= performance.now() - began;
      // PUBACK of packet 1; the owner's answer may come before it.
      if (heard.includes(Buffer.from([0x40, 2, 0, 1]))) resolve(true);
    });
  });
  socket.write(Buffer.concat([connectPacket(path), hello]));
  const served = await Promise.race([answered, sleep(30_000, true, { ref: false })]);
  socket.destroy();
  return served && connected !== undefined ? { connected, served: performance.now() - began } : undefined;
}
