import { once } from 'node:events';
import { connect, createServer, type Socket } from 'node:net';

/** The way between one process and the broker. */
export type Line = {
  /** What the process is given as NATS_URL. */
  readonly url: string;
  /** Holds everything back, in both directions, for so long; new connections too. */
  delay(ms: number): void;
  /** Breaks the connections: what is on its way is lost. */
  cut(): void;
  close(): Promise<void>;
};

/** A TCP proxy on a free loopback port. Bytes are held back or lost, never changed or reordered. */
export async function openLine(target: { port: number }): Promise<Line> {
  const sockets = new Set<Socket>();
  let heldUntil = 0;
  let timer: NodeJS.Timeout | undefined;

  const forward = (from: Socket, to: Socket): void => {
    sockets.add(from);
    // A connection that breaks is what this is for; `close` tells the other side.
    from.on('error', () => undefined);
    from.on('close', () => {
      sockets.delete(from);
      to.destroy();
    });
    from.on('data', (chunk) => {
      if (to.write(chunk)) return;
      from.pause();
      to.once('drain', () => {
        if (performance.now() >= heldUntil) from.resume();
      });
    });
    if (performance.now() < heldUntil) from.pause();
  };
  const server = createServer({ noDelay: true }, (client) => {
    const upstream = connect({ port: target.port, host: '127.0.0.1', noDelay: true });
    forward(client, upstream);
    forward(upstream, client);
  });
  server.listen(0, '127.0.0.1');
  await once(server, 'listening');
  const address = server.address();
  if (address === null || typeof address === 'string') throw new Error('no port');

  const letGo = (): void => {
    // A timer may be a moment early: what comes now must not be held back with nobody to let it go.
    heldUntil = 0;
    for (const socket of sockets) socket.resume();
  };
  return {
    url: `nats://127.0.0.1:${address.port}`,
    delay: (ms) => {
      heldUntil = Math.max(heldUntil, performance.now() + ms);
      for (const socket of sockets) socket.pause();
      clearTimeout(timer);
      timer = setTimeout(letGo, heldUntil - performance.now());
    },
    cut: () => {
      for (const socket of sockets) socket.destroy();
    },
    close: async () => {
      clearTimeout(timer);
      for (const socket of sockets) socket.destroy();
      await new Promise((resolve) => server.close(resolve));
    },
  };
}
