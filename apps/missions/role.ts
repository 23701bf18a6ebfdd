import { join } from 'node:path';
import { API, AppError, LIMITS } from '#libs/contracts';
import { loadGate, type MissionLog, openClock, openMissionLog } from '#libs/missionlog';
import type { Gate } from '#libs/missions';
import { uuidOf } from '#libs/dossier';
import { streamTail } from '#libs/eventlog';
import {
  followFacts,
  healthHandler,
  openOwnView,
  type RoleContext,
  type RunningRole,
} from '#libs/runtime';
import { defineService, parseJson } from '#libs/service';
import { MISSIONS } from '#streams';
import { findArtifact, isContent, listArtifacts, listDossiers } from './dossier-read.ts';
import { liveBodies } from './dossier-live.ts';
import { checkedBodies } from './dossier-outgoing.ts';
import { dossierView } from './dossier-view.ts';
import { recordBatch } from './batch.ts';
import { findBoard, listBoards, listHistory, listWorkPackages } from './board-read.ts';
import { boardView } from './board-view.ts';
import { missionDecoder } from './events.ts';
import { liveEvents } from './live.ts';
import { recordOrigin } from './origin.ts';
import { checkedPage } from './outgoing.ts';
import { readRun, requestRetry, requestRun } from './run-request.ts';
import { startRunner } from './runner.ts';
import { checkUpload, readContent, receive } from './receive.ts';

/** Keeps what missions consist of: the dossiers of their artifacts. */
export async function start(context: RoleContext): Promise<RunningRole> {
  const { broker } = context;
  const gate = loadGate(context.env);
  const decode = missionDecoder(gate);
  const logs = openLogs(context, gate);
  const log = logs.of(uuidOf(`garrison ${context.config.garrisonId}`));
  const followed = followFacts(broker, { stream: MISSIONS.name, decode });
  const projection = await openOwnView(context, 'missions', followed, [dossierView, boardView]);
  const receiver = { ...context, projection, log };
  const contentOf = async (hash: string, path: string) => {
    const content = await readContent(context, hash);
    if (content !== undefined) return content;
    throw new AppError('ARTIFACT_NOT_FOUND', { path });
  };

  const service = defineService(API.missions, {
    recordEvents: async (request, ctx) => {
      const answer = await recordBatch({ log, projection }, request, ctx);
      return { status: 200, body: { ...answer, seq: await streamTail(broker, MISSIONS.name) } };
    },
    boards: async ({ at_least, ...filter }) => {
      await projection.reflect(at_least);
      return projection.read((reader) => listBoards(reader, filter));
    },
    board: async ({ at_least, ...key }) => {
      await projection.reflect(at_least);
      const look = () => projection.read((reader) => findBoard(reader, key));
      const found = look();
      const { run, version } = await readRun(logs.of(key.project_uuid), key.mission_slug);
      if (run === null || version <= found.as_of) return { ...found, run };
      // Where it stands is told of the stream itself, and the rest must not be older.
      await projection.reflect(version);
      return { ...look(), run };
    },
    workPackages: async ({ at_least, ...input }) => {
      await projection.reflect(at_least);
      return projection.read((reader) => listWorkPackages(reader, input, input));
    },
    history: async ({ at_least, ...input }) => {
      await projection.reflect(at_least);
      const page = projection.read((reader) => listHistory(reader, input, input));
      return { ...page, ...checkedPage(gate, page.history) };
    },
    run: async (input) => {
      await projection.catchUp({ timeoutMs: LIMITS.atLeastWaitMs });
      // A log is kept open for each project: only for those that have missions.
      projection.read((reader) => findBoard(reader, input));
      return requestRun(logs.of(input.project_uuid), input);
    },
    retry: async (input) => {
      await projection.catchUp({ timeoutMs: LIMITS.atLeastWaitMs });
      projection.read((reader) => findBoard(reader, input));
      return requestRetry(logs.of(input.project_uuid), input);
    },
    stream: (input, ctx) => liveEvents(broker, decode, input, ctx.signal),
    pushContent: async ({ body }) => {
      const upload = checkUpload(parseJson(body), gate);
      const { status, seq } = await receive(receiver, upload);
      const { artifact_path, content_hash } = upload;
      return {
        status: status === 'stored' ? 201 : 200,
        body: { status, artifact_path, content_hash, seq },
      };
    },
    dossiers: async ({ at_least, ...filter }) => {
      await projection.reflect(at_least);
      const page = projection.read((reader) => listDossiers(reader, filter));
      const { shown: dossiers, withheld } = checkedBodies(gate, page.dossiers);
      return { ...page, dossiers, withheld };
    },
    dossierStream: (input, ctx) => liveBodies({ broker, decode, gate }, input, ctx.signal),
    artifacts: async ({ at_least, limit, cursor, ...where }) => {
      await projection.reflect(at_least);
      const page = projection.read((reader) => listArtifacts(reader, where, { limit, cursor }));
      const { shown: artifacts, withheld } = checkedBodies(gate, page.artifacts);
      return { ...page, artifacts, withheld };
    },
    artifact: async ({ at_least, path, content_hash, ...where }) => {
      await projection.reflect(at_least);
      const found = projection.read((reader) => findArtifact(reader, where, path, content_hash));
      const content = await contentOf(found.content_hash, path);
      const body = { ...found, ...content, hash_algorithm: 'sha256' as const };
      gate.body('http out', body);
      return body;
    },
    content: async ({ sha256 }) => {
      const look = (): boolean => projection.read((reader) => isContent(reader, sha256));
      const late = { timeoutMs: LIMITS.atLeastWaitMs };
      const known = look() || (await projection.catchUp(late).then(look));
      if (!known) throw new AppError('ARTIFACT_NOT_FOUND', { path: sha256 });
      return { sha256: sha256.slice(-64), ...(await contentOf(sha256, sha256)) };
    },
    recordOrigin: (origin) => recordOrigin(log, origin),
    health: healthHandler(context, 'missions'),
  });
  const runner = startRunner({ context, projection, logOf: logs.of });
  return {
    service,
    close: async () => {
      await runner.stop();
      logs.close();
      await projection.close();
    },
  };
}

/** The logs of projects, as this garrison writes to them. */
function openLogs({ broker, config }: RoleContext, gate: Gate) {
  const { garrisonId, stateDir } = config;
  const buildId = uuidOf(`garrison ${garrisonId}`);
  const clock = openClock(join(stateDir, 'missions', 'clock.json'), garrisonId, () => new Date());
  const open = new Map<string, MissionLog>();
  const of = (projectUuid: string): MissionLog => {
    const known = open.get(projectUuid);
    if (known !== undefined) return known;
    const emitter = { projectUuid, nodeId: garrisonId, buildId };
    const log = openMissionLog({ broker, gate, emitter, clock });
    open.set(projectUuid, log);
    return log;
  };
  const close = (): void => {
    for (const log of open.values()) log.close();
  };
  return { of, close };
}
