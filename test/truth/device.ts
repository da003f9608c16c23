import { join } from 'node:path';
import { z } from 'zod';
import { Counter } from '../../agent/confirm/counter.ts';
import { KeptHead } from '../../agent/confirm/kept-head.ts';
import { Statements } from '../../agent/confirm/statements.ts';
import type { Outcome } from '../../agent/install/reporter.ts';
import type { Credentials } from '../../certs/credentials.ts';
import type { DeviceIdentity } from '../../shared/base/identity.ts';
import type { Log } from '../../shared/base/log.ts';
import { Timekeeper } from '../../shared/net/timekeeper.ts';
import { Outbox } from '../../shared/store/outbox.ts';
import { openState, type State } from '../../shared/store/state.ts';
import { Table } from '../../shared/store/table.ts';
import { Confirmation } from '../../shared/wire/messages.ts';
import { manifestOf } from '../provider/statements.ts';
import type { CrookedClock } from '../support/crooked-clock.ts';

const Wanted = z.strictObject({ version: z.string(), ok: z.boolean(), bytes: z.int() });
type Wanted = z.infer<typeof Wanted>;
const Runs = z.strictObject({ version: z.string(), manifest: z.string() });

export interface DeviceOptions {
  readonly identity: DeviceIdentity;
  readonly credentials: Credentials;
  readonly directory: string;
  readonly clock: CrookedClock;
  readonly log: Log;
  readonly send: (signed: Buffer) => void;
  /** Told of every confirmation whose words are fixed: from now on it has to reach the log, once. */
  readonly onFixed: (confirmation: Confirmation) => void;
}

/**
 * The speaking half of an agent: its real counter, outbox, statements, kept head and time on a real disk. What it installs is a row that changes, in the
 * steps in which the installer's journal does it: begun, swapped, words fixed, said, forgotten.
 */
export class Device {
  readonly statements: Statements;
  readonly #o: DeviceOptions;
  readonly #state: State;
  readonly #runs: Table<z.infer<typeof Runs>>;
  readonly #begun: Table<Wanted>;
  readonly #fixed: Table<Confirmation>;
  #tail: Promise<unknown> = Promise.resolve();
  dead = false;

  private constructor(o: DeviceOptions, parts: { state: State; outbox: Outbox; kept: KeptHead; timekeeper: Timekeeper }) {
    this.#o = o;
    this.#state = parts.state;
    this.#runs = new Table(parts.state, 'runs', Runs);
    this.#begun = new Table(parts.state, 'begun', Wanted);
    this.#fixed = new Table(parts.state, 'fixed', Confirmation);
    const { time } = parts.timekeeper;
    this.statements = new Statements({
      device: o.identity,
      credentials: o.credentials,
      counter: new Counter(new Table(parts.state, 'number', z.int().min(0))),
      outbox: parts.outbox,
      kept: parts.kept,
      clock: time,
      calendar: time.calendar,
      log: o.log,
      agentVersion: '0.1.0',
      inventory: async () => [...(await this.truth())].map(([application, { version, manifest }]) => ({ application, version, manifestHash: manifest })),
      send: (signed) => {
        if (!this.dead) o.send(signed);
      },
    });
  }

  /** Starts it, and completes what was cut short. */
  static async start(o: DeviceOptions): Promise<Device> {
    const { directory, credentials, clock, log } = o;
    const timekeeper = await Timekeeper.open({ directory, credentials, clock, log });
    const state = await openState(join(directory, 'state'));
    const device = new Device(o, { state, outbox: await Outbox.open(state), kept: await KeptHead.open(directory, log), timekeeper });
    for await (const [application, wanted] of device.#begun.entries()) await device.#finish(application, wanted);
    return device;
  }

  /** What truly runs, by application. */
  async truth(): Promise<Map<string, z.infer<typeof Runs>>> {
    const all = new Map<string, z.infer<typeof Runs>>();
    for await (const [application, runs] of this.#runs.entries()) all.set(application, runs);
    return all;
  }

  /** One at a time, as the scheduler does it. */
  install(application: string, wanted: Wanted): Promise<void> {
    const done = this.#tail.then(async () => {
      await this.#begun.put(application, wanted);
      await this.#finish(application, wanted);
    });
    this.#tail = done.catch(() => undefined);
    return done;
  }

  async connect(): Promise<void> {
    await this.statements.resend();
    await this.statements.stateInventory();
  }

  async receive(receipts: Buffer): Promise<void> {
    if (await this.statements.receive(receipts)) await this.statements.stateInventory();
  }

  /** As a kill: what is under way fails or is on the disk, and nobody hears of it. */
  async kill(): Promise<void> {
    this.dead = true;
    await this.#state.close();
  }

  async #finish(application: string, { version, ok, bytes }: Wanted): Promise<void> {
    let confirmation = await this.#fixed.get(application);
    if (confirmation === undefined) {
      const manifest = manifestOf(`${application} ${version}`);
      if (ok) await this.#runs.put(application, { version, manifest });
      const running = (await this.#runs.get(application)) ?? null;
      const told = ok ? ({ result: 'installed' } as const) : ({ result: 'rolled-back', reason: { code: 'HOOK_FAILED', message: 'unwell' } } as const);
      const outcome: Outcome = { application, version, manifest, sequence: 1, running, sources: { gateway: bytes, peer: 0, own: 0 }, ...told };
      confirmation = await this.statements.compose(outcome);
      await this.#fixed.put(application, confirmation);
    }
    this.#o.onFixed(confirmation);
    await this.statements.report(confirmation);
    await this.#begun.delete(application);
    await this.#fixed.delete(application);
  }
}
