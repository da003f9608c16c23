import { execFile } from 'node:child_process';
import { chmod, cp, mkdir, mkdtemp, readFile, rm, writeFile } from 'node:fs/promises';
import os from 'node:os';
import path from 'node:path';
import { promisify } from 'node:util';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { systemClock } from '../../shared/base/clock.ts';
import { Daemon } from '../support/daemon.ts';
import { TestNetwork } from '../support/netns.ts';

const run = promisify(execFile);
const root = path.resolve(import.meta.dirname, '../..');

/** The README's three machines, at the addresses it names, following it word for word. */
describe('the README, followed by a newcomer on three machines', () => {
  let directory: string;
  const network = new TestNetwork();
  const daemons: Daemon[] = [];
  let blocks: { language: string; text: string }[];

  beforeAll(async () => {
    directory = await mkdtemp(path.join(os.tmpdir(), 'wardcast-readme-'));
    const chapter = /## For real[\s\S]*?\n## /.exec(await readFile(path.join(root, 'README.md'), 'utf8'))?.[0] ?? '';
    blocks = [...chapter.matchAll(/```(\w+)\n([\s\S]*?)```/g)].map((match) => ({ language: match[1] ?? '', text: match[2] ?? '' }));
    const bin = path.join(directory, 'bin');
    await mkdir(bin);
    await writeFile(path.join(bin, 'wardcast'), `#!/bin/sh\nexec "${process.execPath}" "${path.join(root, 'cli/wardcast.mjs')}" "$@"\n`);
    await chmod(path.join(bin, 'wardcast'), 0o755);
  });
  afterAll(async () => {
    for (const daemon of daemons) await daemon.kill();
    await network.close();
    await rm(directory, { recursive: true, force: true });
  });

  const at = (...parts: string[]): string => path.join(directory, ...parts);
  const env = (): NodeJS.ProcessEnv => ({ ...process.env, PATH: `${at('bin')}:${process.env['PATH'] ?? ''}` });

  it('has the release on the device and the confirmation in the database at the end', async () => {
    const shell = blocks.filter((block) => block.language === 'sh').map((block) => block.text);
    const configurations = blocks.filter((block) => block.language === 'toml').map((block) => block.text);
    expect([shell.length, configurations.length]).toEqual([2, 3]);

    const vendor = at('vendor');
    await mkdir(vendor);
    await run('sh', ['-euc', shell[0] ?? ''], { cwd: vendor, env: env() });

    await network.network('wan', '203.0.113');
    await network.network('lan', '192.168.50');
    const hosts = {
      provider: await network.host('provider', ['wan']),
      gateway: await network.host('gateway', ['wan', 'lan']),
      agent: await network.host('agent', ['lan']),
    };
    const ops = await network.host('ops', ['wan']);
    const carried = {
      provider: ['provider-vendor', 'keys/keys/online', 'keys/metadata'],
      gateway: ['gateway-north'],
      agent: ['ct-1'],
    };
    for (const [index, role] of (['provider', 'gateway', 'agent'] as const).entries()) {
      for (const item of carried[role]) await cp(path.join(vendor, item), at(role, item), { recursive: true });
      if (role !== 'provider') await cp(path.join(vendor, 'keys/metadata/1.root.json'), at(role, '1.root.json'));
      await writeFile(at(role, `${role}.toml`), configurations[index] ?? '');
      const daemon = new Daemon(role, () => hosts[role].spawn('wardcast', [role, 'run', '--config', `${role}.toml`], { cwd: at(role), env: env() }));
      daemons.push(daemon);
      await daemon.start();
    }

    const commands = (shell[1] ?? '').split('\n').filter((line) => !line.startsWith('wardcast watch'));
    const before = commands.filter((line) => !/^wardcast (status|trace)/.test(line)).join('\n');
    const first = commands[0] ?? '';
    const operate = (text: string) => ops.exec('sh', ['-euc', `cd ${vendor}\n${text}`], { env: env() });
    await operate(before);
    for (let i = 0; i < 100; i++) {
      const { stdout } = await operate(`${first}\nwardcast status --json`);
      const status: { devices: { state: string }[] } = JSON.parse(stdout);
      if (status.devices.length === 1 && status.devices[0]?.state === 'up-to-date') break;
      await systemClock.sleep(200);
    }
    const { stdout: status } = await operate(`${first}\n${commands.find((line) => line.startsWith('wardcast status'))}`);
    expect(status).toMatch(/ct-1.*viewer.*1\.0\.0.*1\.0\.0/);
    const { stdout: trace } = await operate(`${first}\n${commands.find((line) => line.startsWith('wardcast trace'))}`);
    expect(trace).toMatch(/installed/);
    expect(await readFile(at('agent', 'applications', 'viewer', 'current', 'hello.txt'), 'utf8')).toBe('hello\n');
    for (const daemon of daemons) expect(await daemon.stop()).toBe(0);
  });
});
