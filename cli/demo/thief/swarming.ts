import tls from 'node:tls';
import { Bitfield } from '../../../shared/net/swarm/bitfield.ts';
import { FrameReader, printFrame, SWARM_PROTOCOL } from '../../../shared/net/swarm/frames.ts';
import { ask } from './https-session.ts';
import type { Tools } from './mqtt-session.ts';
import { newLoot, type Road, type Scene, scopeOf, toolsFor } from './scene.ts';

/** Milliseconds to wait for chunks that do not come. */
const PATIENCE = 1500;

/** Asks for group A's content as devices ask each other and their gateway. */
export const SWARMING: readonly Road[] = [
  {
    name: 'swarm-gateway',
    story: "joins group A's transfer at the gateway and asks for every chunk",
    async go(scene) {
      const loot = newLoot(scene);
      const { chunks, said } = await swarm(toolsFor(scene, scene.gateway), scene);
      for (const bytes of chunks) loot.keep(bytes);
      return { barrier: `swarm door: ${said}, ${chunks.length} chunks`, loot: loot.bytes };
    },
  },
  {
    name: 'swarm-peer',
    story: "comes to group A's device itself as one of its peers",
    async go(scene) {
      const loot = newLoot(scene);
      const { chunks, said } = await swarm(toolsFor(scene, scene.preyAgent), scene);
      for (const bytes of chunks) loot.keep(bytes);
      return { barrier: `swarm door: ${said}, ${chunks.length} chunks`, loot: loot.bytes };
    },
  },
  {
    name: 'chunks-by-post',
    story: 'tries the old way of fetching chunks over https, at the gateway and at the device',
    async go(scene) {
      const { customer, site, group } = scopeOf(scene.prey);
      const loot = newLoot(scene);
      const reasons: string[] = [];
      for (const address of [scene.gateway, scene.preyAgent]) {
        const answer = await ask(toolsFor(scene, address), `/v1/${customer}/${site}/${group}/chunks`, Buffer.from(scene.chunks.join(''), 'hex'));
        reasons.push(answer.reason);
        if (answer.body.length > 0) loot.keep(answer.body);
      }
      return { barrier: `https: ${reasons.join(', ')}`, loot: loot.bytes };
    },
  },
];

/** Says at a swarm door what a device says that lacks everything, and takes what comes. Never throws: a thief takes every answer. */
function swarm(tools: Tools, { manifest, chunkCount }: Scene): Promise<{ readonly chunks: readonly Buffer[]; readonly said: string }> {
  return new Promise((resolve) => {
    const chunks: Buffer[] = [];
    const heard: string[] = [];
    const reader = new FrameReader();
    const done = (reason: string): void => {
      clearTimeout(timer);
      socket.destroy();
      resolve({ chunks, said: heard.length > 0 ? heard.join(', ') : reason });
    };
    const socket = tls.connect({
      host: tools.host,
      port: tools.port,
      key: tools.key,
      cert: tools.cert,
      ca: tools.ca,
      // The thief does not care whose door it is.
      rejectUnauthorized: false,
      ALPNProtocols: [SWARM_PROTOCOL],
    });
    const timer = setTimeout(() => done('let in, but nothing was answered'), PATIENCE);
    socket.once('secureConnect', () => {
      socket.write(printFrame({ type: 'join', transfer: 1, manifest, fetching: true, uploads: true, have: new Bitfield(chunkCount) }));
      socket.write(printFrame({ type: 'any', transfer: 1, count: chunkCount }));
      socket.write(printFrame({ type: 'ask', transfer: 1, indexes: Array.from({ length: Math.min(chunkCount, 1000) }, (_, index) => index) }));
    });
    socket.on('data', (bytes: Buffer) => {
      try {
        reader.push(bytes, (frame) => {
          if (frame.type === 'chunk') chunks.push(frame.bytes);
          else if (frame.type === 'refused') heard.push(`refused with ${frame.code}`);
          else if (!heard.includes(frame.type)) heard.push(frame.type);
        });
      } catch (error) {
        done(error instanceof Error ? error.message : String(error));
      }
    });
    socket.on('close', () => done('the connection was closed'));
    socket.on('error', (error) => done(error.message));
  });
}
