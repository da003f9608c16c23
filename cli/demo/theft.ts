import { readFile } from 'node:fs/promises';
import path from 'node:path';
import { WardcastError } from '../../shared/base/errors.ts';
import type { DeviceIdentity } from '../../shared/base/identity.ts';
import { silentLog } from '../../shared/base/log.ts';
import { loadGroupView } from '../../shared/trust/client.ts';
import { bytesText } from '../units.ts';
import { type DemoDevice, type DemoRelease, deviceName, FIRST, GROUP_A, GROUP_B, PREY, SECOND, SOUTH, THIEF } from './cast.ts';
import { LOOPBACK } from './home.ts';
import type { TheftFigure } from './report.ts';
import type { Stage } from './stage.ts';
import { DOORS } from './thief/doors.ts';
import { PULLING } from './thief/pulling.ts';
import { RECEIVING } from './thief/receiving.ts';
import { type Attempt, type Scene, scopeOf } from './thief/scene.ts';
import { SWARMING } from './thief/swarming.ts';
import { onlyOf } from './versions.ts';

/** Chunks of group A that are asked for in each attempt. */
const SAMPLE = 8;

/** Roads that are open to who is entitled, by the same requests. */
const CONTROLLED = ['chunk-server', 'swarm-gateway'];

/** Gathers what the thief gets to know. `releases`: the ones whose content it is after. */
export async function setScene(stage: Stage, releases: readonly DemoRelease[]): Promise<Scene> {
  const { home, signed } = stage;
  const secretive = onlyOf(
    signed,
    GROUP_A,
    [...FIRST, ...SECOND].filter((release) => signed.has(release)),
  );
  const wanted = onlyOf(signed, GROUP_A, releases);
  const own = onlyOf(signed, GROUP_B, releases);
  const credentials = home.credentials(home.device(THIEF));
  const read = (name: string): Promise<string> => readFile(path.join(credentials, name), 'utf8');
  const handedOver = await loadGroupView({ directory: path.join(home.device(PREY), 'data', 'trust'), scope: scopeOf(PREY), log: silentLog });
  if (handedOver === undefined) throw new Error('The device of group A holds no verified view that could be handed over');
  const at = (port: number): { host: string; port: number } => ({ host: LOOPBACK, port });
  return {
    thief: identityOf(THIEF),
    prey: identityOf(PREY),
    credentials,
    key: await read('key.pem'),
    cert: await read('chain.pem'),
    ca: await read('root.pem'),
    gateway: at(stage.gateway(THIEF).port),
    otherGateway: at(stage.gateway(SOUTH).port),
    provider: at(stage.provider().port),
    preyAgent: at(stage.agent(PREY).port),
    secrets: new Set([...secretive.chunks, ...secretive.manifests, handedOver.bundleHash]),
    manifest: first(wanted.manifests),
    chunks: wanted.chunks.slice(0, SAMPLE),
    chunkCount: signed.chunks(releases.filter((release) => signed.of(release).hash === wanted.manifests[0])).size,
    ownChunk: first(own.chunks),
    handedOver,
    factoryRoot: await readFile(home.factoryRoot),
    folder: home.thief,
  };
}

/** Goes every road that needs no roll-out to listen to, one after the other. */
export async function steal(stage: Stage, scene: Scene): Promise<TheftFigure[]> {
  await control(stage, scene);
  const figures: TheftFigure[] = [];
  for (const road of [...PULLING, ...SWARMING, ...DOORS, ...RECEIVING]) {
    stage.signal.throwIfAborted();
    figures.push(tell(stage, road, await road.go(scene)));
  }
  return figures;
}

/** The same requests with the entitled device's certificate must bring content: otherwise no refusal would mean anything. @throws INTERNAL */
async function control(stage: Stage, scene: Scene): Promise<void> {
  const folder = stage.home.credentials(stage.home.device(PREY));
  const entitled = { ...scene, key: await readFile(path.join(folder, 'key.pem'), 'utf8'), cert: await readFile(path.join(folder, 'chain.pem'), 'utf8') };
  for (const road of [...PULLING, ...SWARMING].filter(({ name }) => CONTROLLED.includes(name))) {
    const { loot } = await road.go(entitled);
    if (loot === 0) throw new WardcastError('INTERNAL', `The control failed: even the entitled device gets nothing by the road ${road.name}`);
    stage.narrator.say(
      stage.narrator.colors.dim(`control: with ${deviceName(PREY)}'s own certificate ${road.name} brings ${bytesText(loot)} by the same requests`),
    );
  }
}

export function tell(stage: Stage, road: { readonly name: string; readonly story: string }, attempt: Attempt): TheftFigure {
  const { narrator } = stage;
  const succeeded = attempt.loot > 0;
  const line = `${road.name.padEnd(24)} ${road.story}`;
  if (succeeded) narrator.bad(`${line}: GOT ${attempt.loot} BYTES`);
  else narrator.good(line);
  narrator.say(narrator.colors.dim(`  ${attempt.barrier}`));
  return { road: road.name, barrier: attempt.barrier, succeeded };
}

function identityOf({ customer, site, group, device }: DemoDevice): DeviceIdentity {
  return { role: 'device', customer, site, group, device };
}

function first(list: readonly string[]): string {
  const [one] = list;
  if (one === undefined) throw new Error('Group A has nothing of its own that could be stolen');
  return one;
}
