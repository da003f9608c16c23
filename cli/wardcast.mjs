#!/usr/bin/env node
// Plain JavaScript, so that any Node can read it: it finds a Node that can run the sources as they are, then steps aside.
import { spawnSync } from 'node:child_process';
import { existsSync } from 'node:fs';
import { fileURLToPath } from 'node:url';

const NEEDED = 24;
const major = Number(process.versions.node.split('.')[0]);

if (major >= NEEDED) {
  const { main } = await import('./main.ts');
  await main(process.argv.slice(2));
} else {
  const carried = fileURLToPath(new URL('../node_modules/node/bin/node', import.meta.url));
  if (existsSync(carried)) {
    // The terminal's signals reach the whole process group; the child decides, we only wait for its exit status.
    for (const signal of ['SIGINT', 'SIGTERM', 'SIGHUP']) process.on(signal, () => undefined);
    const child = spawnSync(carried, [fileURLToPath(import.meta.url), ...process.argv.slice(2)], { stdio: 'inherit' });
    process.exitCode = child.status ?? 1;
  } else {
    const message = `Wardcast needs Node.js ${NEEDED} or newer, this is ${process.versions.node}`;
    const remedy = 'Run `npm ci` in the project folder, which brings one along, or install Node.js 24 from https://nodejs.org.';
    if (process.argv.includes('--json')) process.stdout.write(`${JSON.stringify({ error: { code: 'USAGE', message, remedy } })}\n`);
    else process.stderr.write(`wardcast: ${message}\n  ${remedy}\n`);
    process.exitCode = 2;
  }
}
