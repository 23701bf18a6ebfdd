// For libraries that keep facts of another shape in another stream (libs/missionlog).
export { CODES } from './ack.ts';
export { isVersionConflict, publishUntil, refused } from './append.ts';
export { type BatchMessage, sendBatch } from './batch.ts';
export { createPublisher, type Publisher } from './publisher.ts';
export { readMessages } from './read.ts';
