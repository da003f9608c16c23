// What npm runs after an installation: builds the daemons where that is possible. Where it is not (without development packages, say), they run from their sources.
const NEEDED = 24;
try {
  if (Number(process.versions.node.split('.')[0]) < NEEDED) throw new Error(`this is Node ${process.versions.node}`);
  await import('rolldown');
} catch (error) {
  process.stderr.write(`wardcast: the daemons were not built (${error.message}); they run from their sources.\n`);
  process.exit(0);
}
await import('./build.ts');
