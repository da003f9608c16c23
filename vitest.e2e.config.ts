import { defineConfig } from 'vitest/config';

/** End-to-end: real processes in network namespaces. Started by test/run.ts, which provides the namespaces. */
export default defineConfig({
  test: {
    include: ['test/e2e/**/*.test.ts'],
    pool: 'forks',
    // Two cores: worlds of eight processes each would only disturb one another.
    fileParallelism: false,
    // Hang guards, not expectations.
    testTimeout: 180_000,
    hookTimeout: 180_000,
  },
});
