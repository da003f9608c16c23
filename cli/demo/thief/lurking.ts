import { identityPath } from '../../../shared/base/identity.ts';
import { announce, announceFilter, downFilter, ROOT } from '../../../shared/wire/topics.ts';
import { MqttSession } from './mqtt-session.ts';
import { type Attempt, lootOf, type Scene, scopeOf, toolsFor } from './scene.ts';

/** Subscriptions of a lurker: made before group A's roll-out, judged by what was heard during it. */
const WAYS: readonly { readonly name: string; readonly story: string; filters(scene: Scene): string[] }[] = [
  {
    name: 'mqtt-subscribe-exact',
    story: "subscribes to group A's exact topics",
    filters: ({ prey }) => [announce(scopeOf(prey), 'offer'), `${ROOT}/${identityPath(prey)}/down/offer`, downFilter(prey)],
  },
  {
    name: 'mqtt-subscribe-wildcard',
    story: 'subscribes with wildcards that cover group A',
    filters: ({ thief }) => [
      '#',
      `${ROOT}/#`,
      `${ROOT}/customer/${thief.customer}/site/${thief.site}/group/+/announce/#`,
      '+/1/customer/+/site/+/group/+/announce/offer',
    ],
  },
  {
    name: 'mqtt-subscribe-mixed',
    story: "one SUBSCRIBE with its own topic and group A's",
    filters: ({ thief, prey }) => [announceFilter(thief), announceFilter(prey), downFilter(prey)],
  },
];

export interface Lurker {
  /** Judges what was heard since, and leaves. */
  finish(): Promise<readonly { readonly name: string; readonly story: string; readonly attempt: Attempt }[]>;
}

/** Sits at the gateway with its own certificate and every subscription it can think of. */
export async function lurk(scene: Scene): Promise<Lurker> {
  const session = await MqttSession.open(toolsFor(scene, scene.gateway), identityPath(scene.thief));
  const answers = new Map<string, string>();
  for (const way of WAYS) {
    answers.set(way.name, typeof session === 'string' ? session : granted(await session.subscribe(way.filters(scene)), way.filters(scene).length));
  }
  return {
    async finish() {
      const heard = typeof session === 'string' ? [] : session.heard;
      const loot = lootOf(scene, heard);
      const ownOffers = heard.filter(({ topic }) => topic.startsWith(announceFilter(scene.thief).slice(0, -1))).length;
      if (typeof session !== 'string') await session.leave();
      return WAYS.map(({ name, story }) => ({
        name,
        story,
        attempt: {
          loot,
          barrier: `broker: ${answers.get(name)}; during the roll-out it heard ${ownOffers} messages of its own group and ${loot === 0 ? 'none' : loot} of group A's`,
        },
      }));
    },
  };
}

/** A session that is kept at the broker while the thief is away, in the hope that it collects. */
export async function openPersistent(scene: Scene): Promise<Lurker> {
  const tools = toolsFor(scene, scene.gateway);
  const clientId = identityPath(scene.thief);
  const filters = [announceFilter(scene.thief), announceFilter(scene.prey), `${ROOT}/#`];
  const before = await MqttSession.open(tools, clientId, false);
  const answer = typeof before === 'string' ? before : granted(await before.subscribe(filters), filters.length);
  const early = typeof before === 'string' ? [] : before.heard;
  if (typeof before !== 'string') await before.leave();
  return {
    async finish() {
      const after = await MqttSession.open(tools, clientId, false);
      if (typeof after !== 'string') await after.hear(() => false, COLLECT);
      const heard = [...early, ...(typeof after === 'string' ? [] : after.heard)];
      const loot = lootOf(scene, heard);
      if (typeof after !== 'string') await after.leave();
      const barrier = `broker: ${answer}; no session is kept, and after coming back it had ${loot === 0 ? 'nothing' : `${loot} bytes`} of group A's`;
      return [{ name: 'mqtt-persistent-session', story: 'leaves a persistent session behind during the roll-out and comes back', attempt: { barrier, loot } }];
    },
  };
}

/** Milliseconds to wait for what a kept session would deliver at once. */
const COLLECT = 700;

function granted(codes: readonly number[] | string, asked: number): string {
  if (typeof codes === 'string') return codes;
  const refused = codes.filter((code) => code === 128).length;
  return `SUBACK refuses ${refused} of ${asked} filters (code 128)`;
}
