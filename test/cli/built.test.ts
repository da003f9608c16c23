import { spawn, spawnSync } from 'node:child_process';
import { mkdir, readFile, rm, writeFile } from 'node:fs/promises';
import path from 'node:path';
import { expect, onTestFinished, test } from 'vitest';
import { BUILT_FROM, programOf, sourcesDigest } from '../../cli/built.ts';
import { temporaryDirectory } from '../support/temporary-directory.ts';

const project = path.resolve(import.meta.dirname, '../..');

test('a daemon runs as it was built, until a source or the version of a package changes', async () => {
  const here = await temporaryDirectory();
  const write = async (name: string, text: string): Promise<void> => {
    await mkdir(path.dirname(path.join(here, name)), { recursive: true });
    await writeFile(path.join(here, name), text);
  };
  for (const name of ['agent/main.ts', 'gateway/main.ts', 'provider/main.ts', 'shared/base/errors.ts', 'certs/pem.ts', 'package.json', 'package-lock.json']) {
    await write(name, `of ${name}`);
  }
  const source = path.join(here, 'agent/main.ts');
  const built = path.join(here, 'dist/agent.js');
  expect(programOf('agent', here)).toBe(source);
  await write('dist/agent.js', 'built');
  await write(`dist/${BUILT_FROM}`, sourcesDigest(here));
  expect(programOf('agent', here)).toBe(built);

  for (const name of ['shared/base/errors.ts', 'package-lock.json']) {
    await write(name, 'changed');
    expect(programOf('agent', here)).toBe(source);
    await write(name, `of ${name}`);
    expect(programOf('agent', here)).toBe(built);
  }
  await write('shared/base/new.ts', '');
  expect(programOf('agent', here)).toBe(source);
});

test('the built daemons start from one file of ASCII each', { timeout: 120_000 }, async () => {
  // Inside the project, where what is not bundled is found.
  const out = path.join(project, 'node_modules/.cache/wardcast-built-test');
  onTestFinished(() => rm(out, { recursive: true, force: true }));
  await mkdir(path.dirname(out), { recursive: true });
  const build = spawnSync(process.execPath, [path.join(project, 'packaging/build.ts'), out], { encoding: 'utf8' });
  expect(build).toMatchObject({ status: 0, stderr: '' });
  for (const daemon of ['agent', 'gateway', 'provider']) {
    const program = path.join(out, `${daemon}.js`);
    const { status, stderr } = spawnSync(process.execPath, [program, '--config', '/nowhere.toml'], { encoding: 'utf8' });
    expect(status).toBe(2);
    expect(JSON.parse(stderr)).toMatchObject({ component: daemon, event: 'fatal', code: 'CONFIG_INVALID' });
    const { status: foreign } = spawnSync('grep', ['-qP', '[^\\x00-\\x7f]', program], { env: { ...process.env, LC_ALL: 'C' } });
    expect(foreign).toBe(1);
  }
});

test.skipIf(process.execve === undefined)('`agent run` becomes the agent: no second process stays beside it', { timeout: 30_000 }, async () => {
  // A configuration that never comes: the agent waits for it.
  const config = path.join(await temporaryDirectory(), 'agent.toml');
  expect(spawnSync('mkfifo', [config]).status).toBe(0);
  const child = spawn(process.execPath, [path.join(project, 'cli/wardcast.mjs'), 'agent', 'run', '--config', config], { stdio: 'ignore' });
  onTestFinished(() => void child.kill('SIGKILL'));
  const commandLine = (): Promise<string> => readFile(`/proc/${child.pid}/cmdline`, 'utf8');
  // Until it does, it is the command line that was started, or empty while the kernel changes the one into the other.
  const become = (line: string): boolean => /agent(\.js|\/main\.ts)\0--config\0/.test(line);
  while (!become(await commandLine())) await new Promise((resolve) => setTimeout(resolve, 20));
  expect(child.exitCode).toBeNull();
});
