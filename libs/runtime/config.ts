import { isAbsolute, join, resolve } from 'node:path';
import {
  isAppError,
  LOCAL_TARGET,
  MISSIONS_IDLE,
  parse,
  type ProfileSettings,
  profileSettings,
  type TargetSettings,
  targetSettings,
} from '#libs/contracts';
import { z } from 'zod';
import { BEHAVIOUR } from './behaviour.ts';
import { badSetting, readSettingsFile, settingKey } from './settings-file.ts';

const id = z.string().regex(/^[A-Za-z0-9_][A-Za-z0-9_-]{0,127}$/);
const list = z.string().transform((text) =>
  text
    .split(',')
    .map((part) => part.trim())
    .filter(Boolean),
);
const ms = (value: number, min: number, max: number) =>
  z.coerce.number().int().min(min).max(max).default(value);

const json = z
  .string()
  .default('{}')
  .transform((text, ctx): unknown => {
    try {
      return JSON.parse(text);
    } catch (error) {
      ctx.addIssue(`is not JSON: ${(error as Error).message}`);
      return z.NEVER;
    }
  });
const profiles = json.pipe(
  z.record(z.string().regex(/^[A-Za-z0-9][\w.-]{0,127}$/), profileSettings),
);
const targets = json.pipe(z.record(id, targetSettings));

/** Profiles that are always there: they ask whichever model the worker has. */
const BUILT_IN_PROFILES = {
  executor_default: { model: 'default', task_types: [] },
  planner_default: { model: 'default', task_types: [] },
} satisfies Record<string, ProfileSettings>;

/** Five of the beats that a process gives. */
const HANG_MS_MIN = 10_000;

