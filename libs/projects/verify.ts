import { isWaiverValid } from './artifact-state.ts';
import { contextOf, type Engine } from './engine.ts';
import { type Finding, finding, hasErrors } from './findings.ts';
import { trustFindings, withoutIntegrity } from './import.ts';
import { type IntegrityReport, verifyIntegrity } from './integrity.ts';
import { isObject, labelOf, listOf } from './text.ts';
import { validateProject } from './validate.ts';

export type Verification = {
  /** No finding is an error; a project without a hash can be right. */
  ok: boolean;
  findings: Finding[];
  /** Null: it is no object. */
  integrity: IntegrityReport | null;
};

/** Whether a project is what its hash and signature say, and right in itself. Never throws. */
export function verifyProject(
  project: unknown,
  options: {
    engine: Engine;
    now: string;
    isKnownKey?: (keyId: string) => boolean;
    requireSignature?: boolean;
  },
): Verification {
  const { engine, now, isKnownKey = () => false, requireSignature = false } = options;
  if (!isObject(project)) {
    return { ok: false, findings: [finding('NOT_OBJECT', '$')], integrity: null };
  }
  const integrity = verifyIntegrity(project, isKnownKey);
  const { findings } = validateProject(withoutIntegrity(project), {
    ...contextOf(engine, now),
    mode: 'lenient',
  });
  const all = [
    ...trustFindings(integrity, { requireSignature }),
    ...findings,
    ...shortWaivers(project.phases),
  ];
  return { ok: !hasErrors(all), findings: all, integrity };
}

function* shortWaivers(phases: unknown): Generator<Finding> {
  for (const [index, phase] of listOf(phases).entries()) {
    const artifacts = listOf(isObject(phase) ? phase.artifacts : undefined);
    for (const [at, artifact] of artifacts.entries()) {
      if (!isObject(artifact) || !isObject(artifact.waiver)) continue;
      if (artifact.waiver.waived !== true || isWaiverValid(artifact.waiver)) continue;
      const path = `$.phases[${index}].artifacts[${at}].waiver.rationale`;
      yield finding('WAIVER_SHORT', path, { id: labelOf(artifact.name) });
    }
  }
}
