/** A segment of the contract's demand view, and the keyword clusters that count for it. */
export type Segment = {
  id: string;
  label: string;
  staticWeight: number;
  clusterLabels: readonly string[];
};

/** The seven segments of the contract, in its order. */
export const SEGMENTS: readonly Segment[] = [
  {
    id: 'cash-velocity',
    label: 'Cash Velocity',
    staticWeight: 5,
    clusterLabels: ['payments and backend', 'preview vs production', 'core instability'],
  },
  {
    id: 'security-exposure',
    label: 'Security Exposure',
    staticWeight: 5,
    clusterLabels: ['security exposure', 'zero trust', 'segmentation'],
  },
  {
    id: 'skills-supply-chain',
    label: 'Skills Supply Chain',
    staticWeight: 4,
    clusterLabels: ['skills supply chain', 'prompt injection', 'extension trust'],
  },
  {
    id: 'autonomy-collapse',
    label: 'Autonomy Collapse',
    staticWeight: 4,
    clusterLabels: ['approval loops', 'execution stalls', 'non-execution'],
  },
  {
    id: 'hardening-runtime',
    label: 'Hardening + Runtime',
    staticWeight: 4,
    clusterLabels: ['docker vs vm', 'least privilege', 'tool calling'],
  },
  {
    id: 'debug-blindness',
    label: 'Debug Blindness',
    staticWeight: 3,
    clusterLabels: ['no logs', 'no stack trace', 'wrong explanation'],
  },
  {
    id: 'data-shape-drift',
    label: 'Data Shape Drift',
    staticWeight: 3,
    clusterLabels: ['normalization', 'schema mapping', 'dedupe'],
  },
];
