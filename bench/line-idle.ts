import { readFile } from 'node:fs/promises';
import { filesOf } from '../test/support/files.ts';
import { World } from '../test/support/world.ts';
import type { BenchContext, Row } from './row.ts';
import { round } from './row.ts';

/** What may cross the line in a minute in which nothing happens: bytes of IP packets, both ways. */
const TARGET = 1000;
const ETHERNET_HEADER = 14;

/** A provider, a gateway and two agents as they are, up to date, while nothing happens: what the gateway's interface to the line counts. */
export async function lineIdle(context: BenchContext): Promise<Row[]> {
  const world = await World.create({ plan: { acme: { north: { ct: ['ct-1', 'ct-2'] } } }, applications: ['viewer'] });
  try {
    await world.start();
    await world.publish('viewer', '1.0.0', filesOf('viewer', '1.0.0', 1 << 20));
    await world.setCurrent('acme', 'ct', 'viewer', '1.0.0');
    await world.untilUpToDate();
    const { pid } = world.site('north').daemon;
    await sleep(context.quick ? 2 : 20, context.signal);
    const seconds = context.quick ? 15 : 180;
    const before = await lineBytes(pid);
    await sleep(seconds, context.signal);
    const perMinute = (((await lineBytes(pid)) - before) / seconds) * 60;
    context.note(`idle: ${perMinute.toFixed(0)} bytes a minute`);
    return [{ bench: 'line-idle', contestant: 'wardcast', devices: 2, seconds, bytesPerMinute: round(perMinute), ratio: round(perMinute / TARGET) }];
  } finally {
    await world.close();
  }
}

/**
 * Bytes of IPv4 packets in and out of the interface named `wan` of a process's network namespace. The line is IPv4; what the kernel itself says in
 * IPv6 on a fresh virtual interface (router solicitations of all hosts on that bridge) is nobody's control traffic.
 */
async function lineBytes(pid: number): Promise<number> {
  const line = (await readFile(`/proc/${pid}/net/dev`, 'utf8')).split('\n').find((text) => text.trim().startsWith('wan'));
  if (line === undefined) throw new Error('the gateway has no interface called wan');
  const figures = line.split(':')[1]?.trim().split(/\s+/).map(Number) ?? [];
  const ipv6 = await readFile(`/proc/${pid}/net/dev_snmp6/wan`, 'utf8').catch(() => '');
  const counted = (name: string): number => Number(new RegExp(`^${name}\\s+(\\d+)`, 'm').exec(ipv6)?.[1] ?? 0);
  const [inBytes = 0, inPackets = 0] = figures;
  const [outBytes = 0, outPackets = 0] = figures.slice(8);
  return inBytes + outBytes - ETHERNET_HEADER * (inPackets + outPackets) - counted('Ip6InOctets') - counted('Ip6OutOctets');
}

function sleep(seconds: number, signal: AbortSignal): Promise<void> {
  return new Promise((resolve, reject) => {
    const timer = setTimeout(resolve, seconds * 1000);
    const stop = (): void => {
      clearTimeout(timer);
      reject(signal.reason);
    };
    signal.addEventListener('abort', stop, { once: true });
  });
}
