import { accept, refuse, type Result } from './result.ts';

/** What this host speaks. Source: reference §0 and §1.3. */
export const CONTRACT_VERSION = '1.3.0';
export const MIN_PROVIDER_VERSION = '0.1.0';

const VERSION =
  /^v?(?:\d+!)?(\d+(?:\.\d+)*)(?:[-_.]?(a|b|c|rc|alpha|beta|pre|preview)[-_.]?\d*)?(?:-\d+|[-_.]?(?:post|rev|r)[-_.]?\d*)?([-_.]?dev[-_.]?\d*)?(?:\+[a-z0-9]+(?:[-_.][a-z0-9]+)*)?$/i;

/** CONTRACT_VERSION_MISMATCH for a provider below 0.1.0 by PEP 440, or no version at all. */
export function checkProvider(version: string | undefined): Result<undefined> {
  if (version === undefined || isEnough(version.trim())) return accept(undefined);
  return refuse('CONTRACT_VERSION_MISMATCH', {
    provider_version: version,
    min_supported_provider_version: MIN_PROVIDER_VERSION,
    api_version: CONTRACT_VERSION,
  });
}

function isEnough(version: string): boolean {
  const [whole, release = '', pre, dev] = VERSION.exec(version) ?? [];
  if (whole === undefined) return false;
  if (/^v?0*[1-9]\d*!/i.test(version)) return true;
  const order = compareRelease(release, MIN_PROVIDER_VERSION);
  return order > 0 || (order === 0 && pre === undefined && dev === undefined);
}

function compareRelease(a: string, b: string): number {
  const [left, right] = [a, b].map((text) => text.split('.').map(Number));
  const length = Math.max(left?.length ?? 0, right?.length ?? 0);
  for (let i = 0; i < length; i += 1) {
    const difference = (left?.[i] ?? 0) - (right?.[i] ?? 0);
    if (difference !== 0) return difference;
  }
  return 0;
}