/** Every setting, its environment variable, its default and its bounds. */
export const CONFIG = z.object({
  IRONCLAW_GARRISON: id.default('local').describe('garrison_id stamped on every event'),
  IRONCLAW_STATE: z.string().min(1).default('.ironclaw').describe('folder of all state'),
  IRONCLAW_HOST: z.string().min(1).default('127.0.0.1').describe('address to listen on'),
  IRONCLAW_PORT: z.coerce
    .number()
    .int()
    .min(0)
    .max(65_535)
    .default(7_410)
    .describe('HTTP port; 0 takes a free one'),
  IRONCLAW_THEATER: id.default('main').describe('theater of a chat that names none'),
  IRONCLAW_THEATERS: list.default([]).describe('theaters that workers serve; empty: all'),
  IRONCLAW_THEATER_ROOTS: list
    .default([])
    .describe('folders that theater repositories may lie in; empty: any'),
  IRONCLAW_PLAYBOOKS: list.default([]).describe('folders with playbooks beside the built-in ones'),
  IRONCLAW_GATE_PROFILES: list
    .default([])
    .describe('folders with gate profiles beside the built-in default, strict and governed'),
  IRONCLAW_PROFILES: profiles.describe(
    'profiles beside executor_default and planner_default, as JSON: name to model, temperature, max_tokens, task_types',
  ),
  IRONCLAW_LEARN_MS: ms(300_000, 1_000, 86_400_000).describe(
    'so often outcomes are counted for the routing policy',
  ),
  IRONCLAW_EXPLORATION: z.coerce
    .number()
    .min(0)
    .max(0.5)
    .default(0.1)
    .describe('share of orders that go to another profile of their task, to keep measuring'),
  IRONCLAW_WORKER_CLASS: id.default('default').describe('class of jobs that workers take'),
  IRONCLAW_WORKER_CONCURRENCY: z.coerce
    .number()
    .int()
    .min(1)
    .max(64)
    .default(4)
    .describe('orders at work at once in one worker process'),
  IRONCLAW_JOB_LEASE_MS: ms(10_000, 1_000, 600_000).describe(
    'a worker silent for so long has lost its job',
  ),
  IRONCLAW_HEARTBEAT_EVERY_MS: ms(30_000, 100, 600_000).describe(
    'a unit at work gives a sign of life so often',
  ),
  IRONCLAW_QUOTA_WAIT_MS: ms(3_600_000, 0, 86_400_000).describe(
    'an order waits at most so long for a model provider that refuses work for now',
  ),
  IRONCLAW_THEATER_BUDGET_MICRO_USD: z.coerce
    .number()
    .int()
    .min(0)
    .default(0)
    .describe('what the model calls of one theater may cost in all; 0: no limit'),
  IRONCLAW_PATROL_MS: ms(30_000, 1_000, 86_400_000).describe(
    'period of the patrols of duty officers and observers',
  ),
  IRONCLAW_AUDIT_MS: ms(60_000, 1_000, 86_400_000).describe('period of the sentinel'),
  IRONCLAW_OVERDUE_GRACE_MS: ms(15_000, 0, 3_600_000).describe(
    'an order is overdue so long after its budget and its lease are over',
  ),
  IRONCLAW_QUEUE_STALL_MS: ms(600_000, 1_000, 86_400_000).describe(
    'an order that waits so long without a job in the queue gets one anew',
  ),
  IRONCLAW_HANG_MS: z.coerce
    .number()
    .int()
    .min(0)
    .max(86_400_000)
    .refine((value) => value === 0 || value >= HANG_MS_MIN, `must be 0 or from ${HANG_MS_MIN}`)
    .default(60_000)
    .describe(
      '`up` replaces a process silent for so long, five times as long until it is ready; 0: none',
    ),
  IRONCLAW_EXPECT_ROLES: list
    .default([])
    .describe('roles that are missed even before they were seen once'),
  IRONCLAW_STALL_MS: ms(1_800_000, 100, 604_800_000).describe(
    'an order RUNNING for longer is stalled, or sooner by its own budget',
  ),
  IRONCLAW_HEARTBEAT_MS: ms(120_000, 100, 604_800_000).describe(
    'a unit without a sign of life for so long has lost its heartbeat',
  ),
  IRONCLAW_COMMIT_MS: ms(3_600_000, 100, 604_800_000).describe(
    'a worktree at work without a commit for so long is told',
  ),
  IRONCLAW_ORPHAN_MS: ms(3_600_000, 100, 604_800_000).describe(
    'a worktree whose order ended so long ago is an orphan',
  ),
  IRONCLAW_DOSSIER_INDEX: z
    .stringbool()
    .default(false)
    .describe('whether content of a mission is taken only after the events that announce it'),
  IRONCLAW_MISSIONS_IDLE_SECONDS: z.coerce
    .number()
    .min(1)
    .max(MISSIONS_IDLE.max)
    .default(MISSIONS_IDLE.standard)
    .describe('seconds without a command after which what spec-kitty commands have started ends'),
  IRONCLAW_MISSIONS_WARM: z
    .enum(['on', 'off'])
    .default('on')
    .describe('whether spec-kitty commands leave a process behind that answers the next ones'),
  IRONCLAW_PLANS: list
    .default([])
    .describe('folders with plans of projects, as JSON, beside the built-in cpmai'),
  IRONCLAW_PROJECT_SIGNATURES: z
    .stringbool()
    .default(false)
    .describe('whether a project is taken in only if a known key has signed it'),
  IRONCLAW_PROJECT_WAIVERS_MAX: z.coerce
    .number()
    .int()
    .min(0)
    .max(10_000)
    .default(0)
    .describe('waivers in force in one phase of a project; 0: no limit'),
  IRONCLAW_PROJECT_GO_AFTER_NO_GO: z
    .stringbool()
    .default(true)
    .describe('whether a gate may be decided go while an earlier phase was decided no-go'),
  IRONCLAW_TARGETS: targets.describe(
    'receivers of signed feeds beside local, as JSON: name to url, secret_env, signature, timeout_ms',
  ),
  IRONCLAW_DELIVERY_ATTEMPTS: z.coerce
    .number()
    .int()
    .min(1)
    .max(10_000)
    .default(100)
    .describe('attempts before a delivery is dead; with the default waits about seven hours'),
  IRONCLAW_DELIVERY_FIRST_MS: ms(1_000, 10, 3_600_000).describe(
    'wait after a failed delivery, doubled each time',
  ),
  IRONCLAW_DELIVERY_MAX_MS: ms(300_000, 10, 86_400_000).describe(
    'longest wait between two attempts, also where Retry-After asks for more',
  ),
  IRONCLAW_DELIVERY_KEEP_MS: ms(2_592_000_000, 60_000, 31_536_000_000).describe(
    'so long the record of what was delivered is kept',
  ),
  IRONCLAW_DEMAND_TARGETS: list
    .default([LOCAL_TARGET])
    .describe('targets that demand summaries go to; empty: none are made'),
  IRONCLAW_DEMAND_MS: ms(2_000, 100, 86_400_000).describe(
    'queue and drafts are looked at so often; a summary is sent only where they have changed',
  ),
  IRONCLAW_ALLOWED_HOSTS: list.default([]).describe('Host names accepted beside the bound one'),
  IRONCLAW_ALLOWED_ORIGINS: list
    .default([])
    .describe('origins of other sites whose pages may read, as https://console.example'),
  IRONCLAW_SIGNATURE_WINDOW_MS: ms(300_000, 1_000, 86_400_000).describe(
    'how far the time of a signed delivery may be from the clock, either way',
  ),
  IRONCLAW_SIGNATURE_BOUND: z
    .stringbool()
    .default(false)
    .describe('whether signatures must cover time and channel, not the body alone'),
  ...BEHAVIOUR,
});

