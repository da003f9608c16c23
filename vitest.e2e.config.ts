import { defineConfig } from 'vitest/config';

/** End-to-end: real processes in network namespaces. Started by test/run.ts, which provides the namespaces. */
export default defineConfig({
  test: {
    include: ['test/e2e/**/*.test.ts'],
    pool: 'forks',
    // test/run.ts gives each file namespaces of its own; two files in the same ones would take each other's addresses.
    fileParallelism: false,
    // Hang guards, not expectations.
    testTimeout: 180_000,
    hookTimeout: 180_000,
  },
});
