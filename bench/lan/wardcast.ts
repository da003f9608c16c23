import { readdir } from 'node:fs/promises';
import path from 'node:path';
import { z } from 'zod';
import { worker } from '../child.ts';
import { FILE } from '../content.ts';
import { cpuOf } from '../machine.ts';
import { addressOf } from './network.ts';
import { type Contestant, limitOf, type Race } from './race.ts';

const PORT = 7443;
/** Milliseconds for the peers to find and prove each other, as they have long done when a release comes; more with each device. */
const SETTLE = { all: 500, each: 100 } as const;
const MB = 1e6;
const MiB = 1 << 20;

const Up = z.object({ port: z.int() });
const Done = z.object({ seconds: z.number(), fromGateway: z.number(), fromPeers: z.number(), cpu: z.number(), maxRssMib: z.number() });

export interface Variant {
  /** `stage`: as the agent does before an installation, everything hashed again and synced; `fetch`: chunks verified and written to their places. */
  readonly how?: 'stage' | 'fetch';
  /** One device is killed when half the time is gone that the file takes over one link. */
  readonly kill?: boolean;
  /** Its chunks are ciphertext, which every device opens, and seals again for its peers. */
  readonly encrypted?: boolean;
}

/** Gateway and agents, up and connected before the clock starts, as daemons are. */
export function wardcast({ how = 'stage', kill = false, encrypted = false }: Variant = {}): Contestant {
  return async (race) => {
    const { content, papers, devices } = race;
    const { store, manifest } = encrypted ? (content.encrypted ?? content) : content;
    const key = encrypted ? content.encrypted?.key.toString('base64') : undefined;
    const served = { host: addressOf(0), credentials: papers.of('gateway'), store, manifest };
    const gateway = race.start(0, worker('lan-gateway', served));
    const { port } = Up.parse(await gateway.line());
    const agents = devices.map((host) =>
      race.start(host, worker('lan-device', { ...deviceOptions(race, host, `${addressOf(0)}:${port}`, how), manifest, key }, 'agent')),
    );
    for (const agent of agents) Up.parse(await agent.line());
    await new Promise((resolve) => setTimeout(resolve, SETTLE.all + SETTLE.each * devices.length));

    const [victim] = kill ? agents : [];
    const others = agents.filter((agent) => agent !== victim);
    const cpuBefore = await cpuOf(gateway.pid);
    await race.go();
    for (const agent of agents) agent.write('go');
    const half = ((limitOf(race.shape) ?? 0) / 2) * 1000;
    const killing = victim === undefined ? undefined : setTimeout(() => void victim.kill(), half);
    const done = await Promise.all(others.map(async (agent) => Done.parse(await agent.line())));
    clearTimeout(killing);
    const gatewayCpu = (await cpuOf(gateway.pid)) - cpuBefore;

    const sum = (of: (one: z.output<typeof Done>) => number): number => done.reduce((total, one) => total + of(one), 0);
    return {
      copies: await Promise.all(devices.slice(kill ? 1 : 0).map((host) => copyIn(race.folder(host)))),
      details: {
        fromGatewayMib: sum((one) => one.fromGateway) / MiB,
        fromPeersMib: sum((one) => one.fromPeers) / MiB,
        gatewayCpuMsPerMb: (gatewayCpu * 1000) / (content.size / MB),
        deviceCpuMsPerMb: (sum((one) => one.cpu) * 1000) / done.length / (content.size / MB),
        deviceMaxRssMib: Math.max(...done.map((one) => one.maxRssMib)),
      },
    };
  };
}

function deviceOptions(race: Race, host: number, gateway: string, how: string) {
  const { papers, devices } = race;
  return {
    host: addressOf(host),
    port: PORT,
    gateway,
    credentials: papers.of(`ct-${host}`),
    directory: race.folder(host),
    peers: devices.filter((other) => other !== host).map((other) => `${addressOf(other)}:${PORT}`),
    how,
  };
}

/** Where the copy stands is the agent's business. */
async function copyIn(folder: string): Promise<string> {
  for (const name of await readdir(folder, { recursive: true })) if (path.basename(name) === FILE) return path.join(folder, name);
  throw new Error(`no copy in ${folder}`);
}
