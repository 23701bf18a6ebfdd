/** What a caller may do after an error: nothing, try again with back-off, or wait as told. */
export type Retry = 'never' | 'backoff' | 'after';

type ErrorEntry = { status: number; retry: Retry; message: string; fix: string };

/**
 * Every error code there is, declared once. `message` is a template: `{name}` is replaced from the
 * error's params. The table in README.md is generated from this and a test compares them.
 */
export const ERRORS = {
  INVALID_JSON: {
    status: 400,
    retry: 'never',
    message: 'The body is not valid JSON: {reason}',
    fix: 'Send one JSON value, UTF-8, of the documented shape.',
  },
  INVALID_REQUEST: {
    status: 400,
    retry: 'never',
    message: '{reason}',
    fix: 'Correct the field named in `field`; the shapes are at /openapi.json.',
  },
  UNKNOWN_EVENT_TYPE: {
    status: 400,
    retry: 'never',
    message: 'Event type {type} is not known',
    fix: 'Use one of the types at /openapi.json.',
  },
  CONTRACT_VIOLATION: {
    status: 400,
    retry: 'never',
    message: 'The mission contract refuses this at {context}: {field} {reason}',
    fix: 'Send envelope 3.0.0 and the mission fields; `details` names context, field and reason.',
  },
  UNKNOWN_PLAYBOOK: {
    status: 400,
    retry: 'never',
    message: 'There is no playbook {playbook}',
    fix: 'List the playbooks with GET /co/playbooks.',
  },
  UNKNOWN_GATE_PROFILE: {
    status: 400,
    retry: 'never',
    message: 'There is no gate profile {profile}',
    fix: 'Use default or one that is configured.',
  },
  PATH_OUTSIDE_THEATER: {
    status: 400,
    retry: 'never',
    message: 'The path {path} is not inside the theater',
    fix: 'Use the worktree_path that POST /vault/worktrees answered.',
  },
  PROJECT_INVALID: {
    status: 400,
    retry: 'never',
    message: 'The project is not accepted; findings: {count}, the first {code} at {path}',
    fix: 'Correct what details.findings names; lenient reading forgives some of it.',
  },
  UNKNOWN_TARGET: {
    status: 400,
    retry: 'never',
    message: 'There is no target {target}',
    fix: 'Use local, or one of IRONCLAW_TARGETS.',
  },
  UNAUTHENTICATED: {
    status: 401,
    retry: 'never',
    message: 'A valid token is needed',
    fix: 'Send Authorization: Bearer <token>.',
  },
  TRACKER_LOGIN: {
    status: 401,
    retry: 'never',
    message: 'The tracker does not know who asks: {reason}',
    fix: 'Set IRONCLAW_TRACKER_TOKEN to a valid token and IRONCLAW_TRACKER_TEAM to your team.',
  },
  FORBIDDEN: {
    status: 403,
    retry: 'never',
    message: 'Not allowed: {reason}',
    fix: 'Use a token of the scope needed, or allow the host or origin (IRONCLAW_ALLOWED_…).',
  },
  TOOL_POLICY_VIOLATION: {
    status: 403,
    retry: 'never',
    message: 'The tool policy refuses this: {reason}',
    fix: 'Widen tool_policy in the order, or keep the work inside the worktree.',
  },
  NOT_FOUND: {
    status: 404,
    retry: 'never',
    message: 'There is nothing at {path}',
    fix: 'The routes are listed at /openapi.json.',
  },
  RUN_NOT_FOUND: {
    status: 404,
    retry: 'never',
    message: 'There is no run {id}',
    fix: 'List runs with GET /runs.',
  },
  ORDER_NOT_FOUND: {
    status: 404,
    retry: 'never',
    message: 'There is no order {id}',
    fix: 'List orders with GET /orders.',
  },
  THEATER_NOT_FOUND: {
    status: 404,
    retry: 'never',
    message: 'There is no theater {id}',
    fix: 'Open it with POST /vault/theaters.',
  },
  WORKTREE_NOT_FOUND: {
    status: 404,
    retry: 'never',
    message: 'There is no worktree for order {id}',
    fix: 'Create it with POST /vault/worktrees.',
  },
  EVENT_NOT_FOUND: {
    status: 404,
    retry: 'never',
    message: 'There is no event {id}',
    fix: 'Search with GET /events.',
  },
  ESCALATION_NOT_FOUND: {
    status: 404,
    retry: 'never',
    message: 'There is no escalation {id}',
    fix: 'List them with GET /escalations.',
  },
  DEAD_LETTER_NOT_FOUND: {
    status: 404,
    retry: 'never',
    message: 'There is no dead letter {seq}',
    fix: 'List them with GET /ledger/dead-letters.',
  },
  DELIVERY_NOT_FOUND: {
    status: 404,
    retry: 'never',
    message: 'There is no delivery {id}',
    fix: 'List them with GET /outbox/deliveries; what was delivered is kept for a while only.',
  },
  POLICY_NOT_FOUND: {
    status: 404,
    retry: 'never',
    message: 'There is no policy version {version}',
    fix: 'List the versions with GET /learning/policy/{theater_id}/history.',
  },
  ARTIFACT_NOT_FOUND: {
    status: 404,
    retry: 'never',
    message: 'There is no artifact {path}',
    fix: 'The order lists its artifacts: GET /orders/{order_id}.',
  },
  PROJECT_NOT_FOUND: {
    status: 404,
    retry: 'never',
    message: 'There is no project {id}',
    fix: 'List the projects with GET /projects/projects.',
  },
  PROJECT_PART_NOT_FOUND: {
    status: 404,
    retry: 'never',
    message: 'Project {id} has no {what} {part}',
    fix: 'Read the project with GET /projects/projects/{project_id}.',
  },
  SIGNING_KEY_NOT_FOUND: {
    status: 404,
    retry: 'never',
    message: 'There is no signing key {id}',
    fix: 'List the keys, or create one.',
  },
  NAMESPACE_NOT_FOUND: {
    status: 404,
    retry: 'never',
    message: 'There is no mission {mission} in project {project}',
    fix: 'Send the events of the mission first: POST /api/v1/events/batch/.',
  },
  INDEX_ENTRY_NOT_FOUND: {
    status: 404,
    retry: 'backoff',
    message: 'The dossier of mission {mission} has no entry {path}',
    fix: 'Send the event that indexes the artifact first, then its body again.',
  },
  METHOD_NOT_ALLOWED: {
    status: 405,
    retry: 'never',
    message: '{method} is not allowed here; allowed: {allowed}',
    fix: 'Use one of the allowed methods.',
  },
  EVENT_ID_CONFLICT: {
    status: 409,
    retry: 'never',
    message: 'event_id {event_id} is already stored with other content (sequence {seq})',
    fix: 'An id names one fact for ever; send the new fact under a new id.',
  },
  VERSION_CONFLICT: {
    status: 409,
    retry: 'backoff',
    message: 'The aggregate {subject} has moved on to version {actual}; expected {expected}',
    fix: 'Read the current state, decide again, and send again.',
  },
  ILLEGAL_TRANSITION: {
    status: 409,
    retry: 'never',
    message: '{what} is not possible while {status}',
    fix: 'Read how it stands now, and act on that.',
  },
  RUN_NOT_OPEN: {
    status: 409,
    retry: 'never',
    message: 'Run {id} is {status}, no longer OPEN',
    fix: 'Start a new run.',
  },
  PLAN_REFUSED: {
    status: 409,
    retry: 'never',
    message: 'The plan is refused: {reason}',
    fix: 'Plan with known profiles, no circles, and within the caps.',
  },
  PAUSED: {
    status: 409,
    retry: 'backoff',
    message: '{what} is paused',
    fix: 'Resume it first.',
  },
  BUDGET_EXCEEDED: {
    status: 409,
    retry: 'never',
    message: 'The cost budget of {scope} is used up: {spent} of {limit} micro-USD',
    fix: 'Raise the budget in the configuration, or start a new run.',
  },
  PLAN_MISSING: {
    status: 409,
    retry: 'never',
    message: 'Run {id} has no plan yet',
    fix: 'Call POST /co/runs/{run_id}/plan first.',
  },
  RUN_PENDING: {
    status: 409,
    retry: 'backoff',
    message: 'Run {id} still has {count} orders that have not ended',
    fix: 'Wait until the orders have ended and ask again.',
  },
  REQUEST_ID_CONFLICT: {
    status: 409,
    retry: 'never',
    message: 'request_id {id} was already used for another request',
    fix: 'Use a new request_id for a new request.',
  },
  THEATER_CONFLICT: {
    status: 409,
    retry: 'never',
    message: 'Theater {id} is already open at another path',
    fix: 'Use the repo_path it was opened with, or another theater_id.',
  },
  WORKTREE_DIRTY: {
    status: 409,
    retry: 'never',
    message: 'The worktree of order {id} holds work that is not committed: {files}',
    fix: 'Archive it first with POST /vault/worktrees/{order_id}/archive.',
  },
  BRANCH_REFUSED: {
    status: 409,
    retry: 'never',
    message: 'The branch {branch} cannot be worked on: {reason}',
    fix: 'Start the work package first: POST /vault/theaters/{theater_id}/lanes answers its branch.',
  },
  LANE_ALLOCATION_FAILED: {
    status: 409,
    retry: 'never',
    message: 'The workspace of {wp_id} could not be made: {reason}',
    fix: 'Mend what the reason names; nothing that was there has changed.',
  },
  PREFLIGHT_FAILED: {
    status: 409,
    retry: 'never',
    message: 'Preflight for {target_branch} failed: {reason}',
    fix: 'Mend everything in details.errors; target, checkout and staging are as before.',
  },
  WORKTREE_CONFLICT: {
    status: 409,
    retry: 'never',
    message: 'The worktree of order {id} exists with another branch or theater',
    fix: 'Use the branch and theater it was created with.',
  },
  MAINLINE_DIRTY: {
    status: 409,
    retry: 'backoff',
    message: 'The theater checkout has changes of its own on the mainline: {files}',
    fix: 'Commit or stash them in the theater repository, then integrate again.',
  },
  MERGE_CONFLICT: {
    status: 409,
    retry: 'never',
    message: 'The branch conflicts with the mainline in {files}',
    fix: 'Reissue the order so that it starts from the current mainline.',
  },
  GATE_FAILED: {
    status: 409,
    retry: 'never',
    message: 'Gate {gate} did not pass: {reason}',
    fix: 'The mainline is unchanged; correct the work in the worktree and integrate again.',
  },
  PROJECT_EXISTS: {
    status: 409,
    retry: 'never',
    message: 'There is a project {id} already',
    fix: 'Choose overwrite, keep-both or cancel.',
  },
  PROJECT_IMMUTABLE: {
    status: 409,
    retry: 'never',
    message: '{field} of project {id} cannot change after creation',
    fix: 'Create another project, or import under another id.',
  },
  GATE_LOCKED: {
    status: 409,
    retry: 'never',
    message: 'The gate of phase {phase} is locked by {artifacts}',
    fix: 'Complete or waive the artifacts named in details.blocked_by.',
  },
  POLICY_REFUSED: {
    status: 409,
    retry: 'never',
    message: 'The governance policy refuses this: {reason}',
    fix: 'Act within the policy, or have it changed.',
  },
  TRACKER_CHOICE: {
    status: 409,
    retry: 'never',
    message: 'The tracker resource cannot be told: {reason}',
    fix: 'Choose one of `details.candidates` with --select N.',
  },
  ALREADY_RUNNING: {
    status: 409,
    retry: 'never',
    message: 'Another IronClaw uses {path} (pid {pid})',
    fix: 'Stop that one first, or choose another folder with --state.',
  },
  PAYLOAD_TOO_LARGE: {
    status: 413,
    retry: 'never',
    message: 'The {what} is over its limit of {limit}',
    fix: 'Send less at once.',
  },
  UNSUPPORTED_MEDIA_TYPE: {
    status: 415,
    retry: 'never',
    message: 'Content type {type} is not understood',
    fix: 'Send Content-Type: application/json.',
  },
  RATE_LIMITED: {
    status: 429,
    retry: 'after',
    message: 'Too many requests',
    fix: 'Wait as Retry-After says.',
  },
  INTERNAL: {
    status: 500,
    retry: 'backoff',
    message: 'Something failed inside; the log has it under request {request_id}',
    fix: 'Look in the log for the request id.',
  },
  MODEL_ERROR: {
    status: 502,
    retry: 'backoff',
    message: 'The model did not answer usefully: {reason}',
    fix: 'Check the provider, base URL and key with ironclaw doctor.',
  },
  TRACKER_REFUSED: {
    status: 502,
    retry: 'never',
    message: 'The tracker refused: {reason}',
    fix: 'See `details` for what the tracker said, and whether asking again can help.',
  },
  MODEL_QUOTA: {
    status: 503,
    retry: 'after',
    message: 'The model provider refuses work for now: {reason}',
    fix: 'Wait until the reset time.',
  },
  DEPENDENCY_UNAVAILABLE: {
    status: 503,
    retry: 'backoff',
    message: '{dependency} is not available: {reason}',
    fix: 'Nothing was confirmed as stored; send the same request again with the same ids.',
  },
  BROKER_TOO_OLD: {
    status: 503,
    retry: 'never',
    message: 'nats-server {version} (JetStream API level {level}) is too old; {needed} is needed',
    fix: 'Install a newer nats-server or let IronClaw fetch one: unset IRONCLAW_NATS_SERVER.',
  },
  CONTRACT_SHAPE_UNUSABLE: {
    status: 503,
    retry: 'never',
    message: 'The contract shape {path} cannot be used: {reason}',
    fix: 'Restore the file, or set IRONCLAW_CONTRACT_SHAPE to a whole one.',
  },
  BROKER_MISSING: {
    status: 503,
    retry: 'never',
    message: 'No usable nats-server was found: {reason}',
    fix: 'Install nats-server 2.14.4 or newer, or set NATS_URL to a running one.',
  },
  STREAM_DRIFT: {
    status: 503,
    retry: 'never',
    message: 'Stream {stream} differs from its declaration in {fields}',
    fix: 'See ironclaw streams plan; ironclaw streams apply where it is safe.',
  },
  VIEW_BEHIND: {
    status: 504,
    retry: 'backoff',
    message: 'The view is at sequence {at}, still behind {wanted}',
    fix: 'Ask again; if it stays behind, look at ironclaw views.',
  },
  TIMEOUT: {
    status: 504,
    retry: 'backoff',
    message: '{what} took longer than {limit_ms} ms',
    fix: 'Ask again, or raise the limit.',
  },
} as const satisfies Record<string, ErrorEntry>;

