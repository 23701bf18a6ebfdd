import { readFileSync } from 'node:fs';
import { describe, expect, test } from 'vitest';
import { type ErrorCode, LIMITS } from '#libs/contracts';
import {
  acceptDraft,
  acceptsByTime,
  addComment,
  applyWaiver,
  artifactStateOf,
  bindingOf,
  checkRevision,
  computeState,
  createEngine,
  createProject,
  createTemplateRegistry,
  decideGate,
  decisionsOf,
  dismissDraft,
  heartbeat,
  isFieldSatisfied,
  linkAgent,
  missingFields,
  normalizeProject,
  NO_TEMPLATES,
  phaseStateOf,
  projectAsOf,
  type ProjectDecision,
  proposeDraft,
  removeWaiver,
  reopenComment,
  reopenGate,
  resolveComment,
  revertTo,
  type Template,
  type TemplateField,
  templateFault,
  templateHash,
  updateArtifact,
  updateProject,
} from './mod.ts';
import {
  artifactId,
  type Book,
  by,
  canonicalArtifact,
  engine,
  newBook,
  NOW,
} from './testdata/projects.ts';

const x = (count: number): string => 'x'.repeat(count);
const spread = (count: number): string => Array(count).fill('a').join(' ');
const refusalOf = (decision: ProjectDecision): ErrorCode | undefined =>
  decision.ok ? undefined : decision.error.code;
const fieldOf = (decision: ProjectDecision): string | undefined =>
  decision.ok ? undefined : decision.error.field;
const typesOf = (decision: ProjectDecision): string[] =>
  decision.ok ? decision.events.map(({ type }) => type) : [decision.error.code];
const waiverOf = (rationale: string) => ({
  waived: true,
  rationale,
  waived_at: NOW,
  waived_by: 'd',
});
const stateOf = (artifact: object, registry = NO_TEMPLATES) =>
  artifactStateOf(artifact, bindingOf(artifact, 1, registry));
const FILLED = 'Port authority already signed this off';
/** Fills in what keeps the gate of phase 1 locked. */
const ready = (book: Book): Book => {
  const change = { ...by('kim', 1), artifactId: artifactId(book), fieldValues: { depth: '9 m' } };
  book.apply(updateArtifact(book.current(), change, engine));
  return book;
};
const decide = (book: Book, decision: 'go' | 'no-go', notes: string, seconds = 5) =>
  decideGate(book.current(), { ...by('lee', seconds), phaseId: 1, decision, notes }, engine);
const vectors = (name: string) =>
  JSON.parse(readFileSync(new URL(`./testdata/${name}.json`, import.meta.url), 'utf8')) as {
    cases: Record<string, unknown>[];
  };

