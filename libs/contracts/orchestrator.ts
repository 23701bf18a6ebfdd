type Entry = {
  message: string;
  /** False: ours, beyond the codes that upstream-3.0.0-shape.json allows. */
  upstream: boolean;
};

const up = (message: string): Entry => ({ message, upstream: true });
const ours = (message: string): Entry => ({ message, upstream: false });

/**
 * Every error code an `orchestrator-api` command answers with. `{name}` in a message is replaced
 * from the refusal's data. Source: orchestrator-api.md and reference §1.3, §1.7.
 */
export const ORCHESTRATOR_ERRORS = {
  USAGE_ERROR: up('{reason}'),
  POLICY_METADATA_REQUIRED: up('--policy is required: {reason}'),
  POLICY_VALIDATION_FAILED: up('The policy is not valid: {reason}'),
  MISSION_NOT_FOUND: up("Mission '{mission}' not found in kitty-specs/"),
  WP_NOT_FOUND: up("Work package '{wp_id}' not found in mission '{mission}'"),
  TRANSITION_REJECTED: up('{reason}'),
  WP_ALREADY_CLAIMED: up("{wp_id} is already claimed by '{claimed_by}'"),
  MISSION_NOT_READY: up('Work packages are not done: {incomplete_wps}'),
  WORKFLOW_EVIDENCE_REQUIRED: up(
    'The mission changes workflows; {required_evidence_path} must tell a run',
  ),
  PREFLIGHT_FAILED: up('Preflight for {target_branch} failed: {errors}'),
  CONTRACT_VERSION_MISMATCH: up(
    'Provider version {provider_version} is below {min_supported_provider_version}',
  ),
  UNSUPPORTED_STRATEGY: up("Strategy '{strategy}' is not supported; use one of {supported}"),
  HISTORY_COMMIT_FAILED: up('The history entry could not be committed: {reason}'),
  DEPENDENCIES_NOT_SATISFIED: up('{wp_id} waits for {unsatisfied_dependencies}'),
  SAFE_COMMIT_BACKSTOP: up('Foreign paths are staged: {reason}'),
  SAFE_COMMIT_DESTINATION_NOT_FOUND: up('The branch has no commit: {destination_ref}'),
  SAFE_COMMIT_DESTINATION_REF_SHAPE: up('Give a branch by its short name: {destination_ref}'),
  SAFE_COMMIT_EMPTY_CHANGESET: up('There is nothing to commit'),
  SAFE_COMMIT_GENERIC: up('The commit failed: {reason}'),
  SAFE_COMMIT_HEAD_MISMATCH: up('HEAD is {observed_head}, not {destination_ref}'),
  SAFE_COMMIT_NOT_A_WORKTREE: up('{worktree_root} is no git worktree'),
  SAFE_COMMIT_PROTECTED_BRANCH: up('{destination_ref} is protected'),
  SAFE_COMMIT_PATH_POLICY: up('The path may not be committed: {reason}'),
  SAFE_COMMIT_RECOVERY_FAILED: up('The staging could not be restored: {reason}'),
  LANE_ALLOCATION_FAILED: ours('The workspace of {wp_id} could not be made: {reason}'),
  HOST_UNAVAILABLE: ours('The mission log is not available: {reason}'),
  INTERNAL_ERROR: ours('Something failed inside: {reason}'),
} as const satisfies Record<string, Entry>;

export type OrchestratorCode = keyof typeof ORCHESTRATOR_ERRORS;

/** A command's no, as a value: `data` goes to the caller with `message` beside it. */
export type OrchestratorRefusal = {
  code: OrchestratorCode;
  message: string;
  data: Readonly<Record<string, unknown>>;
};

/** A refusal with its message made from `data`; lists are joined with a comma. */
export function refusal(
  code: OrchestratorCode,
  data: Readonly<Record<string, unknown>> = {},
): OrchestratorRefusal {
  const message = ORCHESTRATOR_ERRORS[code].message.replace(/\{(\w+)\}/g, (whole, name: string) => {
    const value = data[name];
    if (value === undefined) return whole;
    if (Array.isArray(value)) return value.join(', ');
    return typeof value === 'string' ? value : JSON.stringify(value);
  });
  return { code, message, data };
}
