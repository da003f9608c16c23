import { mkdtemp, rm } from 'node:fs/promises';
import path from 'node:path';
import { z } from 'zod';
import { runToEnd, type Server, startServer, worker } from './child.ts';
import { type Content, FILE, makeContent } from './content.ts';
import { Papers } from './credentials.ts';
import { EmulatedLine } from './emulated-line.ts';
import type { Encoding } from './encoding.ts';
import { fleet } from './fleet.ts';
import { lineIdle } from './line-idle.ts';
import { cpuOf } from './machine.ts';
import { download, startNginx } from './nginx.ts';
import type { LineShape } from './one-way.ts';
import { type Bench, type BenchContext, median, type Row, round } from './row.ts';
import { wanCuts } from './wan-cuts.ts';

const MiB = 1 << 20;
const FAR = '10.9.0.1';
const PORTS = { raw: 8883, json: 8884, nginx: 8443 } as const;
const Pulled = z.object({ total: z.number(), transfer: z.number(), received: z.number(), stored: z.number(), cpu: z.number() });

/** What one transfer took: seconds from the first packet, seconds on the standing connection, bytes, CPU seconds of the sender. */
interface Transfer {
  readonly total: number;
  readonly transfer: number;
  /** IP bytes, TCP payload sent (again or not), and TCP payload received. */
  readonly ip: number;
  readonly payload: number;
  readonly received: number;
  readonly cpu: number;
}

/**
 * Provider to gateway over MQTT beside an https download of the same bytes (nginx, curl) over the same emulated line. The gateway's connection
 * stands for weeks, so `ratio` compares from the request to the last byte on a fresh connection of each; `ratioWithConnect` counts the handshakes too.
 */
export const bench: Bench = async (context) => {
  const { quick, directory } = context;
  const papers = await Papers.issue(path.join(directory, 'papers'), { ips: [FAR, '127.0.0.1'] });
  const contents = new Map<number, Content>();
  const rows: Row[] = [];
  for (const shape of shapes(quick)) {
    const size = (quick ? 4 : 8) * (shape.mbit === 10 ? 1 : 8) * MiB;
    const content = contents.get(size) ?? (await makeContent(path.join(directory, `content-${size}`), size));
    contents.set(size, content);
    const line = await EmulatedLine.open(shape);
    const site = new Site(
      context,
      papers,
      content,
      (host, command) => line.on(host, command),
      FAR,
      () => line.carried,
    );
    try {
      await site.start(['raw']);
      const seen = await site.alternate({ wardcast: () => site.pull('raw'), 'nginx and curl': () => site.download() });
      rows.push(...tell(seen, { mbit: shape.mbit, delayMs: shape.delay, lossPercent: shape.loss * 100, mib: size / MiB }, size));
    } finally {
      await site.stop();
      await line.close();
    }
  }
  rows.push(...(await senderCpu(context, papers)));
  // It only waits, so when time is short it waits while others work that are not timed to the millisecond.
  const idle = quick ? lineIdle(context) : undefined;
  idle?.catch(() => undefined);
  rows.push(...(await wanCuts(context, papers)));
  rows.push(...(await fleet(context, { name: 'wan-fleet', gateways: quick ? 30 : 200, mib: quick ? 1 : 4 })));
  rows.push(...(await (idle ?? lineIdle(context))));
  return rows;
};

function shapes(quick: boolean): LineShape[] {
  if (quick)
    return [
      { mbit: 100, delay: 50, loss: 0 },
      { mbit: 10, delay: 10, loss: 0.01 },
    ];
  return [10, 100].flatMap((mbit) => [10, 50, 150].flatMap((delay) => [0, 0.01].map((loss) => ({ mbit, delay, loss }))));
}

/** CPU seconds per MB of the sending side, without a line between: raw payloads as they are, the same in JSON and base64, and nginx. */
async function senderCpu(context: BenchContext, papers: Papers): Promise<Row[]> {
  const size = (context.quick ? 64 : 512) * MiB;
  const content = await makeContent(path.join(context.directory, 'content-cpu'), size);
  const site = new Site(
    context,
    papers,
    content,
    (_host, command) => [...command],
    '127.0.0.1',
    () => ({ bytes: 0, payload: 0 }),
  );
  try {
    await site.start(['raw', 'json']);
    const seen = await site.alternate({
      wardcast: () => site.pull('raw'),
      'JSON and base64': () => site.pull('json'),
      'nginx and curl': () => site.download(),
    });
    const raw = median(seen.get('wardcast')?.map(({ cpu }) => cpu) ?? []);
    return [...seen].map(([contestant, all]): Row => {
      const cpu = median(all.map((one) => one.cpu));
      const bytes = median(all.map((one) => one.received));
      return {
        bench: 'wan-sender',
        contestant,
        mib: size / MiB,
        cpuMsPerMb: round((cpu * 1000) / (size / 1e6)),
        mbPerSecond: round(size / 1e6 / median(all.map((one) => one.transfer))),
        bytesPerContent: round(bytes / size, 4),
        ratio: round(raw / cpu),
      };
    });
  } finally {
    await site.stop();
  }
}

