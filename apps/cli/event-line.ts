import type { StoredEvent } from '#libs/contracts';
import { clip, printable, size, span } from './format.ts';
import { type Colour, paint } from './io.ts';

const DETAIL_CHARS = 96;
const TYPE_WIDTH = 20;
const SHORT_ID = 8;

/** One event as one line: time, sequence, type, order or run, and what matters of its payload. */
export function eventLine(event: StoredEvent, colours: boolean): string {
  const { seq, ts, type, order_id, run_id, unit_id, theater_id } = event;
  const about = order_id ?? run_id ?? theater_id ?? '';
  const unit = unit_id === null ? '' : `/${tail(unit_id)}`;
  const name = paint(colours, colourOf(type), type.padEnd(TYPE_WIDTH));
  const time = paint(colours, 'dim', ts.slice(11, 23));
  const what = clip(printable(eventDetail(event)), DETAIL_CHARS);
  return `${time} ${String(seq).padStart(5)}  ${name}  ${tail(about)}${unit}  ${what}`.trimEnd();
}

/** The end of an id: what tells one from another, as ids begin with their time. */
function tail(id: string): string {
  return id.length <= 14 ? id : `…${id.slice(-SHORT_ID)}`;
}

function colourOf(type: string): Colour {
  if (/FAILED|ESCALATION|DEAD|QUARANTINED|DEGRADED/.test(type)) return 'red';
  if (/REISSUED|RECOVERY|BLOCKED|CANCELLED/.test(type)) return 'yellow';
  return /COMPLETE|INTEGRATED|PASSED/.test(type) ? 'green' : 'cyan';
}

type Payload = Record<string, unknown>;
type Part = (payload: Payload) => string | undefined;

const text =
  (name: string, label = ''): Part =>
  ({ [name]: value }) =>
    typeof value === 'string' && value !== '' ? `${label}${value}` : undefined;

const sha =
  (name: string): Part =>
  ({ [name]: value }) =>
    typeof value === 'string' ? value.slice(0, 10) : undefined;

const count =
  (name: string, one: string): Part =>
  ({ [name]: value }) =>
    Array.isArray(value) ? `${value.length} ${one}${value.length === 1 ? '' : 's'}` : undefined;

const attempt: Part = (payload) =>
  typeof payload.attempt === 'number' ? `attempt ${payload.attempt}` : undefined;

const duration: Part = ({ duration_ms: ms }) => (typeof ms === 'number' ? span(ms) : undefined);

const bytes: Part = (payload) =>
  typeof payload.bytes === 'number' ? size(payload.bytes) : undefined;

const gates: Part = ({ gates: results }) =>
  Array.isArray(results)
    ? results
        .map(
          ({ gate, passed }: { gate?: string; passed?: boolean }) =>
            `${gate}=${passed ? 'pass' : 'fail'}`,
        )
        .join(' ')
    : undefined;

/** What a line tells of each type, in this order; types that are not here tell what they have. */
const DETAILS: Record<string, readonly Part[]> = {
  RUN_CREATED: [text('playbook', 'playbook '), text('objective')],
  RUN_PLANNED: [count('order_ids', 'order')],
  RUN_COMPLETED: [count('artifacts', 'artifact'), duration],
  ORDER_CREATED: [text('step', 'step '), text('objective')],
  ORDER_STARTED: [attempt, text('worker', 'worker ')],
  ORDER_COMPLETED: [attempt, sha('commit_sha'), count('artifacts', 'artifact'), duration],
  ARTIFACT_WRITTEN: [attempt, text('path'), bytes, sha('sha256')],
  AAR_WRITTEN: [attempt, text('path'), text('status')],
  WORKTREE_CREATED: [text('branch'), sha('base_sha')],
  WORKTREE_ARCHIVED: [bytes],
  MODEL_CALL_STARTED: [attempt, text('provider'), text('model')],
  MODEL_CALL_COMPLETED: [attempt, text('provider'), text('model'), duration],
  INTEGRATION_PASSED: [attempt, gates],
  INTEGRATION_FAILED: [attempt, text('gate'), text('message')],
  INTEGRATED: [attempt, sha('commit_sha'), text('mainline', 'on ')],
  THEATER_OPENED: [text('repo_path')],
};

const USUAL: readonly Part[] = [
  attempt,
  text('code'),
  text('reason'),
  text('message'),
  text('stage'),
  duration,
];

/** The short facts of an event's payload, without its ids. */
function eventDetail({ type, payload }: StoredEvent): string {
  const parts = DETAILS[type] ?? USUAL;
  return parts
    .map((part) => part(payload as Payload))
    .filter((part) => part !== undefined)
    .join(' · ');
}
