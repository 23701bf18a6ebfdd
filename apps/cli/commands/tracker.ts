import { randomUUID } from 'node:crypto';
import { join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { API, invalid } from '#libs/contracts';
import { loadGate } from '#libs/missionlog';
import {
  bindProject,
  createTrackerClient,
  openSession,
  renewTokens,
  type StoredBinding,
  type TrackerClient,
} from '#libs/tracker';
import type { Command } from 'commander';
import { findCheckout, findMission } from '../checkout.ts';
import { settingsOf } from '../env.ts';
import { EXIT, type ExitCode, usage } from '../failure.ts';
import { facts } from '../format.ts';
import type { Io } from '../io.ts';
import {
  type ConnectionOptions,
  connectTo,
  withConnection,
  withExamples,
  withJson,
  withState,
} from '../options.ts';
import { projectFile, readBinding, storeBinding, tokenFile } from '../tracker-files.ts';

type Provider = 'jira' | 'linear';
type ProjectOptions = { json?: true; repo?: string };
type TrackerOptions = ProjectOptions & {
  state?: string;
  provider?: string;
  tracker?: string;
  team?: string;
};
type BindOptions = TrackerOptions & { select?: string };
type OriginOptions = TrackerOptions &
  ConnectionOptions & {
    issueId?: string;
    issueKey?: string;
    issueUrl?: string;
    title?: string;
    binding?: string;
  };

export function trackerCommand(
  program: Command,
  run: (work: () => Promise<ExitCode>) => void,
  io: Io,
) {
  const command = program
    .command('tracker')
    .summary('bind a project, and its missions, to an issue tracker')
    .description(
      'Binds this project to a resource of Jira or Linear through the tracker service, and keeps\n' +
        'that in .kittify/config.yaml, from where later commands take it. The token comes from\n' +
        'IRONCLAW_TRACKER_TOKEN; where it is refused, IRONCLAW_TRACKER_REFRESH_TOKEN buys a new\n' +
        'one, once, which is kept in the state folder for the next command.',
    );
  const withRepo = (sub: Command): Command =>
    withJson(sub).option('--repo <dir>', 'the checkout (the current folder)');
  const withTracker = (sub: Command): Command =>
    sub
      .option('--provider <name>', 'jira or linear (the one that is bound)')
      .option('--tracker <url>', 'the tracker service (IRONCLAW_TRACKER_URL)')
      .option('--team <slug>', 'your team (IRONCLAW_TRACKER_TEAM)');
  const add = (name: string, description: string): Command =>
    withRepo(command.command(name).description(description));
  add('status', 'What this project is bound to, as it is kept here.').action(
    (options: ProjectOptions) => run(() => status(io, options)),
  );
  withTracker(withState(add('bind', 'Bind the project, and keep what it is bound to.')))
    .option('--select <number>', 'the candidate, where several match')
    .action((options: BindOptions) => run(() => bind(io, options)));
  withTracker(
    withState(add('validate [binding]', 'Whether a binding still holds (the one that is kept).')),
  ).action((binding: string | undefined, options: TrackerOptions) =>
    run(() => validate(io, binding, options)),
  );
  add('unbind', 'Forget what the project is bound to, here; the tracker is not told.').action(
    (options: ProjectOptions) => run(() => unbind(io, options)),
  );
  withTracker(
    withConnection(
      command.command('origin <mission>').description('Tell which issue a mission came from.'),
    ),
  )
    .option('--repo <dir>', 'the checkout (the current folder)')
    .requiredOption('--issue-id <id>', 'the id of the issue')
    .requiredOption('--issue-key <key>', 'its key, as ABC-12')
    .requiredOption('--issue-url <url>', 'its address')
    .requiredOption('--title <text>', 'its title')
    .option('--binding <ref>', 'the binding (the one that is kept, else the slug of the project)')
    .action((mission: string, options: OriginOptions) => run(() => origin(io, mission, options)));
  withExamples(command, [
    'tracker bind --provider linear',
    'tracker bind --provider jira --select 2',
    'tracker status',
    'tracker validate',
  ]);
}

/** The provider that is named, else the one that is bound. */
function providerOf({ provider }: TrackerOptions, stored: StoredBinding | undefined): Provider {
  const name = provider ?? stored?.provider;
  if (name === 'jira' || name === 'linear') return name;
  if (name === undefined)
    throw usage('the provider is not named', 'Use --provider jira or linear.');
  throw usage(`--provider ${name} is not known`, 'Use jira or linear.');
}

/** The binding that is kept, if it is one of this provider. */
function keptFor(provider: Provider, stored: StoredBinding | undefined): string | undefined {
  return stored?.provider === provider ? stored.binding_ref : undefined;
}

function clientOf(io: Io, options: TrackerOptions): TrackerClient {
  const server = options.tracker ?? io.env.IRONCLAW_TRACKER_URL;
  if (server === undefined || !URL.canParse(server) || !/^https?:/.test(server)) {
    throw usage('the tracker service is not named', 'Set IRONCLAW_TRACKER_URL, or use --tracker.');
  }
  const gate = loadGate(io.env);
  const { IRONCLAW_TRACKER_TOKEN: access, IRONCLAW_TRACKER_REFRESH_TOKEN: refresh } = io.env;
  const { config } = settingsOf(io.env, {
    ...(options.state !== undefined && { state: options.state }),
  });
  const store = tokenFile(join(config.stateDir, 'tracker', 'tokens.json'), server, [
    access,
    refresh,
  ]);
  return createTrackerClient({
    server,
    ...openSession({ access, refresh }, store, (token) => renewTokens(server, token)),
    team: options.team ?? io.env.IRONCLAW_TRACKER_TEAM,
    gate: (identity) => gate.tracker('tracker', identity),
    newKey: randomUUID,
    sleep: (ms) => sleep(ms),
    nowMs: () => performance.now(),
  });
}

async function bind(io: Io, options: BindOptions): Promise<ExitCode> {
  const { root, identity } = await findCheckout(options.repo ?? '.');
  // Read first: a file that cannot be used is told before the tracker is asked.
  const provider = providerOf(options, readBinding(root));
  const select = selectOf(options.select);
  const bound = await bindProject(clientOf(io, options), provider, identity, select);
  const { binding_ref, label, existed } = bound;
  const before = storeBinding(root, {
    provider,
    binding_ref,
    display_label: label === '' ? null : label,
  });
  const file = projectFile(root);
  if (options.json) {
    const told = { ...bound, provider, file, previous: before ?? null };
    io.out(JSON.stringify({ ...told, project_identity: identity }));
    return EXIT.ok;
  }
  const isOther = before !== undefined && before.binding_ref !== binding_ref;
  io.out(
    facts([
      ['binding', binding_ref],
      ['resource', label],
      ['project', identity.slug],
      ['kept in', file],
      ...(isOther ? [['instead of', before.binding_ref] as [string, string]] : []),
      ['', existed ? 'it was bound before' : 'bound'],
    ]),
  );
  return EXIT.ok;
}

async function status(io: Io, options: ProjectOptions): Promise<ExitCode> {
  const { root, identity } = await findCheckout(options.repo ?? '.');
  const [stored, file] = [readBinding(root), projectFile(root)];
  if (options.json) {
    const { provider = null, binding_ref = null, display_label = null } = stored ?? {};
    const told = { bound: stored !== undefined, provider, binding_ref, display_label, file };
    io.out(JSON.stringify({ ...told, project_identity: identity }));
    return EXIT.ok;
  }
  io.out(
    facts([
      ['bound', stored === undefined ? 'no; see ironclaw tracker bind' : 'yes'],
      ['provider', stored?.provider ?? '-'],
      ['binding', stored?.binding_ref ?? '-'],
      ['resource', stored?.display_label ?? '-'],
      ['project', identity.slug],
      ['kept in', file],
    ]),
  );
  return EXIT.ok;
}

async function unbind(io: Io, options: ProjectOptions): Promise<ExitCode> {
  const { root } = await findCheckout(options.repo ?? '.');
  const previous = storeBinding(root, undefined);
  if (options.json)
    io.out(JSON.stringify({ unbound: previous !== undefined, previous: previous ?? null }));
  else io.out(previous === undefined ? 'it was not bound' : `${previous.binding_ref} is forgotten`);
  return EXIT.ok;
}

function selectOf(select: string | undefined): number | undefined {
  if (select === undefined) return undefined;
  if (/^-?\d{1,6}$/.test(select)) return Number(select);
  throw invalid('select', 'must be the number of a candidate');
}

async function validate(
  io: Io,
  named: string | undefined,
  options: TrackerOptions,
): Promise<ExitCode> {
  const { root, identity } = await findCheckout(options.repo ?? '.');
  const stored = readBinding(root);
  const provider = providerOf(options, stored);
  const binding = named ?? keptFor(provider, stored);
  if (binding === undefined) {
    throw usage('the project is not bound', 'Name a binding, or use ironclaw tracker bind first.');
  }
  const answer = await clientOf(io, options).bindValidate(provider, binding, identity);
  const valid = answer.valid === true;
  if (options.json) io.out(JSON.stringify({ provider, binding_ref: binding, ...answer }));
  else io.out(valid ? `${binding} holds` : `${binding} does not hold: ${told(answer.reason)}`);
  return valid ? EXIT.ok : EXIT.failed;
}

function told(reason: unknown): string {
  return typeof reason === 'string' ? reason : 'the tracker gives no reason';
}

async function origin(io: Io, slug: string, options: OriginOptions): Promise<ExitCode> {
  const checkout = await findCheckout(options.repo ?? '.');
  const { identity, root } = checkout;
  const stored = readBinding(root);
  const provider = providerOf(options, stored);
  const { namespace, number } = findMission(checkout, slug);
  const { issueId = '', issueKey = '', issueUrl = '', title = '' } = options;
  const binding = options.binding ?? keptFor(provider, stored);
  const issue = {
    external_issue_id: issueId,
    external_issue_key: issueKey,
    external_issue_url: issueUrl,
    title,
  };
  // Asked for first: an origin that the tracker has and nobody here can be told of helps nobody.
  const system = connectTo(io, options);
  await clientOf(io, options).bindOrigin({
    provider,
    mission_slug: slug,
    ...issue,
    ...(binding === undefined ? { project_slug: identity.slug } : { binding_ref: binding }),
  });
  const recorded = await system.call(API.missions.recordOrigin, {
    project_uuid: identity.uuid,
    mission_slug: slug,
    mission_number: number,
    mission_type: namespace.mission_type,
    build_id: identity.build_id,
    node_id: identity.node_id,
    provider,
    ...issue,
  });
  if (options.json) io.out(JSON.stringify(recorded));
  else io.out(`${slug} comes from ${issueKey}`);
  return EXIT.ok;
}
