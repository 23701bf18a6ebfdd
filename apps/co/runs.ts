import { createHash } from 'node:crypto';
import { getObject, putObject } from '#libs/broker';
import {
  API,
  AppError,
  type InputOf,
  LIMITS,
  type ObjectRef,
  type Playbook,
} from '#libs/contracts';
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
} from '#libs/orders';
import { command, type Commanded, type RoleContext } from '#libs/runtime';
import canonicalize from 'canonicalize';
import { choosePlaybook, fillPlaybook, inputPath } from './playbooks.ts';
import { MESSAGE_ELSEWHERE } from './order-files.ts';

export type RunPlace = { run_id: string; theater_id: string };

const REPLY_PART_BYTES_MAX = 1024 * 1024;
const PLACES_CACHED = 10_000;

/** The commands on runs: each loads the run's events, decides, and appends what it decided. */
export type Runs = ReturnType<typeof createRuns>;

export function createRuns(context: RoleContext, playbooks: ReadonlyMap<string, Playbook>) {
  const { broker, log, client, config } = context;
  const store = createAggregateStore<RunAggregate>(broker, EMPTY_RUN, (agg, events) =>
    foldRun(events, agg),
  );
  const places = new Map<string, string>();

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
    const playbook = choosePlaybook(input, playbooks);
    const theaterId = input.theater_hint ?? config.defaultTheater;
    const runId =
      request_id === undefined
        ? log.defaults.newId()
        : runIdFor(config.garrisonId, theaterId, request_id);
    const place = { run_id: runId, theater_id: theaterId };
    const { inputs, variables } = input;
    const request = {
      objective,
      theaterId,
      user_id,
      playbook: playbook.name,
      variables,
      inputs,
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
        autopilot,
        ...(request_id !== undefined && { requestId: request_id }),
        ...(variables && { variables }),
        ...(inputs && { inputs }),
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

  const plan = async (place: RunPlace, minSeq?: number) => {
    await decide(
      place,
      (agg) => {
        const { run } = agg;
        if (run === undefined || run.planned) return planRun(agg, [], { reply: [] });
        const book = fillPlaybook(
          choosePlaybook(run, playbooks),
          {
            ...run.variables,
            objective: run.objective ?? '',
            run_id: run.run_id,
            message: MESSAGE_ELSEWHERE,
          },
          run.inputs.map(({ name }) => name),
        );
        return planRun(
          agg,
          book.steps.map((step) => plannedStep(step, run.inputs, run.run_id)),
          {
            playbook: book.name,
            playbookVersion: book.version,
            reply: book.reply,
          },
        );
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

  return { create, plan, dispatch, synthesize, load, decide, locate };
}

/** The plan says which files; a run planned by others answers with all its artifacts. */
function replyParts({ run, orders }: RunAggregate): { order_id: string; path: string }[] {
  if (run !== undefined && run.reply_parts.length > 0) return [...run.reply_parts];
  return [...orders.values()].flatMap(({ order_id, artifacts }) =>
    artifacts.map(({ path }) => ({ order_id, path })),
  );
}

function plannedStep(
  step: Playbook['steps'][number],
  inputs: readonly { name: string; sha256: string; bytes: number }[],
  runId: string,
): PlannedStep {
  const { key, type, objective, constraints, depends_on, prompt, outputs, gate_profile } = step;
  return {
    key,
    type,
    objective,
    constraints,
    depends_on,
    prompt,
    outputs,
    gate_profile,
    profile: { name: step.profile, model: 'default' },
    inputs: inputs.map(({ name, ...ref }) => ({ name: inputPath(runId, name), ...ref })),
  };
}

function sha256(text: string): string {
  return createHash('sha256').update(text).digest('hex');
}
