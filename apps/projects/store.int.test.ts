import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import path from 'node:path';
import { afterEach, beforeEach, describe, expect, test } from 'vitest';
import type { Broker } from '#libs/broker';
import {
  addComment,
  createEngine,
  createProject,
  heartbeat,
  type ProjectState,
  updateProject,
} from '#libs/projects';
import { openProjection, type Projection } from '#libs/projections';
import { startTestBroker, testLogger, type TestBroker } from '#libs/testing';
import { STREAMS } from '#streams';
import { followProjects } from './events.ts';
import { createProjectStore, type ProjectStore } from './store.ts';
import { projectsView, snapshotOf } from './view.ts';

let server: TestBroker;
let broker: Broker;
let folder: string;
let projection: Projection;
beforeEach(async () => {
  server = await startTestBroker({ streams: STREAMS });
  broker = await server.connect();
  folder = await mkdtemp(path.join(tmpdir(), 'ironclaw-projects-'));
  projection = await openView('a');
});
afterEach(async () => {
  await projection.close();
  await server[Symbol.asyncDispose]();
  await rm(folder, { recursive: true, force: true });
});

const engine = createEngine();
const author = { actorId: 'kim', now: '2026-03-04T05:06:07.008Z' };

function openView(name: string): Promise<Projection> {
  const logger = testLogger();
  return openProjection({ ...followProjects(broker), folder, name, views: [projectsView], logger });
}

/** A store that remembers nothing; `snapshots` counts what the view gave it. */
function freshStore(): ProjectStore & { snapshots: () => number } {
  let snapshots = 0;
  const store = createProjectStore(broker, (id) => {
    const found = projection.read((reader) => snapshotOf(reader, id));
    if (found !== undefined) snapshots += 1;
    return found;
  });
  return { ...store, snapshots: () => snapshots };
}

async function create(store: ProjectStore, projectId: string): Promise<ProjectState> {
  const command = { ...author, projectId, garrisonId: 'test', name: 'One', deviceId: 'laptop' };
  const { state } = await store.command(projectId, undefined, (before) =>
    createProject(before, { ...command, governanceMode: 'team', planId: 'cpmai' }, engine),
  );
  return state;
}
const rename = (store: ProjectStore, id: string, name: string) =>
  store.command(id, undefined, (state) =>
    updateProject(state as ProjectState, { ...author, name }),
  );

describe('a project in the store', () => {
  test('is what its events make of it: by memory, by snapshot, from the start', async () => {
    const store = freshStore();
    await create(store, 'p-1');
    for (let n = 0; n < 30; n += 1) await rename(store, 'p-1', `name ${n}`);
    await store.command('p-1', undefined, (state) =>
      heartbeat(state as ProjectState, { ...author, agentId: 'agent-1' }),
    );
    const kept = await store.load('p-1');
    await projection.catchUp({ timeoutMs: 20_000 });
    const bySnapshot = freshStore();
    expect(await bySnapshot.load('p-1')).toEqual(kept);
    expect(bySnapshot.snapshots()).toBe(1);
    const fromStart = createProjectStore(broker, () => undefined);
    expect(await fromStart.load('p-1')).toEqual(kept);
  });

  test('after a snapshot only what is newer is read, however long the history', async () => {
    const store = freshStore();
    await create(store, 'p-2');
    for (let n = 0; n < 50; n += 1) await rename(store, 'p-2', `name ${n}`);
    await projection.catchUp({ timeoutMs: 20_000 });
    const next = freshStore();
    const asked: unknown[] = [];
    const subscription = (await server.connect()).nc.subscribe('$JS.API.DIRECT.GET.PROJECTS', {
      callback: (_error, msg) => void asked.push(msg.json()),
    });
    await broker.nc.flush();
    const { seq = 0 } = (await next.load('p-2')) ?? {};
    await rename(next, 'p-2', 'last');
    subscription.unsubscribe();
    // Every read began behind the snapshot.
    for (const query of asked) expect((query as { seq: number }).seq).toBeGreaterThan(seq);
  });

  test('keeps what writers at once have written, one after the other', async () => {
    const store = freshStore();
    const { document } = await create(store, 'p-3');
    const artifactId = document.phases[0]?.artifacts[0]?.id ?? '';
    const write = (commentId: string) =>
      store.command('p-3', undefined, (state) => {
        const comment = { artifactId, commentId, commentType: 'advisory' as const };
        return addComment(state as ProjectState, { ...author, ...comment, content: 'Why?' });
      });
    const ids = Array.from({ length: 16 }, (_, n) => `c-${n}`);
    await Promise.all(ids.map(write));
    const { document: now, chain } = await store.demand('p-3');
    const comments = now.phases[0]?.artifacts[0]?.comments ?? [];
    expect(new Set(comments.map(({ id }) => id))).toEqual(new Set(ids));
    expect(chain.entries).toBe(17);
  });

  test('views are equal row for row, built at once or event by event', async () => {
    const store = freshStore();
    for (const id of ['p-4', 'p-5']) {
      await create(store, id);
      await rename(store, id, 'New');
      await store.command(id, undefined, (state) =>
        heartbeat(state as ProjectState, { ...author, agentId: 'agent-1' }),
      );
      await rename(store, id, 'Newer');
    }
    const second = await openView('b');
    try {
      for (const view of [projection, second]) await view.catchUp({ timeoutMs: 20_000 });
      expect(await second.digest()).toEqual(await projection.digest());
    } finally {
      await second.close();
    }
  });
});
