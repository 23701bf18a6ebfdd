import type { MissionEnvelope } from '#libs/contracts';
import { isAppError } from '#libs/contracts';
import type { FactStream } from '#libs/eventlog';
import { type Gate, readEnvelope } from '#libs/missions';

/** An event of envelope 3.0.0 as it lies in the stream. */
export type MissionEvent = MissionEnvelope & { seq: number; project_uuid?: string | undefined };

const decoder = new TextDecoder('utf-8', { fatal: true });

/** Reads messages of MISSIONS through the gate; what it refuses is set aside by whoever follows. */
export function missionDecoder(gate: Gate): FactStream<MissionEvent>['decode'] {
  return (data, seq) => {
    let value: unknown;
    try {
      value = JSON.parse(decoder.decode(data));
    } catch (error) {
      return { ok: false, reason: `not JSON: ${(error as Error).message}` };
    }
    try {
      const event = readEnvelope(gate, 'consume', value);
      return { ok: true, event: { ...event, seq, project_uuid: event.project_uuid ?? undefined } };
    } catch (error) {
      if (!isAppError(error, 'CONTRACT_VIOLATION')) throw error;
      return { ok: false, reason: error.message };
    }
  };
}
