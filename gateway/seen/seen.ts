import { z } from 'zod';
import type { Clock } from '../../shared/base/clock.ts';
import { type DeviceIdentity, identityPath, type Scope } from '../../shared/base/identity.ts';
import { MAX_CONTROL_MESSAGE, SEEN_INTERVAL, SEEN_INTERVAL_PER_DEVICE } from '../../shared/base/limits.ts';
import type { Log } from '../../shared/base/log.ts';
import type { Discovery } from '../../shared/net/discovery.ts';
import type { Table } from '../../shared/store/table.ts';
import { type DeviceHello, Id, type Peers, type SeenDevice, type Seen as SeenMessage } from '../../shared/wire/messages.ts';
import { type Advert, type SeenChange, type SeenEntry, SeenList } from './seen-list.ts';

export const SeenRecord = z.strictObject({
  instance: z.uuid(),
  address: z.string().max(64),
  port: z.int().min(0).max(65535),
  identity: z.strictObject({ group: Id, device: Id }).nullable(),
  connected: z.boolean(),
  firstSeen: z.int().min(0),
  lastSeen: z.int().min(0),
  contradicted: z.int().min(0).exactOptional(),
  clock: z.int().exactOptional(),
});

/** Of one peer in the list at most, as JSON: an IPv6 address with its zone, and a port. */
const PEER_BYTES = 100;

interface Options {
  readonly table: Table<SeenEntry>;
  readonly site: Omit<Scope, 'group'>;
  /** The counters, told along. */
  readonly line: () => SeenMessage['line'];
  readonly content: () => SeenMessage['content'];
  /** Of the gateway's own machine. */
  readonly ownClock: () => Pick<SeenMessage, 'clock'>;
  readonly report: (seen: SeenMessage) => void;
  readonly peers: (scope: Scope, peers: Peers) => void;
  /** Whom the newest verified bundle of a group revokes, whether or not its content is here. */
  readonly revoked: (group: string) => Omit<Peers, 'peers'>;
  readonly clock: Clock;
  readonly log: Log;
}

/** Keeps the list of devices seen, hands proven ones on to their own group as peers, and reports upward on change. */
export class Seen {
  readonly #o: Options;
  readonly #list = new SeenList();
  readonly #dirtyGroups = new Set<string>();
  /** When a group may be told its peers again, and the provider the list. */
  readonly #notBefore = new Map<string, number>();
  #dirty = false;
  #wake: () => void = () => undefined;
  /** By key, and no more than one saving at a time: a device may say hello faster than the disk writes. */
  #unsaved = new Map<string, SeenEntry | undefined>();
  #saving: Promise<void> | undefined;

  private constructor(options: Options) {
    this.#o = options;
  }

  static async open(options: Options): Promise<Seen> {
    const seen = new Seen(options);
    for await (const [key, entry] of options.table.entries()) seen.#list.restore(key, entry);
    return seen;
  }