/** When the watchers lose patience; milliseconds. */
export type WatchLimits = {
  stallMs: number;
  heartbeatMs: number;
  commitMs: number;
  orphanMs: number;
};

/** What projects are held to beyond their schema. */
export type ProjectPolicy = {
  signaturesRequired: boolean;
  /** Waivers in force in one phase. 0: no limit. */
  waiversPerPhaseMax: number;
  goAfterNoGo: boolean;
};

/** Settings of one process, read once at start. */
export type Config = {
  garrisonId: string;
  /** Absolute. */
  stateDir: string;
  host: string;
  port: number;
  defaultTheater: string;
  theaters: readonly string[];
  theaterRoots: readonly string[];
  playbookDirs: readonly string[];
  gateProfileDirs: readonly string[];
  /** By name; executor_default and planner_default are always among them. */
  profiles: Readonly<Record<string, ProfileSettings>>;
  learnMs: number;
  /** Share of orders, 0 to 0.5, that go to another profile of their task. */
  exploration: number;
  workerClass: string;
  workerConcurrency: number;
  jobLeaseMs: number;
  heartbeatEveryMs: number;
  quotaWaitMs: number;
  /** 0: no limit. */
  theaterBudgetMicroUsd: number;
  watch: WatchLimits;
  patrolMs: number;
  auditMs: number;
  overdueGraceMs: number;
  queueStallMs: number;
  /** Longest silence of a process under `up`. 0: any. */
  hangMs: number;
  expectRoles: readonly string[];
  dossierIndexRequired: boolean;
  planDirs: readonly string[];
  projects: ProjectPolicy;
  /** Receivers by name; `local` is always among them. */
  targets: Readonly<Record<string, TargetSettings>>;
  delivery: { attemptsMax: number; firstMs: number; maxMs: number; keepMs: number };
  demandTargets: readonly string[];
  demandMs: number;
  allowedHosts: readonly string[];
  allowedOrigins: readonly string[];
  /** Replay window of signed deliveries, either way. */
  signatureWindowMs: number;
  /** True: signatures over the body alone are refused. */
  signatureBound: boolean;
};

type Env = Readonly<Record<string, string | undefined>>;
type ConfigValues = z.output<typeof CONFIG>;

/** The garrison's layers: what was given, by variable, and by which file (else the environment). */
export type GarrisonLayers = {
  values: ConfigValues;
  given: Readonly<Record<string, string>>;
  fromFile: ReadonlySet<string>;
  file: string;
};

/** Not in the file. */
const NOT_IN_FILE = new Set([
  // Where the file lies depends on it.
  'IRONCLAW_STATE',
  // Read by commands that know no state folder.
  'IRONCLAW_MISSIONS_IDLE_SECONDS',
  'IRONCLAW_MISSIONS_WARM',
]);

/**
 * Reads the garrison's settings: the environment, under it `IRONCLAW_CONFIG` (default: config.json
 * in the state folder), under it the defaults.
 * @throws {INVALID_REQUEST} `field` names the variable, or the file and the key
 */
