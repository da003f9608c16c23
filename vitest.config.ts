import { defineConfig } from 'vitest/config';

export default defineConfig({
  test: {
    include: ['test/**/*.test.ts'],
    exclude: ['test/e2e/**', 'test/fixtures/**'],
    pool: 'forks',
    // Hang guards, not expectations: the machine may be slow.
    testTimeout: 60_000,
    hookTimeout: 60_000,
  },
});
