import { X509Certificate } from 'node:crypto';
import tls from 'node:tls';
import type { Authority } from '../../../certs/authority.ts';
import { loadCredentials } from '../../../certs/credentials.ts';
import { issueLeaf } from '../../../certs/issue.ts';
import { systemClock } from '../../../shared/base/clock.ts';
import { identityPath } from '../../../shared/base/identity.ts';
import { readNotice } from '../../../shared/net/refusal-notice.ts';
import { announceFilter, downFilter, ROOT } from '../../../shared/wire/topics.ts';
import { ask } from './https-session.ts';
import { MqttSession, type Tools } from './mqtt-session.ts';
import { type Attempt, lootOf, newLoot, type Road, type Scene, scopeOf, toolsFor } from './scene.ts';

/** Tries to come in as somebody else, or at another door. */
export const DOORS: readonly Road[] = [
  {
    name: 'stolen-client-id',
    story: "connects under the client id of group A's device, with its own certificate",
    go: (scene) => enter(scene, toolsFor(scene, scene.gateway), identityPath(scene.prey)),
  },
  {
    name: 'forged-certificate',
    story: 'uses its own certificate as a CA and issues itself one for group A',
    async go(scene) {
      const own = await loadCredentials(scene.credentials, systemClock);
      const leafPem = new X509Certificate(own.chain[0] ?? Buffer.alloc(0)).toString();
      const pretended: Authority = {
        scope: { kind: 'group', customer: scene.prey.customer, group: scene.prey.group },
        trustDomain: own.trustDomain,
        certificatePem: leafPem,
        key: own.key,
        keyPem: own.keyPem,
        chainPem: own.chainPem,
        rootPem: own.rootPem,
        notAfter: own.expires,
      };
      const forged = await issueLeaf({ issuer: pretended, identity: scene.prey });
      const tools: Tools = { ...scene.gateway, key: forged.keyPem, cert: forged.chainPem, ca: forged.rootPem };
      return enter(scene, tools, identityPath(scene.prey));
    },
  },
  {
    name: 'no-certificate',
    story: 'comes without any certificate',
    go: (scene) => enter(scene, { ...scene.gateway, key: '', cert: '', ca: scene.ca }, identityPath(scene.prey)),
  },
  {
    name: 'other-agent',
    story: "asks group A's device itself, which serves its own group",
    go: (scene) => enter(scene, toolsFor(scene, scene.preyAgent), identityPath(scene.thief)),
  },
  {
    name: 'other-gateway',
    story: 'tries the gateway of another site with its own certificate',
    go: (scene) => enter(scene, toolsFor(scene, scene.otherGateway), identityPath(scene.thief)),
  },
  {
    name: 'provider-door',
    story: "goes past the gateway to the provider's broker",
    go: (scene) => enter(scene, toolsFor(scene, scene.provider), identityPath(scene.thief)),
  },
];

/** Comes to a door by MQTT and by https, and takes whatever is given. */
async function enter(scene: Scene, tools: Tools, clientId: string): Promise<Attempt> {
  const loot = newLoot(scene);
  const session = await MqttSession.open(tools, clientId);
  let heard = 0;
  if (typeof session !== 'string') {
    await session.subscribe([announceFilter(scene.prey), downFilter(scene.prey), `${ROOT}/#`]);
    await session.publish(`${ROOT}/${clientId}/up/want`, JSON.stringify({ group: scene.prey.group, kind: 'chunk', names: scene.chunks }));
    await session.hear(() => false, 500);
    heard = lootOf(scene, session.heard);
    await session.leave();
  }
  const { customer, site, group } = scopeOf(scene.prey);
  const answer = await ask(tools, `/v1/${customer}/${site}/${group}/target/${scene.manifest}`);
  if (answer.status === 200) loot.keep(answer.body);
  const refusal = typeof session === 'string' ? ((await knock(tools)) ?? session) : 'let in, but nothing was given';
  return { barrier: `door: ${refusal}; https: ${answer.reason}`, loot: heard + loot.bytes };
}

/** Milliseconds until a door that says nothing is left alone. */
const PATIENCE = 3000;

/** The words with which a door refuses, if it has any. */
function knock(tools: Tools): Promise<string | undefined> {
  return new Promise((resolve) => {
    const said: Buffer[] = [];
    const done = (): void => {
      clearTimeout(timer);
      socket.destroy();
      const notice = readNotice(Buffer.concat(said));
      resolve(notice === undefined ? undefined : `${notice.code}: ${notice.message}`);
    };
    const socket = tls.connect({
      host: tools.host,
      port: tools.port,
      ca: tools.ca,
      rejectUnauthorized: false,
      ALPNProtocols: ['mqtt'],
      ...(tools.key === '' ? {} : { key: tools.key, cert: tools.cert }),
    });
    const timer = setTimeout(done, PATIENCE);
    socket.on('data', (bytes: Buffer) => said.push(bytes));
    socket.on('end', done);
    socket.on('close', done);
    socket.on('error', done);
  });
}
