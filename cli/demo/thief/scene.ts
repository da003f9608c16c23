import type { DeviceIdentity, Scope } from '../../../shared/base/identity.ts';
import type { GroupView } from '../../../shared/trust/group-view.ts';
import { covers } from '../../../shared/wire/policy.ts';
import { announceFilter, downFilter } from '../../../shared/wire/topics.ts';
import { Loot } from './loot.ts';
import type { Heard, Tools } from './mqtt-session.ts';

export interface Address {
  readonly host: string;
  readonly port: number;
}

/** All that the thief knows and has. It knows much more than a real one: every hash it wants, and where everything listens. */
export interface Scene {
  /** A genuine device of group B, with its own key and certificate. */
  readonly thief: DeviceIdentity;
  readonly credentials: string;
  readonly key: string;
  readonly cert: string;
  readonly ca: string;
  /** The device of group A at the same gateway. */
  readonly prey: DeviceIdentity;
  readonly gateway: Address;
  readonly otherGateway: Address;
  readonly provider: Address;
  /** Where group A's device serves its own group. */
  readonly preyAgent: Address;
  /** Hashes of what only group A may have. */
  readonly secrets: ReadonlySet<string>;
  /** Some of them, by kind. */
  readonly manifest: string;
  readonly chunks: readonly string[];
  /** How many chunks the release of `manifest` has. */
  readonly chunkCount: number;
  /** A chunk of the thief's own group: what it may have, to show that the road is open to who is entitled. */
  readonly ownChunk: string;
  /** Everything signed that group A's devices hold, handed over by somebody inside. */
  readonly handedOver: GroupView;
  readonly factoryRoot: Buffer;
  /** A folder for the thief's own work. */
  readonly folder: string;
}

export interface Attempt {
  /** What stopped it, in the words of what stopped it. */
  readonly barrier: string;
  /** Bytes of group A's that it brought home. */
  readonly loot: number;
}

export interface Road {
  readonly name: string;
  /** What is tried, for people. */
  readonly story: string;
  go(scene: Scene): Promise<Attempt>;
}

export function scopeOf({ customer, site, group }: Scope): Scope {
  return { customer, site, group };
}

export function toolsFor(scene: Scene, address: Address): Tools {
  return { ...address, key: scene.key, cert: scene.cert, ca: scene.ca };
}

export function newLoot(scene: Scene): Loot {
  return new Loot(scene.secrets);
}

/** Of what was heard: everything outside the thief's own topics is loot, and inside them whatever is group A's content. */
export function lootOf(scene: Scene, heard: readonly Heard[]): number {
  const loot = newLoot(scene);
  const own = [downFilter(scene.thief), announceFilter(scene.thief)];
  const objects = `${downFilter(scene.thief).slice(0, -1)}object/${scene.prey.group}/`;
  for (const { topic, payload } of heard) {
    if (!own.some((filter) => covers(filter, topic)) && topic !== 'wardcast/1/refused') loot.keep(payload);
    else if (topic.startsWith(objects)) loot.keep(payload);
    else loot.look(payload);
  }
  return loot.bytes;
}
