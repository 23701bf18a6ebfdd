import { once } from 'node:events';
import { createServer, connect, type Socket } from 'node:net';

/** A TCP proxy in front of one server, which loses answers on demand. */
export type TestProxy = AsyncDisposable & {
  /** The server's URL with the proxy's port. */
  readonly url: string;
  /**
   * From the next bytes of the server on that contain `text`, nothing more reaches that client;
   * what it sends still arrives. Resolves when that has happened; `cut` ends it.
   */
  swallow(text: string): Promise<void>;
  /** Breaks every connection; new ones go through. */
  cut(): void;
};

/** Starts a proxy on a random loopback port for the server at `url`. */
export async function startProxy(url: string): Promise<TestProxy> {
  const target = new URL(url);
  const sockets = new Set<Socket>();
  let trap: { text: string; sprung: () => void } | undefined;

  const server = createServer((client) => {
    const upstream = connect(Number(target.port), target.hostname);
    let mute = false;
    let tail = '';
    for (const [one, other] of [
      [client, upstream],
      [upstream, client],
    ] as const) {
      sockets.add(one);
      // A connection that breaks is what this is for; `close` tells the other side.
      one.on('error', () => undefined);
      one.on('close', () => {
        sockets.delete(one);
        other.destroy();
      });
    }
    client.on('data', (chunk) => void upstream.write(chunk));
    upstream.on('data', (chunk) => {
      const seen = tail + chunk.toString('latin1');
      if (trap !== undefined && seen.includes(trap.text)) {
        mute = true;
        trap.sprung();
        trap = undefined;
      }
      tail = seen.slice(-(trap?.text.length ?? 0));
      if (!mute) client.write(chunk);
    });
  });
  server.listen(0, '127.0.0.1');
  await once(server, 'listening');
  const address = server.address();
  if (address === null || typeof address === 'string') throw new Error('no port');
  const cut = (): void => {
    for (const socket of sockets) socket.destroy();
  };
  return {
    url: `${target.protocol}//127.0.0.1:${address.port}`,
    swallow: (text) =>
      new Promise((resolve) => {
        trap = { text, sprung: resolve };
      }),
    cut,
    async [Symbol.asyncDispose]() {
      cut();
      await new Promise((resolve) => server.close(resolve));
    },
  };
}
