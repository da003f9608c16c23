import { globSync, statSync } from 'node:fs';
import path from 'node:path';
import { each } from '../shared/base/each.ts';
import { ensurePrograms } from './support/debian.ts';
import { inNamespaces, run } from './support/namespaces.ts';

/**
 * The whole suite: unit and contract tests, then end-to-end tests, each file inside namespaces of its own and two at a time: they mostly wait.
 * `--only unit|e2e` runs one half; other arguments go to vitest, and those that name end-to-end files choose them.
 */

const root = path.resolve(import.meta.dirname, '..');
const vitest = [process.execPath, path.join(root, 'node_modules/vitest/vitest.mjs'), 'run'];
const LANES = 2;

const args = process.argv.slice(2);
const at = args.indexOf('--only');
const only = at >= 0 ? args.splice(at, 2)[1] : undefined;

await ensurePrograms(['openssl', 'mosquitto', 'mosquitto_sub', 'ip', 'unshare']);
let failed = 0;
if (only !== 'e2e') failed += await run([...vitest, ...args], { cwd: root });
if (only !== 'unit') failed += await endToEnd();
process.exitCode = failed === 0 ? 0 : 1;

/** The largest files first: they take longest. @returns how many failed */
async function endToEnd(): Promise<number> {
  const isFile = (arg: string): boolean => arg.startsWith('test/') || arg.endsWith('.ts');
  const chosen = args.filter(isFile);
  const options = args.filter((arg) => !isFile(arg));
  const all = globSync('test/e2e/**/*.test.ts', { cwd: root });
  const files = chosen.length === 0 ? all : all.filter((file) => chosen.some((name) => file.includes(name)));
  const size = (file: string): number => statSync(path.join(root, file)).size;
  files.sort((a, b) => size(b) - size(a));
  if (files.length === 0 && only === 'e2e') throw new Error(`No end-to-end test is called like ${chosen.join(' or ')}`);
  const broken: string[] = [];
  await each(files, LANES, async (file) => {
    const command = inNamespaces([...vitest, '--config', 'vitest.e2e.config.ts', file, ...options]);
    if ((await run(command, { cwd: root, aside: files.length > 1 })) !== 0) broken.push(file);
  });
  const names = broken.length === 0 ? '' : `: ${broken.join(', ')}`;
  process.stdout.write(`End-to-end files: ${files.length - broken.length} passed, ${broken.length} failed${names}\n`);
  return broken.length;
}
