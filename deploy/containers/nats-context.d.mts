/** Fills `folder` (created if missing) with all that the image is made of. Linux only. */
export function assembleNatsContext(folder: string): Promise<void>;
