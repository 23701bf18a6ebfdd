import { createHash } from 'node:crypto';
import { getObject, putObject } from '#libs/broker';
import { API, AppError, type InputOf, isAppError, LIMITS, type ObjectRef } from '#libs/contracts';
import { createAggregateStore, ledgerFilter, type Loaded, readFirst } from '#libs/eventlog';
import {
  completeRun,
  createRun,
  type Decision,
  dispatchRun,
  EMPTY_RUN,
  foldRun,
  type PlannedStep,
  planRun,
  type RunAggregate,
  runIdFor,
  type RunState,
} from '#libs/orders';
import {
  type Behaviour,
  checkRunSettings,
  command,
  type Commanded,
  type RoleContext,
  type Settings,
} from '#libs/runtime';
import canonicalize from 'canonicalize';
import { capsOf, filledFor, plannedSteps } from './planning.ts';
import { choosePlaybook, DEFAULT_PLAYBOOK, type Playbooks } from './playbooks.ts';
import { createRouting } from './routing.ts';

export type RunPlace = { run_id: string; theater_id: string };

const REPLY_PART_BYTES_MAX = 1024 * 1024;
const PLACES_CACHED = 10_000;

/** The commands on runs: each loads the run's events, decides, and appends what it decided. */
export type Runs = ReturnType<typeof createRuns>;

