import path from 'node:path';
import { ensurePrograms } from './support/debian.ts';
import { inNamespaces, run } from './support/namespaces.ts';

/**
 * The whole suite: unit and contract tests, then end-to-end tests inside namespaces of their own.
 * `--only unit|e2e` runs one half; other arguments go to vitest.
 */

const root = path.resolve(import.meta.dirname, '..');
const vitest = [process.execPath, path.join(root, 'node_modules/vitest/vitest.mjs'), 'run'];

const args = process.argv.slice(2);
const at = args.indexOf('--only');
const only = at >= 0 ? args.splice(at, 2)[1] : undefined;

await ensurePrograms(['openssl', 'mosquitto', 'mosquitto_sub', 'ip', 'unshare']);
let failed = 0;
if (only !== 'e2e') failed += await run([...vitest, ...args], { cwd: root });
if (only !== 'unit') failed += await run(inNamespaces([...vitest, '--config', 'vitest.e2e.config.ts', ...args]), { cwd: root });
process.exitCode = failed === 0 ? 0 : 1;