describe('computed state', () => {
  test('E.49 a waiver of 19 characters leaves the gate locked, one of 20 opens it', () => {
    const gate = (length: number) => {
      const artifact = { id: 'a', isGateBlocking: true, waiver: waiverOf(x(length)) };
      return phaseStateOf({ id: 1, artifacts: [artifact] }, NO_TEMPLATES);
    };
    expect(gate(19)).toMatchObject({ ready: false, gate: 'locked', blocked_by: ['a'] });
    expect(gate(20)).toMatchObject({
      ready: true,
      gate: 'ready',
      artifacts: { a: { status: 'waived' } },
    });
  });

  test('E.50 white space does not count in a waiver; inside a rationale it does', () => {
    const text = `${x(10)} ${x(9)}`;
    expect(stateOf({ waiver: waiverOf(text) }).waived).toBe(false);
    expect(stateOf({ rationale: text }).complete).toBe(true);
  });

  test.each([
    [51, { rationale: x(10), notes: x(10) }, 'in-progress'],
    [52, { field_values: { a: false } }, 'in-progress'],
    [52, { field_values: { a: null, b: ' ', c: [], d: {} } }, 'not-started'],
    [53, { comments: [{}] }, 'in-progress'],
  ])('E.%i %j is %s', (_number, artifact, status) => {
    expect(stateOf({ status: 'complete', ...artifact }).status).toBe(status);
  });

  const optional: Template = {
    template_id: 't',
    template_version: '1',
    name: 'T',
    phase_number: 1,
    fields: [{ fieldId: 'a', type: 'short_text' }],
  };
  const registry = createTemplateRegistry('1', [optional]);
  const bound = { template_id: 't', template_version: '1' };

  test('E.54 with a template of another hash nothing is complete; a waiver counts', () => {
    const artifact = { ...bound, template_hash: 'f'.repeat(64), rationale: x(60) };
    expect(stateOf(artifact, registry)).toMatchObject({ complete: false, binding: 'mismatch' });
    const waived = stateOf({ ...artifact, waiver: waiverOf(x(20)) }, registry);
    expect(waived).toMatchObject({ status: 'waived', binding: 'mismatch' });
  });

  test('E.55 a template without required fields is complete at once', () => {
    const artifact = { ...bound, template_hash: templateHash(optional) };
    expect(stateOf(artifact, registry)).toMatchObject({ complete: true, binding: 'verified' });
  });

  test('a template whose recorded hash is not its own makes nothing complete', () => {
    const corrupt = createTemplateRegistry('1', [{ ...optional, template_hash: 'f'.repeat(64) }]);
    expect(stateOf(bound, corrupt)).toMatchObject({ complete: false, binding: 'registry-corrupt' });
  });

  test('the hash of a template is of its meaning, not of its status', () => {
    const draft = { ...optional, status: 'draft', estimatedCompletionMinutes: 5 };
    expect(templateHash(draft)).toBe(templateHash(optional));
    expect(templateHash({ ...optional, name: 'U' })).not.toBe(templateHash(optional));
  });

  const field = (type: string, more: object = {}): TemplateField => ({
    fieldId: 'f',
    type,
    required: true,
    ...more,
  });
  const columns = [{ name: 'who' }, { name: 'when' }];
  test.each([
    [56, field('table', { columns }), [{ who: 'Kim' }, { when: 'Tue' }], false],
    [56, field('table', { columns }), [{ who: 'Kim', when: 'Tue' }], true],
    [57, field('checklist'), [], false],
    [57, field('checklist'), ['i1'], true],
    [57, field('selection'), '', false],
    [57, field('long_text', { validation: { minLength: 10 } }), x(9), false],
  ])('E.%i field %j with %j: %s', (_number, one, value, satisfied) => {
    expect(isFieldSatisfied(one, value)).toBe(satisfied);
  });

  test('E.58 a phase without blocking artifacts is ready', () => {
    expect(phaseStateOf({ id: 1, artifacts: [{ id: 'a' }] }, NO_TEMPLATES).ready).toBe(true);
    expect(computeState({ phases: [{ id: 1 }] }, NO_TEMPLATES)).toMatchObject({
      phases: [{ phase_id: '1', ready: true, depth: 'minimum-compliance' }],
    });
  });
});

