import { identityPath } from '../../../shared/base/identity.ts';
import { downFilter, up } from '../../../shared/wire/topics.ts';
import { ask } from './https-session.ts';
import { MqttSession } from './mqtt-session.ts';
import { lootOf, newLoot, type Road, scopeOf, toolsFor } from './scene.ts';

/** Milliseconds to wait for an object that does not come. */
const PATIENCE = 1500;

/** Asks the gateway for group A's content, over MQTT and over https, as itself. */
export const PULLING: readonly Road[] = [
  {
    name: 'mqtt-pull',
    story: "asks the gateway's broker for group A's manifest and chunks, as group A's and as its own",
    async go(scene) {
      const session = await MqttSession.open(toolsFor(scene, scene.gateway), identityPath(scene.thief));
      if (typeof session === 'string') return { barrier: session, loot: 0 };
      await session.subscribe([downFilter(scene.thief)]);
      const topic = up(scene.thief, 'want');
      for (const group of [scene.prey.group, scene.thief.group]) {
        await session.publish(topic, JSON.stringify({ group, kind: 'chunk', names: scene.chunks }));
        await session.publish(topic, JSON.stringify({ group, kind: 'target', names: [scene.manifest] }));
      }
      await session.publish(topic, JSON.stringify({ group: scene.prey.group, kind: 'metadata', names: ['timestamp.json'] }));
      await session.publish(topic, JSON.stringify({ group: scene.thief.group, kind: 'chunk', names: [scene.ownChunk] }));
      const own = await session.hear(({ topic: at }) => at.includes(`/object/${scene.thief.group}/chunk/${scene.ownChunk}`), PATIENCE);
      await session.hear(() => false, PATIENCE / 3);
      const loot = lootOf(scene, session.heard);
      const absent = session.heard.filter(({ topic: at }) => at.endsWith('/down/absent')).length;
      await session.leave();
      return {
        barrier: `object server: ${absent} × "absent", no bytes; the same request for a chunk of its own group ${own === undefined ? 'failed, too' : `brought ${own.payload.length} bytes`}`,
        loot,
      };
    },
  },
  {
    name: 'mqtt-pull-as-another',
    story: "asks in the name of group A's device, on that device's topic",
    async go(scene) {
      const session = await MqttSession.open(toolsFor(scene, scene.gateway), identityPath(scene.thief));
      if (typeof session === 'string') return { barrier: session, loot: 0 };
      await session.subscribe([downFilter(scene.thief), downFilter(scene.prey)]);
      await session.publish(up(scene.prey, 'want'), JSON.stringify({ group: scene.prey.group, kind: 'chunk', names: scene.chunks }));
      const refusal = await session.hear(({ topic }) => topic.endsWith('/down/refused'), PATIENCE);
      await session.hear(() => false, PATIENCE / 3);
      const loot = lootOf(scene, session.heard);
      const said =
        session.heard
          .filter(({ topic }) => topic.endsWith('/down/refused'))
          .map(({ payload }) => payload.toString('utf8'))
          .find((text) => text.includes('/up/want')) ?? refusal?.payload.toString('utf8');
      await session.leave();
      return { barrier: `broker: ${noticeText(said) ?? session.closed ?? 'silence'}`, loot };
    },
  },
  {
    name: 'chunk-server',
    story: "asks the gateway's chunk server for group A's metadata and manifest",
    async go(scene) {
      const tools = toolsFor(scene, scene.gateway);
      const { customer, site, group } = scopeOf(scene.prey);
      const base = `/v1/${customer}/${site}/${group}`;
      const loot = newLoot(scene);
      const statuses: string[] = [];
      for (const path of [`${base}/metadata/timestamp.json`, `${base}/target/${scene.manifest}`]) {
        const answer = await ask(tools, path);
        statuses.push(answer.reason);
        if (answer.status === 200) loot.keep(answer.body);
      }
      return { barrier: `chunk server: ${statuses.join(', ')}, ${loot.bytes} bytes`, loot: loot.bytes };
    },
  },
  {
    name: 'chunk-server-by-hash',
    story: "asks for group A's manifest and chunks by their hashes, as if they were its own group's",
    async go(scene) {
      const { customer, site, group } = scopeOf(scene.thief);
      const tools = toolsFor(scene, scene.gateway);
      const base = `/v1/${customer}/${site}/${group}`;
      const loot = newLoot(scene);
      const reasons = new Set<string>();
      for (const hash of [scene.manifest, ...scene.chunks]) {
        const { body, reason } = await ask(tools, `${base}/target/${hash}`);
        loot.look(body);
        reasons.add(reason);
      }
      const own = await ask(tools, `${base}/metadata/timestamp.json`);
      return { barrier: `chunk server: ${[...reasons].join(', ')}; its own group's metadata: ${own.reason}`, loot: loot.bytes };
    },
  },
];

/** Code and sentence of a refusal that the broker told. */
function noticeText(payload: string | undefined): string | undefined {
  if (payload === undefined) return undefined;
  const notice: { code?: unknown; message?: unknown } = JSON.parse(payload);
  return `${String(notice.code)}: ${String(notice.message)}`;
}
