import type { DeviceIdentity } from '../../shared/base/identity.ts';
import { MAX_REPLACED_INSTANCES, MAX_SEEN, SEEN_KEEP } from '../../shared/base/limits.ts';

/** One device agent on the LAN: known by its certificate, by its adverts, or both. Times in milliseconds since 1970. */
export interface SeenEntry {
  readonly instance: string;
  readonly address: string;
  readonly port: number;
  /** Null: only adverts, nobody proved anything. */
  readonly identity: { readonly group: string; readonly device: string } | null;
  readonly connected: boolean;
  readonly firstSeen: number;
  readonly lastSeen: number;
  /** When a process of this device was last heard after another one had taken its place: two run at once, with one key. */
  readonly contradicted?: number;
  /** Seconds by which its machine's clock is off, by its own word. */
  readonly clock?: number;
}

export interface Advert {
  readonly instance: string;
  readonly address: string;
  readonly port: number;
}

/** A change that is worth keeping: the entry under its key, or undefined when it is forgotten. */
export interface SeenChange {
  readonly key: string;
  readonly entry: SeenEntry | undefined;
}

/**
 * Who was seen on the LAN. Pure. An advert is a hint that anybody can forge: it makes an entry of its own, and for a proven device it only
 * says that somebody advertises its instance; address and port of a proven device are those of its own connection.
 */
export class SeenList {
  readonly #entries = new Map<string, SeenEntry>();
  /** Instances that another one replaced, by device, newest first. A process never gets the instance of an earlier one, so none of these comes back. */
  readonly #replaced = new Map<string, readonly string[]>();

  entries(): SeenEntry[] {
    return [...this.#entries.values()];
  }

  get size(): number {
    return this.#entries.size;
  }

  /** As it was kept; nobody is connected yet. */
  restore(key: string, entry: SeenEntry): void {
    this.#entries.set(key, { ...entry, connected: false });
  }

  /** Somebody advertises on the LAN. */
  advertised(advert: Advert, now: number): SeenChange[] {
    const proven = this.#provenBy(advert.instance);
    if (proven !== undefined) {
      this.#entries.set(proven[0], { ...proven[1], lastSeen: now });
      return [];
    }
    const key = unprovenKey(advert.instance);
    const before = this.#entries.get(key);
    const entry: SeenEntry = { ...advert, identity: null, connected: false, firstSeen: before?.firstSeen ?? now, lastSeen: now };
    this.#entries.set(key, entry);
    const news = before === undefined || before.address !== advert.address || before.port !== advert.port;
    return news ? [{ key, entry }, ...this.#limit()] : [];
  }

  /** A device proved itself by certificate and said which adverts are its own. */
  proven(device: DeviceIdentity, at: Advert & Pick<SeenEntry, 'clock'>, now: number): SeenChange[] {
    const key = provenKey(device);
    const before = this.#entries.get(key);
    const hintKey = unprovenKey(at.instance);
    const hint = this.#entries.get(hintKey);
    this.#entries.delete(hintKey);
    const contradicted = this.#replaces(key, before?.instance, at.instance) ? now : before?.contradicted;
    const entry: SeenEntry = {
      ...at,
      identity: { group: device.group, device: device.device },
      connected: true,
      firstSeen: Math.min(before?.firstSeen ?? now, hint?.firstSeen ?? now),
      lastSeen: now,
      ...(contradicted === undefined ? {} : { contradicted }),
    };
    this.#entries.set(key, entry);
    return [{ key, entry }, ...(hint === undefined ? [] : [{ key: hintKey, entry: undefined }]), ...this.#limit()];
  }

  /** The device's connection ended. */
  left(device: DeviceIdentity, now: number): SeenChange[] {
    const key = provenKey(device);
    const before = this.#entries.get(key);
    if (before === undefined || !before.connected) return [];
    const entry = { ...before, connected: false, lastSeen: now };
    this.#entries.set(key, entry);
    return [{ key, entry }];
  }

  /** Forgets what was only ever advertised and has been silent for long. */
  forgetOld(now: number): SeenChange[] {
    const gone: SeenChange[] = [];
    for (const [key, entry] of this.#entries) {
      if (entry.identity !== null || now - entry.lastSeen < SEEN_KEEP) continue;
      this.#entries.delete(key);
      gone.push({ key, entry: undefined });
    }
    return gone;
  }

  /** Where the proven, connected devices of a group serve chunks. */
  peers(group: string): { address: string; port: number }[] {
    return this.entries()
      .filter((entry) => entry.identity?.group === group && entry.connected && entry.port > 0)
      .map(({ address, port }) => ({ address, port }));
  }

  /** @returns whether `now` is an instance that was replaced before */
  #replaces(key: string, before: string | undefined, now: string): boolean {
    if (before === undefined || before === now) return false;
    const replaced = this.#replaced.get(key) ?? [];
    this.#replaced.set(key, [before, ...replaced.filter((instance) => instance !== before)].slice(0, MAX_REPLACED_INSTANCES));
    return replaced.includes(now);
  }

  /** Spoofed adverts must not fill memory or push out proven devices: hints go first, the longest silent before the others. */
  #limit(): SeenChange[] {
    if (this.#entries.size <= MAX_SEEN) return [];
    const rank = (entry: SeenEntry): number => (entry.connected ? 2 : entry.identity === null ? 0 : 1);
    const [worst] = [...this.#entries].sort(([, a], [, b]) => rank(a) - rank(b) || a.lastSeen - b.lastSeen);
    if (worst === undefined) return [];
    this.#entries.delete(worst[0]);
    this.#replaced.delete(worst[0]);
    return [{ key: worst[0], entry: undefined }];
  }

  #provenBy(instance: string): [string, SeenEntry] | undefined {
    for (const [key, entry] of this.#entries) if (entry.identity !== null && entry.instance === instance) return [key, entry];
    return undefined;
  }
}

function provenKey({ group, device }: { readonly group: string; readonly device: string }): string {
  return `device/${group}/${device}`;
}

function unprovenKey(instance: string): string {
  return `advert/${instance}`;
}