describe('gates', () => {
  const solo = () => ready(newBook({ governanceMode: 'solo' }));

  test('E.59 a solo decision needs 30 characters that are not white space', () => {
    const book = solo();
    expect(fieldOf(decide(book, 'go', spread(29)))).toBe('notes');
    book.apply(decide(book, 'go', x(30)));
    expect(book.document().phases[0]?.goNoGoDecision).toEqual({
      status: 'go',
      decidedAt: book.events.at(-1)?.timestamp,
      notes: x(30),
      attestation_type: 'solo_attestation',
    });
  });

  test('E.60 a solo no-go needs notes too', () => {
    expect(fieldOf(decide(solo(), 'no-go', ''))).toBe('notes');
  });

  test('E.61 a team decides without notes', () => {
    const book = ready(newBook());
    book.apply(decide(book, 'go', ''));
    expect(book.document().phases[0]?.goNoGoDecision).toMatchObject({
      status: 'go',
      attestation_type: 'team_decision',
      decidedAt: book.events.at(-1)?.timestamp,
    });
  });

  test('E.62 a locked gate takes no decision and says what locks it', () => {
    const book = newBook();
    for (const decision of ['go', 'no-go'] as const) {
      const refused = decide(book, decision, FILLED);
      expect(refusalOf(refused)).toBe('GATE_LOCKED');
      expect(!refused.ok && refused.error.details).toEqual({ blocked_by: [artifactId(book)] });
    }
  });

  test.each(vectors('gate-decision').cases)('gate-decision vector $id', (one) => {
    const { governance_mode, decision, notes, expected } = one as {
      governance_mode: 'solo' | 'team';
      decision: 'go' | 'no-go';
      notes: string;
      expected: { recorded: object | null };
    };
    const book = ready(newBook({ governanceMode: governance_mode }));
    const outcome = decide(book, decision, notes);
    if (expected.recorded === null) expect(fieldOf(outcome)).toBe('notes');
    else {
      book.apply(outcome);
      const decidedAt = book.events.at(-1)?.timestamp;
      const recorded = book.document().phases[0]?.goNoGoDecision;
      expect(recorded).toEqual({ ...expected.recorded, decidedAt });
    }
  });

  test('a decided gate is reopened before it is decided otherwise; each is said once', () => {
    const book = ready(newBook());
    book.apply(decide(book, 'go', 'fine'));
    expect(typesOf(decide(book, 'go', 'fine'))).toEqual([]);
    expect(refusalOf(decide(book, 'no-go', 'not fine'))).toBe('ILLEGAL_TRANSITION');
    const reopen = () =>
      reopenGate(book.current(), { ...by('mo', 9), phaseId: '1', reason: 'new facts' });
    book.apply(reopen());
    expect(book.document().phases[0]?.goNoGoDecision).toMatchObject({
      status: 'pending',
      decidedAt: null,
      notes: '',
    });
    expect(typesOf(reopen())).toEqual([]);
    book.apply(decide(book, 'no-go', 'not fine', 10));
    expect(decisionsOf(book.events)).toMatchObject([
      {
        decision: 'go',
        notes: 'fine',
        actor_id: 'lee',
        phase_id: '1',
        basis: [{ status: 'complete' }],
      },
      { decision: 'reopened', notes: 'new facts', actor_id: 'mo' },
      { decision: 'no-go', notes: 'not fine', actor_id: 'lee' },
    ]);
  });

  test('a no-go of an earlier phase is a warning, and by policy a refusal', () => {
    const book = ready(newBook());
    book.apply(decide(book, 'no-go', ''));
    const second = { ...by('lee', 20), artifactId: artifactId(book, 1), rationale: FILLED };
    book.apply(applyWaiver(book.current(), second));
    const go = { ...by('lee', 21), phaseId: 2, decision: 'go' as const, notes: '' };
    const decision = decideGate(book.current(), go, engine);
    expect(decision.ok && decision.warnings).toMatchObject([{ code: 'PRIOR_NO_GO' }]);
    expect(refusalOf(decideGate(book.current(), go, engine, { goAfterNoGo: false }))).toBe(
      'POLICY_REFUSED',
    );
  });

  test('E.73 the gate of an unknown phase is not found; a locked one is not ready', () => {
    const book = newBook();
    const nowhere = { ...by('lee'), phaseId: 9, decision: 'go' as const, notes: '' };
    expect(refusalOf(decideGate(book.current(), nowhere, engine))).toBe('PROJECT_PART_NOT_FOUND');
    const { phases } = computeState(book.document(), engine.registry);
    expect(phases[0]).toMatchObject({ ready: false, gate: 'locked' });
  });
});

