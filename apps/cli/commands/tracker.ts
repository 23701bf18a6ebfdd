import { randomUUID } from 'node:crypto';
import { setTimeout as sleep } from 'node:timers/promises';
import { API, invalid } from '#libs/contracts';
import { loadGate } from '#libs/missionlog';
import { bindProject, createTrackerClient, type TrackerClient } from '#libs/tracker';
import type { Command } from 'commander';
import { findCheckout, findMission } from '../checkout.ts';
import { EXIT, type ExitCode, usage } from '../failure.ts';
import { facts } from '../format.ts';
import type { Io } from '../io.ts';
import {
  type ConnectionOptions,
  connectTo,
  withConnection,
  withExamples,
  withJson,
} from '../options.ts';

type Provider = 'jira' | 'linear';
type TrackerOptions = {
  json?: true;
  provider?: string;
  repo?: string;
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
      'Binds this checkout to a resource of Jira or Linear through the tracker service.\n' +
        'The token comes from IRONCLAW_TRACKER_TOKEN; where it is refused once,\n' +
        'IRONCLAW_TRACKER_REFRESH_TOKEN is used instead.',
    );
  const withTracker = (sub: Command): Command =>
    sub
      .requiredOption('--provider <name>', 'jira or linear')
      .option('--repo <dir>', 'the checkout (the current folder)')
      .option('--tracker <url>', 'the tracker service (IRONCLAW_TRACKER_URL)')
      .option('--team <slug>', 'your team (IRONCLAW_TRACKER_TEAM)');
  withTracker(withJson(command.command('bind').description('Bind the project.')))
    .option('--select <number>', 'the candidate, where several match')
    .action((options: BindOptions) => run(() => bind(io, options)));
  withTracker(
    withJson(command.command('validate <binding>').description('Whether a binding still holds.')),
  ).action((binding: string, options: TrackerOptions) => run(() => validate(io, binding, options)));
  withTracker(
    withConnection(
      command.command('origin <mission>').description('Tell which issue a mission came from.'),
    ),
  )
    .requiredOption('--issue-id <id>', 'the id of the issue')
    .requiredOption('--issue-key <key>', 'its key, as ABC-12')
    .requiredOption('--issue-url <url>', 'its address')
    .requiredOption('--title <text>', 'its title')
    .option('--binding <ref>', 'the binding (else the slug of the project)')
    .action((mission: string, options: OriginOptions) => run(() => origin(io, mission, options)));
  withExamples(command, [
    'tracker bind --provider linear',
    'tracker bind --provider jira --select 2',
    'tracker validate binding-7 --provider jira',
  ]);
}

function providerOf({ provider }: TrackerOptions): Provider {
  if (provider === 'jira' || provider === 'linear') return provider;
  throw usage(`--provider ${provider ?? ''} is not known`, 'Use jira or linear.');
}

function clientOf(io: Io, options: TrackerOptions): TrackerClient {
  const server = options.tracker ?? io.env.IRONCLAW_TRACKER_URL;
  if (server === undefined || !URL.canParse(server) || !/^https?:/.test(server)) {
    throw usage('the tracker service is not named', 'Set IRONCLAW_TRACKER_URL, or use --tracker.');
  }
  const gate = loadGate(io.env);
  const tokens = [io.env.IRONCLAW_TRACKER_TOKEN, io.env.IRONCLAW_TRACKER_REFRESH_TOKEN];
  return createTrackerClient({
    server,
    token: () => tokens[0],
    refresh: async () => {
      tokens.shift();
      return Boolean(tokens[0]);
    },
    team: options.team ?? io.env.IRONCLAW_TRACKER_TEAM,
    gate: (identity) => gate.tracker('tracker', identity),
    newKey: randomUUID,
    sleep: (ms) => sleep(ms),
    nowMs: () => performance.now(),
  });
}

async function bind(io: Io, options: BindOptions): Promise<ExitCode> {
  const provider = providerOf(options);
  const { identity } = await findCheckout(options.repo ?? '.');
  const bound = await bindProject(
    clientOf(io, options),
    provider,
    identity,
    selectOf(options.select),
  );
  if (options.json) io.out(JSON.stringify({ ...bound, provider, project_identity: identity }));
  else {
    io.out(
      facts([
        ['binding', bound.binding_ref],
        ['resource', bound.label],
        ['project', identity.slug],
        ['', bound.existed ? 'it was bound before' : 'bound'],
      ]),
    );
  }
  return EXIT.ok;
}

function selectOf(select: string | undefined): number | undefined {
  if (select === undefined) return undefined;
  if (/^-?\d{1,6}$/.test(select)) return Number(select);
  throw invalid('select', 'must be the number of a candidate');
}

async function validate(io: Io, binding: string, options: TrackerOptions): Promise<ExitCode> {
  const provider = providerOf(options);
  const { identity } = await findCheckout(options.repo ?? '.');
  const answer = await clientOf(io, options).bindValidate(provider, binding, identity);
  const valid = answer.valid === true;
  if (options.json) io.out(JSON.stringify(answer));
  else io.out(valid ? `${binding} holds` : `${binding} does not hold: ${told(answer.reason)}`);
  return valid ? EXIT.ok : EXIT.failed;
}

function told(reason: unknown): string {
  return typeof reason === 'string' ? reason : 'the tracker gives no reason';
}

async function origin(io: Io, slug: string, options: OriginOptions): Promise<ExitCode> {
  const provider = providerOf(options);
  const checkout = await findCheckout(options.repo ?? '.');
  const { identity } = checkout;
  const { namespace, number } = findMission(checkout, slug);
  const { issueId = '', issueKey = '', issueUrl = '', title = '', binding } = options;
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
