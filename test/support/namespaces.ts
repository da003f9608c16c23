import { spawn, spawnSync } from 'node:child_process';
import path from 'node:path';

/** A private /run holds the named network namespaces; nothing outside is touched. */
const INSIDE = 'mount -t tmpfs -o mode=755 tmpfs /run && mkdir -p /run/netns && ip link set lo up && exec "$@"';

/**
 * The command line that runs another one inside network and mount namespaces of its own: through a user namespace where the kernel allows
 * (no root needed), else directly as root.
 * @throws Error that says what is missing, where neither works
 */
export function inNamespaces(command: readonly string[]): string[] {
  const candidates = [
    ['unshare', '--user', '--map-root-user', '--net', '--mount', '--'],
    ...(process.getuid?.() === 0 ? [['unshare', '--net', '--mount', '--']] : []),
  ];
  for (const candidate of candidates) {
    const [program = '', ...args] = candidate;
    const probe = spawnSync(program, [...args, 'sh', '-c', INSIDE, 'sh', 'sh', '-c', 'ip netns add probe && ip netns del probe'], { stdio: 'ignore' });
    if (probe.status === 0) return [...candidate, 'sh', '-c', INSIDE, 'sh', ...command];
  }
  throw new Error(
    'Network namespaces are needed, and this kernel allows them neither through a user namespace ' +
      '(sysctl kernel.unprivileged_userns_clone=1, or user.max_user_namespaces > 0) nor directly (run as root with CAP_SYS_ADMIN).',
  );
}

/**
 * Runs a command with our own Node first in PATH, passing signals on; resolves with its exit status. With `aside` its output is printed as a whole
 * when it has ended, so that several can run beside each other.
 */
export async function run(command: readonly string[], options: { cwd: string; env?: Readonly<Record<string, string>>; aside?: boolean }): Promise<number> {
  const [program = '', ...args] = command;
  const env = { ...process.env, ...options.env, PATH: `${path.dirname(process.execPath)}:${process.env['PATH'] ?? ''}` };
  const child = spawn(program, args, { cwd: options.cwd, stdio: options.aside === true ? ['ignore', 'pipe', 'pipe'] : 'inherit', env });
  const said: { readonly to: NodeJS.WriteStream; readonly bytes: Buffer }[] = [];
  child.stdout?.on('data', (bytes: Buffer) => said.push({ to: process.stdout, bytes }));
  child.stderr?.on('data', (bytes: Buffer) => said.push({ to: process.stderr, bytes }));
  const pass = (signal: NodeJS.Signals): void => void child.kill(signal);
  for (const signal of ['SIGINT', 'SIGTERM'] as const) process.on(signal, pass);
  try {
    return await new Promise((resolve, reject) => {
      child.on('error', reject);
      child.on('close', (code) => resolve(code ?? 1));
    });
  } finally {
    for (const { to, bytes } of said) to.write(bytes);
    for (const signal of ['SIGINT', 'SIGTERM'] as const) process.off(signal, pass);
  }
}
