import { configDefaults, defineConfig } from 'vitest/config';

export default defineConfig({
  test: {
    include: ['**/*.unit.test.ts', '**/*.int.test.ts', 'test/**/*.test.ts'],
    exclude: [...configDefaults.exclude, '**/.ironclaw/**'],
    pool: 'forks',
    maxWorkers: 2,
    testTimeout: 30_000,
    hookTimeout: 30_000,
  },
});
