import { rm } from 'node:fs/promises';
import path from 'node:path';
import { z } from 'zod';
import { runToEnd, startServer, worker } from './child.ts';
import { FILE, makeContent } from './content.ts';
import { Papers } from './credentials.ts';
import { cpuOf } from './machine.ts';
import { download, startNginx } from './nginx.ts';
import { type Bench, median, type Row, round } from './row.ts';

const MiB = 1 << 20;
const HOST = '127.0.0.1';
const NGINX_PORT = 8444;
const REFERENCE = 'nginx and curl';
const Ports = z.object({ door: z.int(), h2: z.int() });
const Fetched = z.object({ seconds: z.number(), bytes: z.number(), cpu: z.number(), maxRssMib: z.number() });

interface Fetch {
  readonly seconds: number;
  readonly serverCpu: number;
  readonly clientCpu?: number;
  readonly maxRssMib?: number;
}

/**
 * One server process, one client process, loopback, TLS 1.3 with both certificates: chunks of a chunk store, each hashed and written to its place, over
 * each transport. nginx and curl carry the same bytes as one file and check nothing. `ratio`: their seconds by ours.
 */
export const bench: Bench = async ({ quick, runs, directory, signal, note }) => {
  const size = (quick ? 128 : 1000) * MiB;
  const papers = await Papers.issue(path.join(directory, 'papers'), { ips: [HOST] });
  const content = await makeContent(path.join(directory, 'content'), size);
  const { store, manifest } = content;
  const server = await startServer(worker('transport-server', { credentials: papers.of('gateway'), store, manifest, ahead: 8, unsent: 256 * 1024 }));
  const ports = Ports.parse(server.said);
  const nginx = await startNginx({
    directory: path.join(directory, 'nginx'),
    root: content.folder,
    credentials: papers.of('gateway'),
    host: HOST,
    port: NGINX_PORT,
  });
  const out = path.join(directory, 'out');
  const ours = (transport: 'https' | 'frames' | 'http2', connections: number) => async (): Promise<Fetch> => {
    const port = transport === 'http2' ? ports.h2 : ports.door;
    const before = await cpuOf(server.pid);
    const options = { transport, port, credentials: papers.of('ct-1'), manifest, out, connections, window: 8 * MiB };
    const { seconds, bytes, cpu, maxRssMib } = Fetched.parse(await runToEnd(worker('transport-client', options), signal));
    if (bytes !== size) throw new Error(`${bytes} bytes arrived of ${size}`);
    return { seconds, clientCpu: cpu, serverCpu: (await cpuOf(server.pid)) - before, maxRssMib };
  };
  const contestants: Readonly<Record<string, () => Promise<Fetch>>> = {
    [REFERENCE]: async () => {
      const before = await cpuOf(nginx.pid);
      const { total, bytes } = await download(`https://${HOST}:${NGINX_PORT}/${FILE}`, { root: `${papers.of('gateway')}/root.pem`, out, signal });
      if (bytes !== size) throw new Error(`${bytes} bytes arrived of ${size}`);
      return { seconds: total, serverCpu: (await cpuOf(nginx.pid)) - before };
    },
    'frames, 1 connection': ours('frames', 1),
    'frames, 2 connections': ours('frames', 2),
    'https, 1 connection': ours('https', 1),
    'https, 3 connections': ours('https', 3),
    'HTTP/2, 1 connection': ours('http2', 1),
  };
  const seen = new Map<string, Fetch[]>(Object.keys(contestants).map((name) => [name, []]));
  try {
    for (let run = 0; run < runs; run++) {
      const order = Object.entries(contestants);
      for (const [name, work] of run % 2 === 0 ? order : order.reverse()) {
        const fetched = await work();
        await rm(out);
        seen.get(name)?.push(fetched);
        note(`run ${run + 1}: ${name} ${fetched.seconds.toFixed(2)} s`);
      }
    }
  } finally {
    await server.stop();
    await nginx.stop();
  }
  const of = (name: string, what: (fetch: Fetch) => number | undefined): number => median((seen.get(name) ?? []).map((fetch) => what(fetch) ?? Number.NaN));
  const known = (value: number, digits?: number): number | null => (Number.isNaN(value) ? null : round(value, digits));
  return [...seen.keys()].map(
    (contestant): Row => ({
      bench: 'transports',
      contestant,
      mib: size / MiB,
      seconds: round(of(contestant, ({ seconds }) => seconds)),
      mbPerSecond: round(size / 1e6 / of(contestant, ({ seconds }) => seconds)),
      serverCpuMsPerMb: round((of(contestant, ({ serverCpu }) => serverCpu) * 1e9) / size),
      clientCpuMsPerMb: known((of(contestant, ({ clientCpu }) => clientCpu) * 1e9) / size),
      clientMaxRssMib: known(of(contestant, ({ maxRssMib }) => maxRssMib)),
      ratio: round(of(REFERENCE, ({ seconds }) => seconds) / of(contestant, ({ seconds }) => seconds)),
    }),
  );
};
