import type { Category } from '../document.ts';
import type { PlanArtifact, PlanPhase, PlanProfile } from '../plans.ts';
import type { Template, TemplateField } from '../templates.ts';

/**
 * CPMAI, the plan of a document that names none: six phases in sequence. Phase names are the
 * method's; artifacts and templates are a small set of ours.
 */
const VERSION = '1.0';

const text = (fieldId: string, label: string, minLength = 20): TemplateField => ({
  fieldId,
  label,
  type: 'long_text',
  required: true,
  validation: { minLength },
});
const name = (fieldId: string, label: string): TemplateField => ({
  fieldId,
  label,
  type: 'short_text',
  required: true,
});
const rows = (fieldId: string, label: string, ...columns: string[]): TemplateField => ({
  fieldId,
  label,
  type: 'table',
  required: true,
  columns: columns.map((column) => ({ name: column, type: 'text' })),
});
const checks = (fieldId: string, label: string, ...items: string[]): TemplateField => ({
  fieldId,
  label,
  type: 'checklist',
  required: true,
  items,
});
const pick = (fieldId: string, label: string, ...options: string[]): TemplateField => ({
  fieldId,
  label,
  type: 'selection',
  required: true,
  options,
});

type Draft = { name: string; category: Category; fields: TemplateField[] };
const core = (title: string, ...fields: TemplateField[]): Draft => ({
  name: title,
  category: 'core',
  fields,
});
const conditional = (title: string, ...fields: TemplateField[]): Draft => ({
  name: title,
  category: 'conditional',
  fields,
});

const DRAFTS: { name: string; artifacts: Draft[]; extra: string[] }[] = [
  {
    name: 'Business Understanding',
    artifacts: [
      core('Project Charter', text('objective', 'Objective', 40), name('sponsor', 'Sponsor')),
      core('Success Criteria', rows('criteria', 'Criteria', 'measure', 'target')),
      core('Risk Register', rows('risks', 'Risks', 'risk', 'mitigation')),
      conditional(
        'Regulatory Assessment',
        pick('applies', 'Regulated', 'yes', 'no'),
        text('reasoning', 'Reasoning'),
      ),
    ],
    extra: ['Stakeholder Notes'],
  },
  {
    name: 'Data Understanding',
    artifacts: [
      core('Data Inventory', rows('sources', 'Sources', 'source', 'owner')),
      core('Data Quality Report', text('findings', 'Findings', 40)),
      conditional('Privacy Review', text('personal_data', 'Personal data'), name('reviewer', 'By')),
    ],
    extra: ['Exploration Notes'],
  },
  {
    name: 'Data Preparation',
    artifacts: [
      core('Preparation Plan', text('steps', 'Steps', 40)),
      core('Data Split', text('method', 'How data is held out')),
      conditional('Labelling Guide', text('rules', 'Rules for labels')),
    ],
    extra: ['Pipeline Notes'],
  },
  {
    name: 'Model Building',
    artifacts: [
      core('Modelling Approach', text('approach', 'Approach', 40), text('baseline', 'Baseline')),
      core('Training Record', rows('runs', 'Runs', 'run', 'result')),
      conditional('Third-Party Models', rows('models', 'Models', 'model', 'licence')),
    ],
    extra: ['Experiment Notes'],
  },
  {
    name: 'Model Evaluation',
    artifacts: [
      core('Evaluation Report', text('results', 'Results', 40), pick('met', 'Met', 'yes', 'no')),
      core('Error Analysis', text('errors', 'Where it fails')),
      conditional('Fairness Review', text('groups', 'Groups and results')),
    ],
    extra: ['Review Notes'],
  },
  {
    name: 'Model Deployment',
    artifacts: [
      core('Deployment Plan', text('plan', 'Plan', 40), { ...name('date', 'On'), type: 'date' }),
      core('Monitoring Plan', rows('signals', 'Signals', 'signal', 'threshold')),
      core('Rollback Plan', checks('ready', 'Ready', 'tested', 'documented', 'staffed')),
      conditional('User Training', text('training', 'Training')),
    ],
    extra: ['Handover Notes'],
  },
];

const idOf = (title: string): string => title.toLowerCase().replace(/[^a-z0-9]+/g, '-');

const templates: Template[] = DRAFTS.flatMap(({ artifacts }, index) =>
  artifacts.map(
    ({ name: title, category, fields }): Template => ({
      template_id: idOf(title),
      template_version: VERSION,
      name: title,
      phase_number: index + 1,
      category,
      isGateBlocking: category === 'core',
      fields,
    }),
  ),
);

const phases: PlanPhase[] = DRAFTS.map(({ name: title, artifacts, extra }, index) => ({
  phaseNumber: index + 1,
  name: title,
  artifacts: [
    ...artifacts.map(
      (artifact): PlanArtifact => ({
        name: artifact.name,
        category: artifact.category,
        isGateBlocking: artifact.category === 'core',
        template_id: idOf(artifact.name),
      }),
    ),
    ...extra.map(
      (note): PlanArtifact => ({
        name: note,
        category: 'supplemental',
        isGateBlocking: false,
        template_id: null,
      }),
    ),
  ],
}));

export const CPMAI: PlanProfile = {
  id: 'cpmai',
  version: VERSION,
  label: 'CPMAI',
  phaseCount: phases.length,
  phases,
  templates,
  bindsByName: true,
};
