import { execFile } from 'node:child_process';
import { mkdir, readdir, readFile, rm, statfs, writeFile } from 'node:fs/promises';
import path from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { promisify } from 'node:util';
import { systemClock } from '../../shared/base/clock.ts';
import { silentLog } from '../../shared/base/log.ts';
import { openLink } from '../../shared/net/link.ts';
import { up } from '../../shared/wire/topics.ts';
import { isUp } from '../support/broker-rig.ts';
import type { Daemon } from '../support/daemon.ts';
import type { World } from '../support/world.ts';
import type { Fault, Round, Victim } from './plan.ts';
import { byVictim } from './plan.ts';

const run = promisify(execFile);

export const LINE_MBIT = 80;
const SLOW_MBIT = 2;
/** Of the disk that one device has to itself. */
const DISK_MIB = 64;
/** Chunks that rot at once. */
const ROTTEN = 5;

/** The device whose disk is small. */
export const SMALL_DISK = 'ct-2';

/** Of the disks that gateway and provider have to themselves: what a campaign of an hour leaves there. */
const SERVER_DISK_MIB = 1024;
/** Years before and after, and days. */
const JUMPS = ['-56y', '+73y', '-40d', '+200d'] as const;

/** Gives one device, the gateway and the provider disks of their own, and everybody a clock that can jump; before they start. */
export async function prepare(world: World): Promise<void> {
  for (const [folder, mib] of disks(world)) {
    await mkdir(folder, { recursive: true });
    await run('mount', ['-t', 'tmpfs', '-o', `size=${mib}m`, 'tmpfs', folder]);
  }
  for (const host of ['gw-north', ...world.devices.keys()]) await world.setClock(host, '+0');
}

export async function takeDisks(world: World): Promise<void> {
  for (const [folder] of disks(world)) await run('umount', ['-l', folder]).catch(() => undefined);
}

function disks(world: World): readonly (readonly [folder: string, mib: number])[] {
  return [
    [world.device(SMALL_DISK).install, DISK_MIB],
    [world.site('north').data, SERVER_DISK_MIB],
    [path.join(world.directory, 'provider', 'data'), SERVER_DISK_MIB],
  ];
}

/** The disk of somebody, where what he keeps lies. */
function diskOf(world: World, victim: Victim): string {
  if (victim === 'provider') return path.join(world.directory, 'provider', 'data');
  return victim === 'gateway' ? world.site('north').data : world.device(victim).install;
}

/** All that goes wrong in a round; resolves when all of it is healed. */
export async function inflict(world: World, { faults, seed }: Round): Promise<void> {
  const began = performance.now();
  await Promise.all(
    [...byVictim(faults).values()].map(async (row) => {
      for (const fault of row) {
        await sleep(Math.max(0, fault.at - (performance.now() - began)));
        await one(world, fault, seed);
      }
    }),
  );
}

function daemonOf(world: World, victim: Victim): Daemon {
  if (victim === 'provider') return world.provider;
  return victim === 'gateway' ? world.site('north').daemon : world.device(victim).daemon;
}

async function one(world: World, { kind, on, lasts }: Fault, seed: number): Promise<void> {
  const daemon = daemonOf(world, on);
  switch (kind) {
    case 'kill':
      await daemon.kill();
      await sleep(lasts / 3);
      await startPatiently(daemon);
      return;
    case 'freeze':
      process.kill(daemon.pid, 'SIGSTOP');
      await sleep(lasts * 2);
      process.kill(daemon.pid, 'SIGCONT');
      return;
    case 'cut': {
      const [host, network] = on === 'gateway' ? [world.site('north').host, 'wan'] : [world.device(on).host, 'lan0'];
      await host.plug(network, false);
      await sleep(lasts);
      await host.plug(network, true);
      return;
    }
    case 'slow':
      await world.network.shape(world.site('north').host, 'wan', SLOW_MBIT);
      await sleep(lasts * 2);
      await world.network.shape(world.site('north').host, 'wan', LINE_MBIT);
      return;
    case 'full': {
      const filler = path.join(diskOf(world, on), 'filler');
      const { bavail, bsize } = await statfs(diskOf(world, on));
      await run('fallocate', ['-l', String(bavail * bsize), filler]);
      await sleep(lasts * 2);
      await rm(filler, { force: true });
      // What cannot go on without its disk ends with an error, for its supervisor to start it again.
      if (!daemon.running) await startPatiently(daemon);
      return;
    }
    case 'noise': {
      const [host, network] = on === 'gateway' ? [world.site('north').host, 'wan'] : [world.device(on).host, 'lan0'];
      if (!(await world.network.disturb(host, network, on === 'gateway' ? LINE_MBIT : undefined))) sayNoNetem();
      await sleep(lasts * 2);
      if (on === 'gateway') await world.network.shape(host, network, LINE_MBIT);
      else await world.network.calm(host, network);
      return;
    }
    case 'clock': {
      const host = on === 'gateway' ? 'gw-north' : on;
      await world.setClock(host, JUMPS[seed % JUMPS.length] ?? '-56y');
      await sleep(lasts * 2);
      await world.setClock(host, '+0');
      return;
    }
    case 'rot':
      await rot(path.join(world.site('north').data, 'chunks'), ROTTEN, seed);
      return;
    case 'rot-trust':
      // While it is off: bits do not flip below a file that is being written.
      await daemon.kill();
      await rot(path.join(world.device(on).data, 'trust'), 1, seed);
      await startPatiently(daemon);
  }
}

let saidNoNetem = false;
function sayNoNetem(): void {
  if (!saidNoNetem) process.stdout.write('        this kernel has no netem: packets get lost, and neither come twice nor out of order\n');
  saidNoNetem = true;
}

/** A hang guard for a machine that has much else to do. */
async function startPatiently(daemon: Daemon): Promise<void> {
  const from = daemon.lines.length;
  daemon.launch();
  await daemon.logged(({ event }) => event === 'ready', { from, orExit: true, timeoutMs: 240_000 });
}

/** Flips a bit in some files of a folder. Which ones follows from the seed, as far as the folder's content does. */
async function rot(folder: string, count: number, seed: number): Promise<void> {
  const entries = await readdir(folder, { recursive: true, withFileTypes: true }).catch(() => []);
  const files = entries
    .filter((entry) => entry.isFile())
    .map((entry) => path.join(entry.parentPath, entry.name))
    .sort();
  for (let time = 0; time < Math.min(count, files.length); time++) {
    const file = files[(seed + time * 7919) % files.length] ?? '';
    // Retention or an update may have taken it meanwhile.
    const bytes = await readFile(file).catch(() => Buffer.alloc(0));
    if (bytes.length === 0) continue;
    const at = (seed + time) % bytes.length;
    bytes[at] = (bytes[at] ?? 0) ^ 0x10;
    await writeFile(file, bytes).catch(() => undefined);
  }
}

/** Somebody with a gateway's certificate says what devices have signed once more: late, twice, in any order. */
export async function replay(world: World, credentials: string, envelopes: readonly Buffer[]): Promise<void> {
  const own = await world.credentials(credentials);
  const host = world.providerHost.addresses['wan'] ?? '';
  const link = openLink({ host, port: 8883, credentials: own, expect: (server) => server.role === 'provider', log: silentLog, clock: systemClock });
  try {
    await isUp(link);
    for (const envelope of envelopes) await link.publish(up(own.identity, 'statement'), envelope, { signal: AbortSignal.timeout(30_000) });
  } finally {
    await link.close();
  }
}