describe('waivers and the audit log', () => {
  test('E.63 applied, again, with another rationale, removed, again', () => {
    const book = newBook();
    const target = { ...by('lee', 3), artifactId: artifactId(book) };
    const apply = (rationale: string) => applyWaiver(book.current(), { ...target, rationale });
    const steps = [
      () => apply(FILLED),
      () => apply(FILLED),
      () => apply(`${FILLED} again`),
      () => removeWaiver(book.current(), target),
      () => removeWaiver(book.current(), target),
    ];
    const told = steps.map((step) => book.apply(step()).map(({ type }) => type));
    expect(told).toEqual([['WAIVER_APPLIED'], [], ['WAIVER_APPLIED'], ['WAIVER_REMOVED'], []]);
    expect(book.document().audit_log.map(({ type, rationale }) => [type, rationale])).toEqual([
      ['WAIVER_APPLIED', FILLED],
      ['WAIVER_APPLIED', `${FILLED} again`],
      ['WAIVER_REMOVED', ''],
    ]);
  });

  test.each(vectors('waiver-audit').cases)('waiver-audit vector $id', (one) => {
    const {
      project,
      artifactId: id,
      waiver,
      actor,
      expected,
      seed,
    } = one as {
      project: object;
      artifactId: string;
      waiver: { rationale: string } | null;
      actor: string;
      expected: { audit_log: Record<string, unknown>[] };
      seed?: { expected: string };
    };
    const book = newBook();
    const context = { now: NOW, registry: engine.registry };
    const document = normalizeProject(project, context) as ReturnType<typeof book.document>;
    const state = { ...book.current(), document };
    const target = { ...by(actor, 1), artifactId: id };
    const decision =
      waiver === null
        ? removeWaiver(state, target)
        : applyWaiver(state, { ...target, rationale: waiver.rationale });
    if (id === 'zzz') expect(refusalOf(decision)).toBe('PROJECT_PART_NOT_FOUND');
    else if (seed?.expected.startsWith('rejected')) expect(fieldOf(decision)).toBe('rationale');
    else {
      book.state = state;
      book.apply(decision);
      const wanted = expected.audit_log.map(({ id: _id, at: _at, phase_id, ...entry }) => ({
        ...entry,
        phase_id: String(phase_id),
        timestamp: book.events.at(-1)?.timestamp,
      }));
      expect(book.document().audit_log).toEqual(wanted);
    }
  });

  test('E.64 undone after a waiver: the waiver is gone, the audit log longer', () => {
    const book = ready(newBook());
    const before = book.current();
    const target = { artifactId: artifactId(book) };
    book.apply(applyWaiver(book.current(), { ...by('lee', 3), ...target, rationale: FILLED }));
    book.apply(
      updateArtifact(
        book.current(),
        { ...by('lee', 4), ...target, fieldValues: { depth: null, extra: 1 } },
        engine,
      ),
    );
    book.apply(decide(book, 'no-go', '', 6));
    book.apply(revertTo(book.current(), before, by('kim', 9)));
    const [phase] = book.document().phases;
    expect(phase?.artifacts[0]).toMatchObject({ waiver: null, field_values: { depth: '9 m' } });
    expect(phase?.artifacts[0]?.field_values).not.toHaveProperty('extra');
    expect(phase?.goNoGoDecision.status).toBe('pending');
    expect(book.document().audit_log.map(({ type, actor_id }) => [type, actor_id])).toEqual([
      ['WAIVER_APPLIED', 'lee'],
      ['WAIVER_REMOVED', 'kim'],
    ]);
    expect(typesOf(revertTo(book.current(), before, by('kim', 10)))).toEqual([]);
    const foreign = newBook({ projectId: 'other' }).current();
    expect(refusalOf(revertTo(book.current(), foreign, by('kim', 11)))).toBe('ILLEGAL_TRANSITION');
  });

  test('a policy may allow fewer waivers in a phase', () => {
    const book = newBook();
    const waive = (index: number) => {
      const target = { ...by('lee', 2), artifactId: artifactId(book, 0, index), rationale: FILLED };
      return applyWaiver(book.current(), target, { waiversPerPhaseMax: 1 });
    };
    book.apply(waive(0));
    expect(refusalOf(waive(1))).toBe('POLICY_REFUSED');
  });
});

