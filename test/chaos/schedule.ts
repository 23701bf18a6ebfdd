import { createHash } from 'node:crypto';
import type { Member } from './fleet.ts';
import { type Random, seededRandom } from './random.ts';
import type { DeliveryWay } from './signed.ts';

/** What is done to the system, and `atMs` after the start. */
export type Action = { atMs: number } & Deed;

export type Chat = {
  requestId: string;
  theater: string;
  playbook: string;
  message: string;
};

export type Deed =
  /** A chat is sent until it is acknowledged, `copies` times in all. */
  | { do: 'chat'; chat: Chat; copies: number; copyAfterMs: number }
  /** The run of an earlier chat is cancelled. */
  | { do: 'cancel'; requestId: string }
  /** A fact is told over HTTP, alone or as a batch of three, `copies` times. */
  | { do: 'append'; kind: 'event' | 'batch'; id: string; copies: number }
  /** The same bytes are published to the intake `copies` times. */
  | { do: 'intake'; id: string; copies: number; copyAfterMs: number; wellFormed: boolean }
  /** A signed milestone is delivered `copies` times under one key; `forged`: its signature is wrong. */
  | {
      do: 'deliver';
      id: string;
      way: DeliveryWay;
      copies: number;
      copyAfterMs: number;
      forged: boolean;
    }
  /** kill -9 of one process, whose children are left; it is started again. */
  | { do: 'kill'; member: string; downMs: number }
  /** SIGTERM, as in a rolling restart. */
  | { do: 'restart'; member: string; downMs: number }
  | { do: 'kill-broker'; downMs: number }
  /** SIGSTOP and, later, SIGCONT: it wakes up and believes that no time has passed. */
  | { do: 'pause'; member: string; forMs: number }
  /** All workers stand still at once, so that only the watchers can tell that work has stopped. */
  | { do: 'siege'; members: readonly string[]; forMs: number }
  /** What goes between it and the broker is held back, in both directions. */
  | { do: 'delay'; member: string; forMs: number }
  /** Its connection to the broker breaks: what is on its way is lost. */
  | { do: 'cut'; member: string }
  /** The broker stands still again and again, as it does on a disk that is slow to sync. */
  | { do: 'slow-disk'; forMs: number; stillMs: number; goMs: number }
  | { do: 'rebuild-views' };

export type Plan = {
  seed: number;
  durationMs: number;
  fleet: readonly Member[];
  actions: readonly Action[];
};

export type PlanOptions = {
  seed: number;
  minutes: number;
  chatsPerMinute: number;
  fleet: readonly Member[];
};

export const THEATERS = ['alpha', 'bravo', 'charlie'] as const;

/** Weights: single orders for numbers, chains and fans for the hard cases. */
const PLAYBOOKS = [
  ...Array.from({ length: 6 }, () => 'default'),
  ...Array.from({ length: 2 }, () => 'filesystem_agent.call_summary'),
  'research-draft-verify',
  'research-draft-verify',
  'fan-out-summary',
];
/** The model server's answers are no plans: such a run ends as FAILED, and must do so properly. */
const PLANNED_SHARE = 0.02;

/** What happens when: it follows from the options alone. */
export function planChaos(options: PlanOptions): Plan {
  const { seed, minutes, fleet } = options;
  const durationMs = Math.round(minutes * 60_000);
  const chats = chatActions(options, durationMs);
  const names = fleet.map(({ name }) => name);
  const workers = fleet.filter(({ roles }) => roles.includes('worker')).map(({ name }) => name);
  const every = everyOf(seed, durationMs);
  const actions = [
    ...chats,
    ...cancelActions(seed, chats),
    ...every('append', [500, 2_000], (random, index) => ({
      do: 'append',
      kind: random.chance(0.5) ? 'event' : 'batch',
      id: `raw_${seed}_${index}`,
      copies: random.chance(0.3) ? 2 : 1,
    })),
    ...every('intake', [1_000, 4_000], (random, index) => ({
      do: 'intake',
      id: `queued_${seed}_${index}`,
      copies: random.between(1, 3),
      copyAfterMs: random.between(0, 4_000),
      wellFormed: random.chance(0.9),
    })),
    ...every('deliver', [500, 2_500], (random, index) => ({
      do: 'deliver',
      id: `signed_${seed}_${index}`,
      way: random.chance(0.7) ? 'http' : 'queue',
      copies: random.chance(0.35) ? 2 : 1,
      copyAfterMs: random.between(0, 4_000),
      forged: random.chance(0.2),
    })),
    ...killActions(seed, durationMs, names),
    ...every('kill-broker', [20_000, 45_000], (random) => ({
      do: 'kill-broker',
      downMs: random.between(500, 3_000),
    })),
    ...every('pause', [9_000, 20_000], (random) => ({
      do: 'pause',
      // Mostly a worker: it must find that its order has been given to another.
      member: random.chance(0.7) ? random.pick(workers) : random.pick(names),
      forMs: random.between(2_500, 7_000),
    })),
    ...every('siege', [60_000, 150_000], (random) => ({
      do: 'siege',
      members: workers,
      forMs: random.between(15_000, 22_000),
    })),
    ...every('delay', [6_000, 15_000], (random) => ({
      do: 'delay',
      member: random.pick(names),
      forMs: random.between(200, 6_000),
    })),
    ...every('cut', [8_000, 20_000], (random) => ({ do: 'cut', member: random.pick(names) })),
    ...every('slow-disk', [15_000, 40_000], (random) => ({
      do: 'slow-disk',
      forMs: random.between(2_000, 8_000),
      stillMs: random.between(50, 300),
      goMs: random.between(50, 300),
    })),
    ...every('rebuild-views', [30_000, 90_000], () => ({ do: 'rebuild-views' })),
  ].sort((a, b) => a.atMs - b.atMs);
  return { seed, durationMs, fleet, actions };
}

