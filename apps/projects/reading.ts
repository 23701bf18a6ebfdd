import { createPublicKey } from 'node:crypto';
import { type API, AppError, invalid, LIMITS, type StoredProjectEvent } from '#libs/contracts';
import {
  type AsOf,
  decisionsOf,
  documentOf,
  exportProject,
  evolveProject,
  exportPublicKey,
  findPhase,
  historyHead,
  keyIdOf,
  listKeys,
  newKeyPair,
  phaseStateOf,
  type ProjectState,
  type PublicJwk,
  rotateKey,
  signingKey,
  trustKey,
  verifyHistory,
} from '#libs/projects';
import type { Handlers } from '#libs/service';
import { type Desk, nowOf, projectBody, tagged } from './desk.ts';
import { loadDocument } from './events.ts';
import { afterOf, listProjects } from './view.ts';

type ReadNames = 'list' | 'get' | 'asOf' | 'history' | 'decisions' | 'gate' | 'export' | 'verify';
type KeyNames = 'keys' | 'key' | 'rotateKey' | 'trustKey';

/** The handlers that change nothing. */
export function readingHandlers(desk: Desk): Pick<Handlers<typeof API.projects>, ReadNames> {
  const { projection, store } = desk;
  return {
    list: async ({ at_least, ...filter }) => {
      // What was stored before the question is in the answer, whoever stored it.
      await projection.catchUp({ timeoutMs: LIMITS.atLeastWaitMs });
      await projection.reflect(at_least);
      return projection.read((reader) => listProjects(reader, filter));
    },
    get: async ({ project_id: id, at_least = 0 }) => {
      const state = await store.demand(id);
      // Only others' events can lie between: what is asked for may be of another project.
      if (state.seq < at_least) await projection.reflect(at_least);
      const now = state.seq < at_least ? await store.demand(id) : state;
      return tagged(projectBody(desk, now), now.revision);
    },
    asOf: async ({ project_id: id, ...point }) => {
      const state = await stateAsOf(desk, id, pointOf(point));
      return projectBody(desk, state);
    },
    history: async ({ project_id: id, limit, cursor }) => {
      await store.demand(id);
      const found: StoredProjectEvent[] = [];
      for await (const events of store.events(id, afterOf(cursor) + 1)) {
        found.push(...events.slice(0, limit + 1 - found.length));
        if (found.length > limit) break;
      }
      const page = found.slice(0, limit);
      const last = page.at(-1)?.seq ?? 0;
      return { events: page, next_cursor: found.length > limit ? String(last) : null };
    },
    decisions: async ({ project_id: id }) => {
      await store.demand(id);
      const decisions = [];
      for await (const events of store.events(id)) decisions.push(...decisionsOf(events));
      return { decisions };
    },
    gate: async ({ project_id: id, phase_id }) => {
      const { document, revision } = await store.demand(id);
      const phase = findPhase(document, phase_id)?.phase;
      if (phase === undefined) {
        throw new AppError('PROJECT_PART_NOT_FOUND', { id, what: 'phase', part: phase_id });
      }
      const computed = phaseStateOf(phase, desk.engine.registry);
      const decision = phase.goNoGoDecision;
      return tagged({ project_id: id, ...computed, decision, revision }, revision);
    },
    export: ({ project_id, sign }) => exportOf(desk, project_id, sign),
    verify: ({ project_id, ...head }) => verificationOf(desk, project_id, head),
  };
}

/** @throws {SIGNING_KEY_NOT_FOUND} to be signed, and no key was made yet */
async function exportOf(desk: Desk, id: string, sign: boolean) {
  const state = await desk.store.demand(id);
  const key = sign ? signingKey(desk.keys.read()) : undefined;
  if (sign && key === undefined) throw new AppError('SIGNING_KEY_NOT_FOUND', { id: 'yet' });
  const { text, filename, hash } = exportProject(state.document, {
    now: nowOf(desk),
    appVersion: desk.version,
    key,
    history: historyHead(state),
  });
  return tagged({ text, filename, hash, key_id: key?.keyId ?? null }, state.revision);
}

async function verificationOf(
  desk: Desk,
  id: string,
  { entries, head }: { entries?: number | undefined; head?: string | undefined },
) {
  if ((entries === undefined) !== (head === undefined)) {
    throw invalid(head === undefined ? 'head' : 'entries', 'is needed with the other');
  }
  const events = await allEvents(desk, id);
  if (events.length === 0) throw new AppError('PROJECT_NOT_FOUND', { id });
  return verifyHistory(
    events,
    entries !== undefined && head !== undefined ? { entries, head } : undefined,
  );
}

/** The handlers of the signing keys. */
export function keyHandlers(desk: Desk): Pick<Handlers<typeof API.projects>, KeyNames> {
  const { keys } = desk;
  const infoOf = (keyId: string) => {
    const info = listKeys(keys.read()).find(({ key_id }) => key_id === keyId);
    if (info === undefined) throw new AppError('SIGNING_KEY_NOT_FOUND', { id: keyId });
    return info;
  };
  return {
    keys: async () => ({ keys: listKeys(keys.read()) }),
    key: async ({ key_id }) => ({ key_id, public_jwk: exportPublicKey(keys.read(), key_id) }),
    rotateKey: async () => {
      const pair = newKeyPair();
      const ring = keys.change((before) => rotateKey(before, pair, nowOf(desk)));
      return infoOf(ring.keys.at(-1)?.key_id ?? '');
    },
    trustKey: async ({ public_jwk: { kty, crv, x, y } }) => {
      const jwk = { kty, crv, x, y };
      if (!isOnCurve(jwk)) throw invalid('public_jwk', 'is no key of P-256');
      keys.change((before) => trustKey(before, jwk, nowOf(desk)));
      return infoOf(keyIdOf(jwk));
    },
  };
}

/** @throws {INVALID_REQUEST} not exactly one of both */
export function pointOf({ seq, at }: { seq?: number | undefined; at?: string | undefined }): AsOf {
  if (seq !== undefined && at === undefined) return { seq };
  if (at !== undefined && seq === undefined) return { at };
  throw invalid('seq', 'either seq or at is needed');
}

/** @throws {PROJECT_NOT_FOUND} it was not there then */
export async function stateAsOf(desk: Desk, id: string, point: AsOf): Promise<ProjectState> {
  const { broker, store } = desk;
  let state: ProjectState | undefined;
  for await (const events of store.events(id)) {
    for (const event of events.filter((one) => !isLater(one, point))) {
      const ref = documentOf(event);
      const document = ref && (await loadDocument(broker, ref));
      state = evolveProject(state, event, () => document);
    }
  }
  if (state !== undefined) return state;
  throw new AppError('PROJECT_NOT_FOUND', { id });
}

function isLater({ seq, timestamp }: StoredProjectEvent, point: AsOf): boolean {
  return 'seq' in point ? seq > point.seq : Date.parse(timestamp) > Date.parse(point.at);
}

function isOnCurve(key: PublicJwk): boolean {
  try {
    createPublicKey({ key: { ...key }, format: 'jwk' });
    return true;
  } catch {
    // The only answer that the library has for a point that is none.
    return false;
  }
}

async function allEvents({ store }: Desk, id: string): Promise<StoredProjectEvent[]> {
  const all: StoredProjectEvent[] = [];
  for await (const events of store.events(id)) all.push(...events);
  return all;
}
