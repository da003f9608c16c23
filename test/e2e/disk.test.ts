import { execFile } from 'node:child_process';
import { mkdir, readdir, readFile, rm, writeFile } from 'node:fs/promises';
import path from 'node:path';
import { promisify } from 'node:util';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { sha256 } from '../../shared/bundle/digest.ts';
import { bytesOf, filesOf } from '../support/files.ts';
import { World } from '../support/world.ts';

const run = promisify(execFile);

describe('disks that are full or damaged', () => {
  let world: World;
  beforeAll(async () => {
    world = await World.create({ plan: { acme: { north: { ct: ['ct-1', 'ct-2'] } } }, applications: ['viewer'] });
    await world.start();
  });
  afterAll(async () => {
    await run('umount', [world.device('ct-2').install]).catch(() => undefined);
    await world?.close();
  });

  it('a device without space says so, keeps what it runs, and installs once there is room', async () => {
    await world.publish('viewer', '1.0.0', filesOf('viewer', '1.0.0', 500_000));
    await world.setCurrent('acme', 'ct', 'viewer', '1.0.0');
    await world.untilUpToDate();

    const device = world.device('ct-2');
    await device.daemon.stop();
    // A small disk of its own, with the installed release on it and a filler that leaves no room.
    const kept = path.join(world.directory, 'kept');
    await run('cp', ['-a', device.install, kept]);
    await rm(device.install, { recursive: true });
    await mkdir(device.install);
    await run('mount', ['-t', 'tmpfs', '-o', 'size=48m', 'tmpfs', device.install]);
    await run('cp', ['-a', `${kept}/.`, device.install]);
    const filler = path.join(device.install, 'filler');
    await writeFile(filler, bytesOf('filler', 40 << 20));
    await device.daemon.start();

    await world.publish('viewer', '1.1.0', filesOf('viewer', '1.1.0', 6_000_000));
    await world.setCurrent('acme', 'ct', 'viewer', '1.1.0');
    await world.until('ct-2 has reported the lack of space', (status) =>
      status.devices.some((row) => row.device === 'ct-2' && row.state === 'failed' && row.reason?.includes('SPACE_SHORT') === true),
    );
    const during = (await world.status()).devices;
    expect(during.find((row) => row.device === 'ct-2')?.customerVersion).toBe('1.0.0');
    expect((await world.installed(device, 'viewer'))?.version).toBe('1.0.0');

    await rm(filler);
    await world.untilUpToDate();
    expect((await world.installed(device, 'viewer'))?.version).toBe('1.1.0');
  });

  it('chunks that rot on the gateway’s disk are noticed, fetched again, and never installed', async () => {
    const device = world.device('ct-1');
    await device.daemon.stop();
    await rm(device.install, { recursive: true });
    const chunks = path.join(world.site('north').data, 'chunks');
    let damaged = 0;
    for (const entry of await readdir(chunks, { recursive: true, withFileTypes: true })) {
      if (!entry.isFile() || !/^[0-9a-f]{64}$/.test(entry.name)) continue;
      const file = path.join(entry.parentPath, entry.name);
      const bytes = await readFile(file);
      bytes[bytes.length >> 1] = (bytes[bytes.length >> 1] ?? 0) ^ 0x40;
      await writeFile(file, bytes);
      damaged++;
    }
    expect(damaged).toBeGreaterThan(10);
    await device.daemon.start();
    await world.until('ct-1 runs the current version again', async () => (await world.installed(device, 'viewer'))?.version === '1.1.0');
    const installed = await world.installed(device, 'viewer');
    for (const [name, content] of Object.entries(filesOf('viewer', '1.1.0', 6_000_000))) expect(installed?.files.get(name)).toBe(sha256(Buffer.from(content)));
    await world.untilUpToDate();
  });
});
