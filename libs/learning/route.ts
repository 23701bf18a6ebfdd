import type { PolicyDocument, Profile, ProfileSettings, Routing } from '#libs/contracts';

export type RouteInput = {
  orderId: string;
  taskType: string;
  /** The profile that the plan names. */
  wanted: string;
  /** True: the plan's profile it is, whatever was learned. */
  pinned: boolean;
  /** The policy in force; null: none. */
  policy: PolicyDocument | null;
  /** As configured, by name. */
  profiles: Readonly<Record<string, ProfileSettings>>;
  /** Share of orders that explore where no policy says. */
  exploration: number;
};

export type Routed = { profile: Profile; routing: Routing };

/**
 * The profile of an order, and why. The same order always gets the same answer from the same policy:
 * whether it explores follows from its id.
 */
export function routeOrder(input: RouteInput): Routed {
  const { orderId, taskType, wanted, policy } = input;
  if (input.pinned) return { profile: profileOf(input, wanted), routing: pinnedTo(wanted) };
  const route = own(policy?.routes, taskType);
  const usual = route?.profile ?? wanted;
  const others = candidates(input).filter((name) => name !== usual);
  const share = policy?.exploration ?? input.exploration;
  if (others.length > 0 && fraction(`${orderId}/explore`) < share) {
    const at = Math.floor(fraction(`${orderId}/which`) * others.length);
    const other = others[at] ?? usual;
    return routed(input, other, `to keep measuring, in place of ${usual}`, true);
  }
  const reason =
    route === undefined ? 'the plan names it' : `policy ${policy?.version}: ${route.reason}`;
  return routed(input, usual, reason, false);
}

/** What is told of an order whose plan lets no policy choose. */
export function pinnedTo(profile: string): Routing {
  return { profile, reason: 'the plan pins it', policy_version: null, explored: false };
}

/** Profiles for this type of task: configured for it, measured at it, and the plan's own. */
function candidates({ taskType, wanted, policy, profiles }: RouteInput): string[] {
  const configured = Object.entries(profiles)
    .filter(([, { task_types }]) => task_types.includes(taskType))
    .map(([name]) => name);
  const measured = (policy?.cells ?? [])
    .filter(({ task_type }) => task_type === taskType)
    .map(({ profile }) => profile);
  // Without a recommendation nothing is tried that nobody has allowed.
  const known = policy !== null && own(policy.routes, taskType) !== undefined ? measured : [];
  return [...new Set([...configured, ...known, wanted])].sort();
}

const REASON_CHARS = 500;

function routed(input: RouteInput, name: string, reason: string, explored: boolean): Routed {
  const { policy } = input;
  return {
    profile: profileOf(input, name),
    routing: {
      profile: name,
      reason: reason.slice(0, REASON_CHARS),
      policy_version: policy?.version ?? null,
      explored,
    },
  };
}

/** Its settings; a profile that is not configured asks the model it was measured with. */
function profileOf({ policy, profiles, taskType }: RouteInput, name: string): Profile {
  const settings = own(profiles, name);
  if (settings !== undefined) {
    const { model, temperature, max_tokens } = settings;
    return {
      name,
      model,
      ...(temperature !== undefined && { temperature }),
      ...(max_tokens !== undefined && { max_tokens }),
    };
  }
  const cell = policy?.cells.find((one) => one.profile === name && one.task_type === taskType);
  return { name, model: cell?.model ?? 'default' };
}

function own<T>(record: Readonly<Record<string, T>> | undefined, key: string): T | undefined {
  return record !== undefined && Object.hasOwn(record, key) ? record[key] : undefined;
}

/** 0 to 1 out of a text, evenly. */
function fraction(text: string): number {
  let hash = 2_166_136_261;
  for (let i = 0; i < text.length; i += 1) hash = Math.imul(hash ^ text.charCodeAt(i), 16_777_619);
  hash = Math.imul(hash ^ (hash >>> 16), 0x85eb_ca6b);
  hash = Math.imul(hash ^ (hash >>> 13), 0xc2b2_ae35);
  return ((hash ^ (hash >>> 16)) >>> 0) / 2 ** 32;
}
