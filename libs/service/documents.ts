import type { Page } from './dispatch.ts';
export function documentPages(_options: unknown): [string, Page][] {
  return [];
}