export function createRuns(context: RoleContext, playbooks: Playbooks, settings: Settings) {
  const { broker, log, client, config } = context;
  const store = createAggregateStore<RunAggregate>(broker, EMPTY_RUN, (agg, events) =>
    foldRun(events, agg),
  );
  const places = new Map<string, string>();
  const routing = createRouting(context);

  const filterOf = ({ run_id, theater_id }: RunPlace): string =>
    ledgerFilter({ garrison_id: config.garrisonId, theater_id, run_id });

  const load = (place: RunPlace, minSeq?: number): Promise<Loaded<RunAggregate>> =>
    store.load(filterOf(place), minSeq);

  const decide = (
    place: RunPlace,
    decision: (agg: RunAggregate) => Decision,
    minSeq?: number,
  ): Promise<Commanded<RunAggregate>> =>
    command(log, store, filterOf(place), ({ state }) => decision(state), minSeq);

  /** @throws {RUN_NOT_FOUND} no event of the run itself */
  const locate = async (runId: string): Promise<RunPlace> => {
    let theater = places.get(runId);
    if (theater === undefined) {
      const filter = ledgerFilter({
        garrison_id: config.garrisonId,
        run_id: runId,
        order_id: null,
      });
      const first = await readFirst(broker, filter);
      if (first?.theater_id == null)
        throw new AppError('RUN_NOT_FOUND', { id: runId }, { field: 'run_id' });
      theater = first.theater_id;
      if (places.size >= PLACES_CACHED) places.delete(places.keys().next().value as string);
      places.set(runId, theater);
    }
    return { run_id: runId, theater_id: theater };
  };

  const create = async (input: InputOf<typeof API.co.createRun>) => {
    const { objective, request_id, user_id = 'anonymous', autopilot } = input;
    const theaterId = input.theater_hint ?? config.defaultTheater;
    const named = input.playbook ?? settings.of({ theaterId }).playbook;
    const playbook = choosePlaybook(named, playbooks);
    if (input.settings !== undefined) checkRunSettings(input.settings);
    const runId =
      request_id === undefined
        ? log.defaults.newId()
        : runIdFor(config.garrisonId, theaterId, request_id);
    const place = { run_id: runId, theater_id: theaterId };
    const { governance, inputs, mission, variables, settings: own } = input;
    const request = {
      objective,
      theaterId,
      user_id,
      // As it was asked for: a newer version may have come when it is asked again.
      playbook: input.playbook ?? DEFAULT_PLAYBOOK,
      variables,
      settings: own,
      inputs,
      governance,
      mission,
      autopilot,
    };
    const requestDigest = sha256(canonicalize(request) ?? '');
    const { appended, loaded } = await decide(place, (agg) =>
      createRun(agg, {
        runId,
        theaterId,
        garrisonId: config.garrisonId,
        userId: user_id,
        objective,
        requestDigest,
        playbook: playbook.name,
        playbookVersion: playbook.version,
        autopilot,
        ...(request_id !== undefined && { requestId: request_id }),
        ...(variables && { variables }),
        ...(own && { settings: own }),
        ...(inputs && { inputs }),
        ...(governance && { governance }),
        ...(mission && { mission }),
      }),
    );
    const created = appended[0];
    return {
      ...place,
      status: loaded.state.run?.status ?? ('OPEN' as const),
      duplicate: created === undefined || created.duplicate,
      seq: created?.seq ?? loaded.seq,
    };
  };

  /** The settings that hold for a run. */
  const behaviour = (run: RunState): Behaviour => {
    const theaterId = run.theater_id ?? undefined;
    try {
      return settings.of({ theaterId, run: run.settings });
    } catch (error) {
      // Others may write what they like into RUN_CREATED; our own endpoint refuses it.
      if (!isAppError(error, 'INVALID_REQUEST')) throw error;
      context.logger.warn({ err: error, run_id: run.run_id }, 'settings of a run are ignored');
      return settings.of({ theaterId });
    }
  };

  /** Lets the theater's policy choose the profiles of steps. */
  const route = async (run: RunState, steps: readonly PlannedStep[]): Promise<PlannedStep[]> =>
    routing.apply(await routing.policyOf(run.theater_id ?? config.defaultTheater), run, steps);

  const plan = async (place: RunPlace, minSeq?: number) => {
    const policy = await routing.policyOf(place.theater_id);
    await decide(
      place,
      (agg) => {
        const { run } = agg;
        if (run === undefined || run.planned) return planRun(agg, [], { reply: [] });
        const ruling = behaviour(run);
        const book = filledFor(run, playbooks, ruling, Object.keys(config.profiles));
        const meta = { playbook: book.name, playbookVersion: book.version, reply: book.reply };
        const steps = routing.apply(policy, run, plannedSteps(book, run, ruling));
        return planRun(agg, steps, meta, capsOf(ruling));
      },
      minSeq,
    );
    const { state } = await load(place);
    const order_ids = [...state.orders.values()]
      .filter(({ created }) => created)
      .map(({ order_id }) => order_id);
    const dependencies = Object.fromEntries(
      order_ids.map((id) => [id, [...(state.orders.get(id)?.depends_on ?? [])]]),
    );
    return { run_id: place.run_id, order_ids, dependencies };
  };

  const dispatch = (place: RunPlace) => decide(place, dispatchRun);

  /** Reads the reply's files from the mainline, stores the reply, and ends the run. */
  const synthesize = async (place: RunPlace) => {
    const { state } = await load(place);
    const { run } = state;
    if (run?.status === 'FAILED' || run?.status === 'CANCELLED') {
      const why = run.reason ?? run.status;
      return { run_id: place.run_id, status: run.status, reply: `The run did not succeed: ${why}` };
    }
    if (run?.reply != null) {
      return { run_id: place.run_id, status: run.status, reply: await readReply(run.reply) };
    }
    // Refuses before any file is read, where the run is not ready.
    const early = completeRun(state, { reply: { sha256: '0'.repeat(64), bytes: 0 } });
    if (!early.ok) throw early.error;
    const text = await composeReply(state, place.theater_id);
    const reply = await putObject(broker, new TextEncoder().encode(text));
    const endedAt = log.defaults.now().getTime();
    const durationMs = Math.max(0, endedAt - Date.parse(run?.created_at ?? ''));
    await decide(place, (agg) => completeRun(agg, { reply, durationMs }));
    return { run_id: place.run_id, status: 'COMPLETE' as const, reply: text };
  };

  const composeReply = async (agg: RunAggregate, theaterId: string): Promise<string> => {
    const parts: string[] = [];
    for (const { order_id, path } of replyParts(agg)) {
      const commit_sha = agg.orders.get(order_id)?.integration?.commit_sha;
      const file = await client.call(API.vault.readFile, {
        theater_id: theaterId,
        path,
        ...(commit_sha !== undefined && { commit_sha }),
      });
      parts.push(file.text.slice(0, REPLY_PART_BYTES_MAX).trim());
    }
    return parts.join('\n\n');
  };

  const readReply = async (ref: ObjectRef): Promise<string> => {
    const bytes = await getObject(broker, ref.sha256, { maxBytes: LIMITS.artifactBytes });
    if (bytes === null) throw new AppError('ARTIFACT_NOT_FOUND', { path: `reply ${ref.sha256}` });
    return new TextDecoder().decode(bytes);
  };

  return { create, plan, dispatch, synthesize, load, decide, locate, behaviour, route };
}

/** The plan says which files; a run planned by others answers with all its artifacts. */
function replyParts({ run, orders }: RunAggregate): { order_id: string; path: string }[] {
  if (run !== undefined && run.reply_parts.length > 0) return [...run.reply_parts];
  return [...orders.values()].flatMap(({ order_id, artifacts }) =>
    artifacts.map(({ path }) => ({ order_id, path })),
  );
}

function sha256(text: string): string {
  return createHash('sha256').update(text).digest('hex');
}