/** One line per action, and what tells two plans apart. */
export function formatPlan({ actions }: Plan): string {
  const lines = actions.map(({ atMs, ...deed }) => `${atMs} ${JSON.stringify(deed)}`);
  const sha256 = createHash('sha256').update(lines.join('\n')).digest('hex');
  return [...lines, `${actions.length} actions, sha256 ${sha256}`].join('\n');
}

/** Makes actions at random distances from `min` to `max` ms, until the time is over. */
function everyOf(seed: number, durationMs: number) {
  return (
    name: string,
    [min, max]: readonly [number, number],
    make: (random: Random, index: number) => Deed,
  ): Action[] => {
    const random = seededRandom(seed, name);
    const made: Action[] = [];
    let atMs = random.between(Math.floor(min / 2), max);
    for (let index = 0; atMs < durationMs; index += 1) {
      made.push({ atMs, ...make(random, index) });
      atMs += random.between(min, max);
    }
    return made;
  };
}

type ChatAction = Action & { do: 'chat' };

function chatActions({ seed, chatsPerMinute, minutes }: PlanOptions, durationMs: number) {
  const random = seededRandom(seed, 'chat');
  const count = Math.round(chatsPerMinute * minutes);
  return Array.from({ length: count }, (_, index): ChatAction => {
    const requestId = `chat-${seed}-${index}`;
    return {
      atMs: random.between(0, Math.floor(durationMs * 0.95)),
      do: 'chat',
      chat: {
        requestId,
        theater: random.pick(THEATERS),
        playbook: random.chance(PLANNED_SHARE) ? 'planned' : random.pick(PLAYBOOKS),
        message: messageOf(random, requestId),
      },
      copies: random.chance(0.25) ? random.between(2, 3) : 1,
      copyAfterMs: random.between(0, 5_000),
    };
  });
}

const WORDS = 'budget launch Nora deadline Berlin contract risk Monday server invoice delay 4200';

function messageOf(random: Random, requestId: string): string {
  const words = WORDS.split(' ');
  const lines = Array.from({ length: random.between(1, 12) }, () =>
    Array.from({ length: random.between(4, 12) }, () => random.pick(words)).join(' '),
  );
  return [`Sum up ${requestId}`, ...lines].join('\n');
}

function cancelActions(seed: number, chats: readonly ChatAction[]): Action[] {
  const random = seededRandom(seed, 'cancel');
  return chats.flatMap(({ atMs, chat }): Action[] =>
    random.chance(0.07)
      ? [{ atMs: atMs + random.between(0, 9_000), do: 'cancel', requestId: chat.requestId }]
      : [],
  );
}

/** Each member's turn comes once before any comes twice. */
function killActions(seed: number, durationMs: number, names: readonly string[]): Action[] {
  const random = seededRandom(seed, 'kill');
  const made: Action[] = [];
  let deck: string[] = [];
  let atMs = random.between(500, 3_000);
  while (atMs < durationMs) {
    if (deck.length === 0) deck = random.shuffled(names);
    const member = deck.pop() as string;
    const downMs = random.between(0, 3_000);
    made.push({ atMs, do: random.chance(0.85) ? 'kill' : 'restart', member, downMs });
    atMs += random.between(2_000, 6_000);
  }
  return made;
}