describe('artifacts and comments', () => {
  test('only what changes is told; a value of null is taken away', () => {
    const book = ready(newBook());
    const target = { ...by('kim', 5), artifactId: artifactId(book) };
    const change = (more: object) => updateArtifact(book.current(), { ...target, ...more }, engine);
    expect(typesOf(change({ fieldValues: { depth: '9 m' }, notes: '' }))).toEqual([]);
    const [event] = book.apply(change({ fieldValues: { depth: null, width: 3, none: null } }));
    expect(event?.payload).toMatchObject({ field_values: { width: 3 }, cleared: ['depth'] });
    expect(book.document().phases[0]?.artifacts[0]?.field_values).toEqual({ width: 3 });
    expect(book.document().lastModified).toBe(event?.timestamp);
    expect(fieldOf(change({ fieldValues: JSON.parse('{"__proto__":1}') as object }))).toBe(
      'field_values.__proto__',
    );
    const large = { fieldValues: { depth: x(LIMITS.projectValueBytes) } };
    expect(refusalOf(change(large))).toBe('PAYLOAD_TOO_LARGE');
    expect(refusalOf(change({ notes: x(LIMITS.projectTextChars + 1) }))).toBe('PAYLOAD_TOO_LARGE');
    expect(typesOf(change({ notes: x(LIMITS.projectTextChars) }))).toEqual(['ARTIFACT_UPDATED']);
    expect(fieldOf(change({ template: { id: 'none', version: '1' } }))).toBe('template');
    expect(fieldOf(change({ name: ' ' }))).toBe('name');
  });

  test('in solo mode an artifact stays with the owner', () => {
    const book = newBook({ governanceMode: 'solo' });
    const target = { ...by('kim', 5), artifactId: artifactId(book) };
    const assign = (assignedTo: string) =>
      updateArtifact(book.current(), { ...target, assignedTo }, engine);
    expect(fieldOf(assign('owner:other'))).toBe('assigned_to');
    expect(typesOf(assign('owner:dev-7'))).toEqual([]);
  });

  test('E.76 mode, id and creation never change', () => {
    const book = newBook();
    for (const field of ['governance_mode', 'id', 'created']) {
      const decision = updateProject(book.current(), { ...by('kim', 1), [field]: 'solo' });
      expect(refusalOf(decision)).toBe('PROJECT_IMMUTABLE');
    }
    book.apply(
      updateProject(book.current(), { ...by('kim', 2), name: 'New', description: 'text' }),
    );
    expect(book.document()).toMatchObject({
      name: 'New',
      description: 'text',
      created: NOW,
      lastSavedFrom: 'kim',
    });
    expect(typesOf(updateProject(book.current(), { ...by('kim', 3), name: 'New' }))).toEqual([]);
  });

  test('a comment is added once, resolved, and reopened without its resolver', () => {
    const book = newBook();
    const target = { artifactId: artifactId(book), commentId: 'c-1' };
    const comment = { ...target, commentType: 'self-critique' as const, content: 'tide?' };
    const add = (more: object = {}) =>
      addComment(book.current(), { ...by('lee', 2), ...comment, ...more });
    book.apply(add());
    expect(typesOf(add())).toEqual([]);
    expect(fieldOf(add({ content: 'other' }))).toBe('comment_id');
    expect(fieldOf(add({ content: ' ', commentId: 'c-2' }))).toBe('content');
    const only = () => book.document().phases[0]?.artifacts[0]?.comments[0];
    book.apply(resolveComment(book.current(), { ...by('mo', 3), ...target }));
    expect(only()).toMatchObject({ status: 'resolved', resolved_by: 'mo' });
    expect(typesOf(resolveComment(book.current(), { ...by('mo', 4), ...target }))).toEqual([]);
    book.apply(reopenComment(book.current(), { ...by('mo', 5), ...target }));
    expect(only()).toMatchObject({ status: 'open', resolved_by: null, resolved_at: null });
    const nowhere = { ...by('mo', 6), ...target, commentId: 'none' };
    expect(refusalOf(resolveComment(book.current(), nowhere))).toBe('PROJECT_PART_NOT_FOUND');
  });

  test('E.69 two decisions on one revision: the second meets the version', () => {
    const book = newBook();
    const { revision } = book.current();
    const rename = (name: string) => updateProject(book.current(), { ...by('kim', 1), name });
    const [first, second] = [rename('A'), rename('B')];
    expect([first.ok && first.expect, second.ok && second.expect]).toEqual([revision, revision]);
    book.apply(first);
    expect(checkRevision(book.current(), revision)).toMatchObject({
      code: 'VERSION_CONFLICT',
      details: { actual: book.current().revision },
    });
    expect(checkRevision(book.current(), book.current().revision)).toBeUndefined();
  });

  test('the project as of a sequence and of a time', () => {
    const book = newBook();
    book.apply(updateProject(book.current(), { ...by('kim', 10), name: 'Later' }));
    const { events, documents } = book;
    expect(projectAsOf(events, documents, { seq: 1 })?.document.name).toBe('Harbour');
    expect(projectAsOf(events, documents, { at: by('kim', 9).now })?.document.name).toBe('Harbour');
    expect(projectAsOf(events, documents, { at: by('kim', 10).now })?.document.name).toBe('Later');
    expect(projectAsOf(events, documents, { seq: 0 })).toBeUndefined();
  });
});

