import {
  API,
  AppError,
  type DraftContent,
  type Governance,
  isAppError,
  LIMITS,
  type StoredEvent,
} from '#libs/contracts';
import { startReactor } from '#libs/eventlog';
import { heartbeat, type ProjectDecision, type ProjectState, proposeDraft } from '#libs/projects';
import { createGovernance, createOrderCommands, type RoleContext } from '#libs/runtime';
import type { ProjectStore } from './store.ts';

/** Who an order's agent is where its plan names no profile. */
const NO_PROFILE = 'executor_default';

/**
 * Where execution meets governance: what units of an order tell counts as a sign of life of its agent
 * in the project that the order belongs to, and what of it is integrated becomes a draft there. An
 * agent is a profile: units come and go with each attempt.
 */
export function startBridge(context: RoleContext, store: ProjectStore) {
  const { broker, config, log, logger } = context;
  const governanceOf = createGovernance(broker, config.garrisonId);
  const orders = createOrderCommands(log);

  const handle = async (event: StoredEvent): Promise<void> => {
    const { theater_id, order_id, seq } = event;
    if (theater_id === null || order_id === null) return;
    const governance = await governanceOf(event);
    if (governance === undefined) return;
    const { profile } = await orders.load({ theater_id, order_id }, seq);
    const agentId = (profile?.name ?? NO_PROFILE).replaceAll('.', '_');
    try {
      await tell(store, governance, agentId, event.ts);
      if (event.type === 'INTEGRATED') {
        await propose(context, store, { governance, agentId, event, theater_id, order_id });
      }
    } catch (error) {
      // Nothing that waiting mends: the project or its part is not there, or it is full.
      if (!isAppError(error, ...SETTLED)) throw error;
      logger.warn({ code: error.code, order_id, ...governance }, 'not told to the project');
    }
  };

  return startReactor(broker, {
    name: 'projects',
    logger,
    types: ['ORDER_CLAIMED', 'ORDER_STARTED', 'UNIT_SIGNAL', 'INTEGRATED'],
    key: ({ order_id }) => order_id ?? '',
    handle,
  });
}

const SETTLED = [
  'PROJECT_NOT_FOUND',
  'PROJECT_PART_NOT_FOUND',
  'PAYLOAD_TOO_LARGE',
  'INVALID_REQUEST',
] as const;

/** Told once for the same event: a sign of life is no newer for being handled again. */
async function tell(
  store: ProjectStore,
  { project_id: id }: Governance,
  agentId: string,
  ts: string,
): Promise<void> {
  const now = new Date(ts).toISOString();
  await store.command(id, undefined, (state) => {
    if (state === undefined) return missing(id);
    const { linkedAgentIds, lastAgentHeartbeat } = state.document.openclaw;
    const known = linkedAgentIds.includes(agentId) && (lastAgentHeartbeat ?? '') >= now;
    return known ? nothingNew(state) : heartbeat(state, { actorId: agentId, agentId, now });
  });
}

type Integrated = {
  governance: Governance;
  agentId: string;
  event: StoredEvent;
  theater_id: string;
  order_id: string;
};

/** Proposes what the files of an integrated order hold; a person accepts it or does not. */
async function propose(
  { client, log }: RoleContext,
  store: ProjectStore,
  { governance, agentId, event, theater_id, order_id }: Integrated,
): Promise<void> {
  const { commit_sha } = event.payload as { commit_sha?: string };
  for (const [pattern, artifactId] of Object.entries(governance.artifacts ?? {})) {
    const path = pattern.replaceAll('{{run_id}}', event.run_id ?? '');
    const where = { theater_id, path, ...(commit_sha !== undefined && { commit_sha }) };
    const file = await readFile(client, where);
    // The mapping of a run is of all its orders: this one may not have made that file.
    if (file === undefined) continue;
    const content = contentOf(file, path);
    const now = log.defaults.now().toISOString();
    const id = governance.project_id;
    await store.command(id, undefined, (state) =>
      state === undefined
        ? missing(id)
        : proposeDraft(state, {
            actorId: agentId,
            agentId,
            artifactId,
            draftId: order_id,
            content,
            now,
          }),
    );
  }
}

async function readFile(
  client: RoleContext['client'],
  where: { theater_id: string; path: string; commit_sha?: string },
): Promise<string | undefined> {
  try {
    return (await client.call(API.vault.readFile, where)).text;
  } catch (error) {
    if (isAppError(error, 'ARTIFACT_NOT_FOUND')) return undefined;
    throw error;
  }
}

/** A JSON object fills fields; anything else is a rationale, cut where it is too long for one. */
function contentOf(text: string, path: string): DraftContent {
  const fields = path.endsWith('.json') ? objectIn(text) : undefined;
  if (fields !== undefined) return { field_values: fields };
  const points = Array.from(text);
  if (points.length <= LIMITS.projectTextChars) return { rationale: text };
  const end = `\n[cut; the whole is ${path}]`;
  return { rationale: points.slice(0, LIMITS.projectTextChars - end.length).join('') + end };
}

function objectIn(text: string): Record<string, unknown> | undefined {
  try {
    const value: unknown = JSON.parse(text);
    if (typeof value !== 'object' || value === null || Array.isArray(value)) return undefined;
    return value as Record<string, unknown>;
  } catch {
    // A file of that name that is no JSON is taken as text.
    return undefined;
  }
}

function missing(id: string): ProjectDecision {
  return { ok: false, error: new AppError('PROJECT_NOT_FOUND', { id }) };
}

function nothingNew({ revision }: ProjectState): ProjectDecision {
  return { ok: true, events: [], expect: revision, documents: [], warnings: [] };
}
