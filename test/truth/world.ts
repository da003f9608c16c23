import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { seal } from '../../certs/envelope.ts';
import { isWardcastError } from '../../shared/base/errors.ts';
import type { DeviceIdentity, GatewayIdentity } from '../../shared/base/identity.ts';
import { STATEMENT_RESEND } from '../../shared/base/limits.ts';
import { sha256 } from '../../shared/bundle/digest.ts';
import { Signed, Statement } from '../../shared/wire/messages.ts';
import { append, FOUNDED } from '../contract/registry.contract.ts';
import type { Vendor } from '../provider/provider-rig.ts';
import { inventory } from '../provider/statements.ts';
import { CrookedClock } from '../support/crooked-clock.ts';
import { ManualClock } from '../support/manual-clock.ts';
import { TestNotary } from '../support/notary.ts';
import { RecordingLog } from '../support/recording-log.ts';
import type { Act, DeviceName } from './acts.ts';
import { Device } from './device.ts';
import { LANES, type Lane, Lanes } from './lanes.ts';
import { dataOf, Record } from './record.ts';
import { Site } from './site.ts';

const GATEWAY: GatewayIdentity = { role: 'gateway', customer: 'acme', site: 'north', gateway: 'gw-1' };
const NAMES: readonly DeviceName[] = ['ct-1', 'ct-2'];
/** Turns after which a world that does not come to rest never will. */
const PATIENCE = 5000;

/** What must hold of the registry in the end, gathered from the devices themselves. */
export interface Said {
  /** Every statement that a device signed, by its payload. */
  readonly signed: Set<string>;
  /** Every confirmation whose words were fixed, as JSON, and the bytes it speaks of. */
  readonly confirmed: Map<string, number>;
}

/** A provider, a gateway and two devices, of which a test decides every message, crash and clock. */
export class World {
  readonly lanes = new Lanes();
  readonly log = new RecordingLog();
  readonly said: Said = { signed: new Set(), confirmed: new Map() };
  readonly directory: string;
  readonly #vendor: Vendor;
  /** Of the gateway and the provider. */
  readonly #clock = new ManualClock(Date.now());
  readonly #clocks = new Map(NAMES.map((name) => [name, new CrookedClock(Date.now())]));
  readonly #devices = new Map<DeviceName, Device>();
  readonly #underWay = new Set<Promise<void>>();
  /** Receipts were altered below TLS: the proofs in them, which nobody signs, may be spoilt. */
  altered = false;
  #lineUp = false;
  #bytes = 1;
  #site: Site | undefined;
  #record: Record | undefined;

  private constructor(vendor: Vendor, directory: string) {
    this.#vendor = vendor;
    this.directory = directory;
  }

  static async create(vendor: Vendor): Promise<World> {
    const world = new World(vendor, await mkdtemp(join(tmpdir(), 'wardcast-truth-')));
    await append((await world.record()).registry, ...FOUNDED, { type: 'device-added', customer: 'acme', site: 'north', group: 'ct', device: 'ct-2' });
    return world;
  }

