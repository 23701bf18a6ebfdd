import { API } from '#libs/contracts';
import {
  healthHandler,
  loadEngine,
  openOwnView,
  type ProjectPolicy,
  type RoleContext,
  type RunningRole,
  stateLayout,
} from '#libs/runtime';
import { defineService } from '#libs/service';
import { startBridge } from './bridge.ts';
import { commandHandlers } from './commands.ts';
import type { Desk } from './desk.ts';
import { followProjects } from './events.ts';
import { takeIn } from './importing.ts';
import { openKeyFile } from './key-file.ts';
import { keyHandlers, readingHandlers } from './reading.ts';
import { createProjectStore } from './store.ts';
import { projectsView, snapshotOf } from './view.ts';

/** Governed projects: phases, artifacts, gates, and who decided what. */
export async function start(context: RoleContext): Promise<RunningRole> {
  const { broker, config } = context;
  const layout = stateLayout(config.stateDir);
  const engine = loadEngine(config.planDirs);
  const keys = openKeyFile(layout.projectKeys);
  const followed = followProjects(broker);
  const projection = await openOwnView(context, 'projects', followed, [projectsView]);
  try {
    const store = createProjectStore(broker, (id) =>
      projection.read((reader) => snapshotOf(reader, id)),
    );
    const policy = policyOf(config.projects);
    const desk: Desk = { ...context, store, projection, engine, keys, policy };
    const service = defineService(API.projects, {
      ...commandHandlers(desk),
      ...readingHandlers(desk),
      ...keyHandlers(desk),
      import: (input, ctx) => takeIn(desk, input, ctx),
      health: healthHandler(context, 'projects'),
    });
    const bridge = startBridge(context, store);
    const close = async (): Promise<void> => {
      await bridge.stop();
      await projection.close();
    };
    return { service, close };
  } catch (error) {
    await projection.close();
    throw error;
  }
}

function policyOf({ waiversPerPhaseMax, goAfterNoGo }: ProjectPolicy) {
  return { goAfterNoGo, ...(waiversPerPhaseMax > 0 && { waiversPerPhaseMax }) };
}
