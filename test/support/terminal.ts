import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { ensurePrograms } from './debian.ts';

/** What a command shows at a real terminal, where somebody answers each question as it comes. */
export interface Shown {
  readonly status: number | null;
  readonly screen: string;
}

/** @param args free of shell characters @param answers typed one after the other, whenever the screen ends with a question (`: `) */
export async function atTerminal(cwd: string, args: readonly string[], answers: readonly string[] = []): Promise<Shown> {
  await ensurePrograms(['script']);
  const child = spawn('script', ['-qec', [process.execPath, ...args].join(' '), '/dev/null'], { cwd, stdio: ['pipe', 'pipe', 'inherit'] });
  const left = [...answers];
  let screen = '';
  let asked = 0;
  child.stdout.on('data', (bytes: Buffer) => {
    screen += bytes.toString('utf8');
    const questions = screen.split(/: (?=\r?\n|$)/).length - 1;
    if (questions <= asked) return;
    asked = questions;
    const answer = left.shift();
    if (answer !== undefined) child.stdin.write(answer);
  });
  const [status]: unknown[] = await once(child, 'close');
  return { status: typeof status === 'number' ? status : null, screen };
}
