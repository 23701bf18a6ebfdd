import type { ErrorCode } from '#libs/contracts';

/**
 * What to do next, in words of the command line. The catalogue speaks to callers of the API; where
 * its words hold here too, nothing stands here.
 */
export const COMMAND_FIXES: { readonly [code in ErrorCode]?: string } = {
  INVALID_JSON: 'Give one JSON value in UTF-8.',
  INVALID_REQUEST: 'See --help of the command.',
  UNAUTHENTICATED: 'Give a valid token: --token, or IRONCLAW_TOKEN.',
  RUN_NOT_FOUND: 'List them with: ironclaw runs list',
  ORDER_NOT_FOUND: 'List them with: ironclaw orders list',
  EVENT_NOT_FOUND: 'Search with: ironclaw events',
  ESCALATION_NOT_FOUND: 'List them with: ironclaw escalations list',
  DEAD_LETTER_NOT_FOUND: 'List them with: ironclaw deadletters list',
  DELIVERY_NOT_FOUND:
    'List them with: ironclaw outbox list (what was delivered is kept for a while only)',
  PROJECT_NOT_FOUND: 'List them with: ironclaw project list',
  PROJECT_PART_NOT_FOUND:
    'See phases and artifacts with: ironclaw project status <project> <phase>',
  PROJECT_EXISTS: 'Choose --on-collision overwrite, keep-both or cancel.',
  PROJECT_INVALID: 'Correct what the findings name; --lenient forgives some of it.',
  GATE_LOCKED:
    'Complete or waive what is open: ironclaw project status <project> <phase> lists it as 1.2.',
};
