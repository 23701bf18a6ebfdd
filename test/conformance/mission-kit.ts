import { randomBytes } from 'node:crypto';
import { expect } from 'vitest';
import { waitFor } from '#libs/testing';
import { findCheckout } from '../../apps/cli/checkout.ts';
import { registerMission } from '../../apps/cli/orchestrator/sync.ts';
import type { System } from './harness.ts';
import { MISSION, missionRig, type Rig } from './orchestrator-rig.ts';
import { type Data, ok } from './wire.ts';

/** Generous: a mission is many orders, one after the other. */
export const LONG = { timeoutMs: 240_000, intervalMs: 100 };

/** What these need of a system; a fleet of processes has it too. */
export type Reached = Pick<System, 'call' | 'eventsOf'> & { natsUrl: string };

/** A mission in a repository of its own, which a running system is to execute. */
export type OwnMission = AsyncDisposable & {
  rig: Rig;
  key: { project_uuid: string; mission_slug: string };
  theater_id: string;
  call(name: string, input?: Data, status?: number): Promise<Data>;
  /** Has it executed; `more` are settings. */
  run(more?: Data): Promise<Data>;
  board(): Promise<Data>;
  lanes(): Promise<Record<string, string>>;
  /** Waits until the system is at rest with it, and answers where it stands. */
  rest(standing: string): Promise<Data>;
  history(): Promise<Data[]>;
  /** `actor: from > to` of all changes of a work package's lane. */
  moves(wp: string): Promise<string[]>;
};

/** Makes the repository, opens a theater on it, and tells the system of the mission. */
export async function ownMission(
  system: Reached,
  wps: Readonly<Record<string, readonly string[]>>,
): Promise<OwnMission> {
  const rig = missionRig({ NATS_URL: system.natsUrl }, wps);
  const { identity } = await findCheckout(rig.root);
  const key = { project_uuid: identity.uuid, mission_slug: MISSION };
  const theater_id = `th_${randomBytes(6).toString('hex')}`;
  const call: OwnMission['call'] = async (name, input = {}, status = 200) =>
    ok(await system.call('http', `missions.${name}`, { ...key, ...input }), status);
  const history = async (): Promise<Data[]> =>
    (await call('history', { limit: 1_000 })).history as Data[];
  const board = () => call('board');
  try {
    const repository = { root: rig.root, gitDir: `${rig.root}/.git` };
    await registerMission(repository, MISSION, rig.env);
    const opened = { theater_id, repo_path: rig.root };
    ok(await system.call('http', 'vault.open-theater', opened));
  } catch (error) {
    await rig[Symbol.asyncDispose]();
    throw error;
  }
  return {
    rig,
    key,
    theater_id,
    call,
    run: (more = {}) => call('run', { theater_id, ...more }, 202),
    board,
    async lanes() {
      const { work_packages } = await call('work-packages');
      return Object.fromEntries(work_packages.map(({ wp_id, lane }: Data) => [wp_id, lane]));
    },
    async rest(standing) {
      let last: Data = {};
      try {
        return await waitFor(async () => {
          last = await board();
          return last.run.standing === 'running' ? undefined : last;
        }, LONG);
      } finally {
        const seen = (await history()).slice(-5).map(({ event }) => event.payload);
        expect(last.run?.standing, JSON.stringify(seen)).toBe(standing);
      }
    },
    history,
    moves: async (wp) =>
      (await history())
        .filter(({ event_type, wp_id }) => event_type === 'WPStatusChanged' && wp_id === wp)
        .map(
          ({ actor, event }) => `${actor}: ${event.payload.from_lane} > ${event.payload.to_lane}`,
        ),
    [Symbol.asyncDispose]: () => rig[Symbol.asyncDispose](),
  };
}

/** The lane changes of a work package that goes well at once. */
export const ALL_WELL = [
  'ironclaw: planned > claimed',
  'ironclaw: claimed > in_progress',
  'ironclaw: in_progress > for_review',
  'ironclaw-review: for_review > in_review',
  'ironclaw-review: in_review > approved',
  'merge: approved > done',
];

/** The runs that a mission's history names, with the work package and the lane event of each. */
export async function runsOf(system: Reached, mission: OwnMission): Promise<Data[]> {
  const told = (await mission.history()).filter(({ event }) => event.payload.run_id !== undefined);
  return Promise.all(
    told.map(async ({ wp_id, event }) => {
      const { run_id, order_ids } = event.payload;
      const [created] = await system.eventsOf({ run_id });
      return { wp_id, run_id, order_ids, event, created };
    }),
  );
}
