import { mkdtemp, rm } from 'node:fs/promises';
import path from 'node:path';
import { z } from 'zod';
import { runToEnd, type Server, startServer, worker } from './child.ts';
import { FILE, makeContent } from './content.ts';
import { Papers } from './credentials.ts';
import { cpuOf } from './machine.ts';
import { download, startNginx } from './nginx.ts';
import { type Bench, median, type Row, round } from './row.ts';

const MiB = 1 << 20;
const NGINX_PORT = 8443;
const Ready = z.object({ port: z.int() });
const Fetched = z.object({ seconds: z.number(), cpu: z.number(), maxRssMib: z.number() });

interface Run {
  readonly seconds: number;
  readonly serverCpu: number;
  readonly device?: z.output<typeof Fetched>;
}

/** Gateway to one device over loopback, unshaped, mTLS and every chunk verified, beside nginx with TLS and curl, which verifies nothing. */
export const bench: Bench = async ({ quick, runs, directory, note, signal }) => {
  const size = (quick ? 128 : 512) * MiB;
  const papers = await Papers.issue(path.join(directory, 'papers'), { ips: ['127.0.0.1'] });
  const content = await makeContent(path.join(directory, 'content'), size);
  const gateway = await startServer(worker('lan-gateway', { credentials: papers.of('gateway'), store: content.store, manifest: content.manifest }));
  const nginxOptions = {
    directory: path.join(directory, 'nginx'),
    root: content.folder,
    credentials: papers.of('gateway'),
    host: '127.0.0.1',
    port: NGINX_PORT,
  };
  const nginx = await startNginx(nginxOptions);

  const measured = async (server: Server, work: () => Promise<Omit<Run, 'serverCpu'>>): Promise<Run> => {
    const cpu = await cpuOf(server.pid);
    const done = await work();
    return { ...done, serverCpu: (await cpuOf(server.pid)) - cpu };
  };
  const fetch = (how: 'fetch' | 'stage'): Promise<Run> =>
    measured(gateway, async () => {
      const target = await mkdtemp(path.join(directory, 'device-'));
      const options = { port: Ready.parse(gateway.said).port, credentials: papers.of('ct-1'), manifest: content.manifest, directory: target, how };
      const device = Fetched.parse(await runToEnd(worker('lan-device', options), signal));
      await rm(target, { recursive: true });
      return { seconds: device.seconds, device };
    });
  const curl = (): Promise<Run> =>
    measured(nginx, async () => {
      const out = path.join(directory, 'download');
      const { total } = await download(`https://127.0.0.1:${NGINX_PORT}/${FILE}`, { root: `${papers.of('gateway')}/root.pem`, out, signal });
      await rm(out);
      return { seconds: total };
    });

  const contestants: Readonly<Record<string, () => Promise<Run>>> = {
    wardcast: () => fetch('fetch'),
    'wardcast staging': () => fetch('stage'),
    'nginx and curl': curl,
  };
  const seen = new Map<string, Run[]>(Object.keys(contestants).map((name) => [name, []]));
  try {
    for (let run = 0; run < runs; run++)
      for (const [name, work] of Object.entries(contestants)) {
        const one = await work();
        seen.get(name)?.push(one);
        note(`run ${run + 1}: ${name} ${one.seconds.toFixed(2)} s`);
      }
  } finally {
    await gateway.stop();
    await nginx.stop();
  }
  const reference = median((seen.get('nginx and curl') ?? []).map(({ seconds }) => seconds));
  return [...seen].map(([contestant, all]): Row => {
    const seconds = median(all.map((one) => one.seconds));
    const devices = all.flatMap(({ device }) => (device === undefined ? [] : [device]));
    return {
      bench: 'lan',
      contestant,
      mib: size / MiB,
      seconds: round(seconds),
      mbPerSecond: round(size / 1e6 / seconds),
      serverCpuMsPerMb: round((median(all.map(({ serverCpu }) => serverCpu)) * 1000) / (size / 1e6)),
      deviceCpuMsPerMb: devices.length === 0 ? null : round((median(devices.map(({ cpu }) => cpu)) * 1000) / (size / 1e6)),
      deviceMaxRssMib: devices.length === 0 ? null : round(median(devices.map(({ maxRssMib }) => maxRssMib))),
      ratio: round(reference / seconds),
    };
  });
};
