import { createServer, type IncomingMessage, type ServerResponse } from 'node:http';
import type { AddressInfo } from 'node:net';

/** How the receiver answers one request. */
export type ReceiverMode =
  /** As the contract says: accepted the first time that a key comes, duplicate afterwards. */
  | { kind: 'take' }
  /** Takes it as `take` does, but the answer never arrives. */
  | { kind: 'take_then_hang_up' }
  | { kind: 'status'; status: number; retryAfter?: string; body?: string }
  /** Never answers. */
  | { kind: 'hang' }
  | { kind: 'hang_up' };

export type ReceivedRequest = {
  path: string;
  headers: Readonly<Record<string, string | string[] | undefined>>;
  body: string;
  key: string;
};

/** A receiver of signed deliveries that does as it is told; it checks no signatures. */
export type TestReceiver = AsyncDisposable & {
  readonly url: string;
  requests(): readonly ReceivedRequest[];
  /** Keys taken, in the order of their first arrival. */
  taken(): readonly string[];
  setMode(mode: ReceiverMode): void;
  /** The next requests are answered so, one mode each; then by the mode that is set. */
  script(...modes: ReceiverMode[]): void;
  /** By key, or for all: what its requests are answered with, before mode and script. */
  forKey(choose: (key: string) => ReceiverMode | undefined): void;
};

const BODY_BYTES_MAX = 2 * 1024 * 1024;

export async function startReceiver(port = 0): Promise<TestReceiver> {
  const requests: ReceivedRequest[] = [];
  const taken = new Set<string>();
  const scripted: ReceiverMode[] = [];
  let mode: ReceiverMode = { kind: 'take' };
  let choose: (key: string) => ReceiverMode | undefined = () => undefined;

  const server = createServer((request, response) => {
    answer(request, response).catch((error: unknown) => {
      if (!response.destroyed) response.writeHead(500).end(String(error));
    });
  });

  async function answer(request: IncomingMessage, response: ServerResponse): Promise<void> {
    const body = await readBody(request);
    const envelope = JSON.parse(body) as Envelope;
    const key = envelope.idempotencyKey;
    requests.push({ path: request.url ?? '', headers: request.headers, body, key });
    const now = choose(key) ?? scripted.shift() ?? mode;
    switch (now.kind) {
      case 'hang':
        return;
      case 'hang_up':
        response.destroy();
        return;
      case 'status':
        if (now.retryAfter !== undefined) response.setHeader('retry-after', now.retryAfter);
        return send(response, now.status, now.body ?? '{"ok":false,"status":"rejected"}');
      case 'take':
      case 'take_then_hang_up': {
        const status = taken.has(key) ? 'duplicate' : 'accepted';
        taken.add(key);
        if (now.kind === 'take_then_hang_up') {
          response.destroy();
          return;
        }
        return send(response, 200, JSON.stringify({ ok: true, status, ...idOf(envelope) }));
      }
    }
  }

  await new Promise<void>((resolve, reject) => {
    server.once('error', reject);
    server.listen(port, '127.0.0.1', resolve);
  });
  return {
    url: `http://127.0.0.1:${(server.address() as AddressInfo).port}`,
    requests: () => requests,
    taken: () => [...taken],
    setMode: (next) => {
      mode = next;
    },
    script: (...modes) => void scripted.push(...modes),
    forKey: (next) => {
      choose = next;
    },
    async [Symbol.asyncDispose]() {
      server.closeAllConnections();
      await new Promise<void>((resolve) => server.close(() => resolve()));
    },
  };
}

type Envelope = {
  idempotencyKey: string;
  event?: { milestoneId: string };
  snapshot?: { summaryId: string };
};

function idOf({ event, snapshot }: Envelope): object {
  return event === undefined
    ? { summaryId: snapshot?.summaryId }
    : { milestoneId: event.milestoneId };
}

function send(response: ServerResponse, status: number, body: string): void {
  response.writeHead(status, { 'content-type': 'application/json' }).end(body);
}

async function readBody(request: IncomingMessage): Promise<string> {
  const chunks: Buffer[] = [];
  let bytes = 0;
  for await (const chunk of request) {
    bytes += (chunk as Buffer).byteLength;
    if (bytes > BODY_BYTES_MAX) throw new Error('the request is too large');
    chunks.push(chunk as Buffer);
  }
  return Buffer.concat(chunks).toString('utf8');
}
