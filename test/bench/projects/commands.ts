import { randomUUID } from 'node:crypto';
import { type Broker, publishAt, putObject } from '#libs/broker';
import type { Lab } from '../lab.ts';
import { pairRow, type Row } from '../report.ts';
import { inPairs, rateFor } from '../stats.ts';
import { projectOf } from './documents.ts';

const MEGABYTE = 1_000_000;
const WIDTH = 32;
const TIMEOUT_MS = 30_000;
const RAW_BYTES = 700;

export type Size = {
  pairs: number;
  durationMs: number;
  /** Projects of the figure about many. */
  projects: number;
  /** Events of the long history. */
  history: number;
};

type Data = Record<string, unknown>;

/** The role in a process of its own, asked over NATS, against what the broker does without it. */
export async function benchCommands(lab: Lab, size: Size): Promise<Row[]> {
  const { pairs, durationMs } = size;
  const server = await lab.broker();
  const broker = await server.connect();
  const env = { NATS_URL: server.url, IRONCLAW_STATE: await lab.folder(), IRONCLAW_PORT: '0' };
  await lab.child('role.ts', { ...env, ROLES: 'projects' });
  const call = async (name: string, input: Data): Promise<Data> => {
    const payload = JSON.stringify(input);
    const options = { timeout: TIMEOUT_MS };
    const answer = (await broker.nc.request(`svc.v1.projects.${name}`, payload, options)).json<{
      ok: boolean;
      data: Data;
    }>();
    if (!answer.ok) throw new Error(`${name}: ${JSON.stringify(answer)}`);
    return answer.data;
  };
  const importOne = async (bytes: number): Promise<string> =>
    (await call('import', { document: projectOf(bytes) })).project_id as string;
  const comment = (id: string): Promise<Data> =>
    call('add-comment', { project_id: id, artifact_id: 'artifact-1-0', content: 'A look.' });
  const rename = (id: string): Promise<Data> =>
    call('update', { project_id: id, name: randomUUID() });
  // On a broker of its own: what it writes is no event, and nobody reads it.
  const raw = rawWriter(await (await lab.broker()).connect());

  const large = projectOf(MEGABYTE);
  const imports = await inPairs(
    pairs,
    () => rateFor(durationMs, 1, () => raw.store(JSON.stringify(large))),
    () =>
      rateFor(durationMs, 1, async () => {
        const { project_id } = await call('import', { document: { ...large, id: randomUUID() } });
        await call('gate', { project_id, phase_id: '1' });
      }),
    () => importOne(MEGABYTE),
  );
  const one = await importOne(1_000);
  const single = await inPairs(
    pairs,
    () => rateFor(durationMs, 1, () => raw.append('one')),
    () => rateFor(durationMs, 1, () => rename(one)),
    () => rename(one),
  );
  const ids: string[] = [];
  await rateForCount(size.projects, async () => void ids.push(await importOne(1_000)));
  const many = await inPairs(
    pairs,
    () => rateFor(durationMs, WIDTH, (index) => raw.append(`many-${index % size.projects}`)),
    () => rateFor(durationMs, WIDTH, (index) => rename(ids[index % ids.length] as string)),
    () => rename(ids[0] as string),
  );
  const [short, long] = [await importOne(1_000), await importOne(1_000)];
  await rateForCount(size.history, () => rename(long), 1);
  await comment(long);
  const aged = await inPairs(
    pairs,
    () => rateFor(durationMs, 1, () => rename(short)),
    () => rateFor(durationMs, 1, () => rename(long)),
    () => rename(short),
  );
  const unit = 'commands/s';
  return [
    pairRow(
      {
        id: 'import',
        what: 'import of 1 MB until it can be read',
        unit: 'imports/s',
        note: 'raw stores the bytes as an object and one message; ours reads, checks and hashes them',
      },
      imports,
    ),
    pairRow({ id: 'commands-one', what: 'commands on one project, one by one', unit }, single),
    pairRow(
      {
        id: 'commands-many',
        what: `commands on ${size.projects} projects, ${WIDTH} under way`,
        unit,
        note: 'raw is a publish on condition for each; ours also takes the request over NATS',
      },
      many,
    ),
    pairRow(
      {
        id: 'commands-history',
        what: `a command after ${size.history} events against one after a few`,
        unit,
        goal: 0.8,
      },
      aged,
    ),
  ];
}

/** `count` times, several under way. */
async function rateForCount(count: number, work: () => Promise<unknown>, width = WIDTH) {
  let left = count;
  const lane = async (): Promise<void> => {
    while (left > 0) {
      left -= 1;
      await work();
    }
  };
  await Promise.all(Array.from({ length: width }, lane));
}

/** What the broker does alone: appends on condition, and objects. */
function rawWriter(broker: Broker) {
  const versions = new Map<string, number>();
  const payload = Buffer.alloc(RAW_BYTES, 'x');
  const append = async (key: string): Promise<void> => {
    const subject = `prj.v1.raw-${key}`;
    const seq = await publishAt(broker, subject, payload, versions.get(key) ?? 0);
    // Others of this bench write the same subject at once; what is refused cost as much.
    if (seq !== undefined) versions.set(key, Math.max(seq, versions.get(key) ?? 0));
  };
  return {
    append,
    store: async (text: string): Promise<void> => {
      await putObject(broker, Buffer.from(`${randomUUID()}${text}`));
      await append(randomUUID());
    },
  };
}