test('E.68 a writer without revisions may be 2000 ms older than what is stored, not 2001', () => {
  const stored = '2026-01-01T00:00:02.001Z';
  expect(acceptsByTime(stored, '2026-01-01T00:00:00.001Z')).toBe(true);
  expect(acceptsByTime(stored, '2026-01-01T00:00:00.000Z')).toBe(false);
});

describe('agents', () => {
  test('E.70 40 heartbeats decided on one state: 40 agents are linked', () => {
    const book = newBook();
    const state = book.current();
    const agents = Array.from({ length: 40 }, (_, index) => `agent-${index}`);
    const decisions = agents.map((agentId) => heartbeat(state, { ...by(agentId, 5), agentId }));
    expect(decisions.map((decision) => decision.ok && decision.expect)).toEqual(
      agents.map(() => null),
    );
    for (const decision of decisions) book.apply(decision);
    expect(book.document().openclaw.linkedAgentIds).toEqual(agents);
    expect(book.current().revision).toBe(state.revision);
  });

  test('an agent is linked once; there may be so many, and one of a wrong id is none', () => {
    const book = newBook();
    const link = (agentId: string) => linkAgent(book.current(), { ...by('kim', 2), agentId });
    book.apply(link('agent-1'));
    expect(typesOf(link('agent-1'))).toEqual([]);
    expect(fieldOf(link('no id'))).toBe('agent_id');
    const full = Array.from({ length: LIMITS.projectAgents }, (_, index) => `a-${index}`);
    const { openclaw } = book.document();
    const document = { ...book.document(), openclaw: { ...openclaw, linkedAgentIds: full } };
    const crowded = { ...book.current(), document };
    const beat = (agentId: string) => heartbeat(crowded, { ...by(agentId, 3), agentId });
    expect(refusalOf(beat('one-more'))).toBe('PAYLOAD_TOO_LARGE');
    expect(typesOf(beat('a-7'))).toEqual(['AGENT_HEARTBEAT']);
  });

  test('E.71 a heartbeat twice: one agent, the newer time; nothing else changes', () => {
    const book = newBook();
    const { phases, lastModified } = book.document();
    for (const seconds of [9, 12, 11]) {
      book.apply(heartbeat(book.current(), { ...by('agent-1', seconds), agentId: 'agent-1' }));
    }
    expect(book.document().openclaw).toMatchObject({
      linkedAgentIds: ['agent-1'],
      lastAgentHeartbeat: by('agent-1', 12).now,
    });
    expect(book.document()).toMatchObject({ phases, lastModified });
  });

  test('E.72 a draft is kept or refused, never acknowledged and lost', () => {
    const book = newBook();
    const artifact = artifactId(book);
    const propose = (artifactIdOf: string, draftId: string) =>
      proposeDraft(book.current(), {
        ...by('agent-1', 3),
        agentId: 'agent-1',
        artifactId: artifactIdOf,
        draftId,
        content: { field_values: { depth: '9 m' } },
      });
    expect(fieldOf(propose(artifact, '__proto__'))).toBe('draft_id');
    expect(fieldOf(propose('__proto__', 'd-1'))).toBe('artifact_id');
    expect(refusalOf(propose('none', 'd-1'))).toBe('PROJECT_PART_NOT_FOUND');
    book.apply(propose(artifact, 'd-1'));
    expect(typesOf(propose(artifact, 'd-1'))).toEqual([]);
    expect(book.document().openclaw.advisoryDrafts).toMatchObject({
      [artifact]: { draft_id: 'd-1', agent_id: 'agent-1' },
    });
    expect(computeState(book.document(), engine.registry).phases[0]?.ready).toBe(false);
  });

  test('a draft becomes content only by a person, under whose name it stands', () => {
    const book = newBook();
    const artifact = artifactId(book);
    const content = { notes: 'measured twice', field_values: { depth: '9 m' } };
    const draft = { artifactId: artifact, draftId: 'd-1' };
    book.apply(
      proposeDraft(book.current(), { ...by('agent-1', 3), ...draft, agentId: 'agent-1', content }),
    );
    const events = book.apply(acceptDraft(book.current(), { ...by('kim', 4), ...draft }, engine));
    expect(events.map(({ type, actor_id }) => [type, actor_id])).toEqual([
      ['ARTIFACT_UPDATED', 'kim'],
      ['DRAFT_ACCEPTED', 'kim'],
    ]);
    expect(book.document().phases[0]?.artifacts[0]).toMatchObject(content);
    expect(book.document().openclaw.advisoryDrafts).toEqual({});
    expect(refusalOf(acceptDraft(book.current(), { ...by('kim', 5), ...draft }, engine))).toBe(
      'PROJECT_PART_NOT_FOUND',
    );
    expect(typesOf(dismissDraft(book.current(), { ...by('kim', 6), ...draft }))).toEqual([]);
  });

  test('a draft that came meanwhile survives the judgement of the one before', () => {
    const book = newBook();
    const artifact = artifactId(book);
    const propose = (draftId: string) =>
      proposeDraft(book.current(), {
        ...by('agent-1', 3),
        artifactId: artifact,
        draftId,
        agentId: 'agent-1',
        content: { notes: draftId },
      });
    book.apply(propose('d-1'));
    const dismissal = dismissDraft(book.current(), {
      ...by('kim', 4),
      artifactId: artifact,
      draftId: 'd-1',
    });
    book.apply(propose('d-2'));
    book.apply(dismissal);
    expect(book.document().openclaw.advisoryDrafts).toMatchObject({
      [artifact]: { draft_id: 'd-2' },
    });
  });
});

