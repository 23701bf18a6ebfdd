import { join } from 'node:path';
import {
  type Followed,
  openProjection,
  type Projection,
  type Recorded,
  type View,
} from '#libs/projections';
import { stateLayout } from './config.ts';
import type { RoleContext } from './role.ts';
import { claimSlot } from './slot.ts';

/**
 * Opens views that this process has for itself: several of one role keep their files apart, and find
 * them again after a restart.
 * @throws whatever `openProjection` throws; the folder is then free again
 */
export async function openOwnView<E extends Recorded>(
  { config, logger }: Pick<RoleContext, 'config' | 'logger'>,
  name: string,
  followed: Followed<E>,
  views: View<E>[],
): Promise<Projection> {
  const slot = claimSlot(join(stateLayout(config.stateDir).views, name));
  try {
    const { folder } = slot;
    const projection = await openProjection({ ...followed, folder, name, views, logger });
    const close = async (): Promise<void> => {
      await projection.close();
      slot.release();
    };
    return { ...projection, close };
  } catch (error) {
    slot.release();
    throw error;
  }
}
