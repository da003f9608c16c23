import { defineConfig } from 'vitest/config';

export default defineConfig({
  test: {
    include: ['test/**/*.test.ts'],
    exclude: ['test/e2e/**', 'test/fixtures/**'],
    pool: 'forks',
    // All cores: the default leaves one idle, which is half of a small machine.
    maxWorkers: '100%',
    // Hang guards, not expectations: the machine may be slow.
    testTimeout: 60_000,
    hookTimeout: 60_000,
  },
});
