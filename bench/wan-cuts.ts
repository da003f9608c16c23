import { mkdtemp, rm } from 'node:fs/promises';
import path from 'node:path';
import { z } from 'zod';
import { Line } from '../cli/demo/line.ts';
import { runToEnd, startServer, worker } from './child.ts';
import { makeContent } from './content.ts';
import type { Papers } from './credentials.ts';
import { type BenchContext, median, type Row, round } from './row.ts';

const MiB = 1 << 20;
const CUTS = 5;
const SHAPE = { mbit: 100, delay: 10 };
const Ready = z.object({ port: z.int() });
const Pulled = z.object({ stored: z.number(), received: z.number() });

/** A pull onto the gateway's disk over a line that breaks five times at random; `ratio`: all bytes put on the line, also those lost with it, of the content. */
export async function wanCuts(context: BenchContext, papers: Papers): Promise<Row[]> {
  const size = (context.quick ? 96 : 256) * MiB;
  const content = await makeContent(path.join(context.directory, 'content-cuts'), size);
  const provider = await startServer(
    worker('wan-provider', { host: '127.0.0.1', port: 0, credentials: papers.of('provider'), store: content.store, encoding: 'raw' }),
  );
  const ratios: number[] = [];
  try {
    const target = { host: '127.0.0.1', port: Ready.parse(provider.said).port };
    for (let run = 0; run < context.runs; run++) {
      const line = await Line.open({ target, rate: SHAPE.mbit * 125_000, delay: SHAPE.delay });
      const store = await mkdtemp(path.join(context.directory, 'near-'));
      try {
        const options = { host: '127.0.0.1', port: line.port, credentials: papers.of('gateway'), manifest: content.manifest, store, encoding: 'raw' };
        const pulled = runToEnd(worker('wan-gateway', options), context.signal);
        // If the pull fails, that is what is to be told, not that the cuts wait for ever.
        await Promise.race([pulled, cutAtRandom(line, size)]);
        const { stored } = Pulled.parse(await pulled);
        if (stored !== size) throw new Error(`${stored} bytes arrived of ${size}`);
        ratios.push(line.traffic.sent / size);
        context.note(`cuts, run ${run + 1}: ${line.traffic.sent} bytes on the line for ${size}`);
      } finally {
        await line.close();
        await rm(store, { recursive: true });
      }
    }
  } finally {
    await provider.stop();
  }
  return [{ bench: 'wan-cuts', contestant: 'wardcast', mbit: SHAPE.mbit, delayMs: SHAPE.delay, mib: size / MiB, cuts: CUTS, ratio: round(median(ratios), 4) }];
}

async function cutAtRandom(line: Line, size: number): Promise<void> {
  const moments = Array.from({ length: CUTS }, () => Math.random() * 0.95 * size).sort((a, b) => a - b);
  for (const moment of moments) {
    await line.cameDown(moment);
    line.cut();
    await new Promise((resolve) => setTimeout(resolve, 100 + Math.random() * 400));
    line.restore();
  }
}
