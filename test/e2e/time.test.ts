import { cp, rm } from 'node:fs/promises';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { ensurePrograms } from '../support/debian.ts';
import { filesOf } from '../support/files.ts';
import { World } from '../support/world.ts';

const SIZE = 300_000;

describe('machines whose clocks are wrong', () => {
  let world: World;
  beforeAll(async () => {
    await ensurePrograms(['faketime']);
    world = await World.create({ plan: { acme: { north: { ct: ['ct-1', 'ct-2'] } } }, applications: ['viewer'] });
    await world.setClock('ct-1', '-56y');
    await world.setClock('ct-2', '+73y');
    await world.setClock('gw-north', '-56y');
    await world.start();
  });
  afterAll(async () => world?.close());

  async function rollOut(version: string): Promise<void> {
    await world.publish('viewer', version, filesOf('viewer', version, SIZE));
    await world.setCurrent('acme', 'ct', 'viewer', version);
    await world.untilUpToDate();
    for (const name of ['ct-1', 'ct-2']) expect((await world.installed(world.device(name), 'viewer'))?.version).toBe(version);
  }
  const daemons = () => [world.device('ct-1').daemon, world.device('ct-2').daemon, world.site('north').daemon];

  it('install and confirm a release in 1970 and in 2099, behind a gateway in 1970', async () => {
    await rollOut('1.0.0');
    for (const daemon of daemons()) {
      await daemon.logged(({ event }) => event === 'time.proven');
      const wrong = await daemon.logged(({ event }) => event === 'clock.wrong');
      expect(String(wrong['wall'])).toMatch(daemon.name === 'ct-2' ? /^2(099|100)-/ : /^197[01]-/);
    }
    const { installations } = await (await world.ops()).call('trace.device', { device: 'ct-1' });
    expect(installations.map(({ version, result }) => [version, result])).toEqual([['1.0.0', 'installed']]);
  });

  it('go on when every clock jumps to the other end while they run', async () => {
    const { data } = world.site('north');
    await world.site('north').daemon.stop();
    await cp(data, `${data}.before`, { recursive: true });
    await world.site('north').daemon.start();
    await world.setClock('ct-1', '+73y');
    await world.setClock('ct-2', '-56y');
    await world.setClock('gw-north', '+73y');
    await rollOut('1.1.0');
  });

  it('take no replayed timestamp after a restart in yet another year, and keep what they run', async () => {
    const site = world.site('north');
    await site.host.plug('wan', false);
    for (const daemon of daemons()) await daemon.stop();
    // A gateway that was set back: what it offers is genuine, and old.
    await rm(site.data, { recursive: true });
    await cp(`${site.data}.before`, site.data, { recursive: true });
    await world.setClock('ct-1', '-20y');
    const { daemon } = world.device('ct-1');
    const from = daemon.lines.length;
    await site.daemon.start();
    await daemon.start();
    const refused = await daemon.logged(({ event }) => event === 'offer.refused', { from });
    expect(refused).toMatchObject({ error: { code: 'METADATA_ROLLBACK' } });
    expect((await world.installed(world.device('ct-1'), 'viewer'))?.version).toBe('1.1.0');
  });
});