  hello(device: DeviceIdentity, hello: DeviceHello, address: string): void {
    const at = { instance: hello.instance, address: plain(address), port: hello.port, ...(hello.clock === undefined ? {} : { clock: hello.clock }) };
    const changes = this.#list.proven(device, at, this.#o.clock.now());
    const now = changes[0]?.entry;
    if (now?.contradicted !== undefined && now.contradicted === now.lastSeen)
      this.#o.log.warn('seen.two-at-once', {
        device: identityPath(device),
        address: now.address,
        remedy: 'Two machines run with one key: find both, take the wrong one off the network, remove and enrol the right one anew.',
      });
    this.#apply(changes);
    // Also when nothing changed: who just connected hears where its peers are.
    this.#dirtyGroups.add(device.group);
  }

  /** The group's newest bundle revokes others than before: its devices hear of it now, however long their list is. */
  revoked(group: string): void {
    this.#notBefore.delete(`group/${group}`);
    this.#dirtyGroups.add(group);
    this.#wake();
  }

  left(device: DeviceIdentity): void {
    this.#apply(this.#list.left(device, this.#o.clock.now()));
  }

  /** The counters moved or the line is up: report soon. */
  touch(): void {
    this.#dirty = true;
    this.#wake();
  }

  /** Follows adverts until the signal aborts. */
  async browse(discovery: Discovery, signal: AbortSignal): Promise<void> {
    for await (const found of discovery.browse('agent', { signal })) {
      // `down` says that an advert ended; that a device was seen stays true.
      if (found.type === 'down' || !z.uuid().safeParse(found.instance).success) continue;
      const advert: Advert = { instance: found.instance, address: plain(found.address), port: found.port };
      this.#apply(this.#list.advertised(advert, this.#o.clock.now()));
    }
  }

  /** Reports at most every SEEN_INTERVAL until the signal aborts. */
  async run(signal: AbortSignal): Promise<void> {
    const { clock } = this.#o;
    signal.addEventListener('abort', () => this.#wake(), { once: true });
    while (!signal.aborted) {
      if (!this.#dirty && this.#dirtyGroups.size === 0) {
        await new Promise<void>((resolve) => {
          this.#wake = resolve;
        });
      }
      if (signal.aborted) break;
      this.#apply(this.#list.forgetOld(clock.now()));
      this.#tell();
      await clock.sleep(SEEN_INTERVAL, { signal }).catch(() => undefined);
    }
    await this.#saving;
  }

  /** All devices seen, as it travels: proven ones first, cut where the message would grow too long. */
  message(): SeenMessage {
    const entries = this.#list.entries().sort((a, b) => Number(b.identity !== null) - Number(a.identity !== null) || b.lastSeen - a.lastSeen);
    const devices: SeenDevice[] = [];
    const content = this.#o.content();
    let room = MAX_CONTROL_MESSAGE - 1024 - JSON.stringify(content).length;
    for (const { firstSeen, lastSeen, contradicted, ...entry } of entries) {
      const device: SeenDevice = {
        ...entry,
        firstSeen: new Date(firstSeen).toISOString(),
        lastSeen: new Date(lastSeen).toISOString(),
        ...(contradicted === undefined ? {} : { contradicted: new Date(contradicted).toISOString() }),
      };
      room -= JSON.stringify(device).length + 1;
      if (room < 0) break;
      devices.push(device);
    }
    if (devices.length < entries.length) this.#o.log.warn('seen.truncated', { seen: entries.length, told: devices.length });
    return { devices, ...this.#o.ownClock(), line: this.#o.line(), content };
  }

  #tell(): void {
    for (const group of this.#dirtyGroups) {
      const peers = this.#list.peers(group);
      // Every peer hears of every peer: a site of a thousand that starts must not hear it a thousand times.
      if (!this.#mayTell(`group/${group}`, peers.length)) continue;
      this.#dirtyGroups.delete(group);
      const revoked = this.#o.revoked(group);
      const room = Math.floor((MAX_CONTROL_MESSAGE - 1024 - JSON.stringify(revoked).length) / PEER_BYTES);
      this.#o.peers({ ...this.#o.site, group }, { peers: peers.slice(0, room), ...revoked });
    }
    if (!this.#dirty || !this.#mayTell('provider', this.#list.size)) return;
    this.#dirty = false;
    this.#o.report(this.message());
  }

  /** The longer the list, the rarer it is told. */
  #mayTell(whom: string, entries: number): boolean {
    const now = this.#o.clock.monotonic();
    if (now < (this.#notBefore.get(whom) ?? 0)) return false;
    this.#notBefore.set(whom, now + entries * SEEN_INTERVAL_PER_DEVICE);
    return true;
  }

  #apply(changes: readonly SeenChange[]): void {
    if (changes.length === 0) return;
    for (const { entry } of changes) if (entry?.identity) this.#dirtyGroups.add(entry.identity.group);
    this.touch();
    for (const { key, entry } of changes) this.#unsaved.set(key, entry);
    this.#saving ??= this.#save().finally(() => {
      this.#saving = undefined;
    });
  }

  async #save(): Promise<void> {
    const { table, log } = this.#o;
    while (this.#unsaved.size > 0) {
      const changes = this.#unsaved;
      this.#unsaved = new Map();
      try {
        await Promise.all([...changes].map(([key, entry]) => (entry === undefined ? table.delete(key) : table.put(key, entry))));
      } catch (error) {
        // The list is kept for people and grows again from what is seen: a full disk must not stop the site over it.
        log.error('seen.not-saved', { error });
      }
    }
  }
}

/** IPv4 addresses of a dual-stack socket come as `::ffff:192.0.2.1`. */
function plain(address: string): string {
  return address.replace(/^::ffff:(?=\d+\.)/, '');
}
