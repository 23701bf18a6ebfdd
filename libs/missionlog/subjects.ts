/** Name of the stream that holds mission events. */
export const MISSION_STREAM = 'MISSIONS';
const PREFIX = 'mis.v1';

/** Aggregate of everything that is decided about a mission: one literal subject for all of it. */
const BOARD = 'board';

/** Every character that a token may not hold is written as `=` and its UTF-8 in hex. */
function token(text: string): string {
  if (text === '') throw new Error('an empty name cannot be part of a subject');
  return text.replace(/[^A-Za-z0-9_-]/gu, (char) =>
    [...Buffer.from(char)].map((byte) => `=${byte.toString(16).padStart(2, '0')}`).join(''),
  );
}

/**
 * The literal subject of a mission's events, `mis.v1.<project>.<mission>.board`: every writer uses
 * this one string, so compare-and-set on it is safe on one server and on three.
 */
export function missionSubject(projectUuid: string, slug: string): string {
  return [PREFIX, token(projectUuid), token(slug), BOARD].join('.');
}

/** All missions' events of a project. */
export function projectFilter(projectUuid: string): string {
  return `${PREFIX}.${token(projectUuid)}.*.${BOARD}`;
}

/** The events of all missions of all projects. */
export const BOARDS_FILTER = `${PREFIX}.*.*.${BOARD}`;

/** The project and mission of a mission's subject; undefined: it is none. */
export function parseMissionSubject(
  subject: string,
): { projectUuid: string; slug: string } | undefined {
  const [plane, version, project = '', mission = '', aggregate, ...rest] = subject.split('.');
  if (`${plane}.${version}` !== PREFIX || aggregate !== BOARD || rest.length > 0) return undefined;
  const [projectUuid, slug] = [untoken(project), untoken(mission)];
  if (projectUuid === undefined || slug === undefined) return undefined;
  return { projectUuid, slug };
}

function untoken(text: string): string | undefined {
  if (!/^([A-Za-z0-9_-]|=[0-9a-f]{2})+$/.test(text)) return undefined;
  try {
    return decodeURIComponent(text.replaceAll('=', '%'));
  } catch {
    // Bytes that are no UTF-8: nobody here has written them.
    return undefined;
  }
}
