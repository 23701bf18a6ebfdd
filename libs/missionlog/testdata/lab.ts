import { join } from 'node:path';
import type { Broker } from '#libs/broker';
import type { Board, Policy } from '#libs/missions';
import { openClock } from '../clock-store.ts';
import { type MissionLog, openMissionLog } from '../log.ts';
import { loadGate } from '../shape.ts';

export const PROJECT = '5f0c4b52-0000-4000-8000-000000000001';

export const BOARD: Board = {
  identity: { mission_slug: '064-demo', mission_number: '064', mission_type: 'software-dev' },
  targetBranch: 'main',
  wps: [
    { wp_id: 'WP01', title: 'One', dependencies: [] },
    { wp_id: 'WP02', title: 'Two', dependencies: ['WP01'] },
  ],
};

export const POLICY: Policy = {
  orchestrator_id: 'orch',
  orchestrator_version: '0.1.3',
  agent_family: 'fake',
  approval_mode: 'supervised',
  sandbox_mode: 'workspace_write',
  network_mode: 'none',
  dangerous_flags: [],
  tool_restrictions: null,
};

export const SLUG = BOARD.identity.mission_slug;

/** A mission log of one emitter, with its clock in `folder`. */
export function openLab(broker: Broker, folder: string, nodeId = 'node'): MissionLog {
  const buildId = '5f0c4b52-0000-4000-8000-000000000002';
  return openMissionLog({
    broker,
    gate: loadGate(),
    emitter: { projectUuid: PROJECT, nodeId, buildId },
    clock: openClock(join(folder, `${nodeId}.json`), nodeId, () => new Date()),
  });
}