  async record(): Promise<Record> {
    this.#record ??= await Record.start({
      credentials: this.#vendor.credentials('provider'),
      gateway: GATEWAY,
      directory: dataOf(this.directory),
      clock: this.#clock,
      log: this.log,
      toGateway: (bytes) => this.lanes.send('provider>gateway', bytes),
    });
    return this.#record;
  }

  async site(): Promise<Site> {
    if (this.#site === undefined) {
      this.#site = await Site.start({
        credentials: this.#vendor.credentials('gateway'),
        directory: join(this.directory, 'gateway'),
        clock: this.#clock,
        log: this.log,
        toProvider: (bytes) => this.lanes.send('gateway>provider', bytes),
        toDevice: (device, bytes) => this.lanes.send(device === 'ct-1' ? 'gateway>ct-1' : 'gateway>ct-2', bytes),
      });
      this.#site.line(this.#lineUp);
    }
    return this.#site;
  }

  async device(name: DeviceName): Promise<Device> {
    let device = this.#devices.get(name);
    if (device === undefined) {
      device = await Device.start({
        identity: identityOf(name),
        credentials: this.#vendor.credentials(name),
        directory: join(this.directory, name),
        clock: this.#clocks.get(name) ?? new CrookedClock(0),
        log: this.log,
        send: (signed) => {
          this.said.signed.add(Signed.parse(JSON.parse(signed.toString())).payload);
          this.lanes.send(name === 'ct-1' ? 'ct-1>gateway' : 'ct-2>gateway', signed);
        },
        onFixed: (confirmation) => this.said.confirmed.set(JSON.stringify(confirmation), confirmation.sources?.gateway ?? 0),
      });
      this.#devices.set(name, device);
    }
    return device;
  }

  async act(act: Act): Promise<void> {
    switch (act.type) {
      case 'install': {
        const device = await this.device(act.device);
        // Each a power of two: the sum tells which of them counted, and how often.
        const bytes = this.#bytes;
        this.#bytes *= 2;
        return this.#start(device, device.install(act.application, { version: act.version, ok: act.ok, bytes }), act.hurry);
      }
      case 'connect': {
        const device = await this.device(act.device);
        return this.#start(device, device.connect(), act.hurry);
      }
      case 'deliver': {
        const kept = act.twice ? this.lanes.underWay(act.lane) : [];
        const bytes = kept[act.pick % Math.max(1, kept.length)] ?? this.lanes.take(act.lane, act.pick);
        return bytes === undefined ? undefined : this.#deliver(act.lane, bytes, act.hurry);
      }
      case 'lose':
        this.lanes.take(act.lane, act.pick);
        return;
      case 'flow':
        for (let turn = 0; turn < act.rounds; turn++) await this.#flow();
        return;
      case 'line':
        this.#lineUp = act.up;
        (await this.site()).line(act.up);
        return;
      case 'crash':
        return this.#crash(act.who, act.stays);
      case 'clock':
        this.#clocks.get(act.device)?.set(Date.UTC(act.year, 5, 1));
        return;
      case 'minute':
        await this.#clock.advance(STATEMENT_RESEND);
        return;
      case 'forge':
        return this.#deliver(act.lane, this.#forged(act), false);
    }
  }

  /** Everybody runs, the line is up, each device is heard: until nothing is under way and nothing waits. */
  async heal(): Promise<void> {
    await Promise.all(this.#underWay);
    this.#lineUp = true;
    (await this.site()).line(true);
    for (const name of NAMES) await (await this.device(name)).connect();
    for (let turn = 0; turn < PATIENCE; turn++) {
      await this.#flow();
      if (this.lanes.empty && (await this.#waiting()) === 0) return;
      // What was sent before and got lost is sent again after a while only.
      if (turn % 50 === 49) await this.#clock.advance(STATEMENT_RESEND);
      await new Promise(setImmediate);
    }
    throw new Error(`${await this.#waiting()} statements wait for receipts that do not come`);
  }

  async close(): Promise<void> {
    for (const who of ['provider', 'gateway', ...NAMES] as const) await this.#crash(who, true);
    await rm(this.directory, { recursive: true, force: true });
  }

  async #waiting(): Promise<number> {
    let waiting = (await this.site()).waiting;
    for (const name of NAMES) waiting += (await this.device(name)).statements.waiting;
    return waiting;
  }

  /** Delivers all that is under way now, in order. */
  async #flow(): Promise<void> {
    for (const lane of LANES) {
      for (let left = this.lanes.underWay(lane).length; left > 0; left--) {
        const bytes = this.lanes.take(lane, 0);
        if (bytes !== undefined) await this.#deliver(lane, bytes, false);
      }
    }
    await new Promise(setImmediate);
  }

  async #deliver(lane: Lane, bytes: Buffer, hurry: boolean): Promise<void> {
    switch (lane) {
      case 'ct-1>gateway':
      case 'ct-2>gateway': {
        const site = await this.site();
        return this.#start(site, site.statement(identityOf(lane === 'ct-1>gateway' ? 'ct-1' : 'ct-2'), bytes), hurry);
      }
      case 'gateway>provider': {
        const record = await this.record();
        return this.#start(record, record.heard(bytes), hurry);
      }
      case 'provider>gateway': {
        const site = await this.site();
        return this.#start(site, site.receipts(bytes), hurry);
      }
      case 'gateway>ct-1':
      case 'gateway>ct-2': {
        const device = await this.device(lane === 'gateway>ct-1' ? 'ct-1' : 'ct-2');
        return this.#start(device, device.receive(bytes), hurry);
      }
    }
  }

  /** Waits for it, or not: then what comes next, a crash maybe, meets it half-way. */
  async #start(who: { readonly dead: boolean }, work: Promise<void>, hurry: boolean): Promise<void> {
    const tolerated = work.catch((error: unknown) => {
      // A refusal, or a process that is no more. Anything else is a defect.
      if (!who.dead && (!isWardcastError(error) || error.code === 'INTERNAL')) throw error;
    });
    this.#underWay.add(tolerated);
    // Kept when it failed: `heal` throws it.
    void tolerated.then(
      () => this.#underWay.delete(tolerated),
      () => undefined,
    );
    if (!hurry) await tolerated;
  }

  async #crash(who: 'provider' | 'gateway' | DeviceName, stays: boolean): Promise<void> {
    switch (who) {
      case 'provider':
        await this.#record?.kill();
        this.#record = undefined;
        break;
      case 'gateway':
        await this.#site?.kill();
        this.#site = undefined;
        break;
      default:
        await this.#devices.get(who)?.kill();
        this.#devices.delete(who);
    }
    await Promise.allSettled(this.#underWay);
    if (stays) return;
    if (who === 'provider') await this.record();
    else if (who === 'gateway') await this.site();
    else await this.device(who);
  }

  #forged({ lane, how, pick }: Extract<Act, { type: 'forge' }>): Buffer {
    const ever = this.lanes.ever(lane);
    const old = ever[pick % Math.max(1, ever.length)];
    if (how === 'replayed' && old !== undefined) return old;
    if (how === 'altered' && old !== undefined) {
      this.altered ||= isDownward(lane);
      const altered = Buffer.from(old);
      const at = pick % altered.length;
      altered[at] = (altered[at] ?? 0) ^ (1 << (pick % 7));
      return altered;
    }
    return isDownward(lane) ? this.#forgedReceipt(pick) : this.#forgedStatement(pick);
  }

  /** One device speaks for the other: with its own signature, or with words of its own above the other's. */
  #forgedStatement(pick: number): Buffer {
    const victim = pick % 2 === 0 ? 'ct-1' : 'ct-2';
    const forger = victim === 'ct-1' ? 'ct-2' : 'ct-1';
    const words = Buffer.from(JSON.stringify(inventory(victim, 1 + (pick % 40), { viewer: '6.6.6' })));
    const stolen = this.lanes.ever(victim === 'ct-1' ? 'ct-1>gateway' : 'ct-2>gateway').at(-1);
    const sealed = seal(words, this.#vendor.credentials(forger));
    const genuine = stolen === undefined ? sealed : Signed.parse(JSON.parse(stolen.toString()));
    return Buffer.from(JSON.stringify(pick % 3 === 0 ? { ...genuine, payload: sealed.payload } : sealed));
  }

  /** A device or the gateway says in the provider's place that the newest statement is on the log. */
  #forgedReceipt(pick: number): Buffer {
    const device = pick % 2 === 0 ? 'ct-1' : 'ct-2';
    const newest = this.lanes.ever(device === 'ct-1' ? 'ct-1>gateway' : 'ct-2>gateway').at(-1);
    const payload = newest === undefined ? Buffer.from('{}') : Buffer.from(Signed.parse(JSON.parse(newest.toString())).payload, 'base64');
    const counter = newest === undefined ? 1 : Statement.parse(JSON.parse(payload.toString())).counter;
    const signer = this.#vendor.credentials(pick % 3 === 0 ? 'gateway' : 'ct-2');
    const receipts = new TestNotary(signer).receipts([
      { type: 'receipt', ...scopeOf(device), counter, digest: sha256(payload), outcome: 'recorded', highest: 1000, at: new Date().toISOString() },
    ]);
    return Buffer.from(JSON.stringify(receipts));
  }
}

function isDownward(lane: Lane): boolean {
  return lane === 'provider>gateway' || lane === 'gateway>ct-1' || lane === 'gateway>ct-2';
}

function scopeOf(device: DeviceName): { customer: 'acme'; site: 'north'; group: 'ct'; device: DeviceName } {
  return { customer: 'acme', site: 'north', group: 'ct', device };
}

function identityOf(device: DeviceName): DeviceIdentity {
  return { role: 'device', ...scopeOf(device) };
}
