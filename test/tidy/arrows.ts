import path from 'node:path';

/** The rooms a library may import besides libs/contracts; one not named may import no other. */
const LIBRARY_ARROWS: Record<string, string[]> = {
  'libs/broker': ['streams'],
  'libs/eventlog': ['libs/broker'],
  'libs/projections': ['libs/eventlog'],
  // Both send to servers of others; what they send is checked by a gate that they are given.
  'libs/dossier': [],
  'libs/tracker': [],
  // Lanes of missions as worktrees of git.
  'libs/workspaces': ['libs/missions', 'libs/worktrees'],
  'libs/feeds': ['libs/signing'],
  // The edge of libs/missions: stream, clock, identity of a checkout, contract file.
  'libs/missionlog': ['libs/broker', 'libs/eventlog', 'libs/missions', 'streams'],
  // Endpoints are answered over NATS too.
  'libs/service': ['libs/broker'],
  'libs/outbox': ['libs/broker', 'libs/projections', 'libs/signing', 'streams'],
  // What every role stands on: it brings the others together.
  'libs/runtime': [
    'libs/broker',
    'libs/eventlog',
    'libs/learning',
    'libs/orders',
    'libs/projections',
    'libs/projects',
    'libs/service',
    'libs/telemetry',
    'libs/worktrees',
    'streams',
  ],
};

/** Libraries of pure rules, and the packages they may use (node:crypto to derive ids). */
const PURE: Record<string, string[]> = {
  'libs/contracts': ['zod'],
  'libs/orders': ['node:crypto'],
  'libs/learning': [],
  'libs/missions': ['node:crypto'],
  'libs/projects': ['node:crypto'],
  'libs/feeds': ['node:crypto'],
  'libs/signing': ['node:crypto'],
};

/** Single imports that are right although no arrow allows them: importer, imported. */
const EXCEPTIONS: [RegExp, RegExp][] = [
  [/^(libs\/broker|apps\/cli)\//, /^deploy\/bootstrap\/nats-server\.mjs$/],
  [/^deploy\//, /^deploy\/bootstrap\/[^/]+\.mjs$/],
  [/^apps\/cli\/env\.ts$/, /^package\.json$/],
  [/^apps\/cli\/launch\.cjs$/, /^deploy\/bootstrap\/find-node\.cjs$/],
  [/^apps\/cli\/roles\.ts$/, /^apps\/[^/]+\/role\.ts$/],
  [/^deploy\/docs\//, /^libs\/(contracts|orders|runtime|service)\/mod\.ts$/],
];

/**
 * Why `importer` (a path from the repository's root) may not import `specifier`, or undefined if
 * it may.
 */
export function refusal(importer: string, specifier: string): string | undefined {
  const from = roomOf(importer);
  const target = resolve(importer, specifier);
  if (target === undefined) return packageRefusal(importer, from, specifier);
  const to = roomOf(target);
  if (from === to || from === 'test' || !importer.includes('/')) return undefined;
  if (EXCEPTIONS.some(([who, what]) => who.test(importer) && what.test(target))) return undefined;
  if (!isFrontDoor(target, from)) return `${target} is not a front door`;
  return mayEnter(importer, from, to) ? undefined : `${from} may not import ${to}`;
}

function packageRefusal(importer: string, from: string, name: string): string | undefined {
  const allowed = PURE[from];
  if (allowed === undefined || isTest(importer) || allowed.includes(name)) return undefined;
  return `${from} holds pure rules and may not import ${name}`;
}

function mayEnter(importer: string, from: string, to: string): boolean {
  const library = /^libs\/(.*)$/.exec(to)?.[1];
  if (isTest(importer)) return library !== undefined || to === 'streams';
  if (library === 'testing' || from === 'apps/console') return false;
  if (from.startsWith('apps/') || from === 'libs/testing') {
    return library !== undefined || to === 'streams';
  }
  if (library === 'contracts') return from.startsWith('libs/') || from === 'streams';
  return LIBRARY_ARROWS[from]?.includes(to) === true;
}

/** Rooms are entered by mod.ts; libraries may also use one another's internal.ts. */
function isFrontDoor(target: string, from: string): boolean {
  const name = path.posix.basename(target);
  const depth = target.split('/').length;
  if (target === 'streams/mod.ts') return true;
  if (!target.startsWith('libs/') || depth !== 3) return false;
  return name === 'mod.ts' || (name === 'internal.ts' && from.startsWith('libs/'));
}

/** `libs/orders` of `libs/orders/decide.ts`, `streams` of `streams/ledger.ts`. */
function roomOf(file: string): string {
  const [top = '', next = ''] = file.split('/');
  return ['apps', 'libs', 'deploy'].includes(top) ? `${top}/${next}` : top;
}

/** The file that a specifier names, or undefined for a package or a part of Node. */
function resolve(importer: string, specifier: string): string | undefined {
  const library = /^#libs\/(.*)$/.exec(specifier)?.[1];
  if (library !== undefined) return `libs/${library}/mod.ts`;
  if (specifier === '#streams') return 'streams/mod.ts';
  if (!specifier.startsWith('.')) return undefined;
  return path.posix.join(path.posix.dirname(importer), specifier);
}

function isTest(file: string): boolean {
  return file.endsWith('.test.ts') || file.includes('/testdata/');
}
