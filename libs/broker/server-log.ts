/** One line of nats-server's log, as far as it matters to us. */
export type ServerLine = {
  level: 'debug' | 'info' | 'warn' | 'error';
  text: string;
  /** Set on the line that tells the client port. */
  port?: number;
  /** True on the line that says it takes clients and JetStream is up. */
  ready: boolean;
};

const LINE = /^\[\d+\] \S+ \S+ \[(\w{3})\] (.*)$/;
const LEVELS: Record<string, ServerLine['level']> = { WRN: 'warn', ERR: 'error', FTL: 'error' };

/** Parses a line; what does not look like the server's log (a crash, a usage error) is a warning. */
export function parseServerLine(text: string): ServerLine {
  const match = LINE.exec(text);
  if (match === null) return { level: 'warn', text, ready: false };
  const [, tag = '', message = ''] = match;
  const port = /^Listening for client connections on .*:(\d+)$/.exec(message)?.[1];
  return {
    level: LEVELS[tag] ?? 'debug',
    text: message.trim(),
    ...(port !== undefined && { port: Number(port) }),
    ready: message === 'Server is ready',
  };
}
