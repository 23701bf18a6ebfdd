import { makeFolder } from '#libs/worktrees';
import { usage } from './failure.ts';

/** Makes the folder of all state, readable by its user alone. @throws {Failure} it cannot be made */
export function makeStateFolder(path: string): void {
  try {
    makeFolder(path, 0o700);
  } catch (error) {
    const { code = 'unknown' } = error as NodeJS.ErrnoException;
    throw usage(
      `the state folder ${path} cannot be made (${code})`,
      'Choose another: --state DIR.',
    );
  }
}