export function readGarrison(env: Env): GarrisonLayers {
  const names = Object.keys(CONFIG.shape);
  const allowed = new Set(names.filter((name) => !NOT_IN_FILE.has(name)));
  const named = env.IRONCLAW_CONFIG || undefined;
  const stateDir = resolve(env.IRONCLAW_STATE || CONFIG.shape.IRONCLAW_STATE.parse(undefined));
  const file = named === undefined ? join(stateDir, 'config.json') : resolve(named);
  const ofFile = readSettingsFile(file, allowed);
  if (ofFile === undefined && named !== undefined) {
    throw badSetting(file, '', 'does not exist (IRONCLAW_CONFIG)');
  }
  const ofEnv = Object.fromEntries(
    names.flatMap((name): [string, string][] => (env[name] ? [[name, env[name]]] : [])),
  );
  const given: Record<string, string> = { ...ofFile, ...ofEnv };
  const fromFile = new Set(Object.keys(ofFile ?? {}).filter((name) => !(name in ofEnv)));
  try {
    return { values: parse(CONFIG, given), given, fromFile, file };
  } catch (error) {
    const [name = ''] = (isAppError(error) ? (error.field ?? '') : '').split(/[.[]/);
    if (!isAppError(error) || !fromFile.has(name)) throw error;
    const reason = error.message.slice(error.message.indexOf(': ') + 2);
    throw badSetting(file, settingKey(name), reason);
  }
}

/**
 * The settings of a process; see `readGarrison`.
 * @throws {INVALID_REQUEST} a setting is out of its bounds; `field` names the variable, or the file
 */
export function configFromEnv(env: Env): Config {
  const { values } = readGarrison(env);
  return {
    garrisonId: values.IRONCLAW_GARRISON,
    stateDir: resolve(values.IRONCLAW_STATE),
    host: values.IRONCLAW_HOST,
    port: values.IRONCLAW_PORT,
    defaultTheater: values.IRONCLAW_THEATER,
    theaters: values.IRONCLAW_THEATERS,
    theaterRoots: values.IRONCLAW_THEATER_ROOTS.map((root) => resolve(root)),
    playbookDirs: values.IRONCLAW_PLAYBOOKS,
    gateProfileDirs: values.IRONCLAW_GATE_PROFILES,
    profiles: { ...BUILT_IN_PROFILES, ...values.IRONCLAW_PROFILES },
    learnMs: values.IRONCLAW_LEARN_MS,
    exploration: values.IRONCLAW_EXPLORATION,
    workerClass: values.IRONCLAW_WORKER_CLASS,
    workerConcurrency: values.IRONCLAW_WORKER_CONCURRENCY,
    jobLeaseMs: values.IRONCLAW_JOB_LEASE_MS,
    heartbeatEveryMs: values.IRONCLAW_HEARTBEAT_EVERY_MS,
    quotaWaitMs: values.IRONCLAW_QUOTA_WAIT_MS,
    theaterBudgetMicroUsd: values.IRONCLAW_THEATER_BUDGET_MICRO_USD,
    watch: {
      stallMs: values.IRONCLAW_STALL_MS,
      heartbeatMs: values.IRONCLAW_HEARTBEAT_MS,
      commitMs: values.IRONCLAW_COMMIT_MS,
      orphanMs: values.IRONCLAW_ORPHAN_MS,
    },
    patrolMs: values.IRONCLAW_PATROL_MS,
    auditMs: values.IRONCLAW_AUDIT_MS,
    overdueGraceMs: values.IRONCLAW_OVERDUE_GRACE_MS,
    queueStallMs: values.IRONCLAW_QUEUE_STALL_MS,
    hangMs: values.IRONCLAW_HANG_MS,
    expectRoles: values.IRONCLAW_EXPECT_ROLES,
    dossierIndexRequired: values.IRONCLAW_DOSSIER_INDEX,
    planDirs: values.IRONCLAW_PLANS,
    projects: {
      signaturesRequired: values.IRONCLAW_PROJECT_SIGNATURES,
      waiversPerPhaseMax: values.IRONCLAW_PROJECT_WAIVERS_MAX,
      goAfterNoGo: values.IRONCLAW_PROJECT_GO_AFTER_NO_GO,
    },
    targets: { [LOCAL_TARGET]: targetSettings.parse({}), ...values.IRONCLAW_TARGETS },
    delivery: {
      attemptsMax: values.IRONCLAW_DELIVERY_ATTEMPTS,
      firstMs: values.IRONCLAW_DELIVERY_FIRST_MS,
      maxMs: values.IRONCLAW_DELIVERY_MAX_MS,
      keepMs: values.IRONCLAW_DELIVERY_KEEP_MS,
    },
    demandTargets: values.IRONCLAW_DEMAND_TARGETS,
    demandMs: values.IRONCLAW_DEMAND_MS,
    allowedHosts: values.IRONCLAW_ALLOWED_HOSTS,
    allowedOrigins: values.IRONCLAW_ALLOWED_ORIGINS,
    signatureWindowMs: values.IRONCLAW_SIGNATURE_WINDOW_MS,
    signatureBound: values.IRONCLAW_SIGNATURE_BOUND,
  };
}

/** Where things lie under the state folder. */
export function stateLayout(stateDir: string) {
  if (!isAbsolute(stateDir)) throw new Error('the state folder must be an absolute path');
  return {
    broker: join(stateDir, 'broker'),
    views: join(stateDir, 'views'),
    theaters: join(stateDir, 'theaters'),
    log: join(stateDir, 'log'),
    /** Signing keys of projects, their private halves among them. */
    projectKeys: join(stateDir, 'keys', 'projects.json'),
    /** Code that unit processes run. */
    units: join(stateDir, 'units'),
    /** What a running `up` tells other commands: its pid, URLs and ports. */
    running: join(stateDir, 'running.json'),
  };
}