/** The two ends, each in its place. */
class Site {
  readonly #context: BenchContext;
  readonly #papers: Papers;
  readonly #content: Content;
  readonly #on: (host: 'far' | 'near', command: readonly string[]) => string[];
  readonly #host: string;
  readonly #carried: () => { readonly bytes: number; readonly payload: number };
  readonly #servers = new Map<Encoding | 'nginx', Server>();

  constructor(
    context: BenchContext,
    papers: Papers,
    content: Content,
    on: (host: 'far' | 'near', command: readonly string[]) => string[],
    host: string,
    carried: () => { readonly bytes: number; readonly payload: number },
  ) {
    this.#context = context;
    this.#papers = papers;
    this.#content = content;
    this.#on = on;
    this.#host = host;
    this.#carried = carried;
  }

  async start(encodings: readonly Encoding[]): Promise<void> {
    const credentials = this.#papers.of('provider');
    const host = this.#host;
    for (const encoding of encodings) {
      const options = { host, port: PORTS[encoding], credentials, store: this.#content.store, encoding };
      this.#servers.set(encoding, await startServer(this.#on('far', worker('wan-provider', options))));
    }
    const directory = path.join(this.#context.directory, 'nginx');
    const on = (command: readonly string[]): string[] => this.#on('far', command);
    this.#servers.set('nginx', await startNginx({ directory, root: this.#content.folder, credentials, host, port: PORTS.nginx, on }));
  }

  async stop(): Promise<void> {
    for (const server of this.#servers.values()) await server.stop();
  }

  /** Each contestant in turn, and again; who begins changes. */
  async alternate(contestants: Readonly<Record<string, () => Promise<Transfer>>>): Promise<Map<string, Transfer[]>> {
    const seen = new Map<string, Transfer[]>(Object.keys(contestants).map((name) => [name, []]));
    for (let run = 0; run < this.#context.runs; run++) {
      const order = Object.entries(contestants);
      for (const [name, work] of run % 2 === 0 ? order : order.reverse()) {
        const one = await work();
        seen.get(name)?.push(one);
        this.#context.note(`run ${run + 1}: ${name} ${one.transfer.toFixed(2)} s (${one.total.toFixed(2)} s with connecting)`);
      }
    }
    return seen;
  }

  async pull(encoding: Encoding): Promise<Transfer> {
    const store = await mkdtemp(path.join(this.#context.directory, 'near-'));
    const options = { host: this.#host, port: PORTS[encoding], credentials: this.#papers.of('gateway'), manifest: this.#content.manifest, store, encoding };
    return this.#measure(encoding, async () => {
      const { stored, ...figures } = Pulled.parse(await runToEnd(this.#on('near', worker('wan-gateway', options)), this.#context.signal));
      if (stored !== this.#content.size) throw new Error(`${stored} bytes arrived of ${this.#content.size}`);
      await rm(store, { recursive: true });
      return figures;
    });
  }

  async download(): Promise<Transfer> {
    return this.#measure('nginx', async () => {
      const { total, transfer, bytes } = await download(`https://${this.#host}:${PORTS.nginx}/${FILE}`, {
        root: `${this.#papers.of('provider')}/root.pem`,
        out: path.join(this.#context.directory, 'download'),
        signal: this.#context.signal,
        on: (command) => this.#on('near', command),
      });
      if (bytes !== this.#content.size) throw new Error(`${bytes} bytes arrived of ${this.#content.size}`);
      return { total, transfer, received: bytes };
    });
  }

  async #measure(server: Encoding | 'nginx', work: () => Promise<{ total: number; transfer: number; received: number }>): Promise<Transfer> {
    const pid = this.#servers.get(server)?.pid ?? 0;
    const carried = this.#carried();
    const cpu = await cpuOf(pid);
    const { total, transfer, received } = await work();
    const after = this.#carried();
    return { total, transfer, received, ip: after.bytes - carried.bytes, payload: after.payload - carried.payload, cpu: (await cpuOf(pid)) - cpu };
  }
}

function tell(seen: ReadonlyMap<string, readonly Transfer[]>, parameters: Readonly<Record<string, number>>, size: number): Row[] {
  const of = (name: string, what: (transfer: Transfer) => number): number => median((seen.get(name) ?? []).map(what));
  const reference = 'nginx and curl';
  return [...seen.keys()].map((contestant): Row => {
    const seconds = of(contestant, ({ transfer }) => transfer);
    return {
      bench: 'wan',
      contestant,
      ...parameters,
      seconds: round(seconds),
      mbitPerSecond: round((size * 8) / 1e6 / seconds),
      receivedPerContent: round(of(contestant, ({ received }) => received) / size, 4),
      payloadPerContent: round(of(contestant, ({ payload }) => payload) / size, 4),
      ipPerContent: round(of(contestant, ({ ip }) => ip) / size, 4),
      senderCpuMsPerMb: round((of(contestant, ({ cpu }) => cpu) * 1000) / (size / 1e6)),
      ratioWithConnect: round(of(reference, ({ total }) => total) / of(contestant, ({ total }) => total)),
      ratio: round(of(reference, ({ transfer }) => transfer) / seconds),
    };
  });
}
