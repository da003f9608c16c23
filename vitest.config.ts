import { defineConfig } from 'vitest/config';

export default defineConfig({
  test: {
    include: ['test/**/*.test.ts'],
    exclude: ['test/e2e/**', 'test/fixtures/**'],
    pool: 'forks',
    // Twice the cores: many tests wait for processes and clocks, and the default leaves a core idle, which is half of a small machine.
    maxWorkers: '200%',
    // Hang guards, not expectations: the machine may be slow.
    testTimeout: 60_000,
    hookTimeout: 60_000,
  },
});
