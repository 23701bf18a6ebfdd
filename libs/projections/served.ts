import { setTimeout as sleep } from 'node:timers/promises';
import type { Logger } from 'pino';
import { type Builds, openBuilds } from './files.ts';
import { type Followed, type Projector, startProjector } from './projector.ts';
import { openStore, type Store } from './store.ts';
import type { Recorded, View } from './types.ts';

/** One view file and what feeds it. */
export type Build<E extends Recorded> = {
  readonly number: number;
  readonly file: string;
  readonly store: Store<E>;
  readonly projector: Projector;
  /** Resolves when the file is closed and, if it is no longer wanted, removed. */
  closed: Promise<void>;
};

export type ServedOptions<E extends Recorded> = Followed<E> & {
  folder: string;
  name: string;
  views: readonly View<E>[];
  logger: Logger;
  maxEvents: number;
  firstStreamId: string;
  /** The served rows now reflect `seq`. */
  onServed: (seq: number) => void;
  /** Empty rows are served from here on. */
  onStartOver: () => void;
};

const RETRY_MS = 1_000;

/** The build that is served, and perhaps one that will replace it. */
export class ServedBuild<E extends Recorded> {
  readonly #options: ServedOptions<E>;
  readonly #builds: Builds;
  readonly #closing = new AbortController();
  /** Every build whose file is open. */
  readonly #open = new Set<Build<E>>();
  #streamId: string;
  #current: Build<E>;
  #next: { build: Build<E>; done: PromiseWithResolvers<void> } | undefined;

  constructor(options: ServedOptions<E>) {
    this.#options = options;
    this.#streamId = options.firstStreamId;
    this.#builds = openBuilds(options.folder, options.name);
    const known = this.#builds.current();
    this.#builds.sweep(known);
    this.#current = (known === undefined ? undefined : this.#reopen(known)) ?? this.#create();
    this.#builds.adopt(this.#current.number);
  }

  get current(): Build<E> {
    return this.#current;
  }

  /** The stream that the builds are of. */
  get streamId(): string {
    return this.#streamId;
  }

  get rebuilding(): boolean {
    return this.#next !== undefined;
  }

  async rebuild(): Promise<void> {
    if (this.#next !== undefined) return this.#next.done.promise;
    if (this.#closing.signal.aborted) throw new Error('the views are closed');
    const build = this.#create();
    const done = Promise.withResolvers<void>();
    this.#next = { build, done };
    this.#options.logger.info({ build: build.number }, 'rebuild started');
    // Level from the start where there is nothing to read.
    if (this.#current.store.position.seq === 0) this.#swap(build);
    return done.promise;
  }

  async close(): Promise<void> {
    this.#closing.abort();
    for (const { projector } of this.#open) projector.stop();
    await Promise.all([...this.#open].map(({ closed }) => closed));
  }

  /** Opens an earlier build; undefined, and the file is gone, where it cannot be used. */
  #reopen(number: number): Build<E> | undefined {
    const opened = this.#openStore(number);
    if (opened.ok) return this.#start(number, opened.store);
    this.#options.logger.warn({ reason: opened.reason }, 'views start over');
    this.#discard(number, opened.reason === 'damaged');
    return undefined;
  }

  #create(): Build<E> {
    const number = this.#builds.next();
    const opened = this.#openStore(number);
    if (!opened.ok) throw new Error(`a new view file is of ${opened.reason}`);
    return this.#start(number, opened.store);
  }

  #openStore(number: number) {
    const { views } = this.#options;
    return openStore({ file: this.#builds.path(number), views, streamId: this.#streamId });
  }

  #start(number: number, store: Store<E>): Build<E> {
    const { logger, maxEvents } = this.#options;
    const projector = startProjector({
      store,
      followed: this.#options,
      streamId: this.#streamId,
      maxEvents,
      logger: logger.child({ build: number }),
      onCommit: () => this.#onCommit(build),
    });
    const file = this.#builds.path(number);
    const build: Build<E> = { number, file, store, projector, closed: Promise.resolve() };
    this.#open.add(build);
    build.closed = this.#watch(build);
    return build;
  }

  #onCommit(build: Build<E>): void {
    const { seq } = build.store.position;
    if (build === this.#current) {
      this.#options.onServed(seq);
      return;
    }
    const served = this.#current.store.position.seq;
    if (seq >= served) this.#swap(build);
    // So near the end, the served build waits a moment, or the other might never draw level.
    else if (seq + this.#options.maxEvents >= served) this.#current.projector.hold();
  }

  #swap(build: Build<E>): void {
    const old = this.#current;
    this.#builds.adopt(build.number);
    this.#current = build;
    const next = this.#next;
    this.#next = undefined;
    old.projector.stop();
    this.#options.logger.info({ build: build.number }, 'rebuild finished');
    this.#options.onServed(build.store.position.seq);
    // Finished means also: the old file is gone.
    next?.done.resolve(old.closed);
  }

  /** Sees a build to its end. */
  async #watch(build: Build<E>): Promise<void> {
    const ending = await build.projector.ended;
    if (ending !== 'stopped' && build === this.#current) await this.#startOver(ending);
    build.store.close();
    this.#open.delete(build);
    if (build === this.#next?.build) {
      const { done } = this.#next;
      this.#next = undefined;
      this.#current.projector.release();
      this.#options.logger.warn({ build: build.number, ending }, 'rebuild ended early');
      done.reject(new Error(`the rebuild ended early: ${ending}`));
    }
    if (build !== this.#current) this.#discard(build.number, ending === 'damaged');
  }

  #discard(number: number, damaged: boolean): void {
    try {
      if (damaged) this.#builds.setAside(number);
      this.#builds.remove(number);
    } catch (error) {
      // The next start sweeps what is left.
      this.#options.logger.warn({ err: error, build: number }, 'view file could not be removed');
    }
  }

  /** Puts an empty build in place of one that can no longer be served. */
  async #startOver(ending: string): Promise<void> {
    while (!this.#closing.signal.aborted) {
      try {
        this.#streamId = await this.#options.streamId();
        if (this.#closing.signal.aborted) return;
        this.#next?.build.projector.stop();
        const build = this.#create();
        this.#builds.adopt(build.number);
        this.#current = build;
        this.#options.onStartOver();
        return;
      } catch (error) {
        this.#options.logger.error(
          { err: error, ending },
          'views could not start over; will retry',
        );
        await sleep(RETRY_MS, undefined, { signal: this.#closing.signal }).catch(() => undefined);
      }
    }
  }
}
