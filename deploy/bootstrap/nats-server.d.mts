/** Where a nats-server was found. */
export type NatsServerSource = 'env' | 'path' | 'cache' | 'debian';

/** A nats-server binary that is new enough and runs on this machine. */
export type NatsServer = { path: string; version: string; source: NatsServerSource };

export type FindOptions = {
  /** Default: process.env. */
  env?: NodeJS.ProcessEnv;
  /** Gets progress lines. Default: none. */
  log?: (line: string) => void;
  /** Fetch the Debian package where nothing else is there; takes seconds. Default: false. */
  fetch?: boolean;
};

/** What is accepted, in words. */
export declare const NEEDED: string;

/** A nats-server that cannot be used or had; the message says what to install. */
export declare class NatsServerError extends Error {
  readonly code: 'BROKER_MISSING';
}

/** True where this version has what IronClaw needs: 2.12.14 on, of 2.13 none, 2.14.4 on. */
export declare function isUsableVersion(version: string): boolean;

/**
 * The nats-server to start: `IRONCLAW_NATS_SERVER`, else one on PATH, else one in the cache, else
 * (with `fetch`) the newest Debian package. Safe to run several times at once.
 * Throws NatsServerError.
 */
export declare function findNatsServer(options?: FindOptions): Promise<NatsServer>;
