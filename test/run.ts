import { spawn, spawnSync } from 'node:child_process';
import path from 'node:path';
import { ensurePrograms } from './support/debian.ts';

/**
 * The whole suite: unit and contract tests, then end-to-end tests inside namespaces of their own.
 * Arguments go to the first vitest run; `--only unit` or `--only e2e` runs one half.
 */

const root = path.resolve(import.meta.dirname, '..');
const vitest = [process.execPath, path.join(root, 'node_modules/vitest/vitest.mjs'), 'run'];

/** A private /run holds the named network namespaces; nothing outside is touched. */
const INSIDE = 'mount -t tmpfs -o mode=755 tmpfs /run && mkdir -p /run/netns && exec "$@"';

function namespaceCommand(): string[] {
  const candidates = [
    ['unshare', '--user', '--map-root-user', '--net', '--mount', '--'],
    ...(process.getuid?.() === 0 ? [['unshare', '--net', '--mount', '--']] : []),
  ];
  for (const candidate of candidates) {
    const [command = '', ...args] = candidate;
    const probe = spawnSync(command, [...args, 'sh', '-c', INSIDE, 'sh', 'sh', '-c', 'ip netns add probe && ip netns del probe'], { stdio: 'ignore' });
    if (probe.status === 0) return candidate;
  }
  throw new Error(
    'The end-to-end tests need network namespaces, and this kernel allows them neither through a user namespace ' +
      '(sysctl kernel.unprivileged_userns_clone=1, or user.max_user_namespaces > 0) nor directly (run the tests as root with CAP_SYS_ADMIN).',
  );
}

async function run(command: readonly string[]): Promise<number> {
  const [program = '', ...args] = command;
  const child = spawn(program, args, {
    cwd: root,
    stdio: 'inherit',
    env: { ...process.env, PATH: `${path.dirname(process.execPath)}:${process.env['PATH'] ?? ''}` },
  });
  for (const signal of ['SIGINT', 'SIGTERM'] as const) process.on(signal, () => child.kill(signal));
  return new Promise((resolve, reject) => {
    child.on('error', reject);
    child.on('exit', (code) => resolve(code ?? 1));
  });
}

const args = process.argv.slice(2);
const at = args.indexOf('--only');
const only = at >= 0 ? args.splice(at, 2)[1] : undefined;

await ensurePrograms(['openssl', 'mosquitto', 'mosquitto_sub', 'ip', 'unshare']);
let failed = 0;
if (only !== 'e2e') failed += await run([...vitest, ...args]);
if (only !== 'unit')
  failed += await run([...namespaceCommand(), 'sh', '-c', INSIDE, 'sh', ...vitest, '--config', 'vitest.e2e.config.ts', ...(only === 'e2e' ? args : [])]);
process.exitCode = failed === 0 ? 0 : 1;
