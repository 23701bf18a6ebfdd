import { configDefaults, defineConfig } from 'vitest/config';

export default defineConfig({
  test: {
    include: ['**/*.unit.test.ts', '**/*.int.test.ts', 'test/**/*.test.ts'],
    // Container tests need an engine and minutes: they have their own command.
    exclude: [...configDefaults.exclude, '**/.ironclaw/**', 'test/containers/**'],
    pool: 'forks',
    maxWorkers: 2,
    testTimeout: 30_000,
    hookTimeout: 30_000,
  },
});