export type ErrorCode = keyof typeof ERRORS;

export type ErrorDetail = {
  /** Path of the offending input field, as `payload.attempt` or `events[3].type`. */
  field?: string;
  /** Further facts for programs; JSON-safe. */
  details?: Record<string, unknown>;
  /** How long to wait before trying again. */
  retryAfterMs?: number;
  cause?: unknown;
};

/** An error with a code of the catalogue. Anything else that is thrown is a defect (INTERNAL). */
export class AppError extends Error {
  readonly code: ErrorCode;
  readonly field: string | undefined;
  readonly details: Record<string, unknown> | undefined;
  readonly retryAfterMs: number | undefined;

  constructor(
    code: ErrorCode,
    params: Record<string, string | number> = {},
    detail: ErrorDetail = {},
  ) {
    super(fill(ERRORS[code].message, params), { cause: detail.cause });
    this.name = 'AppError';
    this.code = code;
    this.field = detail.field;
    this.details = detail.details;
    this.retryAfterMs = detail.retryAfterMs;
  }

  get status(): number {
    return ERRORS[this.code].status;
  }

  get retry(): Retry {
    return ERRORS[this.code].retry;
  }
}

/** True for an AppError with one of these codes (any, if none is named). */
export function isAppError(error: unknown, ...codes: ErrorCode[]): error is AppError {
  return error instanceof AppError && (codes.length === 0 || codes.includes(error.code));
}

/** An INVALID_REQUEST about one field. */
export function invalid(field: string, reason: string): AppError {
  return new AppError('INVALID_REQUEST', { reason: `${field}: ${reason}` }, { field });
}

function fill(template: string, params: Record<string, string | number>): string {
  return template.replace(/\{(\w+)\}/g, (whole, name: string) => {
    const value = params[name];
    return value === undefined ? whole : String(value);
  });
}