test('a project is created once; another of its id is refused', () => {
  const state = newBook().current();
  const command = {
    ...by('kim', 9),
    projectId: 'p-1',
    garrisonId: 'g',
    name: 'Harbour',
    governanceMode: 'team' as const,
    planId: 'harbour-plan',
    deviceId: 'dev-7',
  };
  expect(typesOf(createProject(state, command, engine))).toEqual([]);
  const other = createProject(state, { ...command, governanceMode: 'solo' }, engine);
  expect(refusalOf(other)).toBe('PROJECT_EXISTS');
  const bad = { ...command, projectId: 'bad id' };
  expect(fieldOf(createProject(undefined, bad, engine))).toBe('project_id');
  expect(fieldOf(createProject(undefined, command, engine))).toBe('plan_id');
  const nameless = { ...command, name: ' ' };
  expect(fieldOf(createProject(undefined, nameless, engine))).toBe('name');
});

test('what an artifact lacks of its template is named', () => {
  const book = newBook();
  const [artifact] = book.document().phases[0]?.artifacts ?? [];
  expect(missingFields(artifact, bindingOf(artifact, 1, engine.registry))).toEqual(['depth']);
});

test.each([
  [null, 'is not an object'],
  [{ template_id: 't', template_version: '1', name: ' ', fields: [] }, 'name must'],
  [{ template_id: 't', template_version: '1', name: 'T' }, 'fields must'],
  [{ template_id: 't', template_version: '1', name: 'T', fields: [{}] }, 'fields[0]'],
])('a template that is none is refused: %#', (template, reason) => {
  expect(templateFault(template)).toContain(reason);
  expect(() => createEngine([], [template as Template])).toThrow(TypeError);
});

test('an artifact that blocks the gate and has no template is refused at creation', () => {
  const blocking = { name: 'A', category: 'core' as const, isGateBlocking: true };
  expect(() => newBook({ phases: [{ name: 'P', artifacts: [blocking] }] })).toThrow(
    expect.objectContaining({ code: 'PROJECT_INVALID' }),
  );
  expect(canonicalArtifact('a', 1).template_id).not.toBeNull();
});
